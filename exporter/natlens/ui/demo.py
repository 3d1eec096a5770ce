"""``natlens demo``: a throwaway node, real traffic through real NAT, natlens beside it, and an account of both."""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from natlens.errors import KernelError, NatlensError
from natlens.kernel.probe import require
from natlens.otlp.jsonlines import parse_lines
from natlens.ui.lab.namespaces import NETNS, run
from natlens.ui.lab.nat import NftablesNat
from natlens.ui.lab.node import Node, Pod
from natlens.ui.lab.objects import manifest
from natlens.ui.lab.packets import TCP, UDP
from natlens.ui.lab.traffic import TcpServer, UdpServer, exchange, talk, udp_socket
from natlens.ui.lab.wire import Wire
from natlens.ui.records import Record, read_records

__all__ = ["main"]

SERVICE, SERVICE6, DNS, NODE_PORT = "10.96.0.10", "fd00:96::10", "10.96.0.53", 30080
WEB, NAMESERVER = 8080, 5353
ROUNDS, CALL_OCTETS = 6, 2000
START_S, STOP_S = 15.0, 20.0
ENDS = signal.SIGINT, signal.SIGTERM


@dataclass(frozen=True)
class Account:
    """What the wire carried and what natlens told of it."""

    connections: int
    records: int
    wire_bytes: int
    recorded_bytes: int
    dropped: int

    def line(self) -> str:
        """Return the result in one line."""
        return (
            f"demo: connections={self.connections} records={self.records} wire_bytes={self.wire_bytes} "
            f"recorded_bytes={self.recorded_bytes} dropped={self.dropped}"
        )

    def holds(self) -> bool:
        """Tell whether every connection has its one last record, to the byte."""
        return self.connections == self.records and self.wire_bytes == self.recorded_bytes and not self.dropped


def _services(node: Node, web: list[Pod], dns: Pod) -> None:
    nat = NftablesNat(node)
    nat.service(SERVICE, "tcp", 80, [(pod.ip, WEB) for pod in web])
    nat.service(SERVICE6, "tcp", 80, [(pod.ip6, WEB) for pod in web])
    nat.service(node.ip, "tcp", NODE_PORT, [(pod.ip, WEB) for pod in web], masquerade=True)
    nat.service(DNS, "udp", 53, [(dns.ip, NAMESERVER)])


def _objects(node: Node, web: list[Pod], dns: Pod, clients: list[Pod]) -> str:
    return manifest(
        node=(node.ip, node.ip6),
        pods={pod.name: (pod.ip, pod.ip6) for pod in [*web, dns, *clients]},
        services={
            "web": ((SERVICE, SERVICE6), "TCP", 80, WEB, NODE_PORT, [pod.name for pod in web]),
            "dns": ((DNS,), "UDP", 53, NAMESERVER, None, [dns.name]),
        },
    )


