"""Where and how OTLP goes, from options and OTEL_EXPORTER_OTLP_*."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.config import Options
from natlens.delivery.settings import OtlpSettings, read_settings
from natlens.errors import ConfigError
from natlens.otlp.request import Signal
from tests.delivery.conftest import SIGNALS

GENERAL = "OTEL_EXPORTER_OTLP_"


LOGS = "OTEL_EXPORTER_OTLP_LOGS_"


OWN: dict[Signal, str] = {
    "logs": LOGS,
    "metrics": "OTEL_EXPORTER_OTLP_METRICS_",
    "traces": "OTEL_EXPORTER_OTLP_TRACES_",
}


HTTP = {GENERAL + "PROTOCOL": "http/protobuf"}


def settings(environ: dict[str, str] | None = None, signal: Signal = "logs", **options: Any) -> OtlpSettings:
    """Return the settings, which are there."""
    read = read_settings(Options(**options), environ or {}, signal)
    assert read
    return read


def mistake(environ: dict[str, str] | None = None, signal: Signal = "logs", **options: Any) -> str:
    """Return the one line that it is refused with."""
    with pytest.raises(ConfigError) as error:
        read_settings(Options(**options), environ or {}, signal)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_nothing_named_is_nothing_sent() -> None:
    for environ in ({}, {GENERAL + "ENDPOINT": " ", GENERAL + "TIMEOUT": "x"}):
        assert read_settings(Options(), environ) is None


def test_an_endpoint_of_one_signal_is_for_that_signal_alone(signal: Signal) -> None:
    environ = {OWN[signal] + "ENDPOINT": "http://c:1"}
    assert [one for one in SIGNALS if read_settings(Options(), environ, one)] == [signal]


def test_defaults(signal: Signal) -> None:
    in_flight = 1 if signal == "metrics" else 4
    assert settings(signal=signal, endpoint="http://c:1") == OtlpSettings(
        "grpc", "http://c:1", "gzip", (), 10.0, requests_in_flight=in_flight, signal=signal
    )


def test_metrics_stay_in_order_whatever_the_option_says(signal: Signal) -> None:
    read = settings(signal=signal, endpoint="http://c:1", requests_in_flight=9)
    assert read.requests_in_flight == (1 if signal == "metrics" else 9)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://collector:4317", "http://collector:4317"),
        ("https://collector.example.com:443/", "https://collector.example.com:443"),
        ("HTTP://collector", "http://collector:4317"),
        ("http://10.0.0.1:1", "http://10.0.0.1:1"),
        ("http://[2001:db8::1]:4317", "http://[2001:db8::1]:4317"),
        ("http://[::1]", "http://[::1]:4317"),
        ("collector:4317", "https://collector:4317"),
        (" otel_collector.ns.svc.cluster.local. ", "https://otel_collector.ns.svc.cluster.local.:4317"),
    ],
)
def test_endpoints_of_grpc(endpoint: str, url: str, signal: Signal) -> None:
    assert settings(signal=signal, endpoint=endpoint).url == url
    assert settings({OWN[signal] + "ENDPOINT": endpoint}, signal).url == url
    assert settings({GENERAL + "ENDPOINT": endpoint}, signal).url == url


@pytest.mark.parametrize(
    ("endpoint", "general", "own"),
    [
        ("http://c:4318", "http://c:4318/v1/logs", "http://c:4318/"),
        ("http://c:4318/", "http://c:4318/v1/logs", "http://c:4318/"),
        ("http://c", "http://c/v1/logs", "http://c/"),
        ("https://c/base", "https://c/base/v1/logs", "https://c/base"),
        ("https://c/base/", "https://c/base/v1/logs", "https://c/base/"),
        ("https://c//", "https://c/v1/logs", "https://c//"),
        ("https://c/v1/logs", "https://c/v1/logs/v1/logs", "https://c/v1/logs"),
        ("HTTPS://C.example:9/In%20gest?key=1%2F2", *("https://c.example:9/In%20gest",) * 2),
        ("http://[2001:DB8::1]:4318", "http://[2001:db8::1]:4318/v1/logs", "http://[2001:db8::1]:4318/"),
    ],
)
def test_endpoints_of_http(endpoint: str, general: str, own: str, signal: Signal) -> None:
    if "?" in endpoint:
        general, own = f"{general}/v1/logs?key=1%2F2", f"{own}?key=1%2F2"
    general = f"/v1/{signal}".join(general.rsplit("/v1/logs", 1))
    assert settings(HTTP, signal, endpoint=endpoint).url == general
    assert settings({**HTTP, GENERAL + "ENDPOINT": endpoint}, signal).url == general
    assert settings({**HTTP, OWN[signal] + "ENDPOINT": endpoint}, signal).url == own


def test_messages_name_the_target_without_its_query() -> None:
    assert settings(HTTP, endpoint="http://c:4318/?key=s3cret").target == "http://c:4318/v1/logs"


def test_host_and_port_may_be_declared_insecure_and_a_scheme_wins() -> None:
    environ = {GENERAL + "INSECURE": "True"}
    assert settings(environ, endpoint="collector:4317").url == "http://collector:4317"
    assert settings(environ, endpoint="https://collector:4317").url == "https://collector:4317"
    assert settings({**environ, LOGS + "INSECURE": "false"}, endpoint="c").url == "https://c:4317"


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("ftp://collector:4317", "the scheme 'ftp' is neither http nor https"),
        ("http://", "the host is missing"),
        ("http://:4317", "the host is missing"),
        ("http://collector:", "the port is missing"),
        ("http://collector:0", "the port is missing"),
        ("http://collector:99999", "Port out of range 0-65535"),
        ("http://collector:otlp", "Port could not be cast to integer value as 'otlp'"),
        ("http://collector:4318/v1/logs", "OTLP/gRPC has no path: leave out what follows the port"),
        ("http://collector?x=1", "OTLP/gRPC has no path: leave out what follows the port"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://bad host:1", "the host is missing or not a host name"),
        ("http://-x:1", "the host is missing or not a host name"),
        ("http:collector", "Port could not be cast to integer value as 'collector'"),
    ],
)
def test_malformed_endpoints_of_grpc_are_one_clear_line(endpoint: str, why: str) -> None:
    line = f"={endpoint!r} is not an OTLP/gRPC endpoint: {why}; an example is http://collector:4317"
    assert mistake({LOGS + "ENDPOINT": endpoint}) == f"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT{line}"
    assert mistake(endpoint=endpoint) == f"endpoint{line}"


@pytest.mark.parametrize("endpoint", ["http://[zz]:1", "::1:4317"])
def test_addresses_that_are_none_are_refused(endpoint: str) -> None:
    assert mistake(endpoint=endpoint).startswith(f"endpoint={endpoint!r} is not an OTLP/gRPC endpoint: ")


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("collector:4318", "it must begin with http:// or https://"),
        ("http:collector", "it must begin with http:// or https://"),
        ("unix:///run/otlp", "it must begin with http:// or https://"),
        ("http://", "the host is missing"),
        ("http://c:0", "the port is missing"),
        ("http://c/a b", "it must have neither spaces nor a fragment (#)"),
        ("http://c/\tb", "it must have neither spaces nor a fragment (#)"),
        ("http://c/é", "it must have neither spaces nor a fragment (#)"),
        ("http://c/#logs", "it must have neither spaces nor a fragment (#)"),
        ("http://c:99999", "Port out of range 0-65535"),
    ],
)
def test_malformed_endpoints_of_http_are_one_clear_line(endpoint: str, why: str) -> None:
    line = f"endpoint={endpoint!r} is not an OTLP/HTTP endpoint: {why}; an example is http://collector:4318"
    assert mistake(HTTP, endpoint=endpoint) == line


@pytest.mark.parametrize("environ", [{}, HTTP])
def test_a_password_in_the_endpoint_is_refused_and_not_shown(environ: dict[str, str]) -> None:
    assert mistake(environ, endpoint="http://me:s3cret@collector:4317") == (
        "endpoint holds a user or password, which OTLP does not send: use headers instead"
    )


# name, general, for the signal, option → of the settings
PRECEDENCE = [
    ("ENDPOINT", "http://general:1", "http://own:2", {"endpoint": "http://option:3"}, "url", None),
    ("PROTOCOL", "grpc", "http/protobuf", {"protocol": "grpc"}, "protocol", ["grpc", "http/protobuf", "grpc"]),
    ("COMPRESSION", "none", "zstd", {"compression": "gzip"}, "compression", ["none", "zstd", "gzip"]),
    ("TIMEOUT", "1000", "2500", {"timeout": 0.5}, "timeout_s", [1.0, 2.5, 0.5]),
    (
        "HEADERS",
        "a=general,g=1",
        "a=own",
        {"headers": {"A": "option"}},
        "headers",
        [(("a", "general"), ("g", "1")), (("a", "own"),), (("a", "option"),)],
    ),
]


@pytest.mark.parametrize(("name", "general", "own", "option", "field", "values"), PRECEDENCE)
def test_options_win_over_the_signals_own_over_general_and_empty_is_unset(
    name: str, general: str, own: str, option: dict[str, Any], field: str, values: list[Any] | None, signal: Signal
) -> None:
    base = {} if name == "ENDPOINT" else {OWN[signal] + "ENDPOINT": "http://c:1"}
    environ = {**base, GENERAL + name: general}
    all_of_it = {**environ, OWN[signal] + name: own}
    read = [settings(environ, signal), settings(all_of_it, signal), settings(all_of_it, signal, **option)]
    assert [getattr(one, field) for one in read] == (values or [general, own, option["endpoint"]])
    assert settings({**environ, OWN[signal] + name: " "}, signal) == read[0]
    for other in SIGNALS:
        if other != signal and name != "ENDPOINT":
            others = settings({**all_of_it, OWN[other] + "ENDPOINT": "http://c:1"}, other)
            assert getattr(others, field) == getattr(read[0], field)


@pytest.mark.parametrize("value", ["http/json", "http", "GRPC"])
def test_other_protocols_are_refused(value: str, signal: Signal) -> None:
    line = f"{OWN[signal]}PROTOCOL={value!r} is not supported; it must be one of grpc, http/protobuf"
    assert mistake({OWN[signal] + "PROTOCOL": value}, signal, endpoint="http://c:1") == line


@pytest.mark.parametrize("name", ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"])
def test_files_of_tls_may_be_one_signals_own(name: str, signal: Signal) -> None:
    pair = {"CLIENT_CERTIFICATE": "/missing.pem", "CLIENT_KEY": "/missing.pem", name: "/missing.pem"}
    environ = {OWN[signal] + key: value for key, value in pair.items()}
    line = mistake(environ, signal, endpoint="https://c:1")
    assert line.startswith(OWN[signal])
    assert "cannot be read: No such file or directory" in line
    assert all(read_settings(Options(endpoint="https://c:1"), environ, other) for other in SIGNALS if other != signal)


def test_other_compressions_are_refused() -> None:
    line = "OTEL_EXPORTER_OTLP_COMPRESSION='br' is not supported; it must be one of none, gzip, zstd"
    assert mistake({GENERAL + "COMPRESSION": "br"}, endpoint="http://c:1") == line


def test_headers_are_percent_decoded() -> None:
    environ = {GENERAL + "HEADERS": "Authorization=Basic%20YWI%3D%2C, x-a = 1=2,,"}
    assert settings(environ, endpoint="http://c:1").headers == (("authorization", "Basic YWI=,"), ("x-a", "1=2"))


@pytest.mark.parametrize("headers", ["novalue", "=x", "a b=1", "grpc-x=1", "x-bin=1", "ä=1", "a=1,hush", "Host=x"])
def test_malformed_headers_name_the_variable_but_not_values(headers: str) -> None:
    line = mistake({GENERAL + "HEADERS": headers}, endpoint="http://c:1")
    assert line.startswith("OTEL_EXPORTER_OTLP_HEADERS")
    assert "hush" not in line


@pytest.mark.parametrize("name", ["content-type", "Content-Encoding", "TE", "user-agent", "transfer-encoding"])
def test_headers_that_are_natlens_own_are_refused(name: str) -> None:
    line = f"headers: the header {name!r} is natlens' own: leave it out"
    assert mistake(endpoint="http://c:1", headers={name: "x"}) == line


@pytest.mark.parametrize("value", ["s3cret\n", "s3creté", "s3cret\x00"])
def test_values_that_headers_cannot_carry_are_refused_and_not_shown(value: str) -> None:
    assert mistake(endpoint="http://c:1", headers={"x-token": value}) == (
        "headers: the value of 'x-token' holds characters that a header cannot carry"
    )


@pytest.mark.parametrize("timeout", ["0", "-1", "10s", "1.5", "9999999999"])
def test_malformed_timeouts_name_key_and_value(timeout: str) -> None:
    assert mistake({GENERAL + "TIMEOUT": timeout}, endpoint="http://c:1") == (
        f"OTEL_EXPORTER_OTLP_TIMEOUT={timeout!r} is not a whole number of milliseconds above 0"
    )


def test_a_malformed_insecure_names_key_and_value() -> None:
    assert mistake({GENERAL + "INSECURE": "yes"}, endpoint="c:1") == (
        "OTEL_EXPORTER_OTLP_INSECURE='yes' is neither true nor false"
    )


TEXT = st.text(max_size=40)


@given(TEXT, TEXT, TEXT, st.sampled_from(["", "grpc", "http/protobuf"]))
def test_any_text_is_taken_or_refused_in_one_way(endpoint: str, headers: str, timeout: str, protocol: str) -> None:
    values = {"ENDPOINT": endpoint, "HEADERS": headers, "TIMEOUT": timeout, "PROTOCOL": protocol}
    environ = {GENERAL + name: value for name, value in values.items()}
    read, message = None, "OTEL_EXPORTER_OTLP_"
    try:
        read = read_settings(Options(), environ)
    except ConfigError as error:
        message = str(error)
    assert message.startswith("OTEL_EXPORTER_OTLP_")
    assert "\n" not in message
    assert read is None or read.url.startswith(("http://", "https://"))


@given(st.text(st.characters(codec="ascii"), max_size=30), st.booleans())
def test_any_http_url_that_is_taken_is_printable(rest: str, for_logs: bool) -> None:
    environ = {**HTTP, (LOGS if for_logs else GENERAL) + "ENDPOINT": f"http://c{rest}"}
    try:
        read = read_settings(Options(), environ)
    except ConfigError:
        return
    assert read
    assert read.url.isascii()
    assert read.url.isprintable()
    assert " " not in read.url
    assert read.url.startswith("http://c")
