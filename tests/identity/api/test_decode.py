import json
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.identity.api.encode import Manifest, message_of, protobuf_frame, protobuf_list, status, wrapped
from tests.identity.api.manifests import manifests, node, pod, service, slice_of

from natlens.health import Health
from natlens.identity.api import schema_pb2 as schema
from natlens.identity.api.decode import Decoder, Event
from natlens.identity.api.failure import Failure
from natlens.identity.api.keep import Keep
from natlens.identity.objects import EndpointSlice, KubernetesObject, Node, Pod, Service

KINDS: dict[str, type[KubernetesObject]] = {
    "Pod": Pod,
    "Service": Service,
    "EndpointSlice": EndpointSlice,
    "Node": Node,
}
PROTOBUF, JSON = "application/vnd.kubernetes.protobuf", "application/json"


def serialized(kind: str, manifest: Manifest) -> bytes:
    return bytes(message_of(kind, manifest).SerializeToString())


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def decoder(kind: str, health: Health | None = None, keep: Keep | None = None) -> Decoder:
    return Decoder(KINDS[kind], keep or Keep(["app"], ["big"]), health or Health())


def json_list(kind: str, items: list[Manifest]) -> bytes:
    return json.dumps({"kind": f"{kind}List", "metadata": {"resourceVersion": "7"}, "items": items}).encode()


def events(kind: str, body: bytes, content_type: str = PROTOBUF, health: Health | None = None) -> list[Event]:
    return list(decoder(kind, health).read_events(content_type, pieces(body, 7)))


def frame(kind: str, event: str, manifest: Manifest) -> bytes:
    return protobuf_frame(event, wrapped(kind, serialized(kind, manifest)))


@settings(max_examples=400)
@given(manifests(), st.integers(1, 100))
def test_json_and_protobuf_give_equal_objects(one: tuple[str, Manifest], size: int) -> None:
    kind, manifest = one
    body = protobuf_list(kind, "7", [serialized(kind, manifest)])
    by_protobuf = decoder(kind).read_list(PROTOBUF, pieces(body, size))
    by_json = decoder(kind).read_list(JSON, pieces(json_list(kind, [manifest]), size))
    assert by_protobuf == by_json
    assert by_json.version == "7"
    assert len(by_json.objects) == 1


@settings(max_examples=100)
@given(manifests(), st.sampled_from(["ADDED", "MODIFIED", "DELETED"]))
def test_events_are_equal_in_json_and_protobuf(one: tuple[str, Manifest], event: str) -> None:
    kind, manifest = one
    line = json.dumps({"type": event, "object": manifest}).encode() + b"\n"
    found = events(kind, frame(kind, event, manifest) * 2)
    assert found == events(kind, line * 2, JSON)
    assert [one.type for one in found] == [event, event]


def test_what_is_read_is_what_was_written() -> None:
    found = decoder("EndpointSlice").read_list(
        PROTOBUF,
        pieces(
            protobuf_list("EndpointSlice", "9", [serialized("EndpointSlice", slice_of("e", ["::FFFF:10.0.0.9"]))]), 3
        ),
    )
    one = found.objects[0]
    assert isinstance(one, EndpointSlice)
    assert one.endpoints is not None
    assert one.endpoints[0].addresses == ["10.0.0.9"]
    assert one.endpoints[0].conditions is not None
    assert (one.endpoints[0].conditions.ready, one.endpoints[0].conditions.serving) == (True, None)
    assert one.metadata.labels == {"kubernetes.io/service-name": "s"}


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_only_wanted_keys_are_kept_and_values_cut(content_type: str) -> None:
    manifest = pod("p", labels={"app": "a", "x": "y"}, annotations={"big": "é" * 1000, "other": "z" * 250_000})
    body = (
        protobuf_list("Pod", "7", [serialized("Pod", manifest)])
        if content_type == PROTOBUF
        else json_list("Pod", [manifest])
    )
    one = decoder("Pod").read_list(content_type, iter([body])).objects[0]
    assert one.metadata.labels == {"app": "a"}
    assert one.metadata.annotations == {"big": "é" * 512}


