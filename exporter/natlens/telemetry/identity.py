"""Whose metrics natlens' own are: the node's agent, not the node's traffic."""

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

__all__ = ["agent_resource", "attributes_of"]

NAME = "service.name"
AGENT = "-agent"


def agent_resource(observer: Resource) -> Resource:
    """Return the resource of the records with ``-agent`` behind its ``service.name``.

    Prometheus writes one ``target_info`` for each service and instance, at the times of a request's points, and refuses
    a request whose times go back. Flow metrics begin series in the past; so these need a target of their own.
    """
    of = Resource()
    of.CopyFrom(observer)
    for attribute in of.attributes:
        if attribute.key == NAME:
            attribute.value.string_value += AGENT
    return of


def attributes_of(resource: Resource) -> dict[str, str]:
    """Return the attributes, all of which are text."""
    return {one.key: one.value.string_value for one in resource.attributes}
