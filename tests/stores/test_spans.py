"""Spans and log rows through the Collector: every span arrives whole, and rows name spans that were sent."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from natlens.flows.connection import EndReason, State
from natlens.otlp.batch import Batch
from natlens.otlp.encoder import Encoder
from natlens.otlp.request import Request
from natlens.otlp.spans.encode import SpanEncoder
from natlens.otlp.spans.segments import Spans
from tests.bench import shapes
from tests.stores.build import Binaries
from tests.stores.gateway import Gateway
from tests.stores.node import CLUSTER, SECOND
from tests.stores.points import node
from tests.stores.prometheus import Prometheus

WINDOWS, CONNECTIONS = 5, 3000
MAX_AGE = 20 * SECOND
SAMPLED = 1
INTERNAL = 1
ERROR = 2
COUNTERS = ("flow.bytes.delta", "flow.packets.delta", "flow.reverse.bytes.delta", "flow.reverse.packets.delta")


def windows() -> Iterator[Batch]:
    """Yield the records of connections that go on for one to five intervals of 10 s; some get no answer."""
    first = shapes.connections(CLUSTER, CONNECTIONS, full=True)
    first["start_ns"], lives = shapes.NOW, np.random.default_rng(5).integers(1, WINDOWS + 1, CONNECTIONS)
    for number in range(WINDOWS):
        rows = first[lives > number].copy()
        ends = lives[lives > number] == number + 1
        rows["sequence"], rows["end_ns"] = number, shapes.NOW + (number + 1) * 10 * SECOND
        rows["end_reason"] = np.where(ends, EndReason.END_OF_FLOW_DETECTED, EndReason.ACTIVE_TIMEOUT)
        rows["state"] = np.where(ends, State.CLOSED, State.OPEN)
        rows["state"][::100] = State.UNANSWERED
        yield shapes.batch(CLUSTER, rows)


def requests(ratio: float) -> Iterator[Request]:
    spans, resource = Spans(ratio, MAX_AGE), node()
    rows_of, spans_of = Encoder(resource), SpanEncoder(resource)
    for window in windows():
        with_trace, ended = spans.of(window, "node-a")
        yield from rows_of.requests(with_trace)
        yield from spans_of.requests(ended)
    assert len(spans) == 0


@pytest.mark.parametrize("ratio", [1.0, 0.25])
def test_rows_and_spans_tell_of_the_same(
    stores: Binaries, collector_binary: Path, tmp_path: Path, ratio: float
) -> None:
    with (
        Prometheus(stores.prometheus, tmp_path / "prometheus") as prometheus,
        Gateway(collector_binary, tmp_path / "collector", prometheus.write_url) as gateway,
    ):
        sent: Counter[str] = Counter()
        for request in requests(ratio):
            sent[request.signal] += request.records
            assert gateway.export(request).status == 200
        gateway.stop()
        rows, spans = gateway.rows(), gateway.spans()

    assert (len(rows), len(spans)) == (sent["logs"], sent["traces"])
    by_id = {(span["traceId"], span["spanId"]): span for span in spans}
    assert len(by_id) == len(spans)
    sampled = [row for row in rows if row.get("flags", 0) & SAMPLED]
    assert {(row["traceId"], row["spanId"]) for row in sampled} == by_id.keys()
    assert not any(row.get("spanId") or row.get("traceId") for row in rows if not row.get("flags", 0) & SAMPLED)
    chosen = len({span["traceId"] for span in spans}) / CONNECTIONS
    assert chosen == pytest.approx(ratio, abs=0.05)
    check_segments(spans)
    check_counts(sampled, spans)
    for span in spans:
        assert (span["name"], span["kind"]) == ("flow.connection", INTERNAL)
        unanswered = told(span)["flow.connection.state"] == {"stringValue": "unanswered"}
        assert (span["status"].get("code", 0) == ERROR) == unanswered
    assert 0 < sum(span["status"].get("code", 0) == ERROR for span in spans) < len(spans)


def check_segments(spans: list[dict[str, Any]]) -> None:
    """Hold that the spans of a connection follow each other without a gap, each with a link to the one before."""
    of_trace = defaultdict(list)
    for span in spans:
        of_trace[span["traceId"]].append(span)
    lengths = Counter(len(some) for some in of_trace.values())
    assert set(lengths) == {1, 2, 3}  # 10 to 50 s, cut after 20
    for some in of_trace.values():
        some.sort(key=lambda span: int(span["startTimeUnixNano"]))
        for before, after in pairwise(some):
            assert before["endTimeUnixNano"] == after["startTimeUnixNano"]
            assert [(link["traceId"], link["spanId"]) for link in after["links"]] == [
                (before["traceId"], before["spanId"])
            ]
        assert not some[0].get("links")


def check_counts(rows: list[dict[str, Any]], spans: list[dict[str, Any]]) -> None:
    """Hold that each span has what the rows that name it have."""
    of_rows: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        of_rows[row["spanId"]].update(counters(row))
    assert {span["spanId"]: counters(span) for span in spans} == of_rows


def counters(of: dict[str, Any]) -> Counter[str]:
    return Counter({name: int(told(of)[name]["intValue"]) for name in COUNTERS})


def told(of: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {one["key"]: one["value"] for one in of["attributes"]}
