"""Asking a server of natlens as Prometheus and Kubernetes do."""

import http.client
from typing import NamedTuple

__all__ = ["Said", "ask"]


class Said(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    text: str


def ask(port: int, path: str, method: str = "GET", timeout_s: float = 10.0) -> Said:
    """Ask once, over a connection of its own."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        client.request(method, path)
        answer = client.getresponse()
        return Said(answer.status, dict(answer.getheaders()), answer.read().decode())
    finally:
        client.close()