class Interruption:
    """SIGINT and SIGTERM, put off to where the demo asks: an exception anywhere would leave half-made things behind."""

    def __init__(self) -> None:
        self._number = 0

    def watch(self, stack: ExitStack) -> None:
        """Begin; ``stack`` ends it."""
        for number in ENDS:
            stack.callback(signal.signal, number, signal.signal(number, self._note))

    def _note(self, number: int, _: object) -> None:
        self._number = number

    def check(self) -> None:
        """End the demo if it was told to."""
        if self._number:
            raise SystemExit(128 + self._number)

    def ignore(self) -> None:
        """Let nothing cut the end short: `ip netns del` inherits this, and Ctrl-C goes to it as well."""
        for number in ENDS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _agent(node: Node, arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run ``natlens observe`` in the node's namespace, with its table on our screen."""
    command = ["nsenter", f"--net={node.namespace.path}", sys.executable, "-m", "natlens", "observe", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as agent:
        try:
            yield agent
        finally:
            with suppress(KernelError):  # another error, if there is one, says more
                _stop(agent)


def _stop(agent: subprocess.Popen[str]) -> str:
    """Let the agent flush and end; returns what it said, raises KernelError where it did not end well."""
    if agent.poll() is None:
        agent.terminate()
    try:
        said = agent.communicate(timeout=STOP_S)[1]
    except subprocess.TimeoutExpired:
        agent.kill()
        said = agent.communicate()[1]
    if agent.returncode:
        raise KernelError(f"natlens ended with status {agent.returncode}: {said.strip()}")
    return said


def _wait_for_start(agent: subprocess.Popen[str]) -> None:
    """Return when the agent says that it captures; raises KernelError with its own words where it does not."""
    if agent.stderr is None:
        raise KernelError("the agent's messages are not connected")
    said = []
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and (line := agent.stderr.readline()):
        said.append(line.strip())
        if "capturing on" in line:
            return
    raise KernelError(f"natlens did not start: {' '.join(said) or 'it said nothing'}")


def _call(node: Node, clients: list[Pod], interruption: Interruption) -> tuple[int, set[int]]:
    """Make the traffic; returns how many connections that was, and the node's own client ports."""
    made, own = 0, set()
    for _ in range(ROUNDS):
        interruption.check()
        for client in clients:
            talk(client.namespace, (SERVICE, 80), CALL_OCTETS)
            talk(client.namespace, (SERVICE6, 80), CALL_OCTETS)
            with udp_socket(client.namespace, (DNS, 53)) as resolver:
                exchange(resolver, 64)
        talk(node.outside.namespace, (node.ip, NODE_PORT), CALL_OCTETS)
        own.add(talk(node.namespace, (SERVICE, 80), CALL_OCTETS))
        made += 3 * len(clients) + 2
        time.sleep(0.3)
    return made, own


def _wire_bytes(wire: Wire, senders: dict[str, set[str]], node_ip: str, own_ports: set[int]) -> int:
    """Sum what each pod sent, and what the node itself sent to pods: every packet once, where it began."""
    total = 0
    for name in wire.names():
        for directed, count in wire.counts(name).items():
            if directed.proto not in (TCP, UDP):
                continue
            from_node = directed.src == node_ip and directed.sport in own_ports
            if directed.src in senders[name] or from_node:
                total += count.octets
    return total


def _read(output: Path) -> list[Record]:
    return [record for request in parse_lines(output.read_text()) for record in read_records(request)]


def _account(records: list[Record], connections: int, wire_bytes: int, dropped: int) -> Account:
    ours = [one.attributes for one in records if one.attributes.get("network.transport") in ("tcp", "udp")]
    ended = [one for one in ours if one["flow.end_reason"] != "active_timeout"]
    both = ("flow.bytes.total", "flow.reverse.bytes.total")
    recorded = sum(int(str(one[name])) for one in ended for name in both)
    return Account(connections, len(ended), wire_bytes, recorded, dropped)


def _pods(node: Node, names: Iterable[str], interruption: Interruption) -> list[Pod]:
    pods = []
    for name in names:
        interruption.check()
        pods.append(node.pod(name))
    return pods


def _run(output: Path, stack: ExitStack, interruption: Interruption) -> Account:
    """Build, capture, call, account. Everything made is on ``stack``."""
    _say("building a node of network namespaces: 6 pods, 2 Services, a NodePort …")
    node = stack.enter_context(Node())
    *web, dns = _pods(node, ("web-1", "web-2", "web-3", "dns-1"), interruption)
    clients = _pods(node, ("client-1", "client-2"), interruption)
    _services(node, web, dns)
    identity = Path(stack.enter_context(tempfile.TemporaryDirectory()), "objects.yaml")
    identity.write_text(_objects(node, web, dns, clients))
    for pod in web:
        stack.callback(TcpServer(pod.namespace, WEB).close)
    stack.callback(UdpServer(dns.namespace, NAMESERVER).close)
    wire = Wire()
    stack.callback(wire.close)
    senders = {pod.name: {pod.ip, pod.ip6} for pod in [*web, dns, *clients, node.outside]}
    for pod in [*web, dns, *clients, node.outside]:
        wire.tap(pod.name, pod.namespace)
    arguments = ["--translated-only", "--interval=1", f"--output={output}", f"--identity-file={identity}"]
    _say("natlens observe --translated-only, and calls through ClusterIP, NodePort, UDP and IPv6 …")
    with _agent(node, arguments) as agent:
        _wait_for_start(agent)
        connections, own_ports = _call(node, clients, interruption)
        wire.settle()
        time.sleep(1.2)  # one more interval, so that the last ones are seen live as well
        said = _stop(agent)
    return _account(_read(output), connections, _wire_bytes(wire, senders, node.ip, own_ports), _dropped(said))


def _dropped(said: str) -> int:
    """Sum every loss that the agent names in its last line."""
    last = next(line for line in reversed(said.splitlines()) if "stopped:" in line)
    return sum(int(number) for number in re.findall(r"dropped[^ =]*(?:\{[^}]*\})?=(\d+)", last))


def _remove_namespaces() -> None:
    """Remove what a node that was not finished left behind."""
    for path in NETNS.glob(f"nl{os.getpid()}-*"):
        run("ip", "netns", "del", path.name)


def _say(what: str) -> None:
    sys.stderr.write(f"demo: {what}\n")


def main(arguments: Sequence[str]) -> int:
    """Run the demo; returns 0 where what was recorded is what the wire carried, to the byte."""
    parser = argparse.ArgumentParser(prog="natlens demo", description=__doc__)
    parser.add_argument("--output", type=Path, help="keep the OTLP JSON lines in this file (default: a temporary one)")
    options = parser.parse_args(arguments)
    require()
    if os.geteuid() != 0:
        raise NatlensError("the demo makes network namespaces: run it as root")
    interruption = Interruption()
    with ExitStack() as stack:
        interruption.watch(stack)
        stack.callback(_remove_namespaces)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        output = options.output or directory / "records.jsonl"
        output.unlink(missing_ok=True)
        try:
            account = _run(output, stack, interruption)
        except NatlensError:
            interruption.check()  # Ctrl-C reached `ip` or the agent too, and that is what went wrong
            raise
        finally:
            interruption.ignore()
    if options.output:
        _say(f"the records are in {options.output}: natlens observe --input {options.output}")
    sys.stdout.write(account.line() + "\n")
    return 0 if account.holds() else 1
