"""Single values of messages; what an object of the API cannot hold raises ValueError."""

from functools import lru_cache
from socket import AF_INET, inet_ntop, inet_pton
from sys import intern
from typing import Literal

from natlens.identity.api import schema_pb2 as schema
from natlens.identity.objects import Address, Moment, ServiceAddress, canonical

__all__ = ["address", "any_address", "moment", "name", "port", "protocol", "repeated", "service_address"]

FIRST_S, LAST_S = -62135596800, 253402300799
"""Years 1 to 9999, of Unix time: what RFC 3339 can say."""

_canonical = lru_cache(4096)(canonical)


def moment(time: schema.Time) -> Moment | None:
    """Return a time, None where it is absent or Go's zero time."""
    seconds = time.seconds
    if not seconds and not time.HasField("seconds"):  # an empty message is Go's zero time
        return None
    if not FIRST_S <= seconds <= LAST_S or not 0 <= time.nanos < 1_000_000_000:
        raise ValueError("no time")
    return Moment(seconds * 1_000_000_000 + time.nanos)


def address(text: str) -> Address:
    """Return an address in canonical text."""
    try:
        if inet_ntop(AF_INET, inet_pton(AF_INET, text)) == text:  # most are; a tenth of the time
            return Address(text)
    except OSError:
        pass
    found = _canonical(text)
    if found is None:
        raise ValueError(f"{text[:60]!r} is not an IP address")
    return Address(found)


def any_address(text: str) -> ServiceAddress:
    """Return a Service's address: may be empty or the word None."""
    return ServiceAddress(text if text in {"", "None"} else address(text))


def service_address(text: str) -> ServiceAddress | None:
    """Return an address or the word None; nothing for an empty text."""
    return any_address(text) if text else None


def port(number: int) -> int:
    """Return a port's number."""
    if not 0 <= number <= 65535:
        raise ValueError(f"{number} is no port")
    return number


def protocol(text: str) -> Literal["TCP", "UDP", "SCTP"] | None:
    """Return a protocol, None for an empty text."""
    match text:
        case "TCP" | "UDP" | "SCTP":
            return text
        case "":
            return None
    raise ValueError(f"{text[:60]!r} is no protocol")


def name(text: str) -> str:
    """Return a name, which is never empty."""
    if not text:
        raise ValueError("no name")
    return text


def repeated(text: str) -> str | None:
    """Return a text that many objects have, one for all of them."""
    return intern(text) if text else None
