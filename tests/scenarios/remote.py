"""The world outside as another node with one pod, REMOTE, behind a tunnel."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from natlens.errors import KernelError
from natlens.ui.lab.namespaces import Namespace
from tests.scenarios.harness import Flow, Lab, Setup

__all__ = ["NEAR", "NEAR6", "REMOTE", "REMOTE6", "Ends", "outer", "overlay", "plain_device", "wireguard"]

REMOTE, REMOTE6 = "10.245.1.2", "fd00:245:1::2"
NEAR, FAR, NEAR6, FAR6 = "10.245.0.1", "10.245.0.2", "fd00:245::1", "fd00:245::2"  # in the tunnel
DEVICE = "tun1"
MTU = 1300  # of all inner packets: none is cut on its way
KEYS = [X25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2)]
WIREGUARD = 51820
QUIET = {"delay_first_probe_time": 600, "base_reachable_time_ms": 600_000}


class Ends(NamedTuple):
    """One node's end of the tunnel."""

    namespace: Namespace
    here: str
    there: str
    here6: str
    there6: str
    number: int  # 0 or 1


def plain_device(command: str) -> Callable[[Ends], None]:
    """Return what makes a device by ``ip link add``."""

    def make(ends: Ends) -> None:
        ends.namespace.ip(f"link add {DEVICE} " + command.format(**ends._asdict()))

    return make


def wireguard(ends: Ends) -> None:
    """Make a WireGuard device that knows the other end's key."""
    ends.namespace.ip(f"link add {DEVICE} type wireguard")
    own, other = KEYS[ends.number], KEYS[1 - ends.number]
    with ends.namespace.enter():
        from pyroute2 import WireGuard  # all of pyroute2, which the agent does without

        with WireGuard() as device:
            device.set(
                DEVICE,
                private_key=base64.b64encode(own.private_bytes_raw()).decode(),
                listen_port=WIREGUARD,
                peer={
                    "public_key": base64.b64encode(other.public_key().public_bytes_raw()).decode(),
                    "endpoint_addr": ends.there,
                    "endpoint_port": WIREGUARD,
                    "allowed_ips": ["0.0.0.0/0", "::/0"],
                },
            )


def _make(lab: Lab, make: Callable[[Ends], None]) -> None:
    node, other = lab.node, lab.node.outside
    both = (
        (lab.namespace, node.ip, other.ip, node.ip6, other.ip6, NEAR, NEAR6),
        (other.namespace, other.ip, node.ip, other.ip6, node.ip6, FAR, FAR6),
    )
    for number, (namespace, here, there, here6, there6, inner, inner6) in enumerate(both):
        try:
            make(Ends(namespace, here, there, here6, there6, number))
        except KernelError as error:
            pytest.skip(f"this kernel makes no such device: {error}")
        namespace.ip(f"""
            link set {DEVICE} mtu {MTU} up
            addr add {inner}/24 dev {DEVICE}
            addr add {inner6}/64 dev {DEVICE} nodad
        """)
        lab.node.disable_offloads(namespace, DEVICE)
        for family in ("ipv4", "ipv6"):  # no probe of a neighbour becomes an outer packet after the window was taken
            namespace.sysctl(**{f"{family}__neigh__{DEVICE}__{name}": value for name, value in QUIET.items()})


@contextmanager
def overlay(setup: Setup, make: Callable[[Ends], None]) -> Iterator[Lab]:
    """Yield a node that has begun; its pod is `client`, its taps `outside` (outer packets) and `inner`."""
    with Lab(setup) as lab:
        _make(lab, make)
        other = lab.node.outside.namespace
        other.ip(f"""
            addr add {REMOTE}/32 dev lo
            addr add {REMOTE6}/128 dev lo nodad
            route add 10.244.0.0/16 via {NEAR} dev {DEVICE} src {REMOTE}
            route add fd00:244::/32 via {NEAR6} dev {DEVICE} src {REMOTE6}
        """)
        lab.namespace.ip(f"""
            route add {REMOTE}/32 via {FAR} dev {DEVICE}
            route add {REMOTE6}/128 via {FAR6} dev {DEVICE}
        """)
        client = lab.pod("client")
        for namespace, device in ((client.namespace, "eth0"), (lab.namespace, client.device)):
            namespace.ip(f"link set {device} mtu {MTU}")
        lab.wire.tap("inner", other, DEVICE)
        lab.begin()
        yield lab


def outer(lab: Lab) -> list[Flow]:
    """Return the flows of the tunnel itself, as the uplink saw them."""
    lab.wire.settle()
    node = {lab.node.ip, lab.node.ip6}
    seen = lab.wires().get("outside", {})
    flows = []
    for one in seen:
        flow = Flow(one, dialled="outside", tracked=False)
        if one.turned() not in seen:
            flows.append(flow.silent())
        elif one.src in node:
            flows.append(flow.goes_on())
    return flows
