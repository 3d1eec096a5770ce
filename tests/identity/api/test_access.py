"""Configuration and credentials: files as users write them, plugins as they fail, rotation as kubelets do it."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.collector.tls import Authority
from tests.identity.api.manifests import node, service
from tests.identity.api.recorder import Recorder, access_to, kubeconfig
from tests.identity.api.script import Hang, Refuse
from tests.identity.api.server import ApiServer

from natlens.errors import ConfigError, IdentityError
from natlens.health import Health
from natlens.identity.api import official as official_client
from natlens.identity.api.access import Access
from natlens.identity.api.failure import Failure
from natlens.identity.api.keep import Keep
from natlens.identity.api.official import official
from natlens.identity.api.once import get_cluster_uid, get_node
from natlens.identity.api.resources import SERVICES
from natlens.identity.api.transport import Line
from natlens.identity.api.watch import Watcher


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def opened(path: Path, context: str | None = None) -> Access:
    return Access.open(str(path), context, allow_default_files=False)


def status(access: Access) -> int:
    line = Line(access, lambda _: None)
    try:
        answer = line.get(SERVICES.path, {}, "application/json", gzip=False, timeout_s=5)
        answer.refusal()
        answer.close()
        return answer.status
    finally:
        line.close()


def plugin(directory: Path, script: str, **more: object) -> dict[str, object]:
    """Return a kubeconfig's user whose token comes from a program."""
    path = directory / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), **more}}


def credential(body: str) -> str:
    return f'echo \'{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {body}}}\''


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "t1"}, "Bearer t1"),
        ({"username": "u", "password": "p"}, "Basic dTpw"),
        ({}, None),
    ],
)
def test_a_kubeconfigs_user_is_who_asks(tmp_path: Path, user: dict[str, object], header: str | None) -> None:
    with ApiServer() as api:
        assert status(access_to(api, tmp_path, user)) == 200
    assert api.requests[0].headers.get("authorization") == header
    assert api.requests[0].headers["user-agent"] == "natlens"


