"""What a packet costs in the kernel."""

import socket
import statistics
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from natlens.config import Options
from natlens.kernel import libbpf
from natlens.kernel.controls import Controls, prepare
from natlens.kernel.programs import opened
from natlens.kernel.rules import MOST
from natlens.kernel.windows import Windows
from tests.bench.figure import say, tell

__all__ = ["known_rows", "left_out", "new_rows", "noop_object"]

REPEAT, ROUNDS = 1_000_000, 9
ROWS = 400_000
NEW = 100_000
ETHERNET = bytes.fromhex("020000000002 020000000001")
PAYLOAD = bytes(100)
SYN, ACK = 0x02, 0x10


def _compiled(source: Path, directory: Path) -> Path:
    target = directory / source.with_suffix(".o").name
    multiarch = subprocess.run(["cc", "-print-multiarch"], capture_output=True, text=True, check=True).stdout.strip()
    include = f"-I/usr/include/{multiarch}"
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", include, "-c", source, "-o", target], check=True)
    return target


@contextmanager
def noop_object(directory: Path) -> Iterator[libbpf.Object]:
    """Yield the loaded program that does nothing."""
    with ExitStack() as stack:
        noop = libbpf.Object(_compiled(Path(__file__).with_name("noop.bpf.c"), directory))
        stack.callback(noop.close)
        noop.load()
        yield noop


@contextmanager
def _programs(capture_rules: Sequence[str] = (), sampling: int = 1) -> Iterator[libbpf.Object]:
    options = Options(window_rows=ROWS, capture_rules=list(capture_rules), sampling=sampling)
    with ExitStack() as stack:
        programs = opened()
        stack.callback(programs.close)
        for index in (0, 1):
            programs.resize(f"rows_{index}", ROWS)
        prepare(programs, options)
        programs.load()
        Controls(programs, options)
        yield programs


def _ip4(protocol: int, transport: bytes) -> bytes:
    addresses = socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2")
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport), 0, 0, 64, protocol, 0)
    return ETHERNET + b"\x08\x00" + header + addresses + transport


def _ip6(protocol: int, transport: bytes) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, "fd00::1") + socket.inet_pton(socket.AF_INET6, "fd00::2")
    return ETHERNET + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(transport), protocol, 64) + addresses + transport


def _tcp(flags: int = ACK) -> bytes:
    return struct.pack("!HHIIBBHHH", 40000, 80, 1, 1, 5 << 4, flags, 1000, 0, 0) + PAYLOAD


def _udp(port: int, to: int = 53) -> bytes:
    return struct.pack("!HHHH", port, to, 8 + len(PAYLOAD), 0) + PAYLOAD


def known_rows(noop: libbpf.Object) -> None:
    """A packet of a row that exists, beside a program that does nothing: BPF_PROG_TEST_RUN, medians."""
    tell("packets of known rows")
    packets = {"tcp4": _ip4(6, _tcp()), "udp4": _ip4(17, _udp(40000)), "tcp6": _ip6(6, _tcp())}
    with _programs() as programs:
        fds = {"tc_noop_ns": (noop.program_fd("noop"), packets["tcp4"])}
        for name, packet in packets.items():
            fds[f"tc_same_flow_{name}_ns"] = (programs.program_fd("ingress_l2"), packet)
        times: dict[str, list[int]] = {name: [] for name in fds}
        for _ in range(ROUNDS):  # alternating: noise falls on all alike
            for name, (fd, packet) in fds.items():
                times[name].append(libbpf.test_run(fd, packet, REPEAT)[1])
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        say(name, value, "ns")
    worst = max(value for name, value in medians.items() if name != "tc_noop_ns")
    say("tc_same_flow_over_noop", worst / medians["tc_noop_ns"], "x")


def left_out() -> None:
    """Packets that a rule or sampling leaves out, beside those of known rows without either, and with rules.

    There are as many rules as can be, and the last one is it.
    """
    tell("packets left out")
    rules = [*(f"accept protocol=sctp port={port}" for port in range(1000, 999 + MOST)), "reject port=80"]
    with _programs() as plain, _programs(rules) as ruled, _programs(sampling=65536) as sampled:
        runs = {
            "tc_kept_ns": (plain, _ip4(6, _tcp())),
            "tc_kept_with_rules_ns": (ruled, _ip4(17, _udp(40000))),
            "tc_filtered_out_ns": (ruled, _ip4(6, _tcp())),
            "tc_sampled_out_ns": (sampled, _ip4(6, _tcp())),
        }
        windows = {one: Windows(one) for one in (plain, ruled, sampled)}
        times: dict[str, list[int]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, (one, packet) in runs.items():
                fd = one.program_fd("ingress_l2")
                libbpf.test_run(fd, _ip4(6, _tcp(SYN)) if name == "tc_sampled_out_ns" else packet)
                times[name].append(libbpf.test_run(fd, packet, REPEAT // 10)[1])
                if bool(len(windows[one].take().rows)) == name.endswith("out_ns"):
                    raise SystemExit(f"{name}: these packets were to have {'no' if 'out' in name else 'a'} row")
    for name, values in times.items():
        say(name, statistics.median(values), "ns")


def new_rows(noop: libbpf.Object) -> None:
    """A tuple never seen, one run each; the floor is measured one run each as well. Then the drain of all of them."""
    tell("tuples never seen")
    packets = [_ip4(17, _udp(at & 0xFFFF, at >> 16)) for at in range(NEW)]
    with _programs() as programs:
        floor = statistics.median(libbpf.test_run(noop.program_fd("noop"), packet)[1] for packet in packets)
        fd = programs.program_fd("ingress_l2")
        say("tc_new_flow_noop_ns", floor, "ns")
        say("tc_new_flow_ns", statistics.median(libbpf.test_run(fd, packet)[1] for packet in packets), "ns")
        _drain(Windows(programs), fd, packets)


def _drain(windows: Windows, fd: int, packets: list[bytes]) -> None:
    rates = []
    windows.take()
    for _ in range(5):
        for packet in packets:
            libbpf.test_run(fd, packet)
        begin = time.perf_counter()
        rows = windows.take().rows
        rates.append(len(rows) / (time.perf_counter() - begin))
    say("drain_entries_per_s", statistics.median(rates), "1/s")
