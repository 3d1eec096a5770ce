"""Builds the stores that the tests send metrics to, once for each machine; all from the Go module in this folder.

``python -m tests.stores.build`` prints their paths.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from tests.built import BuildError, built, run_build

__all__ = ["Binaries", "BuildError", "binaries"]

HERE = Path(__file__).parent
PACKAGES = (
    "github.com/prometheus/prometheus/cmd/prometheus",
    "github.com/prometheus/prometheus/cmd/promtool",
    "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics",
)
TAGS = "remove_all_sd"


class Binaries(NamedTuple):
    """Where the built programs are."""

    prometheus: Path
    promtool: Path
    victoria_metrics: Path


def binaries() -> Binaries:
    """Return the paths of the built programs; build them if these pins have not been built here yet."""
    kept = built("stores", "Prometheus and VictoriaMetrics", HERE, _command(Path()), _build)
    return Binaries(*(kept / package.rpartition("/")[2] for package in PACKAGES))


def _command(output: Path) -> list[str]:
    # Without Prometheus' service discovery: nothing is scraped, and the clients of every cloud are most of its code.
    return ["go", "build", "-v", "-trimpath", "-tags", TAGS, "-ldflags", "-s -w", "-o", f"{output}/", *PACKAGES]


def _build(scratch: Path) -> Path:
    output = scratch / "bin"
    output.mkdir()
    run_build(_command(output), HERE, scratch / "go.log", CGO_ENABLED="0")
    return output


if __name__ == "__main__":
    try:
        print(*binaries(), sep="\n")
    except BuildError as error:
        sys.exit(f"error: {error}")
