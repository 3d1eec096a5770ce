"""A pod of the cluster: what the API server has of it, and where its processes would run."""

from dataclasses import dataclass

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.node import Pod
from tests.cluster.api import Json
from tests.cluster.nodes import ClusterNode

__all__ = ["ClusterPod"]


@dataclass(frozen=True)
class ClusterPod:
    """A Pod object and the network namespace that stands for its sandbox."""

    thing: Json  # as it was created
    node: ClusterNode
    lab: Pod
    started: str

    @property
    def name(self) -> str:
        return str(self.thing["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.thing["metadata"]["uid"])

    @property
    def ip(self) -> str:
        return self.lab.ip

    @property
    def ip6(self) -> str:
        return self.lab.ip6

    @property
    def network(self) -> Namespace:
        """Where its processes would run."""
        return self.lab.namespace
