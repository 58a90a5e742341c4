"""Bounded staleness: a read may return an old version, but none that was replaced longer than the bound before.

Operations: `write` `[key, value]`, answered `[key, value]` or `[key, value, timestamp]`; `read` `[key, nil]`, answered
`[key, value]` or `[key, value, timestamp]`; the timestamp is the version's commit time, by the database. A write's may
also be the `committed_at` of its completion. A `cas` `[key, [expected, new]]` is a write of `new`. Values of a key are
unique; nil is the key before its first write.

By real time, which trusts no clock but the harness's own: a read must not miss a write that had ended more than
`bound_ns` before it began. It missed it if the version that it returned is certainly older: nil, or committed earlier
by the recorded timestamps, or, where these are missing, written by an operation that had ended before the missed one
began (writes of a key are taken to be in order of real time, as one leader makes them).

With `same_clock`, commit times count nanoseconds on the history's clock, and the bound is also held against them: a
read must not return a version if a newer one had been committed more than `bound_ns` before it began, whenever its
write was acknowledged.

The same version with two timestamps, and one timestamp for two versions of a key, are anomalies of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.checker import Limits
from checkers.conclusion import Misshapen, anomaly, conclude
from checkers.operations import FOREVER, Operations
from checkers.precedence import greatest_before
from checkers.values import Numbering, identity, whole_number
from checkers.words import count, interval, listing, none_of, shown
from results.history import TYPE_CODES, History, Pair
from results.operation import INFO
from results.verdict import UNKNOWN, Anomaly, Verdict

TOO_STALE = "read too stale"
NEVER_WRITTEN = "value never written"
FAILED_WRITE = "value of a failed write"
FROM_THE_FUTURE = "value before its write"
TWO_TIMESTAMPS = "version with two timestamps"
ONE_TIMESTAMP = "timestamp of two versions"

_NONE: Final = -(1 << 62)
"""Where no timestamp was recorded."""
_AMBIGUOUS: Final = -2
"""In place of its writer: nil that was written, or that is the key before its first write."""


@dataclass(frozen=True)
class _Table:
    """Reads, or writes: the key, the version (a number for key and value) and the timestamp of each."""

    operations: Operations
    key: NDArray[np.int64]
    version: NDArray[np.int64]
    timestamp: NDArray[np.int64]

    def where(self, chosen: NDArray[Any]) -> _Table:
        return _Table(
            self.operations.where(chosen), self.key[chosen], self.version[chosen], self.timestamp[chosen]
        )


@dataclass
class StalenessChecker:
    """Judges reads of keyed registers that may lag behind by `bound_ns`, but no more."""

    bound_ns: int = 0
    same_clock: bool = False
    name: str = field(default="staleness", kw_only=True)

    def __post_init__(self) -> None:
        if self.bound_ns < 0:
            raise ValueError(f"a bound of {self.bound_ns} ns is before the read: give 0 or more nanoseconds")

    def check(self, history: History, limits: Limits) -> Verdict:
        misshapen = Misshapen("[key, value] or [key, value, timestamp] of what was asked for")
        keys, versions = Numbering(), Numbering()
        writes = _table(Operations.of(history, "write", "cas"), keys, versions, misshapen)
        tried = Operations.of(history, "read")
        reads = _table(tried.where(tried.ok), keys, versions, misshapen)
        details: dict[str, Any] = {
            "writes": len(writes.operations),
            "reads": len(reads.operations),
            "keys": len(keys),
            "bound_ns": self.bound_ns,
        }
        if not len(reads.operations):
            why = "; ".join(misshapen.doubts()) or none_of(len(tried), "read", "succeeded")
            sentence = f"{why}: no version was ever seen; reads after the writes would tell"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        doubts = misshapen.doubts()
        writer = _writers(writes, len(versions), doubts, versions)
        is_nil = np.array([pair[1] is None for pair in versions.values], dtype=bool)
        _mark_nil(writes, reads, is_nil, writer, doubts, versions)
        nil = is_nil[reads.version] & (writer[reads.version] != _AMBIGUOUS)
        by = writer[reads.version]
        anomalies = [] if misshapen.may_have_written else _unwritten(writes, reads, versions, by, nil)
        timestamp, mistakes = _timestamps(writes, reads, versions, writer)
        anomalies += mistakes
        judged = nil | (by >= 0)
        reads, by, nil = reads.where(judged), by[judged], nil[judged]
        stale = self._stale(writes, reads, by, nil, timestamp)
        details["stale_reads"] = len(stale)
        if stale:
            anomalies.insert(0, self._told(stale, writes, reads, versions))
        if not len(writes.operations) and not anomalies:
            doubts.append("nothing was written, so nothing could be missed")
        doubts += _clock_that_went_back(history)
        valid = (
            f"none of {count(len(reads.operations), 'read')} missed a write that had ended more than "
            f"{self.bound_ns / 1e9:g} s before"
        )
        return conclude(self.name, anomalies, doubts, valid, details)

    def _stale(
        self,
        writes: _Table,
        reads: _Table,
        by: NDArray[np.int64],
        nil: NDArray[np.bool_],
        timestamp: NDArray[np.int64],
    ) -> list[tuple[int, int, bool]]:
        """Reads, each with the write that it missed, and whether it missed it by commit times alone."""
        if not len(writes.operations):
            return []
        acknowledged = np.flatnonzero(writes.operations.ok)
        # What is late by a clock that went back must be late by every time that was recorded before, too.
        time = np.maximum.accumulate(writes.operations.history.columns().time)
        end = writes.operations.end
        ended_ns = np.where(end < FOREVER, time[np.where(end < FOREVER, end, 0)], FOREVER)
        began_ns = reads.operations.start_ns()
        until = began_ns - self.bound_ns
        end_of_version = np.where(nil, -1, writes.operations.end[by])
        time_of_version = np.where(nil, _NONE, timestamp[reads.version])
        time_of_write = timestamp[writes.version]
        found: dict[int, tuple[int, int, bool]] = {}

        def judge(
            chosen: NDArray[np.int64],
            ended: NDArray[np.int64],
            newness: NDArray[np.int64],
            limit: NDArray[np.int64],
            asked: NDArray[np.bool_],
            by_clock: bool,
        ) -> None:
            missed = greatest_before(
                ended[chosen], newness[chosen], until, group=writes.key[chosen], moment_group=reads.key
            )
            newest = np.where(
                missed >= 0, newness[chosen][np.maximum(missed, 0)] if len(chosen) else 0, _NONE
            )
            for place in np.flatnonzero(asked & (missed >= 0) & (newest > limit)).tolist():
                found.setdefault(place, (place, int(chosen[missed[place]]), by_clock))

        # In order of commits, where both timestamps are known; else in order of real time.
        timed = acknowledged[time_of_write[acknowledged] != _NONE]
        has_time = nil | (time_of_version != _NONE)
        every = np.ones(len(by), dtype=bool)
        judge(timed, ended_ns, time_of_write, time_of_version, has_time, by_clock=False)
        untimed = nil | (time_of_version == _NONE)
        judge(acknowledged, ended_ns, writes.operations.start, end_of_version, untimed, by_clock=False)
        plain = acknowledged[time_of_write[acknowledged] == _NONE]
        judge(plain, ended_ns, writes.operations.start, end_of_version, every, by_clock=False)
        if self.same_clock:
            committed = np.flatnonzero(time_of_write != _NONE)
            judge(committed, time_of_write, time_of_write, time_of_version, has_time, by_clock=True)
        return [found[place] for place in sorted(found)]

    def _told(
        self, stale: Sequence[tuple[int, int, bool]], writes: _Table, reads: _Table, versions: Numbering
    ) -> Anomaly:
        began, ended = reads.operations.start_ns(), writes.operations.end_ns()

        def lag(one: tuple[int, int, bool]) -> int:
            since = writes.timestamp[one[1]] if one[2] else ended[one[1]]
            return int(began[one[0]] - since)

        worst = max(stale, key=lag)
        told = []
        for one in [worst, *(one for one in stale[:20] if one is not worst)]:
            read, write = reads.operations.pair(one[0]), writes.operations.pair(one[1])
            key, value = versions.values[int(reads.version[one[0]])]
            _, newer = versions.values[int(writes.version[one[1]])]
            how = "committed" if one[2] else "acknowledged"
            told.append(
                (
                    f"process {read.process} read {shown(value, 40)} from key {shown(key)} ({interval(read)}), but a "
                    f"newer value, {shown(newer, 40)}, written by process {write.process} "
                    f"({interval(write)}), had been {how} {lag(one) / 1e9:.3f} s before the read began",
                    [write, read],
                )
            )
        key, _ = versions.values[int(reads.version[worst[0]])]
        return anomaly(
            TOO_STALE, told, len(stale), plural="reads too stale", key=key, longest_lag_ns=lag(worst)
        )


def _clock_that_went_back(history: History) -> list[str]:
    """Why lags cannot be measured, if times fall from one event to the next."""
    time = history.columns().time
    back = np.maximum.accumulate(time) - time
    if not back.any():
        return []
    worst = int(back.argmax())
    return [
        f"the clock of the history went back by {back[worst] / 1e9:g} s (event {worst}), so a read may have missed "
        "more than it shows; times of one clock that never goes back would tell"
    ]


def _table(operations: Operations, keys: Numbering, versions: Numbering, misshapen: Misshapen) -> _Table:
    good: list[bool] = []
    names: list[Any] = []
    pairs: list[Any] = []
    timestamps: list[int] = []
    unknown: list[bool] = []
    """Writes of which nobody knows what became, as the answer is about another one."""
    asked = operations.asked()
    events = operations.history.operations
    ends = zip(operations.ok.tolist(), operations.start.tolist(), operations.end.tolist(), strict=True)
    for place, (is_ok, start, end) in enumerate(ends):
        value = asked[place]
        of_read = events[start].f == "read"
        if is_ok and events[end].value is not None:
            value = events[end].value
        if events[start].f == "cas":
            value, asked[place] = _written(value), _written(asked[place])
        if not of_read and not _is_write(value) and _is_write(asked[place]):
            # It wrote what was asked for, whatever it was answered.
            misshapen.note(operations.pair(place))
            value = asked[place]
        astray = is_ok and _is_write(value) and _is_about_another(value, asked[place], of_read)
        unknown.append(astray and not of_read)
        if astray:
            misshapen.note(operations.pair(place), writes=not of_read)
            if of_read:
                good.append(False)
                continue
            value, is_ok = asked[place], False
        timestamp: int | None = _NONE
        fits = isinstance(value, list | tuple) and len(value) in (2, 3)
        if fits and len(value) == 3 and value[2] is not None:
            timestamp = whole_number(value[2])
            fits = timestamp is not None and abs(timestamp) < FOREVER
        elif fits and is_ok and not of_read and events[end].committed_at is not None:
            timestamp = events[end].committed_at
            fits = timestamp is not None and abs(timestamp) < FOREVER
        good.append(fits)
        if not fits or timestamp is None:
            misshapen.note(operations.pair(place), writes=not of_read)
            continue
        names.append(value[0])
        pairs.append((value[0], value[1]))
        timestamps.append(timestamp)
    if any(unknown):
        operations = replace(
            operations,
            end=np.where(unknown, FOREVER, operations.end),
            outcome=np.where(unknown, TYPE_CODES[INFO], operations.outcome).astype(np.int8),
        )
    return _Table(
        operations.where(np.array(good, dtype=bool)),
        keys.number(names),
        versions.number(pairs),
        np.array(timestamps, dtype=np.int64),
    )


def _is_about_another(answer: Any, asked: Any, of_read: bool) -> bool:
    """Whether an answer is about another key than was asked, or a write's about another value."""
    if not isinstance(asked, list | tuple) or not asked:
        return False
    return any(
        identity(one) != identity(other)
        for one, other in zip(answer[: 1 if of_read else 2], asked, strict=False)
    )


