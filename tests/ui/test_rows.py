"""Rows: Service and pod on one line, filters on either end, nothing that a terminal acts upon."""

import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ui.requests import PLAIN, TIME_NS, TRANSLATED, request

from natlens.errors import ConfigError
from natlens.health import Health
from natlens.otlp.request import Request
from natlens.ui.filters import Filters
from natlens.ui.outlet import TerminalOutlet
from natlens.ui.records import Record, read_records
from natlens.ui.rows import COLUMNS, escape, json_line, row


def record(attributes: dict[str, Any]) -> Record:
    return next(iter(read_records(request(attributes))))


def cells(attributes: dict[str, Any], style: str = "table") -> dict[str, str]:
    columns = COLUMNS[style]
    return dict(zip([column.title for column in columns], row(record(attributes), columns), strict=True))


def printed(*records: dict[str, Any], style: str = "table", filters: Filters | None = None) -> list[str]:
    stream = io.StringIO()
    TerminalOutlet(filters, style, stream).show(request(*records))
    return stream.getvalue().splitlines()


def test_service_and_pod_share_one_row() -> None:
    found = cells(TRANSLATED)
    assert found["SOURCE"] == "web/client-1"
    assert found["DESTINATION"] == "shop/hello:80 ⇒ shop/hello-7d4b9:8080"
    assert (found["PROTO"], found["STATE"], found["SENT"], found["RECEIVED"]) == ("tcp", "closed", "420", "96120")


def test_wide_shows_addresses_behind_names() -> None:
    found = cells(TRANSLATED, "wide")
    assert found["SOURCE ADDRESS"] == "10.1.0.5:40312 ⇒ 192.168.0.1:61544"
    assert found["DESTINATION ADDRESS"] == "10.96.0.1:80 ⇒ 10.1.0.9:8080"
    assert (found["NAT"], found["INTERFACE"], found["DURATION"], found["SEQ"]) == ("dnat+snat", "veth0", "1.500", "0")
    assert (found["PKTS SENT"], found["PKTS RECEIVED"], found["FLOW"]) == ("7", "71", "8f1c6a0e")


def test_addresses_where_names_are_missing() -> None:
    found = cells(PLAIN, "wide")
    assert (found["SOURCE"], found["DESTINATION"]) == ("[fd00::5]", "[fd00::9]:53")
    assert (found["NAT"], found["SENT"], found["DURATION"]) == ("", "", "")


def test_node_by_name_but_a_node_name_alone_is_not_the_node() -> None:
    node = {"destination.k8s.node.name": "n1", "destination.k8s.object.kind": "node"}
    assert cells({**PLAIN, **node})["DESTINATION"] == "n1:53"
    assert cells({**PLAIN, **node, "destination.k8s.object.kind": "endpoint"})["DESTINATION"] == "[fd00::9]:53"


def test_other_events_are_no_records() -> None:
    assert list(read_records(request(TRANSLATED, event_name="k8s.event"))) == []
    assert list(read_records(request({"message": "a plain log"}, event_name=""))) == []
    assert len(list(read_records(request(TRANSLATED, event_name="")))) == 1  # Loki drops the name


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        (Filters(), 2),
        (Filters(service=["hello"]), 1),
        (Filters(service=["shop/h*"]), 1),
        (Filters(service=["hello-7d4b9"]), 0),
        (Filters(namespace=["web"]), 1),
        (Filters(namespace=["shop"]), 1),
        (Filters(namespace=["s?op", "none"]), 1),
        (Filters(namespace=["none"]), 0),
        (Filters(pod=["client-*"]), 1),
        (Filters(pod=["hello-*"]), 1),
        (Filters(pod=["web/client-1"]), 1),
        (Filters(pod=["shop/client-1"]), 0),
        (Filters(port=["80"]), 1),
        (Filters(port=["8080"]), 1),
        (Filters(port=["53", "80"]), 2),
        (Filters(port=["8"]), 0),
        (Filters(translated_only=True), 1),
        (Filters(service=["hello"], pod=["client-1"], port=["80"], translated_only=True), 1),
        (Filters(service=["hello"], port=["53"]), 0),
    ],
)
def test_filters(filters: Filters, shown: int) -> None:
    assert len(printed(TRANSLATED, PLAIN, filters=filters)) == 1 + shown


def test_port_that_can_never_match_is_an_error() -> None:
    with pytest.raises(ConfigError) as error:
        Filters(port=["http"]).check()
    assert str(error.value) == "--port is 'http'; it must be a number such as 8080, or a pattern such as 80*"


def test_plain_table_is_a_header_once_and_aligned_lines() -> None:
    stream = io.StringIO()
    outlet = TerminalOutlet(stream=stream)
    outlet.show(request(TRANSLATED))
    outlet.show(request(PLAIN))
    header, first, second = stream.getvalue().splitlines()
    assert header.split() == ["TIME", "SOURCE", "DESTINATION", "PROTO", "STATE", "SENT", "RECEIVED"]
    assert first.index("shop/hello") == second.index("[fd00::9]") == header.index("DESTINATION")
    assert first.index("closed") == second.index("open") == header.index("STATE")


