"""Names follow the identity file while the agent runs."""

import os
from pathlib import Path

from tests.agent.process import Agent, wait_until
from tests.agent.shop import Shop, told

NAME = "destination.nat.k8s.pod.name"


def name_of(shop: Shop, agent: Agent) -> str | None:
    """Make a call; return the name of the pod that answered, as its record has it."""
    port = shop.call()
    wait_until(lambda: any(told(one["attributes"]).sport == port for one in agent.records()), "the call's record")
    *_, record = (one["attributes"] for one in agent.records() if told(one["attributes"]).sport == port)
    name: str | None = record.get(NAME)
    return name


def replace(path: Path, text: str) -> None:
    """Put a new file in the place of the old one, at once."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


def test_renamed_file(shop: Shop, tmp_path: Path) -> None:
    option = shop.identity_file(tmp_path)
    path = tmp_path / "objects.json"
    with Agent(shop.namespace, tmp_path / "out", "--interval=0.2", option).started() as agent:
        assert name_of(shop, agent) == "web-1"
        replace(path, shop.identity.replace("web-1", "web-9"))
        assert name_of(shop, agent) == "web-9"
        agent.stop()
    assert agent.lines("WARNING") == []


def test_swapped_symlink_as_the_kubelet_does_it(shop: Shop, tmp_path: Path) -> None:
    for version, text in (("v1", shop.identity), ("v2", shop.identity.replace("web-1", "web-9"))):
        (tmp_path / version).mkdir()
        (tmp_path / version / "objects.json").write_text(text)
    (tmp_path / "..data").symlink_to("v1")
    path = tmp_path / "objects.json"
    path.symlink_to("..data/objects.json")
    options = "--interval=0.2", f"--identity-file={path}"
    with Agent(shop.namespace, tmp_path / "out", *options).started() as agent:
        assert name_of(shop, agent) == "web-1"
        (tmp_path / "..new").symlink_to("v2")
        os.rename(tmp_path / "..new", tmp_path / "..data")  # noqa: PTH104  # Path.rename would follow the link
        assert name_of(shop, agent) == "web-9"
        agent.stop()


def test_broken_file_leaves_the_old_names_in_force_and_is_told_once(shop: Shop, tmp_path: Path) -> None:
    option = shop.identity_file(tmp_path)
    path = tmp_path / "objects.json"
    with Agent(shop.namespace, tmp_path / "out", "--interval=0.1", option).started() as agent:
        assert name_of(shop, agent) == "web-1"
        replace(path, "kind: [")
        agent.wait_for("WARNING")
        assert [name_of(shop, agent) for _ in range(3)] == ["web-1"] * 3
        (line,) = agent.lines("WARNING")
        assert line.startswith(f"natlens: WARNING: {path}")
        assert line.endswith("(the objects read before stay in force)")
        replace(path, shop.identity.replace("web-1", "web-9"))
        assert name_of(shop, agent) == "web-9"
        agent.stop()
    assert "identity_refresh_failed=1" in agent.lines("stopped:")[0]
