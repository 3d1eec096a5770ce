"""Benchmarks: figures, each beside its floor or peer, measured in the same run."""
