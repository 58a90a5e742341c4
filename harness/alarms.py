"""Shows the events of clients to online checkers as they are recorded, and tells of the first violation of each.

It stands between the driver and the journal: what is recorded is seen, in the same order. An online checker that has
raised an alarm, or an exception, is not asked again; without any left, events pass through.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Protocol

from checkers.online.online_checker import OnlineChecker
from results.operation import Operation
from results.verdict import Anomaly


class Journal(Protocol):
    """Where events are kept; see `results.run_folder.Journal`."""

    @property
    def record(self) -> Callable[[Operation], None]: ...

    def commit(self) -> None: ...


class Alarm:
    """What an online checker has seen, or how it broke down."""

    def __init__(self, checker: str, anomaly: Anomaly | None, problem: str | None = None) -> None:
        self.checker = checker
        self.anomaly = anomaly
        self.problem = problem


class WatchedJournal:
    """A journal that shows what it records."""

    def __init__(
        self, journal: Journal, checkers: Sequence[OnlineChecker], tell: Callable[[Alarm], None]
    ) -> None:
        """`tell` is called in the middle of a turn of the driver: it must only take note."""
        self._record = journal.record
        self.commit = journal.commit
        self._checkers = list(checkers)
        self._tell = tell

    @property
    def record(self) -> Callable[[Operation], None]:
        """Keeps an event; and shows it, while there is anybody to show it to."""
        return self._record_and_show if self._checkers else self._record

    def _record_and_show(self, event: Operation) -> None:
        self._record(event)
        if type(event.process) is int:
            for checker in self._checkers:
                self._show(checker, event)

    def _show(self, checker: OnlineChecker, event: Operation) -> None:
        try:
            anomaly = checker.observe(event)
        except Exception:  # noqa: BLE001 - whatever broke must not end the run: the full checker is still to come.
            self._checkers = [one for one in self._checkers if one is not checker]
            self._tell(Alarm(checker.name, None, traceback.format_exc()))
            return
        if anomaly is not None:
            self._checkers = [one for one in self._checkers if one is not checker]
            self._tell(Alarm(checker.name, anomaly))
