"""What natlens uses of the distribution: libbpf, and bcc where the kernel has no types."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from natlens.kernel import libbpf
from natlens.kernel.loader import btf_lacks
from natlens.kernel.probe import VMLINUX_BTF
from natlens.ui.doctor.check import Findings, failed, passed, warned
from natlens.ui.doctor.machine import Machine

__all__ = ["bcc_trouble", "look_at_bcc", "look_at_libbpf"]

DISTRIBUTED = "usr/lib/python3/dist-packages", "usr/lib/python3*/site-packages"
LIBRARIES = "usr/lib/*/libbcc.so.0", "usr/lib*/libbcc.so.0", "usr/local/lib/libbcc.so.0", "lib/*/libbcc.so.0"
INSTALL = "install your distribution's bcc (Debian: python3-bpfcc, Fedora: python3-bcc)"
LEAST = 1, 0


def look_at_libbpf(_machine: Machine) -> Findings:
    """Tell libbpf's version: kernel functions (kfuncs) need 1.0."""
    version = libbpf.version()
    if tuple(int(part) for part in version.split(".")[:2]) < LEAST:
        yield failed(f"{version}: the programs load by 1.0 or later", "install a newer libbpf (Debian 12 has 1.1)")
    else:
        yield passed(version)


def look_at_bcc(machine: Machine) -> Findings:
    """Tell whether programs could be compiled here, and whether the package `bcc` is the right one."""
    wanted = machine.options.loader
    needed = wanted == "bcc" or (wanted == "auto" and bool(btf_lacks(machine.path(str(VMLINUX_BTF)))))
    for place in _impostors(machine):
        fix = f"pip uninstall bcc (in the environment of {place.parent}); {INSTALL}"
        yield (failed if needed else warned)(f"{place} is another package of the name, from PyPI", fix)
    trouble = bcc_trouble(machine)
    if trouble is None:
        yield passed(f"{_packages(machine)[0]}, with kernel headers {_headers(machine)}")
    elif needed:
        yield failed(f"needed, as the kernel has no types or loader is bcc: {trouble}", _way_out(machine))
    else:
        yield passed(f"not needed: the kernel has types ({trouble})")


def bcc_trouble(machine: Machine) -> str | None:
    """Return why bcc cannot compile here; None where it can."""
    if not _packages(machine):
        return "no Python package bcc of the distribution"
    if not any(True for pattern in LIBRARIES for _ in machine.root.glob(pattern)):
        return "no libbcc.so.0"
    return None if _headers(machine) else f"no headers of kernel {machine.release}"


def _way_out(machine: Machine) -> str:
    if not _headers(machine):
        return f"{INSTALL} and kernel headers (Debian: linux-headers-{machine.release})"
    return INSTALL


def _headers(machine: Machine) -> Path | None:
    names = f"lib/modules/{machine.release}/build", f"usr/src/linux-headers-{machine.release}"
    kernels_own = "sys/kernel/kheaders.tar.xz"
    return next((path for name in (*names, kernels_own) if (path := machine.root / name).exists()), None)


def _found(machine: Machine) -> Iterator[Path]:
    """Yield each package directory named bcc: of this interpreter, of the distribution."""
    spec = importlib.util.find_spec("bcc")
    if spec and spec.origin:
        yield Path(spec.origin).parent
    for pattern in DISTRIBUTED:
        yield from (path.parent for path in machine.root.glob(f"{pattern}/bcc/__init__.py"))


def _is_right(package: Path) -> bool:
    """Tell by what only BPF Compiler Collection has: the bindings of its library."""
    return (package / "libbcc.py").exists() and (package / "table.py").exists()


def _packages(machine: Machine) -> list[Path]:
    return [place for place in _found(machine) if _is_right(place)]


def _impostors(machine: Machine) -> list[Path]:
    return [place for place in dict.fromkeys(_found(machine)) if not _is_right(place)]
