"""A scenario: a node, a capture on it, taps on its wires; and the check that the records tell exactly what passed.

The check is one comparison: every expected flow names the taps that saw it, and the counts of *all* tuples on *all*
taps must be those that the records have. So a record too many, a packet too many or an octet too few fails.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, cast

import numpy as np
import pytest

from natlens.config import Options
from natlens.errors import MissingFeature
from natlens.flows.connection import Nat, State
from natlens.flows.join import Carry, join
from natlens.flows.report import Limits
from natlens.flows.selection import Selection
from natlens.health import Health
from natlens.kernel import conntrack
from natlens.kernel.capture import Capture
from natlens.kernel.probe import Features
from natlens.kernel.windows import TRANSLATIONS, Window
from natlens.pipeline import take
from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.nat import IptablesNat, NftablesNat
from natlens.ui.lab.nat import Nat as NatRules
from natlens.ui.lab.node import Node, Pod
from natlens.ui.lab.packets import Directed
from natlens.ui.lab.wire import Count, Wire
from tests.scenarios.accounting import entries
from tests.scenarios.lent import lend
from tests.scenarios.record import ANY, ENDED, GOES_ON, Flow, Record, chatter, read_record
from tests.scenarios.signals import Signals

__all__ = ["ANY", "ENDED", "GOES_ON", "Count", "Directed", "Flow", "Lab", "Nat", "Record", "Setup", "State"]

QUIET_S = 0.08
SECOND = 10**9
LIMITS = Limits(idle_ns=30 * SECOND, tcp_idle_ns=600 * SECOND, settle_ns=SECOND // 20, max_connections=10**6)
LOSS = "dropped_", "unparsed_", "windows_missing"

EMULATED = "NATLENS_VM" in os.environ
SIGNALS = not EMULATED
"""Whether what is sent is looked at, too: no kernel alters it, and under emulation it takes half the time."""

Wires = dict[str, dict[Directed, Count]]


NatSource = Literal["auto", "tc", "fentry", "kprobe", "ctnetlink"]
SOURCE = cast(NatSource, os.environ.get("NATLENS_NAT_SOURCE", "auto"))  # the matrix of kernels runs the suite by each


class Setup(NamedTuple):
    """How natlens is attached on a scenario's node, how that translates, and how natlens learns it."""

    attach: Literal["auto", "tcx", "clsact"] = "auto"
    nat: Literal["nftables", "iptables"] = "nftables"
    source: NatSource = SOURCE
    loader: Literal["auto", "core", "bcc"] = "auto"

    def __str__(self) -> str:
        named = {self.source: self.source != "auto", self.loader: self.loader != "auto"}
        return "-".join([self.attach, self.nat, *(name for name, said in named.items() if said)])


DEFAULT = Setup()


