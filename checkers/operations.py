"""The operations of some functions as columns: when each began and ended, how, and by whom.

Moments are event indexes and never clock readings, so that operations whose clocks show the same time still have the
order in which the harness saw them. One operation comes before another *in real time* if it ended before the other
began; one of unknown outcome (info) never ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.history import TYPE_CODES, History, Pair
from results.operation import FAIL, INFO, INVOKE, OK

FOREVER: Final = 1 << 62
"""The end of an operation of unknown outcome: it may take effect at any later time."""

_OK, _FAIL, _INFO = TYPE_CODES[OK], TYPE_CODES[FAIL], TYPE_CODES[INFO]


@dataclass(frozen=True)
class Operations:
    """Operations of one history, in the order of invocation; all columns have the same length."""

    history: History
    start: NDArray[np.int64]
    """Index of the event that invoked it."""
    end: NDArray[np.int64]
    """Index of the event that completed it with ok or fail; `FOREVER` after info."""
    outcome: NDArray[np.int8]
    """By `TYPE_CODES`; info also where no completion was recorded."""
    process: NDArray[np.int32]
    """A number for each process."""

    @classmethod
    def of(cls, history: History, *functions: str) -> Operations:
        """All operations of clients with one of these functions."""
        columns = history.columns()
        wanted = np.array([name in functions for name in columns.functions], dtype=bool)
        client = np.array([isinstance(process, int) for process in columns.processes], dtype=bool)
        invoked = (columns.type == TYPE_CODES[INVOKE]) & wanted[columns.f] & client[columns.process]
        start = np.flatnonzero(invoked)
        completion = columns.pair[start]
        outcome = np.where(completion < 0, _INFO, columns.type[completion]).astype(np.int8)
        end = np.where(outcome == _INFO, FOREVER, completion)
        return cls(history, start, end, outcome, columns.process[start])

    def __len__(self) -> int:
        return len(self.start)

    @property
    def ok(self) -> NDArray[np.bool_]:
        return np.asarray(self.outcome == _OK)

    @property
    def failed(self) -> NDArray[np.bool_]:
        return np.asarray(self.outcome == _FAIL)

    @property
    def unknown(self) -> NDArray[np.bool_]:
        return np.asarray(self.outcome == _INFO)

    def where(self, chosen: NDArray[Any]) -> Operations:
        """The operations that a mask or an array of positions chooses."""
        return Operations(
            self.history,
            self.start[chosen],
            self.end[chosen],
            self.outcome[chosen],
            self.process[chosen],
        )

    def asked(self) -> list[Any]:
        """What each was invoked with."""
        events = self.history.operations
        return [events[index].value for index in self.start.tolist()]

    def answers(self) -> list[Any]:
        """What each, being ok, was answered: None where nothing was."""
        events = self.history.operations
        return [events[index].value for index in self.end.tolist()]

    def pair(self, position: int) -> Pair:
        """One of them, for its words."""
        invocation = self.history.operations[int(self.start[position])]
        return Pair(invocation, self.history.completion_of(invocation))

    def pairs(self, chosen: NDArray[np.bool_]) -> list[Pair]:
        """Those that a mask chooses, for their words."""
        return [self.pair(position) for position in compress(range(len(self)), chosen.tolist())]

    def start_ns(self) -> NDArray[np.int64]:
        """When each began, by the harness's clock."""
        return self.history.columns().time[self.start]

    def end_ns(self) -> NDArray[np.int64]:
        """When each ended with ok or fail, by the harness's clock; `FOREVER` after info."""
        ended = self.end < FOREVER
        time = self.history.columns().time
        found = np.full(len(self), FOREVER, dtype=np.int64)
        found[ended] = time[self.end[ended]]
        return found
