"""The API's answers → objects of :mod:`natlens.identity.objects`, from protobuf or JSON.

An object that cannot be read (bytes that are no UTF-8, an address that is none, absurd sizes) is left out and
counted as ``identity_unreadable{kind}``: it ends neither a list nor a watch.
"""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import msgspec
from google.protobuf.message import DecodeError

from natlens.health import Health
from natlens.identity.api import schema_pb2 as schema
from natlens.identity.api.failure import Failure
from natlens.identity.api.feed import Feed
from natlens.identity.api.jsontext import json_list, json_object, json_version, watch_lines
from natlens.identity.api.keep import Keep
from natlens.identity.api.messages import MESSAGES
from natlens.identity.api.protobuf import read_list, unwrap, watch_frames
from natlens.identity.api.status import refusal
from natlens.identity.objects import KubernetesObject

__all__ = ["ACCEPT", "ACCEPT_WATCH", "Decoder", "Event", "Listing", "is_protobuf"]

ACCEPT = "application/vnd.kubernetes.protobuf,application/json"
ACCEPT_WATCH = "application/vnd.kubernetes.protobuf;stream=watch,application/json"

UNREADABLE = (ValueError, DecodeError, RecursionError)  # msgspec's and UnicodeDecodeError are ValueErrors


@dataclass(frozen=True)
class Listing:
    """A whole list."""

    version: str
    objects: list[KubernetesObject]
    unreadable: int = 0


@dataclass(frozen=True)
class Event:
    """One event of a watch; a bookmark has only a version."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    version: str
    object: KubernetesObject | None = None


class Decoder:
    """Reads objects of one kind; counts into ``health``."""

    def __init__(self, kind: type[KubernetesObject], keep: Keep, health: Health) -> None:
        self._kind, self._keep, self._health = kind, keep, health
        self._message, self._make = MESSAGES[kind]

    def read_list(self, content_type: str, chunks: Iterator[bytes]) -> Listing:
        """Return the list in a body (decompressed, in chunks of any size); raises :class:`Failure`.

        Protobuf is decoded item by item as the bytes come; JSON is read whole.
        """
        name = self._kind.__name__
        items: Iterable[bytes | msgspec.Raw | None]
        protobuf = is_protobuf(content_type)
        version, items = read_list(Feed(chunks), name) if protobuf else json_list(chunks, name)
        objects, unreadable = [], 0
        with _no_collections():
            for item in items:
                if (found := self._object(item, protobuf=protobuf)) is None:
                    unreadable += 1
                else:
                    objects.append(found)
        return Listing(version, objects, unreadable)

    def read_one(self, content_type: str, chunks: Iterator[bytes]) -> KubernetesObject:
        """Return the object in a body, whatever kind it says it is; raises :class:`Failure`."""
        protobuf = is_protobuf(content_type)
        body = b"".join(chunks)
        try:
            raw = unwrap(body)[1] if protobuf else body
        except UNREADABLE as error:
            raise Failure("garbage", "the answer is no object of the API") from error
        if (found := self._object(raw, protobuf=protobuf)) is None:
            raise Failure("garbage", "the answer is no object that can be read")
        return found

    def read_events(self, content_type: str, chunks: Iterator[bytes]) -> Iterator[Event]:
        """Yield the events of a watch as they come, until the server ends it.

        Raises :class:`Failure`; for an ERROR event one with its status.
        """
        protobuf = is_protobuf(content_type)
        frames: Iterator[tuple[str, bytes | msgspec.Raw]]
        frames = watch_frames(Feed(chunks)) if protobuf else watch_lines(Feed(chunks))
        for kind, raw in frames:
            match kind:
                case "ERROR":
                    raise refusal(bytes(memoryview(raw)), protobuf=protobuf)
                case "BOOKMARK":
                    yield Event(kind, _version(raw, protobuf=protobuf))
                case "ADDED" | "MODIFIED" | "DELETED":
                    if (found := self._enveloped(raw, protobuf=protobuf)) is not None:
                        yield Event(kind, found.metadata.resource_version or "", found)
                case _:
                    raise Failure("garbage", f"a watch event of an unknown type {kind[:60]!r}")

    def _enveloped(self, raw: bytes | msgspec.Raw, *, protobuf: bool) -> KubernetesObject | None:
        if not protobuf:
            return self._object(raw, protobuf=False)
        try:
            kind, data = unwrap(bytes(raw))
        except UNREADABLE:
            kind, data = "", None
        return self._object(data if kind == self._kind.__name__ else None, protobuf=True)

    def _object(self, item: bytes | msgspec.Raw | None, *, protobuf: bool) -> KubernetesObject | None:
        found: KubernetesObject
        try:
            if item is None:
                raise ValueError("too large, or another kind")
            if protobuf:
                found = self._make(self._message.FromString(item), self._keep)
            else:
                found = json_object(self._kind, item, self._keep)
        except UNREADABLE:
            self._health.add("identity_unreadable", kind=self._kind.__name__)
            return None
        return found


@contextmanager
def _no_collections() -> Iterator[None]:
    """Let the garbage collector not run: it would take longer than the objects, which have no cycles."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _version(raw: bytes | msgspec.Raw, *, protobuf: bool) -> str:
    try:
        if not protobuf:
            return json_version(raw)
        return schema.Plain.FromString(unwrap(bytes(raw))[1]).metadata.resourceVersion
    except UNREADABLE as error:
        raise Failure("garbage", "a bookmark cannot be read") from error


def is_protobuf(content_type: str) -> bool:
    """Return whether a body is protobuf, not JSON; raises :class:`Failure` if it is neither."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in {"application/vnd.kubernetes.protobuf", "application/json"}:
        raise Failure("garbage", f"the answer is {content_type[:60]!r}, neither Kubernetes' protobuf nor JSON")
    return kind != "application/json"
