"""The table, first part: what the kernel counted and what it could not, windows, maps, connections, translations."""

from natlens.kernel.account import MAPS, PROGRAMS
from natlens.kernel.structs import COUNTERS, TranslationSource
from natlens.telemetry.row import Alert, Metric, Source, added

__all__ = ["CAPTURE"]

WIDER = "raise window_rows (natlens doctor tells what that costs), or shorten interval"
CHOSEN = "chosen by options"
NORMAL = "goes up in normal work"
MISSING = "windows_missing"
EVENTS = [name for name in COUNTERS if not name.startswith(("dropped_", "unparsed_")) and name != MISSING]
"""Kernel counters without a row of their own."""


def _kernel(pattern: str, **source: str) -> tuple[Source, ...]:
    """Return the source of kernel counters (:data:`natlens.kernel.structs.COUNTERS`) whose names are like that."""
    rest = source.get("rest")
    one = Source(f"kernel_{pattern}", rest=rest)
    found = [one.match(f"kernel_{name}") for name in COUNTERS]
    return (one._replace(known=tuple({rest: word} for word in found if word is not None)) if rest else one,)


CAPTURE: list[Metric] = [
    Metric(
        "natlens.capture.active",
        "gauge",
        "{state}",
        "Whether packets are counted: 1, or 0 while natlens starts or stops.",
        (Source("capturing"),),
        Alert(
            "NatlensNotCapturing",
            "max by (job, instance) (natlens_capture_active) == 0",
            "natlens on {{ $labels.instance }} runs and does not count packets.",
            "Read its log; natlens doctor on that node tells what is missing.",
            "critical",
            "5m",
        ),
    ),
    Metric(
        "natlens.capture.interfaces",
        "updown",
        "{interface}",
        "Interfaces whose packets are counted.",
        (Source("interfaces_covered"),),
        Alert(
            "NatlensNoInterface",
            "max by (job, instance) (natlens_capture_interfaces) == 0",
            "natlens on {{ $labels.instance }} counts on no interface.",
            "Check include_interfaces and exclude_interfaces; natlens doctor lists interfaces and why each is covered.",
            "critical",
            "5m",
        ),
    ),
    Metric(
        "natlens.capture.interfaces_uncovered",
        "counter",
        "{interface}",
        "Sides of interfaces (ingress, egress) that could not be attached to: packets there are not counted.",
        (Source("interfaces_not_covered", {"interface": "network.interface.name", "side": "natlens.side"}),),
        Alert(
            "NatlensInterfaceNotCovered",
            added("natlens_capture_interfaces_uncovered_total", "network_interface_name", "natlens_side"),
            "{{ $labels.natlens_side }} of {{ $labels.network_interface_name }} is not covered.",
            "The log has the kernel's reason; another qdisc or program may hold the place. "
            "exclude_interfaces leaves an interface alone.",
        ),
    ),
    Metric(
        "natlens.capture.resyncs",
        "counter",
        "{resync}",
        "Times that more interfaces changed at once than the kernel could tell: all were looked at again.",
        (Source("interfaces_resynced"),),
        "nothing is lost by it",
    ),
    Metric(
        "natlens.capture.unparsed",
        "counter",
        "{packet}",
        "Packets not counted because they could not be read, by cause.",
        _kernel("unparsed_*", rest="error.type"),
        Alert(
            "NatlensPacketsUnparsed",
            added("natlens_capture_unparsed_total", "error_type"),
            "Packets could not be read ({{ $labels.error_type }}).",
            "A few are broken packets from the network. Many: capture some on the node and report them.",
            "info",
        ),
    ),
    Metric(
        "natlens.capture.lost.packets",
        "counter",
        "{packet}",
        "Packets not counted because there was no place for them: window full, no memory, no window.",
        (
            *_kernel("dropped_rows_*_packets", rest="error.type"),
            Source(
                f"kernel_{MISSING}",
                fixed={"error.type": "window_missing"},
                known=({"error.type": "window_missing"},),
            ),
        ),
        Alert(
            "NatlensPacketsLost",
            added("natlens_capture_lost_packets_total", "error_type"),
            "Packets are missing in records ({{ $labels.error_type }}).",
            f"full: {WIDER}. memory: the node has no memory to spare. window_missing: report it.",
            "critical",
        ),
    ),
    Metric(
        "natlens.capture.lost.io",
        "counter",
        "By",
        "Octets of the packets in natlens.capture.lost.packets.",
        _kernel("dropped_rows_*_octets", rest="error.type"),
        "NatlensPacketsLost tells of the same packets",
    ),
    Metric(
        "natlens.rule.packets",
        "counter",
        "{packet}",
        "Packets that a rule of capture_rules decided about: reject, these were not counted; accept, they were.",
        (Source("rule_packets", {"rule": "natlens.rule"}),),
        CHOSEN,
    ),
    Metric(
        "natlens.rule.io",
        "counter",
        "By",
        "Octets of the packets in natlens.rule.packets.",
        (Source("rule_octets", {"rule": "natlens.rule"}),),
        CHOSEN,
    ),
    Metric(
        "natlens.sampling.left_out.packets",
        "counter",
        "{packet}",
        "Packets of connections that are not sampled; option sampling.",
        (Source("sampled_out_packets"),),
        CHOSEN,
    ),
    Metric(
        "natlens.sampling.left_out.io",
        "counter",
        "By",
        "Octets of the packets in natlens.sampling.left_out.packets.",
        (Source("sampled_out_octets"),),
        CHOSEN,
    ),
    Metric(
        "natlens.map.entries",
        "gauge",
        "{entry}",
        "Entries of a map in the last window.",
        (Source("map_entries", {"map": "natlens.map.name"}),),
        Alert(
            "NatlensWindowFillsUp",
            "max by (job, instance, natlens_map_name) (natlens_map_entries / natlens_map_capacity) > 0.8",
            "The window's map {{ $labels.natlens_map_name }} is more than 80 % full.",
            f"Before packets are lost: {WIDER}; for translations window_translations.",
        ),
    ),
    Metric(
        "natlens.map.capacity",
        "gauge",
        "{entry}",
        "Entries for which a map has room.",
        (Source("map_capacity", {"map": "natlens.map.name"}),),
        CHOSEN,
    ),
    Metric(
        "natlens.map.refused",
        "counter",
        "{entry}",
        "Entries for which a map had no room: translations not stored, generations of a reused port merged into one.",
        _kernel("dropped_*_full", rest="natlens.map.name"),
        Alert(
            "NatlensMapFull",
            added("natlens_map_refused_total", "natlens_map_name"),
            "The map {{ $labels.natlens_map_name }} was full.",
            "translations: raise window_translations, else records lack their NAT. retired: raise window_rows.",
        ),
    ),
    Metric(
        "natlens.map.memory",
        "gauge",
        "By",
        "Kernel memory of natlens' maps, which the process' own memory does not show.",
        (Source("map_memory_bytes", {"map": "natlens.map.name"}, known=tuple({"map": one} for one in MAPS)),),
        CHOSEN,
    ),
    Metric(
        "natlens.program.time",
        "counter",
        "s",
        "Time spent in natlens' programs; only while kernel.bpf_stats_enabled is 1.",
        (Source("program_time_ns", {"program": "natlens.program.name"}, scale=1e-9),),
        Alert(
            "NatlensProgramsSlow",
            "sum by (job, instance) (rate(natlens_program_time_seconds_total[5m])) / "
            "sum by (job, instance) (rate(natlens_program_runs_total[5m])) > 2e-6",
            "natlens' programs take more than 2 µs a packet.",
            "Compare with other nodes; report kernel and natlens version. exclude_interfaces leaves interfaces alone.",
            lasting="15m",
        ),
    ),
    Metric(
        "natlens.program.runs",
        "counter",
        "{run}",
        f"Packets that natlens' programs ({', '.join(PROGRAMS)}) saw; only while kernel.bpf_stats_enabled is 1.",
        (Source("program_runs", {"program": "natlens.program.name"}),),
        "is the node's traffic",
    ),
    Metric(
        "natlens.capture.events",
        "counter",
        "{packet}",
        "What else the kernel side counts, by name: " + "; ".join(f"{name}: {COUNTERS[name]}" for name in EVENTS) + ".",
        (Source("kernel_*", rest="natlens.event", known=tuple({"natlens.event": name} for name in EVENTS)),),
        "normal in small numbers: fragments, ICMP errors, other namespaces",
    ),
    Metric(
        "natlens.window.age",
        "gauge",
        "s",
        "Time since the last window was read and its records handed on.",
        (Source("window_age_s"),),
        Alert(
            "NatlensStuck",
            "max by (job, instance) (natlens_window_age_seconds) > 120",
            "natlens on {{ $labels.instance }} has read no window for two minutes.",
            "Read its log; /healthz fails too, so that Kubernetes restarts it. "
            "Raise the limit where interval is above 40 s.",
            "critical",
        ),
    ),
    Metric(
        "natlens.window.stage.count",
        "counter",
        "{window}",
        "Windows that went through a stage.",
        (Source("window_stage_count", {"stage": "natlens.stage"}),),
        NORMAL,
    ),
    Metric(
        "natlens.window.stage.time",
        "counter",
        "s",
        "Time that a stage took, of all windows: rate of this over rate of natlens.window.stage.count is one window's.",
        (Source("window_stage_time_us", {"stage": "natlens.stage"}, scale=1e-6),),
        Alert(
            "NatlensWindowsSlow",
            "sum by (job, instance) (rate(natlens_window_stage_time_seconds_total[10m])) > 0.5",
            "natlens on {{ $labels.instance }} spends half of its time on windows.",
            "Raise interval, narrow include_interfaces, or give it more CPU.",
            lasting="15m",
        ),
    ),
    Metric(
        "natlens.connection.live",
        "updown",
        "{connection}",
        "Connections that are remembered.",
        (Source("connections_live"),),
        "bounded by max_connections; records say lack_of_resources beyond that",
    ),
    Metric(
        "natlens.connection.count",
        "counter",
        "{connection}",
        "New connections by what is known of their translation: how it was learned (tc, ctnetlink, …), none where "
        "conntrack says that there is none, unknown where conntrack was not heard.",
        (
            Source(
                "connections_new",
                {"translation": "natlens.translation"},
                known=tuple(
                    {"translation": word}
                    for word in ("none", "unknown", *(one.name.lower() for one in TranslationSource if one))
                ),
            ),
        ),
        Alert(
            "NatlensTranslationUnknown",
            'sum by (job, instance) (rate(natlens_connection_count_total{natlens_translation="unknown"}[15m])) > '
            "0.5 * sum by (job, instance) (rate(natlens_connection_count_total[15m]))",
            "Of most new connections natlens does not know whether they are translated.",
            "natlens doctor tells which sources of translations this kernel lacks; without conntrack on the node "
            "this is normal, and the rule can go.",
            "info",
            "30m",
        ),
    ),
    Metric(
        "natlens.connection.ambiguous.io",
        "counter",
        "By",
        "Octets that could have been another connection's: two had the same addresses at the same time.",
        (Source("octets_ambiguous"),),
        Alert(
            "NatlensOctetsAmbiguous",
            added("natlens_connection_ambiguous_io_bytes_total"),
            "Octets could not be told apart between two connections.",
            "Their sum is right, its split is not. Many: overlapping conntrack zones, or clashes of DNS over UDP.",
            "info",
        ),
    ),
    Metric(
        "natlens.conntrack.not_asked",
        "counter",
        "{connection}",
        "One-way datagrams whose translation was not looked up: more than a window may ask for, or ctnetlink failed.",
        (Source("conntrack_not_asked"),),
        Alert(
            "NatlensConntrackNotAsked",
            added("natlens_conntrack_not_asked_total"),
            "Translations of one-way datagrams were not looked up.",
            "A port scan does that. Without one: check CAP_NET_ADMIN and nf_conntrack_netlink.",
            "info",
        ),
    ),
    Metric(
        "natlens.conntrack.overruns",
        "counter",
        "{overrun}",
        "How often events of conntrack were lost, because they came faster than they were read; all of conntrack was "
        "then read anew.",
        (Source("conntrack_overruns"),),
        Alert(
            "NatlensConntrackOverruns",
            added("natlens_conntrack_overruns_total"),
            "Events of conntrack were lost; connections that began and ended meanwhile may be without NAT.",
            "Only where nat_source is ctnetlink (see the log). More CPU for natlens, or nat_source: auto.",
            "info",
        ),
    ),
]
