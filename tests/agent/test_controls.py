"""capture_rules and sampling, from the command line to the record and the last line."""

import re
from pathlib import Path

from natlens.ui.lab.traffic import talk
from tests.agent.process import Agent
from tests.agent.shop import SERVICE, WEB, Shop, told

LEFT_OUT = re.compile(r"rule_packets\{rule=reject destination\.port=80\}=(\d+)")
SAMPLED_OUT = re.compile(r"sampled_out_packets=(\d+)")


def test_what_a_rule_rejects_is_in_the_last_line_and_in_no_record(shop: Shop, tmp_path: Path) -> None:
    wire = shop.wire()
    options = "--capture-rules=reject destination.port=80", "--interval=60"
    with Agent(shop.namespace, tmp_path / "out", *options).started() as agent:
        rejected = shop.call()
        accepted = talk(shop.client.namespace, (shop.web.ip, WEB), 100)
        agent.stop()
    wire.settle()
    seen = wire.counts(shop.client.name)
    wire.close()
    ports = {told(record["attributes"]).sport for record in agent.records() if "source.port" in record["attributes"]}
    assert accepted in ports
    assert rejected not in ports
    assert all("flow.sampling_rate" not in record["attributes"] for record in agent.records())
    found = LEFT_OUT.search(agent.lines("stopped:")[0])
    assert found
    packets = sum(count.packets for one, count in seen.items() if rejected in (one.sport, one.dport))
    assert int(found[1]) == packets > 6


def test_sampled_records_say_of_how_many_they_are_one(shop: Shop, tmp_path: Path) -> None:
    with Agent(shop.namespace, tmp_path / "out", "--sampling=3", "--interval=60").started() as agent:
        calls = {shop.call() for _ in range(24)}
        agent.stop()
    records = [record["attributes"] for record in agent.records()]
    services = [one for one in records if one["destination.address"] == SERVICE]
    assert 0 < len(services) < len(calls)
    assert {one["flow.sampling_rate"] for one in records} == {3}
    assert {one["nat.kind"] for one in services} == {"dnat"}
    assert all(min(one["flow.packets.total"], one["flow.reverse.packets.total"]) >= 4 for one in services)
    found = SAMPLED_OUT.search(agent.lines("stopped:")[0])
    assert found
    assert int(found[1]) >= 8 * (len(calls) - len(services))
