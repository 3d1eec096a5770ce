"""The protocol without a thread, a socket, or a clock that runs by itself."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natlens.identity.api.decode import Event
from natlens.identity.api.failure import Failure
from natlens.identity.api.reflector import UNSURE, List, Reflector, Wait, Watch
from natlens.identity.api.resources import SERVICES, pods_on


class Clock:
    """Does what a reflector says, and counts when it asked."""

    def __init__(self, seed: int = 1, reflector: Reflector | None = None) -> None:
        self.now = 1000.0
        self.reflector = reflector or Reflector(SERVICES, Random(seed))
        self.requests: list[tuple[float, List | Watch]] = []

    @property
    def state(self) -> str:
        return self.reflector.state

    def ask(self) -> List | Watch:
        """Wait as told, and return the next request."""
        while isinstance(step := self.reflector.next(self.now), Wait):
            assert step.seconds > 0
            self.now += step.seconds
        self.requests.append((self.now, step))
        return step

    def after(self, call: Callable[[], List | Watch]) -> tuple[float, List | Watch]:
        before = self.now
        step = call()
        return self.now - before, step

    def follow(self, version: str = "10", count: int = 3) -> None:
        """List and begin to watch."""
        assert isinstance(self.ask(), List)
        assert self.reflector.listed(self.now, version, count)
        assert isinstance(self.ask(), Watch)

    def fail(self, code: str = "connect", status: int | None = None, **more: object) -> None:
        self.reflector.failed(self.now, Failure(str(status or code), "told to", status, **more))  # type: ignore[arg-type]


def event(version: str, kind: str = "MODIFIED") -> Event:
    return Event(kind, version)  # type: ignore[arg-type]


def test_begins_with_a_list_of_any_age_and_watches_from_its_version() -> None:
    clock = Clock(reflector=Reflector(pods_on("n1"), Random(1)))
    assert clock.ask() == List({"fieldSelector": "spec.nodeName=n1", "resourceVersion": "0"})
    assert clock.reflector.listed(clock.now, "10", 3)
    waited, step = clock.after(clock.ask)
    assert waited == 0
    assert isinstance(step, Watch)
    assert 300 <= int(step.query.pop("timeoutSeconds")) <= 600
    assert step.query == {
        "fieldSelector": "spec.nodeName=n1",
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "10",
    }
    assert clock.state == "synced"


def test_watches_on_from_the_last_version_at_once_when_the_server_ends_the_watch() -> None:
    clock = Clock()
    clock.follow()
    clock.now += 300
    assert clock.reflector.event(clock.now, event("15"))
    assert not clock.reflector.event(clock.now, event("20", "BOOKMARK"))
    clock.now += 100
    clock.reflector.ended(clock.now)
    waited, step = clock.after(clock.ask)
    assert waited == 0
    assert isinstance(step, Watch)
    assert step.query["resourceVersion"] == "20"


def test_a_watch_that_ends_at_once_is_not_asked_for_twice_a_second_for_ever() -> None:
    clock = Clock()
    clock.follow()
    for _ in range(50):
        clock.reflector.ended(clock.now)
        assert isinstance(clock.ask(), Watch)
    assert clock.now - 1000 > 300


@pytest.mark.parametrize("as_event", [True, False])
def test_410_is_one_list_with_jitter_no_older_than_the_last_version(as_event: bool) -> None:
    waits = []
    for seed in range(50):
        clock = Clock(seed)
        clock.follow("10")
        clock.now += 60
        clock.reflector.event(clock.now, event("15"))
        clock.fail(status=410, event=as_event)
        waited, step = clock.after(clock.ask)
        assert step == List({"resourceVersion": "15", "resourceVersionMatch": "NotOlderThan"})
        waits.append(waited)
    assert max(waits) <= 5
    assert max(waits) - min(waits) > 3


def test_410_without_end_backs_off() -> None:
    clock = Clock()
    for _ in range(30):
        clock.follow()
        clock.fail(status=410, event=True)
    assert clock.now - 1000 > 200


def test_410_after_an_outage_is_one_list_with_jitter_too() -> None:
    waits = []
    for seed in range(30):
        clock = Clock(seed)
        clock.follow("10")
        for _ in range(12):
            clock.fail("connect")
            clock.ask()
        clock.fail(status=410)
        waited, step = clock.after(clock.ask)
        assert isinstance(step, List)
        waits.append(waited)
    assert max(waits) <= 5


def test_any_other_error_event_is_a_list_with_backoff() -> None:
    clock = Clock()
    clock.follow()
    clock.now += 60
    clock.fail(status=500, event=True)
    assert isinstance(clock.ask(), List)


@pytest.mark.parametrize("code", ["truncated", "garbage", "connect", "tls"])
def test_a_broken_watch_goes_on_from_the_last_version(code: str) -> None:
    clock = Clock()
    clock.follow()
    clock.reflector.event(clock.now, event("12"))
    clock.fail(code)
    waited, step = clock.after(clock.ask)
    assert isinstance(step, Watch)
    assert step.query["resourceVersion"] == "12"
    assert waited <= 1


def test_an_older_version_after_a_newer_is_not_applied_and_all_is_listed_again() -> None:
    clock = Clock()
    clock.follow("10")
    assert clock.reflector.event(clock.now, event("12"))
    with pytest.raises(Failure, match="came after") as failed:
        clock.reflector.event(clock.now, event("11"))
    assert failed.value.code == "reordered"
    clock.reflector.failed(clock.now, failed.value)
    assert clock.ask() == List({"resourceVersion": "12", "resourceVersionMatch": "NotOlderThan"})


def test_versions_that_are_no_numbers_are_not_compared() -> None:
    clock = Clock()
    clock.follow("b")
    assert clock.reflector.event(clock.now, event("a"))


def test_versions_are_compared_as_numbers() -> None:
    clock = Clock()
    clock.follow("99")
    assert clock.reflector.event(clock.now, event("100"))


def test_too_large_a_version_waits_as_told_then_takes_any() -> None:
    clock = Clock()
    clock.follow("1000")
    clock.fail(status=410, event=True)
    clock.ask()
    clock.fail(status=504, retry_after_s=7.0, too_large=True)
    waited, step = clock.after(clock.ask)
    assert 7 <= waited <= 8.5
    assert step == List({"resourceVersion": "0"})
    assert clock.reflector.listed(clock.now, "5", 2), "an older history is taken"
    step = clock.ask()
    assert isinstance(step, Watch)
    assert step.query["resourceVersion"] == "5"
    assert clock.reflector.event(clock.now, event("6"))


def test_silence_is_found_and_a_drip_is_silence() -> None:
    clock = Clock()
    clock.follow()
    clock.now += 179
    assert not clock.reflector.silent(clock.now)
    clock.reflector.event(clock.now, event("11", "BOOKMARK"))
    clock.now += 179
    assert not clock.reflector.silent(clock.now)
    clock.now += 2
    assert clock.reflector.silent(clock.now)
    assert clock.reflector.age_s(clock.now) == 181


def test_after_silence_it_watches_on_where_there_were_bookmarks_and_lists_where_not() -> None:
    clock = Clock()
    clock.follow()
    clock.reflector.event(clock.now, event("11", "BOOKMARK"))
    clock.now += 181
    clock.fail("silent")
    assert isinstance(clock.ask(), Watch)
    clock.now += 181
    clock.fail("timeout")
    assert isinstance(clock.ask(), List)


def test_a_server_without_bookmarks_is_not_asked_in_a_loop() -> None:
    clock = Clock()
    for _ in range(10):
        clock.follow()
        clock.reflector.opened(clock.now)
        clock.now += 181
        clock.fail("silent")
        assert clock.state == "synced", "where nothing happens silence is no news"
    assert len(clock.requests) == 20
    assert clock.now - 1000 > 10 * 181


def test_an_empty_list_is_believed_the_second_time() -> None:
    clock = Clock()
    clock.follow("10", count=3)
    clock.fail(status=410, event=True)
    clock.ask()
    assert not clock.reflector.listed(clock.now, "11", 0)
    assert clock.state == "held"
    waited, step = clock.after(clock.ask)
    assert waited == pytest.approx(30)
    assert isinstance(step, List)
    assert clock.reflector.listed(clock.now, "11", 0)
    assert isinstance(clock.ask(), Watch)


def test_an_empty_list_that_fills_again_was_not_believed() -> None:
    clock = Clock()
    clock.follow("10", count=3)
    clock.fail(status=410, event=True)
    for _ in range(2):
        clock.ask()
        assert not clock.reflector.listed(clock.now, "11", 0)
        clock.ask()
        assert clock.reflector.listed(clock.now, "12", 3)
        clock.ask()
        clock.fail(status=410, event=True)


def test_an_empty_list_is_believed_where_there_was_nothing() -> None:
    clock = Clock()
    clock.follow("10", count=0)
    assert clock.state == "synced"
    clock.reflector.event(clock.now, event("11", "ADDED"))
    clock.reflector.event(clock.now, event("12", "DELETED"))
    clock.fail(status=410, event=True)
    clock.ask()
    assert clock.reflector.listed(clock.now, "13", 0)


def test_what_was_added_is_not_forgotten_at_once_either() -> None:
    clock = Clock()
    clock.follow("10", count=0)
    clock.reflector.event(clock.now, event("11", "ADDED"))
    clock.fail(status=410, event=True)
    clock.ask()
    assert not clock.reflector.listed(clock.now, "13", 0)


def test_forbidden_is_asked_again_slowly() -> None:
    clock = Clock()
    for _ in range(UNSURE):
        clock.ask()
        clock.fail(status=403)
    for _ in range(20):
        clock.ask()
        clock.fail(status=403)
        assert clock.state == "forbidden"
        waited, _ = clock.after(clock.ask)
        clock.fail(status=403)
        assert 30 <= waited <= 60


def test_a_server_that_begins_and_refuses_everybody_is_asked_again_soon() -> None:
    clock = Clock()
    clock.follow()
    for _ in range(5):
        clock.fail("truncated")
        clock.ask()
        clock.fail(status=403)
        assert clock.state == "synced"
        waited, _ = clock.after(clock.ask)
        assert waited <= 3
        clock.reflector.opened(clock.now)
        clock.now += 20


def test_401_is_asked_again_soon_and_then_less_and_less() -> None:
    clock = Clock()
    clock.follow()
    clock.fail(status=401)
    assert clock.state == "synced", "the token was only old"
    waited, _ = clock.after(clock.ask)
    assert waited <= 1
    clock.fail(status=401)
    assert clock.state == "unauthorized"


def test_retry_after_is_kept_and_bounded() -> None:
    clock = Clock()
    clock.ask()
    clock.fail(status=429, retry_after_s=12.0)
    waited, _ = clock.after(clock.ask)
    assert 12 <= waited <= 13
    clock.fail(status=429, retry_after_s=1e6)
    waited, _ = clock.after(clock.ask)
    assert 300 <= waited <= 302


@pytest.mark.parametrize("code", ["500", "503", "connect", "tls", "timeout", "truncated", "garbage", "internal"])
def test_backoff_has_full_jitter_and_grows_to_30_seconds(code: str) -> None:
    status = int(code) if code.isdigit() else None
    waits: list[list[float]] = []
    for seed in range(60):
        clock = Clock(seed)
        clock.ask()
        waits.append([])
        for _ in range(12):
            clock.fail(code, status=status)
            waited, _ = clock.after(clock.ask)
            waits[-1].append(waited)
    first, last = ([one[at] for one in waits] for at in (0, 11))
    assert max(first) <= 0.5
    assert 20 < max(last) <= 30
    assert min(last) < 5


def test_one_break_is_no_news_but_two_are() -> None:
    clock = Clock()
    clock.follow()
    clock.fail("truncated")
    assert clock.state == "synced"
    clock.ask()
    clock.fail("connect")
    assert clock.state == "failing"
    clock.ask()
    clock.reflector.event(clock.now, event("11"))
    assert clock.state == "synced"


def test_a_watch_that_thrives_ends_the_backoff() -> None:
    clock = Clock(seed=3)
    clock.follow()
    for _ in range(8):
        clock.fail("connect")
        clock.ask()
    clock.now += 11
    clock.reflector.event(clock.now, event("11"))
    clock.fail("truncated")
    waited, _ = clock.after(clock.ask)
    assert waited <= 0.5


ANSWERS = st.sampled_from(
    ["list", "empty", "end", "event", "old", "bookmark", 401, 403, 410, 429, 500, 504, "cut", "silent"]
)


@settings(max_examples=300)
@given(st.lists(st.tuples(ANSWERS, st.sampled_from([0.0, 0.001, 0.3, 2.0, 15.0])), max_size=120), st.integers())
def test_never_more_than_two_requests_a_second_whatever_is_answered(
    answers: list[tuple[str | int, float]], seed: int
) -> None:
    clock = Clock(seed)
    clock.ask()
    for answer, later in answers:
        clock.now += later
        watching = isinstance(clock.requests[-1][1], Watch)
        match answer:
            case int():
                clock.fail(status=answer, too_large=answer == 504, event=watching)
            case "list" | "empty" if not watching:
                clock.reflector.listed(clock.now, "10", answer == "list")
            case "event" | "bookmark" | "old" if watching:
                try:
                    clock.reflector.event(clock.now, event("1" if answer == "old" else "11"))
                except Failure as failure:
                    clock.reflector.failed(clock.now, failure)
                else:
                    continue
            case "end" if watching:
                clock.reflector.ended(clock.now)
            case _:
                clock.fail("silent" if answer == "silent" else "truncated")
        clock.ask()
    times = [at for at, _ in clock.requests]
    assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in zip(times, times[2:], strict=False))
