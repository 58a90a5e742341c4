"""Nodes whose process ended though nobody asked for it: a database that falls over by itself broke a promise.

The harness records each as an event of process `log`, function `crash`, value `{"node", "status", "text"}`: how the
process ended and its last lines. What the nemesis kills is not among them.

SIGKILL is the exception: a process cannot send it to itself by falling over, so somebody outside did (the kernel short
of memory, a person). That says nothing about the database, and what the run says about it is in doubt: unknown.

A node that ends because the nemesis broke its disk does the right thing, and is not blamed (`disk_faults.py`); nor is
one that stops because its clock was moved further than it allows (`clock_faults.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.checker import Limits
from checkers.clock_faults import ClockStops
from checkers.disk_faults import DiskFaults
from checkers.words import count
from results.history import History
from results.operation import LOG
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

CRASH = "crash"
_FROM_OUTSIDE = ("signal SIGKILL", "out of memory")
"""How a status begins whose cause is not the database: the second is what a container engine says of the first."""


@dataclass
class CrashChecker:
    """Invalid if a node's process ended by itself, unless its disk was broken; unknown if somebody other than the
    harness killed one."""

    name: str = field(default="crashes", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        """One anomaly a crash, with the last lines that the node printed."""
        ends = [
            event for event in history.observed(LOG) if event.f == CRASH and isinstance(event.value, Mapping)
        ]
        forgiven = DiskFaults.of(history, CRASH).ends
        stops = ClockStops.of(history, CRASH)
        killed = [event for event in ends if _from_outside(event.value)]
        anomalies = [
            Anomaly(
                type="crash",
                sentence=f"node {event.value.get('node')} ended though nobody asked for it "
                f"({event.value.get('status')}); its last lines: "
                f"{str(event.value.get('text', '')).strip()[-600:] or 'none'}",
                operations=[event.index],
                evidence=dict(event.value),
            )
            for event in ends
            if not _from_outside(event.value) and event not in forgiven and event not in stops.ends
        ]
        details: dict[str, Any] = {}
        if killed:
            details["killed_from_outside"] = [dict(event.value) for event in killed]
        if forgiven:
            details["ended_on_a_broken_disk"] = [dict(event.value) for event in forgiven]
        if stops.ends:
            details["stopped_by_their_clocks"] = [dict(event.value) for event in stops.ends]
        if anomalies:
            nodes = sorted({str(anomaly.evidence.get("node")) for anomaly in anomalies})
            sentence = f"{count(len(anomalies), 'process', 'processes')} ended unasked, of {', '.join(nodes)}"
            return Verdict(INVALID, self.name, sentence, anomalies, details=details)
        if killed:
            who = ", ".join(f"{event.value.get('node')} ({event.value.get('status')})" for event in killed)
            sentence = (
                f"{who}: killed from outside, and not by the harness; the kernel short of memory or a person did it, "
                "which proves nothing about the database. Give the run more memory and run it again"
            )
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        if forgiven:
            nodes = sorted({str(event.value.get("node")) for event in forgiven})
            sentence = (
                f"no process ended unasked, but {count(len(forgiven), 'time')} on a disk that the nemesis broke "
                f"({', '.join(nodes)}), as it may"
            )
            return Verdict(VALID, self.name, sentence, details=details)
        if stops.ends:
            sentence = f"no process ended unasked, but stopped itself, as promised: {stops.sentence}"
            return Verdict(VALID, self.name, sentence, details=details)
        return Verdict(VALID, self.name, "no process ended unasked")


def _from_outside(end: Mapping[str, object]) -> bool:
    return str(end.get("status", "")).startswith(_FROM_OUTSIDE)
