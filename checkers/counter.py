"""A counter: at some moment of its read, the value was what the adds that had taken effect come to.

Operations: `add` with a whole number, which may be negative; `read`, answered with the value. The counter starts at
`initial`. Linearizable reads are judged exactly, one by one: there must be a moment within the read at which its value
is the sum of all adds that had ended by then and of *some* of those that had begun (crashed ones stay open for ever).

- Between two moments the possible sums only grow or shrink around each other, so a read's value is outside of
  everything possible exactly if it is below the least or above the greatest bound of any moment in its interval: two
  range queries, for all reads at once.
- Whether some of the open adds sum up to a value within the bounds is asked of the set of their subset sums, a bit
  each; not where all amounts are equal, since then every multiple can be reached.

Jointly, reads may still contradict each other. Where all amounts are equal that is decided exactly too: the counter's
k-th unit is a slot, which must lie after every read that saw less than k had begun and before any that saw k or more
had ended; the adds must be matched with the slots. Both are ordered, so taking the add that ends first is optimal
(Glover 1967, matchings of convex bipartite graphs). With different amounts of one sign, reads must not go backwards,
and their values are levels that are gone through one by one (`counter_levels`), which also answers for each read, so
that sums are looked at only where it finds no order. Where amounts have both signs, the
general search decides (`linearizability/`). Summing up subsets over time is NP-hard; linearizability is what is judged,
so what these two cannot decide within the limits is unknown.

`eventual` counters (conflict-free replicated ones) promise only that in the end everybody sees everything. Judged so
are the reads of the final phase or, in a record without phases, the last read of each process, where they began after
the last acknowledged add had ended. All others may miss any of the adds, but show no more than these: they must lie
between the least and the greatest sum of adds that had begun, and be a multiple of what all amounts are multiples of.
Whether some of the adds come to exactly their value is not asked.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import gcd
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.checker import Deadline, Limits
from checkers.conclusion import Misshapen, anomaly, conclude
from checkers.counter_levels import Adds, Climb, Levels, climb
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.models import Counter
from checkers.operations import FOREVER, Operations
from checkers.precedence import greatest_before
from checkers.values import integers, whole_number
from checkers.words import count, interval, none_of
from results.history import History, Pair
from results.operation import FINAL_PHASE
from results.verdict import UNKNOWN, VALID, Anomaly, Verdict

TOO_LOW = "counter too low"
TOO_HIGH = "counter too high"
IMPOSSIBLE = "impossible sum"
BACKWARDS = "counter went backwards"
TOO_LITTLE_GROWTH = "adds lost between reads"
NO_STEP = "reads that no order explains"

_MOST_BITS: Final = 1 << 14
"""The widest range of sums that is looked at sum by sum, a bit each."""
_MOST_SUMS: Final = 512
"""In a wider range, how many different sums are looked at."""
_MOST_SUMMED: Final = 20_000_000
"""How many of these are made in all."""
_MOST_KEPT: Final = 4096
"""How many moments are kept before those that no open read needs are dropped."""


@dataclass(frozen=True)
class _Adds:
    """The adds that may have happened, without those of nothing."""

    operations: Operations
    amounts: NDArray[Any]
    unit: int
    """The greatest common divisor of the amounts."""

    @property
    def units(self) -> NDArray[Any]:
        return self.amounts // self.unit


@dataclass(frozen=True)
class _Reads:
    operations: Operations
    values: NDArray[Any]
    """Less the initial value."""

    def where(self, chosen: NDArray[np.bool_]) -> _Reads:
        return _Reads(self.operations.where(chosen), self.values[chosen])


@dataclass
class CounterChecker:
    """Judges adds to, and reads of, one counter."""

    eventual: bool = False
    initial: int = 0
    name: str = field(default="counter", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        """Raises nothing: a value that is no whole number is left out, and makes the verdict unknown unless it is
        invalid anyway. An add of no whole number may explain whatever was read after it began."""
        deadline = limits.deadline()
        misshapen = Misshapen("whole numbers")
        adds = _adds(history, misshapen)
        tried = Operations.of(history, "read")
        reads = _reads(tried, self.initial, misshapen)
        if adds.amounts.dtype == object:  # Small values cannot be divided by what is beyond 64 bits.
            reads = replace(reads, values=reads.values.astype(object))
        unclear = _first_unclear(history)
        if unclear < FOREVER:
            reads = reads.where(reads.operations.end < unclear)
        details: dict[str, Any] = {
            "adds": len(adds.operations),
            "adds_of_unknown_outcome": int(adds.operations.unknown.sum()),
            "reads": len(reads.operations),
        }
        if not len(tried) and len(adds.operations) and not misshapen.doubts():
            # Unlike a history whose reads all failed, one that only adds asks nothing that could be answered wrongly.
            sentence = (
                f"{count(len(adds.operations), 'add')} and no read: nothing was asked, and nothing is wrong"
            )
            return Verdict(VALID, self.name, sentence, details=details)
        if not len(reads.operations):
            why = "; ".join(misshapen.doubts()) or none_of(len(tried), "read", "succeeded")
            sentence = f"{why}: the counter was never seen; one read would tell"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        final = np.ones(len(reads.operations), dtype=bool)
        bounds = _bounds(adds, reads)
        if self.eventual:
            final = _final(adds.operations, reads.operations)
            bounds = _begun(adds, reads).where_not(final, bounds)
        anomalies = [*self._outside(reads, bounds, final)]
        doubts = misshapen.doubts()
        inside = (reads.values >= bounds.least) & (reads.values <= bounds.greatest)
        if adds.unit != 1:
            broken = inside & (reads.values % adds.unit != 0)
            inside &= ~broken
            anomalies += self._indivisible(reads, broken, adds.unit)
        exact = bool((abs(adds.amounts) == adds.unit).all())
        climbed: Climb | None = None
        if not (exact or self.eventual or anomalies) and len(reads.operations) > 1 and _grows(adds, reads):
            climbed = _climb(adds, reads, deadline)
        settled = climbed is not None and climbed.is_complete
        if settled:
            details["decided_by"] = "levels"
        if not exact and not settled:
            impossible, undecided = _impossible(adds, reads, inside & final, deadline)
            anomalies += self._no_sum(reads, impossible)
            if undecided:
                doubts.append(
                    f"{count(undecided, 'read')} within the bounds could not be judged: too many sums of open adds "
                    "are possible to look at each; adds of equal amounts are always decided"
                )
        if not (self.eventual or anomalies or settled):
            anomalies += self._jointly(adds, reads)
            if not anomalies and not _decided_jointly(adds, reads):
                found, more = self._by_levels(adds, reads, climbed)
                details["decided_by"] = "levels"
                if more:
                    left = max(1.0, deadline.remaining())
                    found, more = self._searched(history, replace(limits, time_s=left))
                    details["decided_by"] = "search"
                anomalies += found
                doubts = misshapen.doubts() + more  # Both judge each read, too.
        if self.eventual and not final.any():
            doubts.append("no final read began after the last acknowledged add had ended; one would tell")
        judged = int(final.sum()) if self.eventual else len(reads.operations)
        valid = f"{count(judged, 'read')} saw what {count(len(adds.operations), 'add')} can come to"
        return conclude(self.name, anomalies, doubts, valid, details)

    def _outside(self, reads: _Reads, bounds: _Bounds, final: NDArray[np.bool_]) -> list[Anomaly]:
        found = []
        for kind, wrong, badness in (
            (TOO_LOW, reads.values < bounds.least, bounds.least - reads.values),
            (TOO_HIGH, reads.values > bounds.greatest, reads.values - bounds.greatest),
        ):
            places = np.flatnonzero(wrong)
            if not len(places):
                continue
            told = []
            for place in _worst_first(places, badness):
                read, value = reads.operations.pair(place), int(reads.values[place]) + self.initial
                if kind == TOO_LOW:
                    bound = int(bounds.least[place]) + self.initial
                    why = (
                        f"the adds that had ended before, and no others, come to {bound} at least"
                        if final[place]
                        else f"all adds that had begun by its end come to {bound} at least"
                    )
                else:
                    bound = int(bounds.greatest[place]) + self.initial
                    why = f"all adds that had begun by its end come to {bound} at most"
                told.append(
                    (f"the read by process {read.process} ({interval(read)}) saw {value}, but {why}", [read])
                )
            worst = int(reads.values[places[0]]) + self.initial
            found.append(anomaly(kind, told, len(places), plural=f"{kind} in reads", first_value=worst))
        return found

    def _indivisible(self, reads: _Reads, broken: NDArray[np.bool_], unit: int) -> list[Anomaly]:
        places = np.flatnonzero(broken)
        if not len(places):
            return []
        told = []
        for place in places[:20].tolist():
            read, value = reads.operations.pair(place), int(reads.values[place]) + self.initial
            from_initial = "" if not self.initial else f" above {self.initial}"
            told.append(
                (
                    f"the read by process {read.process} ({interval(read)}) saw {value}, which is no multiple of "
                    f"{unit}{from_initial}, as all adds are",
                    [read],
                )
            )
        return [anomaly(IMPOSSIBLE, told, len(places), plural="impossible sums")]

    def _no_sum(self, reads: _Reads, impossible: Sequence[tuple[int, list[Pair]]]) -> list[Anomaly]:
        told = []
        for place, open_adds in impossible:
            read, value = reads.operations.pair(place), int(reads.values[place]) + self.initial
            amounts = ", ".join(str(add.invocation.value) for add in open_adds[:8])
            told.append(
                (
                    f"the read by process {read.process} ({interval(read)}) saw {value}, which no choice among the "
                    f"adds that were open during it ({amounts or 'none'}) comes to",
                    [read, *open_adds],
                )
            )
        return [anomaly(IMPOSSIBLE, told, plural="impossible sums")] if told else []

    def _jointly(self, adds: _Adds, reads: _Reads) -> list[Anomaly]:
        """Reads against each other; only for reads that are possible each on its own."""
        amounts, values, operations = adds.amounts, reads.values, reads.operations
        if len(amounts) and (amounts < 0).all():
            amounts, values = -amounts, -values
        elif (amounts < 0).any():
            return []
        earlier = greatest_before(operations.end, values, operations.start)
        back = np.flatnonzero((earlier >= 0) & (values[np.maximum(earlier, 0)] > values))
        if len(back):
            told = []
            for place in back[:20].tolist():
                one, other = operations.pair(int(earlier[place])), operations.pair(place)
                told.append(
                    (
                        f"process {one.process} read {one.value} ({interval(one)}), and process {other.process}, "
                        f"later, {other.value} ({interval(other)}), though no add goes that way",
                        [one, other],
                    )
                )
            return [anomaly(BACKWARDS, told, len(back), plural="reads of a counter that went backwards")]
        if len(amounts) and (amounts == adds.unit).all():
            return self._unmatched(adds, reads, values // adds.unit)
        return []

    def _by_levels(self, adds: _Adds, reads: _Reads, found: Climb | None) -> tuple[list[Anomaly], list[str]]:
        """What going through the values that were read found wrong, or why it cannot tell."""
        if found is None:
            return [], ["the counter grows and falls"]
        if found.gave_up is not None:
            return [], [found.gave_up]
        if found.stuck is None:
            return [], []
        sign = _sign(adds)
        operations, values = reads.operations, reads.values * sign
        levels = Levels.of(operations.start, operations.end, values)
        here = values == levels.value[found.stuck]
        value = int(levels.value[found.stuck]) * sign + self.initial
        seen = operations.pairs(here)
        pending = [adds.operations.pair(place) for place in found.pending]
        if found.is_passed_by:
            first, second = (
                min(seen, key=lambda read: read.indices[-1]),
                max(seen, key=lambda read: read.index),
            )
            return [_lost(first, second, pending)], []
        amounts = ", ".join(str(pair.invocation.value) for pair in pending[:8])
        sentence = (
            f"process {seen[0].process} read {value} ({interval(seen[0])}), and no choice among the adds that may "
            f"have come then ({amounts or 'none'}) leads from the value that was read before to that"
        )
        if found.stuck:
            lower = operations.pairs(values == levels.value[found.stuck - 1])
            sentence += f", {lower[0].value}"
            seen = [*lower, *seen]
        return [anomaly(NO_STEP, [(sentence, [*seen, *pending])])], []

    def _searched(self, history: History, limits: Limits) -> tuple[list[Anomaly], list[str]]:
        """What the search for an order finds wrong, or why it could not tell."""
        model = Counter(self.initial)
        checker = LinearizabilityChecker(
            model, split_by_key=False, functions=frozenset({"add", "read"}), name=self.name
        )
        verdict = checker.check(history, limits)
        return list(verdict.anomalies), [verdict.sentence] if verdict.outcome == UNKNOWN else []

    def _unmatched(self, adds: _Adds, reads: _Reads, values: NDArray[Any]) -> list[Anomaly]:
        crowd = _crowded(adds.operations, reads.operations, values)
        if crowd is None:
            return []
        one, other, between = crowd
        first, second = reads.operations.pair(one), reads.operations.pair(other)
        return [_lost(first, second, [adds.operations.pair(place) for place in between])]


def _lost(first: Pair, second: Pair, pairs: list[Pair]) -> Anomaly:
    """Adds that began and ended between two reads that differ by less."""
    different = list(dict.fromkeys(str(pair.invocation.value) for pair in pairs))
    sentence = (
        f"process {first.process} read {first.value} ({interval(first)}), and process {second.process} "
        f"{second.value} ({interval(second)}), but {count(len(pairs), 'add')} of "
        f"{', '.join(different[:8])} began and ended between them"
    )
    return anomaly(TOO_LITTLE_GROWTH, [(sentence, [first, second, *pairs])])


def _first_unclear(history: History) -> int:
    """The event that invoked the first add that is of no whole number and may have happened; `FOREVER` if none is."""
    tried = Operations.of(history, "add")
    possible = tried.where(~tried.failed)
    asked = possible.asked()
    if set(map(type, asked)) <= {int}:
        return FOREVER
    unclear = [place for place, value in enumerate(asked) if whole_number(value) is None]
    return int(possible.start[unclear].min(initial=FOREVER))


def _decided_jointly(adds: _Adds, reads: _Reads) -> bool:
    """Whether nothing is left that the reads could say together, once each and their growth was judged."""
    amounts = adds.amounts
    return len(reads.operations) < 2 or bool((amounts == adds.unit).all() or (amounts == -adds.unit).all())


def _sign(adds: _Adds) -> int:
    """The sign of the amounts, 0 where both occur."""
    rises = adds.amounts > 0
    return 1 if rises.all() else -1 if not rises.any() else 0


def _grows(adds: _Adds, reads: _Reads) -> bool:
    """Whether the adds have one sign, and no read contradicts that."""
    values, operations = reads.values * _sign(adds), reads.operations
    if not _sign(adds):
        return False
    earlier = greatest_before(operations.end, values, operations.start)
    return not bool(((earlier >= 0) & (values[np.maximum(earlier, 0)] > values)).any())


def _climb(adds: _Adds, reads: _Reads, deadline: Deadline) -> Climb:
    """What going through the values that were read finds."""
    sign, operations = _sign(adds), reads.operations
    levels = Levels.of(operations.start, operations.end, reads.values * sign)
    of = Adds(adds.operations.start, adds.operations.end, adds.amounts * sign)
    return climb(of, levels, deadline.expired)


def _adds(history: History, misshapen: Misshapen) -> _Adds:
    tried = Operations.of(history, "add")
    possible = tried.where(~tried.failed)
    amounts, good = _whole_numbers(possible, possible.asked(), misshapen)
    if not all(good):
        possible = possible.where(np.array(good, dtype=bool))
    counted = np.array([amount != 0 for amount in amounts], dtype=bool)
    if not counted.all():
        possible, amounts = possible.where(counted), [amount for amount in amounts if amount]
    return _Adds(possible, integers(amounts), gcd(*amounts) or 1)


def _reads(tried: Operations, initial: int, misshapen: Misshapen) -> _Reads:
    operations = tried.where(tried.ok)
    values, good = _whole_numbers(operations, operations.answers(), misshapen)
    if not all(good):
        operations = operations.where(np.array(good, dtype=bool))
    if initial:
        values = [value - initial for value in values]
    return _Reads(operations, integers(values))


def _whole_numbers(
    operations: Operations, values: list[Any], misshapen: Misshapen
) -> tuple[list[int], list[bool]]:
    """The values that are whole numbers, and which operations they belong to."""
    if set(map(type, values)) <= {int}:
        return values, [True] * len(values)
    numbers = [whole_number(value) for value in values]
    good = [number is not None for number in numbers]
    for place, is_good in enumerate(good):
        if not is_good:
            misshapen.note(operations.pair(place))
    return [number for number in numbers if number is not None], good


@dataclass(frozen=True)
class _Bounds:
    """For each read, the least and the greatest value that any moment of it allows."""

    least: NDArray[Any]
    greatest: NDArray[Any]

    def where_not(self, chosen: NDArray[np.bool_], other: _Bounds) -> _Bounds:
        """These bounds, and the other's for the chosen reads."""
        return _Bounds(
            np.where(chosen, other.least, self.least), np.where(chosen, other.greatest, self.greatest)
        )


