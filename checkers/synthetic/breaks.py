"""Breaks linearizable histories of objects in named ways, only where the break is certain.

Each break changes answers at a place, drawn by a seed, where real time proves that no order of the operations explains
them any more; the proof is in the words and conditions of each function. *Precedes* always means: was over before the
other was invoked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from checkers.synthetic.draws import Draws
from checkers.synthetic.objects import ObjectHistory
from results.operation import FAIL, INFO, OK

ATTEMPTS: Final = 400
"""So many places are looked at before a break is given up."""
NEVER_WRITTEN: Final = -7
"""A value, element or number that no object holds."""


class NoPlace(ValueError):
    """A history has no place where the break would be certain."""


def break_object(history: ObjectHistory, name: str, seed: int = 0) -> ObjectHistory:
    """The history with one break. Raises ValueError if the model knows no such break, `NoPlace` if no place was found
    where it is certain; longer histories have more of them."""
    breaks = BREAKS[history.shape.model]
    if name not in breaks:
        raise ValueError(f"{name!r} is no way to break a {history.shape.model} (ways: {', '.join(breaks)})")
    work = _Work(history, Draws(seed, f"break {name}"))
    if not breaks[name](work):
        raise NoPlace(f"no place was found where {name} would be certain in {len(history)} operations")
    return replace(history, answer=work.answer, outcome=work.outcome, anomalies=(*history.anomalies, name))


class _Work:
    """A history while it is being broken: answers and outcomes are copies, keys are taken off."""

    def __init__(self, history: ObjectHistory, draws: Draws) -> None:
        self.history = history
        self.answer = list(history.answer)
        self.outcome = list(history.outcome)
        self.start = history.start
        self.end = np.where(
            np.array([outcome == INFO for outcome in history.outcome]), np.inf, history.completed
        )
        self.keyed = history.shape.keys > 0 or history.shape.model == "kv"
        self._draws = draws

    def precedes(self, one: int, other: int) -> bool:
        return bool(self.end[one] < self.start[other])

    def key(self, i: int) -> Any:
        return self.history.argument[i][0] if self.keyed else None

    def asked(self, i: int) -> Any:
        return self.history.argument[i][1] if self.keyed else self.history.argument[i]

    def answered(self, i: int) -> Any:
        return self.answer[i][1] if self.keyed else self.answer[i]

    def set_answer(self, i: int, value: Any) -> None:
        self.answer[i] = [self.key(i), value] if self.keyed else value

    def all(self, *functions: str, outcomes: tuple[str, ...] = (OK,)) -> list[int]:
        """The operations of these functions that ended so, in order of effect where they have one."""
        return [
            i
            for i in range(len(self.history))
            if self.history.f[i] in functions and self.history.outcome[i] in outcomes
        ]

    def drawn(self, operations: list[int], late: float = 0.0) -> Iterator[int]:
        """Operations by lot, with repetitions, from the last part of them if `late` is above 0."""
        if operations:
            first = int(len(operations) * late)
            for place in self._draws.below(len(operations) - first, ATTEMPTS):
                yield operations[first + int(place)]

    def lot(self, limit: int) -> int:
        return int(self._draws.below(limit, 1)[0])


def _phantom(work: _Work, *functions: str) -> bool:
    """Answers what nobody has put there."""
    for i in work.drawn(work.all(*functions)):
        value = work.answered(i)
        if isinstance(value, list):
            work.set_answer(i, [*value, NEVER_WRITTEN])
        elif isinstance(value, str):
            work.set_answer(i, value + "never.")
        else:
            work.set_answer(i, NEVER_WRITTEN)
        return True
    return False


class _Writes:
    """Who writes what to the register of one key."""

    def __init__(self, work: _Work, key: Any) -> None:
        self.work = work
        mine = [
            i
            for i in work.all("write", "cas", outcomes=(OK, INFO))
            if work.key(i) == key and (work.history.f[i] == "write" or work.asked(i)[0] != work.asked(i)[1])
        ]
        self.operations = np.array(mine, dtype=np.int64)
        self.value = np.array([self.written(i) for i in mine], dtype=np.int64)
        self.start = work.start[self.operations]
        self.end = work.end[self.operations]

    def written(self, i: int) -> Any:
        return self.work.asked(i)[1] if self.work.history.f[i] == "cas" else self.work.asked(i)

    def is_impossible(self, read: int, value: Any) -> bool:
        """Whether no order lets the read see the value: everything that may have written it in time was followed,
        in real time, by a write of something else that precedes the read."""
        others = (self.value != value) & (self.end < self.work.start[read])
        if not others.any():
            return False
        latest = self.start[others].max()
        writers = (self.value == value) & (self.start < self.work.end[read])
        return not writers.any() or bool(self.end[writers].max() < latest)


def _stale_read(work: _Work) -> bool:
    """A read, of the last quarter, of a value that was overwritten before it was invoked."""
    writes: dict[Any, _Writes] = {}
    reads = work.all("read")
    for read in work.drawn(reads, late=0.75):
        key = work.key(read)
        if key not in writes:
            writes[key] = _Writes(work, key)
        of_key = writes[key]
        earlier = of_key.value[of_key.end < work.start[read]]
        if not len(earlier):
            continue
        recent = earlier[-min(len(earlier), 4 * work.history.shape.clients) :]
        value = int(recent[work.lot(len(recent))])
        if value != work.answered(read) and of_key.is_impossible(read, value):
            work.set_answer(read, value)
            return True
    return False


def _future_read(work: _Work) -> bool:
    """A read of a value before anybody has begun to write it."""
    for read in work.drawn(work.all("read")):
        of_key = _Writes(work, work.key(read))
        later = of_key.value[of_key.start > work.end[read]]
        if len(later):
            value = int(later[work.lot(len(later))])
            if value != work.answered(read) and of_key.is_impossible(read, value):
                work.set_answer(read, value)
                return True
    return False


def _lost_write(work: _Work) -> bool:
    """A write that the object forgets: whoever should have read it reads what was there before."""
    of_key: dict[Any, _Writes] = {}
    place = {i: position for position, i in enumerate(work.history.order)}
    reads: dict[Any, list[int]] = {}
    for read in work.all("read"):
        reads.setdefault((work.key(read), work.answered(read)), []).append(read)
    for write in work.drawn(work.all("write")):
        key = work.key(write)
        if key not in of_key:
            of_key[key] = _Writes(work, key)
        writes = of_key[key]
        before = [i for i in writes.operations.tolist() if place.get(i, len(place)) < place[write]]
        if not before:
            continue
        old = writes.written(max(before, key=place.__getitem__))
        after = [place[i] for i in writes.operations.tolist() if i in place and place[i] > place[write]]
        until = min(after, default=len(place))
        forgetful = [
            read for read in reads.get((key, work.asked(write)), ()) if place[write] < place[read] < until
        ]
        if any(writes.is_impossible(read, old) for read in forgetful):
            for read in forgetful:
                work.set_answer(read, old)
            return True
    return False


def _duplicate(work: _Work, *takes: str) -> bool:
    """An element comes out twice, though it was put in once."""
    operations = work.all(*takes)
    for one in work.drawn(operations):
        for other in work.drawn(operations):
            if one != other and work.key(one) == work.key(other):
                work.set_answer(other, work.answered(one))
                return True
    return False


def _puts(work: _Work, put: str) -> dict[Any, int]:
    return {(work.key(i), work.asked(i)): i for i in work.all(put, outcomes=(OK, INFO))}


def _pairs_of_takes(work: _Work, *takes: str) -> Iterator[tuple[int, int]]:
    """Two takes of one object, the first of which precedes the second."""
    wanted = set(work.all(*takes))
    operations = [i for i in work.history.order if i in wanted]
    for place in work.drawn(list(range(len(operations)))):
        one = operations[place]
        other = operations[min(len(operations) - 1, place + 1 + work.lot(3 * work.history.shape.clients))]
        if work.key(one) == work.key(other) and work.precedes(one, other):
            yield one, other


def _reordered(work: _Work, put: str, take: str) -> bool:
    """Two elements come out in the wrong order, of which real time says that both were in."""
    puts = _puts(work, put)
    for one, other in _pairs_of_takes(work, take):
        first, second = work.answered(one), work.answered(other)
        put_first, put_second = puts[work.key(one), first], puts[work.key(other), second]
        match put:
            case "enqueue":
                # The first was put in earlier; it would leave after the second.
                certain = work.precedes(put_first, put_second)
            case "push":
                # The first lay on top of the second when it was taken; it would leave after it.
                certain = work.precedes(put_second, put_first) and work.precedes(put_first, one)
            case _:
                # The greater was in when the less would be taken.
                certain = first > second and work.precedes(put_first, one)
        if certain:
            work.set_answer(one, second)
            work.set_answer(other, first)
            return True
    return False


def _lost_element(work: _Work, put: str, take: str) -> bool:
    """What took an element out fails instead, so the element is in; something behind it came out all the same.

    Certain only where no crashed operation can have taken it.
    """
    if work.all(take, outcomes=(INFO,)):
        return False
    puts = _puts(work, put)
    for one, other in _pairs_of_takes(work, take):
        lost, behind = work.answered(one), work.answered(other)
        put_lost, put_behind = puts[work.key(one), lost], puts[work.key(other), behind]
        match put:
            case "enqueue":
                certain = work.precedes(put_lost, put_behind)
            case "push":
                certain = work.precedes(put_behind, put_lost) and work.precedes(put_lost, other)
            case _:
                certain = lost > behind and work.precedes(put_lost, other)
        if certain:
            work.outcome[one] = FAIL
            work.answer[one] = work.history.argument[one]
            return True
    return False


def _read_without(work: _Work) -> bool:
    """A read of a set without an element whose add precedes it."""
    adds = _puts(work, "add")
    for read in work.drawn(work.all("read"), late=0.5):
        seen = work.answered(read)
        for place in range(len(seen) - 1, -1, -1):
            if work.precedes(adds[work.key(read), seen[place]], read):
                work.set_answer(read, seen[:place] + seen[place + 1 :])
                return True
    return False


def _lost_add(work: _Work) -> bool:
    """An element that no read of a set sees, though its add precedes one of them."""
    reads = work.all("read")
    for add in work.drawn(work.all("add")):
        mine = [read for read in reads if work.key(read) == work.key(add)]
        if not any(work.precedes(add, read) for read in mine):
            continue
        for read in mine:
            work.set_answer(read, [value for value in work.answered(read) if value != work.asked(add)])
        return True
    return False


def _bounds(work: _Work, read: int) -> tuple[int, int]:
    """The least and the greatest that a read of a counter, which only grows, can answer."""
    adds = [i for i in work.all("add", outcomes=(OK, INFO)) if work.key(i) == work.key(read)]
    least = sum(work.asked(i) for i in adds if work.precedes(i, read))
    return least, sum(work.asked(i) for i in adds if work.start[i] < work.end[read])


def _count_too_low(work: _Work) -> bool:
    """A counter that has forgotten something of what was added before."""
    for read in work.drawn(work.all("read"), late=0.5):
        least, _ = _bounds(work, read)
        if least > 0:
            work.set_answer(read, least - 1)
            return True
    return False


def _count_too_high(work: _Work) -> bool:
    """A counter that has counted something twice."""
    for read in work.drawn(work.all("read"), late=0.5):
        work.set_answer(read, _bounds(work, read)[1] + 1)
        return True
    return False


def _tokens(text: str) -> list[str]:
    return [token + "." for token in text.split(".")[:-1]]


def _writers(work: _Work) -> dict[Any, int]:
    return {(work.key(i), work.asked(i)): i for i in work.all("put", "append", outcomes=(OK, INFO))}


def _text_without_last(work: _Work) -> bool:
    """A get without the last token, whose append precedes it; no put of the get's text can have come in between."""
    writers = _writers(work)
    for get in work.drawn(work.all("get"), late=0.5):
        tokens = _tokens(work.answered(get))
        if len(tokens) < 2:
            continue
        first, last = (writers[work.key(get), token] for token in (tokens[0], tokens[-1]))
        begun_by_append = work.history.f[first] == "append"
        if work.precedes(last, get) and (begun_by_append or work.precedes(first, last)):
            work.set_answer(get, "".join(tokens[:-1]))
            return True
    return False


