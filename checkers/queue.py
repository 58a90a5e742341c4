"""Queues: nothing is lost, made up or delivered twice, and what came first leaves first.

Operations: `enqueue` with a value; `dequeue`, answered with a value, fails or is answered nil when the queue is empty;
`drain`, answered with all that was left, in order. Where nil may have been enqueued, a dequeue answered with it took an
element or found the queue empty: only what is wrong either way is told, and valid is what is in order one way. Two
promises are judged:

- *Delivery* (Jepsen's total-queue), for any values: a value is dequeued no more often than it was enqueued
  (*duplicated*), never if nobody tried to (*unexpected*), nor before that began; and one whose enqueue was acknowledged
  comes out (*lost*). Lost is judged only where the queue was seen empty later: by a drain, or by a dequeue that failed
  because of that. A dequeue of unknown outcome that began before may have taken a value with it, which explains one
  that never came out; a drain of unknown outcome (or with an answer that cannot be read) may have taken any number, so
  that nothing can be said. Whoever found the queue empty is asked: the earlier, the fewer can have taken something.
- *Order* (with `ordered`), for values that were enqueued once: whatever was certainly enqueued earlier leaves no later.
  Violations are those of the axioms for queues (Henzinger et al. 2013): one value overtakes another that was enqueued
  before it, and is gone before the other one's dequeue begins, or while the other is never dequeued at all; and a
  dequeue finds the queue empty, or a drain leaves nothing, although at each moment of it some value was certainly
  inside.

These are sound for crashed operations, and complete where none crashed and values are unique.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkers.checker import Limits
from checkers.conclusion import Misshapen, anomaly, conclude
from checkers.operations import FOREVER, Operations
from checkers.precedence import greatest_before
from checkers.values import Numbering
from checkers.words import count, interval, none_of, shown
from results.history import History, Pair
from results.verdict import UNKNOWN, VALID, Anomaly, Verdict

LOST = "lost element"
DUPLICATED = "duplicated element"
UNEXPECTED = "unexpected element"
FAILED_ENQUEUE = "element of a failed enqueue"
TOO_EARLY = "element before its enqueue"
OVERTAKEN = "element overtaken"
NOT_EMPTY = "empty answer of a queue that was not"

_EMPTY_WORDS = ("empty", "exhausted")
"""What an error says when a dequeue failed because nothing was there."""


@dataclass(frozen=True)
class _Removals:
    """Every value taken out: by which operation, and its place in what that one took."""

    operations: Operations
    value: NDArray[np.int64]
    by: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


@dataclass
class QueueChecker:
    """Judges a queue; with `ordered=False` only what goes in and out, not in which order."""

    ordered: bool = True
    name: str = field(default="queue", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        enqueues = Operations.of(history, "enqueue")
        taking = Operations.of(history, "dequeue", "drain")
        is_nil, open_, choices = _nil_answers(enqueues, taking)
        none = np.zeros(len(taking), dtype=bool)
        if not open_.any():
            return self._judged(enqueues, taking, is_nil, none, 0)
        # What is wrong whichever of the open answers were elements; else, one way to read them that is in order.
        verdict = self._judged(enqueues, taking, is_nil & ~open_, open_, int(choices[0].sum()))
        if verdict.outcome == UNKNOWN:
            ways = [self._judged(enqueues, taking, is_nil & ~elements, none, 0) for elements in choices]
            for outcome in (VALID, UNKNOWN):
                for read in ways:
                    if read.outcome == outcome:
                        return read
        return verdict

    def _judged(
        self,
        enqueues: Operations,
        taking: Operations,
        nil_is_empty: NDArray[np.bool_],
        open_: NDArray[np.bool_],
        at_most: int,
    ) -> Verdict:
        """The verdict where these answers of nil mean that the queue was empty, and of the open ones at most so many
        are elements."""
        misshapen = Misshapen("a list of what was drained")
        values = Numbering()
        entered = values.number(enqueues.asked())
        removals, empty, unread = _removals(taking, values, nil_is_empty, open_, misshapen)
        total = len(values)
        possible = ~enqueues.failed
        tried = np.bincount(entered[possible], minlength=total)
        acknowledged = np.bincount(entered[enqueues.ok], minlength=total)
        out = np.bincount(removals.value, minlength=total)
        details: dict[str, Any] = {
            "enqueues": len(enqueues),
            "acknowledged": int(enqueues.ok.sum()),
            "dequeued": len(removals.value),
            "recovered": int(np.minimum(np.maximum(out - acknowledged, 0), tried - acknowledged).sum()),
        }
        if not len(removals.value) and not misshapen.number and not (empty | open_).any():
            why = none_of(len(taking), "dequeue", "took anything out or found the queue empty")
            sentence = f"{why}, so nothing is known of what came in; a drain in the end would tell"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        anomalies = _surplus(enqueues, entered, tried, out, removals, values)
        anomalies += _too_early(enqueues, entered, possible, removals, values)
        doubts = misshapen.doubts()
        came = out
        unordered = np.zeros(total, dtype=bool)
        if open_.any():
            nil = values.find([None])
            came = out.copy()
            came[nil] += at_most
            unordered[nil] = True
            doubts.append(
                f"null, which {count(int(open_.sum()), 'dequeue')} answered, may be an element or mean that the queue "
                "was empty, and no reading was found that leaves nothing in doubt; elements other than null would tell"
            )
        found = _Empty.of(enqueues, entered, taking, empty, removals, unread, total)
        missing, in_doubt, explained = _lost(enqueues, entered, came, taking, found, values)
        anomalies += missing
        doubts += in_doubt
        if self.ordered:
            wrong, skipped = _order(enqueues, entered, tried, out, unordered, removals, taking, found, values)
            anomalies += wrong
            details["values_without_order"] = skipped
            if skipped:
                doubts.append(
                    f"the order of {count(skipped, 'value')} that went in or came out more than once was not judged; "
                    "values that are all different would tell"
                )
        valid = (
            f"{count(len(removals.value), 'element')} of {count(int(enqueues.ok.sum()), 'acknowledged enqueue')} came "
            "out, none twice and none unasked"
        )
        if self.ordered:
            valid += ", in order"
        if explained:
            details["explained_by_crashed_dequeues"] = explained
            valid += (
                f"; {count(explained, 'acknowledged element')} never came out, which as many of the dequeues of "
                "unknown outcome may have taken"
            )
        return conclude(self.name, anomalies, doubts, valid, details)


def _nil_answers(
    enqueues: Operations, taking: Operations
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[NDArray[np.bool_]]]:
    """Which dequeues were answered nil; which of them may be either an element or the answer of an empty queue; and
    ways to choose as many of these as can be elements: those that ended first, and those that ended last."""
    events = taking.history.operations
    is_nil = np.zeros(len(taking), dtype=bool)
    drained = []
    for place in np.flatnonzero(taking.ok).tolist():
        end = int(taking.end[place])
        answer = events[end].value
        if events[int(taking.start[place])].f == "dequeue":
            is_nil[place] = answer is None
        elif isinstance(answer, list | tuple):
            drained += [end] * sum(one is None for one in answer)
    of_nil = np.array([value is None for value in enqueues.asked()], dtype=bool)
    begun = np.sort(enqueues.start[of_nil & ~enqueues.failed])
    places = np.flatnonzero(is_nil)
    places = places[np.argsort(taking.end[places], kind="stable")]
    ends = np.sort(np.concatenate([taking.end[places], np.array(drained, dtype=np.int64)]))
    # How many can have been elements up to each end, so that those drained later still have begun before.
    room = np.searchsorted(begun, ends) - np.searchsorted(np.sort(drained), ends, side="right")
    room = np.maximum(np.minimum.accumulate(room[::-1])[::-1], 0)[np.searchsorted(ends, taking.end[places])]
    chosen: list[int] = []
    for place, most in zip(places.tolist(), room.tolist(), strict=True):
        if len(chosen) < most:
            chosen.append(place)
    ways = [np.zeros(len(taking), dtype=bool) for _ in range(3)]
    open_, first, last = ways
    open_[places[room > 0]] = True
    first[chosen] = True
    last[places[len(places) - len(chosen) :]] = True
    return is_nil, open_, [first, last]


def _removals(
    taking: Operations,
    values: Numbering,
    nil_is_empty: NDArray[np.bool_],
    open_: NDArray[np.bool_],
    misshapen: Misshapen,
) -> tuple[_Removals, NDArray[np.bool_], NDArray[np.bool_]]:
    """What was taken out; which operations saw the queue empty at some moment; and which answers cannot be read."""
    events = taking.history.operations
    empty = nil_is_empty.copy()
    unread = np.zeros(len(taking), dtype=bool)
    done = taking.where(taking.ok)
    position = np.flatnonzero(taking.ok).tolist()
    taken: list[Any] = []
    by: list[int] = []
    for place, (start, end) in enumerate(zip(done.start.tolist(), done.end.tolist(), strict=True)):
        answer = events[end].value
        if events[start].f == "dequeue":
            if not (nil_is_empty[position[place]] or open_[position[place]]):
                taken.append(answer)
                by.append(place)
        elif answer is None or isinstance(answer, list | tuple):
            empty[position[place]] = True
            taken.extend(answer or ())
            by.extend([place] * len(answer or ()))
        else:
            unread[position[place]] = True
            misshapen.note(done.pair(place))
    for place in np.flatnonzero(taking.failed).tolist():
        event = events[int(taking.end[place])]
        said = f"{event.error} {event.value}".lower()
        empty[place] = event.f == "dequeue" and any(word in said for word in _EMPTY_WORDS)
    of = np.array(by, dtype=np.int64)
    return _Removals(done, values.number(taken), of, done.start[of], done.end[of]), empty, unread


@dataclass(frozen=True)
class _Empty:
    """Who found the queue empty, each at some moment from `since` to `until`; and who may have taken something out
    without our knowing what."""

    by: NDArray[np.int64]
    since: NDArray[np.int64]
    until: NDArray[np.int64]
    dequeues: NDArray[np.int64]
    """When those that may have taken one began, in order."""
    drains: NDArray[np.int64]
    """When those that may have taken any number began, in order."""

    @classmethod
    def of(
        cls,
        enqueues: Operations,
        entered: NDArray[np.int64],
        taking: Operations,
        empty: NDArray[np.bool_],
        removals: _Removals,
        unread: NDArray[np.bool_],
        total: int,
    ) -> _Empty:
        begun = np.full(total, FOREVER, dtype=np.int64)
        possible = ~enqueues.failed
        np.minimum.at(begun, entered[possible], enqueues.start[possible])
        since = taking.start.copy()
        # A drain found the queue empty after it had taken what it took, which began to go in before that.
        known = begun[removals.value] < removals.end
        by = np.flatnonzero(taking.ok)[removals.by[known]]
        np.maximum.at(since, by, begun[removals.value[known]])
        events = taking.history.operations
        drain = np.array([events[index].f == "drain" for index in taking.start.tolist()], dtype=bool)
        found = np.flatnonzero(empty)
        lost_sight = taking.unknown | unread
        return cls(
            found,
            since[found],
            taking.end[found],
            np.sort(taking.start[lost_sight & ~drain]),
            np.sort(taking.start[lost_sight & drain]),
        )


def _surplus(
    enqueues: Operations,
    entered: NDArray[np.int64],
    tried: NDArray[np.int64],
    out: NDArray[np.int64],
    removals: _Removals,
    values: Numbering,
) -> list[Anomaly]:
    """Values that came out more often than they can have gone in."""
    refused = np.bincount(entered[enqueues.failed], minlength=len(values))
    found = []
    for kind, wrong in (
        (UNEXPECTED, (out > 0) & (tried == 0) & (refused == 0)),
        (FAILED_ENQUEUE, (out > 0) & (tried == 0) & (refused > 0)),
        (DUPLICATED, (out > tried) & (tried > 0)),
    ):
        numbers = np.flatnonzero(wrong)
        told = []
        for number in numbers[:20].tolist():
            who = [
                removals.operations.pair(int(removals.by[place]))
                for place in np.flatnonzero(removals.value == number)[:8].tolist()
            ]
            value = shown(values.values[number])
            last = who[-1]
            text = f"process {last.process} took out {value} ({interval(last)}), "
            if kind == DUPLICATED:
                first = who[0]
                enqueued = enqueues.pairs((entered == number) & ~enqueues.failed)[:8]
                text = (
                    f"{value} came out {count(int(out[number]), 'time')}, but went in {tried[number]}: process "
                    f"{first.process} took it ({interval(first)}), and process {last.process} again ({interval(last)})"
                )
                who += enqueued
            elif kind == FAILED_ENQUEUE:
                refusal = enqueues.pairs(entered == number)[0]
                text += f"but its enqueue by process {refusal.process} ({interval(refusal)}) had failed"
                who.append(refusal)
            else:
                text += "which nobody had enqueued"
            told.append((text, who))
        if told:
            plural = kind.replace("element", "elements", 1)
            found.append(anomaly(kind, told, len(numbers), plural=plural, key=values.values[int(numbers[0])]))
    return found


def _too_early(
    enqueues: Operations,
    entered: NDArray[np.int64],
    possible: NDArray[np.bool_],
    removals: _Removals,
    values: Numbering,
) -> list[Anomaly]:
    """Values that came out before they went in: the n-th time before the n-th of their enqueues began."""
    giving = np.flatnonzero(possible)
    giving = giving[np.lexsort((enqueues.start[giving], entered[giving]))]
    taken = np.lexsort((removals.end, removals.value))
    value, given = removals.value[taken], entered[giving]
    time = np.arange(len(taken)) - np.searchsorted(value, value)
    partner = np.searchsorted(given, value) + time
    has_partner = partner < np.searchsorted(given, value, side="right")  # Those without one are too many.
    giver_of = giving[np.where(has_partner, partner, 0)] if len(giving) else np.zeros(len(taken), np.int64)
    early = np.flatnonzero(has_partner)
    early = early[removals.end[taken[early]] < enqueues.start[giver_of[early]]]
    told = []
    for place in early[:20].tolist():
        taker = removals.operations.pair(int(removals.by[taken[place]]))
        giver = enqueues.pair(int(giver_of[place]))
        again = " again" if time[place] else ""
        text = (
            f"process {taker.process} took out {shown(values.values[int(value[place])])}{again} ({interval(taker)}) "
            f"before process {giver.process} began to enqueue it{again} ({interval(giver)})"
        )
        told.append((text, [taker, giver]))
    plural = "elements before their enqueues"
    return [anomaly(TOO_EARLY, told, len(early), plural=plural)] if told else []


def _lost(
    enqueues: Operations,
    entered: NDArray[np.int64],
    out: NDArray[np.int64],
    taking: Operations,
    found: _Empty,
    values: Numbering,
) -> tuple[list[Anomaly], list[str], int]:
    """Acknowledged values that never came out, though the queue was empty after they had gone in; what cannot be said;
    and how many of them dequeues of unknown outcome explain."""
    given = np.flatnonzero(enqueues.ok)
    given = given[np.lexsort((enqueues.end[given], entered[given]))]
    value = entered[given]
    # Of the enqueues of a value those acknowledged last may be the ones still inside.
    missing = given[np.arange(len(given)) - np.searchsorted(value, value) >= out[value]]
    if not len(missing):
        return [], [], 0
    missing = missing[np.argsort(enqueues.end[missing], kind="stable")]
    ends = enqueues.end[missing]
    gone = np.searchsorted(ends, found.since)
    # Whoever began only after the queue had been found empty has not emptied it.
    excuses = np.searchsorted(found.dequeues, found.until)
    told_all = np.searchsorted(found.drains, found.until) == 0
    surplus = np.where(told_all, gone - excuses, 0)
    certain, judged = int(gone.max(initial=0)), int(gone[told_all].max(initial=0))
    doubts = []
    if certain < len(missing):
        example = shown(values.values[int(entered[missing[certain]])])
        doubts.append(
            f"{count(len(missing) - certain, 'acknowledged element')} (first {example}) never came out, but the queue "
            "was not seen empty afterwards; a final drain would tell"
        )
    number = int(surplus.max(initial=0))
    if number <= 0:
        if judged < certain:
            doubts.append(
                f"{count(certain - judged, 'acknowledged element')} never came out, which a drain of unknown outcome "
                "may have taken; single dequeues at the end would tell"
            )
        return [], doubts, judged
    # Of those that tell as much, the one with the fewest excuses.
    worst = np.flatnonzero(surplus == number)
    at = int(worst[np.argmin(excuses[worst])])
    emptied = taking.pair(int(found.by[at]))
    excuse = f", and at most {excuses[at]} of them with a crashed dequeue" if excuses[at] else ""
    told = []
    lost = missing[: gone[at]]
    for one in np.unique(entered[lost])[:20].tolist():
        giver = enqueues.pairs((entered == one) & enqueues.ok)[0]
        text = (
            f"{shown(values.values[one])} was enqueued by process {giver.process} ({interval(giver)}) and never came "
            f"out{excuse}, though process {emptied.process} found the queue empty afterwards ({interval(emptied)})"
        )
        told.append((text, [giver, emptied]))
    key = values.values[int(entered[lost].min())]
    return [anomaly(LOST, told, number, plural="lost elements", key=key)], doubts, 0


def _order(
    enqueues: Operations,
    entered: NDArray[np.int64],
    tried: NDArray[np.int64],
    out: NDArray[np.int64],
    unordered: NDArray[np.bool_],
    removals: _Removals,
    taking: Operations,
    found: _Empty,
    values: Numbering,
) -> tuple[list[Anomaly], int]:
    """Violations of the order among values enqueued once; and how many values were not, besides those `unordered`."""
    total = len(values)
    once = (tried == 1) & (out <= 1) & ~unordered
    went_in = np.full(total, FOREVER, dtype=np.int64)
    begun = np.full(total, -1, dtype=np.int64)
    enqueue = np.full(total, -1, dtype=np.int64)
    possible = np.flatnonzero(~enqueues.failed)
    enqueue[entered[possible]] = possible
    went_in[entered[possible]] = enqueues.end[possible]
    begun[entered[possible]] = enqueues.start[possible]
    came_out = np.full(total, FOREVER, dtype=np.int64)
    gone = np.full(total, FOREVER, dtype=np.int64)
    removal = np.full(total, -1, dtype=np.int64)
    removal[removals.value] = np.arange(len(removals.value))
    came_out[removals.value] = removals.start
    gone[removals.value] = removals.end
    crashed = np.sort(np.concatenate([found.dequeues, found.drains]))
    anomalies = []
    # Of the values that had gone in before one began to, the one whose removal began last: if never, FOREVER.
    settled = np.flatnonzero(once & (went_in < FOREVER))
    may_be_gone = (out[settled] == 0) & (len(crashed) > 0)
    leaves = np.where(may_be_gone, crashed[0] if len(crashed) else FOREVER, came_out[settled])
    seen = np.flatnonzero(once & (out == 1))
    if len(settled):
        behind = greatest_before(went_in[settled], leaves, begun[seen])
        wrong = (behind >= 0) & (leaves[np.maximum(behind, 0)] > gone[seen])
    else:  # Nothing is known to have gone in.
        behind, wrong = np.full(len(seen), -1), np.zeros(len(seen), dtype=bool)
    told = []
    for place in np.flatnonzero(wrong)[:20].tolist():
        slow, fast = int(settled[behind[place]]), int(seen[place])
        told.append(_tell_overtaken(slow, fast, enqueues, enqueue, removals, removal, len(crashed), values))
    number = int(wrong.sum())
    more, inside_number = _overtaken_inside(removals, went_in, begun, once, enqueues, enqueue, values)
    number += inside_number
    told += more
    if told:
        anomalies.append(anomaly(OVERTAKEN, told, number, plural="elements overtaken"))
    stay = np.where(may_be_gone, leaves, came_out[settled])
    anomalies += _not_empty(went_in[settled], stay, settled, enqueues, enqueue, taking, found, values)
    return anomalies, int(((tried + out > 0) & ~once & ~unordered).sum())


def _tell_overtaken(
    slow: int,
    fast: int,
    enqueues: Operations,
    enqueue: NDArray[np.int64],
    removals: _Removals,
    removal: NDArray[np.int64],
    crashed: int,
    values: Numbering,
) -> tuple[str, list[Pair]]:
    first, second = enqueues.pair(int(enqueue[slow])), enqueues.pair(int(enqueue[fast]))
    taken = removals.operations.pair(int(removals.by[removal[fast]]))
    one, other = shown(values.values[slow]), shown(values.values[fast])
    text = (
        f"{one} was enqueued by process {first.process} ({interval(first)}) before {other} by process {second.process} "
        f"({interval(second)}), but {other} was taken out by process {taken.process} ({interval(taken)}) "
    )
    pairs = [first, second, taken]
    if removal[slow] >= 0:
        later = removals.operations.pair(int(removals.by[removal[slow]]))
        text += f"before process {later.process} began to take out {one} ({interval(later)})"
        pairs.append(later)
    elif crashed:
        text += f"while {one} was still inside: no dequeue that might have taken it had begun"
    else:
        text += f"and {one} never was"
    return text, pairs


def _overtaken_inside(
    removals: _Removals,
    went_in: NDArray[np.int64],
    begun: NDArray[np.int64],
    once: NDArray[np.bool_],
    enqueues: Operations,
    enqueue: NDArray[np.int64],
    values: Numbering,
) -> tuple[list[tuple[str, list[Pair]]], int]:
    """Values of one drain in the wrong order: one that had gone in before another one began to, listed after it."""
    kept = np.flatnonzero(once[removals.value])
    if len(kept) < 2:
        return [], 0
    by, value = removals.by[kept], removals.value[kept]
    # The latest begin so far within each drain; drains are apart, since their numbers grow and times are below 2^32.
    far = np.int64(1) << 32
    latest = np.maximum.accumulate(by * far + begun[value])
    before = np.concatenate([[-1], latest[:-1]])
    wrong = (before // far == by) & (went_in[value] < before % far)
    told = []
    for place in np.flatnonzero(wrong)[:20].tolist():
        first = int(np.flatnonzero(by == by[place])[0])
        faster = first + int(np.argmax(begun[value[first:place]]))
        one, other = int(value[place]), int(value[faster])
        drain = removals.operations.pair(int(by[place]))
        pairs = [enqueues.pair(int(enqueue[one])), enqueues.pair(int(enqueue[other])), drain]
        text = (
            f"{shown(values.values[one])} was enqueued by process {pairs[0].process} ({interval(pairs[0])}) before "
            f"{shown(values.values[other])} by process {pairs[1].process} ({interval(pairs[1])}), but process "
            f"{drain.process} drained it later ({interval(drain)})"
        )
        told.append((text, pairs))
    return told, int(wrong.sum())


def _not_empty(
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    numbers: NDArray[np.int64],
    enqueues: Operations,
    enqueue: NDArray[np.int64],
    taking: Operations,
    found: _Empty,
    values: Numbering,
) -> list[Anomaly]:
    """Dequeues that found the queue empty, and drains that left nothing behind, though from their begin to their end
    something was certainly inside: each value is from the end of its enqueue to the begin of its dequeue."""
    inside = np.flatnonzero(begin < end)
    if not len(inside) or not len(found.by):
        return []
    order = inside[np.argsort(begin[inside], kind="stable")]
    first = begin[order]
    reach = np.maximum.accumulate(end[order])
    # A gap lies before each value that goes in after all before it have left.
    fresh = np.concatenate([[True], first[1:] > reach[:-1]])
    stretch = np.cumsum(fresh) - 1
    from_ = first[fresh]
    until = np.concatenate([reach[:-1][fresh[1:]], reach[-1:]])
    at = np.searchsorted(from_, found.since) - 1
    covered = (at >= 0) & (until[np.maximum(at, 0)] > found.until)
    told = []
    for place in np.flatnonzero(covered)[:20].tolist():
        asker = int(found.by[place])
        members = order[stretch == at[place]]
        during = members[(end[members] > found.since[place]) & (begin[members] < found.until[place])]
        pairs = [
            taking.pair(asker),
            *(enqueues.pair(int(enqueue[numbers[one]])) for one in during[:8].tolist()),
        ]
        what = ", ".join(shown(values.values[int(numbers[one])]) for one in during[:8].tolist())
        if pairs[0].f == "drain":
            text = (
                f"process {pairs[0].process} drained the queue ({interval(pairs[0])}), but at each moment at which it "
                f"can have been empty one of {what} was inside"
            )
        else:
            text = (
                f"process {pairs[0].process} found the queue empty ({interval(pairs[0])}), but at each moment of that "
                f"one of {what} was inside"
            )
        told.append((text, pairs))
    return (
        [anomaly(NOT_EMPTY, told, int(covered.sum()), plural="empty answers of a queue that was not")]
        if told
        else []
    )
