"""``natlens resolve``: what an address is, or was, and why."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from natlens.config import Options, load
from natlens.errors import ConfigError, IdentityError
from natlens.flows.tuples import SCTP, TCP, UDP
from natlens.health import Health
from natlens.identity.endpoint import Endpoint
from natlens.identity.explain import Explanation
from natlens.identity.intervals import SECOND
from natlens.identity.objects import canonical
from natlens.identity.settings import uses_kubernetes
from natlens.ui.explained import explained, moment
from natlens.ui.flags import Parser, add_flags, given_flags, refuse_unknown
from natlens.ui.rows import escape

if TYPE_CHECKING:
    from natlens.identity.cluster import Cluster

__all__ = ["main"]

TRANSPORTS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
ROUND_S, PATIENCE_S = 2.0, 30.0
UNNAMED = 1
"""Exit status where nothing is known, or too much."""


class Question(NamedTuple):
    """What is asked."""

    address: str
    port: int
    transport: str
    at_ns: int


def main(arguments: Sequence[str]) -> int:
    """Tell what an address was; returns 0 where it has a name, 1 where it has none."""
    parser = _parser()
    parsed, extra = parser.parse_known_args(list(arguments))
    refuse_unknown(parser, extra)
    if parsed.address is None:
        raise ConfigError("resolve needs an address, such as 10.96.0.10:80 or [fd00::1]:80")
    asked = _question(parsed)
    options = load(given_flags(parsed), os.environ).options
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="natlens: %(levelname)s: %(message)s")
    found = _explain(options, asked)
    sys.stdout.write("\n".join(escape(line) for line in _report(asked, found)) + "\n")
    return 0 if found.endpoint != Endpoint() else UNNAMED


def _parser() -> Parser:
    parser = Parser(prog="natlens resolve", description=__doc__, usage="%(prog)s ADDRESS[:PORT] [option …]")
    parser.add_argument("address", metavar="ADDRESS[:PORT]", nargs="?", help="such as 10.96.0.10:80 or [fd00::1]:80")
    group = parser.add_argument_group("what is asked")
    group.add_argument("--at", metavar="TIME", help="ISO 8601, UTC if it does not say (now)")
    group.add_argument("--transport", choices=[*TRANSPORTS], default="tcp", help="whose port it is (tcp)")
    add_flags(parser)
    return parser


def _question(parsed: argparse.Namespace) -> Question:
    text = parsed.address
    bare = canonical(text.removeprefix("[").removesuffix("]"))
    host, _, port = (text, "", "0") if bare else text.rpartition(":")
    address = bare or canonical(host.removeprefix("[").removesuffix("]"))
    if address is None or not port.isdecimal() or not int(port) < 1 << 16:
        raise ConfigError(f"{text[:60]!r} is not an address; write it as 10.96.0.10, 10.96.0.10:80 or [fd00::1]:80")
    return Question(address, int(port), parsed.transport, time.time_ns() if parsed.at is None else _time(parsed.at))


def _time(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
        at = found if found.tzinfo else found.replace(tzinfo=UTC)
        return int(at.timestamp() * SECOND)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--at is {text[:60]!r}; write a time such as 2026-11-25T14:00:00Z") from error


def _explain(options: Options, asked: Question) -> Explanation:
    question = asked.address, asked.port, TRANSPORTS[asked.transport], asked.at_ns
    if uses_kubernetes(options, os.environ):
        from natlens.identity.cluster import Cluster  # urllib3, OpenSSL

        cluster = Cluster.open(options, Health())
        with closing(cluster):
            cluster.start()
            _wait(cluster)
            return cluster.explain(*question)
    if options.identity_file:
        from natlens.identity.static import StaticFile  # YAML

        return StaticFile(options.identity_file, Health()).explain(*question)
    raise ConfigError("no source of names: give --kubeconfig, --kubernetes on, or --identity-file")


def _wait(cluster: "Cluster") -> None:
    begin = time.monotonic()
    while not cluster.wait_synced(ROUND_S):
        waited = time.monotonic() - begin
        if waited > PATIENCE_S:
            raise IdentityError(
                f"the Kubernetes API has not told everything within {waited:.0f} s; see the warnings above"
            )
        sys.stderr.write(f"natlens: asking the Kubernetes API, {waited:.0f} s …\n")


def _report(asked: Question, found: Explanation) -> Iterator[str]:
    host = f"[{asked.address}]" if ":" in asked.address else asked.address
    place = f"{host}:{asked.port}/{asked.transport}" if asked.port else asked.address
    yield f"{place} at {moment(asked.at_ns)}"
    yield from explained(found)
