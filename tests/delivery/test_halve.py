"""Cutting requests."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from natlens.delivery.halve import halve, within
from natlens.otlp.request import Request
from tests.delivery.account import parsed, records_of, request_of, sequences


def several(counts: list[list[int]]) -> Request:
    """Return a request of several resources, each with scopes of so many records."""
    message, number = ExportLogsServiceRequest(), 0
    for at, scopes in enumerate(counts):
        of_resource = message.resource_logs.add(schema_url=f"resource/{at}")
        for of, count in enumerate(scopes):
            of_scope = of_resource.scope_logs.add(schema_url=f"scope/{at}/{of}")
            for number in range(number, number + count):  # noqa: B020  # goes on where the last scope ended
                of_scope.log_records.add(time_unix_nano=number)
            number += count > 0
    return Request(message.SerializeToString(), sum(map(sum, counts)))


def described(data: bytes) -> list[tuple[str, str, int]]:
    """Return each record's resource, scope and number."""
    return [
        (of_resource.schema_url, of_scope.schema_url, record.time_unix_nano)
        for of_resource in parsed(data).resource_logs
        for of_scope in of_resource.scope_logs
        for record in of_scope.log_records
    ]


@given(st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=3).filter(lambda counts: sum(map(sum, counts)) > 1))
def test_halves_have_the_records_in_order_each_in_its_resource_and_scope(counts: list[list[int]]) -> None:
    whole = several(counts)
    first, second = halve(whole)
    assert described(first.data) + described(second.data) == described(whole.data)
    assert (first.records, second.records) == (len(records_of(first.data)), len(records_of(second.data)))
    assert abs(first.records - second.records) <= 1
    assert all(of_scope.log_records for half in (first, second) for one in parsed(half.data).resource_logs
               for of_scope in one.scope_logs)  # fmt: skip


@given(st.integers(1, 40), st.integers(1, 3000))
def test_parts_are_within_the_limit_or_single_records(count: int, limit: int) -> None:
    whole = request_of(count, record_bytes=100)
    parts = list(within(whole, limit))
    assert [number for part in parts for number in sequences(records_of(part.data))] == list(range(count))
    assert all(len(part.data) <= limit or part.records == 1 for part in parts)


def test_what_is_within_the_limit_is_left_as_it_is() -> None:
    whole = request_of(3)
    assert list(within(whole, len(whole.data))) == [whole]
