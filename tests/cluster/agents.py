"""natlens on nodes of the cluster, with the rights that its chart gives, and what it said of a call."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.agent.process import Agent, wait_until
from tests.cluster.cluster import Cluster
from tests.collector.records import LogRecord

__all__ = ["QUICK", "Agents", "Attributes", "Call"]

Attributes = Mapping[str, Any]
QUICK = "--interval=0.5", "--name-wait=1"
CURRENT = "names are current"


class Call:
    """A connection by what its initiator knows: who, from which port, to whom."""

    def __init__(self, source: str, port: int, destination: str, destination_port: int, transport: str = "tcp") -> None:
        self.wanted: dict[str, Any] = {
            "source.address": source,
            "source.port": port,
            "destination.address": destination,
            "destination.port": destination_port,
            "network.transport": transport,
        }

    @property
    def family(self) -> str:
        """Return its ``network.type``."""
        return "ipv6" if ":" in self.wanted["source.address"] else "ipv4"

    @property
    def transport(self) -> str:
        """Return its ``network.transport``."""
        return str(self.wanted["network.transport"])

    def matches(self, record: LogRecord) -> bool:
        return self.wanted.items() <= record["attributes"].items()


class Agents:
    """One agent a node; a context manager.

    ``kubeconfig`` is natlens' own if none is given; ``arguments`` are added to those that make it quick.
    """

    def __init__(
        self,
        cluster: Cluster,
        directory: Path,
        *arguments: str,
        nodes: Sequence[str] = ("node-a", "node-b"),
        kubeconfig: Path | None = None,
    ) -> None:
        self._cluster, self._directory = cluster, directory
        self._arguments, self._nodes = arguments, nodes
        directory.mkdir(parents=True, exist_ok=True)
        self._kubeconfig = kubeconfig or cluster.control.kubeconfig(directory / "kubeconfig")
        self._stack = ExitStack()
        self._files: dict[str, list[Agent]] = {name: [] for name in nodes}

    def start(self, node: str, *, until: str = CURRENT) -> Agent:
        """Start the agent of a node, once more perhaps; returns it when it captures and says ``until``."""
        return self._await(self._launch(node), until)

    def _launch(self, node: str) -> Agent:
        output = self._directory / f"{node}-{len(self._files[node])}.jsonl"
        options = f"--kubeconfig={self._kubeconfig}", f"--node-name={node}", *QUICK, *self._arguments
        agent = self._stack.enter_context(Agent(self._cluster.nodes[node].namespace, output, *options))
        self._files[node].append(agent)
        return agent

    @staticmethod
    def _await(agent: Agent, until: str) -> Agent:
        agent.started()
        if until:
            agent.wait_for(until)
        return agent

    def agent(self, node: str) -> Agent:
        """Return a node's agent, the last one."""
        return self._files[node][-1]

    def stop(self) -> None:
        """Ask all to leave: they flush."""
        for agents in self._files.values():
            if agents and agents[-1].running:
                agents[-1].stop()

    def records(self, node: str) -> list[LogRecord]:
        """Return what a node's agents wrote so far."""
        return [record for agent in self._files[node] for record in agent.records()]

    def of(self, call: Call, node: str) -> list[LogRecord]:
        """Return a node's records of a call so far."""
        return [record for record in self.records(node) if call.matches(record)]

    def wait_for(self, call: Call, node: str, timeout: float = 10.0) -> Attributes:
        """Return the attributes of the only record of a call that is over, as soon as it is there."""
        wait_until(lambda: self.of(call, node), f"a record of {call.wanted} from {node}", timeout)
        found = self.of(call, node)
        assert len(found) == 1, found
        return found[0]["attributes"]

    def __enter__(self) -> Self:
        try:
            for agent in [self._launch(node) for node in self._nodes]:
                self._await(agent, CURRENT)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