def _text_reordered(work: _Work) -> bool:
    """A get with two tokens exchanged, of which one's append precedes that of the other."""
    writers = _writers(work)
    for get in work.drawn(work.all("get")):
        tokens = _tokens(work.answered(get))
        for place in range(1, len(tokens) - 1):
            one, other = (writers[work.key(get), token] for token in tokens[place : place + 2])
            if work.precedes(one, other):
                tokens[place : place + 2] = [tokens[place + 1], tokens[place]]
                work.set_answer(get, "".join(tokens))
                return True
    return False


def _held_twice(work: _Work) -> bool:
    """A failed acquire is ok instead: more is held at its end than there is, whatever crashed releases have done."""
    permits = work.history.shape.permits if work.history.shape.model == "semaphore" else 1

    def amount(i: int) -> int:
        return int(work.asked(i)) if work.history.shape.model == "semaphore" else 1

    acquires = work.all("acquire")
    releases = work.all("release", outcomes=(OK, INFO))
    for attempt in work.drawn(work.all("acquire", outcomes=(FAIL,))):
        key, end = work.key(attempt), work.end[attempt]
        taken = sum(amount(i) for i in acquires if work.key(i) == key and work.end[i] < end)
        given = sum(amount(i) for i in releases if work.key(i) == key and work.start[i] < end)
        if taken + amount(attempt) - given > permits:
            work.outcome[attempt] = OK
            if work.history.shape.model == "fenced-lock":
                # A token between the holder's and the next: only that the lock is held speaks against it.
                earlier = [work.answered(i) for i in acquires if work.end[i] < end]
                work.set_answer(attempt, max(earlier) + 0.5)
            return True
    return False


