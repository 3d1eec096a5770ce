"""The record's resource: the observer, never an endpoint and never the agent's own pod.

Stores make index labels of it, so one node must stay one resource over restarts.
"""

import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.sdk.resources import OTELResourceDetector

from natlens import __version__
from natlens.otlp.columns import text
from natlens.otlp.record import key_value

__all__ = ["INSTANCE", "INSTANCES", "RESOURCE_ATTRIBUTES", "Observer", "ResourceAttribute", "host_id", "resource"]

INSTANCE = "service.instance.id"
INSTANCES = uuid.UUID("b5a0c6f4-0a2b-5f0e-9d53-6a2f3f1c7e41")
"""Namespace of ``service.instance.id`` (UUIDv5); never to be changed: it would make every node a new one."""


@dataclass(frozen=True, kw_only=True)
class Observer:
    """The node that natlens runs on; what is not known is None."""

    host_name: str | None = None
    host_id: str | None = None
    node_name: str | None = None
    node_uid: str | None = None
    cluster_name: str | None = None
    cluster_uid: str | None = None
    availability_zone: str | None = None

    @classmethod
    def here(cls, root: Path = Path("/"), **known: str | None) -> "Observer":
        """Return this host, with what else is ``known`` (the fields above)."""
        name = socket.gethostname()
        return cls(**{"host_name": name, "host_id": host_id(name, root), **known})


class ResourceAttribute(NamedTuple):
    """One row; ``read`` gives None where the attribute is not known. All are strings."""

    name: str
    brief: str
    example: str
    read: Callable[[Observer], str | None]
    type: str = "string"


RESOURCE_ATTRIBUTES: list[ResourceAttribute] = [
    ResourceAttribute("service.name", "The agent.", "natlens", lambda _: "natlens"),
    ResourceAttribute("service.version", "The agent's version.", "0.1.0", lambda _: __version__),
    ResourceAttribute(
        INSTANCE,
        "UUIDv5 of k8s.node.uid, else of host.id: stable over restarts, different on each node.",
        "0b6c8d5a-26a4-5d0c-8c8e-9e3e8f5b2f0a",
        lambda at: _instance(at.node_uid or at.host_id),
    ),
    ResourceAttribute("host.name", "The node's host name.", "node-1", lambda at: at.host_name),
    ResourceAttribute(
        "host.id",
        "The machine id, else the firmware's product id, else a UUIDv5 of the host name.",
        "fdbf79e8af94cb7f9e8df36789187052",
        lambda at: at.host_id,
    ),
    ResourceAttribute("k8s.node.name", "The node's name in Kubernetes.", "node-1", lambda at: at.node_name),
    ResourceAttribute(
        "k8s.node.uid", "The node's UID.", "1eb3a0c6-0477-4080-a9cb-0cb7db65c6a2", lambda at: at.node_uid
    ),
    ResourceAttribute(
        "k8s.cluster.name", "The cluster's name, from configuration.", "prod", lambda at: at.cluster_name
    ),
    ResourceAttribute(
        "k8s.cluster.uid", "The cluster's UID.", "218fc5a9-a5f1-4b54-aa05-46717d0ab26d", lambda at: at.cluster_uid
    ),
    ResourceAttribute("cloud.availability_zone", "The node's zone.", "eu-central-1a", lambda at: at.availability_zone),
]
"""Every attribute of the resource; ``OTEL_RESOURCE_ATTRIBUTES`` may replace them and add others."""


def resource(observer: Observer) -> Resource:
    """Return the resource, with ``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME`` on top.

    An instance id follows from the node uid or host id that these name, if they name one.
    """
    named = {name: str(value) for name, value in OTELResourceDetector().detect().attributes.items() if value}
    values = {row.name: row.read(observer) for row in RESOURCE_ATTRIBUTES} | named
    if INSTANCE not in named:
        values[INSTANCE] = _instance(values.get("k8s.node.uid") or values.get("host.id"))
    known = [(text(name), text(value)) for name, value in values.items()]
    return Resource(attributes=[key_value(name, value) for name, value in known if name and value])


def host_id(host_name: str, root: Path = Path("/")) -> str:
    """Return an identifier of this machine that outlives restarts; ``root`` is where the host's files are."""
    for path in ("etc/machine-id", "var/lib/dbus/machine-id", "sys/class/dmi/id/product_uuid"):
        try:
            found = (root / path).read_text(encoding="ascii").strip().lower()
        except (OSError, UnicodeDecodeError):
            continue
        if len(found) >= 32 and found.strip("0-"):  # an image may carry "uninitialized", firmware only zeros
            return found
    return str(uuid.uuid5(INSTANCES, host_name))


def _instance(of: str | None) -> str | None:
    return str(uuid.uuid5(INSTANCES, of)) if of else None
