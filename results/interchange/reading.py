"""What was read from another tool's file, and the rules by which its events become a history of ours.

What differs between tools is made equal here, in one place:

- The order of events is the order in the file. Indexes are believed only where every event has one: if they never go
  down, the file's order is theirs; if they do, and no two are equal, the events are sorted by them; if they go down
  and some are equal, nobody knows the order, and that is an error.
- A process that goes on after an info gets a new number (older Jepsen used numbers again).
- A file without any invocation records only how operations ended. Nothing is known then about real time; what is kept
  is the order in each process (`History.has_real_time` is False).
- An invocation without a function is one of a transaction, `txn`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from results.history import History, HistoryError
from results.interchange import order_kernel
from results.operation import INVOKE, Operation


@dataclass(frozen=True)
class Reading:
    """A history, the format it was in, and what a reader should know about how it was read."""

    history: History
    format: str
    notes: list[str] = field(default_factory=list)


def reading_of(
    events: list[Operation],
    format: str,
    *,
    indexed: int = 0,
    timed: bool = True,
    has_real_time: bool = True,
    torn: str | None = None,
) -> Reading:
    """The history that events from a file make. The events are changed on the way.

    `indexed` is how many of them had an index in the file, `timed` whether any had a time. Raises HistoryError.
    """
    notes: list[str] = []
    if events and indexed == len(events) and order_kernel.order_of(events) == order_kernel.UNORDERED:
        _sort(events)
        notes.append("the events are not in the order of their indexes in the file: sorted by index")
    renamed, only_completions = order_kernel.number(events)
    notes += notes_on(renamed=renamed, timed=timed or not events, has_real_time=has_real_time)
    if only_completions:
        has_real_time = False
        events = _with_invocations(events)
        notes.append(
            "the file has no invocations: nothing is known about real time, only the order in each process"
        )
    history = History(events, torn=torn, has_real_time=has_real_time)
    history.renamed = renamed
    return Reading(history, format, notes)


def notes_on(*, renamed: int, timed: bool, has_real_time: bool = True) -> list[str]:
    """What is said about processes that got new numbers, so many times, and about events without times."""
    notes = []
    if not has_real_time:
        notes.append("this format records no real time, only the order in each session")
    if renamed:
        often = "once" if renamed == 1 else f"{renamed} times"
        notes.append(f"a process that went on after an info got a new number, {often}")
    if not timed:
        notes.append("the file has no times: in what follows events are a millisecond apart")
    return notes


def _sort(events: list[Operation]) -> None:
    events.sort(key=lambda event: event.index)
    for before, event in pairwise(events):
        if before.index == event.index:
            raise HistoryError(
                f"two events have the index {event.index}, and the file is not in the order of its indexes, so nobody "
                "knows the order of events; number them anew, or leave the indexes out to have the file's order"
            )


def _with_invocations(events: list[Operation]) -> list[Operation]:
    """An invocation before each completion; what was asked is what was answered."""
    whole: list[Operation] = []
    for event in events:
        if isinstance(event.process, int):
            whole.append(msgspec.structs.replace(event, index=len(whole), type=INVOKE, error=None))
        whole.append(msgspec.structs.replace(event, index=len(whole)))
    return whole
