"""Debian's kernels of other suites, fetched beside what the machine has installed, kept outside the tree.

Nothing is installed and no registry is named: the mirror's address is read from the machine's own package sources,
the version from the suite's metapackage. What was unpacked is kept by package and version.
"""

import fcntl
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.built import cache_directory

__all__ = ["KERNELS", "Image", "Kernel", "Unavailable", "fetch", "headers"]

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
RESOLVE_AGAIN_S = 24 * 3600  # suites move a few times a month
APT_SECONDS = 300
IMAGE = re.compile(r"linux-(image|binary|modules|base)-\d\S*")
HEADERS = re.compile(r"linux-(headers|kbuild|base)-\d\S*")


class Unavailable(Exception):
    """A kernel cannot be had on this machine; the message says why. Tests skip."""


class Kernel(NamedTuple):
    """What a kernel is called here, and where it comes from: the first suite that has it."""

    name: str
    suites: tuple[str, ...]
    metapackage: str = "linux-image-cloud-amd64"


KERNELS = (
    Kernel("5.10", ("bullseye-security",)),
    Kernel("6.1", ("bookworm-security", "bookworm")),
    Kernel("6.12", ("trixie-security", "trixie")),
    Kernel("newest", ("trixie-backports",)),
)


class Image(NamedTuple):
    """An unpacked kernel."""

    name: str
    release: str  # as uname -r says it
    vmlinuz: Path
    modules: Path  # what /lib/modules/RELEASE is to be


def fetch(kernel: Kernel) -> Image:
    """Return the kernel's image, unpacked with its modules; download it where it is not there or may be outdated.

    Raises:
        Unavailable: no suite of this machine's mirror has it, or the mirror cannot be reached and none is kept.
    """
    return _image(kernel, _unpacked(kernel, kernel.metapackage, IMAGE))


def headers(kernel: Kernel, release: str) -> Path:
    """Return a directory with the headers of the kernel of that release: its ``usr/src`` has what ``build`` names."""
    return _unpacked(kernel, f"linux-headers-{release}", HEADERS)


def _image(kernel: Kernel, root: Path) -> Image:
    modules = next(path for path in (root / "lib/modules", root / "usr/lib/modules") if path.is_dir())
    directory = next(modules.iterdir())
    boot = [*root.glob("boot/vmlinuz-*"), *directory.glob("vmlinuz")]
    return Image(kernel.name, directory.name, boot[0], directory)


def _unpacked(kernel: Kernel, package: str, wanted: re.Pattern[str]) -> Path:
    base = cache_directory() / "kernels"
    base.mkdir(parents=True, exist_ok=True)
    with _locked(base / f"{kernel.name}.lock"):
        answer = base / f"{kernel.name}-{package}.json"
        if known := _known(answer, RESOLVE_AGAIN_S):
            return known
        try:
            path = _resolve(kernel, package, wanted, base)
        except Unavailable:
            if known := _known(answer, float("inf")):
                return known
            raise
        answer.write_text(json.dumps({"directory": path.name, "at": time.time()}))
        return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _known(answer: Path, seconds: float) -> Path | None:
    """Return what was unpacked when the suite was last asked, if that is not longer ago."""
    if not answer.exists():
        return None
    known = json.loads(answer.read_text())
    path = answer.parent / known["directory"]
    return path if path.is_dir() and time.time() - known["at"] < seconds else None


def _resolve(kernel: Kernel, package: str, wanted: re.Pattern[str], base: Path) -> Path:
    if shutil.which("apt-get") is None:
        raise Unavailable(f"kernel {kernel.name} comes from Debian's packages, and there is no apt-get here")
    with tempfile.TemporaryDirectory(dir=base) as scratch:
        apt = _Apt(Path(scratch), kernel.suites)
        packages = apt.closure(package, wanted)
        version = apt.version(package)
        path = base / f"{package}_{version}".replace("/", "_")
        if not path.exists():
            apt.download(packages).rename(path)
        return path


class _Apt:
    """apt with a list of sources of its own, which sees nothing of what the machine has installed."""

    def __init__(self, scratch: Path, suites: Sequence[str]) -> None:
        self._scratch = scratch
        for directory in ("lists/partial", "sources", "cache/archives/partial", "packages", "root"):
            (scratch / directory).mkdir(parents=True)
        (scratch / "status").touch()
        mirrors = _mirrors()
        for suite in suites:
            uri = mirrors["security" if suite.endswith("-security") else "main"]
            (scratch / f"sources/{suite}.list").write_text(f"deb [signed-by={KEYRING}] {uri} {suite} main\n")
        self._run("apt-get", "update", "-qq")

    def closure(self, package: str, wanted: re.Pattern[str]) -> list[str]:
        """Return those of the package and what it needs whose names are wanted: not the metapackage itself."""
        found, left = [], [package]
        while left:
            one = left.pop()
            found.append(one)
            depends = self._run("apt-cache", "depends", "--important", one)
            names = re.findall(r"Depends: (\S+)", depends)
            left += [name for name in names if wanted.fullmatch(name) and name not in found and name not in left]
        return [name for name in found if wanted.fullmatch(name)]

    def version(self, package: str) -> str:
        """Return the newest version of a package."""
        return self._run("apt-cache", "show", "--no-all-versions", package).split("\nVersion: ")[1].split("\n")[0]

    def download(self, packages: Sequence[str]) -> Path:
        """Return a directory with the contents of the packages."""
        self._run("apt-get", "download", "-qq", *packages, cwd=self._scratch / "packages")
        for file in (self._scratch / "packages").iterdir():
            self._run("dpkg-deb", "-x", str(file), str(self._scratch / "root"))
        for directory in (self._scratch / "root").glob("**/lib/modules/*/kernel"):
            root = directory.parents[3 if directory.parents[3] == self._scratch / "root" else 4]
            _depmod(root, directory.parent)
        return self._scratch / "root"

    def _run(self, tool: str, *arguments: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": self._scratch / "sources",
            "Dir::State::Lists": self._scratch / "lists",
            "Dir::State::Status": self._scratch / "status",
            "Dir::Cache": self._scratch / "cache",
            "APT::Sandbox::User": "root",
        }
        settings = [f"-o{name}={value}" for name, value in options.items()] if tool.startswith("apt") else []
        try:
            done = subprocess.run(
                [tool, *settings, *arguments], cwd=cwd, capture_output=True, text=True, check=True, timeout=APT_SECONDS
            )
        except subprocess.CalledProcessError as error:
            said = error.stderr.strip().splitlines() or [f"status {error.returncode}"]
            raise Unavailable(f"`{tool} {' '.join(arguments)}` failed: {said[-1]}") from None
        except subprocess.TimeoutExpired:
            raise Unavailable(f"`{tool} {' '.join(arguments)}` gave no answer in {APT_SECONDS} s") from None
        return done.stdout


def _mirrors() -> dict[str, str]:
    """Return the addresses of the machine's mirror of Debian and of its security updates."""
    form = "$(ORIGIN) $(RELEASE) $(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        origin, release, uri = line.split(" ", 2)
        if origin == "Debian":
            found.setdefault("security" if release.endswith("-security") else "main", uri)
    if len(found) != 2:
        raise Unavailable("this machine's package sources name no mirror of Debian and of its security updates")
    return found


def _depmod(root: Path, modules: Path) -> None:
    """Write what modprobe looks up; packages leave that to the installation."""
    base = root if modules.parent.parent == root / "lib" else root / "usr"
    subprocess.run(["depmod", "--basedir", str(base), modules.name], capture_output=True, check=True)
