"""OTLP receivers: the name, the port, the certificate, and a real export without records."""

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from natlens.delivery.exchange import Answer, Failure
from natlens.delivery.retry import Delivered, Outcome, Retry
from natlens.delivery.settings import OtlpSettings, read_settings
from natlens.delivery.trust import system_trust
from natlens.otlp.request import Signal
from natlens.ui.doctor.check import Finding, Findings, failed, passed, warned
from natlens.ui.doctor.machine import Machine

__all__ = ["look_at_endpoint"]

CONNECT_S = 5.0
DAY_S = 86_400
SOON_DAYS = 14
PORTS = {"http": 80, "https": 443}
ALPN = {"grpc": ["h2"], "http/protobuf": ["http/1.1"]}
WAYS_OUT = {
    "unauthenticated": "check headers (the receiver wants other credentials)",
    "permission_denied": "check headers (these credentials may not write)",
    "http_401": "check headers (the receiver wants other credentials)",
    "http_403": "check headers (these credentials may not write)",
    "http_404": "check the path: /v1/… is appended to endpoint; a store may want one before it (Loki: /otlp)",
    "unimplemented": "the receiver does not take this signal by this protocol: set protocol, or take it out of signals",
}


def look_at_endpoint(signal: Signal) -> Callable[[Machine], Findings]:
    """Return the check of where one signal goes."""

    def look(machine: Machine) -> Findings:
        yield from _look(machine, signal)

    return look


def _look(machine: Machine, signal: Signal) -> Findings:
    options = machine.options
    own = signal == "metrics" and options.telemetry == "on"
    settings = read_settings(options, machine.environ, signal)
    if signal not in options.signals and not (own and settings):
        yield passed("not sent (signals)")
    elif settings is None:
        others = any(read_settings(options, machine.environ, one) for one in options.signals)
        key = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
        if others:
            yield warned(f"{signal} are not sent: neither endpoint nor {key} is set", f"set one, or take {signal} out")
        else:
            yield passed("no endpoint: records are printed, or go to output")
    else:
        yield from _reach(settings)


def _reach(settings: OtlpSettings) -> Iterator[Finding]:
    """Yield each step of the way; the first that fails is the last."""
    parts = urlsplit(settings.url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(host):
        yield passed(f"{host}:{port} by the proxy {urlsplit(proxy).hostname or 'of the environment'}")
        yield _export(settings)
        return
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield failed(f"DNS: {host}: {error.strerror}", "check the host's name, the pod's dnsPolicy, /etc/resolv.conf")
        return
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    yield passed(f"DNS: {host}: {', '.join(addresses[:4])}")
    connected, why = _connect(addresses, port)
    if connected is None:
        fix = "start the receiver, check the port (4317 gRPC, 4318 HTTP) and network policies"
        yield failed(f"TCP: {host}:{port}: {why}", fix)
        return
    with contextlib.closing(connected):
        yield passed(f"TCP: {connected.getpeername()[0]}:{port} answers")
        if parts.scheme == "https":
            secured = _secure(connected, host, settings)
            yield secured
            if secured.fix and secured.status == "FAIL":
                return
    yield _export(settings)


def _connect(addresses: list[str], port: int) -> tuple[socket.socket | None, str]:
    why = ""
    for address in addresses:
        try:
            return socket.create_connection((address, port), CONNECT_S), ""
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
    return None, why


def _secure(connected: socket.socket, host: str, settings: OtlpSettings) -> Finding:
    """Shake hands as libcurl will, with what it will trust and show."""
    trusted = settings.certificates
    file, directory = (trusted.ca, "") if trusted.ca else system_trust(os.environ)
    try:
        context = ssl.create_default_context(cafile=file or None, capath=directory or None)
        context.set_alpn_protocols(ALPN[settings.protocol])
        if trusted.client:
            context.load_cert_chain(trusted.client, trusted.client_key)
        with context.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=True) as secure:
            return _certificate(secure, file or directory)
    except ssl.SSLCertVerificationError as error:
        fix = "set ca_file to the authority that signed it" if "self" in error.verify_message else _trust_fix(error)
        return failed(f"TLS: {host}: {error.verify_message}", fix)
    except OSError as error:  # SSLError is one
        why = getattr(error, "reason", None) or error.strerror or str(error)
        return failed(
            f"TLS: {host}: {why}", "is this a port without TLS (then http://)? does it want a client certificate?"
        )


def _trust_fix(error: ssl.SSLCertVerificationError) -> str:
    if "mismatch" in error.verify_message.lower() or "not valid for" in error.verify_message:
        return "call the receiver by a name that its certificate has"
    if "expired" in error.verify_message:
        return "renew the receiver's certificate, or set this host's clock"
    return "set ca_file to the authority that signed it"


def _certificate(secure: ssl.SSLSocket, trusted: str) -> Finding:
    ends = str((secure.getpeercert() or {}).get("notAfter", ""))
    told = f"TLS: {secure.version()}, trusted by {trusted}"
    if ends:
        days = (ssl.cert_time_to_seconds(ends) - time.time()) / DAY_S
        told += f", certificate until {ends}"
        if days < SOON_DAYS:
            return warned(told, f"renew the receiver's certificate: {days:.0f} days are left")
    return passed(told)


def _export(settings: OtlpSettings) -> Finding:
    """Send a request without records, by natlens' own transport."""
    from natlens.delivery.compression import codec
    from natlens.delivery.grpc import GrpcBinding
    from natlens.delivery.http import HttpBinding
    from natlens.delivery.otlp import USER_AGENT
    from natlens.delivery.transport import CurlTransport  # libcurl

    packing = codec(settings.compression)
    kind: type[GrpcBinding | HttpBinding] = GrpcBinding if settings.protocol == "grpc" else HttpBinding
    binding, transport = kind(settings, packing, USER_AGENT), CurlTransport(settings)
    begin = time.monotonic()
    try:
        transport.start(binding.request(packing.compress(b"")), 0)  # an ExportLogsServiceRequest without records
        ended: list[tuple[int, Answer | Failure]] = []
        while not ended:
            ended = transport.wait(settings.timeout_s)
    finally:
        transport.close()
    result = ended[0][1]
    outcome = binding.outcome(result) if isinstance(result, Answer) else Retry(result.code, result.message)
    return _told(settings, outcome, time.monotonic() - begin)


def _told(settings: OtlpSettings, outcome: Outcome, seconds: float) -> Finding:
    how = f"export: {settings.target} ({settings.protocol}, {settings.compression})"
    if isinstance(outcome, Delivered):
        said = f"; it says: {outcome.message}" if outcome.message else ""
        return passed(f"{how} took an empty request in {seconds * 1000:.0f} ms{said}")
    fix = WAYS_OUT.get(outcome.code, "check endpoint, protocol and compression, and the receiver's log")
    return failed(f"{how}: {outcome.code}: {outcome.message}", fix)
