"""What a VM boots with: an initramfs of busybox and the modules without which it has no root file system."""

import lzma
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.built import cache_directory, cache_key
from tests.kernels.packages import Image, Unavailable

__all__ = ["initramfs"]

HERE = Path(__file__).parent
NEEDED = "virtio_pci", "virtiofs", "overlay"  # in order; what the kernel has built in is left out


def initramfs(image: Image) -> Path:
    """Return the initramfs for a kernel; it is kept, and made anew where the kernel or a script changed."""
    script = HERE / "init.sh"
    path = cache_directory() / f"initramfs-{image.release}-{cache_key(str(image.modules), script.read_bytes())}"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=cache_directory()) as scratch:
            _fill(Path(scratch) / "root", image, script)
            _pack(Path(scratch) / "root", Path(scratch) / "packed").rename(path)
    return path


def _fill(root: Path, image: Image, script: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise Unavailable("busybox (busybox-static) is not installed: `make test-kernels` installs it")
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    root.chmod(0o755)
    shutil.copy(busybox, root / "bin/busybox")
    shutil.copy(script, root / "init")
    (root / "init").chmod(0o755)
    order = _order(image.modules)
    for module in order:
        packed = (image.modules / module).read_bytes()
        name = Path(module).name.removesuffix(".xz")
        (root / "modules" / name).write_bytes(lzma.decompress(packed) if module.endswith(".xz") else packed)
    names = (Path(module).name.removesuffix(".xz") for module in order)
    (root / "modules/order").write_text("".join(f"{name}\n" for name in names))


def _order(modules: Path) -> list[str]:
    """Return the files of the needed modules, each after those that it depends on."""
    lines = (line.split(":") for line in (modules / "modules.dep").read_text().splitlines())
    depends = {name: rest.split() for name, rest in lines}
    files = {Path(name).name.split(".")[0].replace("-", "_"): name for name in depends}
    order: list[str] = []
    for name in NEEDED:
        if file := files.get(name):
            order += [one for one in [*reversed(depends[file]), file] if one not in order]
    return order


def _pack(root: Path, path: Path) -> Path:
    names = sorted(os.fspath(file.relative_to(root)) for file in root.rglob("*"))
    with path.open("wb") as output:
        command = ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet"]
        text = "".join(f"{name}\n" for name in names)
        subprocess.run(command, cwd=root, input=text.encode(), stdout=output, check=True)
    return path
