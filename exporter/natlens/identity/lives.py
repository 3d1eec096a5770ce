"""One object over time, and when what it says began to hold."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from natlens.identity.claims import Fact, Statement, Subject
from natlens.identity.intervals import ALWAYS, BEGIN, SECOND, Interval
from natlens.identity.words import About, AboutPod, Word

__all__ = ["GLIMPSE_NS", "Life", "Opening", "Rules", "When", "is_over", "opening"]

GLIMPSE_NS = 600 * SECOND
"""How long a pod of another node may be what it was when it was looked up: nobody tells of its end."""


class Rules(NamedTuple):
    """How facts get their times."""

    history: bool
    """False: there are no times, what is said holds for ever and what is not said never did."""
    grace_ns: int = 0
    glimpsed: str | None = None
    """The node whose pods are followed, where those of others are only looked up."""


class When(NamedTuple):
    """When something was told, and since when it may have been so."""

    at_ns: int
    before_ns: int
    """It happened after this; BEGIN: nobody can tell."""


@dataclass(slots=True, eq=False)
class Life:
    """An object of one uid."""

    subject: Subject
    uid: str
    created_ns: int | None
    about: About
    held: Interval
    facts: dict[Statement, Fact] = field(default_factory=dict)
    """What it says now."""


class Opening:
    """The time from which holds what an object did not say before; computed once, for most objects say nothing new."""

    def __init__(self, rules: Rules, word: Word, when: When, before: About, *, born: bool) -> None:
        self._rules, self._word, self.when = rules, word, when
        self._before, self._born = before, born

    @cached_property
    def held(self) -> Interval:
        """Return the interval."""
        held = opening(self._rules, self._word, self.when)
        if self._born or not self._rules.history or self._word.since is None:
            return held
        if not isinstance(self._before, AboutPod):
            return held._replace(since=max(held.since, self.when.before_ns), sure_since=self.when.at_ns)
        return held._replace(sure_since=self.when.at_ns) if self._before.addressed else held


def opening(rules: Rules, word: Word, when: When) -> Interval:
    """Return the interval of an object, or of a statement, that is new: without an end."""
    if not rules.history:
        return ALWAYS
    if word.since is None:
        return ALWAYS if when.before_ns == BEGIN else Interval(when.before_ns - rules.grace_ns, when.at_ns)
    since = min(word.since, when.at_ns)
    return Interval(since, max(since, min(word.sure_since or when.at_ns, when.at_ns)))


def is_over(word: Word) -> bool:
    """Tell whether a pod has run to its end."""
    return isinstance(word.about, AboutPod) and word.about.over