def _is_write(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) in (2, 3)


def _written(value: Any) -> Any:
    """Key and new value of a compare-and-set; anything else as it is."""
    match value:
        case [key, [_, new]]:
            return [key, new]
        case _:
            return value


def _writers(writes: _Table, versions: int, doubts: list[str], numbering: Numbering) -> NDArray[np.int64]:
    """For each version the position of the one write that may have made it; -1 if there is none, or several."""
    possible = np.flatnonzero(~writes.operations.failed)
    times = np.bincount(writes.version[possible], minlength=versions)
    writer = np.full(versions, -1, dtype=np.int64)
    writer[writes.version[possible]] = possible
    again = np.flatnonzero(times > 1)
    writer[again] = -1
    if len(again):
        key, value = numbering.values[int(again[0])]
        doubts.append(
            f"{count(len(again), 'value')} written more than once (first {shown(value)} to key {shown(key)}) cannot "
            "be traced; unique values can"
        )
    return writer


def _mark_nil(
    writes: _Table,
    reads: _Table,
    is_nil: NDArray[np.bool_],
    writer: NDArray[np.int64],
    doubts: list[str],
    numbering: Numbering,
) -> None:
    """Marks nil as ambiguous where it was read and may have been written: it may as well be older than every write."""
    written = np.intersect1d(writes.version[~writes.operations.failed], reads.version)
    written = written[is_nil[written]]
    writer[written] = _AMBIGUOUS
    if len(written):
        keys = listing(shown(numbering.values[number][0]) for number in written.tolist())
        doubts.append(
            f"nil was written to {keys}, so a read of nil may have seen that or nothing yet; other values can be traced"
        )


