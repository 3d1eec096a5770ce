"""natlens' own messages: one line each, as text or JSON; no flood, no traceback that nobody asked for."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.config import Options
from natlens.errors import ConfigError
from natlens.ui import cli
from natlens.ui.logs import A_MINUTE, RateLimit, logs_to_stderr

log = logging.getLogger("natlens.test")


@contextmanager
def written(**options: Any) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with logs_to_stderr(Options(**options), stream):
        yield stream


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def objects(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(stream)]


def fail() -> None:
    raise ValueError("no such thing")


def test_text_is_severity_and_message() -> None:
    with written() as stream:
        log.info("capturing on %d interfaces", 3)
        log.debug("not told")
        logging.getLogger("urllib3").warning("of a library")
    assert lines(stream) == ["natlens: INFO: capturing on 3 interfaces", "natlens: WARNING: of a library"]


def test_json_has_time_severity_message_logger_and_attributes() -> None:
    with written(log_format="json") as stream:
        log.warning("%s: lost\n", "eth0", extra={"interface": "eth0", "code": 5})
        log.info("plain")
    first, second = objects(stream)
    at = datetime.fromisoformat(first.pop("time"))
    assert at.tzinfo == UTC
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert first == {
        "severity": "WARNING",
        "message": "eth0: lost\n",
        "logger": "natlens.test",
        "attributes": {"interface": "eth0", "code": 5},
    }
    assert set(second) == {"time", "severity", "message", "logger"}


@given(st.text(), st.sampled_from(["text", "json"]))
def test_any_message_is_one_line(text: str, form: str) -> None:
    with written(log_format=form) as stream:
        log.error("%s", text)
    assert stream.getvalue().count("\n") == 1
    if form == "text":
        assert len(lines(stream)) == 1
    else:
        assert json.loads(stream.getvalue())["message"] == text


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("form", ["text", "json"])
def test_traceback_only_with_debug(form: str, debug: bool) -> None:
    with written(log_format=form, debug=debug) as stream:
        try:
            fail()
        except ValueError:
            log.exception("export failed")
    said = stream.getvalue()
    assert "no such thing" in said
    assert "ValueError" in said
    assert ("Traceback" in said) == ("in fail" in said) == debug
    if form == "json":
        (one,) = objects(stream)
        assert one["attributes"]["exception.type"] == "ValueError"


@pytest.mark.parametrize("debug", [False, True])
def test_exception_that_ends_a_thread_is_one_message(debug: bool) -> None:
    with written(debug=debug) as stream:
        thread = threading.Thread(target=fail, name="natlens-sender")
        thread.start()
        thread.join()
    first, *rest = lines(stream)
    assert first == "natlens: ERROR: thread natlens-sender ended: ValueError: no such thing"
    assert bool(rest) == debug


def test_warnings_and_what_nobody_can_catch_go_there_too() -> None:
    class Odd:
        def __del__(self) -> None:
            fail()

    with written(log_format="json") as stream, warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        Odd()
    assert {one["logger"] for one in objects(stream)} == {"py.warnings", "natlens"}


def test_everything_is_as_before_afterwards() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level, threading.excepthook, sys.unraisablehook
    with pytest.raises(ConfigError), written():
        raise ConfigError("wrong")
    assert (root.handlers[:], root.level, threading.excepthook, sys.unraisablehook) == before


def test_one_template_is_written_so_often_and_then_counted() -> None:
    with written() as stream:
        for number in range(A_MINUTE + 7):
            log.warning("lost %d", number)
        log.error("something else")
    told = lines(stream)
    assert told[:A_MINUTE] == [f"natlens: WARNING: lost {number}" for number in range(A_MINUTE)]
    assert told[A_MINUTE:] == [
        "natlens: ERROR: something else",
        "natlens: WARNING: lost %d (… suppressed 7 times)",
    ]


def test_next_period_tells_how_many_there_were() -> None:
    now = [0.0]
    limit = RateLimit(2, 60, lambda: now[0])
    records = [logging.LogRecord("a", logging.WARNING, "", 0, "lost %d", (n,), None) for n in range(6)]
    assert [limit.filter(one) for one in records[:5]] == [True, True, False, False, False]
    now[0] = 60
    assert limit.filter(records[5])
    assert vars(records[5])["suppressed"] == 3
    assert limit.unsaid() == []


def test_a_flood_does_not_hide_an_error_of_the_same_words() -> None:
    limit = RateLimit(1, 60, lambda: 0.0)
    for _ in range(1000):
        limit.filter(logging.LogRecord("a", logging.INFO, "", 0, "x", (), None))
    assert limit.filter(logging.LogRecord("a", logging.ERROR, "", 0, "x", (), None))
    assert limit.filter(logging.LogRecord("b", logging.INFO, "", 0, "x", (), None))
    assert limit.unsaid() == [("a", logging.INFO, "x", 999)]


def test_templates_with_values_in_them_do_not_fill_memory() -> None:
    limit = RateLimit(1, 60, lambda: 0.0)
    for number in range(5000):
        assert limit.filter(logging.LogRecord("a", logging.INFO, "", 0, f"x {number}", (), None))
    assert len(limit._seen) <= 1000


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 50)), max_size=60))
def test_every_message_is_written_or_counted(events: list[tuple[str, float]]) -> None:
    now = [0.0]
    limit, told = RateLimit(2, 60, lambda: now[0]), 0
    for template, later in events:
        now[0] += later
        record = logging.LogRecord("a", logging.INFO, "", 0, template, (), None)
        told += limit.filter(record) + getattr(record, "suppressed", 0)
    assert told + sum(count for *_, count in limit.unsaid()) == len(events)


class Broken(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_stream_that_is_gone_bothers_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with logs_to_stderr(Options(), Broken()):
        log.error("unheard")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "error", "status", "said"),
    [
        ([], ConfigError("wrong; do it right"), 2, "natlens: wrong; do it right\n"),
        (
            [],
            KeyError("x"),
            1,
            "natlens: unexpected KeyError: 'x'; this is a defect of natlens: report it with what --debug shows\n",
        ),
    ],
)
def test_fatal_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    error: Exception,
    status: int,
    said: str,
) -> None:
    _let_fail(monkeypatch, error)
    assert cli.main(["run", *arguments]) == status
    assert capsys.readouterr().err == said
    assert cli.main(["run", "--log-format=json", *arguments]) == status
    (line,) = capsys.readouterr().err.splitlines()
    one = json.loads(line)
    assert (one["severity"], f"natlens: {one['message']}\n") == ("CRITICAL", said)


@pytest.mark.parametrize("form", ["text", "json"])
def test_fatal_error_with_debug_has_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    _let_fail(monkeypatch, KeyError("x"))
    assert cli.main(["run", "--debug", f"--log-format={form}"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def _let_fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def capture(*_: object) -> int:
        raise error

    monkeypatch.setattr(cli, "_capture", capture)
