"""What the options say about names, checked."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

from natlens.config import Options
from natlens.errors import ConfigError
from natlens.identity.intervals import SECOND
from natlens.identity.networks import Network

__all__ = ["IdentitySettings", "identity_settings", "uses_kubernetes"]

IN_A_POD = "KUBERNETES_SERVICE_HOST"
"""The kubelet sets it in every container."""


@dataclass(frozen=True, kw_only=True)
class IdentitySettings:
    """What the index and those who feed it need to know."""

    node_name: str
    pods: Literal["node", "node+lookup", "cluster", "off"] = "node"
    wait_ns: int = 2 * SECOND
    """How late an event may be and still be in time for a record."""
    grace_ns: int = 60 * SECOND
    """How long names outlive what they name."""
    labels: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()
    cluster_cidrs: tuple[Network, ...] = ()
    cidr_labels: tuple[tuple[Network, str], ...] = ()
    agents: tuple[str, str] | None = None
    """Namespace and name of natlens' own headless Service."""


def uses_kubernetes(options: Options, environ: Mapping[str, str]) -> bool:
    """Tell whether names come from the Kubernetes API; raises ConfigError where two sources are asked for."""
    asked = options.kubernetes == "on" or (options.kubernetes == "auto" and options.kubeconfig is not None)
    if asked and options.identity_file:
        raise ConfigError(
            f"identity_file is {options.identity_file!r} and names are to come from the Kubernetes API too; leave one "
            "out (kubernetes: off, or no kubeconfig, keeps the file)"
        )
    return asked or (options.kubernetes == "auto" and not options.identity_file and IN_A_POD in environ)


def identity_settings(options: Options) -> IdentitySettings:
    """Return the settings; raises ConfigError that names the option, the value and the way out."""
    return IdentitySettings(
        node_name=options.node_name or socket.gethostname().lower(),  # the kubelet's own default
        pods=options.pods,
        wait_ns=int(options.name_wait * SECOND),
        grace_ns=int(options.name_grace * SECOND),
        labels=frozenset(options.labels),
        annotations=frozenset(options.annotations),
        cluster_cidrs=tuple(_network("cluster_cidrs", text) for text in options.cluster_cidrs),
        cidr_labels=tuple((_network("cidr_labels", text), label) for text, label in options.cidr_labels.items()),
        agents=_service(options.agents) if options.agents else None,
    )


def _network(option: str, text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ConfigError(
            f"{option} has {text[:60]!r}, which is not a network ({error}); write it as 10.0.0.0/8 or fd00::/8"
        ) from error


def _service(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise ConfigError(f"agents is {text[:60]!r}; write the Service as NAMESPACE/NAME")
    return namespace, name
