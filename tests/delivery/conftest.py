"""What delivery tests share."""

import pytest


@pytest.fixture(params=["grpc", "http/protobuf"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each protocol, as the options name it."""
    return str(request.param)
