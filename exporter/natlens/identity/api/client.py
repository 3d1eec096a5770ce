"""One resource's requests, their answers decoded and counted."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping

from natlens.health import Health
from natlens.identity.api.access import Access
from natlens.identity.api.answer import Answer
from natlens.identity.api.decode import ACCEPT, ACCEPT_WATCH, Decoder, Event, Listing
from natlens.identity.api.failure import Failure
from natlens.identity.api.keep import Keep
from natlens.identity.api.reflector import SILENCE_S
from natlens.identity.api.resources import Resource
from natlens.identity.api.status import refusal
from natlens.identity.api.transport import Line
from natlens.identity.objects import KubernetesObject

__all__ = ["Client"]

LIST_READ_SECONDS = 30.0
LIST_SECONDS = 300.0
"""A list that drips is given up after this."""


class Client:
    """For one thread; :meth:`cut` for any.

    Counts ``identity_requests{resource,code}`` (an HTTP status, or why there was none),
    ``identity_broken{resource,code}`` (answers that ended otherwise after their status) and
    ``identity_bytes{resource}`` (octets of bodies as on the wire).
    """

    def __init__(self, access: Access, resource: Resource, keep: Keep, health: Health) -> None:
        self._label, self._health = resource.label, health
        self._path = resource.path
        self._decoder = Decoder(resource.kind, keep, health)
        self._line = Line(access, lambda octets: health.add("identity_bytes", octets, resource=resource.label))

    def list(self, query: Mapping[str, str]) -> Listing:
        """Return a whole list, asked for gzipped; raises :class:`Failure`."""
        answer = self._get(query, ACCEPT, gzip=True, timeout_s=LIST_READ_SECONDS)
        deadline = time.monotonic() + LIST_SECONDS
        try:
            chunks = _checked(answer.chunks(), lambda: time.monotonic() > deadline, "timeout")
            return self._decoder.read_list(answer.content_type, chunks)
        except Failure as failure:
            self._broken(failure)
            raise
        finally:
            answer.close()

    def one(self) -> KubernetesObject | None:
        """Return the object whose path the resource has, None if there is none; raises :class:`Failure`."""
        try:
            answer = self._get({}, ACCEPT, gzip=True, timeout_s=LIST_READ_SECONDS)
        except Failure as failure:
            if failure.status == 404:
                return None
            raise
        try:
            return self._decoder.read_one(answer.content_type, answer.chunks())
        finally:
            answer.close()

    def watch(
        self, query: Mapping[str, str], opened: Callable[[], None], silent: Callable[[], bool]
    ) -> Generator[Event, None, None]:
        """Yield events until the server ends the watch; raises :class:`Failure`.

        ``opened`` is called when the server has agreed, ``silent`` after whatever it sends.
        """
        answer = self._get(query, ACCEPT_WATCH, gzip=False, timeout_s=SILENCE_S)
        try:
            opened()
            chunks = _checked(answer.chunks(), silent, "silent")
            yield from self._decoder.read_events(answer.content_type, chunks)
        except Failure as failure:
            self._broken(failure)
            raise
        finally:
            answer.close()

    def cut(self) -> None:
        """End whatever the client's thread waits for; for any thread, and for good."""
        self._line.cut()

    def close(self) -> None:
        """Close the connections; of the client's own thread."""
        self._line.close()

    def _get(self, query: Mapping[str, str], accept: str, *, gzip: bool, timeout_s: float) -> Answer:
        try:
            answer = self._line.get(self._path, query, accept, gzip=gzip, timeout_s=timeout_s)
        except Failure as failure:
            self._count("identity_requests", failure.code)
            raise
        self._count("identity_requests", str(answer.status))
        if answer.status == 200:
            return answer
        try:
            protobuf = "protobuf" in answer.content_type
            raise refusal(answer.refusal(), protobuf=protobuf, status=answer.status, retry_after_s=answer.retry_after_s)
        finally:
            answer.close()

    def _broken(self, failure: Failure) -> None:
        if failure.code != "stopped":
            self._count("identity_broken", failure.code)

    def _count(self, name: str, code: str) -> None:
        if code != "stopped":
            self._health.add(name, resource=self._label, code=code)


def _checked(chunks: Iterator[bytes], late: Callable[[], bool], code: str) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        if late():
            raise Failure(code, "the answer only drips")
