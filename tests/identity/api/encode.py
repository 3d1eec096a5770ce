"""Objects of the API, written as dicts in the shape of its JSON, as the API server encodes them.

As protobuf with every field of Go's that is no pointer, zero or not; as JSON just as they are.
"""

import json
import struct
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from natlens.identity.api import schema_pb2 as schema

__all__ = ["Manifest", "message_of", "object_body", "protobuf_frame", "protobuf_list", "status", "wrapped"]

Manifest = dict[str, Any]

MAGIC = b"k8s\0"
POINTERS = {  # of Go's types, among the fields of the schema
    "OwnerReference": {"controller"},
    "ObjectMeta": {"deletionTimestamp", "deletionGracePeriodSeconds"},
    "Container": {"restartPolicy"},
    "PodStatus": {"startTime"},
    "ContainerState": {"running", "terminated"},
    "Endpoint": {"targetRef", "nodeName", "zone"},
    "EndpointConditions": {"ready", "serving", "terminating"},
    "EndpointPort": {"protocol", "port"},
    "Status": {"details"},
}


def message_of(kind: str, manifest: Manifest) -> Any:
    """Return the protobuf message of an object."""
    message = getattr(schema, kind)()
    _fill(message, manifest)
    return message


def wrapped(kind: str, raw: bytes, api_version: str = "v1") -> bytes:
    """Return bytes of an object in the envelope that every answer and every watched object has."""
    envelope = schema.Unknown(typeMeta=schema.TypeMeta(apiVersion=api_version, kind=kind), raw=raw)
    envelope.contentEncoding = envelope.contentType = ""
    return MAGIC + envelope.SerializeToString()


def protobuf_list(kind: str, version: str, items: list[bytes]) -> bytes:
    """Return a list of serialized items as an answer."""
    metadata = schema.ListMeta(resourceVersion=version).SerializeToString()
    fields = [(1, metadata), *((2, item) for item in items)]
    return wrapped(
        f"{kind}List", b"".join(bytes([number << 3 | 2]) + _varint(len(raw)) + raw for number, raw in fields)
    )


def protobuf_frame(event: str, wrapped_object: bytes) -> bytes:
    """Return a frame of a watch."""
    raw = schema.WatchEvent(type=event, object=schema.RawExtension(raw=wrapped_object)).SerializeToString()
    return struct.pack(">I", len(raw)) + raw


def object_body(kind: str, manifest: Manifest, *, protobuf: bool) -> bytes:
    """Return one object as the body of an answer."""
    if protobuf:
        return wrapped(kind, message_of(kind, manifest).SerializeToString())
    return json.dumps({"kind": kind, "apiVersion": "v1", **manifest}).encode()


def status(code: int, message: str, retry_after_s: int = 0, causes: tuple[str, ...] = ()) -> Manifest:
    """Return a Status that refuses."""
    details = {"retryAfterSeconds": retry_after_s, "causes": [{"reason": cause, "message": ""} for cause in causes]}
    return {"status": "Failure", "code": code, "reason": "", "message": message, "details": details}


def _fill(message: Message, manifest: Manifest) -> None:
    pointers = POINTERS.get(message.DESCRIPTOR.name, set())
    for field in message.DESCRIPTOR.fields:
        value = manifest.get(field.name)
        if value is None and (field.is_repeated or field.name in pointers):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update(value)
        elif field.message_type is not None:
            _fill_messages(message, field, value)
        elif field.is_repeated:
            getattr(message, field.name).extend(value)
        else:
            setattr(message, field.name, field.default_value if value is None else value)


def _fill_messages(message: Message, field: Any, value: Any) -> None:
    if field.is_repeated:
        for one in value:
            _fill(getattr(message, field.name).add(), one)
        return
    part = getattr(message, field.name)
    part.SetInParent()
    if part.DESCRIPTOR.name != "Time":
        _fill(part, value or {})
    elif value is not None:
        part.seconds = int(datetime.fromisoformat(value).timestamp())
        part.nanos = 0


def _varint(number: int) -> bytes:
    raw = bytearray()
    while number > 127:
        raw.append(number & 127 | 128)
        number >>= 7
    return bytes([*raw, number])
