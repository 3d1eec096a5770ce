"""The two objects that are asked for once, at the start."""

from contextlib import closing

from natlens.errors import IdentityError
from natlens.health import Health
from natlens.identity.api.access import Access
from natlens.identity.api.client import Client
from natlens.identity.api.failure import Failure
from natlens.identity.api.keep import Keep
from natlens.identity.api.resources import ALL_NODES, Resource
from natlens.identity.objects import KubernetesObject, Node

__all__ = ["get_cluster_uid", "get_node"]

CLUSTER = Resource("cluster", Node, "/api/v1/namespaces/kube-system", "the cluster has no uid")  # read as far as a Node


def get_node(access: Access, name: str, keep: Keep, health: Health) -> Node | None:
    """Return one Node, None if there is none of that name; needs the right to get it.

    Raises :class:`IdentityError` naming the server, what it said and the way out.
    """
    resource = Resource("node", Node, f"{ALL_NODES.path}/{name}", "this node's addresses and zone are unknown")
    found = _get(access, resource, keep, health)
    return found if isinstance(found, Node) else None


def get_cluster_uid(access: Access, health: Health) -> str | None:
    """Return the uid of the namespace kube-system, which is as unique as its cluster; needs the right to get it.

    Raises :class:`IdentityError` naming the server, what it said and the way out.
    """
    found = _get(access, CLUSTER, Keep(), health)
    return found.metadata.uid if found else None


def _get(access: Access, resource: Resource, keep: Keep, health: Health) -> KubernetesObject | None:
    try:
        with closing(Client(access, resource, keep, health)) as client:
            return client.one()
    except Failure as failure:
        right = f"the right to get {resource.path}"
        way_out = (
            f"give natlens' ServiceAccount {right}" if failure.status == 403 else "check the server and the way to it"
        )
        raise IdentityError(f"{access.server}: {failure.message}; {way_out}") from failure