def test_keys_are_bounded() -> None:
    many = {f"k{at}": "v" for at in range(100)}
    kept = Keep(many, many)
    assert len(kept.annotations(many) or {}) == 64
    assert (kept.labels({"pod-template-hash": "h"}) or {}) == {"pod-template-hash": "h"}


def test_repeated_texts_are_one_object() -> None:
    items = [serialized("Pod", pod(f"p{at}", node="-".join(["node", "1"]))) for at in range(2)]
    one, other = decoder("Pod").read_list(PROTOBUF, iter([protobuf_list("Pod", "7", items)])).objects
    assert isinstance(one, Pod)
    assert isinstance(other, Pod)
    assert one.spec.node_name is other.spec.node_name
    assert one.metadata.namespace is other.metadata.namespace


NOT_UTF8 = (
    schema.Pod(metadata=schema.ObjectMeta(name="abcdef")).SerializeToString().replace(b"abcdef", b"abc\xff\xfe\xfd")
)
HOSTILE = [
    NOT_UTF8,
    b"\x0a\xff\x01garbage",
    b"\x0a\x85\x80\x80\x80\x10",
    serialized("Pod", {"metadata": {}}),
    serialized("Pod", {"metadata": {"name": "p"}, "status": {"podIP": "not an address"}}),
    serialized("Pod", {"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [{"containerPort": 70000}]}]}}),
    schema.Pod(
        metadata=schema.ObjectMeta(name="p", creationTimestamp=schema.Time(seconds=1 << 60))
    ).SerializeToString(),
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_one_unreadable_object_costs_no_other(hostile: bytes) -> None:
    health = Health()
    items = [serialized("Pod", pod("a")), hostile, serialized("Pod", pod("b"))]
    found = decoder("Pod", health).read_list(PROTOBUF, iter([protobuf_list("Pod", "7", items)]))
    assert [one.metadata.name for one in found.objects] == ["a", "b"]
    assert found.unreadable == 1
    frames = b"".join(protobuf_frame("ADDED", wrapped("Pod", item)) for item in items)
    assert len(events("Pod", frames, health=health)) == 2
    assert health.count("identity_unreadable", kind="Pod") == 2


@pytest.mark.parametrize("hostile", ['{"metadata": {}}', '{"metadata": {"name": 5}}', "[]", "null"])
def test_one_unreadable_object_of_json_costs_no_other(hostile: str) -> None:
    health = Health()
    body = (
        f'{{"kind": "PodList", "metadata": {{"resourceVersion": "7"}}, "items": [{json.dumps(pod("a"))}, {hostile}]}}'
    )
    found = decoder("Pod", health).read_list(JSON, iter([body.encode()]))
    assert [one.metadata.name for one in found.objects] == ["a"]
    assert health.count("identity_unreadable") == 1
    line = f'{{"type": "ADDED", "object": {hostile}}}\n'
    assert events("Pod", line.encode(), JSON, health) == []


def test_an_object_of_absurd_size_is_skipped_without_being_kept() -> None:
    huge = serialized("Pod", pod("a", annotations={"big": "x" * (9 << 20)}))
    items = [huge, serialized("Pod", pod("b"))]
    found = decoder("Pod").read_list(PROTOBUF, pieces(protobuf_list("Pod", "7", items), 1 << 16))
    assert [one.metadata.name for one in found.objects] == ["b"]
    assert found.unreadable == 1


def test_a_list_is_decoded_as_it_arrives() -> None:
    body = protobuf_list("Pod", "7", [serialized("Pod", pod(f"p{at}")) for at in range(100)])
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        for piece in pieces(body, 100):
            read += len(piece)
            yield piece

    seen: list[int] = []
    one = decoder("Pod")
    make = one._make

    def note(message: object, keep: Keep) -> KubernetesObject:
        seen.append(read)
        found: KubernetesObject = make(message, keep)
        return found

    one._make = note
    one.read_list(PROTOBUF, chunks())
    assert len(set(seen)) > 50


@pytest.mark.parametrize("cut", [1, 3, 10, 30, 80, 130, -1])
def test_a_list_that_ends_early_is_no_list(cut: int) -> None:
    body = protobuf_list("Pod", "7", [serialized("Pod", pod("a")), serialized("Pod", pod("b"))])
    with pytest.raises(Failure) as failed:
        decoder("Pod").read_list(PROTOBUF, iter([body[:cut]]))
    assert failed.value.code == "truncated"
    with pytest.raises(Failure):
        decoder("Pod").read_list(JSON, iter([json_list("Pod", [pod("a")])[:cut]]))


@pytest.mark.parametrize(
    "body",
    [
        b"<html>an error page</html>",
        b"k8s\0" + b"\xff" * 20,
        wrapped("ServiceList", b"\x0a\x02\x12\x00"),
        wrapped("PodList", b""),
        wrapped("PodList", b"\x0a\x00"),
        wrapped("PodList", b"\x12\x00"),
        wrapped("PodList", b"\x0a\x03\x12\x01\x37\x12\x7f"),
    ],
)
def test_garbage_is_no_list(body: bytes) -> None:
    with pytest.raises(Failure) as failed:
        decoder("Pod").read_list(PROTOBUF, iter([body]))
    assert failed.value.code in {"garbage", "truncated"}


@settings(max_examples=300)
@given(st.binary(max_size=200), st.binary(max_size=30), st.integers(0, 200))
def test_bytes_of_any_kind_raise_nothing_but_a_failure(body: bytes, noise: bytes, at: int) -> None:
    good = protobuf_list("Pod", "7", [serialized("Pod", pod("a"))])
    watched = frame("Pod", "ADDED", pod("a"))
    for content_type in (PROTOBUF, JSON):
        for raw in (body, b"k8s\0" + body, good[:at] + noise + good[at:]):
            _swallow(partial(decoder("Pod").read_list, content_type, iter([raw])))
        for raw in (body, watched[:at] + noise + watched[at:]):
            _swallow(partial(events, "Pod", raw, content_type))


def _swallow(call: Callable[[], object]) -> None:
    with suppress(Failure):
        call()


def test_another_content_type_is_garbage() -> None:
    with pytest.raises(Failure, match="text/html"):
        decoder("Pod").read_list("text/html", iter([b""]))


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_bookmarks_have_a_version_and_no_object(content_type: str) -> None:
    manifest = {"metadata": {"resourceVersion": "42"}}
    line = json.dumps({"type": "BOOKMARK", "object": manifest}).encode() + b"\n"
    body = frame("Service", "BOOKMARK", manifest) if content_type == PROTOBUF else line
    assert events("Service", body, content_type) == [Event("BOOKMARK", "42")]


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_an_error_event_ends_the_watch_with_its_status(content_type: str) -> None:
    error = status(504, "Too large resource version", 3, ("ResourceVersionTooLarge",))
    line = json.dumps({"type": "ERROR", "object": error}).encode() + b"\n"
    body = frame("Status", "ERROR", error) if content_type == PROTOBUF else line
    with pytest.raises(Failure) as failed:
        events("Service", body, content_type)
    failure = failed.value
    assert (failure.status, failure.retry_after_s, failure.too_large, failure.event) == (504, 3, True, True)


@pytest.mark.parametrize("cut", [2, 4, 10, -1])
def test_a_watch_that_ends_within_an_event_is_truncated(cut: int) -> None:
    whole = frame("Service", "ADDED", service("a"))
    with pytest.raises(Failure) as failed:
        events("Service", whole + whole[:cut])
    assert failed.value.code == "truncated"


def test_a_frame_of_absurd_size_is_garbage_before_it_is_read() -> None:
    with pytest.raises(Failure) as failed:
        events("Service", struct.pack(">I", 1 << 30))
    assert failed.value.code == "garbage"


def test_a_node_list_knows_its_nodes() -> None:
    found = decoder("Node").read_list(PROTOBUF, iter([protobuf_list("Node", "7", [serialized("Node", node("n1"))])]))
    one = found.objects[0]
    assert isinstance(one, Node)
    assert one.status.addresses is not None
    assert one.status.addresses[0].address == "192.0.2.1"
    assert one.spec.pod_cidrs == ["10.0.0.0/24"]
