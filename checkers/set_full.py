"""A set that only grows: what was added stays, and nothing else appears.

Operations: `add` with an element, each element once; `read`, answered with all elements. An element is *known* as soon
as its add was acknowledged or a read has shown it. From then on:

- a read that begins later and lacks it, while a still later one has it, is *stale* (an error only if the set is to be
  linearizable);
- lacking in every read from some moment on, it is *lost*;
- if no read began after it was known, nothing can be said about it, and a verdict that is not invalid is unknown: a
  workload ends with a final read.

An unacknowledged add (info) may show up at any time or never; one that failed must never show up, though another add of
the element succeeds later. Each element is
judged on its own, so two reads that contradict each other only about concurrent adds pass; the general search with
the set model is the judge of that.

The work is linear in what was read: reads are taken in the order in which they began, each element has one moment from
which on it must be seen, and whether it was is counted. Only of elements that are missing somewhere is it asked where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.checker import Limits
from checkers.conclusion import Misshapen, conclude
from checkers.operations import FOREVER, Operations
from checkers.values import Numbering, identity
from checkers.words import count, interval, none_of, seconds, shown
from results.history import History, Pair
from results.operation import FAIL
from results.verdict import UNKNOWN, Anomaly, Verdict

LOST = "lost element"
STALE = "stale read"
DUPLICATED = "duplicated element"
UNEXPECTED = "element never added"
FAILED_ADD = "element of a failed add"
BEFORE_ITS_ADD = "element before its add"

EXAMPLES = 20
"""Elements of a kind whose events are listed with an anomaly."""
NAMED = 1000
"""Elements of a kind that are named in its evidence."""

_BATCH: Final = 1 << 16
"""Small reads are looked at together, until they have shown as many elements."""


@dataclass
class _Element:
    """What the history says about one element; made only of those that are told."""

    value: Any
    adds: list[Pair]
    known_by: Pair | None
    """The add or read that made it known: the first to complete."""
    known_ns: int
    last_seen: Pair | None
    """Of the reads that show it, the one completed last."""
    first_absence: Pair | None
    """Of the reads that began when it was known, and lack it, the first to begin."""
    last_absence: Pair | None
    absences: int

    def row(self) -> dict[str, Any]:
        return {
            "element": self.value,
            "known_ns": self.known_ns if self.known_by is not None else None,
            "last_seen_ns": None if self.last_seen is None else self.last_seen.start,
            "first_absent_ns": None if self.first_absence is None else self.first_absence.start,
            "absent_from_reads": self.absences,
        }


@dataclass
class SetFullChecker:
    """Judges adds and reads of one set; with `linearizable`, a stale read is an error too."""

    linearizable: bool = True
    name: str = field(default="set", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        misshapen = Misshapen("a list of elements")
        tried = Operations.of(history, "read")
        answered = tried.where(tried.ok)
        answers = [() if answer is None else answer for answer in answered.answers()]
        good = np.array([isinstance(answer, list | tuple) for answer in answers], dtype=bool)
        if not good.all():
            for place in np.flatnonzero(~good).tolist():
                misshapen.note(answered.pair(place))
            answered = answered.where(good)
            answers = [answer for answer in answers if isinstance(answer, list | tuple)]
        if not len(answered):
            why = "; ".join(misshapen.doubts()) or none_of(len(tried), "read", "succeeded")
            return Verdict(
                UNKNOWN, self.name, f"{why}: the set was never seen; a read after the adds would tell"
            )
        elements = _Elements(Operations.of(history, "add"), answered, answers)
        anomalies = self._anomalies(elements)
        acknowledged = int(elements.adds.ok.sum())
        stale = np.flatnonzero(elements.is_stale)
        unread = np.flatnonzero(elements.is_unread)
        details = {
            "adds": len(elements.adds),
            "acknowledged": acknowledged,
            "reads": len(answered),
            "elements_seen": int(elements.is_seen.sum()),
            "recovered": int((elements.is_seen & elements.only_unknown).sum()),
            "lost": int(elements.is_lost.sum()),
            "stale": len(stale),
            "never_read": len(unread),
            "stale_for_ms": elements.stale_for_ms(stale),
        }
        doubts = misshapen.doubts()
        if len(unread):
            listed = ", ".join(shown(elements.values[number]) for number in unread[:8].tolist())
            listed += f" and {len(unread) - 8} more" if len(unread) > 8 else ""
            doubts.append(
                f"{count(len(unread), 'acknowledged element')} ({listed}) cannot be judged: no read succeeded that "
                "began after the acknowledgement; a final read would tell"
            )
        valid = (
            f"all {count(acknowledged, 'acknowledged element')} stayed, and nothing else appeared, in "
            f"{count(len(answered), 'read')}"
        )
        if len(stale):
            valid += f"; {count(len(stale), 'element')} went missing for a while, which is allowed here"
        return conclude(self.name, anomalies, doubts, valid, details)

    def _anomalies(self, elements: _Elements) -> list[Anomaly]:
        final = elements.reads.pair(len(elements.reads) - 1)
        anomalies = []
        for kind, wrong, tell in (
            (LOST, elements.is_lost, lambda element: _tell_lost(element, final)),
            (STALE, elements.is_stale & self.linearizable, _tell_stale),
            (UNEXPECTED, elements.is_seen & (elements.tried == 0), _tell_unexpected),
            (FAILED_ADD, elements.is_of_failed, _tell_failed),
            (BEFORE_ITS_ADD, elements.is_early, _tell_early),
        ):
            numbers = np.flatnonzero(wrong)
            if len(numbers):
                told = [elements.element(number) for number in numbers[:NAMED].tolist()]
                anomalies.append(_anomaly(kind, told, len(numbers), tell))
        if elements.duplicates:
            value, read, times = elements.duplicates[0]
            number = len({identity(value) for value, _, _ in elements.duplicates})
            sentence = (
                f"{count(number, 'element')} duplicated: the read by process {read.process} "
                f"({interval(read)}) saw {shown(value)} {times} times"
            )
            operations = sorted({index for _, read, _ in elements.duplicates for index in read.indices})
            values = [value for value, _, _ in elements.duplicates]
            anomalies.append(Anomaly(DUPLICATED, sentence, operations, evidence={"elements": values}))
        return anomalies


class _Elements:
    """All elements as columns, one entry each: those added first, in the order of their adds, then all others seen.

    Reads are numbered in the order in which they began. An element must be shown by all reads from number `due` on.
    """

    def __init__(self, adds: Operations, reads: Operations, answers: Sequence[Sequence[Any]]) -> None:
        self.adds, self.reads = adds, reads
        numbering = Numbering()
        added = numbering.number(adds.asked())
        self._added = added
        self.duplicates: list[tuple[Any, Pair, int]] = []
        """Elements that some read shows more than once: value, read, how often; of each read at most a few."""
        self._shown = list(self._gather(answers, numbering))
        total = len(numbering)
        self.values = numbering.values
        self.tried = np.bincount(added, minlength=total)
        only = np.bincount(added[adds.failed], minlength=total)
        only_failed = (only > 0) & (only == self.tried)
        unknown = np.bincount(added[adds.unknown], minlength=total)
        self.only_unknown: NDArray[np.bool_] = unknown == self.tried
        begun, refused = np.full((2, total), FOREVER, dtype=np.int64)
        np.minimum.at(begun, added[~adds.failed], adds.start[~adds.failed])
        np.minimum.at(refused, added[adds.failed], adds.start[adds.failed])
        known_at = np.full(total, FOREVER, dtype=np.int64)
        np.minimum.at(known_at, added[adds.ok], adds.end[adds.ok])
        first_shown = np.full(total, FOREVER, dtype=np.int64)
        self._last_shown = np.full(total, -1, dtype=np.int64)
        for numbers, read in self._shown:
            np.minimum.at(first_shown, numbers, reads.end[read])
            np.maximum.at(self._last_shown, numbers, reads.end[read])
        self._known_at = np.minimum(known_at, first_shown)
        self.is_seen: NDArray[np.bool_] = self._last_shown >= 0
        early = (first_shown < begun) & (begun < FOREVER)
        # Of what was seen before the adds that may have happened began, a failed one was there already.
        self.is_of_failed: NDArray[np.bool_] = (self.is_seen & only_failed) | (
            early & (refused < first_shown)
        )
        self.is_early: NDArray[np.bool_] = early & ~self.is_of_failed
        due = np.searchsorted(reads.start, self._known_at)
        shown_when_due = np.zeros(total, dtype=np.int64)
        for numbers, read in self._shown:
            np.add.at(shown_when_due, numbers, read >= due[numbers])
        self._absences = len(reads) - due - shown_when_due
        missing = np.flatnonzero(self._absences > 0)
        self._first_absence, self._last_absence = self._find_absences(missing, due)
        self.is_lost = np.zeros(total, dtype=bool)
        self.is_lost[missing] = self._last_shown[missing] < reads.start[self._last_absence[missing]]
        self.is_stale = (self._absences > 0) & ~self.is_lost
        last_start = int(reads.start[-1])
        self.is_unread = (self._known_at < FOREVER) & ~self.is_seen & (self._known_at > last_start)

    def _gather(
        self, answers: Sequence[Sequence[Any]], numbering: Numbering
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The elements shown, each with the number of its read, in batches; none twice in one read."""
        batch: list[Any] = []
        lengths: list[int] = []
        first = 0
        for number, answer in enumerate(answers):
            batch.extend(answer)
            lengths.append(len(answer))
            if len(batch) >= _BATCH or number + 1 == len(answers):
                numbers = numbering.number(batch)
                read = np.repeat(np.arange(first, number + 1, dtype=np.int64), lengths)
                yield self._without_duplicates(numbers, read, numbering)
                first = number + 1
                batch, lengths = [], []

    def _without_duplicates(
        self, numbers: NDArray[np.int64], read: NDArray[np.int64], numbering: Numbering
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        wide = len(numbering)
        place = (read - (read[0] if len(read) else 0)) * wide + numbers
        if len(read) and read[0] == read[-1]:
            # One large read: whoever comes again finds that its place was taken.
            taken = np.empty(wide, dtype=np.int64)
            taken[numbers] = np.arange(len(numbers))
            again = taken[numbers] != np.arange(len(numbers))
            if not again.any():
                return numbers, read
        order = np.argsort(place, kind="stable")
        same = np.zeros(len(order), dtype=bool)
        same[1:] = place[order][1:] == place[order][:-1]
        if not same.any():
            return numbers, read
        told: dict[int, int] = {}
        for one in order[same][:NAMED].tolist():
            told[int(place[one])] = one
        for where, one in list(told.items())[:EXAMPLES]:
            times = int((place == where).sum())
            value = numbering.values[int(numbers[one])]
            self.duplicates.append((value, self.reads.pair(int(read[one])), times))
        kept = np.sort(order[~same])
        return numbers[kept], read[kept]

    def _find_absences(
        self, missing: NDArray[np.int64], due: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of the elements that some reads lack, the first and the last of these reads."""
        total, reads = len(due), len(self.reads)
        first, last = due.copy(), np.full(total, reads - 1, dtype=np.int64)
        if not len(missing):
            return first, last
        wanted = np.zeros(total, dtype=bool)
        wanted[missing] = True
        parts = []
        for numbers, read in self._shown:
            chosen = wanted[numbers] & (read >= due[numbers])
            parts.append((numbers[chosen], read[chosen]))
        numbers = np.concatenate([part[0] for part in parts])
        read = np.concatenate([part[1] for part in parts])
        if not len(numbers):
            return first, last
        order = np.lexsort((read, numbers))
        numbers, read = numbers[order], read[order]
        begins = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
        ends = np.concatenate([begins[1:], [len(numbers)]])
        size = ends - begins
        rank = np.arange(len(numbers)) - np.repeat(begins, size)
        # The first of its reads that is later than it would be without a gap before it; from behind the same.
        elements = numbers[begins]
        gap = np.where(read - due[numbers] > rank, rank, np.repeat(size, size))
        first[elements] = due[elements] + np.minimum.reduceat(gap, begins)
        back = np.repeat(size, size) - 1 - rank
        gap = np.where(reads - 1 - read > back, back, np.repeat(size, size))
        last[elements] = reads - 1 - np.minimum.reduceat(gap, begins)
        return first, last

    def _read_that_ended(self, end: int) -> Pair:
        return self.reads.pair(int(np.flatnonzero(self.reads.end == end)[0]))

    def element(self, number: int) -> _Element:
        """One of them, for its words."""
        adds = self.adds.pairs(self._added == number) if number < len(self.tried) else []
        known_at = int(self._known_at[number])
        known_by = None
        if known_at < FOREVER:
            by_add = [add for add in adds if add.indices[-1] == known_at]
            known_by = by_add[0] if by_add else self._read_that_ended(known_at)
        absences = int(self._absences[number]) if known_at < FOREVER else 0
        return _Element(
            self.values[number],
            adds,
            known_by,
            0 if known_by is None or known_by.end is None else known_by.end,
            self._read_that_ended(int(self._last_shown[number])) if self.is_seen[number] else None,
            self.reads.pair(int(self._first_absence[number])) if absences else None,
            self.reads.pair(int(self._last_absence[number])) if absences else None,
            absences,
        )

    def stale_for_ms(self, stale: NDArray[np.int64]) -> dict[str, float]:
        """How long elements stayed invisible after they were known, until the last read that lacks them."""
        if not len(stale):
            return {}
        time = self.reads.history.columns().time
        until = time[self.reads.start[self._last_absence[stale]]]
        spans = np.sort(until - time[self._known_at[stale]]) / 1e6
        return {"median": float(spans[len(spans) // 2]), "longest": float(spans[-1])}


def _anomaly(
    kind: str, wrong: Sequence[_Element], number: int, tell: Callable[[_Element], tuple[str, list[Pair]]]
) -> Anomaly:
    told = [tell(element) for element in wrong[:EXAMPLES]]
    plural = kind.replace("element", "elements", 1) if kind.startswith("element") else f"{kind}s"
    many = f"{count(number, kind, plural)}: " if number > 1 else f"{kind}: "
    return Anomaly(
        type=kind,
        sentence=f"{many}{told[0][0]}",
        operations=sorted({index for _, pairs in told for pair in pairs for index in pair.indices}),
        key=wrong[0].value,
        evidence={"count": number, "elements": [element.row() for element in wrong]},
    )


def _tell_lost(element: _Element, final: Pair) -> tuple[str, list[Pair]]:
    absent = element.last_absence
    assert element.known_by is not None, f"{element.value!r} is lost without having been known"
    assert absent is not None, f"{element.value!r} is lost without a read that lacks it"
    pairs = [element.known_by, absent]
    text = f"{shown(element.value)} {_known(element)}"
    if element.last_seen is not None:
        if element.last_seen.index != element.known_by.index:
            text += f", was last seen by process {element.last_seen.process} ({interval(element.last_seen)})"
        pairs.append(element.last_seen)
    which = "the last read" if absent.index == final.index else "the read"
    return f"{text}, and is missing from {which}, by process {absent.process} ({interval(absent)})", pairs


def _tell_stale(element: _Element) -> tuple[str, list[Pair]]:
    first = element.first_absence
    assert first is not None, f"{element.value!r} is stale without a read that lacks it"
    assert element.known_by is not None, f"{element.value!r} is stale without having been known"
    assert element.last_seen is not None, f"{element.value!r} is stale without having been seen"
    text = (
        f"{shown(element.value)} {_known(element)}, is missing from the read by process {first.process} "
        f"({interval(first)}), and there again in the one by process {element.last_seen.process} "
        f"({interval(element.last_seen)})"
    )
    return text, [element.known_by, first, element.last_seen]


def _tell_unexpected(element: _Element) -> tuple[str, list[Pair]]:
    assert element.last_seen is not None, f"{element.value!r} was never seen"
    seen = element.last_seen
    return f"process {seen.process} read {shown(element.value)} ({interval(seen)}), and nobody added it", [
        seen
    ]


def _tell_failed(element: _Element) -> tuple[str, list[Pair]]:
    assert element.last_seen is not None, f"{element.value!r} was never seen"
    seen, add = element.last_seen, next(add for add in element.adds if add.type == FAIL)
    later = _first_possible(element)
    text = f"its add by process {add.process} ({interval(add)}) had failed"
    if later is not None:
        assert element.known_by is not None, f"{element.value!r} was never known"
        seen = element.known_by
        text += (
            f", and no other had begun before the one by process {later.process}, at {seconds(later.start)}"
        )
    text = f"process {seen.process} read {shown(element.value)} ({interval(seen)}), but {text}"
    return text, [add, seen] if later is None else [add, seen, later]


def _tell_early(element: _Element) -> tuple[str, list[Pair]]:
    by, add = element.known_by, _first_possible(element)
    assert by is not None, f"{element.value!r} was never known"
    assert add is not None, f"{element.value!r} was never added"
    text = (
        f"process {by.process} read {shown(element.value)} ({interval(by)}) before process {add.process} began to add "
        f"it, at {seconds(add.start)}"
    )
    return text, [by, add]


def _first_possible(element: _Element) -> Pair | None:
    """Of the adds that may have happened, the first to begin."""
    return min((add for add in element.adds if add.type != FAIL), key=lambda add: add.index, default=None)


def _known(element: _Element) -> str:
    by = element.known_by
    assert by is not None, f"{element.value!r} was never known"
    how = "was added" if by.f == "add" else "was seen"
    return f"{how} by process {by.process} (completed at {seconds(element.known_ns)})"
