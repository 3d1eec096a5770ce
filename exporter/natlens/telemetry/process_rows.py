"""The table, last part: the process itself."""

from natlens.telemetry.delivery_rows import OURS
from natlens.telemetry.row import Alert, Metric, Source

__all__ = ["PROCESS"]

PROCESS: list[Metric] = [
    Metric(
        "process.cpu.time",
        "counter",
        "s",
        "Processor time of natlens in user space and in the kernel, its BPF programs not included.",
        (Source("process_cpu_us", {"mode": "cpu.mode"}, scale=1e-6),),
        Alert(
            "NatlensBusy",
            f"sum by (job, instance) (rate(process_cpu_time_seconds_total{{{OURS}}}[10m])) > 0.8",
            "natlens on {{ $labels.instance }} needs most of a processor.",
            "Raise interval, narrow include_interfaces; natlens.window.stage.time tells which stage it is.",
            lasting="15m",
        ),
    ),
    Metric(
        "process.memory.usage",
        "updown",
        "By",
        "Resident memory of natlens; natlens.map.memory comes on top.",
        (Source("process_memory_bytes"),),
        Alert(
            "NatlensLarge",
            f"max by (job, instance) (process_memory_usage_bytes{{{OURS}}}) > 400 * 1024 * 1024",
            "natlens on {{ $labels.instance }} takes more than 400 MiB.",
            "Lower queue_bytes, max_connections or series_limit, or raise the pod's limit before it is killed.",
            lasting="10m",
        ),
    ),
    Metric(
        "process.thread.count", "updown", "{thread}", "Threads.", (Source("process_threads"),), "a handful, all named"
    ),
    Metric(
        "process.unix.file_descriptor.count",
        "updown",
        "{file_descriptor}",
        "Open file descriptors.",
        (Source("process_descriptors"),),
        Alert(
            "NatlensDescriptorsLeak",
            f"max by (job, instance) (process_unix_file_descriptor_count{{{OURS}}}) > 800",
            "natlens on {{ $labels.instance }} has more than 800 open file descriptors.",
            "With tcx each covered interface has two. Fewer interfaces than that: report it.",
            lasting="10m",
        ),
    ),
    Metric(
        "process.uptime",
        "gauge",
        "s",
        "Time since the process began.",
        (Source("process_uptime_s"),),
        Alert(
            "NatlensRestarts",
            f"sum by (job, instance) (resets(process_uptime_seconds{{{OURS}}}[30m])) > 2",
            "natlens on {{ $labels.instance }} restarts again and again.",
            "kubectl logs --previous tells the last words; OOMKilled: raise the limit or see NatlensLarge.",
        ),
    ),
    Metric(
        "natlens.listen.answers",
        "counter",
        "{request}",
        "Answers of /metrics, /healthz and /readyz, by status.",
        (Source("listen_answers", {"path": "url.path", "code": "http.response.status_code"}),),
        "who asks sees the answer",
    ),
    Metric(
        "natlens.listen.refused",
        "counter",
        "{connection}",
        "Connections to those that were cut: too many at once, or too slow.",
        (Source("listen_refused", {"reason": "error.type"}),),
        "who asks sees it, too; natlens itself is not affected",
    ),
]