def _bounds(adds: _Adds, reads: _Reads) -> _Bounds:
    """The bounds over all moments of each read."""
    operations, amounts = adds.operations, adds.amounts
    ended = operations.ok
    events = np.concatenate([operations.start, operations.end[ended]])
    zero = amounts * 0
    lower = np.concatenate([np.minimum(amounts, zero), np.maximum(amounts, zero)[ended]])
    upper = np.concatenate([np.maximum(amounts, zero), np.minimum(amounts, zero)[ended]])
    order = np.argsort(events)
    events = events[order]
    lowest = np.concatenate([zero[:0], [0], np.cumsum(lower[order])])
    highest = np.concatenate([zero[:0], [0], np.cumsum(upper[order])])
    first = np.searchsorted(events, reads.operations.start)
    last = np.searchsorted(events, reads.operations.end)
    return _Bounds(*_range_extremes(lowest, highest, first, last))


def _begun(adds: _Adds, reads: _Reads) -> _Bounds:
    """The bounds of any sum of adds that had begun by the end of each read."""
    zero = adds.amounts * 0
    lowest = np.concatenate([zero[:0], [0], np.cumsum(np.minimum(adds.amounts, zero))])
    highest = np.concatenate([zero[:0], [0], np.cumsum(np.maximum(adds.amounts, zero))])
    begun = np.searchsorted(adds.operations.start, reads.operations.end)
    return _Bounds(lowest[begun], highest[begun])


