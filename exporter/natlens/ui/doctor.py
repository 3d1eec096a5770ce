"""``natlens doctor``: what this machine can do, and what to do where it cannot."""

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from natlens import __version__
from natlens.config import Options, load
from natlens.errors import KernelError, MissingFeature
from natlens.health import Health
from natlens.kernel import libbpf
from natlens.kernel.capture import Capture
from natlens.kernel.coverage import Plan, plan
from natlens.kernel.links import list_links
from natlens.kernel.netlink import route_socket
from natlens.kernel.probe import VMLINUX_BTF, WHAT_FOR, Capabilities, Features
from natlens.kernel.windows import kernel_bytes
from natlens.ui.flags import Parser, add_flags, given_flags, refuse_unknown
from natlens.ui.rows import escape

__all__ = ["main"]

OK, LOST, NO = "ok", "lost", "NO"
INGRESS_OR_CLSACT = 0xFFFFFFF1  # TC_H_INGRESS, the parent of both qdiscs
MIB = 1 << 20


@dataclass(frozen=True)
class Line:
    """One thing looked at."""

    mark: str
    what: str
    found: str


def main(arguments: Sequence[str]) -> int:
    """Look and tell; returns 0 where natlens can run with these options, 1 where it cannot."""
    parser = Parser(prog="natlens doctor", description=__doc__, usage="%(prog)s [option of natlens run …]")
    add_flags(parser)
    parsed, extra = parser.parse_known_args(list(arguments))
    refuse_unknown(parser, extra)
    options = load(given_flags(parsed), os.environ).options
    lines = list(_needs())
    if _fit(lines):
        lines.append(_programs(options))
    lines += [*_features(), _memory(options)]
    report = [f"natlens {__version__} on {platform.system()} {platform.release()} ({platform.machine()})", ""]
    report += [f"{line.mark:<5} {line.what:<18} {line.found}" for line in lines]
    report += ["", *_interfaces(options, _attachment(options, lines))]
    report += ["", "natlens can run." if _fit(lines) else "natlens cannot run: see what is marked NO."]
    sys.stdout.write("\n".join(escape(line) for line in report) + "\n")
    return 0 if _fit(lines) else 1


def _fit(lines: Sequence[Line]) -> bool:
    return all(line.mark != NO for line in lines)


def _needs() -> Iterator[Line]:
    """Tell what natlens cannot do without."""
    if missing := Capabilities.read().missing():
        names = ", ".join("{} ({})".format(*WHAT_FOR[number]) for number in missing)
        way_out = "run as root, or add them (securityContext.capabilities.add, setcap)"
        yield Line(NO, "capabilities", f"missing {names}: {way_out}")
    else:
        yield Line(OK, "capabilities", ", ".join(name for name, _ in WHAT_FOR.values()))
    if VMLINUX_BTF.exists():
        yield Line(OK, "BTF", str(VMLINUX_BTF))
    else:
        yield Line(NO, "BTF", f"{VMLINUX_BTF} is not there: use a kernel with CONFIG_DEBUG_INFO_BTF (5.10 or later)")
    yield _tried("libbpf", libbpf.version)


def _tried(what: str, look: Callable[[], str]) -> Line:
    try:
        return Line(OK, what, look())
    except KernelError as error:
        return Line(NO, what, str(error))


def _programs(options: Options) -> Line:
    """Load the programs as `natlens run` does; nothing is attached."""

    def load_them() -> str:
        with closing(Capture(options, Health())) as capture:
            return f"this kernel takes them; attached by {capture.attached_by}"

    return _tried("programs", load_them)


def _features() -> Iterator[Line]:
    try:
        features = Features.probe()
    except MissingFeature:  # told by _needs
        return
    for finding in features.findings():
        yield Line(OK, finding.name, finding.by) if finding.present else Line(LOST, finding.name, finding.lost)


def _memory(options: Options) -> Line:
    size = kernel_bytes(options.window_rows, options.window_translations)
    windows = f"two windows of {options.window_rows} rows and {options.window_translations} translations"
    return Line(OK, "kernel memory", f"{size / MIB:.0f} MiB: {windows}")


def _attachment(options: Options, lines: Sequence[Line]) -> str:
    """Return how natlens attaches: as it said, or as it would if it were allowed to."""
    for line in lines:
        if line.what == "programs" and line.mark == OK:
            return line.found.rpartition(" ")[2]
    try:
        return "tcx" if options.attach != "clsact" and Features.probe().tcx else "clsact"
    except MissingFeature:
        return "clsact"


def _interfaces(options: Options, attachment: str) -> Iterator[str]:
    with route_socket() as route:
        links = {link.index: link for link in list_links(route)}
        qdiscs = [one for one in route.get_qdiscs() if one["parent"] == INGRESS_OR_CLSACT]
    blocked = {one["index"] for one in qdiscs if attachment == "clsact" and one.get_attr("TCA_KIND") == "ingress"}
    width = max(len("INTERFACE"), *(len(escape(link.name)) for link in links.values()))
    yield f"{'INTERFACE':<{width}}  {'COVERED':<15}  WHY"
    for index, one in plan(links.values(), options.include_interfaces, options.exclude_interfaces).items():
        sides, why = _covered(one, blocked=index in blocked)
        yield f"{escape(links[index].name):<{width}}  {sides:<15}  {why}"


def _covered(one: Plan, *, blocked: bool) -> tuple[str, str]:
    sides = [name for name, program in (("ingress", one.ingress), ("egress", one.egress)) if program]
    if blocked and one.egress:
        lost = "what the host sends there is not counted, NAT is not learned there"
        return sides[0] if one.ingress else "nothing", f"an `ingress` qdisc stands where clsact would: {lost}"
    return ", ".join(sides) or "nothing", one.reason
