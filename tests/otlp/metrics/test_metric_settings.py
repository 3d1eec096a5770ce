"""What metrics are made of, from options and variables."""

from typing import Any

import pytest

from natlens.config import Options
from natlens.errors import ConfigError
from natlens.otlp.metrics.filters import EVERYTHING
from natlens.otlp.metrics.sets import SETS
from natlens.otlp.metrics.settings import HISTOGRAM, INTERVAL, TEMPORALITY, MetricSettings, metric_settings


def made(environ: dict[str, str] | None = None, **options: Any) -> MetricSettings:
    return metric_settings(Options(**options), environ or {})


def test_defaults() -> None:
    for environ in ({}, {INTERVAL: " ", TEMPORALITY: "", HISTOGRAM: ""}):
        assert made(environ) == MetricSettings(
            attributes=SETS["owner"],
            filters=EVERYTHING,
            primary_only=True,
            interval_ns=15 * 10**9,
            temporality="cumulative",
            histogram="explicit",
            series_limit=20_000,
            expiry_ns=300 * 10**9,
        )


def test_variables() -> None:
    assert made({INTERVAL: "60000"}).interval_ns == 60 * 10**9
    assert made({TEMPORALITY: " Delta "}).temporality == "delta"
    assert made({TEMPORALITY: "LOWMEMORY"}).temporality == "delta"
    assert made({TEMPORALITY: "cumulative"}).temporality == "cumulative"
    assert made({HISTOGRAM: "Base2_Exponential_Bucket_Histogram"}).histogram == "exponential"
    assert made({HISTOGRAM: "explicit_bucket_histogram"}).histogram == "explicit"


def test_options_win_over_variables_even_wrong_ones() -> None:
    wrong = dict.fromkeys((INTERVAL, TEMPORALITY, HISTOGRAM), "x")
    options = {"metrics_interval": 2.5, "metrics_temporality": "delta", "metrics_histogram": "exponential"}
    one = made(wrong, **options)
    assert (one.interval_ns, one.temporality, one.histogram) == (2_500_000_000, "delta", "exponential")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (INTERVAL, "15s", "milliseconds from 100 to 86400000"),
        (INTERVAL, "99", "milliseconds from 100 to 86400000"),
        (INTERVAL, "86400001", "milliseconds from 100 to 86400000"),
        (INTERVAL, "\u0661\u0660\u0660\u0660", "milliseconds from 100 to 86400000"),
        (INTERVAL, "-1000", "milliseconds from 100 to 86400000"),
        (TEMPORALITY, "deltas", "cumulative, delta, lowmemory"),
        (HISTOGRAM, "exponential", "explicit_bucket_histogram, base2_exponential_bucket_histogram"),
    ],
)
def test_wrong_variables_are_refused(variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        made({variable: value})
    assert str(error.value).startswith(f"{variable}={value!r}")
    assert said in str(error.value)


def test_records_of_all_nodes_are_told_apart() -> None:
    every = made(metrics_of="all", metrics_attributes=["zone"])
    assert every.attributes == (*SETS["zone"], "flow.reporter")
    assert not every.primary_only


def test_filters_and_limits() -> None:
    one = made(
        metrics_include=["kind=office"], cidr_labels={"192.0.2.0/24": "office"}, series_limit=100, series_expiry=1.5
    )
    assert len(one.filters.include) == 1
    assert (one.series_limit, one.expiry_ns) == (100, 1_500_000_000)
    with pytest.raises(ConfigError, match="metrics_exclude='kind=office'"):
        made(metrics_exclude=["kind=office"])
