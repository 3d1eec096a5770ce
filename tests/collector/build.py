"""Builds the official OpenTelemetry Collector that the tests send to, once for each machine.

``python -m tests.collector.build`` prints the path of the binary. It is kept outside the tree, because a build takes a
minute or more: in ``$NATLENS_CACHE``, ``$XDG_CACHE_HOME/natlens`` or ``~/.cache/natlens``. The builder (ocb) is a Go
tool of the module in this folder, so ``go.sum`` checks what it is made of; the Collector's own modules are checked
against Go's checksum database.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

__all__ = ["BuildError", "binary", "cache_directory", "cache_key"]

HERE = Path(__file__).parent
MANIFEST = HERE / "manifest.yaml"
PINS = (HERE / "go.mod", HERE / "go.sum")

PROGRESS_SECONDS = 5.0
BUILD_SECONDS = 1800.0


class BuildError(Exception):
    """The Collector cannot be built; the message says what to do."""


def binary() -> Path:
    """Return the path of the built Collector; build it if this manifest has not been built here yet."""
    directory = cache_directory()
    path = directory / f"otelcol-{cache_key(MANIFEST.read_bytes(), _pins(), _go_version())}"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            if not path.exists():  # else another process built it while this one waited for the lock
                _build(path)
    return path


def cache_directory() -> Path:
    """Return where built binaries are kept: never in the tree, so that a fresh clone need not build again."""
    if own := os.environ.get("NATLENS_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "natlens"


def cache_key(manifest: bytes, pins: bytes, go_version: str) -> str:
    """Return a name for what these inputs build: any change to one of them asks for another build."""
    digest = hashlib.sha256()
    for part in (manifest, pins, go_version.encode()):
        digest.update(len(part).to_bytes(8, "big") + part)  # the length keeps a byte from moving between parts
    return digest.hexdigest()[:16]


def _pins() -> bytes:
    return b"".join(path.read_bytes() for path in PINS)


def _go_version() -> str:
    if shutil.which("go") is None:
        raise BuildError("`go` is not in PATH, and the tests' Collector is built with it: install Go 1.25 or newer")
    # In this folder, because its go.mod may select a newer toolchain than the one in PATH.
    done = subprocess.run(["go", "version"], cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"`go version` failed, so the tests' Collector cannot be built:\n{done.stderr}")
    return done.stdout.strip()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes: two builds at once would only take twice as long."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another process is building the Collector: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(path: Path) -> None:
    """Build in a directory beside ``path``, so that the finished binary can be renamed into place in one step."""
    started = time.monotonic()
    _say(f"building the OpenTelemetry Collector for the tests into {path} (once; a few minutes)")
    with tempfile.TemporaryDirectory(prefix="build-", dir=path.parent) as scratch:
        manifest = yaml.safe_load(MANIFEST.read_text())
        manifest["dist"]["output_path"] = scratch
        config = Path(scratch, "ocb.yaml")
        config.write_text(yaml.safe_dump(manifest))
        _run_builder(config, Path(scratch, "ocb.log"))
        Path(scratch, manifest["dist"]["name"]).replace(path)
    _say(f"built the Collector in {time.monotonic() - started:.0f} s")


def _run_builder(config: Path, log: Path) -> None:
    """Run ocb (it builds with -trimpath, -s -w and CGO_ENABLED=0 by itself) and say every few seconds where it is."""
    command = ["go", "tool", "builder", "--config", str(config)]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=HERE, stdout=output, stderr=output, start_new_session=True) as process,
    ):
        try:
            _follow(process, log)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # go and its compilers are its children, in its own session
            raise
    if process.returncode != 0:
        raise BuildError(f"ocb failed with status {process.returncode}:\n{log.read_text()}")


def _follow(process: subprocess.Popen[bytes], log: Path) -> None:
    started = time.monotonic()
    while True:
        try:
            process.wait(PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - started
            if elapsed > BUILD_SECONDS:
                raise BuildError(f"ocb is not done after {elapsed:.0f} s:\n{log.read_text()}") from None
            _say(f"{elapsed:4.0f} s: {_last_step(log)}")
        else:
            return


def _last_step(log: Path) -> str:
    """Return the message of the last line: ocb puts time, level and source before it and tabs between."""
    lines = log.read_text().splitlines()
    return lines[-1].split("\t")[:4][-1] if lines else "compiling the builder"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # standard output is for the path alone


if __name__ == "__main__":
    try:
        print(binary())
    except BuildError as error:
        sys.exit(f"error: {error}")
