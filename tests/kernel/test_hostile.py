"""A million packets that strangers could have written: the same rows and counters as the reference, and no crash."""

import os
from collections import Counter
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest

from natlens.kernel import libbpf, maps
from natlens.kernel.structs import FRAGMENT, FRAGMENT_KEY, Side
from natlens.kernel.windows import Window, Windows
from tests.kernel.conftest import Load
from tests.kernel.packets import makes_skb, mutate, network_templates, sk_buff, templates
from tests.kernel.reference import Reference
from tests.kernel.tap import PAGED, Tap, untagged

BATCH = 20_000  # packets a window: fewer tuples than the window has rows
SEED = 20250101
COVERED, UNCOVERED = 7, 9  # ifindexes; test runs attach to nothing
FRAGMENTS = np.dtype([("key", FRAGMENT_KEY), ("value", FRAGMENT)])
Rows = dict[bytes, list[tuple[int, ...]]]


class Bench:
    """A loaded object, and the reference beside it."""

    def __init__(self, loaded: libbpf.Object) -> None:
        self.loaded, self.windows = loaded, Windows(loaded)
        maps.update(loaded.map_fd("counted_interfaces"), COVERED, 1, size=1)
        self.kinds: Counter[tuple[int, int]] = Counter()  # (family, protocol) of the rows compared
        self.begin()

    def begin(self) -> None:
        """Forget everything."""
        self.reference = Reference()
        maps.read_and_delete(self.loaded.map_fd("fragments"), FRAGMENTS)
        self.windows.take()
        self.before = self.windows.counters()

    def check(self, side: Side, ifindex: int = 1) -> None:
        """Close the window and compare everything in it with the reference."""
        window = self.windows.take()
        assert (window.rows["key"]["side"] == side).all()
        assert (window.rows["key"]["ifindex"] == ifindex).all()
        said = {
            name: value - self.before[name] for name, value in window.counters.items() if value != self.before[name]
        }
        assert said == dict(self.reference.counters)
        self.kinds.update(
            zip(*(window.rows["key"]["tuple"][name].tolist() for name in ("family", "proto")), strict=True)
        )
        assert _rows(window) == {
            key: [one.numbers() for one in generations] for key, generations in self.reference.rows.items()
        }


def _rows(window: Window) -> Rows:
    """Return the window's rows by tuple, generations in order."""
    value = window.rows["value"]
    assert (value["first_ns"] >= window.start_ns).all()
    assert (value["first_ns"] <= value["last_ns"]).all()
    assert (value["last_ns"] <= window.end_ns).all()
    rows = window.rows[np.argsort(value["first_ns"], kind="stable")]
    names = ("octets", "packets", "tcp_flags", "syn", "syn_seq")
    found: Rows = {}
    for key, *numbers in zip(rows["key"]["tuple"], *(rows["value"][name].tolist() for name in names), strict=True):
        found.setdefault(key.tobytes(), []).append(tuple(numbers))
    return found


@pytest.fixture(scope="module")
def bench(load: Load) -> Bench:
    return Bench(load(rows=BATCH * 2, retired=BATCH))


@pytest.mark.parametrize(
    ("program", "network", "batches"),
    [("ingress_l2", 14, 30), ("ingress_l3", 0, 10), ("egress_l2", 14, 8), ("egress_port", 14, 4)],
)
def test_a_mutated_packet_is_counted_as_the_reference_says(
    bench: Bench, program: str, network: int, batches: int
) -> None:
    rng = Random(f"{SEED} {program}")
    # without a link layer BPF_PROG_TEST_RUN still reads the protocol at octets 12 and 13, which are address there
    frames = templates() if network else network_templates(src4="8.0.2.7", src6="fd00:0:86dd::7")
    fd = bench.loaded.program_fd(program)
    side = Side.INGRESS if program.startswith("ingress") else Side.EGRESS
    for _ in range(batches):
        bench.begin()
        ran = 0
        while ran < BATCH:
            frame = mutate(rng, rng.choice(frames), rng.choice(frames), network)
            protocol = int.from_bytes(frame[12:14], "big")
            if not makes_skb(frame, protocol):
                continue
            came_in_by = rng.choice((0, 0, COVERED, UNCOVERED))
            gso = _gso(rng)
            libbpf.test_run(fd, frame, 1, sk_buff(came_in_by, *gso))
            forwarded = side == Side.EGRESS and came_in_by == COVERED
            bench.reference.see(frame, protocol, network, gso, counts=program != "egress_port" and not forwarded)
            ran += 1
        bench.check(side)
        assert {"unparsed_truncated", "unparsed_header"} <= bench.reference.counters.keys()
    if program.startswith("ingress"):
        assert {(f, p) for f in (4, 6) for p in (6, 17, 132, 47, 50)} | {(4, 1), (6, 58)} <= bench.kinds.keys()


def _gso(rng: Random) -> tuple[int, int]:
    """Return gso_size and gso_segs: mostly none."""
    if rng.random() < 0.8:
        return 0, 0
    return rng.choice((1, 8, 536, 1448, 65535)), rng.choice((0, 0, 1, 2, 44))


def test_every_length_of_every_template(bench: Bench) -> None:
    fd = bench.loaded.program_fd("ingress_l2")
    bench.begin()
    for template in templates():
        bench.reference.rows.clear()
        for length in range(14, min(len(template), 200)):
            frame = template[:length]
            protocol = int.from_bytes(frame[12:14], "big")
            if makes_skb(frame, protocol):
                libbpf.test_run(fd, frame)
                bench.reference.see(frame, protocol, 14)
    bench.check(Side.INGRESS)


@pytest.fixture
def tap() -> Iterator[Tap]:
    with Tap() as one:
        yield one


def test_headers_outside_the_linear_part(bench: Bench, tap: Tap) -> None:
    rng = Random(f"{SEED} tap")
    frames = templates()
    with tap.namespace.enter():
        link = libbpf.link_tcx(bench.loaded.program_fd("ingress_l2"), tap.ifindex, libbpf.BPF_TCX_INGRESS)
    try:
        bench.begin()
        for _ in range(BATCH):
            frame = mutate(rng, rng.choice(frames), rng.choice(frames), 14)
            frame += bytes(max(0, rng.randint(PAGED, 2 * PAGED) - len(frame)))
            tap.receive(frame, linear=rng.choice((14, rng.randint(15, 120))))
            protocol, at = untagged(frame)
            bench.reference.see(frame, protocol, at)
        bench.check(Side.INGRESS, tap.ifindex)
    finally:
        os.close(link)
