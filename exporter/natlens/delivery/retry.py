"""What became of an export, and when to try again: the rules of the OTLP specification, without a network."""

import random
from dataclasses import dataclass

__all__ = ["Backoff", "Delivered", "Outcome", "Refused", "Retry", "TooLarge"]

LONGEST_DELAY_S = 600.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The server took the request; never sent again, even where it ``rejected`` some records of it."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not delivered, may succeed later: not before ``after_s`` seconds, if the server said so."""

    code: str
    message: str = ""
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not delivered, and the same request never will be."""

    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Not delivered because of its size: its records may get through in smaller requests."""

    code: str
    message: str = ""


Outcome = Delivered | Retry | Refused | TooLarge


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter, so that a node's agents do not come back all at once."""

    initial_s: float = 1.0
    max_s: float = 30.0

    def delay(self, attempt: int, after_s: float | None = None) -> float:
        """Return seconds to wait after failed ``attempt`` 0, 1, 2…; a server's ``after_s`` > 0 is kept (to 10 min)."""
        if after_s:
            return min(after_s, LONGEST_DELAY_S)
        longest = min(self.max_s, self.initial_s * 2.0 ** min(attempt, 30))
        return longest * random.SystemRandom().uniform(0.5, 1.0)
