"""In TLS 1.3 a server refuses a client's certificate when the client is sending already."""

import time
from pathlib import Path
from typing import Any, Literal

import pytest

from natlens.delivery.retry import Backoff
from natlens.delivery.throttle import Throttle
from natlens.health import Health
from tests.collector.flows import requests_of
from tests.collector.process import Collector
from tests.collector.tls import Authority
from tests.delivery.account import account, eventually
from tests.delivery.sending import sender_to

ATTEMPTS = 40
AT_ONCE = Backoff(initial_s=0.01, max_s=0.01)


def test_whoever_lacks_a_certificate_is_told_so_at_each_attempt_however_large_the_request(
    collector_binary: Path,
    tmp_path: Path,
    protocol: str,
    transport: Literal["grpc", "http"],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Throttle, "due", lambda _: True)
    authority, health = Authority(tmp_path), Health()
    tls = authority.server(mutual=True)
    with Collector(collector_binary, tmp_path, transport=transport, tls=tls, writes="proto") as collector:
        options: dict[str, Any] = {"ca_file": str(authority.ca), "compression": "none", "backoff": AT_ONCE}
        with sender_to(collector.url, health, protocol, **options) as sender:
            for request in requests_of(2000):
                sender.send(request)
            eventually(lambda: health.count("export_retries", code="unavailable") >= ATTEMPTS)
            sender.flush(time.monotonic())
    assert account(health) == {"records_captured": 2000, "records_dropped{reason=shutdown}": 2000}
    assert [line for line in caplog.messages if "certificate" not in line] == []
