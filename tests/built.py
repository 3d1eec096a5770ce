"""Binaries of others that the tests build from source, once for each machine.

They are kept outside the tree, because a build takes minutes: in ``$NATLENS_CACHE``, ``$XDG_CACHE_HOME/natlens`` or
``~/.cache/natlens``. What they are made of is pinned by a Go module's ``go.mod`` and ``go.sum``.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

__all__ = ["BuildError", "built", "cache_directory", "cache_key", "run_build"]

PROGRESS_SECONDS = 5.0
BUILD_SECONDS = 1800.0


class BuildError(Exception):
    """Something cannot be built; the message says what to do."""


def built(name: str, what: str, module: Path, inputs: Sequence[bytes | str], make: Callable[[Path], Path]) -> Path:
    """Return the path of what ``make`` built from these inputs; build it if that was not yet done on this machine.

    Args:
        name: what its file or directory in the cache is called, before the key.
        what: what to call it when speaking of it.
        module: the folder of the Go module that pins what it is made of.
        inputs: what else decides what comes out.
        make: builds in the scratch directory given and returns what is to be kept of it.
    """
    pins = b"".join((module / file).read_bytes() for file in ("go.mod", "go.sum"))
    path = cache_directory() / f"{name}-{cache_key(*inputs, pins, _go_version(module, what))}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock"), what):
            if not path.exists():  # else another process built it while this one waited for the lock
                _build(path, what, make)
    return path


def cache_directory() -> Path:
    """Return where built binaries are kept: never in the tree, so that a fresh clone need not build again."""
    if own := os.environ.get("NATLENS_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "natlens"


def cache_key(*inputs: bytes | str) -> str:
    """Return a name for what these inputs build: any change to one of them asks for another build."""
    digest = hashlib.sha256()
    for part in inputs:
        octets = part.encode() if isinstance(part, str) else part
        digest.update(len(octets).to_bytes(8, "big") + octets)  # the length keeps a byte from moving between parts
    return digest.hexdigest()[:16]


def run_build(command: Sequence[str], module: Path, log: Path, **environment: str) -> None:
    """Run a build in the module's folder and say every few seconds where it is."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=module,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
        ) as process,
    ):
        try:
            _follow(process, log)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # go and its compilers are its children, in its own session
            raise
    if process.returncode != 0:
        raise BuildError(f"`{' '.join(command)}` failed with status {process.returncode}:\n{log.read_text()}")


def _go_version(module: Path, what: str) -> str:
    if shutil.which("go") is None:
        least = re.findall(r"^go (\d+\.\d+)", (module / "go.mod").read_text(), re.MULTILINE)
        raise BuildError(f"`go` is not in PATH, and {what} is built with it: install Go {least[0]} or newer")
    # In this folder, because its go.mod may select a newer toolchain than the one in PATH.
    done = subprocess.run(["go", "version"], cwd=module, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"`go version` failed, so {what} cannot be built:\n{done.stderr}")
    return done.stdout.strip()


@contextlib.contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock between processes: two builds at once would only take twice as long."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another process is building {what}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(path: Path, what: str, make: Callable[[Path], Path]) -> None:
    """Build in a directory beside ``path``, so that what is finished can be renamed into place in one step."""
    started = time.monotonic()
    _say(f"building {what} for the tests into {path} (once; a few minutes)")
    with tempfile.TemporaryDirectory(prefix="build-", dir=path.parent) as scratch:
        make(Path(scratch)).replace(path)
    _say(f"built {what} in {time.monotonic() - started:.0f} s")


def _follow(process: subprocess.Popen[bytes], log: Path) -> None:
    started = time.monotonic()
    while True:
        try:
            process.wait(PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - started
            if elapsed > BUILD_SECONDS:
                raise BuildError(f"the build is not done after {elapsed:.0f} s:\n{log.read_text()}") from None
            _say(f"{elapsed:4.0f} s: {_last_step(log)}")
        else:
            return


def _last_step(log: Path) -> str:
    """Return the message of the last line; a Go logger puts time, level and source before it and tabs between."""
    lines = log.read_text().splitlines()
    return lines[-1].split("\t")[:4][-1] if lines else "reading its modules"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # standard output is for the path alone
