"""The Kubernetes API: reached, let in, each right tried with the least request, this node found there."""

from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from natlens.errors import IdentityError
from natlens.health import Health
from natlens.identity.api.access import Access
from natlens.identity.api.client import Client
from natlens.identity.api.failure import Failure
from natlens.identity.api.keep import Keep
from natlens.identity.api.once import get_cluster_uid
from natlens.identity.api.resources import ALL_NODES, SERVICES, Resource, own_node, pods_on
from natlens.identity.api.standing import WAYS_OUT
from natlens.identity.cluster import watched
from natlens.identity.networks import Prefixes
from natlens.identity.objects import KubernetesObject, Node, Pod
from natlens.identity.settings import IdentitySettings, identity_settings, uses_kubernetes
from natlens.kernel.routes import Bound, Network
from natlens.ui.doctor.check import Finding, Findings, failed, passed, warned
from natlens.ui.doctor.machine import Machine

__all__ = ["look_at_api", "look_at_node", "look_at_rights"]

GRANT = "allow natlens' ServiceAccount {right} (charts/rules.yaml)"
NOT_ASKED = "not asked: names do not come from the Kubernetes API"
MOST_SHOWN = 3


class Api(NamedTuple):
    """A way to the API, and what is asked of it."""

    access: Access
    settings: IdentitySettings

    def list(self, resource: Resource, **query: str) -> list[KubernetesObject]:
        """Return what a list has; raises :class:`Failure`."""
        selector = {"fieldSelector": resource.selector} if resource.selector else {}
        with closing(Client(self.access, resource, Keep(), Health())) as client:
            return client.list({**selector, **query}).objects

    def watch(self, resource: Resource) -> None:
        """Open a watch and close it; raises :class:`Failure` where that is not allowed."""
        query = {"watch": "1", "resourceVersion": "0", "timeoutSeconds": "1", "allowWatchBookmarks": "true"}
        if resource.selector:
            query["fieldSelector"] = resource.selector
        with closing(Client(self.access, resource, Keep(), Health())) as client:
            try:
                next(client.watch(query, _enough, lambda: False), None)
            except _OpenedError:
                return


class _OpenedError(Exception):
    """The server has agreed: that is all there is to know."""


def _enough() -> None:
    raise _OpenedError


def _opened(machine: Machine) -> Api | None:
    """Return the way that `natlens run` would take; None where names do not come from there."""
    options = machine.options
    if not uses_kubernetes(options, machine.environ):
        return None
    access = Access.open(options.kubeconfig, options.kube_context, allow_default_files=options.kubernetes == "on")
    return Api(access, identity_settings(options))


def look_at_api(machine: Machine) -> Findings:
    """Tell whether it answers, and lets natlens in."""
    api = _opened(machine)
    if api is None:
        why = "identity_file names addresses" if machine.options.identity_file else "not in a pod, no kubeconfig"
        yield passed(f"not asked for ({why}); kubernetes: on asks")
        return
    try:
        api.list(SERVICES, limit="1")
    except Failure as failure:
        if failure.status != 403:
            yield _unreachable(api, failure)
            return
    yield passed(f"{api.access.server} answers and lets natlens in")


def _unreachable(api: Api, failure: Failure) -> Finding:
    kind = "unauthorized" if failure.status == 401 else failure.code
    fix = WAYS_OUT.get(kind, "look at the API server")
    return failed(f"{api.access.server}: {kind}: {failure.message}: no names", fix)


def look_at_rights(machine: Machine) -> Findings:
    """Try each list with one object, and open each watch."""
    api = _opened(machine)
    if api is None:
        yield passed(NOT_ASKED)
        return
    nodes = [] if any(one is ALL_NODES for one in watched(api.settings)) else [ALL_NODES]
    for resource in (*watched(api.settings), *nodes):
        for verb in ("list", "watch") if resource is not ALL_NODES else ("list",):
            found = _right(api, resource, verb)
            yield found
            if "not tried" in found.found:
                return
    yield _cluster(api)


