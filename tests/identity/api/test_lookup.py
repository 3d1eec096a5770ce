import time
from itertools import pairwise
from pathlib import Path

import pytest
from tests.identity.api.manifests import pod
from tests.identity.api.recorder import Recorder, access_to, until
from tests.identity.api.script import Hang, Refuse
from tests.identity.api.server import ApiServer

from natlens.health import Health
from natlens.identity.api import lookup
from natlens.identity.api.keep import Keep
from natlens.identity.api.lookup import Lookup, Questions
from natlens.identity.objects import Pod

PATH = "/api/v1/pods"


def test_one_question_in_ten_seconds_the_oldest_first() -> None:
    questions = Questions()
    assert questions.wait_s(0.0) is None
    assert questions.add("a", 0.0)
    assert questions.add("b", 0.0)
    assert questions.add("a", 0.0)
    assert questions.wait_s(0.0) == 0
    assert questions.take(0.0) == "a"
    assert questions.wait_s(3.0) == 7
    assert questions.take(10.0) == "b"
    assert questions.wait_s(10.0) is None


def test_none_is_asked_for_twice_in_ten_minutes() -> None:
    questions = Questions()
    questions.add("a", 0.0)
    questions.take(0.0)
    assert not questions.add("a", 599.0)
    assert questions.add("a", 600.0)


def test_what_waits_and_what_is_remembered_is_bounded() -> None:
    questions = Questions()
    assert sum(questions.add(str(at), 0.0) for at in range(1000)) == 256
    for at in range(10_000):
        if not questions.add(f"x{at}", 0.0):
            questions.take(0.0)
    assert len(questions._asked) <= 4096


def test_a_question_that_failed_is_asked_again() -> None:
    questions = Questions()
    questions.add("a", 0.0)
    questions.failed(questions.take(0.0), 0.0, 60.0)
    assert questions.wait_s(0.0) == 60
    assert questions.take(60.0) == "a"


def test_the_pod_of_an_address_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "EVERY_S", 0.3)
    with ApiServer() as api:
        api.store.put("Pod", pod("a", "10.0.0.7", node="n9"))
        api.store.put("Pod", pod("b", "10.0.0.8", node="n9"))
        api.add("list", PATH, [Refuse(500)])
        sink, health = Recorder(), Health()
        found = Lookup(access_to(api, tmp_path), Keep(), sink, health)
        found.start()
        try:
            for address in ("10.0.0.7", "192.0.2.1", "10.0.0.7"):
                found.ask(address)
            until(lambda: health.count("identity_lookups", result="none") == 1)
            until(lambda: sink.names(Pod) == {"a"})
            found.ask("10.0.0.7")
            assert health.count("identity_lookups", result="refused") == 1
        finally:
            found.stop()
        requests = api.of("list", PATH)
        assert requests[0].query == {"fieldSelector": "status.podIP=10.0.0.7", "resourceVersion": "0"}
        assert len(requests) == 3
        times = [one.at_s for one in requests]
        assert all(later - earlier > 0.25 for earlier, later in pairwise(times))


def test_stops_at_once_while_a_request_hangs(tmp_path: Path) -> None:
    with ApiServer() as api:
        api.add("list", PATH, [Hang()])
        found = Lookup(access_to(api, tmp_path), Keep(), Recorder(), Health())
        found.start()
        found.ask("10.0.0.1")
        until(lambda: api.requests)
        begin = time.monotonic()
        found.stop()
        assert time.monotonic() - begin < 0.5
        assert not found._thread.is_alive()
