"""The role of an online checker: it is shown every event of the clients, in order, and says when it has seen enough.

It sees less than the checker that judges the whole history afterwards, and remembers less; but what it does report is
certain from the events so far, whatever comes later. So an alarm can end a run early, and an alarm that the full
checker does not confirm means that one of the two is wrong (`checkers.alarms`).

Pure: events in, alarms out; no time, no I/O. `observe` runs for every event on the loop that drives the clients, so it
must cost about a microsecond.
"""

from __future__ import annotations

from typing import Protocol

from results.operation import Operation
from results.verdict import Anomaly


class OnlineChecker(Protocol):
    """Watches one run."""

    @property
    def name(self) -> str:
        """Of the workload's checker that confirms what this one reports."""

    def observe(self, event: Operation) -> Anomaly | None:
        """The next event of a client; the violation that it completes, if it does. After the first one nobody asks any
        more."""