def test_json_lines_hold_every_attribute() -> None:
    (line,) = printed(TRANSLATED, style="json")
    attributes = {**TRANSLATED, "flow.tcp.flags.tags": ["SYN", "ACK"]}
    assert json.loads(line) == {"time": "2025-11-24T16:00:09.250000001Z", "body": "a → b", **attributes}
    assert line.isascii()


def test_outlet_accounts_for_every_record_shown_or_filtered() -> None:
    health = Health()
    outlet = TerminalOutlet(Filters(service=["none"]), stream=io.StringIO(), health=health)
    outlet.send(Request(request(TRANSLATED, PLAIN).SerializeToString(), 2))
    outlet.flush(0.0)
    outlet.close()
    assert (health.count("records_captured"), health.count("records_exported")) == (2, 2)


def test_stream_that_cannot_show_an_arrow_gets_an_escape() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    TerminalOutlet(stream=stream).show(request(TRANSLATED))
    assert b"hello:80 \\u21d2 shop/hello-7d4b9" in raw.getvalue()


HOSTILE = "\x1b[2J\x1b]0;title\x07\n\r\x9b\u202e\u2028pod"


def test_control_characters_are_escaped() -> None:
    assert escape("\x1b[2J") == "\\x1b[2J"
    assert escape("a\nb\u202ec") == "a\\nb\\u202ec"
    assert escape("hello ⇒ wörld") == "hello ⇒ wörld"


@pytest.mark.parametrize("style", ["table", "wide", "json"])
def test_hostile_names_reach_no_terminal(style: str) -> None:
    lines = printed(
        {name: HOSTILE if isinstance(value, str) else value for name, value in TRANSLATED.items()}, style=style
    )
    assert len(lines) == (1 if style == "json" else 2)
    assert all(line.isprintable() for line in lines)


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        return re.sub("\x1b\\[[0-9;]*m", "", self.getvalue()).splitlines()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "300")
    return Screen()


@pytest.mark.parametrize("style", ["table", "wide"])
def test_terminal_shows_the_same_rows(screen: Screen, style: str) -> None:
    outlet = TerminalOutlet(format=style, stream=screen)
    outlet.show(request(TRANSLATED))
    outlet.show(request())
    outlet.show(request(PLAIN, {**PLAIN, "destination.k8s.service.name": "\x1b[2J[bold]x[/bold]:+1:"}))
    lines = screen.lines()
    assert len(lines) == 4
    assert lines[0].index("DESTINATION") == lines[1].index("shop/hello:80") == lines[2].index("[fd00::9]")
    assert "shop/hello:80 ⇒ shop/hello-7d4b9:8080" in lines[1]
    assert "\\x1b[2J[bold]x[/bold]:+1:" in lines[3]
    assert all(line.isprintable() for line in lines)


def test_narrower_terminal_folds_names_and_cuts_nothing(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    TerminalOutlet(stream=screen).show(request(TRANSLATED))
    lines = screen.lines()
    assert max(map(len, lines)) <= 100
    assert "…" not in screen.getvalue()
    start = lines[0].index("DESTINATION")
    folded = "".join(line[start : lines[0].index("PROTO")].rstrip() + " " for line in lines[1:])
    assert folded.replace(" ", "") == "shop/hello:80⇒shop/hello-7d4b9:8080"


@pytest.mark.parametrize(("columns", "term"), [("80", "xterm"), ("300", "dumb")])
def test_terminal_without_room_or_skill_gets_plain_lines(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, columns: str, term: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", term)
    TerminalOutlet(stream=screen).show(request(TRANSLATED))
    assert screen.getvalue().splitlines() == printed(TRANSLATED)


ANY = st.text(max_size=8) | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.booleans() | st.binary(max_size=4)


@given(
    st.dictionaries(st.sampled_from(sorted(TRANSLATED)), ANY | st.lists(ANY, max_size=2)),
    st.integers(0, 2**64 - 1),
    st.builds(Filters, *[st.lists(st.text(max_size=4), max_size=2)] * 4, st.booleans()),
)
def test_records_of_any_shape_are_printable(attributes: dict[str, Any], time_ns: int, filters: Filters) -> None:
    found = Record(time_ns, "", attributes)
    filters.matches(found)
    assert json_line(found).isprintable()
    for columns in COLUMNS.values():
        assert all(cell.isprintable() for cell in row(found, columns))


def test_time_is_of_the_interval() -> None:
    assert json.loads(json_line(Record(TIME_NS, "", {})))["time"] == "2025-11-24T16:00:09.250000001Z"
