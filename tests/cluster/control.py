"""The control plane: etcd and kube-apiserver, and natlens' ServiceAccount with the rights of ``charts/rules.yaml``."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import yaml

from tests.cluster.api_server import PORT, SERVICE_IP, ApiServer
from tests.cluster.build import Binaries
from tests.cluster.credentials import MountedToken, kubeconfig
from tests.cluster.etcd import Etcd
from tests.cluster.network import Host
from tests.cluster.objects import binding, namespace, service_account
from tests.cluster.services import Port, endpoint, endpoint_slice

__all__ = ["RULES", "ControlPlane"]

RULES = Path(__file__).parents[2] / "charts" / "rules.yaml"
ACCOUNT = "natlens"  # its name, and that of its namespace
TOKEN_SECONDS = 3600


class ControlPlane:
    """Both run inside the block; ``api`` and ``etcd`` can be stopped and started each for itself.

    ``admin`` is a client that may do anything.
    """

    def __init__(self, binaries: Binaries, host: Host, directory: Path, arguments: Sequence[str] = ()) -> None:
        self.host = host
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.etcd = Etcd(binaries.etcd, host.namespace, directory / "etcd")
        own = directory / "apiserver"
        addresses = host.ip, host.ip6
        self.api = ApiServer(binaries.apiserver, host.namespace, own, addresses, self.etcd.url, arguments)
        self.admin = self.api.admin

    @property
    def service(self) -> tuple[str, tuple[str, int]]:
        """What the Service default/kubernetes is and where it ends, as kube-proxy's rules have it."""
        return SERVICE_IP, (self.host.ip, PORT)

    def start(self) -> None:
        """Start both, and make what natlens finds in every cluster."""
        self.etcd.start()
        self.api.start()
        self._publish()
        self._admit_natlens()

    def stop(self) -> None:
        """Stop both."""
        self.admin.close()
        self.api.stop()
        self.etcd.stop()

    def compact(self) -> int:
        """Let etcd forget old revisions, and the API server, too: a watch from before is answered by 410 Gone."""
        revision = self.etcd.compact()
        self.api.restart()
        return revision

    def snapshot(self, name: str = "snapshot") -> Path:
        """Save what etcd has."""
        target = self._directory / name
        if target.exists():
            shutil.rmtree(target)
        self.etcd.snapshot(target)
        return target

    def restore(self, snapshot: Path) -> None:
        """Set the cluster back: to the older revision, and what came after it never was."""
        self.api.stop()
        self.etcd.restore(snapshot)
        self.api.start()

    def service_account_token(self, space: str, name: str, seconds: int = TOKEN_SECONDS) -> str:
        """Return a token of a ServiceAccount, from the TokenRequest API (600 s is the shortest)."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        told = self.admin.ask(service_account(name, space), "token", request)
        return str(told["status"]["token"])

    def natlens_token(self, seconds: int = TOKEN_SECONDS) -> str:
        """Return a new token of natlens' ServiceAccount."""
        return self.service_account_token(ACCOUNT, ACCOUNT, seconds)

    def kubeconfig(self, path: Path, *, token: str = "", token_file: Path | None = None, url: str = "") -> Path:
        """Write a kubeconfig of natlens' ServiceAccount, with a new token if none is given."""
        if not token and token_file is None:
            token = self.natlens_token()
        return kubeconfig(path, url or self.api.url, self.api.ca, token=token, token_file=token_file)

    def mount(self, mounted: MountedToken, token: str = "") -> None:
        """Put a token, a new one if none is given, and today's authority where a pod finds them."""
        mounted.write(token or self.natlens_token(), self.api.ca, ACCOUNT)

    def _publish(self) -> None:
        """Say where the Service default/kubernetes ends: ``--endpoint-reconciler-type=none`` leaves that to others."""
        ports = [Port(443, PORT, name="https")]
        told = endpoint_slice("kubernetes", "kubernetes", ports, [endpoint(self.host.ip)])
        self.admin.apply(told)

    def _admit_natlens(self) -> None:
        self.admin.apply(namespace(ACCOUNT))
        self.admin.apply(service_account(ACCOUNT, ACCOUNT))
        for rules in yaml.safe_load_all(RULES.read_text()):
            self.admin.apply(rules)
        self.admin.apply(binding(ACCOUNT, ACCOUNT, ACCOUNT))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
