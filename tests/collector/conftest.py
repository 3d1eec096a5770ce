"""Gives this folder's tests the Collector."""

from typing import Literal

import pytest

from tests.collector.fixtures import collector, collector_binary

__all__ = ["collector", "collector_binary", "protocol", "transport"]


@pytest.fixture(params=["grpc", "http/protobuf"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each protocol, as the options name it."""
    return str(request.param)


@pytest.fixture
def transport(protocol: str) -> Literal["grpc", "http"]:
    """The protocol as a Collector names it."""
    return "grpc" if protocol == "grpc" else "http"
