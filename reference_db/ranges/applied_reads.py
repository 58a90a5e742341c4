"""Reads of what a replica has applied, leader or not: bounded ones at a closed timestamp, and stale ones.

Neither takes latches, asks anybody, or is noted in a timestamp cache. At a closed timestamp nothing will ever be
written any more (`closed_timestamps`), except where an intent stands that may still become a version there: such a read
ends without an answer, and its sender goes to the leader. A stale read passes intents as if they were not there, and
promises nothing but that what it sees was committed once.

Whatever is applied is committed, and between two turns memory equals the engine, so both see one applied index.
"""

from __future__ import annotations

from collections.abc import Sequence

from reference_db.api import (
    Get,
    RangeOperation,
    RangeReply,
    RangeRequest,
    Result,
    Scan,
    ScanResult,
    ValueResult,
)
from reference_db.ranges.certain_reads import evaluate_certain_read
from reference_db.timestamp import MAX_TIMESTAMP, Timestamp
from reference_db.txn.state import RangeState


def read_closed(request: RangeRequest, state: RangeState, closed: Timestamp) -> RangeReply | None:
    """The newest versions at or below a closed timestamp; None if an intent may still become one of them, or if some of
    them may be gone."""
    if closed < state.threshold:
        return None
    reply = evaluate_certain_read(request, state, closed)
    return reply if reply.error is None else None


def read_stale(request: RangeRequest, state: RangeState) -> RangeReply:
    """The newest versions that are applied."""
    return RangeReply(request.request_id, read_values(request.operations, state))


def read_values(
    operations: Sequence[RangeOperation], state: RangeState, timestamp: Timestamp | None = None
) -> tuple[Result, ...]:
    """The newest versions at or below a timestamp (None: of all), whatever intents there are."""
    until = MAX_TIMESTAMP if timestamp is None else timestamp
    results: list[Result] = []
    for operation in operations:
        if isinstance(operation, Get):
            version = state.mvcc.get(operation.key, until)
            results.append(
                ValueResult(None) if version is None else ValueResult(version.value, version.timestamp)
            )
        else:
            assert isinstance(operation, Scan), f"{operation} beside reads passed the validation"
            scanned = state.mvcc.scan(
                operation.start, operation.end, until, operation.limit, operation.reverse
            )
            results.append(ScanResult(scanned.pairs, scanned.resume))
    return tuple(results)
