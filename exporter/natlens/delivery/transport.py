"""HTTP over libcurl: several exchanges at once in one thread. The only module that knows pycurl.

Import it where something is sent: libcurl maps 9 MiB.
"""

import os
import socket
import threading
import time
from contextlib import suppress

import pycurl

from natlens.delivery.exchange import Answer, Failure, HttpRequest, one_line
from natlens.delivery.loop import CurlLoop
from natlens.delivery.settings import OtlpSettings
from natlens.delivery.trust import system_trust
from natlens.errors import DeliveryError

__all__ = ["CurlTransport"]

CONNECT_S = 5.0
LONGEST_BODY = 64 << 10

NOT_SPOKEN = (
    ("HTTP/2", "; is this an OTLP/HTTP port, or one with TLS (https)? gRPC is usually 4317"),
    ("HTTP/0.9", "; is this an OTLP/gRPC port? OTLP/HTTP is usually 4318"),
    ("wrong version number", "; is this a port without TLS (http)?"),
)
"""What libcurl says where the other side evidently speaks something else."""

CUT_OFF = pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR
REFUSED = "; does it want a client certificate, or another one?"
"""In TLS 1.3 that is refused when the request is being sent already: then its alert may go unread."""

WORDLESS = {pycurl.E_HTTP2: "no HTTP/2 was spoken"}


class CurlTransport:
    """A :class:`~natlens.delivery.exchange.Transport`.

    gRPC goes over one HTTP/2 connection, HTTP over as many HTTP/1.1 connections as there are requests
    on their way; connections are kept for the next ones. Proxies come from ``http_proxy``,
    ``https_proxy`` and ``no_proxy``. Raises :class:`~natlens.errors.DeliveryError` where libcurl cannot
    do what the protocol needs.
    """

    def __init__(self, settings: OtlpSettings) -> None:
        _, version, _, _, features, *_ = pycurl.version_info()
        if settings.protocol == "grpc" and not features & pycurl.VERSION_HTTP2:
            raise DeliveryError(
                f"endpoint {settings.target!r}: this libcurl ({version}) has no HTTP/2, which gRPC needs: "
                "install pycurl's wheel, or use protocol http/protobuf"
            )
        self._settings = settings
        self._waker, self._awake = socket.socketpair()
        self._waker.setblocking(False)
        self._awake.setblocking(False)
        self._idle: list[_Slot] = []
        self._running: dict[pycurl.Curl, _Slot] = {}
        self._ended: list[tuple[int, Answer | Failure]] = []
        self._stale = False  # after a time-out: the connection may be dead
        self._secure = settings.url.startswith("https:")
        self._heard = False  # whether anything was ever answered
        self._loop = CurlLoop(self._awake)

    def start(self, request: HttpRequest, token: int) -> None:
        """Begin an exchange; see :class:`~natlens.delivery.exchange.Transport`."""
        if self._stale and not self._running:
            threading.Thread(target=self._loop.close, name="natlens-close", daemon=True).start()
            self._loop, self._stale = CurlLoop(self._awake), False
        slot = self._idle.pop() if self._idle else _Slot(self._settings)
        try:
            slot.begin(request, token)
            self._loop.add(slot.curl)
        except pycurl.error as error:
            self._ended.append((token, Failure("unavailable", one_line(str(error.args[-1])))))
        else:
            self._running[slot.curl] = slot

    def wait(self, timeout_s: float | None) -> list[tuple[int, Answer | Failure]]:
        """Return what has ended; see :class:`~natlens.delivery.exchange.Transport`."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ended:
            rang, ended = self._loop.turn(until)
            self._ended += [self._end(*one) for one in ended]
            if rang or (until is not None and time.monotonic() >= until):
                break
        results, self._ended = self._ended, []
        return results

    def wake(self) -> None:
        """Make :meth:`wait` return; may be called from any thread, also after :meth:`close`."""
        with suppress(OSError):  # full: it will wake anyway; closed: nobody waits
            self._waker.send(b"\0")

    def close(self) -> None:
        """Abort what runs and close all connections; as slow as :meth:`CurlLoop.close`."""
        for curl in self._running:
            self._loop.remove(curl)
        self._running.clear()
        self._loop.close()
        self._waker.close()
        self._awake.close()

    def _end(self, curl: pycurl.Curl, number: int, words: str) -> tuple[int, Answer | Failure]:
        self._loop.remove(curl)
        slot = self._running.pop(curl)
        slot.end()
        self._idle.append(slot)
        if not number:
            self._heard = True
            return slot.token, slot.answer() or Failure("unavailable", "the answer ended within its headers")
        late = number == pycurl.E_OPERATION_TIMEDOUT
        self._stale |= late and curl.getinfo(pycurl.PRETRANSFER_TIME) > 0
        return slot.token, Failure("deadline_exceeded" if late else "unavailable", self._why(number, words))

    def _why(self, number: int, words: str) -> str:
        """Return libcurl's words, and what they may mean."""
        message = one_line(words or WORDLESS.get(number, f"libcurl error {number}"))
        if number in CUT_OFF and self._secure and not self._heard and "alert" not in message:
            return message + REFUSED
        return message + next((hint for said, hint in NOT_SPOKEN if said in message), "")


