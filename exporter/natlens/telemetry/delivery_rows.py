"""The table, third part: what became of every record, data point and span, and what sending them takes."""

from natlens.otlp.request import UNITS, Signal
from natlens.telemetry.row import Alert, Metric, Source, added

__all__ = ["DELIVERY"]

SIGNAL = {"signal": "natlens.signal"}
SIGNALS = tuple({"signal": signal} for signal in UNITS)
REASONS = ("queue_full", "too_large", "shutdown", "write_failed")
OURS = 'job=~".*natlens.*"'
"""Of metrics that others have, too: the target is natlens (``service.name``, or how Prometheus calls the job)."""

LOST = {
    "logs": "sums over log records are too small",
    "metrics": "a cumulative series catches up with its next point, delta points are lost",
    "traces": "spans are missing",
}


def _created(name: str, unit: str, signal: Signal) -> Metric:
    return Metric(
        name,
        "counter",
        unit,
        f"{UNITS[signal].capitalize()} that were made: each is exported, failed or in flight, at each outlet.",
        (Source(f"{UNITS[signal]}_captured"),),
        "is the traffic",
    )


def _exported(name: str, unit: str, signal: Signal) -> Metric:
    of, word = UNITS[signal], UNITS[signal].capitalize()
    metric = Metric(
        name,
        "counter",
        unit,
        f"{word} that are done with. Without error.type: the receiver took them. Else why not: "
        f"{', '.join(REASONS)}, or what the receiver answered when it refused them.",
        (
            Source(f"{of}_exported"),
            Source(f"{of}_rejected", {"code": "error.type"}),
            Source(f"{of}_dropped", {"reason": "error.type"}, known=tuple({"reason": one} for one in REASONS)),
        ),
        "",
    )
    return metric._replace(
        alert=Alert(
            f"Natlens{word}Lost",
            added(metric.prometheus, "error_type", only=f'{OURS}, error_type!=""'),
            f"{word} did not arrive ({{{{ $labels.error_type }}}}): {LOST[signal]}.",
            "queue_full: the receiver is away or too slow; raise queue_bytes, send to more of them. shutdown: raise "
            "shutdown_grace. write_failed: the disk of output. Else the receiver refused them: its log tells why.",
            "critical",
        )
    )


def _inflight(name: str, unit: str, signal: Signal) -> Metric:
    of = UNITS[signal]
    brief = f"{of.capitalize()} that wait or are being sent, retries included."
    return Metric(name, "updown", unit, brief, (Source(f"{of}_pending"),), "NatlensQueueFillsUp tells when it matters")


DELIVERY: list[Metric] = [
    _created("otel.sdk.log.created", "{log_record}", "logs"),
    _exported("otel.sdk.exporter.log.exported", "{log_record}", "logs"),
    _inflight("otel.sdk.exporter.log.inflight", "{log_record}", "logs"),
    _created("natlens.metric_data_point.created", "{data_point}", "metrics"),
    _exported("otel.sdk.exporter.metric_data_point.exported", "{data_point}", "metrics"),
    _inflight("otel.sdk.exporter.metric_data_point.inflight", "{data_point}", "metrics"),
    _created("otel.sdk.span.ended", "{span}", "traces"),
    _exported("otel.sdk.exporter.span.exported", "{span}", "traces"),
    _inflight("otel.sdk.exporter.span.inflight", "{span}", "traces"),
    Metric(
        "natlens.queue.size",
        "updown",
        "By",
        "Octets of requests that wait or are being sent, compressed (otel.sdk.processor.log.queue.size has records).",
        (Source("queue_bytes", SIGNAL),),
        Alert(
            "NatlensQueueFillsUp",
            "max by (job, instance, natlens_signal) (natlens_queue_size_bytes / natlens_queue_capacity_bytes) > 0.5",
            "The queue of {{ $labels.natlens_signal }} is more than half full.",
            "The receiver is away or too slow: its log, and natlens' (what it answers). When it is full the oldest go.",
            lasting="2m",
        ),
    ),
    Metric(
        "natlens.queue.capacity",
        "updown",
        "By",
        "Octets for which the queue has room.",
        (Source("queue_capacity_bytes", SIGNAL),),
        "chosen by queue_bytes",
    ),
    Metric(
        "natlens.export.count",
        "counter",
        "{request}",
        "Requests that were answered, or not within their time.",
        (Source("export_count", SIGNAL, known=SIGNALS),),
        "is the traffic",
    ),
    Metric(
        "natlens.export.time",
        "counter",
        "s",
        "Time from sending to the answer, of all requests: rate of this over rate of natlens.export.count is one's. "
        "(otel.sdk.exporter.operation.duration would be a histogram.)",
        (Source("export_time_us", SIGNAL, scale=1e-6, known=SIGNALS),),
        Alert(
            "NatlensExportSlow",
            "sum by (job, instance, natlens_signal) (rate(natlens_export_time_seconds_total[5m])) / "
            "sum by (job, instance, natlens_signal) (rate(natlens_export_count_total[5m])) > 5",
            "The receiver of {{ $labels.natlens_signal }} takes more than 5 s to answer.",
            "Look at the receiver; requests_in_flight lets more of them wait for their answers at once.",
            lasting="10m",
        ),
    ),
    Metric(
        "natlens.export.retries",
        "counter",
        "{request}",
        "Requests that must be sent again, by what the receiver answered or what failed.",
        (Source("export_retries", {"code": "error.type", **SIGNAL}),),
        Alert(
            "NatlensExportRetries",
            "sum by (job, instance, natlens_signal, error_type) (increase(natlens_export_retries_total[10m])) > 5",
            "{{ $labels.natlens_signal }} are sent again and again ({{ $labels.error_type }}).",
            "unavailable, deadline_exceeded: the network or the receiver; resource_exhausted, http_429: its limits.",
            lasting="10m",
        ),
    ),
]
