"""Health's durations, ages and gauges: cheap, and right from several threads."""

import threading

import pytest

from natlens.health import Health


def test_a_duration_counts_however_its_body_ends() -> None:
    health = Health(iter([1.0, 1.5, 2.0, 4.0, 9.0]).__next__)
    with health.timed("stage", stage="join"):
        pass
    with pytest.raises(KeyError), health.timed("stage", stage="join"):
        raise KeyError
    key = (("stage", "join"),)
    assert health.values() == {("stage_count", key): 2, ("stage_time_us", key): 2_500_000}
    assert health.snapshot() == {}, "the summary line tells of records, not of durations"


def test_age_is_the_time_since_the_last_mark() -> None:
    now = [5.0]
    health = Health(lambda: now[0])
    assert health.age("window") is None
    health.mark("window")
    now[0] = 7.5
    assert health.age("window") == 2.5
    assert health.values() == {("window_age_s", ()): 2.5}
    health.mark("window")
    assert health.age("window") == 0


def test_gauges_can_be_asked_for() -> None:
    health = Health()
    assert health.gauge("capturing") is None
    health.set("capturing", 1)
    health.set("queue_bytes", 5, signal="logs")
    assert (health.gauge("capturing"), health.gauge("queue_bytes", signal="logs")) == (1, 5)


def test_nothing_is_lost_between_threads() -> None:
    health = Health()

    def work() -> None:
        for _ in range(2000):
            health.add("records_captured")
            health.time("stage", 0.001)
            health.values()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert health.count("records_captured") == health.values()["stage_count", ()] == 8000
    assert health.values()["stage_time_us", ()] == pytest.approx(8_000_000)
