"""The file of OTLP JSON lines."""

import os
import resource
import signal as signals
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from natlens.delivery.file import FileOutlet
from natlens.errors import DeliveryError
from natlens.health import Health
from natlens.otlp.jsonlines import parse_lines
from natlens.otlp.request import Signal
from tests.delivery.account import KINDS, account, counted, parsed, parsed_as, request_of
from tests.delivery.conftest import SIGNALS


def test_each_request_is_appended_as_a_line(tmp_path: Path, signal: Signal) -> None:
    health, path = Health(), tmp_path / "out.jsonl"
    for first in (0, 10):
        outlet = FileOutlet(path, health)
        outlet.send(request_of(3, first, signal=signal))
        outlet.send(request_of(2, first + 3, signal=signal))
        outlet.flush(time.monotonic())
        outlet.close()
    assert list(parse_lines(path.read_text(), KINDS[signal])) == [
        parsed_as(signal, request_of(n, at, signal=signal).data) for n, at in ((3, 0), (2, 3), (3, 10), (2, 13))
    ]
    assert account(health, signal) == counted(signal, captured=10, exported=10)


def test_one_file_takes_every_signal_and_counts_each_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    health, path = Health(), tmp_path / "out.jsonl"
    outlet = FileOutlet(path, health)
    for count, signal in enumerate(SIGNALS, 1):
        outlet.send(request_of(count, signal=signal))
    outlet.close()
    outlet.send(request_of(7, signal="metrics"))
    for count, signal in enumerate(SIGNALS, 1):
        (request,) = parse_lines(path.read_text(), KINDS[signal])
        assert request == parsed_as(signal, request_of(count, signal=signal).data)
        lost = {"dropped{reason=write_failed}": 7} if signal == "metrics" else {}
        assert account(health, signal) == counted(signal, captured=count + sum(lost.values()), exported=count, **lost)
    assert caplog.messages[0].endswith("; 7 points dropped")


@pytest.mark.parametrize("path", ["missing/out.jsonl", "."])
def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(DeliveryError, match=r"output '.*' cannot be written: (No such file|Is a directory)"):
        FileOutlet(tmp_path / path, Health())


def test_a_line_cut_short_by_a_crash_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"resourceLogs":[')
    outlet = FileOutlet(path, Health())
    outlet.send(request_of(1))
    outlet.send(request_of(2))
    outlet.close()
    torn, *whole = path.read_text().split("\n")
    assert torn == '{"resourceLogs":['
    assert list(parse_lines(whole)) == [parsed(request_of(1).data), parsed(request_of(2).data)]


FULL = 20_000


@contextmanager
def full_disk() -> Iterator[None]:
    """Files cannot grow beyond 20,000 bytes: like a full disk, in the middle of a write. So pytest must not write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signals.signal(signals.SIGXFSZ, signals.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signals.signal(signals.SIGXFSZ, handler)


def test_a_full_disk_leaves_whole_lines_and_exact_counts(tmp_path: Path) -> None:
    health, path = Health(), tmp_path / "out.jsonl"
    outlet = FileOutlet(path, health)
    with full_disk():
        for first in range(10):
            outlet.send(request_of(2, 2 * first, 1000))
        outlet.close()
    written = list(parse_lines(path.read_text()))
    assert 0 < len(written) < 10
    assert path.stat().st_size <= FULL
    assert written == [parsed(request_of(2, 2 * first, 1000).data) for first in range(len(written))]
    assert account(health) == {
        "records_captured": 20,
        "records_exported": 2 * len(written),
        "records_dropped{reason=write_failed}": 20 - 2 * len(written),
    }


def test_devices_and_pipes_are_taken(tmp_path: Path) -> None:
    health, pipe = Health(), tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for path in ("/dev/null", pipe):
        outlet = FileOutlet(path, health)
        outlet.send(request_of(1))
        outlet.close()
    assert list(parse_lines(os.read(reader, 1 << 16).decode())) == [parsed(request_of(1).data)]
    os.close(reader)
    assert account(health) == {"records_captured": 2, "records_exported": 2}


def test_a_closed_outlet_drops_and_counts(tmp_path: Path) -> None:
    health = Health()
    outlet = FileOutlet(tmp_path / "out.jsonl", health)
    outlet.close()
    outlet.send(request_of(3))
    assert account(health) == {"records_captured": 3, "records_dropped{reason=write_failed}": 3}