def _token_again(work: _Work) -> bool:
    """A lock that is acquired with the token of an earlier hold."""
    acquires = work.all("acquire")
    for one in work.drawn(acquires):
        for other in work.drawn(acquires):
            if work.key(one) == work.key(other) and work.precedes(one, other):
                work.set_answer(other, work.answered(one))
                return True
    return False


Break = Callable[[_Work], bool]

_REGISTER: Final[dict[str, Break]] = {
    "stale-read": _stale_read,
    "lost-write": _lost_write,
    "future-read": _future_read,
    "phantom-read": lambda work: _phantom(work, "read"),
}


def _container(put: str, take: str) -> dict[str, Break]:
    return {
        "reordered": lambda work: _reordered(work, put, take),
        "lost-element": lambda work: _lost_element(work, put, take),
        "duplicate-element": lambda work: _duplicate(work, take),
        "phantom-element": lambda work: _phantom(work, take),
    }


BREAKS: Final[dict[str, dict[str, Break]]] = {
    "register": _REGISTER,
    "cas-register": _REGISTER,
    "kv": {
        "stale-read": _text_without_last,
        "reordered": _text_reordered,
        "phantom-read": lambda work: _phantom(work, "get"),
    },
    "set": {
        "stale-read": _read_without,
        "lost-element": _lost_add,
        "phantom-element": lambda work: _phantom(work, "read"),
    },
    "counter": {"lost-add": _count_too_low, "double-add": _count_too_high},
    "queue": _container("enqueue", "dequeue"),
    "stack": _container("push", "pop"),
    "priority-queue": _container("insert", "delete-max"),
    "mutex": {"double-acquire": _held_twice},
    "owned-mutex": {"double-acquire": _held_twice},
    "fenced-lock": {"double-acquire": _held_twice, "repeated-token": _token_again},
    "semaphore": {"double-acquire": _held_twice},
}
"""The ways to break each model, by name."""
