"""Reads inside transactions that know where "before I began" ends, and so need not see anything newer.

A read at a timestamp must normally treat every newer version as possibly acknowledged before its transaction began
(`ReadUncertain`), because no clock can be trusted; on keys that are written all the time such a read hardly ever ends.
But whatever was acknowledged has been heard of by the clocks of a quorum of its range's replicas. So a coordinator that
first hears the clocks of enough nodes to meet every such quorum, and reads above them all, misses nothing that it must
see: it reads an old snapshot in peace, however much is written meanwhile. `gateway.coordinator` asks; where too few
nodes answer, it reads with uncertainty.

The coordinator's word for it travels as a `Pushed` promise of nobody in particular: everybody who was acknowledged
before is at or below its `floor`.
"""

from __future__ import annotations

from reference_db.api import (
    Conflict,
    Get,
    IntentConflict,
    Pushed,
    PushKind,
    RangeReply,
    RangeRequest,
    Refresh,
    Result,
    Scan,
    ScanResult,
    ValueResult,
)
from reference_db.timestamp import Timestamp
from reference_db.txn.state import RangeState

EVERYBODY = b""
"""In place of a transaction's id (which has 16 bytes)."""


def certainty(observed: Timestamp) -> Pushed:
    """The promise: whatever was acknowledged before the transaction began is at or below `observed`."""
    return Pushed(EVERYBODY, observed)


def is_certain(request: RangeRequest) -> bool:
    """Whether the request reads at a timestamp above which it need not look."""
    timestamp = request.timestamp
    if not request.pushed or timestamp is None or request.transaction is None:
        return False
    if isinstance(request.operations[0], Refresh):
        return False
    return any([one.transaction_id == EVERYBODY and one.floor <= timestamp for one in request.pushed])


def was_pushed_for(request: RangeRequest) -> bool:
    """Whether somebody was pushed on behalf of the request, so that it may pass intents that stand where it reads.

    What an anchor says of a transaction is true of the range's present state. A leader that was replaced unawares may
    hold an intent that is long committed there, and forgotten at its anchor: before it passes any, it must confirm
    that it leads. Without such a promise every intent stops the read, and its state of a moment ago is good enough."""
    return any([promise.transaction_id != EVERYBODY for promise in request.pushed])


def evaluate_certain_read(request: RangeRequest, state: RangeState, timestamp: Timestamp) -> RangeReply:
    """The newest versions at or below the timestamp. In place of `txn.evaluate.evaluate_read`, with the same duties
    before it: noted in the timestamp cache, leadership confirmed, applied.

    An intent above the timestamp commits above it, or never, and is passed; one at or below must be pushed above.
    """
    own = request.transaction.id if request.transaction is not None else b""
    floors = {promise.transaction_id: promise.floor for promise in request.pushed}
    results: list[Result] = []
    conflicts: list[Conflict] = []
    for operation in request.operations:
        start: bytes
        end: bytes | None
        if isinstance(operation, Get):
            version = state.mvcc.get(operation.key, timestamp)
            results.append(
                ValueResult(None) if version is None else ValueResult(version.value, version.timestamp)
            )
            if operation.key not in state.locks:
                continue
            start, end = operation.key, operation.key + b"\x00"
        else:
            assert isinstance(operation, Scan), f"{operation} beside reads passed the validation"
            scanned = state.mvcc.scan(
                operation.start, operation.end, timestamp, operation.limit, operation.reverse
            )
            results.append(ScanResult(scanned.pairs, scanned.resume))
            start, end = operation.start, operation.end
            if scanned.resume is not None:
                start, end = (scanned.resume, end) if operation.reverse else (start, scanned.resume)
        for key, intent in state.locks.in_span(start, end):
            holder = intent.transaction
            if holder.id == own or intent.timestamp > timestamp:
                continue
            floor = floors.get(holder.id)
            if floor is None or floor <= timestamp:
                conflicts.append(Conflict(key, holder, intent.timestamp))
    if conflicts:
        error = IntentConflict(tuple(conflicts), PushKind.TIMESTAMP, timestamp)
        return RangeReply(request.request_id, error=error)
    return RangeReply(request.request_id, tuple(results), timestamp)
