"""The kernel's own account of maps and programs, of the real object."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from natlens.errors import KernelError
from natlens.kernel import libbpf
from natlens.kernel.account import MAPS, PROGRAMS, Account
from natlens.kernel.libbpf import Object
from natlens.kernel.programs import opened
from natlens.kernel.windows import kernel_bytes
from natlens.telemetry.process import read_process

STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
ROWS, TRANSLATIONS = 16384, 4096
PACKET = bytes(12) + b"\x08\x00" + bytes([0x45, 0, 0, 40]) + bytes(36)


@pytest.fixture(scope="module")
def loaded() -> Iterator[Object]:
    one = opened()
    for index in (0, 1):
        one.resize(f"rows_{index}", ROWS)
        one.resize(f"retired_{index}", ROWS // 8)
        one.resize(f"translations_{index}", TRANSLATIONS)
    one.load()
    yield one
    one.close()


@pytest.fixture
def _measured() -> Iterator[None]:
    before = STATS.read_text()
    STATS.write_text("1")
    yield
    STATS.write_text(before)


def of(told: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str) -> dict[str, float]:
    return {attributes[0][1]: value for (one, attributes), value in told.items() if one == name}


def test_every_map_has_its_size_and_memory(loaded: Object) -> None:
    told = Account(loaded)()
    capacity, memory = of(told, "map_capacity"), of(told, "map_memory_bytes")
    assert capacity.keys() == memory.keys() == MAPS.keys()
    assert (capacity["rows"], capacity["retired"], capacity["translations"]) == (ROWS, ROWS // 8, TRANSLATIONS)
    windows = sum(memory[name] for name in ("rows", "retired", "translations"))
    assert windows == pytest.approx(kernel_bytes(ROWS, TRANSLATIONS), rel=0.1)


@pytest.mark.usefixtures("_measured")
def test_run_time_goes_up_with_packets(loaded: Object) -> None:
    account = Account(loaded)
    before = account()
    libbpf.test_run(loaded.program_fd("ingress_l2"), PACKET, repeat=1000)
    after = account()
    runs, took = (
        {name: of(after, what)[name] - of(before, what)[name] for name in PROGRAMS}
        for what in ("program_runs", "program_time_ns")
    )
    assert runs["ingress_l2"] == 1000
    assert 1000 < took["ingress_l2"] < 1e9
    assert sum(runs.values()) == 1000


@pytest.mark.parametrize("said", ["0\n", None], ids=["off", "unreadable"])
def test_run_time_is_left_out_where_it_is_not_measured(loaded: Object, tmp_path: Path, said: str | None) -> None:
    stats = tmp_path / "bpf_stats_enabled"
    if said is not None:
        stats.write_text(said)
    assert of(Account(loaded, stats=stats)(), "program_runs") == {}


def test_no_descriptor_stays_open(loaded: Object) -> None:
    account = Account(loaded)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208  # names
    account()
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_what_is_gone_is_an_error_with_its_reason(loaded: Object, tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"account of fd \d+: No such file or directory"):
        Account(loaded, fdinfo=tmp_path)()


def test_process_is_this_one() -> None:
    told = read_process()
    assert told["process_cpu_us", (("mode", "user"),)] > 10_000
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    assert told["process_threads", ()] == int(status["Threads"])
    assert told["process_memory_bytes", ()] == pytest.approx(int(status["VmRSS"].split()[0]) * 1024, rel=0.1)
    assert told["process_descriptors", ()] == len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208  # its own
    assert 0 < told["process_uptime_s", ()] < 86400
