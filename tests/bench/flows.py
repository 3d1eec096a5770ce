"""What the join costs: 100,000 connections in one window, half of them translated."""

import numpy as np

from natlens.flows.join import Carry, join
from natlens.flows.report import Limits
from natlens.flows.tuples import inverse, pack_address
from natlens.kernel.structs import Side
from natlens.kernel.windows import ROWS, TRANSLATIONS, Window
from tests.bench.figure import median_s, say, tell

__all__ = ["joined"]

CONNECTIONS = 100_000
SECOND = 10**9
LIMITS = Limits(30 * SECOND, 600 * SECOND, SECOND // 4, 10**6)


def _window() -> Window:
    """Return a window of TCP connections in their middle: a row a direction, as they come in before NAT."""
    rng = np.random.default_rng(1)
    half = CONNECTIONS // 2
    original = np.zeros(CONNECTIONS, ROWS["key"]["tuple"])
    original["src"] = np.frombuffer(pack_address("10.244.0.0"), np.uint8)
    original["src"][:, 13:] = rng.integers(0, 256, (CONNECTIONS, 3))
    original["dst"] = np.frombuffer(pack_address("10.96.0.0"), np.uint8)
    original["dst"][:, 14:] = rng.integers(0, 256, (CONNECTIONS, 2))
    original["sport"], original["dport"] = rng.integers(32768, 61000, CONNECTIONS), 80
    original["proto"], original["family"] = 6, 4
    translated = original.copy()
    translated["dst"][:half] = np.frombuffer(pack_address("10.245.0.0"), np.uint8)
    translated["dst"][:half, 14:] = rng.integers(0, 256, (half, 2))
    translated["dport"][:half] = 8080
    rows = np.zeros(2 * CONNECTIONS, ROWS)
    rows["key"]["tuple"] = np.concatenate([original, inverse(translated)])
    rows["key"]["ifindex"] = np.repeat([3, 4], CONNECTIONS)
    rows["key"]["side"] = Side.INGRESS
    rows["value"]["octets"], rows["value"]["packets"] = 5000, 10
    rows["value"]["first_ns"], rows["value"]["last_ns"] = 1 * SECOND, 5 * SECOND
    translations = np.zeros(half, TRANSLATIONS)
    translations["key"]["original"], translations["key"]["reply"] = original[:half], inverse(translated[:half])
    translations["value"]["first_ns"], translations["value"]["last_ns"] = 1 * SECOND, 5 * SECOND
    rng.shuffle(rows)
    return Window(rows, translations, 0, 10 * SECOND, 0)


def joined() -> None:
    """One core; each round begins with nothing known."""
    tell("the join")
    window = _window()
    known = join(window, Carry(), LIMITS)
    made = len(known.connections)
    say("join_connections_per_s", made / median_s(lambda: join(window, Carry(), LIMITS)), "1/s")
    say("join_known_connections_per_s", made / median_s(lambda: join(window, known.carry, LIMITS)), "1/s")
