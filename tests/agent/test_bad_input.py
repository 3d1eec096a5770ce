"""Every mistake is one line that names what is wrong and the way out, before anything is attached."""

import errno
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from natlens.errors import KernelError
from natlens.kernel import libbpf
from natlens.kernel.crowd import choose
from natlens.kernel.filters import ClsactAttachment
from tests.agent.kernel import attached, program
from tests.agent.process import NATLENS, Agent, clean_environment
from tests.agent.shop import Shop, told
from tests.collector.tls import Authority

USAGE, FAILURE = 2, 1
CAPABILITIES = {
    "bpf": "CAP_BPF (loads the programs)",
    "perfmon": "CAP_PERFMON (lets them read the packet's conntrack entry)",
    "net_admin": "CAP_NET_ADMIN (attaches them to interfaces)",
}
WAY_OUT = (
    "run as root, or give the process these capabilities "
    "(securityContext.capabilities.add, or setcap on the interpreter)"
)
UNPRIVILEGED = "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"


def check(
    shop: Shop, arguments: Sequence[str], line: str, status: int, before: Sequence[str] = (), **variables: str
) -> None:
    """Run ``natlens run`` and see it refuse with that line."""
    stood = attached(shop.namespace)
    done = subprocess.run(
        ["nsenter", f"--net={shop.namespace.path}", *before, *NATLENS, "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=clean_environment(**variables),
    )
    assert (done.stderr, done.returncode, done.stdout) == (f"natlens: {line}\n", status, "")
    assert attached(shop.namespace) == stood


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--intervall=5"], "unknown argument '--intervall'; did you mean --interval?"),
        (
            ["--window-rows=many"],
            "--window-rows is 'many'; it must be a whole number of at least 1024 and at most 16777216",
        ),
        (
            ["--capture-rules=accept port=80, reject udp"],
            "capture_rules='reject udp' has 'udp'; a condition is one of cidr=, port=, source.cidr=, source.port=, "
            "destination.cidr=, destination.port=, responder.cidr=, responder.port=, protocol=, interface=, direction= "
            "with its value, without spaces",
        ),
        (["--sampling=0"], "--sampling is '0'; it must be a whole number of at least 1 and at most 65536"),
        (["--attach=xdp"], "--attach is 'xdp'; it must be one of auto, tcx, clsact"),
        (
            ["--endpoint=collector:port"],
            "endpoint='collector:port' is not an OTLP/gRPC endpoint: "
            "Port could not be cast to integer value as 'port'; an example is http://collector:4317",
        ),
        (
            ["--endpoint=collector:4318", "--protocol=http/protobuf"],
            "endpoint='collector:4318' is not an OTLP/HTTP endpoint: "
            "it must begin with http:// or https://; an example is http://collector:4318",
        ),
        (
            ["--endpoint=http://c:1", "--protocol=http/json"],
            "--protocol is 'http/json'; it must be one of grpc, http/protobuf or nothing",
        ),
        (
            ["--endpoint=http://c:1", "--compression=snappy"],
            "--compression is 'snappy'; it must be one of none, gzip, zstd or nothing",
        ),
        (
            ["--endpoint=http://c:1", "--requests-in-flight=0"],
            "--requests-in-flight is '0'; it must be a whole number of at least 1 and at most 64",
        ),
        (
            ["--endpoint=http://c:1", "--headers=content-type=x"],
            "headers: the header 'content-type' is natlens' own: leave it out",
        ),
        (
            ["--endpoint=http://c:1", "--ca-file=/none"],
            "ca_file='/none' is for TLS, and the endpoint is not https: write https://, or leave it out",
        ),
        (
            ["--endpoint=https://c:1", "--ca-file=/none"],
            "ca_file='/none' cannot be read: No such file or directory; check the path and its mode",
        ),
        (
            ["--endpoint=https://c:1", "--ca-file=/dev/null"],
            "ca_file='/dev/null' holds no certificates in PEM format",
        ),
        (
            ["--endpoint=https://c:1", "--client-certificate-file=/none"],
            "client_certificate_file='/none' is given without client_key_file: a client has both",
        ),
    ],
)
def test_flag(shop: Shop, arguments: list[str], line: str) -> None:
    check(shop, arguments, line, USAGE)


def test_unknown_variable(shop: Shop) -> None:
    line = "unknown variable 'NATLENS_INTERVALL' (value '5'); did you mean NATLENS_INTERVAL?"
    check(shop, [], line, USAGE, NATLENS_INTERVALL="5")


@pytest.mark.parametrize(
    ("name", "value", "rest"),
    [
        ("TIMEOUT", "1s", " is not a whole number of milliseconds above 0"),
        ("PROTOCOL", "http/json", " is not supported; it must be one of grpc, http/protobuf"),
        ("LOGS_COMPRESSION", "br", " is not supported; it must be one of none, gzip, zstd"),
        ("CERTIFICATE", "/none", " is for TLS, and the endpoint is not https: write https://, or leave it out"),
    ],
)
def test_variable_of_opentelemetry(shop: Shop, name: str, value: str, rest: str) -> None:
    line = f"OTEL_EXPORTER_OTLP_{name}={value!r}{rest}"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", f"OTEL_EXPORTER_OTLP_{name}": value}
    check(shop, [], line, USAGE, **variables)


