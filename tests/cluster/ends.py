"""Where a node's kube-proxy sends the calls of a Service, read from the rules that it wrote."""

import re
from collections.abc import Sequence, Set

from tests.cluster.api import Json
from tests.cluster.proxy import Proxy

__all__ = ["sends_to"]


def sends_to(proxy: Proxy, made: Json, places: Set[tuple[str, int]]) -> bool:
    """Tell whether the calls to a Service's cluster addresses end at these places, and at no other."""
    addresses = made["spec"]["clusterIPs"]
    find = _iptables_ends if proxy.mode == "iptables" else _nftables_ends
    return {(address, int(port)) for address, port in find(proxy.rules(), addresses)} == places


def _iptables_ends(rules: str, addresses: Sequence[str]) -> list[tuple[str, str]]:
    """Return where rules end for a Service's addresses; above 1,000 endpoints they have no comments."""
    own = "|".join(map(re.escape, addresses))
    chains = "|".join(re.findall(rf"^-A KUBE-SERVICES -d (?:{own})/\d+ .* -j (KUBE-SVC-\w+)$", rules, re.MULTILINE))
    used = set(re.findall(rf"^-A (?:{chains}) .*-j (KUBE-SEP-\w+)$", rules, re.MULTILINE))
    ends = re.findall(r"^-A (KUBE-SEP-\w+) .*--to-destination \[?(\S+?)\]?:(\d+)$", rules, re.MULTILINE)
    return [place for chain, *place in ends if chain in used]


def _nftables_ends(rules: str, addresses: Sequence[str]) -> list[tuple[str, str]]:
    own = "|".join(map(re.escape, addresses))
    chains = "|".join(map(re.escape, re.findall(rf"(?:{own}) \. \w+ \. \d+ : goto (service-[^\s,]+)", rules)))
    bodies = re.findall(rf"chain (?:{chains}) \{{.*?\}}\n", rules, re.DOTALL)
    return [pair for body in bodies for pair in re.findall(r"([\da-f.:]+)(?: \. |/)(\d+)", body)]
