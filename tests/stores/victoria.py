"""VictoriaMetrics, asked by the names that Prometheus gives."""

from pathlib import Path

from tests.stores.store import HOST, Store

__all__ = ["VictoriaMetrics"]

IGNORED = ("vm_rows_ignored_total", "vm_rows_invalid_total", "vm_http_request_errors_total")


class VictoriaMetrics(Store):
    """A single-node VictoriaMetrics."""

    name = "VictoriaMetrics"
    metrics_path = "/opentelemetry/v1/metrics"
    ready_path = "/health"

    def __init__(self, binary: Path, directory: Path) -> None:
        super().__init__(directory)
        self._command = [
            str(binary),
            f"-storageDataPath={directory / 'data'}",
            f"-httpListenAddr={HOST}:{self.port}",
            "-opentelemetry.usePrometheusNaming",
            "-search.disableCache",  # what is asked for now was written a moment ago, for minutes ago
        ]

    def _prepare(self) -> list[str]:
        return self._command

    def settle(self) -> None:
        """Make everything that was written visible; else that takes a second or two."""
        self._get("/internal/force_flush")

    def refused(self) -> dict[str, float]:
        """Return its own counts of rows and requests that it could not use."""
        told = {f"{name} {labels}": value for name in IGNORED for labels, value in self.own(name)}
        return {name: value for name, value in told.items() if value}
