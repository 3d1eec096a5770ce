"""The API's JSON, for servers (proxies, virtual clusters) that answer so though protobuf was asked for."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import Raw, Struct

from natlens.identity.api.failure import Failure
from natlens.identity.api.feed import Feed
from natlens.identity.api.keep import Keep
from natlens.identity.api.protobuf import LARGEST_OBJECT
from natlens.identity.api.scalars import address, repeated
from natlens.identity.objects import EndpointSlice, KubernetesObject, Metadata, Node, Pod, Service, decode_special

__all__ = ["json_list", "json_object", "json_version", "watch_lines"]

LARGEST_LIST = 256 << 20
"""Bytes: JSON lists are read whole."""


class _ListMeta(Struct, rename="camel"):
    resource_version: str


class _List(Struct):
    kind: str
    metadata: _ListMeta
    items: list[Raw] | None = None


class _Event(Struct):
    type: str
    object: Raw


class _Versioned(Struct):
    metadata: _ListMeta


_lists, _events = msgspec.json.Decoder(_List), msgspec.json.Decoder(_Event)
_versions = msgspec.json.Decoder(_Versioned)
_objects: dict[type[KubernetesObject], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind, dec_hook=decode_special) for kind in (Pod, Service, EndpointSlice, Node)
}


def json_list(chunks: Iterable[bytes], kind: str) -> tuple[str, list[Raw]]:
    """Return version and items of a list; raises :class:`Failure`."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > LARGEST_LIST:
            raise Failure("garbage", f"a list of more than {LARGEST_LIST} bytes of JSON")
    try:
        found = _lists.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Failure("garbage", f"the answer is no list in JSON: {error}") from error
    if found.kind != f"{kind}List" or not found.metadata.resource_version:
        raise Failure("garbage", f"{found.kind[:60]!r} without a version, or not of {kind}s")
    return found.metadata.resource_version, found.items or []


def watch_lines(feed: Feed) -> Iterator[tuple[str, Raw]]:
    """Yield (type, object) of every event as it arrives; raises :class:`Failure`."""
    while not feed.ended():
        line = feed.line(LARGEST_OBJECT)
        if not line.endswith(b"\n"):
            raise Failure("truncated", "the watch ended within an event")
        try:
            event = _events.decode(line)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Failure("garbage", f"a watch event is no JSON: {error}") from error
        yield event.type, event.object


def json_object(kind: type[KubernetesObject], raw: bytes | Raw, keep: Keep) -> KubernetesObject:
    """Return the object; raises ValueError (msgspec's errors are some) or RecursionError."""
    if len(memoryview(raw)) > LARGEST_OBJECT:
        raise ValueError("too large")
    found: KubernetesObject = _objects[kind].decode(raw)
    _shorten(found.metadata, keep)
    if isinstance(found, EndpointSlice):
        _normalise(found)
    _bare(found)
    return found


def json_version(raw: bytes | Raw) -> str:
    """Return an object's version; raises msgspec's errors."""
    return _versions.decode(raw).metadata.resource_version


def _shorten(metadata: Metadata, keep: Keep) -> None:
    metadata.labels = keep.labels(metadata.labels or {})
    metadata.annotations = keep.annotations(metadata.annotations or {})
    metadata.namespace = repeated(metadata.namespace or "")


def _normalise(found: EndpointSlice) -> None:
    if found.address_type == "FQDN":
        found.endpoints = None
    for endpoint in found.endpoints or ():
        endpoint.addresses = [str(address(one)) for one in endpoint.addresses]
        endpoint.node_name = repeated(endpoint.node_name or "")
        endpoint.zone = repeated(endpoint.zone or "")


def _bare(found: Struct) -> None:
    """Make what is empty absent, where it may be absent: protobuf cannot tell them apart."""
    for name, may_be_absent in _fields(type(found)):
        value = getattr(found, name)
        if value is None:
            continue
        if isinstance(value, Struct):
            _bare(value)
        elif isinstance(value, list) and value and isinstance(value[0], Struct):
            for one in value:
                _bare(one)
        elif may_be_absent and value in ("", []):
            setattr(found, name, None)


@cache
def _fields(kind: type[Struct]) -> tuple[tuple[str, bool], ...]:
    return tuple((info.name, info.default is None) for info in msgspec.structs.fields(kind))