def test_an_exec_plugins_token_is_asked_for_again_when_it_expires(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    old = credential('{"token": "t", "expirationTimestamp": "2020-01-01T00:00:00Z"}')
    with ApiServer() as api:
        access = access_to(api, tmp_path, plugin(tmp_path, f"echo >> {calls}; {old}"))
        api.admitted = "t"
        assert status(access) == 200
        before = len(calls.read_text())
        assert status(access) == 200
        assert len(calls.read_text()) == before + 1


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo broken >&2; exit 3", "broken"),
        ("echo no json", "failed to decode"),
        (credential("{}"), "missing token"),
        ("sleep 60", "no answer in 0.2 s"),
    ],
)
def test_an_exec_plugin_that_fails_says_so(
    tmp_path: Path, script: str, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(official_client, "PLUGIN_SECONDS", 0.2)
    path = kubeconfig(tmp_path / "k", "https://127.0.0.1:1", plugin(tmp_path, script))
    begin = time.monotonic()
    with pytest.raises(ConfigError, match=words) as refused:
        opened(path)
    assert time.monotonic() - begin < 3 or "sleep" not in script
    assert str(path) in str(refused.value)
    assert not caplog.records


def test_an_exec_plugin_that_is_not_there_is_named(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin"}}
    with pytest.raises(ConfigError, match="no-such-plugin"):
        opened(kubeconfig(tmp_path / "k", "https://127.0.0.1:1", user))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("[1, 2]", "not a kubeconfig"),
        ("a: [", "no YAML"),
        ("clusters: []", "no current-context"),
        ("current-context: x\ncontexts: [{name: y, context: {cluster: c}}]", "no context 'x'; there are: y"),
        ("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: []", "name c"),
        (
            "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {}}]",
            "server",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_explained(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as refused:
        opened(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="/nowhere"):
        opened(Path("/nowhere"))
    path = kubeconfig(tmp_path / "k", "https://127.0.0.1:1")
    with pytest.raises(ConfigError, match="no context 'other'; there are: here"):
        opened(path, "other")
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST"):
        Access.open(None, None, allow_default_files=True)
    with pytest.raises(ConfigError, match="kube_context 'x'"):
        Access.open(None, "x", allow_default_files=False)


@pytest.mark.parametrize(
    ("key", "content"),
    [("certificate-authority", "nonsense"), ("certificate-authority", ""), ("certificate-authority", None)],
)
def test_a_bad_authority_is_named(tmp_path: Path, key: str, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        opened(kubeconfig(tmp_path / "k", "https://127.0.0.1:1", cluster={key: str(path)}))


def test_default_files_are_read_only_where_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kubeconfig(tmp_path / "named", "https://127.0.0.1:1")
    monkeypatch.setenv("KUBECONFIG", f"/nowhere{os.pathsep}{path}")
    assert Access.open(None, None, allow_default_files=True).server == "https://127.0.0.1:1"
    with pytest.raises(ConfigError, match="not in a cluster"):
        Access.open(None, None, allow_default_files=False)
    monkeypatch.delenv("KUBECONFIG")
    (tmp_path / "home/.kube").mkdir(parents=True)
    kubeconfig(tmp_path / "home/.kube/config", "https://127.0.0.1:2")
    assert Access.open(None, None, allow_default_files=True).server == "https://127.0.0.1:2"


class Mounted:
    """A ServiceAccount as a kubelet mounts it: a link that is exchanged."""

    def __init__(self, directory: Path, api: ApiServer, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory, self._rounds = directory, 0
        self.authority = authority
        self.write("first")
        module = official().incluster_config
        monkeypatch.setattr(module, "SERVICE_TOKEN_FILENAME", str(directory / "data/token"))
        monkeypatch.setattr(module, "SERVICE_CERT_FILENAME", str(directory / "data/ca.crt"))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))

    def write(self, token: str) -> None:
        self._rounds += 1
        made = self._directory / f"round-{self._rounds}"
        made.mkdir()
        (made / "token").write_text(token + "\n")
        (made / "ca.crt").write_bytes(self.authority.ca.read_bytes())
        link = self._directory / "link"
        link.symlink_to(made)
        link.rename(self._directory / "data")


def test_in_a_cluster_tokens_and_authorities_rotate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, other = Authority(tmp_path / "one"), Authority(tmp_path / "two")
    with ApiServer(tls=authority.server()) as api:
        api.admitted = "first"
        mounted = Mounted(tmp_path, api, authority, monkeypatch)
        access = Access.open(None, None, allow_default_files=False)
        assert access.server == f"https://127.0.0.1:{api.port}"
        assert status(access) == 200
        api.admitted = "second"
        mounted.write("second")
        assert status(access) == 200
        mounted.authority = other
        mounted.write("second")
        with pytest.raises(Failure) as failed:
            status(access)
        assert failed.value.code == "tls"
        mounted.authority = authority
        mounted.write("second")
        assert status(access) == 200


def test_a_line_that_is_open_takes_the_new_authority_for_its_next_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, other = Authority(tmp_path / "one"), Authority(tmp_path / "two")
    with ApiServer(tls=authority.server()) as api:
        mounted = Mounted(tmp_path, api, authority, monkeypatch)
        line = Line(Access.open(None, None, allow_default_files=False), lambda _: None)
        line.get(SERVICES.path, {}, "application/json", gzip=False, timeout_s=5).refusal()
        mounted.authority = other
        mounted.write("first")
        with pytest.raises(Failure):
            line.get(SERVICES.path, {}, "application/json", gzip=False, timeout_s=5)
        line.close()


def test_a_kubeconfigs_token_file_rotates(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    with ApiServer() as api:
        access = access_to(api, tmp_path, {"tokenFile": "token"})
        api.admitted = "first"
        assert status(access) == 200
        (tmp_path / "token").write_text("second")
        api.admitted = "second"
        assert status(access) == 200


def test_a_401_loads_credentials_anew_once_for_all(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    with ApiServer() as api:
        user = plugin(
            tmp_path, f"echo >> {calls}; " + credential('{"token": "\'$(cat ' + str(tmp_path / "now") + ")'\"}")
        )
        (tmp_path / "now").write_text("first")
        access = access_to(api, tmp_path, user)
        api.admitted = "first"
        assert status(access) == 200
        api.admitted = "second"
        (tmp_path / "now").write_text("second")
        stale = access.credentials()
        before = len(calls.read_text())
        access.refused(stale)
        access.refused(stale)
        assert len(calls.read_text()) == before + 1
        assert status(access) == 200


def test_a_watcher_gets_over_a_rotated_token(tmp_path: Path) -> None:
    with ApiServer() as api:
        api.store.put("Service", service("a"))
        user = plugin(tmp_path, credential('{"token": "\'$(cat ' + str(tmp_path / "now") + ")'\"}"))
        (tmp_path / "now").write_text("first")
        access = access_to(api, tmp_path, user)
        api.admitted = "second"
        (tmp_path / "now").write_text("second")
        watcher = Watcher(access, SERVICES, Keep(), Recorder(), Health())
        watcher.start()
        try:
            assert watcher.synced.wait(5)
        finally:
            watcher.stop()
        assert [one.headers["authorization"] for one in api.requests[:2]] == ["Bearer first", "Bearer second"]


def test_no_token_is_in_any_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "top-secret-token"  # noqa: S105
    with ApiServer() as api:
        access = access_to(api, tmp_path, {"token": f"{secret}\r\nX-Other: 1"})
        with pytest.raises(Failure) as failed:
            status(access)
        assert failed.value.code == "credentials"
        assert secret not in str(failed.value)
        good = access_to(api, tmp_path, {"token": secret})
        api.admitted = "another"
        assert status(good) == 401
        assert secret not in repr(good.credentials())
    assert secret not in caplog.text


def test_client_certificates_and_a_servers_other_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    shown = authority.client()
    user: dict[str, object] = {"client-certificate": str(shown.cert), "client-key": str(shown.key)}
    with ApiServer(tls=authority.server("kubernetes.default", mutual=True)) as api:
        trusting = {"certificate-authority": str(authority.ca), "tls-server-name": "kubernetes.default"}
        assert status(opened(kubeconfig(tmp_path / "k", api.url, user, cluster=trusting))) == 200
        del trusting["tls-server-name"]
        with pytest.raises(Failure, match=r"127\.0\.0\.1") as failed:
            status(opened(kubeconfig(tmp_path / "k2", api.url, user, cluster=trusting)))
        assert failed.value.code == "tls"


def test_an_unverified_server_is_said_once_and_only_by_us(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    authority = Authority(tmp_path / "tls")
    with ApiServer(tls=authority.server()) as api:
        access = opened(kubeconfig(tmp_path / "k", api.url, cluster={"insecure-skip-tls-verify": True}))
        assert status(access) == status(access) == 200
    assert [record.getMessage() for record in caplog.records] == [
        f"{api.url} is not verified (insecure-skip-tls-verify): whoever answers gets the token"
    ]
    assert not [one for one in recwarn if "Insecure" in one.category.__name__]


def test_a_proxy_is_asked(tmp_path: Path) -> None:
    with ApiServer() as proxy:
        path = kubeconfig(tmp_path / "k", "http://kubernetes.invalid", {}, cluster={"proxy-url": proxy.url})
        status(opened(path))
        assert proxy.requests[0].headers["host"] == "kubernetes.invalid"


def test_redirects_are_not_followed(tmp_path: Path) -> None:
    with ApiServer() as api:
        api.add("list", SERVICES.path, [Refuse(302, location="/elsewhere")])
        assert status(access_to(api, tmp_path)) == 302
        assert len(api.requests) == 1


def test_a_server_that_hangs_is_a_timeout(tmp_path: Path) -> None:
    with ApiServer() as api:
        api.add("list", SERVICES.path, [Hang()])
        line = Line(access_to(api, tmp_path), lambda _: None)
        with pytest.raises(Failure) as failed:
            line.get(SERVICES.path, {}, "application/json", gzip=False, timeout_s=0.1)
        assert failed.value.code == "timeout"
        line.close()


def test_single_objects(tmp_path: Path) -> None:
    with ApiServer() as api:
        access = access_to(api, tmp_path)
        api.store.put("Node", node("n1"))
        api.store.put("Namespace", {"metadata": {"name": "kube-system", "uid": "the-uid"}})
        found = get_node(access, "n1", Keep(), Health())
        assert found is not None
        assert found.metadata.labels == {"topology.kubernetes.io/zone": "z1"}
        assert get_node(access, "n2", Keep(), Health()) is None
        assert get_cluster_uid(access, Health()) == "the-uid"
        api.add("list", "/api/v1/nodes/n1", [Refuse(403, "no right")])
        with pytest.raises(IdentityError, match=r"no right; .*get /api/v1/nodes/n1"):
            get_node(access, "n1", Keep(), Health())


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from natlens.identity.api.official import official; official();"
        "print([m for m in sys.modules if m.partition('.')[0] in"
        " ('kubernetes', 'oauthlib', 'requests', 'requests_oauthlib', 'websocket', 'aiohttp')]);"
        "import kubernetes.client; print(kubernetes.client.CoreV1Api.__name__)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "CoreV1Api"]


def test_an_oidc_users_token_is_refreshed_by_the_official_client(tmp_path: Path) -> None:
    """The parts that only this needs are imported only then: it gets as far as asking the issuer."""
    expired = "e30.eyJleHAiOiAxMDAwMDAwfQ.c2ln"
    provider = {"id-token": expired, "idp-issuer-url": "http://127.0.0.1:1", "client-id": "c", "refresh-token": "r"}
    user: dict[str, object] = {"auth-provider": {"name": "oidc", "config": provider}}
    with pytest.raises(ConfigError, match=r"openid-configuration"):
        opened(kubeconfig(tmp_path / "k", "https://127.0.0.1:1", user))
