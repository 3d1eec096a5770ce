"""A whole cluster: control plane, nodes, kube-proxy, and a kubelet's and the controllers' part done by hand."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.cluster import objects, services
from tests.cluster.api import Json
from tests.cluster.build import Binaries
from tests.cluster.control import ControlPlane
from tests.cluster.network import Network
from tests.cluster.nodes import ClusterNode
from tests.cluster.pods import ClusterPod
from tests.cluster.proxy import Mode, Place, Proxy
from tests.cluster.services import Port

__all__ = ["Cluster"]


class Cluster:
    """A context manager; ``admin`` is a client that may do anything, ``outside`` a client machine that is no node.

    There is no kubelet and no controller manager: what a test does not say does not happen.
    """

    def __init__(
        self,
        binaries: Binaries,
        directory: Path,
        *,
        nodes: Sequence[str] = ("node-a", "node-b"),
        arguments: Sequence[str] = (),
    ) -> None:
        self._binaries = binaries
        self._directory = directory
        self._names = nodes
        self._arguments = arguments
        self._stack = ExitStack()
        self.nodes: dict[str, ClusterNode] = {}
        self.proxies: dict[str, Proxy] = {}
        self._pods: dict[str, ClusterPod] = {}
        self._services: dict[str, Json] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.network = stack.enter_context(Network())
            host, own = self.network.control, self._directory / "control"
            self.control = stack.enter_context(ControlPlane(self._binaries, host, own, self._arguments))
            self.admin = self.control.admin
            self.outside = self.network.outside
            stack.callback(self.stop_proxies)
            for number, name in enumerate(self._names):
                self.add_node(name, zone=f"zone-{number + 1}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add_node(self, name: str, *, zone: str = "") -> ClusterNode:
        """Add a node and its Node, ready; its kube-proxy comes with :meth:`proxy`."""
        node = self.network.add_node(name)
        thing = objects.node(name, node.pod_cidrs, zone=zone)
        self.admin.create(thing)
        self.admin.patch(thing, {"status": objects.node_status(name, [node.ip, node.ip6])}, "status")
        self.nodes[name] = node
        return node

    def proxy(self, mode: Mode) -> None:
        """Let every node have a kube-proxy of this mode, and wait until each knows the API server."""
        if any(proxy.mode != mode for proxy in self.proxies.values()):
            self.stop_proxies()
        for name in self.nodes.keys() - self.proxies.keys():
            directory = self._directory / f"proxy-{name}-{mode}"
            proxy = Proxy(self._binaries.proxy, self.nodes[name], self.control.api, directory, mode)
            self.proxies[name] = proxy
            proxy.start()
        self.await_rules(*self.control.service)

    def stop_proxies(self) -> None:
        """Stop every kube-proxy; what it loaded stays until one of the other mode starts."""
        while self.proxies:
            self.proxies.popitem()[1].stop()

    def await_rules(self, *places: Place) -> None:
        """Wait until every node's rules have these (:meth:`Proxy.await_rules`)."""
        for proxy in self.proxies.values():
            proxy.await_rules(*places)

    def await_no_rules(self, *places: Place) -> None:
        """Wait until no node's rules have any of these."""
        for proxy in self.proxies.values():
            proxy.await_no_rules(*places)

    def namespace(self, name: str) -> str:
        """Make a Namespace; returns its name."""
        self.admin.apply(objects.namespace(name))
        return name

    def run_pod(
        self,
        name: str,
        node: str,
        namespace: str = "default",
        *,
        labels: Mapping[str, str] | None = None,
        owners: Sequence[Json] = (),
        ports: Sequence[Port] = (),
        host_network: bool = False,
        ip: str | None = None,
    ) -> ClusterPod:
        """Make a Pod and its network, running at once; ``ip`` is one that another pod of the node had before."""
        at = self.nodes[node]
        told = objects.pod(name, node, namespace, labels=labels, owners=owners, ports=ports, host_network=host_network)
        created = self.admin.create(told)
        lab = at.host_pod(name) if host_network else at.pod(name, ip)
        pod = ClusterPod(created, at, lab, objects.now())
        self._pods[pod.uid] = pod
        self._report(pod, "Running")
        return pod

    def finish_pod(self, pod: ClusterPod, phase: str = "Succeeded") -> None:
        """Let its container end, ``Succeeded`` or ``Failed``: the Pod stays, its network goes, its address is free."""
        pod.node.remove(pod.lab)
        self._report(pod, phase, finished=objects.now())

    def delete_pod(self, pod: ClusterPod, *, grace: int = 0) -> None:
        """Delete a Pod and its network; with ``grace`` it only begins to end, until it is deleted without."""
        if not grace:
            pod.node.remove(pod.lab)
            self._pods.pop(pod.uid, None)
        self.admin.delete(pod.thing, grace=grace)

    def _report(self, pod: ClusterPod, phase: str, finished: str = "") -> None:
        own, hosts = (pod.ip, pod.ip6), (pod.node.ip, pod.node.ip6)
        told = objects.pod_status(own, hosts, started=pod.started, phase=phase, finished=finished)
        self.admin.patch(pod.thing, {"status": told}, "status")

    def service(self, name: str, *ports: Port, namespace: str = "default", **more: Any) -> Json:
        """Make a Service; ``more`` is what :func:`tests.cluster.services.service` takes. Returns it with addresses."""
        created = self.admin.create(services.service(name, ports, namespace, **more))
        self._services[created["metadata"]["uid"]] = created
        return created

    def slice(self, service: Json, pods: Sequence[ClusterPod], **conditions: Any) -> list[Json]:
        """Make or change the EndpointSlices of a Service, one a family: these pods are behind it."""
        metadata, spec = service["metadata"], service["spec"]
        ports = [Port(one["port"], one["targetPort"], one["protocol"], one.get("name", "")) for one in spec["ports"]]
        made = []
        for family in spec["ipFamilies"]:
            ends = [
                services.endpoint(pod.ip if family == "IPv4" else pod.ip6, pod=pod.thing, **conditions) for pod in pods
            ]
            name = f"{metadata['name']}-{family.lower()}"
            one = services.endpoint_slice(name, metadata["name"], ports, ends, metadata["namespace"], family=family)
            made.append(self.admin.apply(one))
        return made

    def expose(
        self, name: str, pods: Sequence[ClusterPod], *ports: Port, namespace: str = "default", **more: Any
    ) -> Json:
        """Make a Service with these pods behind it, and wait until every node sends its traffic to them."""
        service = self.service(name, *ports, namespace=namespace, **more)
        self.slice(service, pods)
        targets = [
            (pod.ip if family == "IPv4" else pod.ip6, port.target)
            for pod in pods
            for port in ports
            for family in service["spec"]["ipFamilies"]
        ]
        self.await_rules(*service["spec"].get("clusterIPs", ()), *targets)
        return service

    def withdraw(self, service: Json) -> None:
        """Delete a Service and its EndpointSlices, and wait until no node's rules have it."""
        metadata = service["metadata"]
        self._services.pop(metadata["uid"], None)
        slices = services.endpoint_slice(metadata["name"], metadata["name"], (), (), metadata["namespace"])
        self.admin.delete_all(slices, labelSelector=f"{services.OF_SERVICE}={metadata['name']}")
        self.admin.delete(service)
        addresses = service["spec"].get("clusterIPs", [])
        self.await_no_rules(*(address for address in addresses if address != "None"))

    def clear(self) -> None:
        """Delete all Pods and Services that were made here and are still there; nodes and Namespaces stay."""
        for service in list(self._services.values()):
            self.withdraw(service)
        for pod in list(self._pods.values()):
            self.delete_pod(pod)
