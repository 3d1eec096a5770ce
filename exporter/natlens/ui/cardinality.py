"""``natlens cardinality``: how many series each set of attributes would cost, from live or recorded data."""

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.config import Loaded, Options, effective, load
from natlens.errors import ConfigError
from natlens.health import Health
from natlens.otlp.jsonlines import parse_lines
from natlens.otlp.metrics.sets import SETS, chosen
from natlens.otlp.metrics.settings import MetricSettings, metric_settings
from natlens.otlp.request import Request
from natlens.ui.combinations import Combinations
from natlens.ui.flags import Parser, add_flags, given_flags, refuse_unknown
from natlens.ui.logs import logs_to_stderr
from natlens.ui.price import Price, points
from natlens.ui.price_list import PriceList
from natlens.ui.records import read_records
from natlens.ui.selection import Selection
from natlens.ui.tail import tail

__all__ = ["main"]

FOR_S = 60.0
SAY_S = 2.0
INSTANCE = "service.instance.id"


def main(arguments: Sequence[str]) -> int:
    """Count and tell; returns 0."""
    parser = _parser()
    parsed, extra = parser.parse_known_args(list(arguments))
    refuse_unknown(parser, extra)
    loaded = load(given_flags(parsed), os.environ)
    if parsed.print_config:
        sys.stdout.write(effective(loaded))
        return 0
    options, nodes, seconds = _quieter(loaded), _nodes(parsed.nodes), _seconds(parsed)
    settings = metric_settings(options, os.environ)
    selection = Selection(options.metrics_include, options.metrics_exclude)
    sets = _sets(settings, options.metrics_attributes, parsed.attributes)
    counted = Combinations(sets, selection, primary_only=settings.primary_only)
    if parsed.input is not None:
        _read(Path(parsed.input), counted)
    else:
        with logs_to_stderr(options):
            _capture(options, seconds, counted)
    _tell(counted, settings, nodes, options.format)
    return 0


def _parser() -> Parser:
    about = "How many series each set of attributes would cost, from live or recorded data."
    parser = Parser(prog="natlens cardinality", description=about, usage="%(prog)s [option …]")
    group = parser.add_argument_group("what is counted")
    group.add_argument("--input", metavar="FILE", help="OTLP JSON lines instead of capturing; - is standard input")
    group.add_argument("--for", metavar="S", dest="seconds", help=f"how long to capture ({FOR_S:g})")
    text = "a set of your own beside those that have names; may be repeated"
    group.add_argument("--attributes", metavar="A,B,…", action="append", default=[], help=text)
    group.add_argument("--nodes", metavar="N", help="estimate for so many nodes like the busiest seen")
    add_flags(parser)
    return parser


def _nodes(text: str | None) -> int | None:
    if text is not None and (not text.isdecimal() or not 0 < int(text) <= 1_000_000):
        raise ConfigError(f"--nodes is {text[:60]!r}; it must be a whole number of at least 1 and at most 1000000")
    return None if text is None else int(text)


def _seconds(parsed: argparse.Namespace) -> float:
    text = parsed.seconds
    if text is None:
        return FOR_S
    if parsed.input is not None:
        raise ConfigError("--for is given with --input; a file is read to its end: leave one of them out")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 86400:
        raise ConfigError(f"--for is {text[:60]!r}; it must be a number of seconds of at least 0.1 and at most 86400")
    return seconds


def _sets(settings: MetricSettings, configured: Sequence[str], asked: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return name → attributes: the sets that have a name, what is configured, what was asked for."""
    reporter = () if settings.primary_only else ("flow.reporter",)
    found = {name: chosen((name, *reporter)) for name in SETS}
    if settings.attributes not in found.values():
        found[",".join(configured)] = settings.attributes
    for text in asked:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if not names:
            raise ConfigError(f"--attributes is {text[:60]!r}; name attributes or sets, separated by commas")
        try:
            found[",".join(names)] = chosen((*names, *reporter))
        except ConfigError as error:
            raise ConfigError(str(error).replace("metrics_attributes=", "--attributes ", 1)) from error
    return found


def _quieter(loaded: Loaded[Options]) -> Options:
    """Return the options with no messages of the agent's usual course, unless these were asked for."""
    unasked = loaded.origins["log_level"] == "default"
    return msgspec.structs.replace(loaded.options, log_level="warning") if unasked else loaded.options


def _read(path: Path, counted: Combinations) -> None:
    try:
        due = time.monotonic() + SAY_S
        for request in parse_lines(tail(path, follow=False)):
            _add(request, counted)
            if time.monotonic() >= due:
                sys.stderr.write(f"natlens: {counted.records:,} records read …\n")
                due = time.monotonic() + SAY_S
    except ValueError as error:
        what = " ".join(str(error).split())
        raise ConfigError(f"--input {path}: {what}; give a file of natlens run --output or of the Collector") from error
    if not counted.records:
        raise ConfigError(f"--input {path}: has no records; give a file of natlens run --output or of the Collector")


def _add(request: ExportLogsServiceRequest, counted: Combinations) -> None:
    for of_resource in request.resource_logs:
        alone = ExportLogsServiceRequest(resource_logs=[of_resource])
        counted.add(_instance(of_resource.resource), read_records(alone))


def _instance(resource: Resource) -> str:
    return next((one.value.string_value for one in resource.attributes if one.key == INSTANCE), "")


class _Counter:
    """An :class:`~natlens.delivery.outlet.Outlet` that only counts."""

    def __init__(self, counted: Combinations, health: Health) -> None:
        self._counted, self._health = counted, health

    def send(self, request: Request) -> None:
        """Count the records of one request."""
        self._health.add("records_captured", request.records)
        _add(ExportLogsServiceRequest.FromString(request.data), self._counted)
        self._health.add("records_exported", request.records)

    def flush(self, deadline: float) -> None:
        """Do nothing: every request is counted at once."""

    def close(self) -> None:
        """Do nothing: what was counted is the caller's."""


def _capture(options: Options, seconds: float, counted: Combinations) -> None:
    from natlens.ui.stint import Stint

    health = Health()
    only_logs = msgspec.structs.replace(options, signals=["logs"], telemetry="off", listen=None)
    with Stint(seconds, health):
        from natlens import agent

        agent.run(only_logs, health, _Counter(counted, health))


def _tell(counted: Combinations, settings: MetricSettings, nodes: int | None, style: str) -> None:
    of_one = points(settings.histogram)
    prices = [
        Price(cost, of_one, settings.series_limit, cost.attributes == settings.attributes) for cost in counted.costs()
    ]
    told = PriceList(counted, prices, nodes, settings.expiry_ns / 1e9)
    if style == "json":
        told.print_json(sys.stdout)
    else:
        told.print_table(sys.stdout, wide=style == "wide")
    sys.stdout.flush()  # here a reader that is gone is no error