class Lab:
    """A node under capture."""

    def __init__(
        self,
        setup: Setup = DEFAULT,
        *,
        offloads: bool = False,
        exclude_interfaces: Sequence[str] = (),
        capture_rules: Sequence[str] = (),
        sampling: int = 1,
    ) -> None:
        if setup.attach == "tcx" and not Features.probe().tcx:
            pytest.skip("this kernel has no tcx")
        self.node = Node(offloads=offloads)
        self.namespace = self.node.namespace
        self.health = Health()
        self.wire = Wire()
        self._nat = IptablesNat if setup.nat == "iptables" else NftablesNat
        self._options = Options(
            attach=setup.attach,
            loader=setup.loader,
            nat_source=setup.source,
            exclude_interfaces=list(exclude_interfaces),
            capture_rules=list(capture_rules),
            sampling=sampling,
        )
        self.wire.tap("outside", self.node.outside.namespace)
        self.wire.tap("lo", self.namespace, "lo")
        self.pods: dict[str, Pod] = {"outside": self.node.outside}
        self.namespaces: dict[str, Namespace] = {}  # others than pods
        self.capture: Capture | None = None
        self._older = np.zeros(0, TRANSLATIONS)
        self.records: list[Record] = []
        self.carry = Carry()
        self.ambiguous = 0
        self.signals = Signals()
        self.nat: NatRules = self._nat(self.node)

    def pod(self, name: str) -> Pod:
        """Return a pod with a tap of its name; made on first use."""
        if name not in self.pods:
            self.pods[name] = pod = self.node.pod(name)
            self.wire.tap(name, pod.namespace)
            if self.capture:
                self.refresh()
        return self.pods[name]

    def start(self) -> None:
        """Load and attach; what conntrack knows by then goes into the first window, as in :class:`Pipeline`.

        Skips where this kernel has not the source of NAT that is asked for.
        """
        with self.namespace.enter():
            try:
                self.capture = Capture(self._options, self.health, lend(self._options) if EMULATED else None)
            except MissingFeature as error:
                if not str(error).startswith(f"nat_source: {self._options.nat_source}: cannot be had"):
                    raise
                pytest.skip(str(error))
            self.capture.refresh()
            self._older = conntrack.dump(time.monotonic_ns(), LIMITS.max_connections)

    @property
    def source(self) -> str:
        """Who tells of NAT here: what `auto` chose is known once it runs."""
        assert self.capture
        return self.capture.source.name

    def not_by_events(self, why: str) -> None:
        """Skip what conntrack's events do not tell enough of: they carry neither octets nor interfaces."""
        if self.source == "ctnetlink":
            pytest.skip(f"by conntrack's events alone: {why}")

    def refresh(self) -> None:
        assert self.capture
        with self.namespace.enter():
            self.capture.refresh()

    def restart(self) -> None:
        """End one agent, its last records included, and begin another on the same node."""
        self.window(flush=True)
        self.stop()
        self.carry = Carry()
        self.start()

    def stop(self) -> None:
        """Leave no trace of the capture."""
        if self.capture:
            with self.namespace.enter():
                self.capture.close()
            self.capture = None

    def begin(self) -> None:
        """Forget everything, rules included. Traffic comes after this."""
        self.namespace.run("nft", "flush", "ruleset")
        self.nat = self._nat(self.node)
        self.clear()

    def clear(self) -> None:
        """Forget conntrack entries, counts and records."""
        self.namespace.run("conntrack", "-F")
        if self.capture is None:
            self.start()
        self.wire.settle(QUIET_S / 2)
        self.wire.clear()
        self._take()
        self._older = self._older[:0]
        self.health.__init__()  # type: ignore[misc]
        self.records, self.carry, self.ambiguous, self.signals = [], Carry(), 0, Signals()

    def _take(self) -> Window:
        assert self.capture
        with self.namespace.enter():
            return take(self.capture, self.carry, self.health)

    def window(self, *, flush: bool = False, settle: bool = True) -> list[Record]:
        """Close a window when the wire is silent; returns its records, neighbour discovery left out."""
        if settle:
            self.wire.settle(QUIET_S)
        window = self._take()
        window = replace(window, translations=np.concatenate([self._older, window.translations]))
        self._older = self._older[:0]
        assert self.capture
        controls = self.capture.controls
        selection = Selection(controls.rules, controls.sampling, controls.interfaces)
        joined = join(window, self.carry, LIMITS, flush=flush, selection=selection)
        controls.tell(joined.decided, self.health)
        self.carry = joined.carry
        self.ambiguous += joined.ambiguous_octets
        records = [read_record(row, self.capture.names) for row in joined.connections]
        ours = np.array([not chatter(record.original) for record in records], np.bool_)
        if SIGNALS:
            self.signals.put(joined.connections[ours], self.capture.names, joined.end_ns)
        records = [record for record in records if not chatter(record.original)]
        self.records += records
        return records

    def last(self) -> list[Record]:
        """Return the last record of every connection."""
        return list({record.flow_id: record for record in self.records}.values())

    def lost(self) -> dict[str, float]:
        """Return the kernel's loss counters that are not 0."""
        return {
            name: value
            for name, value in self.health.snapshot().items()
            if name.removeprefix("kernel_").startswith(LOSS) and value
        }

    def zone(self, original: Directed) -> int:
        """Return the zone that conntrack keeps a connection in; -1 where it does not."""
        return next((entry.zone for entry in entries(self.namespace) if entry.original == original), -1)

    def check(self, *flows: Flow, without: Sequence[str] = (), window: bool = True) -> None:
        """Take a window, then hold the records against ``flows``, their counts against the wires, losses against 0.

        ``without`` names taps that see other packets than the node does (the node drops or divides some).
        """
        if window:
            self.window()
        assert self.lost() == {}
        records = _assign(self.last(), flows)
        assert self.ambiguous == 0
        expected: Wires = {name: {} for name in self.wire.names()}
        for flow, record in records:
            assert record.nat == flow.nat, record
            assert (record.state, record.end_reason) == (flow.state, flow.end), record
            _place(expected, flow, record)
        wires = {name: counts for name, counts in self.wires().items() if name not in without}
        assert wires == {name: counts for name, counts in expected.items() if counts and name not in without}
        deltas = sum(record.forward.octets + record.reverse.octets for record in self.records)
        assert deltas == sum(record.forward_total.octets + record.reverse_total.octets for _, record in records)
        self._check_accounting(records)
        if SIGNALS:
            self.signals.check(self.records)

    def wires(self) -> Wires:
        """Return what the taps counted, neighbour discovery left out."""
        self.wire.verify()
        counts = {
            name: {one: count for one, count in self.wire.counts(name).items() if not chatter(one)}
            for name in self.wire.names()
        }
        return {name: seen for name, seen in counts.items() if seen}

    def _check_accounting(self, records: list[tuple[Flow, Record]]) -> None:
        tracked = {
            (entry.original, entry.reply.turned(), entry.zone): (entry.forward, entry.reverse)
            for entry in entries(self.namespace)
        }
        for flow, record in records:
            if flow.tracked:
                counts = tracked[record.original, record.translated, flow.zone]
                assert counts == (record.forward_total, record.reverse_total), record

    def close(self) -> None:
        """Remove everything."""
        try:
            self.stop()
        finally:
            try:
                self.wire.close()
            finally:
                self.node.close()

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _assign(records: list[Record], flows: tuple[Flow, ...]) -> list[tuple[Flow, Record]]:
    """Pair every flow with its one record; fails where one is missing or left over."""
    left = list(records)
    pairs = []
    for flow in flows:
        fitting = [record for record in left if flow.matches(record)]
        assert len(fitting) == 1, f"{len(fitting)} records for {flow} in {records}"
        left.remove(fitting[0])
        pairs.append((flow, fitting[0]))
    assert left == [], "records that nobody expects"
    return pairs


def _place(expected: Wires, flow: Flow, record: Record) -> None:
    """Add the record's counts where its taps must have seen them, each under the name that packets have there."""
    original, translated = record.original, record.translated
    sightings = {
        (flow.dialled, original, original.turned()),
        # what the node sends to itself passes lo after its destination was translated, and so do the answers
        (flow.answered, translated, original.turned() if flow.answered == "lo" else translated.turned()),
        *((tap, seen, seen.turned()) for tap, seen in flow.also),
    }
    for tap, forward, reverse in sightings:
        for seen, count in ((forward, record.forward_total), (reverse, record.reverse_total)):
            if tap and count.packets:
                expected[tap][seen] = expected[tap].get(seen, Count()) + count
