"""Counters that only grow: whoever looks later sees as much or more, and no increment is counted twice or not at all.

Operations: `inc` with a key, answered `[key, n]` with the value after it; `read` with a key, answered `[key, n]`. An
absent counter (nil) is 0, and an increment adds one. Operations are put in order by real time. The judgement is exact:
these three mistakes are all there can be.

- *Backwards*: an operation that began after another had ended saw less, or, being an increment, no more.
- *Duplicate increment*: two increments led to the same value.
- *From nowhere*: a value below 0, the first, or one that needs more increments than had begun. The values of
  acknowledged increments are known, so every other value up to the one seen needs an increment of unknown outcome that
  began before it was seen.

With `real_time=False` only the operations of one process are put in order (a counter that is read from replicas, as
monotonic reads promise), and values from nowhere are counted over the whole history.
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
from checkers.values import Numbering, identity, integers, whole_number
from checkers.words import count, interval, shown
from results.history import History, Pair
from results.verdict import UNKNOWN, Anomaly, Verdict

BACKWARDS = "counter went backwards"
DUPLICATE = "duplicate increment"
FROM_NOWHERE = "value from nowhere"


@dataclass(frozen=True)
class _Seen:
    """The operations that were answered, with the key (a number) and the value of each."""

    operations: Operations
    key: NDArray[np.int64]
    value: NDArray[Any]
    increment: NDArray[np.bool_]


@dataclass
class MonotonicChecker:
    """Judges increments and reads of counters, each key by itself."""

    real_time: bool = True
    name: str = field(default="monotonic", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        misshapen = Misshapen("[key, whole number] of the key that was asked for")
        keys = Numbering()
        seen = _seen(history, keys, misshapen)
        incs = Operations.of(history, "inc")
        # Which value an increment of another answer led to is not known either.
        told = np.isin(incs.start, seen.operations.start)
        crashed = incs.where(incs.unknown | (incs.ok & ~told))
        crashed, crashed_key = _with_strays(crashed, keys)
        details: dict[str, Any] = {
            "increments": len(incs),
            "increments_of_unknown_outcome": int(incs.unknown.sum()),
            "reads": int((~seen.increment).sum()),
            "keys": len(keys),
        }
        if not len(seen.operations):
            why = "; ".join(misshapen.doubts()) or "no operation was answered"
            sentence = f"{why}: no counter was ever seen; reads and increments that are answered would tell"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        anomalies = [
            *self._backwards(seen, keys),
            *_duplicates(seen, keys),
            *_from_nowhere(seen, crashed, crashed_key, keys, self.real_time),
        ]
        valid = f"in {count(len(seen.operations), 'answer')} of {count(len(keys), 'counter')} nothing went backwards"
        return conclude(self.name, anomalies, misshapen.doubts(), valid, details)

    def _backwards(self, seen: _Seen, keys: Numbering) -> list[Anomaly]:
        group = seen.key
        if not self.real_time:
            process = np.unique(seen.operations.process, return_inverse=True)[1]
            group = group * (int(process.max(initial=0)) + 1) + process
            group = np.unique(group, return_inverse=True)[1].astype(np.int64)
        earlier = greatest_before(
            seen.operations.end, seen.value, seen.operations.start, group=group, moment_group=group
        )
        before = seen.value[np.maximum(earlier, 0)]
        wrong = (earlier >= 0) & ((before > seen.value) | ((before == seen.value) & seen.increment))
        places = np.flatnonzero(wrong)
        told = []
        for place in places[:20].tolist():
            one = seen.operations.pair(int(earlier[place]))
            other = seen.operations.pair(place)
            key = shown(keys.values[int(seen.key[place])])
            first, second = _did(one, int(before[place])), _did(other, int(seen.value[place]))
            told.append((f"{first} of counter {key}, and {second} later", [one, other]))
        key_of_first = keys.values[int(seen.key[places[0]])] if told else None
        plural = "answers that went backwards"
        return [anomaly(BACKWARDS, told, len(places), plural=plural, key=key_of_first)] if told else []


def _did(pair: Pair, value: int) -> str:
    verb = "read" if pair.f == "read" else "incremented to"
    return f"process {pair.process} {verb} {value} ({interval(pair)})"


def _seen(history: History, keys: Numbering, misshapen: Misshapen) -> _Seen:
    tried = Operations.of(history, "inc", "read")
    answered = tried.where(tried.ok)
    good: list[bool] = []
    names: list[Any] = []
    values: list[int] = []
    events = history.operations
    of_read = [events[index].f == "read" for index in answered.start.tolist()]
    asked = answered.asked()
    for place, answer in enumerate(answered.answers()):
        value = None
        unasked = of_read[place] and asked[place] is None
        if (
            isinstance(answer, list | tuple)
            and len(answer) == 2
            and (unasked or identity(answer[0]) == identity(asked[place]))
        ):
            value = 0 if answer[1] is None and of_read[place] else whole_number(answer[1])
        good.append(value is not None)
        if value is None:
            misshapen.note(answered.pair(place))
        else:
            names.append(answer[0])
            values.append(value)
    chosen = answered.where(np.array(good, dtype=bool))
    increment = np.array([events[index].f == "inc" for index in chosen.start.tolist()], dtype=bool)
    return _Seen(chosen, keys.number(names), integers(values), increment)


def _with_strays(crashed: Operations, keys: Numbering) -> tuple[Operations, NDArray[np.int64]]:
    """Increments of which nobody knows what they led to, each with its counter. One that was answered for another
    counter may have been that one's, and is there for both."""
    asked = crashed.asked()
    places, names = list(range(len(asked))), list(asked)
    events = crashed.history.operations
    for place, (is_ok, end) in enumerate(zip(crashed.ok.tolist(), crashed.end.tolist(), strict=True)):
        answer = events[end].value if is_ok else None
        if not isinstance(answer, list | tuple) or len(answer) != 2:
            continue
        if identity(answer[0]) != identity(asked[place]):
            places.append(place)
            names.append(answer[0])
    return crashed.where(np.array(places, dtype=np.int64)), keys.number(names)


