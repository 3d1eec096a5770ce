"""Network namespaces: made, entered for a moment, removed."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from natlens.errors import KernelError

__all__ = ["Namespace", "entered", "run"]

CLONE_NEWNET = 0x40000000
NETNS = Path("/run/netns")
_libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str, stdin: str | None = None) -> str:
    """Run a tool and return what it printed; raises KernelError with what it complained about."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise KernelError(
            f"{command[0]} is not installed: the demo and the tests need iproute2 and nftables"
        ) from error
    if done.returncode:
        raise KernelError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        code = ctypes.get_errno()
        raise KernelError(f"setns: {os.strerror(code)}")


@contextmanager
def entered(path: Path) -> Iterator[None]:
    """Put the calling thread into a namespace; sockets made inside stay there."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(target)
        yield
    finally:
        _setns(before)
        os.close(target)
        os.close(before)


class Namespace:
    """One named network namespace."""

    def __init__(self, name: str) -> None:
        """Make it, with lo up."""
        self.name = name
        self.path = NETNS / name
        run("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Run a tool inside; bpffs and tracefs stay visible, as with `nsenter --net`."""
        return run("nsenter", f"--net={self.path}", *command, stdin=stdin)

    def ip(self, batch: str) -> None:
        """Run ``ip`` commands, one a line."""
        lines = "\n".join(line.strip() for line in batch.strip().splitlines() if line.strip())
        self.run("ip", "-batch", "-", stdin=lines + "\n")

    def sysctl(self, **values: object) -> None:
        """Set ``net.*`` sysctls; ``__`` stands for a dot (``ipv4__ip_forward=1``)."""
        with entered(self.path):
            for key, value in values.items():
                Path("/proc/sys/net", *key.split("__")).write_text(str(value))

    def enter(self) -> AbstractContextManager[None]:
        """Return :func:`entered` of this namespace."""
        return entered(self.path)

    def remove(self) -> None:
        """Remove it; devices inside go with it."""
        run("ip", "netns", "del", self.name)
