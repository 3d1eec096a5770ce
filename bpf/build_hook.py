"""Hatchling build hook: compile the CO-RE object that the wheel carries."""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OBJECT = "exporter/natlens/kernel/natlens.bpf.o"


class BpfObject(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's type parameter is its own affair
    """Runs ``make bpf``; needs clang and libbpf's headers."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's signature
        """Compile before the wheel's files are collected."""
        subprocess.run(["make", "-s", "bpf"], cwd=self.root, check=True)
        build_data["artifacts"].append(f"/{OBJECT}")
        if not Path(self.root, OBJECT).is_file():
            raise RuntimeError(f"make bpf made no {OBJECT}")
