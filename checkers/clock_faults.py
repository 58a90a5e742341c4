"""What a database may do when the nemesis has moved its clock: find that it is too far off, say so, and end by itself.

A database that rests on a bound of clock offsets promises to measure them and to stop a node beyond it. Such an end is
no crash but the promise kept. It is forgiven where all of this holds:

- a step of the nemesis lay on some node's clock at that moment, or had ended at most `GRACE_NS` before: a node also
  finds itself off from the others when theirs were moved, and by measurements from before they were set back;
- the process ended in an orderly way (an exit code);
- its last words speak of how far its clock is off, and of no failed assertion.

What it served before that is judged as ever. Where something was wrong then, the verdict names the ends as well: the
offset was beyond what the database allows, and that may be why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from checkers.disk_faults import FAILED_ASSERTION
from results.history import FaultInterval, History
from results.operation import LOG, Operation
from results.verdict import VALID, Verdict

CLOCK = "clock"
GRACE_NS = 10_000_000_000
"""For so long after a clock was set back a node may still stop because of what it has measured."""

OF_A_CLOCK = re.compile(
    r"max_offset_ms|clock (synchronization error|offset|skew)|clock is too far|"
    r"clock .*(ahead of|behind|away from) .*(node|allowed|maximum)",
    re.IGNORECASE,
)
"""Words of a node that has measured its clock; the first are the reference database's, the second CockroachDB's."""
_ORDERLY = re.compile(r"exit code [1-9]")


@dataclass(frozen=True)
class ClockStops:
    """The nodes of a history that stopped themselves because of their clocks."""

    ends: tuple[Operation, ...]

    @classmethod
    def of(cls, history: History, ends: str) -> ClockStops:
        """From a history whose ends of processes are events of function `ends`."""
        intervals = [one for one in history.fault_intervals() if one.fault == CLOCK and one.skipped is None]
        if not intervals:
            return cls(())
        return cls(
            tuple(
                event
                for event in history.observed(LOG)
                if event.f == ends
                and isinstance(event.value, Mapping)
                and _is_promised(event.value, intervals)
            )
        )

    @property
    def sentence(self) -> str:
        """Who stopped, and with which words."""
        return "; ".join(f"{event.value['node']} ({words_of(event.value)})" for event in self.ends)

    def forgive_lines(self, events: list[Operation]) -> list[Operation]:
        """Those lines of the nodes' logs that are to blame; the rest is what a node says of its clock when it stops:
        lines that speak of it, and what is among its last words."""
        nodes = {str(event.value["node"]) for event in self.ends}
        last_words = {
            (str(event.value["node"]), line.strip())
            for event in self.ends
            for line in str(event.value.get("text", "")).splitlines()
        }
        blamed = []
        for event in events:
            node, text = str(event.value.get("node")), str(event.value.get("text", "")).strip()
            speaks = OF_A_CLOCK.search(text) is not None and FAILED_ASSERTION.search(text) is None
            if node in nodes and (speaks or (node, text) in last_words):
                continue
            blamed.append(event)
        return blamed


def words_of(end: Mapping[str, Any]) -> str:
    """The line of a node's last words that says how far its clock is off."""
    lines = [line.strip() for line in str(end.get("text", "")).splitlines() if OF_A_CLOCK.search(line)]
    return lines[0][:300] if lines else ""


def told_beside(verdict: Verdict, stops: ClockStops) -> Verdict:
    """A verdict that found something wrong, together with the clocks that were further off than is allowed."""
    if verdict.outcome == VALID or not stops.ends:
        return verdict
    sentence = f"{verdict.sentence}; beside it, clocks were further off than is allowed, and stopped: {stops.sentence}"
    details = {**verdict.details, "stopped_by_their_clocks": [dict(event.value) for event in stops.ends]}
    return msgspec.structs.replace(verdict, sentence=sentence, details=details)


def _is_promised(end: Mapping[str, Any], intervals: list[FaultInterval]) -> bool:
    text = str(end.get("text", ""))
    if (
        not _ORDERLY.match(str(end.get("status", "")))
        or FAILED_ASSERTION.search(text)
        or not OF_A_CLOCK.search(text)
    ):
        return False
    time_ns = end.get("time_ns")
    return time_ns is None or any(
        one.start_ns <= int(time_ns) and (one.end_ns is None or int(time_ns) <= one.end_ns + GRACE_NS)
        for one in intervals
    )