def _unwritten(
    writes: _Table, reads: _Table, versions: Numbering, by: NDArray[np.int64], nil: NDArray[np.bool_]
) -> list[Anomaly]:
    """Reads of values that nobody wrote, or only a write that failed, or one that began after the read had ended."""
    tried = np.zeros(len(versions), dtype=bool)
    tried[writes.version[~writes.operations.failed]] = True
    failed = np.zeros(len(versions), dtype=bool)
    failed[writes.version] = True
    bad = ~nil & ~tried[reads.version] & (by != _AMBIGUOUS)
    early = np.zeros(len(by), dtype=bool)
    one = np.flatnonzero(by >= 0)
    early[one] = writes.operations.start[by[one]] > reads.operations.end[one]
    found = []
    for kind, wrong, why in (
        (NEVER_WRITTEN, bad & ~failed[reads.version], "which nobody wrote"),
        (FAILED_WRITE, bad & failed[reads.version], "whose write had failed"),
        (FROM_THE_FUTURE, early, "whose write began only later"),
    ):
        places = np.flatnonzero(wrong)
        told = []
        for place in places[:20].tolist():
            read = reads.operations.pair(place)
            key, value = versions.values[int(reads.version[place])]
            text = (
                f"process {read.process} read {shown(value)} from key {shown(key)} ({interval(read)}), {why}"
            )
            told.append((text, [read]))
        if told:
            found.append(anomaly(kind, told, len(places), plural=kind.replace("value", "values", 1)))
    return found


