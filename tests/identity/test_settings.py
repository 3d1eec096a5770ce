"""What the options say about names: which source, and what a mistake is answered with."""

from typing import Any

import pytest

from natlens.config import Options
from natlens.errors import ConfigError
from natlens.identity.settings import identity_settings, uses_kubernetes

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


@pytest.mark.parametrize(
    ("options", "environ", "uses"),
    [
        ({}, {}, False),
        ({}, POD, True),
        ({"kubernetes": "off"}, POD, False),
        ({"kubernetes": "on"}, {}, True),
        ({"kubeconfig": "/k"}, {}, True),
        ({"kubeconfig": "/k", "kubernetes": "off"}, {}, False),
        ({"identity_file": "/f"}, POD, False),
        ({"identity_file": "/f", "kubernetes": "off", "kubeconfig": "/k"}, POD, False),
    ],
)
def test_where_names_come_from(options: dict[str, Any], environ: dict[str, str], uses: bool) -> None:
    assert uses_kubernetes(Options(**options), environ) is uses


@pytest.mark.parametrize("options", [{"kubernetes": "on"}, {"kubeconfig": "/k"}])
def test_two_sources_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"identity_file is '/f' and names are to come .* leave one out"):
        uses_kubernetes(Options(identity_file="/f", **options), {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cluster_cidrs": ["10.0.0.0/8", "10/8x"]},
            r"cluster_cidrs has '10/8x', which is not a network \(.*\); write",
        ),
        ({"cluster_cidrs": ["10.0.0.1/8"]}, r"cluster_cidrs has '10.0.0.1/8', .*host bits"),
        ({"cidr_labels": {"corp": "10.0.0.0/8"}}, r"cidr_labels has 'corp', which is not a network"),
        ({"agents": "natlens"}, r"agents is 'natlens'; write the Service as NAMESPACE/NAME"),
        ({"agents": "a/b/c"}, r"agents is 'a/b/c'; write"),
    ],
)
def test_a_mistake_names_the_option_the_value_and_the_way_out(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        identity_settings(Options(**options))


def test_without_a_node_name_the_hosts_own_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Node-A")
    assert identity_settings(Options()).node_name == "node-a"
    assert identity_settings(Options(node_name="node-b")).node_name == "node-b"
