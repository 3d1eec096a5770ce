"""The table: what became of records in flow metrics."""

from natlens.telemetry.row import Alert, Metric, Source, added

__all__ = ["SERIES"]

SERIES: list[Metric] = [
    Metric(
        "natlens.series.points",
        "updown",
        "{data_point}",
        "Data points that flow metrics have: series times what each of them tells.",
        (Source("series_points"),),
        "bounded by series_limit; NatlensSeriesOverflow tells when that is reached",
    ),
    Metric(
        "natlens.series.records.added",
        "counter",
        "{log_record}",
        "Records that are in the sums of flow metrics.",
        (Source("series_added"),),
        "is the traffic",
    ),
    Metric(
        "natlens.series.records.overflowed",
        "counter",
        "{log_record}",
        "Records that went to the one series with otel.metric.overflow=true: series_limit was reached.",
        (Source("series_overflowed"),),
        Alert(
            "NatlensSeriesOverflow",
            added("natlens_series_records_overflowed_total"),
            "Flow metrics of {{ $labels.instance }} have more series than they may: who is who is lost for some.",
            "natlens cardinality tells what each of metrics_attributes costs: choose fewer, or raise series_limit.",
        ),
    ),
    Metric(
        "natlens.series.records.excluded",
        "counter",
        "{log_record}",
        "Records that metrics_include and metrics_exclude leave out of flow metrics.",
        (Source("series_excluded"),),
        "chosen by options",
    ),
    Metric(
        "natlens.series.records.secondary",
        "counter",
        "{log_record}",
        "Records that another node's agent has as its own: that one counts them (metrics_of).",
        (Source("series_secondary"),),
        "is the traffic between nodes",
    ),
]
