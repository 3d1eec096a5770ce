"""natlens' own access: tokens and authorities that change under it, rights that are taken away and given back."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.process import Agent
from tests.cluster import objects
from tests.cluster.build import binaries
from tests.cluster.cluster import Cluster
from tests.cluster.control import ACCOUNT
from tests.cluster.credentials import MountedToken
from tests.cluster.faults import WATCHED, Scene, finish, requests, staged

MOUNTED = "/run/secrets/kubernetes.io/serviceaccount"  # /var/run is a link to /run
UNAUTHORIZED = "check the token or certificate"
SLOWLY_S = 75.0  # where rights are missing natlens asks every 30 to 60 s


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of this module's own, of one node."""
    with Cluster(binaries(), tmp_path_factory.mktemp("access"), nodes=["node-a"]) as running:
        yield running


@pytest.fixture
def scene(own_cluster: Cluster, tmp_path: Path) -> Iterator[Scene]:
    with staged(own_cluster, tmp_path) as scene:
        yield scene


def revoke_tokens(scene: Scene) -> None:
    """Make every token void that natlens has: they are of a ServiceAccount of another uid."""
    account = objects.service_account(ACCOUNT, ACCOUNT)
    scene.cluster.admin.delete(account)
    scene.cluster.admin.create(account)


def in_pod(scene: Scene, mounted: MountedToken) -> Agent:
    """Start an agent that finds the ServiceAccount's files and variables where a pod does."""
    script = f"mount -t tmpfs none /run && mkdir -p {MOUNTED} && mount --bind {mounted.directory} {MOUNTED}"
    before = "unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh"
    host, port = scene.control.host.ip, "6443"
    return scene.start(before=before, environment={"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port})


def test_token_file_is_replaced_after_the_token_was_revoked(scene: Scene) -> None:
    token = scene.directory / "token"
    token.write_text(scene.control.natlens_token())
    kubeconfig = scene.control.kubeconfig(scene.directory / "kubeconfig", token_file=token)
    began, agent = time.monotonic(), scene.start(kubeconfig=kubeconfig)

    revoke_tokens(scene)
    scene.control.api.restart()  # what is watched already goes on with an old token
    scene.await_lines(agent, UNAUTHORIZED, timeout=40)
    scene.check_named(agent, scene.client)
    token.write_text(scene.control.natlens_token())

    scene.check_new_pod(agent, "late", 40)
    assert finish(agent, began)["identity_synced{resource=pods}"] == 1
    scene.check_once(agent, UNAUTHORIZED)
    for resource in WATCHED:
        assert requests(agent, "401")[resource] >= 1


def test_token_is_replaced_in_time(scene: Scene) -> None:
    token = scene.directory / "token"
    token.write_text(scene.control.natlens_token())
    kubeconfig = scene.control.kubeconfig(scene.directory / "kubeconfig", token_file=token)
    began, agent = time.monotonic(), scene.start(kubeconfig=kubeconfig)

    revoke_tokens(scene)
    token.write_text(scene.control.natlens_token())
    scene.control.api.restart()

    scene.check_new_pod(agent, "late", 40)
    finish(agent, began)
    assert not requests(agent, "401")


def test_mounted_token_and_authority_are_replaced(scene: Scene) -> None:
    mounted = MountedToken(scene.directory / "serviceaccount")
    scene.control.mount(mounted)
    began, agent = time.monotonic(), in_pod(scene, mounted)
    scene.check_named(agent, scene.client)

    revoke_tokens(scene)
    scene.control.api.rotate_authority()
    scene.control.api.restart()
    scene.await_lines(agent, "tls: ", timeout=40)
    scene.check_named(agent, scene.client)
    scene.control.mount(mounted)

    scene.check_new_pod(agent, "late", 60)
    assert finish(agent, began)["identity_synced{resource=pods}"] == 1
    scene.check_once(agent, "tls: ")


def test_certificate_is_replaced(scene: Scene) -> None:
    began, agent = time.monotonic(), scene.start()

    scene.control.api.rotate_certificate()
    scene.control.api.restart()

    scene.check_new_pod(agent, "late", 40)
    finish(agent, began)
    assert not requests(agent, "tls")


def test_rights_are_taken_and_given_back(scene: Scene) -> None:
    began, agent = time.monotonic(), scene.start()
    binding = objects.binding(ACCOUNT, ACCOUNT, ACCOUNT)

    scene.cluster.admin.delete(binding)
    scene.control.api.restart()
    scene.await_lines(agent, "allow natlens' ServiceAccount list and watch on ", timeout=60)
    scene.check_named(agent, scene.client)
    scene.cluster.admin.create(binding)

    scene.check_new_pod(agent, "late", SLOWLY_S)
    finish(agent, began)
    for resource, right in {"services": '(apiGroup "")', "endpointslices": '(apiGroup "discovery.k8s.io")'}.items():
        scene.check_once(agent, f"allow natlens' ServiceAccount list and watch on {resource} {right}", [resource])
    for resource in WATCHED:
        assert 2 <= requests(agent, "403")[resource] <= 10


def test_agent_starts_without_any_rights(scene: Scene) -> None:
    binding = objects.binding(ACCOUNT, ACCOUNT, ACCOUNT)
    scene.cluster.admin.delete(binding)
    scene.control.api.restart()  # it may remember who was allowed what
    began, agent = time.monotonic(), scene.start(until="")

    scene.await_lines(agent, "allow natlens' ServiceAccount list and watch on ")
    said = scene.call(agent, scene.client)
    scene.cluster.admin.create(binding)

    assert not [name for name in said if ".k8s." in name]
    scene.await_named(agent, scene.client, SLOWLY_S)
    finish(agent, began)
    for resource in WATCHED:
        assert 1 <= requests(agent, "403")[resource] <= 10
