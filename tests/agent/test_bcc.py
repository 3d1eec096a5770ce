"""An agent on a node whose kernel shows no BTF: bcc compiles its programs, and its records are the same."""

from pathlib import Path

import pytest

from tests.agent.process import Agent
from tests.agent.shop import Shop, counted
from tests.kernel.bcc import bcc_headers

COMPILES_S = 900.0  # under emulation, with real headers
AS_IN_KUBERNETES = "setpriv", "--no-new-privs", "--bounding-set=-all,+bpf,+perfmon,+net_admin"  # uid 0, three are left


def _without_btf(empty: Path) -> tuple[str, ...]:
    return "unshare", "--mount", "sh", "-c", f'mount --bind {empty} /sys/kernel/btf && exec "$@"', "sh"


@pytest.mark.timeout(1200)
def test_records_are_the_same_with_three_capabilities_and_no_btf(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    wire = shop.wire()
    arguments = "--interval=3600", "--loader=auto", shop.identity_file(tmp_path)
    with bcc_headers(tmp_path):
        before = (*_without_btf(tmp_path / "empty"), *AS_IN_KUBERNETES)
        agent = Agent(shop.namespace, tmp_path / "out", *arguments, before=before)
    with agent:
        agent.wait_for("capturing on", COMPILES_S)
        assert "no BTF" in agent.wait_for("compiled the programs in")
        expected = list(shop.calls())
        wire.settle()
        agent.stop()
    records = agent.records()
    for one in expected:
        (record,) = (record["attributes"] for record in records if one.matches(record))
        assert record.items() >= {**one.attributes, **counted(wire, one)}.items()
