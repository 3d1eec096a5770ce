"""Watchers against the tests' API server: what the sink has in the end is what the server has."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from tests.identity.api.encode import Manifest, status
from tests.identity.api.manifests import node, pod, service, slice_of
from tests.identity.api.recorder import Recorder, access_to, until
from tests.identity.api.script import Answer, Drip, Hang, Play, Refuse, Reset, Serve
from tests.identity.api.server import ApiServer

from natlens.health import Health
from natlens.identity.api.keep import Keep
from natlens.identity.api.resources import SERVICES, SLICES, Resource, own_node, pods_on
from natlens.identity.api.watch import Watcher
from natlens.identity.objects import EndpointSlice, Node, Pod, Service

PATH = SERVICES.path


class Quick(Random):
    """No jitter: waits are as short as they may be."""

    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


class Followed:
    def __init__(self, api: ApiServer, directory: Path, resource: Resource) -> None:
        self.sink, self.health = Recorder(), Health()
        self.watcher = Watcher(
            access_to(api, directory), resource, Keep(), self.sink, self.health, empty_again_s=0.3, random=Quick()
        )


@contextmanager
def following(api: ApiServer, directory: Path, resource: Resource = SERVICES) -> Iterator[Followed]:
    followed = Followed(api, directory, resource)
    followed.watcher.start()
    try:
        yield followed
    finally:
        begin = time.monotonic()
        followed.watcher.stop()
        assert time.monotonic() - begin < 1


@pytest.mark.parametrize("protobuf", [True, False])
@pytest.mark.parametrize(
    ("resource", "kind", "first", "second"),
    [
        (SERVICES, Service, service("a"), service("b")),
        (SLICES, EndpointSlice, slice_of("a", ["10.0.0.1"]), slice_of("b", ["10.0.0.2"])),
        (pods_on("n1"), Pod, pod("a"), pod("b", "10.0.0.2")),
    ],
)
def test_every_kind_is_followed_in_protobuf_and_json(
    tmp_path: Path, resource: Resource, kind: type[Pod], first: Manifest, second: Manifest, protobuf: bool
) -> None:
    with ApiServer(protobuf=protobuf) as api:
        api.store.put(kind.__name__, first)
        with following(api, tmp_path, resource) as followed:
            assert followed.watcher.synced.wait(5)
            assert followed.sink.names(kind) == {"a"}
            before = time.time_ns()
            api.store.put(kind.__name__, second)
            until(lambda: followed.sink.names(kind) == {"a", "b"})
            api.store.delete(kind.__name__, first)
            until(lambda: followed.sink.names(kind) == {"b"})
            name, of, at_ns = followed.sink.calls[-1]
            assert (name, of) == ("delete", "a")
            assert before <= at_ns <= time.time_ns()
            assert followed.watcher.age_s < 5
            assert followed.health.snapshot()[f"identity_synced{{resource={resource.label}}}"] == 1.0


def test_only_this_nodes_pods_are_asked_for(tmp_path: Path) -> None:
    with ApiServer() as api:
        api.store.put("Pod", pod("mine"))
        api.store.put("Pod", pod("other", node="n2"))
        with following(api, tmp_path, pods_on("n1")) as followed:
            assert followed.watcher.synced.wait(5)
            api.store.put("Pod", pod("mine too"))
            until(lambda: followed.sink.names(Pod) == {"mine", "mine too"})


def test_the_own_node_replaces_no_other(tmp_path: Path) -> None:
    with ApiServer() as api:
        api.store.put("Node", node("n1"))
        with following(api, tmp_path, own_node("n1")) as followed:
            assert followed.watcher.synced.wait(5)
            assert [call[:2] for call in followed.sink.calls] == [("put", "n1")]
            api.store.put("Node", node("n2"))
            api.store.put("Node", node("n1"))
            until(lambda: len(followed.sink.calls) == 2)
            assert followed.sink.names(Node) == {"n1"}


def test_lists_are_gzipped_and_counted_as_on_the_wire(tmp_path: Path) -> None:
    with ApiServer(bookmarks_s=None) as api:
        for at in range(500):
            api.store.put("Service", service(f"s{at}"))
        with following(api, tmp_path) as followed:
            assert followed.watcher.synced.wait(5)
            assert api.of("list", PATH)[0].headers["accept-encoding"] == "gzip"
            assert len(followed.sink.names(Service)) == 500
            assert 1000 < followed.health.count("identity_bytes", resource="services") < 500 * 40
            assert followed.health.count("identity_requests", resource="services", code="200") >= 1


def test_an_unreadable_event_ends_nothing(tmp_path: Path) -> None:
    bad = {"metadata": {"name": "bad"}, "spec": {"clusterIP": "nonsense"}}
    with ApiServer() as api, following(api, tmp_path) as followed:
        assert followed.watcher.synced.wait(5)
        until(lambda: api.of("watch", PATH))
        api.store.put("Service", bad)
        api.store.put("Service", service("good"))
        until(lambda: followed.sink.names(Service) == {"good"})
        assert followed.health.count("identity_unreadable", kind="Service") == 1
        assert len(api.of("watch", PATH)) == 1


OLD = service("old")
OLD["metadata"]["resourceVersion"] = "1"
FAULTS: list[tuple[str, list[Answer]]] = [
    ("list", [Refuse(500), Refuse(503)]),
    ("list", [Reset()]),
    ("list", [Serve(cut_after_bytes=30)]),
    ("list", [Serve(changed=b"k8s\0 this is not a list")]),
    ("list", [Serve(content_type="text/html")]),
    ("list", [Refuse(401)]),
    ("list", [Refuse(504, "Too large resource version: 9, current: 1", "1")]),
    ("watch", [Refuse(410)]),
    ("watch", [Refuse(500)]),
    ("watch", [Reset()]),
    ("watch", [Play((("ERROR", status(410, "too old resource version")),))]),
    ("watch", [Play((("ERROR", status(500, "etcd is away")),), "stay")]),
    ("watch", [Play((), "cut")]),
    ("watch", [Play((), "end")]),
    ("watch", [Play((("ADDED", service("ghost")), ("ADDED", OLD)), "stay")]),
    ("watch", [Serve(changed=b"\x00\x00\x00\x05garbage that is no frame")]),
]


@pytest.mark.parametrize(
    ("verb", "answers", "protobuf"),
    [*((*fault, True) for fault in FAULTS), *((*FAULTS[at], False) for at in (2, 10, -2))],
)
def test_after_any_fault_all_is_known_and_nothing_wrong(
    tmp_path: Path, verb: str, answers: list[Answer], protobuf: bool
) -> None:
    with ApiServer(protobuf=protobuf) as api:
        api.store.put("Service", service("a"))
        api.add(verb, PATH, answers)
        with following(api, tmp_path) as followed:
            assert followed.watcher.synced.wait(5)
            api.store.put("Service", service("b"))
            until(lambda: followed.sink.names(Service) - {"ghost"} == {"a", "b"})
            assert "old" not in {name for _, name, _ in followed.sink.calls}
        assert len(api.requests) > 2
        times = [one.at_s for one in api.requests]
        assert all(later - earlier > 0.8 for earlier, later in zip(times, times[2:], strict=False))


def test_deleted_while_nobody_watched_is_gone_after_the_list(tmp_path: Path) -> None:
    with ApiServer() as api:
        one = api.store.put("Service", service("a"))
        api.store.put("Service", service("b"))
        api.add("watch", PATH, [Play((), "cut"), Refuse(410)])
        with following(api, tmp_path) as followed:
            assert followed.watcher.synced.wait(5)
            api.store.delete("Service", one)
            until(lambda: followed.sink.names(Service) == {"b"})


def test_a_restored_server_is_a_new_history(tmp_path: Path) -> None:
    with ApiServer() as api:
        api.store.put("Service", service("a"))
        api.add("watch", PATH, [Play((), "end"), Refuse(410)])
        with following(api, tmp_path) as followed:
            assert followed.watcher.synced.wait(5)
            api.store.restore(version=5)
            api.store.put("Service", service("b"))
            until(lambda: followed.sink.names(Service) == {"b"})
            api.store.put("Service", service("c"))
            until(lambda: followed.sink.names(Service) == {"b", "c"})
        assert len(api.requests) < 15


def test_an_empty_list_is_believed_only_when_it_comes_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ApiServer() as api:
        api.store.put("Service", service("a"))
        api.add("watch", PATH, [Refuse(410)])
        with following(api, tmp_path) as followed:
            assert followed.watcher.synced.wait(5)
            api.store.restore(version=2000)
            until(lambda: "none where there were some" in caplog.text)
            assert followed.sink.names(Service) == {"a"}
            until(lambda: not followed.sink.names(Service))
        first, second = [one.at_s for one in api.of("list", PATH)][-2:]
        assert second - first > 0.29


@pytest.mark.parametrize("answer", [Hang(), Hang(after_headers=True), Drip(0.01)])
def test_stops_at_once_whatever_it_waits_for(tmp_path: Path, answer: Answer) -> None:
    with ApiServer() as api:
        verb = "list" if answer == Hang() else "watch"
        api.add(verb, PATH, [answer])
        with following(api, tmp_path) as followed:
            until(lambda: api.of(verb, PATH))
            time.sleep(0.05)
        assert not followed.watcher._thread.is_alive()
        assert followed.health.count("identity_broken") == 0


def test_stops_at_once_while_it_waits_to_ask_again(tmp_path: Path) -> None:
    with ApiServer() as api:
        api.forever["list", PATH] = Refuse(403)
        with following(api, tmp_path) as followed:
            until(lambda: api.requests)
        assert not followed.watcher._thread.is_alive()


def test_forbidden_names_the_right_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ApiServer() as api:
        api.add("list", SLICES.path, [Refuse(403, 'User "x" cannot list resource')])
        with following(api, tmp_path, SLICES) as followed:
            until(lambda: caplog.records)
            assert followed.health.snapshot()["identity_synced{resource=endpointslices}"] == 0.0
    assert len(caplog.records) == 1
    line = caplog.text
    assert 'User "x" cannot list resource' in line
    assert 'list and watch on endpointslices (apiGroup "discovery.k8s.io")' in line
    assert "pods of other nodes" in line


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    with ApiServer() as api:
        api.add("list", PATH, [Refuse(429, retry_after="2")])
        with following(api, tmp_path) as followed:
            assert followed.watcher.synced.wait(5)
        first, second = [one.at_s for one in api.of("list", PATH)][:2]
        assert 2 <= second - first < 2.5


def test_a_server_that_is_away_is_said_once_and_found_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with ApiServer() as gone:
        port = gone.port
        followed = Followed(gone, tmp_path, SERVICES)
    followed.watcher.start()
    try:
        until(lambda: followed.health.count("identity_requests", code="connect") >= 3)
        assert len(caplog.records) == 1
        assert "check the server's address" in caplog.text
        with ApiServer(port=port) as api:
            api.store.put("Service", service("a"))
            assert followed.watcher.synced.wait(10)
            until(lambda: len(caplog.records) == 2)
            followed.watcher.stop()
    finally:
        followed.watcher.stop()


def test_a_mistake_of_the_sink_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ApiServer() as api, following(api, tmp_path) as followed:
        assert followed.watcher.synced.wait(5)
        until(lambda: api.of("watch", PATH))
        put = followed.sink.put
        followed.sink.put = lambda *_: 1 / 0  # type: ignore[assignment,method-assign]
        api.store.put("Service", service("a"))
        until(lambda: "ZeroDivisionError" in caplog.text)
        followed.sink.put = put  # type: ignore[method-assign]
        until(lambda: followed.sink.names(Service) == {"a"})
