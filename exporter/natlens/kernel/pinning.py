"""Pins: what one agent leaves in the kernel for the next (ADR 15).

::

    pin_path/net_COOKIE/            one network namespace
        maps_LAYOUT_N/rows_0 …      windows and counters of one agent
        links/ingress_IFINDEX …     tcx links; clsact filters stay by themselves, under PINNED_HANDLE
        state                       what the agent itself knew at its last report (octets)

Links and filters hold the programs. The next agent brings programs and maps of its own, lets the links run them
instead, and then empties the maps of the one before, to which nothing writes any more.
"""

import hashlib
import os
import shutil
import socket
import struct
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from natlens.errors import KernelError
from natlens.kernel import bpffs, maps
from natlens.kernel.libbpf import BPF_TCX_EGRESS, BPF_TCX_INGRESS, Object
from natlens.kernel.structs import COUNTERS
from natlens.kernel.windows import RETIRED, ROWS, TRANSLATIONS, Window, read_counters, together

__all__ = ["KINDS", "LAYOUT", "PINNED_HANDLE", "WINDOWS", "Left", "Pins", "claim", "left_behind"]

PINNED_HANDLE = 0x6E60
"""The handle of clsact filters that stay; whoever owns it (:func:`claim`) takes them over."""
KINDS = {"ingress": BPF_TCX_INGRESS, "egress": BPF_TCX_EGRESS}
WINDOWS = {"rows": ROWS, "retired": RETIRED, "translations": TRANSLATIONS}
PINNED = (*(f"{kind}_{index}" for kind in WINDOWS for index in (0, 1)), "counters")
SO_NETNS_COOKIE = 71
PATIENCE_S = 2.0

LAYOUT = hashlib.sha256(
    repr([*((kind, entry.descr) for kind, entry in WINDOWS.items()), *COUNTERS]).encode()
).hexdigest()[:12]
"""What the next agent must agree on to read the maps of this one."""


def claim(handle: int) -> socket.socket | None:
    """Own the handle of filters in this network namespace until the socket is closed; None where a process owns it."""
    owner = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        owner.bind(f"\0natlens-filter-{handle:x}")
    except OSError:
        owner.close()
        return None
    return owner


