"""``natlens cardinality`` of recorded data: exact counts, what they cost, the ways out, mistakes in one line."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.ui.requests import PLAIN, TRANSLATED, request

import natlens
from natlens.otlp.jsonlines import to_line
from natlens.otlp.metrics.sets import SETS
from natlens.otlp.record import key_value
from natlens.ui.cli import main

COUNTED = ["owner", "service-backend", "zone", "pod"]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("NATLENS_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")


def line(node: str, *records: dict[str, Any]) -> str:
    """Return a line of a file: records of a node."""
    found = request(*records)
    found.resource_logs[0].resource.attributes.append(key_value("service.instance.id", node))
    return to_line(found) + "\n"


def call(client: str, backend: str, **others: Any) -> dict[str, Any]:
    """Return a record of a call of the Service that this pod answered."""
    return {**TRANSLATED, "source.k8s.pod.name": client, "destination.nat.k8s.pod.name": backend, **others}


def direct(client: str, backend: str) -> dict[str, Any]:
    """Return a record of a call of the pod itself."""
    kept = {name: value for name, value in call(client, backend).items() if not name.startswith("destination.")}
    pod = {"destination.k8s.pod.name": backend, "destination.k8s.namespace.name": "shop"}
    return {**kept, "destination.address": "10.1.0.9", "destination.port": 8080, **pod}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """One node whose two clients call two backends, and a second one with one of these calls."""
    path = tmp_path / "records.jsonl"
    pairs = [(client, backend) for client in "ab" for backend in ("x", "y")]
    first = [call(*pair) for pair in pairs] * 2
    other = call("c", "z", **{"flow.primary": False})
    path.write_text(line("n1", *first, other, PLAIN) + line("n2", call("a", "x", **{"flow.primary": True})))
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run it; returns what it told as JSON, sets by their names."""
    assert main(["cardinality", *arguments, "--format=json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return {**found, "sets": {one["name"]: one for one in found["sets"]}}


def test_counts_of_each_node_and_of_all(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, f"--input={file}")
    assert (found["records"], found["counted"], found["nodes"]) == (11, 10, ["n1", "n2"])
    counts = {name: (one["combinations"], one["distinct"]) for name, one in found["sets"].items()}
    assert counts == {
        "owner": ({"n1": 2, "n2": 1}, 2),
        "service-backend": ({"n1": 3, "n2": 1}, 3),
        "zone": ({"n1": 2, "n2": 1}, 2),
        "pod": ({"n1": 5, "n2": 1}, 5),
    }
    assert found["sets"]["pod"]["costs"][0] == {
        "attribute": "source.k8s.pod.name",
        "without": 4,
        "top": [
            {"value": "a", "combinations": 3},
            {"value": "b", "combinations": 2},
            {"value": None, "combinations": 1},
        ],
    }
    assert found["sets"]["zone"]["costs"][0]["attribute"] == "network.transport"
    assert {one["name"]: one["configured"] for one in found["sets"].values()} == {
        name: name == "owner" for name in COUNTED
    }
    assert found["warnings"] == []


def test_what_answered_is_one_series_by_whatever_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f"
    path.write_text(line("n1", call("a", "x"), direct("a", "x"), direct("a", "y")))
    found = told(capsys, f"--input={path}", "--attributes=flow.responder.k8s.pod.name")
    assert found["sets"]["flow.responder.k8s.pod.name"]["combinations"] == {"n1": 2}
    assert found["sets"]["service-backend"]["combinations"] == {"n1": 3}


def test_own_sets_and_the_configured_one(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "--attributes=zone, source.address", "--attributes", "source.k8s.pod.name"
    found = told(capsys, f"--input={file}", *asked, "--metrics-attributes=zone,nat.kind")["sets"]
    assert list(found) == [*COUNTED, "zone,nat.kind", "zone,source.address", "source.k8s.pod.name"]
    assert [name for name, one in found.items() if one["configured"]] == ["zone,nat.kind"]
    assert found["source.k8s.pod.name"]["combinations"] == {"n1": 3, "n2": 1}
    assert set(found["zone,source.address"]["attributes"]) == {*SETS["zone"], "source.address"}


def test_all_records_are_told_apart_by_reporter(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, f"--input={file}", "--metrics-of=all")
    assert found["counted"] == 11
    assert all("flow.reporter" in one["attributes"] for one in found["sets"].values())
    assert found["sets"]["pod"]["combinations"] == {"n1": 6, "n2": 1}
    assert found["sets"]["owner"]["configured"]


@pytest.mark.parametrize(
    ("options", "counted"),
    [
        (["--metrics-exclude=source.namespace=we*"], 1),
        (["--metrics-exclude=cidr=10.1.0.0/16"], 1),
        (["--metrics-include=responder.cidr=10.1.0.0/16"], 9),
        (["--metrics-include=destination.cidr=10.1.0.0/16"], 0),
        (["--metrics-include=cidr=fd00::/8,responder.port=8080"], 10),
        (["--metrics-include=destination.port=8080"], 0),
        (["--metrics-include=kind=pod"], 0),
        (["--metrics-include=namespace=*", "--metrics-exclude=port=80"], 0),
    ],
)
def test_filters_of_metrics_hold(
    file: Path, options: list[str], counted: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, f"--input={file}", *options)
    assert (found["records"], found["counted"]) == (11, counted)


@pytest.mark.parametrize(("nodes", "combinations"), [(1, 5), (2, 6), (3, 15), (300, 1500)])
def test_many_nodes_are_at_most_as_the_busiest(
    file: Path, nodes: int, combinations: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, f"--input={file}", f"--nodes={nodes}")
    assert found["sets"]["pod"]["at_most"] == {"nodes": nodes, "combinations": combinations}


def rows(text: str) -> dict[str, list[str]]:
    """Return the first table's cells by set, and its titles."""
    table = text.split("\n\n")[1].splitlines()
    return {cells[0]: cells[1:] for cells in (re.split(r"\s{2,}", row) for row in table)}


def test_table(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cardinality", f"--input={file}", "--nodes=300"]) == 0
    out = capsys.readouterr().out
    heading, *_ = out.splitlines()
    assert heading == "11 records, 10 of them count; 2 nodes; 0 s"
    titles = ["COMBINATIONS", "OF LIMIT", "OTLP", "PROMETHEUS", "2 NODES", "300 NODES", "SUMMED"]
    assert rows(out)["SET"] == titles
    assert rows(out)["pod"] == ["5", "0.2%", "30", "120", "144", "≤ 36,000", "120"]
    assert rows(out)["owner *"] == ["2", "0.1%", "12", "48", "72", "≤ 14,400", "48"]
    assert "pod              source.k8s.pod.name              4 of 6  a 3, b 2, (none) 1" in out
    assert "warning" not in out


def test_table_of_one_node(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(line("n1", PLAIN))
    assert main(["cardinality", f"--input={file}", "--nodes=1"]) == 0
    out = capsys.readouterr().out
    assert rows(out)["SET"] == ["COMBINATIONS", "OF LIMIT", "OTLP", "PROMETHEUS", "1 NODES", "SUMMED"]


def test_native_histogram_is_one_series(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(capsys, f"--input={file}", "--metrics-histogram=exponential")["points"] == {
        "otlp": 6,
        "prometheus": 6,
    }
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram")
    assert told(capsys, f"--input={file}")["points"]["prometheus"] == 6


def test_wide_shows_every_attribute(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cardinality", f"--input={file}", "--format=wide"]) == 0
    parts = capsys.readouterr().out.split("\n\n")[2].splitlines()
    assert len(parts) == 1 + sum(len(SETS[name]) for name in COUNTED)


def test_over_the_limit_tells_ways_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = [call(f"client-{number}", "x") for number in range(16)]
    file.write_text(line("n1", *many[:15]))
    assert told(capsys, f"--input={file}", "--series-limit=100")["warnings"] == []  # 15 sets of 6, one for what is over
    file.write_text(line("n1", *many))
    assert told(capsys, f"--input={file}", "--series-limit=100")["warnings"] == [
        "pod: a node has 16 combinations and series_limit=100 has room for 15; the rest would be one series with "
        "otel.metric.overflow=true. Ways out: another set (owner, service-backend, zone); the set without "
        "source.k8s.pod.name; metrics_exclude=source.namespace=web; series_limit=102 or more"
    ]
    assert told(capsys, f"--input={file}", "--series-limit=102")["warnings"] == []


def test_long_records_are_more_than_what_lives_at_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = request(PLAIN)
    late.resource_logs[0].scope_logs[0].log_records[0].time_unix_nano += 301_000_000_000
    with file.open("a") as more:
        more.write(to_line(late) + "\n")
    assert main(["cardinality", f"--input={file}"]) == 0
    out = capsys.readouterr().out
    assert "3 nodes; 301 s\nIn so long a time series come and go (series_expiry=300)" in out


def test_hostile_names_are_printable(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(line("n\x1b[2J", call("\x1b[2J\u202e\npod", "x\x9b")))
    for style in ("table", "wide", "json"):
        assert main(["cardinality", f"--input={file}", f"--format={style}"]) == 0
        assert all(one.isprintable() for one in capsys.readouterr().out.splitlines())


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_terminal_shows_the_same_rows(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["cardinality", f"--input={file}"]) == 0
    plain = [row.split() for row in capsys.readouterr().out.splitlines()]
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["cardinality", f"--input={file}"]) == 0
    text = re.sub("\x1b\\[[0-9;]*m", "", screen.getvalue())
    assert text != screen.getvalue()
    assert [row.split() for row in text.splitlines()] == plain


def test_help_fits_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cardinality", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100


def test_print_config_counts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cardinality", "--print-config", "--series-limit=500"]) == 0
    assert "series_limit: 500  # --series-limit\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--input", "/none"],
            "--input /none: cannot be read (No such file or directory); give a file of OTLP JSON lines",
        ),
        (["--nodes", "0"], "--nodes is '0'; it must be a whole number of at least 1 and at most 1000000"),
        (["--nodes=-3"], "--nodes is '-3'; it must be a whole number of at least 1 and at most 1000000"),
        (["--nodes", "many"], "--nodes is 'many'; it must be a whole number of at least 1 and at most 1000000"),
        (["--for", "soon"], "--for is 'soon'; it must be a number of seconds of at least 0.1 and at most 86400"),
        (["--for", "nan"], "--for is 'nan'; it must be a number of seconds of at least 0.1 and at most 86400"),
        (
            ["--for", "9", "--input", "-"],
            "--for is given with --input; a file is read to its end: leave one of them out",
        ),
        (
            ["--attributes", "zone,source.port"],
            "--attributes 'source.port' is no set (owner, service-backend, zone, pod) and no attribute that a series "
            "may have: docs/metrics.md lists those",
        ),
        (["--attributes", " ,"], "--attributes is ' ,'; name attributes or sets, separated by commas"),
        (["--nods", "3"], "unknown argument '--nods'; did you mean --nodes?"),
        (
            ["--series-limit", "9"],
            "--series-limit is '9'; it must be a whole number of at least 100 and at most 10000000",
        ),
    ],
)
def test_mistake_is_one_line_and_status_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cardinality", *arguments]) == 2
    assert capsys.readouterr() == ("", f"natlens: {words}\n")


@pytest.mark.parametrize("text", ["time=now msg=hello\n", "[1]\n", '{"resourceLogs": 3}\n', "", "\n\n", '{"a": 1}\n'])
def test_file_that_is_something_else(text: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(text)
    assert main(["cardinality", f"--input={file}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(
        rf"natlens: --input {re.escape(str(file))}: (line 1 is not an OTLP JSON request: .+|has no records); "
        r"give a file of natlens run --output or of the Collector\n",
        err,
    )


def test_standard_input(file: Path) -> None:
    command = [sys.executable, "-m", "natlens", "cardinality", "--input=-", "--format=json"]
    path = str(Path(natlens.__file__).parent.parent)
    done = subprocess.run(
        command, env={"PYTHONPATH": path}, input=file.read_text(), capture_output=True, text=True, check=True
    )
    assert (json.loads(done.stdout)["counted"], done.stderr) == (10, "")
