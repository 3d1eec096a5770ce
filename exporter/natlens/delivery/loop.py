"""libcurl's multi handle, driven by a selector: one thread runs several exchanges at once."""

import selectors
import socket
import time
from contextlib import suppress

import pycurl

__all__ = ["CurlLoop", "Ended"]

EVENTS = {
    pycurl.POLL_IN: selectors.EVENT_READ,
    pycurl.POLL_OUT: selectors.EVENT_WRITE,
    pycurl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
}

Ended = tuple[pycurl.Curl, int, str]
"""An easy handle, libcurl's error number (0: none) and its words."""


class CurlLoop:
    """A multi handle with its connections, and the sockets it waits for.

    It waits by a selector and not by ``select()``: an agent's descriptors may be above 1023.
    """

    def __init__(self, awake: socket.socket) -> None:
        self._awake = awake
        self._selector = selectors.DefaultSelector()
        self._selector.register(awake, selectors.EVENT_READ)
        self._timer_at: float | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)

    def add(self, curl: pycurl.Curl) -> None:
        """Begin an exchange; raises ``pycurl.error``."""
        self._multi.add_handle(curl)

    def remove(self, curl: pycurl.Curl) -> None:
        """Let go of an easy handle, aborting what it does; its connection may be used again."""
        self._multi.remove_handle(curl)

    def turn(self, until: float | None) -> tuple[bool, list[Ended]]:
        """Go on once, waiting at most until ``until`` (monotonic, s); return whether ``awake`` rang, and what ended."""
        due = min((at for at in (until, self._timer_at) if at is not None), default=None)
        rang = False
        for key, events in self._selector.select(None if due is None else max(due - time.monotonic(), 0)):
            if key.fileobj is self._awake:
                rang = True
                with suppress(BlockingIOError):
                    while self._awake.recv(4096):
                        pass
            else:
                readable = pycurl.CSELECT_IN if events & selectors.EVENT_READ else 0
                writable = pycurl.CSELECT_OUT if events & selectors.EVENT_WRITE else 0
                self._multi.socket_action(key.fd, readable | writable)
        if self._timer_at is not None and time.monotonic() >= self._timer_at:
            self._timer_at = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        return rang, self._ended()

    def close(self) -> None:
        """Close all connections.

        This may take as long as a look-up of a name that nobody answers, 10 s and more: libcurl waits for its threads,
        and pycurl knows no CURLMOPT_QUICK_EXIT.
        """
        self._multi.close()
        self._selector.close()

    def _ended(self) -> list[Ended]:
        ended: list[Ended] = []
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            ended += [(curl, 0, "") for curl in succeeded]
            ended += failed
        return ended

    def _watch(self, what: int, fd: int, _multi: pycurl.CurlMulti, _data: object) -> None:
        """Take note of what libcurl waits for on a socket."""
        with suppress(KeyError):
            self._selector.unregister(fd)
        if what in EVENTS:
            self._selector.register(fd, EVENTS[what])

    def _set_timer(self, milliseconds: int) -> None:
        """Take note of when libcurl wants to go on in any case; -1: never."""
        self._timer_at = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000
