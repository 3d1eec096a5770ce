"""Objects over time: from what each says now, and said before, to facts that held from and until."""

import heapq
from collections.abc import Iterator
from itertools import count

from natlens.identity.claims import Fact, Subject
from natlens.identity.facts import Facts
from natlens.identity.intervals import BEGIN, END, SECOND, Interval
from natlens.identity.lives import GLIMPSE_NS, Life, Opening, Rules, When, is_over, opening
from natlens.identity.words import AboutPod, Word

__all__ = ["Ledger"]


class Ledger:
    """The lives of all objects; what they say goes into ``facts``."""

    def __init__(self, facts: Facts, rules: Rules) -> None:
        self._facts, self._rules = facts, rules
        self._lives: dict[Subject, Life] = {}
        self._past: dict[Subject, list[Life]] = {}
        self._number = count()
        self._due_facts: list[tuple[int, int, Fact, Life]] = []
        self._due_lives: list[tuple[int, int, Life]] = []

    def __len__(self) -> int:
        """Return how many objects and facts are remembered, tombstones too."""
        return len(self._lives) + len(self._due_facts) + len(self._due_lives)

    def get(self, subject: Subject, uid: str = "") -> Life | None:
        """Return the life of an object, of this uid if one is given; the last one if not."""
        found = self._lives.get(subject)
        past = self._past.get(subject, ())
        if uid and (found is None or found.uid not in {"", uid}):
            return next((one for one in past if one.uid in {"", uid}), None)
        return found or (past[-1] if past else None)

    def current(self, subject: Subject) -> Life | None:
        """Return the life of an object that is there."""
        return self._lives.get(subject)

    def lives(self, kind: str) -> Iterator[Life]:
        """Yield the objects of one kind that are there."""
        return (life for subject, life in self._lives.items() if subject.kind == kind)

    def put(self, word: Word, when: When) -> bool:
        """Take what an object says; return whether anything is new."""
        life = self._lives.get(word.subject)
        if life and life.uid != word.uid and life.uid and word.uid:
            if word.created_ns and life.created_ns and word.created_ns < life.created_ns:
                return False  # it came late
            self._succeed(life, word, when)
            life = None
        if life is None and word.uid and any(one.uid == word.uid for one in self._past.get(word.subject, ())):
            return False  # it came late
        born = life is None
        if life is None:
            life = self._born(word, when)
        before, life.about = life.about, word.about
        life.uid = word.uid or life.uid
        new = born or before != word.about
        for fact in life.facts.values() if new else ():
            self._facts.changed(fact)
        new |= self._unsay(life, word, when)
        new |= self._say(life, word, Opening(self._rules, word, when, before, born=born))
        return self._age(life, word, when) or new

    def delete(self, subject: Subject, uid: str, word: Word | None, when: When) -> bool:
        """Take that an object is gone; ``word`` is its last one. One of another uid is left alone."""
        life = self._lives.get(subject)
        if life is None or (uid and life.uid and uid != life.uid):
            return False
        if word:
            self._age(life, word, when)
        self._end(life, when.before_ns, when.at_ns)
        return True

    def purge(self, now_ns: int) -> None:
        """Forget what has been over for longer than the grace."""
        while self._due_facts and self._due_facts[0][0] <= now_ns:
            _, _, fact, life = heapq.heappop(self._due_facts)
            if fact.held.gone > now_ns:
                fact.due = False
                self._await(fact, life)
                continue
            self._facts.remove(fact)
            if life.facts.get(fact.statement) is fact:
                del life.facts[fact.statement]
        while self._due_lives and self._due_lives[0][0] <= now_ns:
            _, _, life = heapq.heappop(self._due_lives)
            self._forget(life, now_ns)

    @property
    def size(self) -> int:
        """How many lives of objects are known, those that are over included."""
        return len(self._lives) + sum(map(len, self._past.values()))

    def _born(self, word: Word, when: When) -> Life:
        held = opening(self._rules, word, when)
        if is_over(word) and word.ended is None:
            held = held._replace(gone=BEGIN)  # nobody knows since when: it has had nothing for longer than we look
        life = Life(word.subject, word.uid, word.created_ns, word.about, held)
        self._lives[word.subject] = life
        if self._glimpsed(word):
            heapq.heappush(self._due_lives, (when.at_ns + GLIMPSE_NS, next(self._number), life))
        return life

    def _unsay(self, life: Life, word: Word, when: When) -> bool:
        """End what is no longer said."""
        unsaid = life.facts.keys() - word.statements.keys()
        if not self._rules.history and is_over(word):
            unsaid = set(life.facts)
        for statement in unsaid:
            self._close(life, life.facts[statement], when.before_ns, when.at_ns)
        return bool(unsaid)

    def _say(self, life: Life, word: Word, opening: Opening) -> bool:
        """Enter what was not said before, and whose subject is terminating now."""
        new = False
        if life.held.gone <= opening.when.at_ns or (not self._rules.history and is_over(word)):
            return False
        for statement, terminating in word.statements.items():
            fact = life.facts.get(statement)
            if fact is None:
                fact = life.facts[statement] = Fact(statement, life.subject, opening.held)
                self._facts.add(fact)
                new = True
            if terminating and self._rules.history and fact.held.sure_until > opening.when.before_ns:
                fact.held = fact.held._replace(sure_until=opening.when.before_ns)
                self._facts.changed(fact)
                new = True
        return new

    def _age(self, life: Life, word: Word, when: When) -> bool:
        """Take what a pod says about its own end; return whether it is new."""
        ended = word.ended or ((when.before_ns, when.at_ns) if is_over(word) else None)
        glimpsed = self._glimpsed(word)
        if not self._rules.history or (ended is None and word.yields == END and not glimpsed):
            return False
        before = life.held

        def aged(held: Interval) -> Interval:
            held = held._replace(yields=min(held.yields, word.yields))
            if glimpsed:
                held = held._replace(sure_until=when.before_ns, until=END, gone=END)
                held = held.ended(when.before_ns, when.at_ns + GLIMPSE_NS, self._rules.grace_ns)
            return held.ended(*ended, self._rules.grace_ns) if ended else held

        life.held = aged(life.held)
        changed = [(fact, held) for fact in life.facts.values() if (held := aged(fact.held)) != fact.held]
        for fact, held in changed:
            fact.held = held
            self._facts.changed(fact)
            self._await(fact, life)
        return bool(changed) or life.held != before

    def _succeed(self, life: Life, word: Word, when: When) -> None:
        """End an object whose name another has now: no later than that one's creation."""
        created = when.at_ns if word.created_ns is None else word.created_ns + SECOND
        self._end(life, when.before_ns, min(created, when.at_ns))

    def _end(self, life: Life, sure_until: int, until: int) -> None:
        for fact in list(life.facts.values()):
            self._close(life, fact, sure_until, until)
        del self._lives[life.subject]
        if self._rules.history:
            life.held = life.held.ended(sure_until, until, self._rules.grace_ns)
            self._past.setdefault(life.subject, []).append(life)
            heapq.heappush(self._due_lives, (life.held.gone, next(self._number), life))

    def _close(self, life: Life, fact: Fact, sure_until: int, until: int) -> None:
        del life.facts[fact.statement]
        if not self._rules.history:
            self._facts.remove(fact)
            return
        fact.held = fact.held.ended(sure_until, until, self._rules.grace_ns)
        self._facts.changed(fact)
        self._await(fact, life)

    def _await(self, fact: Fact, life: Life) -> None:
        """See to it that a fact with an end is forgotten."""
        if fact.held.gone < END and not fact.due:
            fact.due = True
            heapq.heappush(self._due_facts, (fact.held.gone, next(self._number), fact, life))

    def _forget(self, life: Life, now_ns: int) -> None:
        if life.held.gone > now_ns:
            heapq.heappush(self._due_lives, (life.held.gone, next(self._number), life))
            return
        if self._lives.get(life.subject) is life:  # it was only looked up
            del self._lives[life.subject]
        past = [one for one in self._past.pop(life.subject, ()) if one is not life]
        if past:
            self._past[life.subject] = past

    def _glimpsed(self, word: Word) -> bool:
        node = self._rules.glimpsed
        return node is not None and isinstance(word.about, AboutPod) and word.about.node != node
