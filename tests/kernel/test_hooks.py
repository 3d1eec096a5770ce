"""The hooks on nf_nat_manip_pkt: where the kernel has them they fill a window's translations; else it says why."""

import socket
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from natlens.errors import KernelError, MissingFeature
from natlens.kernel import hooks, libbpf, sources
from natlens.kernel.hooks import Hook, attach_hook
from natlens.kernel.sources import choose_source
from natlens.kernel.structs import TranslationSource
from natlens.kernel.windows import Window, Windows
from natlens.ui.lab.nat import NftablesNat
from natlens.ui.lab.node import Node, Pod
from natlens.ui.lab.traffic import TcpServer, talk
from tests.kernel.conftest import Load

SERVICE = "10.96.0.10"
WAYS = [(name, way) for name, ways in hooks.WAYS.items() for way in ways]


class Place(NamedTuple):
    """A node with two pods."""

    made: Node
    client: Pod
    server: Pod


@pytest.fixture(scope="module")
def node() -> Iterator[Place]:
    with Node() as made:
        yield Place(made, made.pod("client"), made.pod("server"))


@pytest.fixture(params=WAYS, ids=lambda of: of[1].name)
def hooked(request: pytest.FixtureRequest, node: Place, load: Load) -> Iterator[tuple[str, Windows]]:
    """Yield how natlens is attached in the node's namespace, and the windows that fill."""
    name, way = request.param
    loaded = load()
    with node.made.namespace.enter():
        try:
            hook = Hook(loaded, way)
        except KernelError as error:
            pytest.skip(f"{way.name}: {str(error).split(' | ')[0]}")
    node.made.namespace.run("nft", "flush", "ruleset")
    node.made.namespace.run("conntrack", "-F")
    yield name, Windows(loaded)
    hook.close()


class Nothing:
    """No maps: nothing gets as far as asking for one."""

    def map_fd(self, name: str) -> int:
        raise AssertionError(name)


def text(packed: np.ndarray) -> str:
    return socket.inet_ntoa(packed.tobytes()[12:])


def told(window: Window) -> set[tuple[str, int, str, int]]:
    """Return (dialled, its port, answered, its port) of each translation."""
    key = window.translations["key"]
    return {
        (
            text(one["original"]["dst"]),
            int(one["original"]["dport"]),
            text(one["reply"]["src"]),
            int(one["reply"]["sport"]),
        )
        for one in key
    }


def test_one_row_a_connection_and_it_is_complete(hooked: tuple[str, Windows], node: Place) -> None:
    """At the first hit REPLY lacks the masquerade: that must not become a translation."""
    name, windows = hooked
    client, server = node.client, node.server
    nat = NftablesNat(node.made)
    nat.service(SERVICE, "tcp", 80, [(server.ip, 8080)], masquerade=True)
    with TcpServer(server.namespace, 8080):
        port = talk(client.namespace, (SERVICE, 80), 3000)
    (one,) = windows.take().translations
    original, reply, value = one["key"]["original"], one["key"]["reply"], one["value"]
    assert (text(original["src"]), int(original["sport"])) == (client.ip, port)
    assert (text(original["dst"]), text(reply["src"]), text(reply["dst"])) == (SERVICE, server.ip, server.gateway)
    assert value["source"] == TranslationSource[name.upper()]
    assert 0 < value["first_ns"] < value["last_ns"]
    assert value["forward_octets"] > 3000  # each packet once, though both of its ends are changed
    assert value["forward_octets"] < 2 * 3000
    names = {value["forward_ifindex"], value["reply_ifindex"]}
    with node.made.namespace.enter():
        assert names == {socket.if_nametoindex(pod.device) for pod in (client, server)}