def _final(adds: Operations, reads: Operations) -> NDArray[np.bool_]:
    """The reads that have to see everything, if in the end everybody does."""
    quiet = reads.start > int(adds.end[adds.ok].max(initial=-1))
    events = reads.history.operations
    phases = [events[index].phase for index in reads.start.tolist()]
    if FINAL_PHASE in phases:
        return np.asarray(quiet & np.array([phase == FINAL_PHASE for phase in phases]))
    last = np.zeros(len(reads), dtype=bool)
    backwards = reads.process[::-1]
    last[len(reads) - 1 - np.unique(backwards, return_index=True)[1]] = True
    return np.asarray(quiet & last)


def _range_extremes(
    lowest: NDArray[Any],
    highest: NDArray[Any],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """For each window `first..last` (both included) the minimum of `lowest` and the maximum of `highest` in it.

    By doubling, one power of two after the other, so that memory stays linear: O((n + windows) log(longest window)).
    """
    low, high = lowest.copy(), highest.copy()
    least, most = lowest[first], highest[first]
    length = last - first + 1
    level = np.zeros(len(first), dtype=np.int64)
    if len(first):
        level = np.frexp(length.astype(np.float64))[1].astype(np.int64) - 1
    step = 1
    for power in range(int(level.max(initial=0)) + 1):
        if power:
            low = np.minimum(low[:-step], low[step:])
            high = np.maximum(high[:-step], high[step:])
            step *= 2
        asked = np.flatnonzero(level == power)
        head, tail = first[asked], last[asked] - step + 1
        least[asked] = np.minimum(low[head], low[tail])
        most[asked] = np.maximum(high[head], high[tail])
    return least, most


def _impossible(
    adds: _Adds, reads: _Reads, asked: NDArray[np.bool_], deadline: Deadline
) -> tuple[list[tuple[int, list[Pair]]], int]:
    """Of the reads asked for, those whose value no subset of open adds gives at any of their moments, with the adds
    that were open; and how many could not be decided.

    One walk through all events. Possible sums are the bits of one integer, counted from the least, or in a wide range
    a set, if there are few. A set of open adds
    that another one contains tells nothing new, so only the moments before an add ends, and before a read does, are
    looked at; they are kept as long as a read that had begun by then is still open.
    """
    ADD, ADDED, READ, SEEN = range(4)
    chosen = np.flatnonzero(asked)
    ended = np.flatnonzero(adds.operations.ok)
    events = np.concatenate(
        [
            adds.operations.start,
            adds.operations.end[ended],
            reads.operations.start[chosen],
            reads.operations.end[chosen],
        ]
    )
    kinds = np.repeat([ADD, ADDED, READ, SEEN], [len(adds.amounts), len(ended), len(chosen), len(chosen)])
    places = np.concatenate([np.arange(len(adds.amounts)), ended, chosen, chosen])
    order = np.argsort(events)
    amounts: list[int] = adds.units.tolist()
    values: list[int] = (reads.values // adds.unit).tolist()
    stays_open: list[bool] = (~adds.operations.ok).tolist()
    least = 0
    width = 0
    lasting: int | None = 1
    """Sums of the crashed adds alone; None once their range is too wide."""
    lasting_few: frozenset[int] | None = frozenset((0,))
    """The same as a set; None once they are too many."""
    summed = 0
    passing: dict[int, int] = {}
    """The other open adds, by their place, with the size of the amount."""
    since: dict[int, int] = {}
    """Of the open reads, how many moments had been kept when they began, counted from the first ever."""
    kept: list[_Moment] = []
    dropped = 0
    now: _Moment | None = None
    impossible: list[tuple[int, list[Pair]]] = []
    undecided = 0

    def moment() -> _Moment:
        nonlocal now, summed
        if now is None:
            if width <= _MOST_BITS and lasting is not None:
                bits = lasting
                for size in passing.values():
                    bits |= bits << size
                now = (least, bits, width)
            else:
                few = lasting_few if summed < _MOST_SUMMED else None
                for size in passing.values():
                    few = _and_with(few, size)
                    summed += 0 if few is None else len(few)
                now = (least, few, width)
        return now

    walked = zip(kinds[order].tolist(), places[order].tolist(), strict=True)
    for number, (kind, place) in enumerate(walked):
        if number & 4095 == 4095 and deadline.expired():
            undecided += len(chosen) - int((reads.operations.end[chosen] < events[order[number]]).sum())
            break
        if kind == ADD:
            amount = amounts[place]
            size = abs(amount)
            least += min(amount, 0)
            width += size
            if not stays_open[place]:
                passing[place] = size
            else:
                lasting_few = _and_with(lasting_few, size)
                if lasting is not None:
                    lasting = lasting | lasting << size if width <= _MOST_BITS else None
            now = None
        elif kind == ADDED:
            if since:
                kept.append(moment())
            amount = amounts[place]
            size = passing.pop(place)
            least += max(amount, 0)
            width -= size
            now = None
        elif kind == READ:
            since[place] = dropped + len(kept)
        else:
            value = values[place]
            first = since.pop(place)
            open_question = False
            for low, sums, wide in chain((moment(),), kept[first - dropped :]):
                offset = value - low
                if 0 <= offset <= wide:
                    if sums is None:
                        open_question = True
                        if offset in (0, wide):
                            break
                    elif sums >> offset & 1 if isinstance(sums, int) else offset in sums:
                        break
            else:
                if open_question:
                    undecided += 1
                elif len(impossible) < 1000:
                    impossible.append((place, _open_during(adds.operations, reads.operations, place)))
            if not since:
                dropped += len(kept)
                kept.clear()
            elif len(kept) > _MOST_KEPT:
                oldest = min(since.values()) - dropped
                if oldest > _MOST_KEPT // 2:
                    del kept[:oldest]
                    dropped += oldest
    return impossible, undecided


_Moment = tuple[int, int | frozenset[int] | None, int]
"""The least sum at a moment, the sums of open adds beyond it, as bits or as a set, and the greatest of them."""


def _and_with(sums: frozenset[int] | None, size: int) -> frozenset[int] | None:
    """The sums with and without one more; None if they are too many."""
    if sums is None:
        return None
    more = sums | {one + size for one in sums}
    return more if len(more) <= _MOST_SUMS else None


def _open_during(adds: Operations, reads: Operations, place: int) -> list[Pair]:
    begin, end = reads.start[place], reads.end[place]
    return adds.pairs((adds.start < end) & (adds.end > begin))[:50]


def _crowded(adds: Operations, reads: Operations, values: NDArray[Any]) -> tuple[int, int, list[int]] | None:
    """Matches adds of one with the counter's units; the positions of two reads and of the adds between them that are
    more than the reads differ by, or None if all fits. The reads fit each other and, one by one, the adds."""
    top = int(values.max(initial=0))
    # latest[k]: of the reads that saw less than k, the one that began last; first[k]: of those that saw k or more, the
    # one that ended first. Unit k (from 1) lies between the two. Reads that saw less than nothing were told before.
    begun = np.full(top + 2, -1, dtype=np.int64)
    np.maximum.at(begun, values.astype(np.int64) + 1, reads.start)
    begun = np.maximum.accumulate(begun)
    over = np.full(top + 2, FOREVER, dtype=np.int64)
    np.minimum.at(over, values.astype(np.int64), reads.end)
    over = np.minimum.accumulate(over[::-1])[::-1]
    # Of each add the first and the last unit that it can be.
    lowest = np.searchsorted(over[1 : top + 1], adds.start, side="right") + 1
    highest = np.searchsorted(begun[1 : top + 2], adds.end, side="left")
    by_lowest = np.argsort(lowest, kind="stable")
    waiting: list[tuple[int, int]] = []
    queue = list(
        zip(lowest[by_lowest].tolist(), highest[by_lowest].tolist(), by_lowest.tolist(), strict=True)
    )
    taken: list[int] = []
    """The adds that the units from 1 were given to."""
    at = 0
    for unit in range(1, top + 1):
        while at < len(queue) and queue[at][0] <= unit:
            heapq.heappush(waiting, queue[at][1:])
            at += 1
        assert waiting, f"a read saw {unit}, but fewer adds had begun; the bounds should have told"
        last, add = heapq.heappop(waiting)
        if last < unit:
            return _crowd(reads, values, lowest, highest, taken, add)
        taken.append(add)
    rest = min([*waiting, *(entry[1:] for entry in queue[at:])], default=(top + 1, -1))
    return None if rest[0] > top else _crowd(reads, values, lowest, highest, taken, rest[1])


def _crowd(
    reads: Operations,
    values: NDArray[Any],
    lowest: NDArray[np.int64],
    highest: NDArray[np.int64],
    taken: list[int],
    late: int,
) -> tuple[int, int, list[int]]:
    """One add came too late for its last unit, so too many adds fit only into some units up to that one. Which, is
    found by going back over those that were preferred to it, to the first unit that any of them can be."""
    last = int(highest[late])
    first = int(lowest[late])
    unit = last
    while unit >= first:
        first = min(first, int(lowest[taken[unit - 1]]))
        unit -= 1
    inside = (lowest >= first) & (highest <= last)
    assert inside.sum() > last - first + 1, f"units {first}..{last} hold their {inside.sum()} adds"
    saw_less = np.flatnonzero(values <= last)
    later = int(saw_less[np.argmax(reads.start[saw_less])])
    saw_more = np.flatnonzero(values >= first - 1)
    earlier = int(saw_more[np.argmin(reads.end[saw_more])])
    return earlier, later, np.flatnonzero(inside).tolist()


def _worst_first(places: NDArray[np.int64], badness: NDArray[Any]) -> list[int]:
    """The first and then the worst of some reads."""
    worst = places[np.argsort(-badness[places], kind="stable")][:20].tolist()
    return [int(places[0]), *(place for place in worst if place != places[0])]
