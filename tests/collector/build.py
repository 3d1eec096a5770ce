"""Builds the official OpenTelemetry Collector that the tests send to, once for each machine.

``python -m tests.collector.build`` prints the path of the binary. The builder (ocb) is a Go tool of the module in this
folder, so ``go.sum`` checks what it is made of; the Collector's own modules are checked against Go's checksum database.
"""

import sys
from pathlib import Path

import yaml

from tests.built import BuildError, built, cache_directory, cache_key, run_build

__all__ = ["BuildError", "binary", "cache_directory", "cache_key"]

HERE = Path(__file__).parent
MANIFEST = HERE / "manifest.yaml"


def binary() -> Path:
    """Return the path of the built Collector; build it if this manifest has not been built here yet."""
    return built("otelcol", "the OpenTelemetry Collector", HERE, [MANIFEST.read_bytes()], _build)


def _build(scratch: Path) -> Path:
    """Run ocb: it builds with -trimpath, -s -w and CGO_ENABLED=0 by itself."""
    manifest = yaml.safe_load(MANIFEST.read_text())
    manifest["dist"]["output_path"] = str(scratch)
    config = scratch / "ocb.yaml"
    config.write_text(yaml.safe_dump(manifest))
    run_build(["go", "tool", "builder", "--config", str(config)], HERE, scratch / "ocb.log")
    return scratch / str(manifest["dist"]["name"])


if __name__ == "__main__":
    try:
        print(binary())
    except BuildError as error:
        sys.exit(f"error: {error}")