def _timestamps(
    writes: _Table, reads: _Table, versions: Numbering, writer: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[Anomaly]]:
    """The commit time of each version, and the mistakes in them. Nil that was written as well is no one version."""
    version = np.concatenate([writes.version, reads.version])
    timestamp = np.concatenate([writes.timestamp, reads.timestamp])
    timestamp[(writer == _AMBIGUOUS)[version]] = _NONE
    known = np.flatnonzero(timestamp != _NONE)
    found = np.full(len(versions), _NONE, dtype=np.int64)
    found[version[known]] = timestamp[known]
    anomalies = []

    def pair(place: int) -> Pair:
        of_writes = len(writes.version)
        return (
            writes.operations.pair(place) if place < of_writes else reads.operations.pair(place - of_writes)
        )

    other = known[timestamp[known] != found[version[known]]]
    if len(other):
        told = []
        for place in other[:20].tolist():
            one = pair(place)
            again = pair(int(known[(version[known] == version[place])][-1]))
            key, value = versions.values[int(version[place])]
            text = (
                f"{shown(value)} of key {shown(key)} has timestamp {timestamp[place]} for process {one.process} "
                f"({interval(one)}) and {found[version[place]]} for process {again.process} ({interval(again)})"
            )
            told.append((text, [one, again]))
        anomalies.append(anomaly(TWO_TIMESTAMPS, told, len(other), plural="versions with two timestamps"))
    timed = np.flatnonzero(found != _NONE)
    timed = timed[[versions.values[number][1] is not None for number in timed.tolist()]]
    key_of = Numbering().number([versions.values[number][0] for number in timed.tolist()])
    order = np.lexsort((found[timed], key_of))
    same = (key_of[order][1:] == key_of[order][:-1]) & (found[timed][order][1:] == found[timed][order][:-1])
    if same.any():
        told = []
        for place in np.flatnonzero(same)[:20].tolist():
            one_version, other_version = int(timed[order[place]]), int(timed[order[place + 1]])
            key, value = versions.values[one_version]
            pairs = [pair(int(known[version[known] == number][0])) for number in (one_version, other_version)]
            text = (
                f"{shown(value)} and {shown(versions.values[other_version][1])} of key {shown(key)} both have "
                f"timestamp {found[one_version]}"
            )
            told.append((text, pairs))
        anomalies.append(anomaly(ONE_TIMESTAMP, told, int(same.sum()), plural="timestamps of two versions"))
    return found, anomalies
