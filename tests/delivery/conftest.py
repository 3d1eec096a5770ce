"""What delivery tests share."""

from typing import get_args

import pytest

from natlens.otlp.request import Signal

SIGNALS: tuple[Signal, ...] = get_args(Signal)


@pytest.fixture(params=["grpc", "http/protobuf"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each protocol, as the options name it."""
    return str(request.param)


@pytest.fixture(params=SIGNALS)
def signal(request: pytest.FixtureRequest) -> Signal:
    """Each signal."""
    of: Signal = request.param
    return of
