"""A node for the tests that only call, and the Collector."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.agent.process", "tests.agent.shop")

from tests.agent.shop import Shop  # noqa: E402  # what comes before makes its assertions tell why
from tests.collector.fixtures import collector_binary  # noqa: E402

__all__ = ["collector_binary", "shop"]


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with Shop() as made:
        yield made
