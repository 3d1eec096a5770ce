"""``natlens resolve``: the name, why it is that, and what a mistake is answered with."""

import os
from pathlib import Path

import pytest

from natlens.errors import ConfigError
from natlens.ui.cli import main
from natlens.ui.resolve import main as resolve

OBJECTS = r"""
apiVersion: v1
kind: Pod
metadata:
  {name: web-1, namespace: shop, uid: u-web, ownerReferences: [{kind: StatefulSet, name: web, controller: true}]}
spec: {nodeName: n1}
status: {phase: Running, podIPs: [{ip: 10.1.0.1}, {ip: "fd01::1"}], hostIP: 192.0.2.1}
---
apiVersion: v1
kind: Pod
metadata: {name: "tab\t", namespace: shop}
status: {podIP: 10.1.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: twin-1, namespace: shop}
status: {podIP: 10.1.0.3}
---
apiVersion: v1
kind: Pod
metadata: {name: twin-2, namespace: shop}
status: {podIP: 10.1.0.3}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80, nodePort: 30080}, {port: 53, nodePort: 30053, protocol: UDP}]}
"""


@pytest.fixture
def option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in os.environ:
        if name.startswith(("NATLENS_", "KUBERNETES_")):
            monkeypatch.delenv(name)
    file = tmp_path / "objects.yaml"
    file.write_text(OBJECTS)
    return f"--identity-file={file}"


@pytest.mark.parametrize(
    "address", ["10.1.0.1", "10.1.0.1:8080", "fd01::1", "[fd01::1]", "[fd01::1]:8080", "FD01:0::1"]
)
def test_a_pod_by_any_way_to_write_its_address(address: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resolve", address, option]) == 0
    shown = capsys.readouterr().out
    assert "  k8s.pod.name        web-1\n" in shown
    assert "  k8s.owner.type      StatefulSet\n" in shown
    assert "won      Pod shop/web-1  pod address" in shown


@pytest.mark.parametrize(
    ("question", "outcomes"),
    [
        (["192.0.2.1:30080"], {("won", "Service shop/web"), ("lost", "Node n1")}),
        (["192.0.2.1:30053"], {("won", "Node n1")}),
        (["192.0.2.1:30053", "--transport=udp"], {("won", "Service shop/web"), ("lost", "Node n1")}),
    ],
)
def test_the_port_decides_where_it_is_how_one_tells(
    question: list[str], outcomes: set[tuple[str, str]], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resolve", *question, option]) == 0
    rows = capsys.readouterr().out.partition("OUTCOME")[2].splitlines()[1:]
    assert {(row.split()[0], " ".join(row.split()[1:3])) for row in rows} == outcomes


def test_two_owners_are_no_name(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resolve", "10.1.0.3", option]) == 1
    shown = capsys.readouterr().out
    assert "has no name: more than one object may have had it then" in shown
    assert shown.count("ambiguous  Pod shop/twin-") == 2


def test_an_unknown_address_is_said_to_be_unknown(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resolve", "203.0.113.1:443", "--at=2026-01-02T03:04:05", option]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "203.0.113.1:443/tcp at 2026-01-02T03:04:05Z",
        "  has no name: no object says that it is its own",
    ]


def test_a_name_cannot_act_upon_the_terminal(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resolve", "10.1.0.2", option]) == 0
    shown = capsys.readouterr().out
    assert r"k8s.pod.name        tab\t" in shown
    assert "\t" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "resolve needs an address"),
        (["web"], "'web' is not an address; write it as"),
        (["10.1.0.1:x"], "'10.1.0.1:x' is not an address"),
        (["10.1.0.1:65536"], "'10.1.0.1:65536' is not an address"),
        (["10.1.0.1", "--at=noon"], "--at is 'noon'; write a time such as"),
        (["10.1.0.1", "--att=noon"], "unknown argument '--att'; did you mean --at?"),
        (["10.1.0.1", "--transport=icmp"], "invalid choice: 'icmp'"),
    ],
)
def test_a_mistake_is_answered_in_one_line(arguments: list[str], message: str, option: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve([*arguments, option])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("option")
def test_without_a_source_of_names_it_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="no source of names: give --kubeconfig, --kubernetes on, or --identity-file"):
        resolve(["10.1.0.1"])
