"""The attributes that each end of a connection can have: rows of the table, and templates."""

from natlens.otlp import columns
from natlens.otlp.attribute import Attribute, Template, Type
from natlens.otlp.batch import ROLES
from natlens.otlp.column import Value

__all__ = ["ENDPOINT_FIELDS", "SELECTED", "endpoint_attributes", "endpoint_templates"]

ENDPOINT_FIELDS: tuple[tuple[str, Type, str, Value], ...] = (
    ("k8s.namespace.name", "string", "Namespace of {of}.", "shop"),
    ("k8s.pod.name", "string", "Pod of {of}.", "hello-pod-7d4b9c6f5-x2x7k"),
    ("k8s.pod.uid", "string", "UID of the pod of {of}.", "275ecb36-5aa8-4c2a-9c47-d8bb681b9aff"),
    ("k8s.node.name", "string", "Node that {of} is, or is on.", "node-1"),
    ("k8s.service.name", "string", "Service whose address is that of {of}.", "hello-pod"),
    ("k8s.service.uid", "string", "UID of the Service of {of}.", "5aa8275e-4c2a-9c47-cb36-81b9affd8bb6"),
    ("k8s.owner.name", "string", "Top owner of the pod of {of}.", "hello-pod"),
    ("k8s.owner.type", "string", "Kind of that owner: Deployment, StatefulSet, …", "Deployment"),
    ("k8s.owner.derived", "bool", "True where only the pod-naming rule says who owns the pod of {of}.", True),
    (
        "k8s.object.kind",
        "string",
        "What {of} is: pod, service, node, endpoint, apiserver, link_local, ovn_internal or external.",
        "pod",
    ),
    ("cloud.availability_zone", "string", "Zone of the node of {of}.", "eu-central-1a"),
)
"""Attributes that every endpoint can have: (name after the role, type, brief with ``{of}``, example).

The field of :class:`natlens.identity.endpoint.Endpoint` has the same name with underscores.
"""

SELECTED: tuple[tuple[str, str, str], ...] = (
    ("k8s.pod.label", "Label of the pod of {of}.", "checkout"),
    ("k8s.pod.annotation", "Annotation of the pod of {of}.", "true"),
    ("k8s.service.label", "Label of the Service of {of}.", "frontend"),
    ("k8s.service.annotation", "Annotation of the Service of {of}.", "internal"),
    ("k8s.node.label", "Label of the node of {of}.", "arm64"),
    ("k8s.node.annotation", "Annotation of the node of {of}.", "rack-7"),
)
"""What may be asked for of every endpoint: (name before the key, brief with ``{of}``, example).

They are in :attr:`natlens.identity.endpoint.Endpoint.selected`, with the key.
"""

WHO = {
    "source": "the initiator",
    "destination": "what the initiator dialled",
    "source.nat": "what the source became",
    "destination.nat": "what the destination became",
}


def endpoint_attributes() -> list[Attribute]:
    """Return one row for each role and endpoint field."""
    return [
        Attribute(
            f"{role}.{name}", kind, brief.format(of=WHO[role]), example, columns.endpoint(role, name.replace(".", "_"))
        )
        for role in ROLES
        for name, kind, brief, example in ENDPOINT_FIELDS
    ]


def endpoint_templates() -> list[Template]:
    """Return one row for each role and kind of what may be asked for."""
    return [
        Template(f"{role}.{name}", brief.format(of=WHO[role]), example)
        for role in ROLES
        for name, brief, example in SELECTED
    ]
