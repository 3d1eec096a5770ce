"""The Kubernetes API as a source of objects: how it is reached, read, followed (ADR 11)."""