def _right(api: Api, resource: Resource, verb: str) -> Finding:
    what = f"{verb} {resource.path.rpartition('/')[2]}" + (f" ({resource.selector})" if resource.selector else "")
    try:
        if verb == "list":
            api.list(resource, limit="1")
        else:
            api.watch(resource)
    except Failure as failure:
        if failure.status == 403:
            return failed(f"{what}: {failure.message}: {resource.lost}", GRANT.format(right=resource.right))
        fix = WAYS_OUT.get("unauthorized" if failure.status == 401 else failure.code, "look at the API server")
        return failed(f"{what}: {failure.code}: {failure.message} (the others are not tried)", fix)
    return passed(f"{what}: allowed")


def _cluster(api: Api) -> Finding:
    try:
        found = get_cluster_uid(api.access, Health())
    except IdentityError as error:
        found, _, fix = str(error).rpartition("; ")
        return warned(f"get namespaces (kube-system): {found}: the cluster has no uid in records", fix)
    if found is None:
        return warned(
            "get namespaces (kube-system): there is none: the cluster has no uid in records", "none is needed"
        )
    return passed("get namespaces (kube-system): allowed")


def look_at_node(machine: Machine) -> Findings:
    """Tell whether this node is in the API, and whether others know its pods to be in the cluster (primary_unsure)."""
    api = _opened(machine)
    if api is None:
        yield passed(NOT_ASKED)
        return
    name = api.settings.node_name
    try:
        found = [one for one in api.list(own_node(name)) if isinstance(one, Node)]
        if not found:
            yield failed(f"the API has no Node {name!r}: no pods of this node", "set node_name from spec.nodeName")
            return
        network = Network()
        with closing(network):
            yield from _own(found[0], name, network)
            yield from _pods(api, found[0], network)
    except Failure as failure:
        yield warned(f"could not look: {failure.message}", "see kubernetes and kubernetes rights above")


def _own(node: Node, name: str, network: Network) -> Iterator[Finding]:
    addresses = [one.address for one in node.status.addresses or [] if _is_address(one.address)]
    if any(network.is_local(address) for address in addresses):
        yield passed(f"Node {name} has this host's addresses")
    else:
        yield warned(
            f"Node {name} has {', '.join(addresses) or 'no addresses'}, none of which is this host's",
            "set node_name from spec.nodeName; run natlens with hostNetwork: true",
        )


def _pods(api: Api, node: Node, network: Network) -> Iterator[Finding]:
    addresses = {one.address for one in network.bound() if isinstance(one, Bound)}
    if api.settings.pods != "off":
        pods = api.list(pods_on(api.settings.node_name))
        addresses |= {address for pod in pods if isinstance(pod, Pod) for address in _own_addresses(pod)}
    unsure = _outside(addresses, [node], api.settings)
    if unsure:
        nodes = [one for one in api.list(ALL_NODES, resourceVersion="0") if isinstance(one, Node)]
        unsure = _outside(addresses, nodes, api.settings)
    if unsure:
        shown = ", ".join(unsure[:MOST_SHOWN])
        yield warned(
            f"{len(unsure)} of {len(addresses)} pods here ({shown}) are in no node's podCIDR: whose record of their "
            "connections says flow.primary is unsure",
            "set cluster_cidrs to the networks of the cluster's pods",
        )
    else:
        yield passed(f"other nodes know the addresses of {len(addresses)} pods here to be in the cluster")


def _own_addresses(pod: Pod) -> set[str]:
    status = pod.status
    own = {status.pod_ip, *(one.ip for one in status.pod_ips or [])} - {None}
    return {str(one) for one in own if _is_address(str(one))} - {str(status.host_ip)}


def _outside(addresses: set[str], nodes: list[Node], settings: IdentitySettings) -> list[str]:
    known = Prefixes((network, True) for network in settings.cluster_cidrs)
    for node in nodes:
        for text in {node.spec.pod_cidr, *(node.spec.pod_cidrs or [])} - {None}:
            known.add(ip_network(str(text), strict=False), True)
    return sorted(address for address in addresses if not known.of(ip_address(address)))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
