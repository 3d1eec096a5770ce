"""Gives this folder's tests the stores."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from tests.collector import build as collector_build
from tests.collector.fixtures import collector_binary
from tests.stores.build import Binaries, BuildError, binaries
from tests.stores.prometheus import Prometheus
from tests.stores.route import Kind, Route

__all__ = ["collector_binary"]

SECOND = 10**9
AGO_S = 30 * 60  # a store takes what is not older than an hour; tests fill the time from then on


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: its minutes are no test's, and its progress is to be seen."""
    if not session.config.option.collectonly:
        try:
            binaries()
            collector_build.binary()
        except BuildError as error:
            raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def stores() -> Binaries:
    """The built programs."""
    return binaries()


@pytest.fixture
def began_ns() -> int:
    """When the test's data begins: a whole minute, half an hour ago."""
    return (int(time.time()) - AGO_S) // 60 * 60 * SECOND


@pytest.fixture
def prometheus(stores: Binaries, tmp_path: Path) -> Iterator[Prometheus]:
    """A running Prometheus with nothing in it."""
    with Prometheus(stores.prometheus, tmp_path) as running:
        yield running


@pytest.fixture(params=get_args(Kind))
def route(request: pytest.FixtureRequest, stores: Binaries, collector_binary: Path, tmp_path: Path) -> Iterator[Route]:
    """Each way to a store in turn."""
    with Route(request.param, tmp_path, stores, collector_binary) as running:
        yield running