def test_what_is_not_translated_and_what_is_elsewhere_leaves_no_row(hooked: tuple[str, Windows], node: Place) -> None:
    _, windows = hooked
    client, server = node.client, node.server
    rule = f"ip daddr {SERVICE} tcp dport 80 dnat to {server.ip}:8080"
    client.namespace.run(
        "nft", "-f", "-", stdin=f"table ip own {{ chain o {{ type nat hook output priority -100; {rule}; }}; }}\n"
    )
    try:
        with TcpServer(server.namespace, 8080):
            talk(client.namespace, (server.ip, 8080))
            talk(client.namespace, (SERVICE, 80))  # by the client's own NAT
    finally:
        client.namespace.run("nft", "flush", "ruleset")
    assert told(windows.take()) == set()


def test_a_window_has_the_translations_of_its_own_packets(hooked: tuple[str, Windows], node: Place) -> None:
    _, windows = hooked
    client, server = node.client, node.server
    nat = NftablesNat(node.made)
    for port in (80, 81):
        nat.service(SERVICE, "tcp", port, [(server.ip, 8080)])
    with TcpServer(server.namespace, 8080):
        for port in (80, 81):
            talk(client.namespace, (SERVICE, port))
            assert told(windows.take()) == {(SERVICE, port, server.ip, 8080)}
    assert told(windows.take()) == set()


@pytest.mark.parametrize("name", ["fentry", "kprobe"])
def test_a_hook_that_cannot_be_attached_says_in_one_line_why(name: str) -> None:
    """Every kernel refuses maps that are not there."""
    without = libbpf.Object(hooks.OBJECT)
    try:
        with pytest.raises(MissingFeature, match=f"^{name}.*: map ") as caught:
            attach_hook(name, without)
        assert "\n" not in str(caught.value)
    finally:
        without.close()


@pytest.mark.parametrize("name", ["fentry", "kprobe"])
def test_where_memory_cannot_be_read_no_hook_is_tried(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "reads_memory", lambda: False)
    with pytest.raises(MissingFeature, match=f"^{name} reads the kernel's memory, too$"):
        attach_hook(name, Nothing())


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every hook be refused; returns which ones were tried."""
    tried: list[str] = []

    def attach(name: str, _: object) -> Hook:
        tried.append(name)
        raise MissingFeature(f"{name}: Operation not permitted")

    monkeypatch.setattr(sources, "attach_hook", attach)
    return tried


def test_without_packets_and_hooks_events_are_taken_and_a_line_says_so(
    refused: list[str], load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sources, "reads_memory", lambda: False)
    source = choose_source("auto", load())
    try:
        assert source.name == "ctnetlink"
        assert source.events
    finally:
        source.close()
    assert refused == ["fentry", "kprobe"]
    (line,) = caplog.messages
    assert line.startswith("NAT is learned by ctnetlink: lockdown: confidentiality lets no tc program read")
    assert "fentry: Operation not permitted; kprobe: Operation not permitted" in line


@pytest.mark.parametrize("name", ["fentry", "kprobe"])
def test_what_is_asked_for_and_cannot_be_had_is_an_error_with_the_way_out(
    refused: list[str], load: Load, name: str
) -> None:
    with pytest.raises(MissingFeature, match=f"nat_source: {name}: cannot be had: .*not permitted. Use auto"):
        choose_source(name, load())
    assert refused == [name]


def test_packets_that_cannot_be_read_are_an_error_where_they_are_asked_for(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "reads_memory", lambda: False)
    with pytest.raises(MissingFeature, match=r"nat_source: tc: .*lockdown: confidentiality.*use auto"):
        choose_source("tc", load())


def test_no_source_at_all_is_said_and_goes_on(
    refused: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def events(**_: object) -> None:
        raise KernelError("ctnetlink does not answer: no")

    monkeypatch.setattr(sources, "reads_memory", lambda: False)
    monkeypatch.setattr(sources, "Events", events)
    source = choose_source("auto", Nothing())
    assert (source.name, source.events) == ("none", None)
    assert "NAT is not learned" in caplog.text
    assert refused
