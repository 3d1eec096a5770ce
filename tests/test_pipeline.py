"""The loop's own part: what goes from one window to the next, and into which outlet."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from natlens.config import Options
from natlens.exports import Exports
from natlens.flows.join import Carry
from natlens.flows.tuples import inverse
from natlens.health import Health
from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.naming import Anonymous
from natlens.kernel.capture import Capture
from natlens.kernel.ctevents import EVENT, Told
from natlens.kernel.sources import Source
from natlens.kernel.windows import TRANSLATIONS, Window
from natlens.otlp.metrics.settings import metric_settings
from natlens.otlp.request import Request
from natlens.pipeline import Pipeline, take
from tests.bench.shapes import Cluster
from tests.bench.windows import SECOND, half_and_half, rows_and_translations
from tests.flows.test_join import CLIENT, POD, SERVICE, joined, one, row, translation

CONNECTIONS = 2000


class Kept:
    """An outlet that keeps what it is given."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def send(self, request: Request) -> None:
        self.requests.append(request)

    def flush(self, deadline: float) -> None:
        pass

    def close(self) -> None:
        pass


class Late(Anonymous):
    """Names that come after the packet."""

    def __init__(self) -> None:
        self.told = False
        self.listed = True

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:  # noqa: ARG002  # Identity
        return Endpoint(k8s_pod_name="told") if self.told else UNKNOWN

    @property
    def wait_ns(self) -> int:
        return 2 * SECOND

    @property
    def ready(self) -> bool:
        return self.listed


def exports(*outlets: Kept) -> Exports:
    """Log records, to these outlets."""
    return Exports(Options(), metric_settings(Options(), {}), {"logs": outlets}, Health(), 0)


@pytest.fixture
def capture() -> Iterator[Capture]:
    made = Capture(Options(), Health())
    yield made
    made.close()


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of ten seconds, with connections in each."""
    taken: list[int] = []

    def take(_capture: Capture, _carry: Carry, _health: Health) -> Window:
        taken.append(1)
        end_ns = 10 * SECOND * len(taken)
        return Window(*rows_and_translations(half_and_half(Cluster(), CONNECTIONS), end_ns), 0, end_ns, 0)

    monkeypatch.setattr("natlens.pipeline.take", take)


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("listed", [True, False])
def test_records_wait_for_their_names(capture: Capture, listed: bool) -> None:
    names, outlet = Late(), Kept()
    names.listed = listed
    pipeline = Pipeline(Options(), capture, names, exports(outlet), Health())
    pipeline.report()
    at_once = sum(request.records for request in outlet.requests)
    assert at_once < CONNECTIONS
    assert at_once == 0 or listed
    assert not any(b"told" in request.data for request in outlet.requests)
    outlet.requests.clear()
    names.told = True
    pipeline.report(flush=True)
    pipeline.close()
    assert sum(request.records for request in outlet.requests) == 2 * CONNECTIONS - at_once
    assert all(b"told" in request.data for request in outlet.requests)


class Quiet:
    """conntrack's events, of which there are none."""

    def __init__(self, *, translated: bool) -> None:
        self.translated = translated

    def take(self) -> Told:
        return Told(np.zeros(0, EVENT), 0)

    def tell_again(self, events: np.ndarray) -> None:
        assert not len(events)


@pytest.mark.parametrize("translated", [True, False])
def test_beside_a_hook_events_do_not_keep_an_entry_alive(translated: bool) -> None:
    """Its REPLY may be the answers of another connection by now: the hook would have told."""
    dialled, to_pod = one(CLIENT, 40000, SERVICE, 80), one(CLIENT, 40000, POD, 8080)
    carry = joined(row(dialled), translation(dialled, to_pod, born=1)).carry
    answers = Window(row(inverse(to_pod), first=6, last=7), np.zeros(0, TRANSLATIONS), 0, 10 * SECOND, 0)
    source = Source("", events=Quiet(translated=translated))  # type: ignore[arg-type]  # as far as it is asked
    capture: Any = SimpleNamespace(take=lambda: answers, source=source, controls=SimpleNamespace(sampling=1))
    assert len(take(capture, carry, Health()).translations) == translated


def test_each_window_is_taken_with_what_the_last_one_left(monkeypatch: pytest.MonkeyPatch, capture: Capture) -> None:
    left: list[int] = []

    def take(_capture: Capture, carry: Carry, _health: Health) -> Window:
        left.append(len(carry.live))
        end_ns = 10 * SECOND * len(left)
        return Window(*rows_and_translations(half_and_half(Cluster(), CONNECTIONS), end_ns), 0, end_ns, 0)

    monkeypatch.setattr("natlens.pipeline.take", take)
    outlets = Kept(), Kept()
    pipeline = Pipeline(Options(), capture, Anonymous(), exports(*outlets), Health())
    for _ in range(3):
        pipeline.report()
    pipeline.close()
    assert left == [0, CONNECTIONS, CONNECTIONS]
    assert outlets[0].requests == outlets[1].requests
    assert [request.records for request in outlets[0].requests] == [1000] * 6
