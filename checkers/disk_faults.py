"""What a database may do on a disk that the nemesis broke: say so, and end by itself.

After a failed sync nobody knows what of it is on the disk, so for many databases ending at once is the one right
answer; a full or stalled disk may leave no other. That is forgiven where all of this holds:

- a step of the nemesis lay on the disk of that node at that moment (the intervals in the history), or had ended less
  than a second before: what failed then may be told by the next write;
- the process ended in an orderly way (an exit code, or SIGABRT), not by an access to memory that it does not own;
- its last words speak of the disk, and of no failed assertion.

A disk that was damaged (bits flipped, a file lost or cut off) stays so: to the end of the run its node may refuse to go
on, if it says what it found. A power loss forgives nothing: a database must start again after it. Nothing else is
forgiven, so a crash that happens to fall into a disk fault is still a crash.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from results.history import FaultInterval, History
from results.operation import LOG, Operation

DISK = "disk"
FAILING = ("eio", "full", "stall", "slow")
DAMAGED = ("bit-flip", "lost-file", "truncate")

LATE_NS = 1_000_000_000
"""How long after a disk works again a node may still end because it had failed."""

OF_A_FAILING_DISK = re.compile(
    r"\[Errno (5|28)\]|\bEIO\b|\bENOSPC\b|input/output error|i/o error|no space left on device|disk (is )?full"
    r"|disk (has |is )?(failed|stall)",
    re.IGNORECASE,
)
"""Words of a node whose disk refuses, is full or stands still; the first are those of the operating system."""
OF_A_DAMAGED_DISK = re.compile(
    r"corrupt|checksum|damage|no such file|\[Errno 2\]|missing (file|\S+ file)|file \S* ?(is )?missing"
    r"|truncat|unexpected (EOF|end of file)|short read|too short",
    re.IGNORECASE,
)
FAILED_ASSERTION = re.compile(r"AssertionError|assertion .*failed", re.IGNORECASE)
"""Words of a program that found itself wrong, which no fault forgives."""
_ORDERLY = re.compile(r"exit code [1-9]|signal SIGABRT")


@dataclass(frozen=True)
class DiskFaults:
    """The steps of a history that broke disks, and what they forgive."""

    intervals: tuple[FaultInterval, ...]
    ends: tuple[Operation, ...] = field(default=())
    """The forgiven among the ends that nobody asked for."""

    @classmethod
    def of(cls, history: History, ends: str) -> DiskFaults:
        """From a history whose ends of processes are events of function `ends`."""
        intervals = tuple(
            interval
            for interval in history.fault_intervals()
            if interval.fault == DISK and interval.shape in FAILING + DAMAGED and interval.skipped is None
        )
        faults = cls(intervals)
        if not intervals:
            return faults
        forgiven = tuple(
            event
            for event in history.observed(LOG)
            if event.f == ends and isinstance(event.value, Mapping) and faults.forgive_end(event.value)
        )
        return cls(intervals, forgiven)

    def forgive_end(self, end: Mapping[str, Any]) -> FaultInterval | None:
        """The step because of which a process may have ended so; None if its end is its own fault.

        An end whose time is not known (`time_ns`) is taken to be within any step.
        """
        if not _ORDERLY.match(str(end.get("status", ""))):
            return None
        text, time_ns = str(end.get("text", "")), end.get("time_ns")
        for interval in self._on(str(end.get("node"))):
            if self._says(interval, text) and (time_ns is None or _lay_there(interval, int(time_ns))):
                return interval
        return None

    def forgive_lines(self, events: list[Operation]) -> list[Operation]:
        """Those lines of the nodes' logs that are to blame; the rest is what a node says of its broken disk.

        A log line has no time of its own, so it is enough that the disk of its node failed during this run. Forgiven
        are lines that speak of the disk, a line right below such a one (the head of its traceback), the head of a
        traceback whose direct cause is one that is forgiven, and lines among the last words of a forgiven end, from
        where they speak of the disk, each as often as it stands there.
        """
        if not self.intervals:
            return events
        last_words = Counter(
            (str(event.value.get("node")), line.strip())
            for event in self.ends
            for line in _since_the_disk(str(event.value.get("text", "")))
        )
        blamed = []
        below: tuple[str, int] | None = None
        forgiven: set[tuple[str, int]] = set()
        for event in events:
            node, text = str(event.value.get("node")), str(event.value.get("text", "")).strip()
            number = event.value.get("line")
            spoken = any(self._says(interval, text) for interval in self._on(node))
            is_below = number is not None and below == (node, number) and not FAILED_ASSERTION.search(text)
            is_consequence = (node, event.value.get("caused_by")) in forgiven
            if not (spoken or is_below or is_consequence):
                # Last words are few, and may begin in the middle: they count for what nothing else forgives.
                if last_words[node, text] > 0:
                    last_words[node, text] -= 1
                else:
                    blamed.append(event)
            elif number is not None:
                forgiven.add((node, int(number)))
            below = (node, int(number) + 1) if spoken and number is not None else None
        return blamed

    def _on(self, node: str) -> list[FaultInterval]:
        return [interval for interval in self.intervals if node in interval.targets]

    @staticmethod
    def _says(interval: FaultInterval, text: str) -> bool:
        """Whether words are those of a node with such a disk."""
        words = OF_A_DAMAGED_DISK if interval.shape in DAMAGED else OF_A_FAILING_DISK
        return words.search(text) is not None and FAILED_ASSERTION.search(text) is None


def _since_the_disk(text: str) -> list[str]:
    """The lines from the first on that speaks of a disk."""
    lines = text.splitlines()
    for position, line in enumerate(lines):
        if OF_A_FAILING_DISK.search(line) or OF_A_DAMAGED_DISK.search(line):
            return lines[position:]
    return []


def _lay_there(interval: FaultInterval, time_ns: int) -> bool:
    if time_ns < interval.start_ns:
        return False
    return interval.shape in DAMAGED or interval.end_ns is None or time_ns < interval.end_ns + LATE_NS
