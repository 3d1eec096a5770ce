import time
from pathlib import Path
from random import Random

import pytest
from tests.identity.api.manifests import node
from tests.identity.api.recorder import Recorder, access_to, until
from tests.identity.api.script import Hang, Refuse
from tests.identity.api.server import ApiServer

from natlens.health import Health
from natlens.identity.api.failure import Failure
from natlens.identity.api.keep import Keep
from natlens.identity.api.nodes import Nodes, Rota
from natlens.identity.api.reflector import UNSURE
from natlens.identity.objects import Node

PATH = "/api/v1/nodes"
FAILURE = Failure("500", "told to", 500)


@pytest.mark.parametrize("seed", range(20))
def test_lists_come_rarely_and_sooner_when_wanted(seed: int) -> None:
    rota = Rota(0.0, Random(seed))
    assert rota.wait_s(0.0, wanted=False) == 0
    assert rota.listed(0.0, 10)
    assert 600 <= rota.wait_s(0.0, wanted=False) <= 900
    assert 60 <= rota.wait_s(0.0, wanted=True) <= 75
    assert rota.wait_s(76.0, wanted=True) == 0


def test_all_agents_do_not_list_at_once() -> None:
    later = set()
    for seed in range(100):
        rota = Rota(0.0, Random(seed))
        rota.listed(5.0, 1)
        later.add(round(rota.wait_s(5.0, wanted=False) / 60))
    assert len(later) >= 5


def test_failures_back_off_even_if_wanted() -> None:
    rota = Rota(0.0, Random(1))
    now = 10.0
    for _ in range(30):
        rota.started(now)
        rota.failed(now, FAILURE)
        now += rota.wait_s(now, wanted=True)
    assert now > 200
    for _ in range(UNSURE):
        rota.failed(now, Failure("403", "no", 403))
        assert rota.wait_s(now, wanted=True) <= 30
    rota.failed(now, Failure("403", "no", 403))
    assert rota.wait_s(now, wanted=True) >= 300
    rota.failed(now, Failure("429", "no", 429, retry_after_s=40.0))
    assert rota.wait_s(now, wanted=True) >= 40


def test_an_empty_list_of_nodes_is_believed_the_second_time() -> None:
    rota = Rota(0.0, Random(1))
    assert rota.listed(5.0, 3)
    assert not rota.listed(700.0, 0)
    assert rota.wait_s(700.0, wanted=False) <= 75
    assert rota.listed(770.0, 0)


class Eager(Random):
    def uniform(self, a: float, b: float) -> float:
        return min(a, b) / 200  # 60 s are 0.3 s


def test_nodes_are_listed_and_listed_again_on_demand(tmp_path: Path) -> None:
    with ApiServer() as api:
        for at in range(3):
            api.store.put("Node", node(f"n{at}"))
        sink, health = Recorder(), Health()
        nodes = Nodes(access_to(api, tmp_path), Keep(), sink, health, random=Eager())
        nodes.start()
        try:
            assert nodes.synced.wait(5)
            assert sink.names(Node) == {"n0", "n1", "n2"}
            api.store.put("Node", node("n3"))
            nodes.want()
            nodes.want()
            until(lambda: "n3" in sink.names(Node))
        finally:
            nodes.stop()
        requests = api.of("list", PATH)
        assert len(requests) == 2
        assert requests[1].at_s - requests[0].at_s >= 0.29
        assert requests[0].query == {"resourceVersion": "0"}
        assert requests[0].headers["accept-encoding"] == "gzip"
        assert not api.of("watch", PATH)


@pytest.mark.parametrize("answer", [Hang(), Refuse(403), Refuse(500)])
def test_stops_at_once(tmp_path: Path, answer: Hang | Refuse, caplog: pytest.LogCaptureFixture) -> None:
    with ApiServer() as api:
        api.forever["list", PATH] = answer
        nodes = Nodes(access_to(api, tmp_path), Keep(), Recorder(), Health(), random=Eager())
        nodes.start()
        until(lambda: api.requests)
        time.sleep(0.05)
        begin = time.monotonic()
        nodes.stop()
        assert time.monotonic() - begin < 0.5
        assert not nodes._thread.is_alive()
        assert len(caplog.records) <= 1
