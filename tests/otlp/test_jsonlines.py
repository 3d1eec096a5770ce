"""OTLP JSON lines."""

import json
import math

import pytest
from hypothesis import given
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from natlens.otlp.batch import Batch
from natlens.otlp.jsonlines import parse_lines, to_line
from natlens.otlp.record import encode, records
from natlens.otlp.resource import Observer, resource
from tests.otlp.batches import batch_of, batches

HERE = resource(Observer(host_name="node-1"))


@given(batches())
def test_any_batch_comes_back_from_its_line(batch: Batch) -> None:
    request = encode(batch, HERE)
    line = to_line(request)
    assert "\n" not in line
    assert list(parse_lines(line + "\n")) == [request]
    assert list(parse_lines([line + "\n", "\n", line])) == [request, request]


def test_the_mapping_is_that_of_otlp_json() -> None:
    tree = json.loads(to_line(encode(batch_of(), HERE)))
    of_scope = tree["resourceLogs"][0]["scopeLogs"][0]
    (record,) = of_scope["logRecords"]
    assert set(tree["resourceLogs"][0]) == {"resource", "scopeLogs", "schemaUrl"}
    assert record["timeUnixNano"] == "1764000010000000000"
    assert record["observedTimeUnixNano"] == "1764000010100000000"
    assert (record["severityNumber"], record["eventName"]) == (9, "flow.connection")
    assert not {"traceId", "spanId", "flags", "droppedAttributesCount"} & set(record)
    values = {one["key"]: one["value"] for one in record["attributes"]}
    assert values["source.port"] == {"intValue": "40000"}
    assert values["flow.duration"] == {"doubleValue": 2.5}
    assert values["source.k8s.owner.derived"] == {"boolValue": True}
    assert values["flow.reverse.tcp.flags.tags"]["arrayValue"]["values"][0] == {"stringValue": "SYN"}


def test_ids_are_hexadecimal() -> None:
    request = encode(batch_of(), HERE)
    (record,) = records(request)
    record.trace_id, record.span_id = bytes(range(16)), bytes(range(8))
    line = to_line(request)
    assert '"traceId":"000102030405060708090a0b0c0d0e0f"' in line
    assert '"spanId":"0001020304050607"' in line
    assert list(parse_lines(line)) == [request]


def test_what_the_collector_writes_is_read() -> None:
    line = (
        '{"resourceLogs":[{"resource":{"attributes":[]},"scopeLogs":[{"scope":{"name":"natlens"},"logRecords":[{'
        '"timeUnixNano":"5","severityNumber":9,"body":{"stringValue":"x"},"attributes":[{"key":"d","value":'
        '{"doubleValue":"NaN"}},{"key":"i","value":{"intValue":7}}],"traceId":"","spanId":"","news":1}]}]}]}'
    )
    (request,) = parse_lines(line)
    (record,) = records(request)
    assert (record.trace_id, record.attributes[1].value.int_value) == (b"", 7)
    assert math.isnan(record.attributes[0].value.double_value)


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "7", '{"resourceLogs":7}', '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"x"}]}]}]}'],
)
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is not an OTLP JSON request"):
        list(parse_lines(to_line(ExportLogsServiceRequest()) + "\n" + line))