def _claim_soon() -> socket.socket | None:
    """Wait a little for an agent that is about to end, or that only looks whether there are pins."""
    deadline = time.monotonic() + PATIENCE_S
    while (owner := claim(PINNED_HANDLE)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return owner


def _namespace() -> str:
    """Return the name of this thread's network namespace: its cookie (v5.14, commit e8b9eab99232), else its inode."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one, suppress(OSError):
        return f"net_{struct.unpack('=Q', one.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]}"
    return f"net_i{Path('/proc/thread-self/ns/net').stat().st_ino}"


def left_behind(path: Path) -> bool:
    """Tell whether an agent that runs no more left pins in this thread's network namespace."""
    pins = Pins(path, keep=False)
    try:
        return pins.held and pins.path.is_dir()
    finally:
        pins.close()


class Left:
    """The maps of an agent that is no more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complete = all((path / name).exists() for name in PINNED)  # else it was killed before it counted anything
        self.readable = path.name.startswith(f"maps_{LAYOUT}_")

    def windows(self) -> list[Window]:
        """Empty the maps and return what was in them, older first; nothing may write to them any more."""
        with ExitStack() as stack:

            def opened(name: str) -> int:
                fd = bpffs.get(self.path / name)
                stack.callback(os.close, fd)
                return fd

            counters = read_counters(opened("counters"))
            found = [self._window({kind: opened(f"{kind}_{index}") for kind in WINDOWS}, counters) for index in (0, 1)]
        found.sort(key=lambda window: window.start_ns)
        return [one for one in found if len(one.rows) or len(one.translations)] or found[:1]

    @staticmethod
    def _window(fds: dict[str, int], counters: dict[str, int]) -> Window:
        read = {kind: maps.read_and_delete(fds[kind], entry) for kind, entry in WINDOWS.items()}
        rows = together(read["rows"], read["retired"])
        now_ns = time.monotonic_ns()
        return Window(
            rows=rows,
            translations=read["translations"],
            start_ns=min(int(rows["value"]["first_ns"].min()), now_ns) if len(rows) else now_ns,
            end_ns=now_ns,
            unix_offset_ns=time.time_ns() - now_ns,
            counters=counters,
            entries={kind: len(entries) for kind, entries in read.items()},
        )


class Pins:
    """The pins of this thread's network namespace, owned by this process until :meth:`close`."""

    def __init__(self, path: Path, *, keep: bool) -> None:
        """``keep``: pin what comes. Raises ConfigError (no bpffs), and KernelError where another agent pins here."""
        self.keep = keep
        self.path = path / _namespace()
        if keep:
            bpffs.require(path)
        self._owner = _claim_soon() if keep else claim(PINNED_HANDLE)
        if keep and self._owner is None:
            raise KernelError(
                "pin: another natlens agent with pin runs in this network namespace: stop it first, "
                "or leave pin off for this one"
            )
        if keep:
            for one in (self.path, self.path / "links"):
                one.mkdir(mode=0o700, exist_ok=True)
        self.own: Path | None = None

    @property
    def held(self) -> bool:
        """Whether what is pinned here is this process' to take over or to remove."""
        return self._owner is not None

    def left(self) -> list[Left]:
        """Return the maps that agents before this one left, in their order."""
        if not self.held:
            return []
        found = sorted(self.path.glob("maps_*_*"), key=lambda one: int(one.name.rpartition("_")[2]))
        return [Left(one) for one in found if one != self.own]

    def pin_maps(self, loaded: Object) -> None:
        """Pin the maps of this agent; call it before its programs are attached."""
        number = max((int(one.path.name.rpartition("_")[2]) for one in self.left()), default=0) + 1
        self.own = self.path / f"maps_{LAYOUT}_{number}"
        self.own.mkdir(mode=0o700)
        for name in PINNED:
            bpffs.pin(loaded.map_fd(name), self.own / name)

    def links(self) -> dict[tuple[int, str], int]:
        """Return (ifindex, side) → descriptor of every pinned link; those whose interface is gone are removed."""
        found: dict[tuple[int, str], int] = {}
        for path in sorted((self.path / "links").glob("*_*")) if self.held else ():
            side, _, index = path.name.partition("_")
            fd = bpffs.get(path)
            if bpffs.link_place(fd) == (int(index), KINDS[side]):
                found[int(index), side] = fd
            else:
                os.close(fd)
                path.unlink()
        return found

    def _link(self, ifindex: int, side: str) -> Path:
        return self.path / "links" / f"{side}_{ifindex}"

    def pin_link(self, fd: int, ifindex: int, side: str) -> None:
        """Let a link stay when this process ends."""
        self._link(ifindex, side).unlink(missing_ok=True)
        bpffs.pin(fd, self._link(ifindex, side))

    def unpin_link(self, ifindex: int, side: str) -> None:
        """Let a link go with its descriptor."""
        self._link(ifindex, side).unlink(missing_ok=True)

    def remember(self, *parts: bytes | memoryview) -> None:
        """Keep octets for the next agent, in place of what was kept before."""
        bpffs.put_octets(parts, self.path / "state")

    def recall(self) -> bytes | None:
        """Return what :meth:`remember` kept last."""
        return bpffs.read_octets(self.path / "state") if self.held else None

    def clear(self, *, everything: bool = False) -> None:
        """Remove what is left of others (``everything``: own pins, too)."""
        for one in self.left():
            shutil.rmtree(one.path)
        if everything and self.path.exists():
            shutil.rmtree(self.path)

    def close(self) -> None:
        """Give up what is owned; what is pinned stays."""
        if self._owner:
            self._owner.close()
            self._owner = None
