"""kube-apiserver as a process: RBAC, ServiceAccount tokens, dual-stack Services."""

import contextlib
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

from natlens.ui.lab.namespaces import Namespace
from tests.cluster.api import Api, ApiError
from tests.cluster.certificates import Certificates
from tests.cluster.server import Server, connect
from tests.collector.tls import Authority

__all__ = ["PORT", "SERVICE_CIDRS", "SERVICE_IP", "SERVICE_IP6", "ApiServer"]

PORT = 6443
SERVICE_CIDRS = "10.96.0.0/16,fd00:96::/108"
SERVICE_IP, SERVICE_IP6 = "10.96.0.1", "fd00:96::1"
NAMES = "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"
READY_S = 60.0
POLL_S = 0.05
# Who may come with which secret: the operator, and kube-proxy as its bootstrap role binding knows it.
ADMIN, PROXY = "secret-of-the-admin", "secret-of-kube-proxy"
TOKENS = f'{ADMIN},admin,admin-uid,"system:masters"\n{PROXY},system:kube-proxy,proxy-uid\n'


class ApiServer(Server):
    """One API server; stopped and started again it is the same, certificates and signing key included.

    Args:
        binary: kube-apiserver.
        namespace: where it runs.
        directory: for its files.
        addresses: its own, one of each family.
        etcd: the URL of its etcd.
        arguments: more of them, which win over those here (``--watch-cache=false``).
    """

    name = "kube-apiserver"

    def __init__(
        self,
        binary: Path,
        namespace: Namespace,
        directory: Path,
        addresses: tuple[str, str],
        etcd: str,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(namespace, directory, addresses[0], PORT)
        self._binary = binary
        self._etcd = etcd
        self._arguments = arguments
        addressed = *addresses, SERVICE_IP, SERVICE_IP6, "127.0.0.1"
        self._certificates = Certificates(directory / "tls", *NAMES, *addressed)
        self.ca = self._certificates.ca
        self._signing_key = Authority(directory / "signing").server("serviceaccounts").key
        (directory / "tokens.csv").write_text(TOKENS)
        self.admin = self.client(ADMIN)

    def command(self) -> list[str]:
        return [
            str(self._binary),
            f"--etcd-servers={self._etcd}",
            f"--secure-port={PORT}",
            "--bind-address=::",
            f"--advertise-address={self.host}",
            f"--tls-cert-file={self._certificates.served.cert}",
            f"--tls-private-key-file={self._certificates.served.key}",
            f"--token-auth-file={self._directory / 'tokens.csv'}",
            f"--service-account-key-file={self._signing_key}",
            f"--service-account-signing-key-file={self._signing_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={SERVICE_CIDRS}",
            "--authorization-mode=Node,RBAC",
            "--disable-admission-plugins=ServiceAccount",  # pods here mount no tokens
            "--endpoint-reconciler-type=none",
            "--shutdown-watch-termination-grace-period=100ms",  # without it a stop may wait long for kube-proxy
            *self._arguments,
        ]

    @property
    def url(self) -> str:
        """Where it is, without kube-proxy."""
        return f"https://{self.host}:{PORT}"

    def client(self, token: str) -> Api:
        """Return a client that shows this token; close it when done."""
        return Api(self.namespace, self.host, PORT, self.ca, token)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        super().start()
        deadline = time.monotonic() + READY_S
        while True:
            try:
                self.admin.text("/readyz")
            except (ApiError, OSError) as error:
                if time.monotonic() > deadline:
                    raise self._error(f"the {self.name} is not ready: {error}") from error
                time.sleep(POLL_S)
            else:
                return

    def rotate_certificate(self) -> None:
        """Serve another certificate of the same authority, without a restart."""
        self._certificates.issue()
        self._wait_until_served()

    def rotate_authority(self) -> None:
        """Serve a certificate of another authority, which ``ca`` is from now on; what was copied from it is stale."""
        self._certificates.new_authority()
        self.admin.close()  # its next connection trusts the new one
        self._wait_until_served()

    def _wait_until_served(self) -> None:
        deadline = time.monotonic() + READY_S
        while self.shown() != self._certificates.current():
            if time.monotonic() > deadline:
                raise self._error(f"the {self.name} does not serve its new certificate")
            time.sleep(POLL_S)

    def shown(self) -> bytes | None:
        """Return the certificate that a client is shown now."""
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        with contextlib.closing(connect(self.namespace, self.host, PORT, anybody)) as connection:
            assert isinstance(connection.sock, ssl.SSLSocket)
            return connection.sock.getpeercert(binary_form=True)
