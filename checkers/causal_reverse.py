"""Causal reverse: a read sees a write, but not another one that had ended before that one began.

Operations: `write` with a value, each value once; `read`, answered with the values that exist. Serializability allows
the two writes to be put in either order; strict serializability does not, and this is the way in which databases that
take commit timestamps from several clocks are seen to miss it. Whether a read is itself up to date is not asked (that
is `set-full`'s question), only whether what it saw has a gap.

Of the writes that a read saw, the one begun last decides: every write that had ended before that must be seen too. So
each read costs its own length and one binary search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkers.checker import Limits
from checkers.conclusion import Findings, Misshapen, anomaly, conclude
from checkers.operations import FOREVER, Operations
from checkers.values import Numbering
from checkers.words import count, interval, none_of, shown
from results.history import History
from results.verdict import UNKNOWN, Anomaly, Verdict

CAUSAL_REVERSE = "causal reverse"
NEVER_WRITTEN = "value never written"
FAILED_WRITE = "value of a failed write"
BEFORE_ITS_WRITE = "value before its write"


@dataclass
class CausalReverseChecker:
    """Judges reads of everything that was ever written."""

    name: str = field(default="causal-reverse", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        values = Numbering()
        writes = Operations.of(history, "write")
        written = values.number(writes.asked())
        possible = np.flatnonzero(~writes.failed)
        tried = Operations.of(history, "read")
        reads = tried.where(tried.ok)
        misshapen = Misshapen("a list of values")
        doubts = []
        times = np.bincount(written[possible], minlength=len(values))
        twice = np.flatnonzero(times > 1)
        if len(twice):
            doubts.append(
                f"{count(len(twice), 'value')} written more than once (first {shown(values.values[int(twice[0])])}) "
                "cannot be traced; unique values can"
            )
        # Of each value its writer's interval: values of several writers bind nobody.
        start = np.full(len(values) + 1, -1, dtype=np.int64)
        end = np.full(len(values) + 1, FOREVER, dtype=np.int64)
        writer = np.full(len(values) + 1, -1, dtype=np.int64)
        writer[written[possible]] = possible
        writer[twice] = -1
        single = np.flatnonzero(writer >= 0)
        start[single], end[single] = writes.start[writer[single]], writes.end[writer[single]]
        attempted = np.zeros(len(values) + 1, dtype=bool)
        attempted[written[possible]] = True
        ends = np.sort(end[single])
        gaps: list[tuple[str, list[Any]]] = []
        strange = Findings()
        number = 0
        judged = 0
        for place, answer in enumerate(reads.answers()):
            if answer is None:
                answer = []
            if not isinstance(answer, list | tuple):
                misshapen.note(reads.pair(place))
                continue
            judged += len(answer) > 0
            saw = values.find(answer)
            for position in np.flatnonzero((saw < 0) | ~attempted[saw])[:1].tolist():
                read = reads.pair(place)
                failed = saw[position] >= 0
                why = "whose write had failed" if failed else "which nobody wrote"
                text = f"process {read.process} read {shown(answer[position])} ({interval(read)}), {why}"
                strange.note(FAILED_WRITE if failed else NEVER_WRITTEN, text, [read])
            for position in np.flatnonzero(start[saw] > reads.end[place])[:1].tolist():
                read, wrote = reads.pair(place), writes.pair(int(writer[saw[position]]))
                text = (
                    f"process {read.process} read {shown(answer[position])} ({interval(read)}) before process "
                    f"{wrote.process} began to write it ({interval(wrote)})"
                )
                strange.note(BEFORE_ITS_WRITE, text, [read, wrote])
            latest = int(start[saw].max(initial=-1))
            if latest < 0:
                continue
            if int(np.searchsorted(ends, latest)) > _ended(saw, end, latest):
                number += 1
                if len(gaps) < 20:
                    gaps.append(_gap(reads, place, saw, writes, writer, start, end, latest))
        details = {"writes": len(writes), "reads": len(reads), "reads_that_saw_something": judged}
        if not judged and not misshapen.number:
            why = none_of(len(tried), "read", "saw a value")
            sentence = f"{why}, so no order was ever seen; reads during the writes would tell"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        anomalies: list[Anomaly] = []
        if gaps:
            anomalies.append(anomaly(CAUSAL_REVERSE, gaps, number, plural="causal reverses"))
        anomalies += strange.anomalies(
            {
                NEVER_WRITTEN: "values never written",
                FAILED_WRITE: "values of failed writes",
                BEFORE_ITS_WRITE: "values before their writes",
            }
        )
        valid = f"{count(judged, 'read')} saw no write without all that had ended before it began"
        return conclude(self.name, anomalies, [*doubts, *misshapen.doubts()], valid, details)


def _ended(saw: NDArray[np.int64], end: NDArray[np.int64], latest: int) -> int:
    """How many of the writes seen, each counted once, had ended before an event."""
    old = saw[end[saw] < latest]
    if len(old) < 1000:
        return len(set(old.tolist()))
    seen = np.zeros(len(end), dtype=bool)
    seen[old] = True
    return int(np.count_nonzero(seen))


def _gap(
    reads: Operations,
    place: int,
    saw: NDArray[np.int64],
    writes: Operations,
    writer: NDArray[np.int64],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    latest: int,
) -> tuple[str, list[Any]]:
    """Tells of one read: the write begun last that it saw, and of those missing the one that had ended last."""
    missing = end < latest
    missing[saw] = False
    candidates = np.flatnonzero(missing)
    missed = writes.pair(int(writer[candidates[np.argmax(end[candidates])]]))
    seen = writes.pair(int(writer[saw[np.argmax(start[saw])]]))
    read = reads.pair(place)
    text = (
        f"process {read.process} read {shown(seen.invocation.value)} ({interval(read)}) but not "
        f"{shown(missed.invocation.value)}, whose write by process {missed.process} ({interval(missed)}) had ended "
        f"before that of {shown(seen.invocation.value)}, by process {seen.process}, began ({interval(seen)})"
    )
    return text, [missed, seen, read]
