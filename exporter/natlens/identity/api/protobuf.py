r"""The API's protobuf: lists as a stream of items, and watch frames.

``k8s\0`` and a runtime.Unknown around the object (https://kubernetes.io/docs/reference/using-api/api-concepts/
#protobuf-encoding); a watch is frames of a length in 4 bytes, big-endian, and a WatchEvent of such an object.
"""

from collections.abc import Iterator

from google.protobuf.message import DecodeError

from natlens.identity.api import schema_pb2 as schema
from natlens.identity.api.failure import Failure
from natlens.identity.api.feed import BYTES, Feed

__all__ = ["LARGEST_OBJECT", "read_list", "status_of", "unwrap", "watch_frames"]

MAGIC = b"k8s\0"
LARGEST_OBJECT = 8 << 20
"""Bytes; etcd takes 1.5 MiB, and what is larger cannot be an object."""


def read_list(feed: Feed, kind: str) -> tuple[str, Iterator[bytes | None]]:
    """Return a list's version and its items' bytes as they arrive; None for one that is too large to be read.

    Raises :class:`Failure`, iterating too: ``truncated``, or ``garbage`` if it is no list of ``kind`` with a version.
    """
    if feed.read(len(MAGIC)) != MAGIC:
        raise Failure("garbage", "the answer is not Kubernetes' protobuf: it begins otherwise")
    while (field := feed.field()) != (2, BYTES):  # runtime.Unknown.raw, the list itself
        if field == (1, BYTES):
            _check_kind(_small(feed), kind)
        else:
            feed.skip_field(field[1])
    size = feed.varint()
    end = feed.position + size
    if not size or feed.field() != (1, BYTES):
        raise Failure("garbage", "the list does not begin with its version")
    return _version(_small(feed)), _items(feed, end)


def _items(feed: Feed, end: int) -> Iterator[bytes | None]:
    while feed.position < end:
        field = feed.field()
        if field != (2, BYTES):
            feed.skip_field(field[1])
            continue
        size = feed.varint()
        if feed.position + size > end:
            raise Failure("garbage", f"the answer is no protobuf: an item of {size} bytes is longer than its list")
        if size > LARGEST_OBJECT:
            feed.skip(size)
            yield None
        else:
            yield feed.read(size)
    while not feed.ended():  # the rest of the envelope
        feed.skip_field(feed.field()[1])


def watch_frames(feed: Feed) -> Iterator[tuple[str, bytes]]:
    """Yield (type, object with its envelope) of every event as it arrives; raises :class:`Failure`."""
    while not feed.ended():
        size = int.from_bytes(feed.read(4))
        if size > LARGEST_OBJECT:
            raise Failure("garbage", f"a watch frame of {size} bytes")
        try:
            event = schema.WatchEvent.FromString(feed.read(size))
            frame = event.type, event.object.raw
        except (DecodeError, UnicodeDecodeError) as error:
            raise Failure("garbage", "a watch frame is no protobuf") from error
        yield frame


def unwrap(raw: bytes) -> tuple[str, bytes]:
    """Return kind and bytes of an object in its envelope; raises ValueError."""
    if not raw.startswith(MAGIC):
        raise ValueError("an object without Kubernetes' envelope")
    try:
        envelope = schema.Unknown.FromString(raw[len(MAGIC) :])
    except DecodeError as error:
        raise ValueError("an object's envelope is no protobuf") from error
    return envelope.typeMeta.kind, envelope.raw


def status_of(raw: bytes) -> schema.Status:
    """Return the Status in an envelope; raises ValueError."""
    kind, data = unwrap(raw)
    if kind != "Status":
        raise ValueError(f"{kind[:60]} where a Status should be")
    try:
        return schema.Status.FromString(data)
    except DecodeError as error:
        raise ValueError("a Status is no protobuf") from error


def _small(feed: Feed) -> bytes:
    size = feed.varint()
    if size > LARGEST_OBJECT:
        raise Failure("garbage", f"the answer's envelope has a field of {size} bytes")
    return feed.read(size)


def _check_kind(raw: bytes, kind: str) -> None:
    try:
        found = schema.TypeMeta.FromString(raw).kind
    except (DecodeError, UnicodeDecodeError) as error:
        raise Failure("garbage", "the answer's envelope is no protobuf") from error
    if found != f"{kind}List":
        raise Failure("garbage", f"{found[:60]!r} where a {kind}List was asked for")


def _version(raw: bytes) -> str:
    try:
        version = schema.ListMeta.FromString(raw).resourceVersion
    except (DecodeError, UnicodeDecodeError) as error:
        raise Failure("garbage", "the list's metadata is no protobuf") from error
    if not version:
        raise Failure("garbage", "the list has no version")
    return version
