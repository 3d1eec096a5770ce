"""Protobuf messages → objects of :mod:`natlens.identity.objects`.

The API server writes every field of Go's that is no pointer, zero or not: zero is absent there. Where a field is
a pointer, only its presence tells.
"""

from collections.abc import Iterable
from sys import intern
from typing import Any

from natlens.identity import objects
from natlens.identity.api import schema_pb2 as schema
from natlens.identity.api.keep import Keep
from natlens.identity.api.scalars import address, any_address, moment, name, port, protocol, repeated, service_address

__all__ = ["MESSAGES"]


def _pod(message: schema.Pod, keep: Keep) -> objects.Pod:
    spec, status = message.spec, message.status
    return objects.Pod(
        metadata=_metadata(message.metadata, keep),
        spec=objects.PodSpec(
            node_name=repeated(spec.nodeName),
            host_network=spec.hostNetwork or None,
            containers=[_container(one) for one in spec.containers] or None,
            init_containers=[_container(one) for one in spec.initContainers] or None,
        ),
        status=objects.PodStatus(
            phase=repeated(status.phase),
            start_time=moment(status.startTime),
            conditions=[_condition(one) for one in status.conditions] or None,
            container_statuses=[objects.ContainerStatus(_state(one.state)) for one in status.containerStatuses] or None,
            pod_ip=service_address(status.podIP),
            pod_ips=[objects.Ip(address(one.ip)) for one in status.podIPs] or None,
            host_ip=service_address(status.hostIP),
            host_ips=[objects.Ip(address(one.ip)) for one in status.hostIPs] or None,
        ),
    )


def _service(message: schema.Service, keep: Keep) -> objects.Service:
    spec, ingress = message.spec, message.status.loadBalancer.ingress
    return objects.Service(
        metadata=_metadata(message.metadata, keep),
        spec=objects.ServiceSpec(
            cluster_ip=service_address(spec.clusterIP),
            cluster_ips=[any_address(one) for one in spec.clusterIPs] or None,
            external_ips=[address(one) for one in spec.externalIPs] or None,
            ports=[
                objects.ServicePort(port(one.port), protocol(one.protocol), port(one.nodePort) or None)
                for one in spec.ports
            ]
            or None,
        ),
        status=objects.ServiceStatus(
            objects.LoadBalancer([objects.Ingress(service_address(one.ip)) for one in ingress] or None)
        ),
    )


def _slice(message: schema.EndpointSlice, keep: Keep) -> objects.EndpointSlice:
    names = message.addressType == "FQDN"  # as natlens.identity.manifest has it: names are no addresses
    return objects.EndpointSlice(
        metadata=_metadata(message.metadata, keep),
        address_type=repeated(message.addressType),
        endpoints=None if names else [_endpoint(one) for one in message.endpoints] or None,
        ports=[
            objects.SlicePort(port(one.port) if one.HasField("port") else None, protocol(one.protocol))
            for one in message.ports
        ]
        or None,
    )


def _endpoint(message: schema.Endpoint) -> objects.SliceEndpoint:
    conditions, target = message.conditions, message.targetRef
    return objects.SliceEndpoint(
        addresses=[str(address(one)) for one in message.addresses],
        conditions=objects.EndpointConditions(
            ready=conditions.ready if conditions.HasField("ready") else None,
            serving=conditions.serving if conditions.HasField("serving") else None,
            terminating=conditions.terminating if conditions.HasField("terminating") else None,
        ),
        target_ref=objects.TargetReference(
            kind=repeated(target.kind),
            name=target.name or None,
            namespace=repeated(target.namespace),
            uid=target.uid or None,
        )
        if message.HasField("targetRef")
        else None,
        node_name=repeated(message.nodeName),
        zone=repeated(message.zone),
    )


def _node(message: schema.Node, keep: Keep) -> objects.Node:
    return objects.Node(
        metadata=_metadata(message.metadata, keep),
        spec=objects.NodeSpec(message.spec.podCIDR or None, list(message.spec.podCIDRs) or None),
        status=objects.NodeStatus([objects.NodeAddress(one.address) for one in message.status.addresses] or None),
    )


def _metadata(message: schema.ObjectMeta, keep: Keep) -> objects.Metadata:
    grace = message.HasField("deletionGracePeriodSeconds")
    return objects.Metadata(
        name=name(message.name),
        namespace=repeated(message.namespace),
        uid=message.uid or None,
        labels=keep.labels(message.labels),
        annotations=keep.annotations(message.annotations),
        owner_references=[_owner(one) for one in message.ownerReferences] or None,
        creation_timestamp=moment(message.creationTimestamp),
        deletion_timestamp=moment(message.deletionTimestamp),
        deletion_grace_period_seconds=message.deletionGracePeriodSeconds if grace else None,
        resource_version=message.resourceVersion or None,
    )


def _owner(message: schema.OwnerReference) -> objects.OwnerReference:
    controller = message.controller if message.HasField("controller") else None
    return objects.OwnerReference(intern(name(message.kind)), intern(name(message.name)), controller)


def _container(message: schema.Container) -> objects.Container:
    return objects.Container(_container_ports(message.ports) or None, repeated(message.restartPolicy))


def _container_ports(messages: Iterable[schema.ContainerPort]) -> list[objects.ContainerPort]:
    return [
        objects.ContainerPort(
            container_port=port(one.containerPort),
            host_port=port(one.hostPort) or None,
            host_ip=one.hostIP or None,
            protocol=protocol(one.protocol),
        )
        for one in messages
    ]


def _condition(message: schema.PodCondition) -> objects.Condition:
    return objects.Condition(repeated(message.type), repeated(message.status), moment(message.lastTransitionTime))


def _state(message: schema.ContainerState) -> objects.ContainerState:
    running, ended = message.running, message.terminated
    return objects.ContainerState(
        objects.Running(moment(running.startedAt)) if message.HasField("running") else None,
        objects.Finished(moment(ended.startedAt), moment(ended.finishedAt)) if message.HasField("terminated") else None,
    )


MESSAGES: dict[type[objects.KubernetesObject], tuple[Any, Any]] = {
    objects.Pod: (schema.Pod, _pod),
    objects.Service: (schema.Service, _service),
    objects.EndpointSlice: (schema.EndpointSlice, _slice),
    objects.Node: (schema.Node, _node),
}
"""Of each kind: its message, and what makes the object of one."""
