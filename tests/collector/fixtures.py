"""The Collector as pytest fixtures; a folder that wants them imports both names in its ``conftest.py``."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector import build
from tests.collector.process import Collector

__all__ = ["collector", "collector_binary"]


@pytest.fixture(scope="session")
def collector_binary(request: pytest.FixtureRequest) -> Path:
    """The path of the built Collector; without it tests fail with the reason, none is skipped."""
    with _output_shown(request.config), _test_timer_paused():
        return build.binary()


@pytest.fixture
def collector(collector_binary: Path, tmp_path: Path) -> Iterator[Collector]:
    """A running Collector on a free port of the loopback."""
    with Collector(collector_binary, tmp_path / "collector") as running:
        yield running


def _output_shown(config: pytest.Config) -> contextlib.AbstractContextManager[None]:
    """Let the build's progress through pytest's capture: minutes without a line look like a hang."""
    capture = config.pluginmanager.getplugin("capturemanager")
    return capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()


@contextlib.contextmanager
def _test_timer_paused() -> Iterator[None]:
    """Stop pytest-timeout's alarm: a first build is not the time of the test that happens to come first."""
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining, interval)