def test_key_of_another_certificate(shop: Shop, tmp_path: Path) -> None:
    one, other = (Authority(tmp_path / name).client() for name in ("one", "other"))
    arguments = f"--client-certificate-file={one.cert}", f"--client-key-file={other.key}"
    line = f"client_key_file={str(other.key)!r} is not the key of client_certificate_file={str(one.cert)!r}"
    check(shop, ["--endpoint=https://c:1", *arguments], line, USAGE)


@pytest.fixture
def unreadable(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A path of the kind that the test asks for; whoever is root reads what has no mode."""
    path = tmp_path / "file"
    if request.param == "directory":
        path.mkdir()
    elif request.param != "missing":
        path.write_bytes({"binary": b"\xff\xfe", "malformed": b"kind: [", "other": b"a: 1\n"}[request.param])
    return path


@pytest.mark.parametrize(
    ("unreadable", "rest"),
    [
        ("missing", ": cannot be read (No such file or directory); check --config and the file's mode"),
        ("directory", ": cannot be read (Is a directory); check --config and the file's mode"),
        ("binary", ": is not UTF-8 text; save it as UTF-8"),
        (
            "malformed",
            ":1: is not valid YAML (expected the node content, but found '<stream end>'); write 'option: value' lines",
        ),
        ("other", ":1: unknown option 'a' (value 1); natlens run --help lists all"),
    ],
    indirect=["unreadable"],
)
def test_configuration_file(shop: Shop, unreadable: Path, rest: str) -> None:
    check(shop, [f"--config={unreadable}"], f"{unreadable}{rest}", USAGE)


@pytest.mark.parametrize(
    ("unreadable", "rest"),
    [
        ("missing", ": cannot be read (No such file or directory); check identity_file"),
        ("directory", ": cannot be read (Is a directory); check identity_file"),
        ("binary", ": is not UTF-8 text (byte 0); save it as UTF-8"),
        ("malformed", ", line 2: not valid YAML or JSON (did not find expected node content); correct the file"),
        ("other", ": document 1: kind: expected text such as Pod, got nothing; name the object's kind"),
    ],
    indirect=["unreadable"],
)
def test_identity_file(shop: Shop, unreadable: Path, rest: str) -> None:
    check(shop, [f"--identity-file={unreadable}"], f"{unreadable}{rest}", FAILURE)


def test_output_that_cannot_be_written(shop: Shop, tmp_path: Path) -> None:
    check(shop, [f"--output={tmp_path}"], f"output '{tmp_path}' cannot be written: Is a directory", FAILURE)
    path = tmp_path / "none" / "out"
    check(shop, [f"--output={path}"], f"output '{path}' cannot be written: No such file or directory", FAILURE)


@pytest.mark.parametrize("name", CAPABILITIES)
def test_missing_capability(shop: Shop, name: str) -> None:
    without = "setpriv", f"--bounding-set=-{name},-sys_admin"
    check(shop, [], f"missing {CAPABILITIES[name]}: {WAY_OUT}", FAILURE, without)


def test_not_root(shop: Shop) -> None:
    check(shop, [], f"missing {', '.join(CAPABILITIES.values())}: {WAY_OUT}", FAILURE, UNPRIVILEGED)


def hidden(what: str, under: str) -> tuple[str, ...]:
    """Return a command that runs the rest of its line in a mount namespace where ``under`` stands over ``what``."""
    return "unshare", "--mount", "sh", "-c", f'mount --bind {under} {what} && exec "$@"', "sh"


def test_kernel_without_btf(shop: Shop, tmp_path: Path) -> None:
    line = (
        "loader: core: /sys/kernel/btf/vmlinux is not there: this kernel carries no BTF (CONFIG_DEBUG_INFO_BTF), which "
        "the compiled programs need; use a distribution kernel of 5.10 or later, or loader: bcc"
    )
    check(shop, ["--loader=core"], line, FAILURE, hidden("/sys/kernel/btf", str(tmp_path)))


def test_without_libbpf(shop: Shop) -> None:
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    (path,) = re.findall(r"libbpf\.so\.1 .*=> (.*)", known)
    line = "libbpf.so.1 is not installed: install your distribution's libbpf (Debian: libbpf1, Fedora: libbpf)"
    check(shop, [], line, FAILURE, hidden(path, os.devnull))


def test_kernel_without_tcx(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(libbpf, "link_tcx", refuse)
    with program() as fd:
        with pytest.raises(KernelError) as error:
            choose("tcx", lambda _: fd)
        assert str(error.value) == (
            "attach: tcx: this kernel has no tcx links (they came with 6.6): use auto or clsact"
        )
        chosen = choose("auto", lambda _: fd)
        assert isinstance(chosen, ClsactAttachment)
        chosen.close()


def test_endpoint_that_nobody_answers_is_no_mistake(shop: Shop, tmp_path: Path) -> None:
    options = "--interval=0.2", "--endpoint=http://127.0.0.1:9", "--shutdown-grace=0"
    with Agent(shop.namespace, tmp_path / "out", *options).started() as agent:
        port = shop.call()
        line = agent.wait_for("WARNING")
        agent.stop()
    assert line.startswith("natlens: WARNING: http://127.0.0.1:9: unavailable: ")
    assert re.search(r"; retrying, \d+ records wait$", line)
    signals = sorted(line.split()[-2] for line in agent.lines("WARNING"))
    assert signals == sorted({*signals}), "one line for each signal"
    assert port in {told(one["attributes"]).sport for one in agent.records()}