def _duplicates(seen: _Seen, keys: Numbering) -> list[Anomaly]:
    incs = np.flatnonzero(seen.increment)
    if not len(incs):
        return []
    order = incs[np.lexsort((seen.operations.start[incs], _rank(seen.value[incs]), seen.key[incs]))]
    same = (seen.key[order][1:] == seen.key[order][:-1]) & (seen.value[order][1:] == seen.value[order][:-1])
    places = np.flatnonzero(same)
    told = []
    for place in places[:20].tolist():
        pairs = [seen.operations.pair(int(order[place])), seen.operations.pair(int(order[place + 1]))]
        key, value = shown(keys.values[int(seen.key[order[place]])]), seen.value[order[place]]
        told.append(
            (
                f"process {pairs[0].process} ({interval(pairs[0])}) and process {pairs[1].process} "
                f"({interval(pairs[1])}) both incremented counter {key} to {value}",
                pairs,
            )
        )
    return [anomaly(DUPLICATE, told, len(places))] if told else []


def _rank(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _from_nowhere(
    seen: _Seen, crashed: Operations, crashed_key: NDArray[np.int64], keys: Numbering, real_time: bool
) -> list[Anomaly]:
    """Answers whose value needs more increments of unknown outcome than had begun by then."""
    incs = np.flatnonzero(seen.increment)
    rank = _rank(seen.value)
    wide = int(rank.max(initial=0)) + 1
    known = np.unique(seen.key[incs] * wide + rank[incs])
    place = seen.key * wide
    acknowledged = np.searchsorted(known, place + rank, side="right") - np.searchsorted(known, place)
    needed = seen.value - acknowledged
    far = 1 << 31
    begun = np.sort(crashed_key * far + crashed.start)
    until = np.minimum(seen.operations.end if real_time else FOREVER, far - 1)
    there = np.searchsorted(begun, seen.key * far + until) - np.searchsorted(begun, seen.key * far)
    too_small = seen.value < seen.increment
    places = np.flatnonzero((needed > there) | too_small)
    told = []
    for one in places[:20].tolist():
        pair = seen.operations.pair(one)
        key = shown(keys.values[int(seen.key[one])])
        if too_small[one]:
            told.append((f"{_did(pair, int(seen.value[one]))} of counter {key}, which began at 0", [pair]))
            continue
        told.append(
            (
                f"{_did(pair, int(seen.value[one]))} of counter {key}, which needs "
                f"{count(int(needed[one]), 'increment')} more than were acknowledged, but only {int(there[one])} of "
                "unknown outcome had begun",
                [pair],
            )
        )
    return [anomaly(FROM_NOWHERE, told, len(places), plural="values from nowhere")] if told else []
