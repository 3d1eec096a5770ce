"""What a client of the API server is given: a kubeconfig, or the files that a kubelet mounts into a pod."""

import shutil
from pathlib import Path
from typing import Any

import yaml

__all__ = ["MountedToken", "kubeconfig"]


def kubeconfig(path: Path, server: str, ca: Path | None, *, token: str = "", token_file: Path | None = None) -> Path:
    """Write a kubeconfig with a token, or the name of a file with one; without ``ca`` any server is trusted."""
    trust: dict[str, Any] = {"insecure-skip-tls-verify": True} if ca is None else {"certificate-authority": str(ca)}
    user = {"token": token} if token_file is None else {"tokenFile": str(token_file)}
    told = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {"server": server, **trust}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "context",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(told))
    return path


class MountedToken:
    """``/var/run/secrets/kubernetes.io/serviceaccount``: token, ca.crt and namespace, all renewed in one step."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._writes = 0
        for name in ("token", "ca.crt", "namespace"):
            (directory / name).symlink_to(Path("..data", name))

    def write(self, token: str, ca: Path, namespace: str) -> None:
        """Change what is there as a kubelet does: ``..data`` is a link, and what it names is another directory then."""
        link = self.directory / "..data"
        before = link.resolve() if link.is_symlink() else None
        self._writes += 1
        data = self.directory / f"..data-{self._writes}"
        data.mkdir()
        for name, content in (("token", token), ("ca.crt", ca.read_text()), ("namespace", namespace)):
            (data / name).write_text(content)
        fresh = self.directory / "..data_tmp"
        fresh.symlink_to(data.name)
        fresh.replace(link)
        if before is not None:
            shutil.rmtree(before)
