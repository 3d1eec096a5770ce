"""Gives this folder's tests the Collector."""

from tests.collector.fixtures import collector, collector_binary

__all__ = ["collector", "collector_binary"]
