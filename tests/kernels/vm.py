"""A kernel in a virtual machine that runs commands of this machine: its own kernel, our file system.

QEMU without KVM. The guest sees this machine's ``/usr``, ``/etc``, the Python environment and the working tree,
read-only and at their own paths (virtiofs), under a layer in memory that takes what it writes; so nothing needs to be
installed or packed for it. The idea is virtme-ng's. Only the folder ``exchange`` is written through.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from tests.kernels.boot import initramfs
from tests.kernels.packages import Image, Unavailable

__all__ = ["Done", "Vm", "VmError"]

TREE = Path(__file__).parents[2]
COMPILED = TREE / ".cache/pyc"  # where guests find Python's modules compiled: they keep nothing
BOOT_SECONDS = 120.0
POLL_SECONDS = 0.1
# An emulated `rep movs` goes step by step: with these the verifier, which copies a lot, takes a third of the time.
# Emulated AVX is wrong: numpy.argsort of 9 to 300 numbers did not sort them (QEMU 7.2).
CPU = "max,-avx,-avx2,-erms,-fsrm"
NO_REPEATED_MOVES = "clearcpuid=112"  # X86_FEATURE_REP_GOOD
CONSOLE_LINES = 40
VIRTIOFSD = "/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"
SHARED = "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64"


class VmError(Exception):
    """A machine did not come up, or its command did not end; the message has the end of what it said."""


class Done(NamedTuple):
    """How a command ended."""

    status: int
    stdout: str
    stderr: str
    seconds: float


@dataclass
class Vm:
    """One machine for one command: it is off when the command has ended.

    Use it as a context: ``with Vm(image, ["uname", "-r"]) as vm: done = vm.wait()``.
    """

    image: Image
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    append: str = ""  # to the kernel's command line
    memory_mib: int = 1024
    cpus: int = 2
    timeout_s: float = 600.0
    share: Sequence[Path] = ()  # besides what it sees anyway
    keep: Path | None = None  # where to leave the console's log; else a temporary file that errors quote

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="natlens-vm-")))
            self.exchange = self._scratch / "exchange"
            self.exchange.mkdir()
            self.console = self.keep or self._scratch / "console"
            self._write_command()
            self._started = time.monotonic()
            stack.callback(self._stop)
            self._processes: list[subprocess.Popen[bytes]] = []
            self._serve()
            self._boot()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait(self, *, echo: bool = False) -> Done:
        """Wait for the command to end; with ``echo`` its output is passed on while it runs.

        Raises:
            VmError: the machine did not come up, died, or the command took more than ``timeout_s``.
        """
        tails = [(self.exchange / "stdout", sys.stdout), (self.exchange / "stderr", sys.stderr)]
        offsets = [0, 0]
        while True:
            ended = (self.exchange / "status").exists() or self._processes[-1].poll() is not None
            if echo:
                for index, (path, stream) in enumerate(tails):
                    offsets[index] += _pass_on(path, offsets[index], stream)
            if ended:
                break
            self._check_time()
            time.sleep(POLL_SECONDS)
        return self._done()

    def _done(self) -> Done:
        status = self.exchange / "status"
        if not status.exists():
            raise VmError(f"{self._name} went off before its command had ended; {self._said()}")
        seconds = time.monotonic() - self._started
        return Done(int(status.read_text()), self._output("stdout"), self._output("stderr"), seconds)

    def _check_time(self) -> None:
        elapsed = time.monotonic() - self._started
        if elapsed > BOOT_SECONDS and not (self.exchange / "up").exists():
            raise VmError(f"{self._name} is not up after {BOOT_SECONDS:.0f} s; {self._said()}")
        if elapsed > self.timeout_s:
            last = (self._output("stdout").splitlines() or ["nothing"])[-1]
            raise VmError(
                f"{self._name}: `{shlex.join(self.command)}` has not ended after {self.timeout_s:.0f} s; "
                f"the last that it said: {last}; {self._said()}"
            )

    @property
    def _name(self) -> str:
        return f"the VM with kernel {self.image.release}"

    def _said(self) -> str:
        lines = self.console.read_text(errors="replace").splitlines() if self.console.exists() else []
        return "its console:\n" + "\n".join(lines[-CONSOLE_LINES:])

    def _output(self, name: str) -> str:
        path = self.exchange / name
        return path.read_text(errors="replace") if path.exists() else ""

    def _write_command(self) -> None:
        python = Path(sys.prefix) / "bin"
        variables = {
            "PATH": f"{python}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": f"{TREE / 'exporter'}:{TREE}",
            "PYTHONPYCACHEPREFIX": str(COMPILED),
            "HOME": "/tmp",  # noqa: S108  # the guest's own
            "LANG": "C.UTF-8",
            "VM_DIRECTORY": str(TREE),
            "VM_MODULES": str(self.image.modules),
            **self.environment,
        }
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
        (self.exchange / "environment").write_text("".join(lines))
        (self.exchange / "command").write_text(f"exec {shlex.join(self.command)}\n")
        shutil.copy(Path(__file__).parent / "start.sh", self.exchange)

    def _serve(self) -> None:
        """Start the file server in a mount namespace that has nothing but what the guest may see, read-only."""
        daemon = next((path for path in VIRTIOFSD if Path(path).exists()), None)
        if daemon is None:
            raise Unavailable("virtiofsd is not installed: `make test-kernels` installs it with QEMU")
        top = self._scratch / "shared"
        top.mkdir()
        script = "\n".join(_mounts(top, self.exchange, [*self.share, *_seen(self.image)]))
        options = [f"--socket-path={self._scratch / 'socket'}", "-o", f"source={top}"]
        options += ["-o", "cache=always,sandbox=chroot,log_level=err"]
        script += f"\nexec {shlex.join([daemon, *options])}\n"
        self._spawn(["unshare", "--mount", "sh", "-euc", script], "virtiofsd")
        while not (self._scratch / "socket").exists():
            if self._processes[-1].poll() is not None:
                raise VmError(f"virtiofsd did not start: {(self._scratch / 'virtiofsd').read_text()}")
            time.sleep(POLL_SECONDS / 10)

    def _boot(self) -> None:
        if shutil.which("qemu-system-x86_64") is None:
            raise Unavailable("qemu-system-x86_64 is not installed: `make test-kernels` installs it")
        memory = f"{self.memory_mib}M"
        line = f"console=ttyS0 panic=-1 quiet sysrq_always_enabled=1 {NO_REPEATED_MOVES} {self.append}"
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", str(self.cpus)]
        command += ["-m", memory, "-object", f"memory-backend-memfd,id=memory,size={memory},share=on"]
        command += ["-numa", "node,memdev=memory", "-nographic", "-no-reboot", "-nodefaults"]
        command += ["-serial", f"file:{self.console}"]
        command += ["-chardev", f"socket,id=shared,path={self._scratch / 'socket'}"]
        command += ["-device", "vhost-user-fs-pci,chardev=shared,tag=shared"]
        command += ["-kernel", str(self.image.vmlinuz), "-initrd", str(initramfs(self.image)), "-append", line]
        self._spawn(command, "qemu")

    def _spawn(self, command: Sequence[str], name: str) -> None:
        with (self._scratch / name).open("wb") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],  # nothing is left even where this process is killed
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes.append(process)

    def _stop(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _seen(image: Image) -> Iterator[Path]:
    yield from (TREE, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), image.modules)


def _mounts(top: Path, exchange: Path, paths: Sequence[Path]) -> Iterator[str]:
    """Give the commands that build the tree that the guest sees."""
    yield f"mount -t tmpfs tmpfs {top}"
    for system in map(Path, SHARED):
        if system.is_symlink():
            yield f"ln -s {system.readlink()} {top}{system}"
        elif system.is_dir():
            paths = [*paths, system]
    for path in sorted(set(paths)):
        place = shlex.quote(f"{top}{path}")
        yield f"mkdir -p {place} && mount --bind -o ro {shlex.quote(str(path))} {place}"
    yield f"mkdir {top}/exchange && mount --bind {exchange} {top}/exchange"


def _pass_on(path: Path, offset: int, stream: object) -> int:
    """Copy what a file has got since; returns how many bytes that was."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    if data:
        print(data.decode(errors="replace"), end="", file=stream, flush=True)  # type: ignore[call-overload]
    return len(data)
