"""The kernel side: probe, load, attach, and windows read as numpy arrays. Only this package knows bpf(2)."""
