"""Endpoint, headers and time-out from options and OTEL_EXPORTER_OTLP_*."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.delivery.settings import OtlpSettings, read_settings
from natlens.errors import ConfigError

GENERAL = "OTEL_EXPORTER_OTLP_"
LOGS = "OTEL_EXPORTER_OTLP_LOGS_"


def test_nothing_named_is_nothing_sent() -> None:
    assert read_settings({}) is None
    assert read_settings({GENERAL + "ENDPOINT": " ", GENERAL + "TIMEOUT": "x"}) is None


@pytest.mark.parametrize(
    ("endpoint", "target", "insecure"),
    [
        ("http://collector:4317", "collector:4317", True),
        ("https://collector.example.com:443/", "collector.example.com:443", False),
        ("HTTP://collector", "collector:4317", True),
        ("http://10.0.0.1:1", "10.0.0.1:1", True),
        ("http://[2001:db8::1]:4317", "[2001:db8::1]:4317", True),
        ("http://[::1]", "[::1]:4317", True),
        ("collector:4317", "collector:4317", False),
        (" otel_collector.ns.svc.cluster.local. ", "otel_collector.ns.svc.cluster.local.:4317", False),
    ],
)
def test_endpoints(endpoint: str, target: str, insecure: bool) -> None:
    assert read_settings({}, endpoint=endpoint) == OtlpSettings(target, insecure)


def test_host_and_port_may_be_declared_insecure_and_a_scheme_wins() -> None:
    environ = {GENERAL + "INSECURE": "True"}
    host_port = read_settings(environ, endpoint="collector:4317")
    https = read_settings(environ, endpoint="https://collector:4317")
    assert host_port is not None
    assert host_port.insecure
    assert https is not None
    assert not https.insecure


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("ftp://collector:4317", "scheme 'ftp'"),
        ("http://", "host is missing"),
        ("http://:4317", "host is missing"),
        ("http://collector:", "port is missing"),
        ("http://collector:0", "port is missing"),
        ("http://collector:99999", "ort"),
        ("http://collector:otlp", "ort"),
        ("http://collector:4318/v1/logs", "no path"),
        ("http://collector?x=1", "no path"),
        ("http://[::1", "Invalid IPv6"),
        ("http://[zz]:1", "zz|IPv6|valid"),
        ("::1:4317", "ort|host|octet|address|parts|digits"),
        ("http://bad host:1", "host name"),
        ("http://-x:1", "host name"),
        ("http:collector", "ort|scheme"),
    ],
)
def test_malformed_endpoints_are_one_clear_line(endpoint: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        read_settings({LOGS + "ENDPOINT": endpoint})
    assert str(caught.value).startswith(f"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT={endpoint!r} is not")
    assert "\n" not in str(caught.value)


def test_a_password_in_the_endpoint_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="endpoint holds a user") as caught:
        read_settings({}, endpoint="http://me:s3cret@collector:4317")
    assert "s3cret" not in str(caught.value)


def test_options_win_over_logs_over_general() -> None:
    general = {
        GENERAL + "ENDPOINT": "http://general:1",
        GENERAL + "HEADERS": "a=general,g=1",
        GENERAL + "TIMEOUT": "1000",
    }
    logs = {**general, LOGS + "ENDPOINT": "http://logs:2", LOGS + "HEADERS": "a=logs", LOGS + "TIMEOUT": "2500"}
    assert read_settings(general) == OtlpSettings("general:1", True, (("a", "general"), ("g", "1")), 1.0)
    assert read_settings(logs) == OtlpSettings("logs:2", True, (("a", "logs"),), 2.5)
    explicit = read_settings(logs, endpoint="http://option:3", headers={"A": "option"}, timeout_s=0.5)
    assert explicit == OtlpSettings("option:3", True, (("a", "option"),), 0.5)


def test_headers_are_percent_decoded() -> None:
    environ = {GENERAL + "ENDPOINT": "http://c:1", GENERAL + "HEADERS": "Authorization=Basic%20YWI%3D%2C, x-a = 1=2,,"}
    settings = read_settings(environ)
    assert settings is not None
    assert settings.headers == (("authorization", "Basic YWI=,"), ("x-a", "1=2"))


@pytest.mark.parametrize("headers", ["novalue", "=x", "a b=1", "grpc-x=1", "x-bin=1", "ä=1", "a=1,secret"])
def test_malformed_headers_name_the_variable_but_not_values(headers: str) -> None:
    with pytest.raises(ConfigError, match=r"^OTEL_EXPORTER_OTLP_HEADERS"):
        read_settings({GENERAL + "ENDPOINT": "http://c:1", GENERAL + "HEADERS": headers})


@pytest.mark.parametrize("value", ["s3cret\n", "s3creté", "s3cret\x00"])
def test_values_that_headers_cannot_carry_are_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ConfigError, match="headers: the value of 'x-token'") as caught:
        read_settings({}, endpoint="http://c:1", headers={"x-token": value})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("timeout", ["0", "-1", "10s", "1.5", "9999999999"])
def test_malformed_timeouts_name_key_and_value(timeout: str) -> None:
    with pytest.raises(ConfigError, match=f"OTEL_EXPORTER_OTLP_TIMEOUT='{timeout}' is not a whole number"):
        read_settings({GENERAL + "ENDPOINT": "http://c:1", GENERAL + "TIMEOUT": timeout})


def test_a_malformed_insecure_names_key_and_value() -> None:
    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_INSECURE='yes' is neither"):
        read_settings({GENERAL + "ENDPOINT": "c:1", GENERAL + "INSECURE": "yes"})


@given(st.text(), st.text(), st.text())
def test_any_text_is_taken_or_refused_in_one_way(endpoint: str, headers: str, timeout: str) -> None:
    environ = {GENERAL + "ENDPOINT": endpoint, GENERAL + "HEADERS": headers, GENERAL + "TIMEOUT": timeout}
    settings, message = None, "OTEL_EXPORTER_OTLP_"
    try:
        settings = read_settings(environ)
    except ConfigError as error:
        message = str(error)
    assert message.startswith("OTEL_EXPORTER_OTLP_")
    assert settings is None or settings.target
