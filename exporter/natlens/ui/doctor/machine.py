"""What checks look at: a root directory, the options, and facts that several of them need, found once."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from natlens.config import Options
from natlens.errors import MissingFeature
from natlens.kernel import trial
from natlens.kernel.probe import SYS_ADMIN, Capabilities, Features
from natlens.kernel.trial import Trial

__all__ = ["Machine"]


@dataclass(frozen=True)
class Machine:
    """The node, as the checks see it."""

    options: Options
    root: Path = Path("/")
    """Where /proc, /sys, /boot, /lib, /usr are."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    release: str = field(default_factory=platform.release)

    def path(self, name: str) -> Path:
        """Return a path below the root."""
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str | None:
        """Return a file's text; None where it is not there or may not be read."""
        try:
            return self.path(name).read_text(errors="replace")
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """Return the number that a file holds; None where there is none."""
        text = (self.read(name) or "").strip()
        return int(text) if text.lstrip("-").isdecimal() else None

    def has_module(self, name: str) -> bool:
        """Tell whether a module is in the kernel: loaded, or built in and known to sysfs."""
        return self.path(f"/sys/module/{name}").exists() or bool(
            any(line.split()[:1] == [name] for line in (self.read("/proc/modules") or "").splitlines())
        )

    def may_load(self, name: str) -> bool:
        """Tell whether a module is there to be loaded."""
        listed = self.read(f"/lib/modules/{self.release}/modules.dep") or ""
        return any(line.partition(":")[0].split("/")[-1].split(".")[0] == name for line in listed.splitlines())

    @cached_property
    def capabilities(self) -> Capabilities:
        """What this process may do."""
        return Capabilities.read()

    @property
    def is_admin(self) -> bool:
        """Whether it may look at everything."""
        return bool(self.capabilities.effective >> SYS_ADMIN & 1)

    @cached_property
    def features(self) -> Features | None:
        """What the kernel can do; None where it cannot be told (no BTF, no libbpf)."""
        try:
            return Features.probe()
        except MissingFeature:
            return None

    @cached_property
    def sources(self) -> dict[str, Trial]:
        """Each way to learn translations as packets come, best first."""
        return {
            "tc": trial.try_reading(),
            "fentry": trial.try_fentry(),
            "kprobe": trial.try_kprobe(),
        }

    @property
    def source(self) -> str | None:
        """The first of them that works; None where none does."""
        return next((name for name, tried in self.sources.items() if tried.works), None)

    @cached_property
    def attachment(self) -> str:
        """`tcx` or `clsact`: how natlens attaches, or would if it were allowed to."""
        if self.options.attach == "clsact":
            return "clsact"
        tried = trial.try_tcx()
        return "tcx" if tried.works or (tried.refused and self.features and self.features.tcx) else "clsact"
