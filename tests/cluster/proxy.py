"""kube-proxy in a node's namespace: the NAT that natlens meets in production."""

import re
import time
from pathlib import Path
from typing import Literal

import yaml

from tests.cluster.api_server import PROXY, ApiServer
from tests.cluster.credentials import kubeconfig
from tests.cluster.nodes import ClusterNode
from tests.cluster.server import Server

__all__ = ["Mode", "Place", "Proxy"]

Mode = Literal["iptables", "nftables"]
Place = str | tuple[str, int]
HEALTH, METRICS = 10256, 10249
SYNC_S = 30.0
POLL_S = 0.05
KEEP = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}  # conntrack, as it is
DUMPS = {"iptables": ("iptables-save", "ip6tables-save"), "nftables": ("nft list ruleset",)}


class Proxy(Server):
    """One node's kube-proxy. Stopped, its rules stay, as in production.

    It waits silently until its Node has an InternalIP.
    """

    name = "kube-proxy"

    def __init__(self, binary: Path, node: ClusterNode, api: ApiServer, directory: Path, mode: Mode) -> None:
        super().__init__(node.namespace, directory, "127.0.0.1", HEALTH, METRICS)
        self._binary = binary
        self._node = node
        self._api = api
        self.mode = mode

    def command(self) -> list[str]:
        # It is to outlive a change of the API server's authority, so it trusts any.
        access = kubeconfig(self._directory / "access.yaml", self._api.url, None, token=PROXY)
        brisk = {"minSyncPeriod": "100ms"}  # the default of 1 s would be waited for by every test
        configuration = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": self.mode,
            "hostnameOverride": self._node.name,
            "clusterCIDR": "10.244.0.0/16,fd00:244::/32",
            "clientConnection": {"kubeconfig": str(access)},
            "conntrack": KEEP,
            "iptables": brisk,
            "nftables": brisk,
        }
        path = self._directory / "config.yaml"
        path.write_text(yaml.safe_dump(configuration))
        return [str(self._binary), f"--config={path}"]

    def rules(self) -> str:
        """Return the rules of its mode."""
        return "\n".join(self.namespace.run(*dump.split()) for dump in DUMPS[self.mode])

    def await_rules(self, *places: Place) -> None:
        """Wait until its rules have all of these: a Service's address, or where it ends (address and port)."""
        self._await(places, present=True)

    def await_no_rules(self, *places: Place) -> None:
        """Wait until its rules have none of these."""
        self._await(places, present=False)

    def _await(self, places: tuple[Place, ...], *, present: bool) -> None:
        deadline = time.monotonic() + SYNC_S
        while wrong := self._differing(places, present=present):
            if time.monotonic() > deadline:
                raise self._error(f"after {SYNC_S:g} s the rules of {self._node.name} are not right about {wrong}")
            time.sleep(POLL_S)

    def _differing(self, places: tuple[Place, ...], *, present: bool) -> list[Place]:
        rules = self.rules()
        return [place for place in places if bool(_written(place).search(rules)) is not present]


def _written(place: Place) -> re.Pattern[str]:
    """Return how rules write it: iptables ``10.0.0.1:80`` and ``[fd00::1]:80``, nftables ``10.0.0.1 . 80``."""
    address, port = (place, None) if isinstance(place, str) else place
    more = r"[\w:]" if ":" in address else r"[\w.]"
    end = "" if port is None else rf"(?:\]?:| \. ){port}\b"
    return re.compile(rf"(?<!{more}){re.escape(address)}(?!{more}){end}")
