"""The command line: help on a screen, one line for a mistake, files shown and followed."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.ui.requests import PLAIN, TRANSLATED, request

import natlens
from natlens.config import Options, describe
from natlens.errors import MissingCapability
from natlens.otlp.jsonlines import to_line
from natlens.ui import tail as tail_module
from natlens.ui.cli import main
from natlens.ui.tail import tail


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("NATLENS_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Options, Any]]:
    """Stands in for the agent; collects what it was run with."""
    calls: list[tuple[Options, Any]] = []
    module = ModuleType("natlens.agent")
    module.run = lambda options, _health, outlet: calls.append((options, outlet)) or 0  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "natlens.agent", module)
    monkeypatch.setattr(natlens, "agent", module, raising=False)
    return calls


@pytest.mark.parametrize("command", [[], ["run"], ["observe"]])
def test_help_fits_one_screen(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"natlens {natlens.__version__}\n"


def test_help_all_shows_what_help_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for switch in ("--help", "--help-all"):
        assert main(["run", switch]) == 0
        shown.append(set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)))
    options = describe()
    assert shown[1] >= {option.flag for option in options}
    assert shown[1] - shown[0] == {option.flag for option in options if option.rare} != set()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            [],
            "no command given; choose run, observe, resolve, cardinality, demo, doctor or detach "
            "(natlens --help tells more)",
        ),
        (["--frob"], "unknown argument '--frob'; natlens --help lists all"),
        (["run", "--intervl", "5"], "unknown argument '--intervl'; did you mean --interval?"),
        (["run", "--intervl=5"], "unknown argument '--intervl'; did you mean --interval?"),
        (["run", "--inter", "5"], "unknown argument '--inter'; did you mean --interval?"),
        (["run", "x\x1by"], "unknown argument 'x\\x1by'; natlens run --help lists all"),
        (["run", "--interval"], "argument --interval: expected one argument; natlens run --help lists all"),
        (
            ["run", "--interval", "soon"],
            "--interval is 'soon'; it must be a number of seconds of at least 0.1 and at most 86400",
        ),
        (
            ["walk"],
            "argument COMMAND: invalid choice: 'walk' (choose from 'run', 'observe', 'demo', 'doctor', 'resolve', "
            "'cardinality', 'detach'); natlens --help lists all",
        ),
        (
            ["observe", "--input", "/none"],
            "--input /none: cannot be read (No such file or directory); give a file of OTLP JSON lines",
        ),
        (
            ["observe", "--follow"],
            "--follow is given without --input; name the file to follow, or leave --follow out",
        ),
        (
            ["observe", "--port", "http"],
            "--port is 'http'; it must be a number such as 8080, or a pattern such as 80*",
        ),
        (
            ["run", "--endpoint", "ftp://c:1"],
            "endpoint='ftp://c:1' is not an OTLP/gRPC endpoint: the scheme 'ftp' is neither http nor https; "
            "an example is http://collector:4317",
        ),
    ],
)
def test_mistake_is_one_line_and_status_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str], pipeline: list[Any]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err == f"natlens: {line}\n"
    assert out == ""
    assert pipeline == []


@pytest.mark.usefixtures("pipeline")
def test_error_of_the_pipeline_is_one_line_and_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> None:
        raise MissingCapability("CAP_BPF is missing; run as root")

    monkeypatch.setattr(sys.modules["natlens.agent"], "run", run)
    assert main(["run"]) == 1
    assert capsys.readouterr().err == "natlens: CAP_BPF is missing; run as root\n"
    assert main(["run", "--debug"]) == 1
    assert capsys.readouterr().err.startswith("Traceback")
    (tmp_path / "f").write_text("debug: true")
    assert main(["run", "--config", str(tmp_path / "f")]) == 1
    assert capsys.readouterr().err.startswith("Traceback")
    assert main(["run", "--config", str(tmp_path / "f"), "--no-debug"]) == 1
    assert capsys.readouterr().err == "natlens: CAP_BPF is missing; run as root\n"


def test_run_prints_without_an_endpoint_and_sends_with_one(
    pipeline: list[tuple[Options, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["run", "--interval", "5"]) == 0
    assert main(["run", "--endpoint", "http://c:4317"]) == 0
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")
    assert main(["run"]) == 0
    assert main(["observe"]) == 0
    assert [outlet is None for _, outlet in pipeline] == [False, True, True, False]
    assert pipeline[0][0].interval == 5


def test_print_config_runs_nothing(pipeline: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--print-config", "--settle", "1"]) == 0
    assert "settle: 1.0  # --settle\n" in capsys.readouterr().out
    assert pipeline == []


def test_commands_with_their_own_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("natlens.ui.demo")
    seen: list[list[str]] = []
    module.main = lambda arguments: seen.append(arguments) or 3  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "natlens.ui.demo", module)
    assert main(["demo", "--quick", "x"]) == 3
    assert seen == [["--quick", "x"]]


def test_command_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "natlens.ui.doctor", None)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == (
        "natlens: doctor is not part of this version; natlens --help lists the commands\n"
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "records.jsonl"
    path.write_text(f"{to_line(request(TRANSLATED))}\n\n{to_line(request(PLAIN))}\n", encoding="utf-8")
    return path


def test_observe_shows_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["observe", "--input", str(file), "--service", "hello"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.startswith("TIME")
    assert "shop/hello:80 ⇒ shop/hello-7d4b9:8080" in line


def test_observe_of_a_file_that_is_something_else(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with file.open("a") as more:
        more.write("time=now msg=hello\n")
    assert main(["observe", "--input", str(file)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"natlens: --input {file}: line 4 is not an OTLP JSON request: ")
    assert err.endswith("; give a file of natlens run --output or of the Collector\n")
    assert err.count("\n") == 1


def test_help_is_fast_and_light() -> None:
    code = (
        "import sys; from natlens.ui.cli import main; main(['run', '--help']); "
        "sys.exit(' '.join({'numpy', 'rich', 'yaml', 'grpc', 'google.protobuf'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": _path()}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def _path() -> str:
    return str(Path(natlens.__file__).parent.parent)


def test_reader_that_goes_away_ends_quietly(file: Path) -> None:
    file.write_text((to_line(request(*[TRANSLATED] * 100)) + "\n") * 50)
    with subprocess.Popen(
        [sys.executable, "-m", "natlens", "observe", "--input", str(file)],
        env={"PYTHONPATH": _path(), "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_standard_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "natlens", "observe", "--input", "-", "--format", "json"],
        env={"PYTHONPATH": _path()},
        input=to_line(request(PLAIN)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"destination.port": 53' in done.stdout


@pytest.fixture
def followed(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Lines that following the file has yielded so far."""
    monkeypatch.setattr(tail_module, "POLL_S", 0.01)
    lines: list[str] = []
    stop = threading.Event()

    def follow() -> None:
        for line in tail(file, follow=True):
            lines.append(line)
            if stop.is_set():
                return

    file.write_text("one\n")
    thread = threading.Thread(target=follow)
    thread.start()
    _wait_for(lines, ["one\n"])
    yield lines
    stop.set()
    with file.open("a") as more:
        more.write("end\n")
    thread.join(10)
    assert not thread.is_alive()


def _wait_for(lines: list[str], expected: list[str]) -> None:
    deadline = time.monotonic() + 10
    while lines != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lines == expected


def test_follow_yields_whole_lines_as_they_come(file: Path, followed: list[str]) -> None:
    with file.open("ab", buffering=0) as more:
        more.write("tw⇒".encode()[:-1])
        time.sleep(0.1)
        assert followed == ["one\n"]
        more.write("⇒".encode()[-1:] + b"\nthree\n")
    _wait_for(followed, ["one\n", "tw⇒\n", "three\n"])


def test_follow_goes_on_with_the_file_that_replaces_it(file: Path, followed: list[str]) -> None:
    file.rename(file.with_suffix(".1"))
    time.sleep(0.05)
    file.write_text("two\n")
    _wait_for(followed, ["one\n", "two\n"])


def test_follow_starts_over_when_the_file_is_cut(file: Path, followed: list[str]) -> None:
    os.truncate(file, 0)
    time.sleep(0.1)
    with file.open("a") as more:
        more.write("2\n")
    _wait_for(followed, ["one\n", "2\n"])
