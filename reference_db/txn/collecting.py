"""Garbage: versions that nobody may see any more, and the threshold that says so.

A range has a *threshold*: a timestamp below which nobody reads there. It is raised by a log entry of the range, and the
same entry, or a later one, names the versions that go. The rules:

1. What goes has a newer version of its key at or below the threshold, or is a deletion with nothing beneath it
   (`Mvcc.unseen`). A reader at or above the threshold finds what it would have found without that.
2. A reader below it is refused (`SnapshotTooOld`), and so is a refresh, or a first committer's check, that would have
   to see what happened since a timestamp below it. Whether it is refused is asked when it is evaluated, not when it
   came: a threshold that was raised in between counts.
3. Nothing is written below the threshold by who has not locked its key before: an intent that would lie there lies
   above. So a deletion that is gone is never missed.
4. Keys with an intent are passed over, and the threshold stays below every intent of the range. (An intent that is
   about to be laid is not known yet. It does no harm: it hides nothing, so what it stands on stays by rule 1.)

The threshold lies in the engine under the range's first key, as data of the range: snapshots carry it. A split writes
it for the right half too; of the thresholds in a span the highest counts, which is what a merge asks for.

How far the threshold may be raised is for the sender to say (`gateway/collector.py`), and no matter of safety.
"""

from __future__ import annotations

from ..api import (
    Collected,
    CollectVersions,
    QueryIntent,
    RangeReply,
    RangeRequest,
    Refresh,
    SnapshotTooOld,
)
from ..timestamp import Timestamp
from .command import Command, DropVersion, Mutation, RaiseThreshold
from .evaluation import Evaluation
from .state import RangeState


def evaluate_collect(
    request: RangeRequest, operation: CollectVersions, state: RangeState, now: Timestamp, term: int
) -> Evaluation:
    """Raise the threshold, as far as intents allow, and drop some of what nobody sees any more. `now` is fresh from the
    clock."""
    threshold = min(operation.threshold, now)
    for _, intent in state.locks.items():
        threshold = min(threshold, intent.timestamp.prev())
    threshold = max(threshold, state.threshold)
    locks = state.locks
    unseen = state.mvcc.unseen(
        max(operation.key, state.start),
        state.end,
        threshold,
        operation.most,
        keep=lambda key: key in locks,
    )
    mutations: list[Mutation] = [DropVersion(*one) for one in unseen.versions]
    if threshold > state.threshold and mutations:
        mutations.insert(0, RaiseThreshold(threshold))
    done = Collected(threshold, len(unseen.versions), unseen.resume)
    reply = RangeReply(request.request_id, (done,), now)
    if not mutations:
        return Evaluation(reply)
    return Evaluation(reply, Command(term, now, tuple(mutations), request.generation))


def checked(request: RangeRequest, reply: RangeReply, state: RangeState) -> RangeReply:
    """The reply to a read; a refusal instead where versions that it would have had to see may be gone."""
    threshold = state.threshold
    if reply.error is not None or isinstance(request.operations[0], QueryIntent):
        return reply
    lowest = reply.timestamp
    if isinstance(request.operations[0], Refresh):
        lowest = min([one.since for one in request.operations if isinstance(one, Refresh)])
    if lowest >= threshold:
        return reply
    return RangeReply(request.request_id, error=SnapshotTooOld(threshold))
