"""etcd, what Kubernetes keeps its objects in: compacted, saved and set back as an operator does it."""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from natlens.ui.lab.namespaces import Namespace, run
from tests.cluster.server import Server, connect

__all__ = ["Etcd"]

HOST, CLIENTS, PEERS = "127.0.0.1", 2379, 2380
ANY_KEY = "AA=="  # a zero octet in base64


class Etcd(Server):
    """One member, on the loopback of its namespace; its revision is the cluster's ``resourceVersion``."""

    name = "etcd"

    def __init__(self, binary: Path, namespace: Namespace, directory: Path) -> None:
        super().__init__(namespace, directory, HOST, CLIENTS, PEERS)
        self._binary = binary
        self._data = directory / "data"
        self.url = f"http://{HOST}:{CLIENTS}"

    def command(self) -> list[str]:
        peers = f"http://{HOST}:{PEERS}"
        return [
            str(self._binary),
            f"--data-dir={self._data}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",  # it need not outlive this machine
            "--log-level=warn",
        ]

    def revision(self) -> int:
        """Return how far it is."""
        return int(self._ask("range", {"key": ANY_KEY})["header"]["revision"])

    def compact(self) -> int:
        """Forget every revision before the current one, which is returned."""
        revision = self.revision()
        self._ask("compaction", {"revision": revision, "physical": True})
        return revision

    def _ask(self, method: str, message: dict[str, Any]) -> dict[str, Any]:
        with contextlib.closing(connect(self.namespace, HOST, CLIENTS)) as connection:
            connection.request("POST", f"/v3/kv/{method}", json.dumps(message))
            answer = connection.getresponse()
            told: dict[str, Any] = json.loads(answer.read())
        if answer.status != 200:
            raise self._error(f"{method} was answered by {told}")
        return told

    def snapshot(self, target: Path) -> None:
        """Copy its data; it stands still meanwhile, so the copy is as one that lost power would find it."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            run("cp", "-a", "--sparse=always", str(self._data), str(target))
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def restore(self, source: Path) -> None:
        """Go back to a snapshot; the API server must be down meanwhile, as its cache knows better."""
        self.stop()
        shutil.rmtree(self._data)
        run("cp", "-a", "--sparse=always", str(source), str(self._data))
        self.start()
