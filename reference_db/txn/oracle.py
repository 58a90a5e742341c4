"""The timestamp oracle: timestamps that only grow, for all transactions of a cluster, across changes of leaders.

It is a part of whoever leads the first range. What may have been issued is bounded by a window, which is a version of a
system key of that range, so it is replicated before any timestamp above it leaves (Peng and Dabek, "Large-scale
Incremental Processing Using Distributed Transactions and Notifications", 2010, 2.3). Two rules make it safe:

1. A reply with a timestamp above the window that is applied comes with a command that raises the window, and is sent
   only once that is applied. Every such reply has a command of its own, so none depends on another's.
2. A reply without a command is sent once leadership was confirmed after the timestamp was taken. So no later leader
   had issued anything when it was taken, and each later leader begins above the window.

Timestamps are those of the hybrid clock, and never below the clock of the node that issues them: so they are also above
everything that whoever asks has heard of.
"""

from __future__ import annotations

from ..api import RangeReply, RangeRequest, TakeTimestamps, TimestampsTaken
from ..timestamp import MAX_LOGICAL, ZERO, Timestamp, decode_timestamp
from .command import Command, PutVersion
from .evaluate import Leadership
from .evaluation import Evaluation
from .state import RangeState

WINDOW_NS = 500_000_000
"""How far beyond what is issued the window reaches: one log entry in this time; a new leader's jump is as long."""


def window_of(state: RangeState, key: bytes) -> Timestamp:
    """Nothing above this was issued before what is applied; zero if nothing ever was."""
    version = state.mvcc.newest(key)
    return ZERO if version is None or version.value is None else decode_timestamp(version.value)


def evaluate_take(
    request: RangeRequest,
    operation: TakeTimestamps,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    term: int,
) -> Evaluation:
    """Issue `count` timestamps in a row."""
    window = window_of(state, operation.key)
    first = max(now, (leadership.issued if leadership.issued is not None else window).next())
    if first.logical + operation.count > MAX_LOGICAL:
        first = Timestamp(first.wall_ns + 1, 0)
    last = Timestamp(first.wall_ns, first.logical + operation.count - 1)
    leadership.issued = last
    reply = RangeReply(request.request_id, (TimestampsTaken(first, operation.count),), last)
    if last <= window:
        return Evaluation(reply, confirm=True)
    raised = Timestamp(last.wall_ns + WINDOW_NS, 0)
    return Evaluation(
        reply, Command(term, last, (PutVersion(operation.key, now, raised.encode()),), request.generation)
    )