class _Slot:
    """An easy handle that is used for one exchange after another, and what came back in the current one."""

    def __init__(self, settings: OtlpSettings) -> None:
        self.curl = pycurl.Curl()
        self.token = 0
        self._headers: dict[str, str] = {}
        self._headers_ended = False
        self._body = bytearray()
        for option, value in _options(settings).items():
            self.curl.setopt(option, value)
        if settings.certificates.ca:
            self.curl.unsetopt(pycurl.CAPATH)  # where a distribution's libcurl has a directory, it is trusted as well
        self.curl.setopt(pycurl.HEADERFUNCTION, self._take_header)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._take_body)

    def begin(self, request: HttpRequest, token: int) -> None:
        self.token = token
        self._headers, self._headers_ended, self._body = {}, False, bytearray()
        self.curl.setopt(pycurl.URL, request.url)
        # A name alone takes out a header of libcurl's own; one with ";" is sent without a value.
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
        self.curl.setopt(pycurl.HTTPHEADER, [*lines, "Accept:", "Expect:"])
        self.curl.setopt(pycurl.POSTFIELDS, request.body)

    def end(self) -> None:
        """Let go of the request."""
        self.curl.setopt(pycurl.POSTFIELDS, b"")

    def answer(self) -> Answer | None:
        """Return the answer; None for one that ended within its headers, which libcurl lets pass."""
        if not self._headers_ended:
            return None
        return Answer(int(self.curl.getinfo(pycurl.RESPONSE_CODE)), self._headers, bytes(self._body))

    def _take_header(self, line: bytes) -> None:
        if line.startswith(b"HTTP/"):  # another answer: what came before was a proxy's, or a 1xx
            self._headers, self._headers_ended = {}, False
            return
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if not line.strip():
            self._headers_ended = True
        elif colon:
            self._headers[name.strip().lower()] = value.strip()

    def _take_body(self, data: bytes) -> None:
        self._body += data[: LONGEST_BODY - len(self._body)]


def _options(settings: OtlpSettings) -> dict[int, int | str]:
    timeout_ms = max(1, round(settings.timeout_s * 1000))
    options: dict[int, int | str] = {
        pycurl.NOSIGNAL: 1,  # a time-out by SIGALRM would hit the whole process
        pycurl.POST: 1,
        pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
        pycurl.TIMEOUT_MS: timeout_ms,
        pycurl.CONNECTTIMEOUT_MS: min(timeout_ms, int(CONNECT_S * 1000)),
    }
    if settings.protocol == "grpc":
        options |= {
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE,
            pycurl.PIPEWAIT: 1,
            pycurl.HTTPPROXYTUNNEL: 1,  # proxies forward plain requests as HTTP/1.1
        }
    else:
        options[pycurl.HTTP_VERSION] = pycurl.CURL_HTTP_VERSION_1_1
    return options | _tls_options(settings)


def _tls_options(settings: OtlpSettings) -> dict[int, int | str]:
    if not settings.url.startswith("https:"):
        return {}
    trusted = settings.certificates
    file, directory = (trusted.ca, "") if trusted.ca else system_trust(os.environ)
    files = {
        pycurl.CAINFO: file,
        pycurl.CAPATH: directory,
        pycurl.SSLCERT: trusted.client,
        pycurl.SSLKEY: trusted.client_key,
    }
    return {option: path for option, path in files.items() if path}
