"""NAT as kube-proxy makes it: what is dialled becomes a backend, by nftables or by iptables-nft."""

from collections.abc import Sequence

from natlens.ui.lab.node import Node

__all__ = ["IptablesNat", "Nat", "NftablesNat"]

PODS, PODS6 = "10.244.0.0/16", "fd00:244::/32"
MARK = "0x4000"  # kube-proxy's "masquerade this"


def _socket_address(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class NftablesNat:
    """Rules in tables of its own, ``ip lab`` and ``ip6 lab``."""

    def __init__(self, node: Node) -> None:
        """Make the chains: prerouting and output translate destinations, postrouting sources."""
        self._node = node
        for family in ("ip", "ip6"):
            self.load(f"""
                add table {family} lab
                add chain {family} lab pre {{ type nat hook prerouting priority -100; }}
                add chain {family} lab out {{ type nat hook output priority -100; }}
                add chain {family} lab post {{ type nat hook postrouting priority 100; }}
                add rule {family} lab post meta mark and {MARK} == {MARK} masquerade
            """)

    def load(self, rules: str) -> None:
        """Load nft commands."""
        self._node.nft("\n".join(line.strip() for line in rules.splitlines()) + "\n")

    def service(
        self, address: str, protocol: str, port: int, backends: Sequence[tuple[str, int]], *, masquerade: bool = False
    ) -> None:
        """Translate ``address:port``; several backends take turns. ``masquerade`` hides the client, as for NodePort."""
        family = "ip6" if ":" in address else "ip"
        mark = f"meta mark set meta mark or {MARK} " if masquerade else ""
        choices = ", ".join(f"{index} : {to} . {at}" for index, (to, at) in enumerate(backends))
        target = (
            f"to {_socket_address(*backends[0])}"
            if len(backends) == 1
            else f"{family} to numgen inc mod {len(backends)} map {{ {choices} }}"
        )
        for chain in ("pre", "out"):
            rule = f"{family} daddr {address} {protocol} dport {port} {mark}dnat {target}"
            self.load(f"add rule {family} lab {chain} {rule}")

    def masquerade(self, *, device: str) -> None:
        """Hide pods behind the node where they leave by ``device``."""
        for family, pods in (("ip", PODS), ("ip6", PODS6)):
            self.load(f"add rule {family} lab post {family} saddr {pods} oifname {device} masquerade")

    def redirect(self, address: str, protocol: str, port: int, to: int) -> None:
        """Let what pods send to ``address:port`` end at the node's own port ``to``."""
        family = "ip6" if ":" in address else "ip"
        self.load(f"add rule {family} lab pre {family} daddr {address} {protocol} dport {port} redirect to :{to}")

    def hairpin(self, address: str) -> None:
        """Hide a pod from itself when it calls its own Service."""
        family = "ip6" if ":" in address else "ip"
        self.load(f"add rule {family} lab post {family} saddr {address} {family} daddr {address} masquerade")


class IptablesNat:
    """The same by iptables-nft."""

    def __init__(self, node: Node) -> None:
        """Make the masquerade rule that the mark asks for."""
        self._node = node
        self._rule("ip", f"POSTROUTING -m mark --mark {MARK}/{MARK} -j MASQUERADE")
        self._rule("ip6", f"POSTROUTING -m mark --mark {MARK}/{MARK} -j MASQUERADE")

    def _rule(self, family: str, *rules: str) -> None:
        tool = "ip6tables-nft-restore" if family == "ip6" else "iptables-nft-restore"
        lines = "".join(f"-A {rule}\n" for rule in rules)
        self._node.namespace.run(tool, "--noflush", stdin=f"*nat\n{lines}COMMIT\n")

    def service(
        self, address: str, protocol: str, port: int, backends: Sequence[tuple[str, int]], *, masquerade: bool = False
    ) -> None:
        """As :meth:`NftablesNat.service`; the statistic module takes turns."""
        family = "ip6" if ":" in address else "ip"
        dialled = f"-d {address} -p {protocol} --dport {port}"
        rules: list[str] = []
        for chain in ("PREROUTING", "OUTPUT"):
            if masquerade:
                rules.append(f"{chain} {dialled} -j MARK --set-xmark {MARK}/{MARK}")
            for index, backend in enumerate(backends):
                left = len(backends) - index
                turn = f"-m statistic --mode nth --every {left} --packet 0" if left > 1 else ""
                rules.append(f"{chain} {dialled} {turn} -j DNAT --to-destination {_socket_address(*backend)}")
        self._rule(family, *rules)

    def masquerade(self, *, device: str) -> None:
        """As :meth:`NftablesNat.masquerade`."""
        for family, pods in (("ip", PODS), ("ip6", PODS6)):
            self._rule(family, f"POSTROUTING -s {pods} -o {device} -j MASQUERADE")

    def redirect(self, address: str, protocol: str, port: int, to: int) -> None:
        """As :meth:`NftablesNat.redirect`."""
        rule = f"PREROUTING -d {address} -p {protocol} --dport {port} -j REDIRECT --to-ports {to}"
        self._rule("ip6" if ":" in address else "ip", rule)

    def hairpin(self, address: str) -> None:
        """As :meth:`NftablesNat.hairpin`."""
        self._rule("ip6" if ":" in address else "ip", f"POSTROUTING -s {address} -d {address} -j MASQUERADE")


Nat = NftablesNat | IptablesNat
