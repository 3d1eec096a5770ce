"""The alert rules that natlens ships: what checks them, and a Prometheus that evaluates them."""

import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.stores.build import Binaries
from tests.stores.prometheus import Prometheus

RULES = Path(__file__).parents[2] / "otel-config" / "alerts.yaml"
EVALUATED_S = 20.0
POLL_S = 0.1


def test_promtool_finds_nothing_wrong(stores: Binaries) -> None:
    done = subprocess.run(
        [str(stores.promtool), "check", "rules", "--lint=all", "--lint-fatal", str(RULES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_prometheus_evaluates_every_rule(stores: Binaries, tmp_path: Path) -> None:
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"  # as the file has it, or by default, the first is up to a minute away
    often = tmp_path / "rules.yaml"
    often.write_text(yaml.safe_dump(rules))
    names = {rule.get("alert") or rule["record"] for group in rules["groups"] for rule in group["rules"]}
    assert names

    with Prometheus(stores.prometheus, tmp_path / "prometheus", rules=often) as prometheus:
        deadline = time.monotonic() + EVALUATED_S
        while set((health := prometheus.rules()).values()) != {"ok"}:
            assert time.monotonic() < deadline, health
            assert "err" not in health.values(), health
            time.sleep(POLL_S)
    assert set(health) == names


def test_a_wrong_rule_is_found(stores: Binaries, tmp_path: Path) -> None:
    """So that the checks above can fail."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": [{"alert": "B", "expr": "rate(x)"}]}]}))
    done = subprocess.run([str(stores.promtool), "check", "rules", str(wrong)], capture_output=True, check=False)
    assert done.returncode != 0
    with pytest.raises(Exception, match="left with status"):
        Prometheus(stores.prometheus, tmp_path / "prometheus", rules=wrong).start()
