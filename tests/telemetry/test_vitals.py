"""What probes are told, and when."""

import pytest

from natlens.health import Health
from natlens.telemetry.vitals import Vitals


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("interval", "limit"), [(10.0, 30.0), (0.1, 10.0), (60.0, 180.0)])
def test_alive_while_windows_come(interval: float, limit: float) -> None:
    clock = Clock()
    health = Health(clock)
    vitals = Vitals(health, interval)
    assert vitals.alive() == (200, b"starting: no window yet\n", vitals.alive().content_type)
    health.mark("window")
    clock.now += limit
    assert vitals.alive().status == 200
    clock.now += 0.1
    assert vitals.alive()[:2] == (503, f"stuck: last window {limit + 0.1:.1f} s ago, at most {limit:g} s\n".encode())
    health.mark("window")
    assert vitals.alive().status == 200


def test_ready_when_it_captures_and_has_names() -> None:
    clock = Clock()
    health = Health(clock)
    vitals = Vitals(health, 10)
    assert vitals.ready()[:2] == (
        503,
        b"not capturing yet; names are not listed yet; starting: no window yet\n",
    )
    health.set("capturing", 1)
    assert vitals.ready()[:2] == (503, b"capturing; names are not listed yet; starting: no window yet\n")
    health.set("names_ready", 1)
    assert vitals.ready()[:2] == (200, b"capturing; names are there; starting: no window yet\n")
    health.mark("window")
    clock.now += 31
    assert vitals.ready().status == 503
    health.mark("window")
    health.set("capturing", 0)
    assert vitals.ready().status == 503
