"""Coverage: which kinds of faults were in effect while operations succeeded.

A fault under which nothing succeeded tests little: a database that answers nobody is never wrong. So of each kind it is
counted how many operations were answered ok while one of its steps was in effect, from when it was known to have taken
effect until it was known to be healed (or the end of the record).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from results.history import FaultInterval


@dataclass(frozen=True)
class Coverage:
    """Of one kind of fault, with its shape if it has one."""

    fault: str
    steps: int
    """Those that took effect."""
    answered: int
    """Operations that were answered ok while at least one of them was in effect."""


def coverage(intervals: Sequence[FaultInterval], answers_ns: Sequence[int]) -> list[Coverage]:
    """By kind and shape, sorted; `answers_ns` are the sorted times of answers."""
    spans: dict[str, list[tuple[int, int]]] = {}
    last = answers_ns[-1] if answers_ns else 0
    for interval in intervals:
        if interval.took_effect and interval.effective_ns is not None:
            name = f"{interval.fault}:{interval.shape}" if interval.shape else interval.fault
            end = last if interval.end_ns is None else interval.end_ns
            spans.setdefault(name, []).append((interval.effective_ns, end))
    return [
        Coverage(name, len(of_kind), _answered(of_kind, answers_ns))
        for name, of_kind in sorted(spans.items())
    ]


def by_class(found: Sequence[Coverage]) -> dict[str, int]:
    """Class -> answers while its best shape was in effect: 0 only where nothing succeeded under any."""
    classes: dict[str, int] = {}
    for one in found:
        name = one.fault.partition(":")[0]
        classes[name] = max(classes.get(name, 0), one.answered)
    return classes


def _answered(spans: Sequence[tuple[int, int]], answers_ns: Sequence[int]) -> int:
    """Answers within the union of the spans, ends included."""
    counted = 0
    reached = -1
    for start, end in sorted(spans):
        first = max(bisect_left(answers_ns, start), reached)
        after = bisect_right(answers_ns, end)
        counted += max(0, after - first)
        reached = max(reached, after)
    return counted
