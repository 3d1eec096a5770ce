"""Builds etcd, kube-apiserver and kube-proxy, once for each machine; all of them from the Go module in this folder.

``python -m tests.cluster.build`` prints their paths. etcd is the version that Kubernetes' own tests run against.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

from tests.built import BuildError, built, run_build

__all__ = ["Binaries", "BuildError", "binaries"]

HERE = Path(__file__).parent
MAINS = ("apiserver", "proxy")
ETCD = "go.etcd.io/etcd/server/v3"
VERSION = "k8s.io/component-base/version.gitVersion"  # what the API server says of itself; clients ask


class Binaries(NamedTuple):
    """Where the built programs are."""

    etcd: Path
    apiserver: Path
    proxy: Path


def binaries() -> Binaries:
    """Return the paths of the built programs; build them if these pins have not been built here yet."""
    sources = [(HERE / main / "main.go").read_bytes() for main in MAINS]
    kept = built("cluster", "the Kubernetes control plane", HERE, [*sources, *_command(Path())], _build)
    return Binaries(kept / "server", *(kept / main for main in MAINS))  # go names etcd's server after its folder


def _command(output: Path) -> list[str]:
    pinned = re.findall(r"^(?:require)?\s+k8s\.io/kubernetes (v\S+)$", (HERE / "go.mod").read_text(), re.MULTILINE)
    linked = f"-s -w -X {VERSION}={pinned[0]}"
    packages = [f"./{main}" for main in MAINS]
    return ["go", "build", "-v", "-trimpath", "-ldflags", linked, "-o", f"{output}/", *packages, ETCD]


def _build(scratch: Path) -> Path:
    output = scratch / "bin"
    output.mkdir()
    run_build(_command(output), HERE, scratch / "go.log", CGO_ENABLED="0")
    return output


if __name__ == "__main__":
    try:
        print(*binaries(), sep="\n")
    except BuildError as error:
        sys.exit(f"error: {error}")
