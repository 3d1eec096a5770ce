"""Hatchling build hook: compile the objects that the wheel carries, and put the sources in that bcc compiles."""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OBJECTS = [f"exporter/natlens/kernel/{name}.bpf.o" for name in ("natlens", "no_kfuncs", "hooks", "maps", "crowd")]


class BpfObject(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's type parameter is its own affair
    """Runs ``make bpf``; needs clang and libbpf's headers."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's signature
        """Compile before the wheel's files are collected."""
        subprocess.run(["make", "-s", "bpf"], cwd=self.root, check=True)
        for made in OBJECTS:
            build_data["artifacts"].append(f"/{made}")
            if not Path(self.root, made).is_file():
                raise RuntimeError(f"make bpf made no {made}")
        for source in sorted(Path(self.root, "bpf").glob("*.[ch]")):
            build_data["force_include"][str(source)] = f"natlens/bpf/{source.name}"
