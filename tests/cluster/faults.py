"""One node with an agent and two pods that talk, for tests in which the API server has its troubles."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from natlens.ui.lab.traffic import TcpServer, talk
from tests.agent.process import Agent, wait_until
from tests.cluster.agents import CURRENT, QUICK, Attributes
from tests.cluster.cluster import Cluster
from tests.cluster.pods import ClusterPod

__all__ = ["NODE", "WATCHED", "WEB", "Scene", "counters", "finish", "requests", "staged"]

NODE, WEB = "node-a", 8080
WATCHED = "services", "endpointslices", "pods", "node"
COUNTER = re.compile(r"(\w+)(?:\{([^}]*)\})?=(\d+)")
MOST_PER_SECOND = 2  # requests for one resource


class Scene:
    """``web`` answers whatever calls it; ``client`` is another pod. Both are there before any agent is."""

    def __init__(self, cluster: Cluster, directory: Path, stack: ExitStack) -> None:
        self.cluster, self.control, self.directory = cluster, cluster.control, directory
        self._stack = stack
        self._agents = 0
        self.client, self.web = (cluster.run_pod(name, NODE) for name in ("client", "web"))
        stack.enter_context(TcpServer(self.web.network, WEB))

    def start(
        self,
        *arguments: str,
        kubeconfig: Path | None = None,
        until: str = CURRENT,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Agent:
        """Start an agent, and wait until it says ``until``; it names pods by a kubeconfig, unless the arguments do."""
        self._agents += 1
        if kubeconfig is None and not environment:
            kubeconfig = self.control.kubeconfig(self.directory / "kubeconfig")
        access = () if kubeconfig is None else (f"--kubeconfig={kubeconfig}",)
        output = self.directory / f"records-{self._agents}.jsonl"
        options = *access, f"--node-name={NODE}", *QUICK, *arguments
        namespace = self.cluster.nodes[NODE].namespace
        agent = self._stack.enter_context(
            Agent(namespace, output, *options, before=before, environment=environment)
        ).started()
        if until:
            agent.wait_for(until)
        return agent

    def call(self, agent: Agent, source: ClusterPod, timeout: float = 20.0) -> Attributes:
        """Let a pod call ``web``; returns what the agent says of that."""
        port = talk(source.network, (self.web.ip, WEB), 100)
        wanted = {"source.address": source.ip, "source.port": port, "destination.address": self.web.ip}

        def found() -> list[dict[str, Any]]:
            return [one["attributes"] for one in agent.records() if wanted.items() <= one["attributes"].items()]

        wait_until(found, f"a record of {wanted}", timeout)
        (attributes,) = found()
        return attributes

    def check_named(self, agent: Agent, source: ClusterPod) -> None:
        """Check that a call from a pod has both names."""
        attributes = self.call(agent, source)
        said = [attributes.get(f"{role}.k8s.pod.uid") for role in ("source", "destination")]
        assert said == [source.uid, self.web.uid], attributes

    def await_named(self, agent: Agent, source: ClusterPod, timeout: float = 15.0) -> None:
        """Wait until calls from a pod have its name; until then they have none, or the right one."""
        deadline = time.monotonic() + timeout
        while (uid := self.call(agent, source).get("source.k8s.pod.uid")) != source.uid:
            assert uid is None, f"{source.name} is called by a wrong name"
            assert time.monotonic() < deadline, f"{source.name} has no name after {timeout:g} s; {agent.said}"

    def check_new_pod(self, agent: Agent, name: str, timeout: float = 15.0) -> None:
        """Make a pod, and wait for its name: the agent hears of changes."""
        self.await_named(agent, self.cluster.run_pod(name, NODE), timeout)

    def await_lines(self, agent: Agent, words: str, resources: Sequence[str] = WATCHED, timeout: float = 20.0) -> None:
        """Wait until the agent has said something of each resource."""
        for resource in resources:
            wait_until(partial(_of, agent, resource, words), f"{resource}: {words}; it said {agent.said}", timeout)

    @staticmethod
    def check_once(agent: Agent, words: str, resources: Sequence[str] = WATCHED) -> None:
        """Check that the agent said this of each resource, in one line for each way in which it failed."""
        for resource in resources:
            said = [line.partition(words)[0] for line in _of(agent, resource, words)]
            assert len({tuple(line.split(": ")[3:5]) for line in said}) == len(said) > 0, agent.said


@contextmanager
def staged(cluster: Cluster, directory: Path) -> Iterator[Scene]:
    """Set the scene; afterwards the cluster has no pods again. Every agent's requests were few."""
    with ExitStack() as stack:
        stack.callback(cluster.clear)
        yield Scene(cluster, directory, stack)


def finish(agent: Agent, began: float) -> dict[str, int]:
    """Stop an agent that has run since then (monotonic); return its counters when its requests were few."""
    agent.stop()
    most = MOST_PER_SECOND * (time.monotonic() - began + 1)
    for resource, count in requests(agent).items():
        assert count <= most, f"{count} requests for {resource}: {agent.said[-1]}"
    return counters(agent)


def counters(agent: Agent) -> dict[str, int]:
    """Return the numbers of an agent's last line, by name with attributes as it writes them."""
    (last,) = agent.lines("stopped: ")
    return {name + (f"{{{of}}}" if of else ""): int(value) for name, of, value in COUNTER.findall(last)}


def requests(agent: Agent, code: str = "") -> dict[str, int]:
    """Return how often an agent asked for each resource, or was answered so (or not at all)."""
    found: dict[str, int] = {}
    for name, value in counters(agent).items():
        told = re.fullmatch(r"identity_(?:requests|broken)\{code=([^,]+),resource=(\w+)\}", name)
        if told and (told[1] == code if code else name.startswith("identity_requests")):
            found[told[2]] = found.get(told[2], 0) + value
    return found


def _of(agent: Agent, resource: str, words: str) -> list[str]:
    return [line for line in agent.lines(words) if f" {resource}: " in line]
