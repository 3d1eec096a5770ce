"""What an address was at that time; the only layer that knows Kubernetes."""
