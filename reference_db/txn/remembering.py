"""A write that belongs to a session, as its leader sees it: was it answered before, may it be carried out?

Whoever evaluates holds the latch of the key, so of two copies of a write the second finds the first applied or lost.

1. The reply is remembered: it is the answer.
2. A later write of the session to this key is remembered: nobody waits for this one any more, it isn't carried out.
3. Nothing is remembered, and the session was opened at or before the range's horizon: a reply may have been forgotten,
   so the write is refused. Sent for the first time it has certainly not happened.
4. Else it has never been carried out here, nor anywhere, since its key has always been in this range, or in one that
   this came of. It is carried out, and its reply becomes part of the same command.

A comparison that failed changed nothing and is not remembered: asked again, it is made again.
"""

from __future__ import annotations

from ..api import (
    Add,
    Added,
    Ambiguous,
    CompareAndSet,
    Compared,
    Delete,
    Put,
    RangeReply,
    RangeRequest,
    SessionExpired,
    SessionWrite,
    Written,
)
from ..timestamp import ZERO
from .command import RememberReply
from .sessions import FORGOTTEN_MOST, SessionReplies, SessionReply


def recall(request: RangeRequest, write: SessionWrite, sessions: SessionReplies | None) -> RangeReply | None:
    """The answer to a write that must not be carried out; None if it must be."""
    if sessions is None:
        return None
    known = sessions.get(_key(request), write.session)
    if known is not None and known.sequence == write.sequence:
        assert known.result is not None, f"{known} answers nothing"
        return RangeReply(request.request_id, (known.result,), known.timestamp)
    if known is not None and known.sequence > write.sequence:
        text = f"write {write.sequence} of the session came after its write {known.sequence} to the same key"
        return RangeReply(request.request_id, error=Ambiguous(text))
    if write.since <= sessions.horizon:
        text = f"the session was opened at {write.since}, replies up to {sessions.horizon} are forgotten"
        return RangeReply(request.request_id, error=SessionExpired(text))
    return None


def remember(
    request: RangeRequest, write: SessionWrite, reply: RangeReply, sessions: SessionReplies | None, most: int
) -> RememberReply:
    """What the command of a session's write also does, in a range that remembers `most` replies."""
    (result,) = reply.results
    assert isinstance(result, (Written, Compared, Added)), f"{result} answers no plain write"
    count = 0 if sessions is None else len(sessions)
    forgotten: tuple[tuple[bytes, bytes], ...] = ()
    key = _key(request)
    if sessions is not None and count >= most and sessions.get(key, write.session) is None:
        forgotten = sessions.oldest(min(count - most + 1, FORGOTTEN_MOST))
    timestamp = reply.timestamp
    assert timestamp > max(write.since, ZERO), (
        f"{timestamp} is not above the session's opening at {write.since}"
    )
    return RememberReply(key, write.session, SessionReply(write.sequence, timestamp, result), forgotten)


def _key(request: RangeRequest) -> bytes:
    operation = request.operations[0]
    assert isinstance(operation, (Put, Delete, CompareAndSet, Add)), f"{operation} belongs to no session"
    return operation.key
