"""A BPF file system in a mount namespace of its own, seen from outside through procfs."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["mounted_bpffs"]

MOUNT = 'mount -t bpf bpf "$0" && echo mounted && exec cat'


@contextmanager
def mounted_bpffs(directory: Path) -> Iterator[Path]:
    """Mount one at ``directory``; yields the path by which every process reaches it. Pins go with it."""
    command = "unshare", "--mount", "--propagation=private", "sh", "-c", MOUNT, str(directory)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin
        assert holder.stdout
        try:
            assert holder.stdout.readline() == "mounted\n"
            yield Path(f"/proc/{holder.pid}/root{directory}")
        finally:
            holder.stdin.close()
