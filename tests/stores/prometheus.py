"""Prometheus with its default configuration: no window for samples out of order, nothing scraped."""

from pathlib import Path
from typing import ClassVar

from tests.stores.store import HOST, Store

__all__ = ["Prometheus"]


class Prometheus(Store):
    """A Prometheus that takes OTLP and remote write; ``rules`` is a file of rules for it to evaluate."""

    name = "Prometheus"
    metrics_path = "/api/v1/otlp/v1/metrics"
    write_path: ClassVar[str] = "/api/v1/write"
    ready_path = "/-/ready"

    def __init__(
        self,
        binary: Path,
        directory: Path,
        *,
        otlp: bool = True,
        remote_write: bool = True,
        rules: Path | None = None,
    ) -> None:
        super().__init__(directory)
        self._rules = rules
        self._command = [
            str(binary),
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
            *(["--web.enable-otlp-receiver"] if otlp else []),
            *(["--web.enable-remote-write-receiver"] if remote_write else []),
        ]

    @property
    def write_url(self) -> str:
        """Where remote write goes."""
        return f"{self.url}{self.write_path}"

    def _prepare(self) -> list[str]:
        rules = f"rule_files: ['{self._rules}']\n" if self._rules else ""
        (self._directory / "prometheus.yml").write_text(rules)
        return self._command

    def refused(self) -> dict[str, float]:
        """Return how many requests it did not answer by success, and samples that it found out of order or bounds."""
        told: dict[str, float] = {}
        for labels, value in self.own("prometheus_http_requests_total"):
            if labels["handler"] in (self.metrics_path, self.write_path) and not labels["code"].startswith("2"):
                told[f"{labels['handler']} {labels['code']}"] = value
        for kind in ("out_of_order", "out_of_bound", "too_old"):
            told[kind] = sum(value for _, value in self.own(f"prometheus_tsdb_{kind}_samples_total"))
        return {name: value for name, value in told.items() if value}

    def rules(self) -> dict[str, str]:
        """Return each rule that it evaluates and its health."""
        groups = self._ask("rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
