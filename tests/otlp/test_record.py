"""The reference encoder: messages, against the SDK's own encoder."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from natlens import __version__
from natlens.otlp import attributes, document
from natlens.otlp.arrange import arrange
from natlens.otlp.attributes import ATTRIBUTES, TEMPLATES, Attribute
from natlens.otlp.batch import Batch, Trace
from natlens.otlp.body import lines
from natlens.otlp.column import Numbers
from natlens.otlp.encoder import Encoder
from natlens.otlp.record import SCHEMA_URL, TRACE_FLAGS, encode, records
from natlens.otlp.resource import Observer, resource
from tests.otlp.batches import batch_of, batches, connection

KINDS = {
    "string": "string_value",
    "int": "int_value",
    "double": "double_value",
    "bool": "bool_value",
    "string[]": "array_value",
}
HERE = resource(Observer(host_name="node-1", host_id="0" * 31 + "1", node_name="node-1"))


def context(batch: Batch, at: int) -> SpanContext:
    """Return the span that a record belongs to, as the SDK has it."""
    if batch.trace is None or not batch.trace.sampled[at]:
        return INVALID_SPAN_CONTEXT
    trace_id, span_id = (int.from_bytes(bytes(octets[at]), "big") for octets in batch.trace[:2])
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TRACE_FLAGS))


def oracle(batch: Batch) -> ExportLogsServiceRequest:
    """Return what the SDK makes of the same records."""
    rows = arrange(batch).rows(len(batch))
    shown = lines(batch)
    observer = {one.key: one.value.string_value for one in HERE.attributes}
    scope = InstrumentationScope("natlens", __version__, SCHEMA_URL)

    def record(at: int) -> ReadableLogRecord:
        values: dict[str, Any] = dict(rows[at])
        return ReadableLogRecord(
            LogRecord(
                timestamp=batch.interval_end_ns,
                observed_timestamp=batch.observed_ns,
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                body=shown[at],
                attributes=values,
                event_name="flow.connection",
                context=set_span_in_context(NonRecordingSpan(context(batch, at))),
            ),
            Resource(observer, SCHEMA_URL),
            scope,
        )

    return encode_logs([record(at) for at in range(len(batch))])


@given(batches())
def test_any_batch_is_encoded_as_the_sdk_would(batch: Batch) -> None:
    request = encode(batch, HERE)
    if len(batch):
        for record, wanted in zip(records(request), records(oracle(batch)), strict=True):
            assert record == wanted
        assert request == oracle(batch)


@given(batches())
def test_any_batch_decodes_with_the_declared_types(batch: Batch) -> None:
    kinds = {attribute.name: KINDS[attribute.type] for attribute in ATTRIBUTES}
    payload = encode(batch, HERE).SerializeToString()
    decoded = list(records(ExportLogsServiceRequest.FromString(payload)))
    assert len(decoded) == len(batch)
    for record in decoded:
        assert all(
            one.value.WhichOneof("value") == (kinds.get(one.key) or chosen(one.key)) for one in record.attributes
        )
        assert len({one.key for one in record.attributes}) == len(record.attributes)
    assert encode(batch, HERE).SerializeToString() == payload


def chosen(name: str) -> str | None:
    """Return the kind of an attribute that is no row of the table: one that a template stands for."""
    return next((KINDS[row.type] for row in TEMPLATES if name.startswith(f"{row.name}.")), None)


def test_the_envelope() -> None:
    request = encode(batch_of(), HERE)
    (of_resource,) = request.resource_logs
    (of_scope,) = of_resource.scope_logs
    (record,) = of_scope.log_records
    assert (of_resource.schema_url, of_scope.schema_url) == (SCHEMA_URL, SCHEMA_URL)
    assert (of_scope.scope.name, of_scope.scope.version) == ("natlens", __version__)
    assert (record.event_name, record.severity_number, record.severity_text) == ("flow.connection", 9, "INFO")
    assert record.time_unix_nano == 1_764_000_010_000_000_000
    assert record.observed_time_unix_nano == 1_764_000_010_100_000_000
    assert record.body.string_value == "default/client-7 → default/web:80 ⇒ default/web-abc:8080 tcp"


def test_a_record_names_its_span_only_where_that_is_sent() -> None:
    two = batch_of(connection(), connection())
    ids = np.arange(1, 33, dtype=np.uint8).reshape(2, 16)
    traced = replace(two, trace=Trace(ids, ids[:, :8], np.array([False, True])))
    first, second = records(encode(traced, HERE))
    assert (first.trace_id, first.span_id, first.flags) == (b"", b"", 0)
    assert (second.trace_id, second.span_id) == (bytes(range(17, 33)), bytes(range(17, 25)))
    assert second.flags & 1, "sampled"


def test_counters_beyond_int64_saturate() -> None:
    (record,) = records(encode(batch_of(connection(forward_octets=2**64 - 1)), HERE))
    assert {one.key: one.value.int_value for one in record.attributes}["flow.bytes.delta"] == 2**63 - 1


def test_promise_an_attribute_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Attribute(
        "flow.both.bytes.delta",
        "int",
        "Octets of both directions.",
        9500,
        lambda batch: Numbers(
            (batch.connections["forward_octets"] + batch.connections["reverse_octets"]).view(np.int64)
        ),
    )
    monkeypatch.setattr(attributes, "ATTRIBUTES", [*ATTRIBUTES, row])
    (request,) = Encoder(HERE).requests(batch_of())
    (record,) = records(ExportLogsServiceRequest.FromString(request.data))
    assert {one.key: one.value.int_value for one in record.attributes}["flow.both.bytes.delta"] == 9500
    assert "| `flow.both.bytes.delta` | int | Octets of both directions. | `9500` |" in document.markdown()
    assert "- id: flow.both.bytes.delta\n" in document.registry()
    assert "- ref: flow.both.bytes.delta\n" in document.registry()
