"""Evaluation: a request and the leader's state in, a command and a provisional reply out. It never calls upward.

What the replica does, in this order (a leader that has applied an entry of its own term):

    reads                                            writes
    1. latches of `latch_spans`                      1. latches of `latch_spans`
    2. `begin_read`: notes the read, answers where   2. `evaluate_write`
    3. confirm leadership (ReadIndex), wait until    3. a command: propose it; reply when it is applied
       applied                                          no command, `confirm`: confirm leadership, then reply
    4. `evaluate_read`                                  no command, else: reply
    5. release, reply                                4. release

`confirm` marks a reply that is read off the present state, a failed comparison for instance: only a leader that led
*after* the evaluation may say so. A reply that comes with a command holds only if that command is applied.

Safety rests on four facts, each of them local: (1) reads are noted before leadership is confirmed, and later leaders
start above; (2) a read passes no foreign intent, whatever its timestamp, unless the owner was pushed above the read;
(3) a write is above every read and every version of its key; (4) only a record decides. Reads inside transactions
treat every newer version as possibly acknowledged before (`ReadUncertain`), so no wall clock matters.
"""

from __future__ import annotations

from ..api import (
    MAX_WRITE_BYTES,
    READ_OPERATIONS,
    Add,
    Added,
    Ambiguous,
    BadRequest,
    CheckLock,
    CollectVersions,
    CommitAtOnce,
    CompareAndSet,
    Compared,
    Conflict,
    CreateRecord,
    Delete,
    DeleteRecord,
    EndTransaction,
    Get,
    HeartbeatRecord,
    IntentConflict,
    IntentState,
    PushKind,
    PushTransaction,
    Put,
    QueryIntent,
    RangeReply,
    RangeRequest,
    ReadUncertain,
    RecordState,
    RecoverTransaction,
    Refresh,
    Refreshed,
    RefreshFailed,
    Resolved,
    ResolveIntents,
    Result,
    Scan,
    ScanResult,
    TakeTimestamps,
    Transaction,
    TransactionAborted,
    TransactionProtocol,
    TransactionPushed,
    TransactionStatus,
    ValueResult,
    WriteIntent,
    Written,
)
from ..storage.keys import SESSION_ID_BYTES, TRANSACTION_ID_BYTES
from ..timestamp import ZERO, Timestamp
from .command import Command, Mutation, PutIntent, PutRecord, PutVersion, RemoveIntent, RemoveRecord
from .evaluation import Evaluation, answer, decide, refuse
from .latches import LatchSpan
from .locks import Intent
from .numbers import add_to, encode_number
from .reads import TimestampCache
from .record import Liveness, TransactionMarkers, TransactionRecord
from .remembering import recall, remember
from .sessions import REPLIES_MOST
from .state import RangeState

_PLAIN_WRITES = (Put, Delete, CompareAndSet, Add)
_PLAIN_OPERATIONS = (Get, Put, Delete, CompareAndSet, Add)
_KEYED_WRITES = (Put, Delete, CompareAndSet, Add, WriteIntent)
_TIDYING = (ResolveIntents, DeleteRecord, CheckLock)

TIMESTAMPS_MOST = 100_000
"""How many one request may take."""

COLLECTED_MOST = 10_000
"""How many versions one request drops."""

PENDING, COMMITTED, ABORTED, MISSING, STAGING = TransactionStatus


class Leadership:
    """What a leader remembers, and a new one starts without. Made anew each time this replica becomes leader, with the
    clock's present time, once an entry of its own term is applied."""

    __slots__ = ("issued", "liveness", "markers", "reads", "replies_most")

    def __init__(
        self, low_water: Timestamp, expiry_ns: int = 4_000_000_000, replies_most: int = REPLIES_MOST
    ) -> None:
        self.replies_most = replies_most
        """Replies to writes of sessions that the range remembers."""
        self.reads = TimestampCache(low_water)
        self.markers = TransactionMarkers(low_water)
        self.liveness = Liveness(expiry_ns)
        self.issued: Timestamp | None = None
        """The last timestamp that this leader has issued as the oracle; None if it has issued none."""

    def copy(self) -> Leadership:
        """The same memories, which change by themselves from now on."""
        other = Leadership(self.reads.low_water, replies_most=self.replies_most)
        other.reads = self.reads.copy()
        other.markers = self.markers.copy()
        other.liveness = self.liveness.copy()
        other.issued = self.issued
        return other


def latch_spans(request: RangeRequest) -> list[LatchSpan]:
    """The latches that a request needs, from its first look at the state until its outcome is applied or known."""
    spans: list[LatchSpan] = []
    for operation in request.operations:
        match operation:
            case Get() | QueryIntent():
                spans.append(LatchSpan(b"d" + operation.key, None, False))
            case Put() | Delete() | CompareAndSet() | Add() | WriteIntent():
                spans.append(LatchSpan(b"d" + operation.key))
            case Scan() | Refresh():
                end = b"e" if operation.end is None else b"d" + operation.end
                spans.append(LatchSpan(b"d" + operation.start, end, False))
            case ResolveIntents():
                spans.extend(LatchSpan(b"d" + key) for key in operation.keys)
            case EndTransaction():
                spans.append(_record_latch(request.transaction))
                keys = operation.local_keys
                owner = request.transaction
                if owner is not None and owner.protocol == TransactionProtocol.PRIMARY_LOCK:
                    keys = tuple(dict.fromkeys((owner.anchor, *keys)))
                spans.extend(LatchSpan(b"d" + key) for key in keys)
            case CreateRecord() | HeartbeatRecord():
                spans.append(_record_latch(request.transaction))
            case PushTransaction():
                spans.append(_record_latch(operation.pushee))
                if operation.pushee.protocol == TransactionProtocol.PRIMARY_LOCK:
                    spans.append(LatchSpan(b"d" + operation.pushee.anchor))
            case CheckLock():
                spans.append(LatchSpan(b"d" + operation.key))
            case CollectVersions():
                # One after the other; who reads or writes meanwhile is not in the way.
                spans.append(LatchSpan(b"c"))
            case TakeTimestamps():
                # Taking is done in one go, and the window only ever grows.
                spans.append(LatchSpan(b"d" + operation.key, None, False))
            case DeleteRecord() | RecoverTransaction():
                spans.append(_record_latch(operation.transaction))
                if (
                    isinstance(operation, RecoverTransaction)
                    and operation.transaction.protocol == TransactionProtocol.PRIMARY_LOCK
                ):
                    spans.append(LatchSpan(b"d" + operation.transaction.anchor))
            case CommitAtOnce():
                spans.append(_record_latch(request.transaction))
                spans.extend(LatchSpan(b"d" + key) for key in operation.keys)
    kinds = {type(operation) for operation in request.operations}
    if WriteIntent in kinds and CreateRecord not in kinds:
        # Whether the transaction's record, if it lies here, is decided: nobody may decide it meanwhile.
        spans.append(_record_latch(request.transaction, exclusive=False))
    return spans


def _record_latch(transaction: Transaction | None, exclusive: bool = True) -> LatchSpan:
    return LatchSpan(b"t" if transaction is None else b"t" + transaction.id, None, exclusive)


def why_invalid(request: RangeRequest, state: RangeState) -> str | None:
    """The rule that a request breaks; None if it may be evaluated. Whether the sender's descriptor is current is not
    asked here."""
    if not request.operations:
        return "a request needs at least one operation"
    if request.write is not None and (
        len(request.operations) > 1
        or not isinstance(request.operations[0], _PLAIN_WRITES)
        or len(request.write.session) != SESSION_ID_BYTES
        or request.timestamp is None
    ):
        return f"a write of a session is one plain write, its session has an id of {SESSION_ID_BYTES} bytes"
    if request.transaction is not None and len(request.transaction.id) != TRANSACTION_ID_BYTES:
        return f"a transaction's id has {TRANSACTION_ID_BYTES} bytes, got {request.transaction.id!r}"
    if all([type(operation) is Get and state.contains(operation.key) for operation in request.operations]):
        return None  # As most often.
    is_read = request.is_read
    too_large = None if is_read else _why_too_large(request)
    if too_large is not None:
        return too_large
    if len(request.operations) == 1 and request.transaction is None:
        only = request.operations[0]
        if isinstance(only, _PLAIN_OPERATIONS) and state.contains(only.key):
            return None
    written: set[bytes] = set()
    for operation in request.operations:
        if isinstance(operation, READ_OPERATIONS) is not is_read:
            return "a request holds reads only or writes only"
        if type(operation) is Get:
            if not state.contains(operation.key):
                return f"key {operation.key!r} isn't in {_shown(state)}"
            continue
        match operation:
            case QueryIntent():
                if request.timestamp is None or request.transaction is not None:
                    return "a question for an intent needs a timestamp, and is asked outside of transactions"
                if not state.contains(operation.key):
                    return f"key {operation.key!r} isn't in {_shown(state)}"
                continue
            case Scan() | Refresh():
                if not state.contains_span(operation.start, operation.end):
                    return f"[{operation.start!r}, {operation.end!r}) isn't inside {_shown(state)}"
                if isinstance(operation, Refresh) and (
                    request.transaction is None or request.timestamp is None
                ):
                    return "a refresh needs a transaction and a timestamp"
                continue
            case Put() | Delete() | CompareAndSet() | Add():
                if request.transaction is not None:
                    return "writes inside a transaction are intents"
                keys: tuple[bytes, ...] = (operation.key,)
            case WriteIntent():
                if request.transaction is None or request.timestamp is None:
                    return "an intent needs a transaction and a timestamp"
                keys = (operation.key,)
            case ResolveIntents():
                if operation.status not in (COMMITTED, ABORTED):
                    return f"intents of a transaction that is {operation.status.name} can't be resolved"
                keys = operation.keys
            case PushTransaction():
                keys = (operation.pushee.anchor,)
            case DeleteRecord() | RecoverTransaction():
                keys = (operation.transaction.anchor,)
            case TakeTimestamps():
                if not 1 <= operation.count <= TIMESTAMPS_MOST:
                    return f"{operation.count} timestamps are asked for, between 1 and {TIMESTAMPS_MOST} are issued"
                keys = (operation.key,)
            case CheckLock():
                keys = (operation.key,)
            case CollectVersions():
                if not 1 <= operation.most <= COLLECTED_MOST:
                    return f"{operation.most} versions are to go, between 1 and {COLLECTED_MOST} go at once"
                keys = (operation.key,)
            case CommitAtOnce():
                if request.transaction is None or request.timestamp is None:
                    return "a commit at once needs a transaction and a timestamp"
                keys = operation.keys
                if not keys or len(set(keys)) < len(keys):
                    return f"a commit at once writes some keys, each once, not {keys!r}"
            case _:
                if request.transaction is None:
                    return f"{type(operation).__name__} needs a transaction"
                if isinstance(operation, EndTransaction) and operation.commit and request.timestamp is None:
                    return "a commit needs a timestamp"
                keys = (request.transaction.anchor,)
                if isinstance(operation, EndTransaction):
                    if len(set(operation.local_keys)) < len(operation.local_keys):
                        return "a key is named twice in local_keys"
                    keys += operation.local_keys
        for key in keys:
            if not state.contains(key):
                return f"key {key!r} isn't in {_shown(state)}"
        if isinstance(operation, _KEYED_WRITES):
            for key in keys:
                if key in written:
                    return f"key {key!r} is written twice in one request"
                written.add(key)
        elif isinstance(operation, _TIDYING):
            # Many transactions' intents on one key may be named: at most one of them is there.
            kind = type(operation)
            if not all(isinstance(other, kind) for other in request.operations):
                return f"{kind.__name__} must be alone in its request, or among its like"
        elif not is_read and not isinstance(operation, CreateRecord) and len(request.operations) > 1:
            return f"{type(operation).__name__} must be alone in its request"
    return None


def _why_too_large(request: RangeRequest) -> str | None:
    """Writes above `MAX_WRITE_BYTES` would make an entry that no frame can carry."""
    size = keys = 0
    for operation in request.operations:
        if isinstance(operation, Put):
            size += len(operation.key) + len(operation.value)
        elif isinstance(operation, WriteIntent):
            size += len(operation.key) + len(operation.value or b"")
        elif isinstance(operation, CompareAndSet):
            size += len(operation.key) + len(operation.expected or b"") + len(operation.new or b"")
        elif isinstance(operation, CreateRecord):
            keys += sum(map(len, operation.keys))
        elif isinstance(operation, CommitAtOnce):
            size += sum(len(key) + len(value or b"") for key, value in operation.writes)
    if size <= MAX_WRITE_BYTES and keys <= MAX_WRITE_BYTES:
        return None
    return (
        f"keys and values of {max(size, keys)} bytes are written, the limit is {MAX_WRITE_BYTES}; "
        "write smaller values, or fewer in one transaction"
    )


def _shown(state: RangeState) -> str:
    return f"[{state.start!r}, {'end' if state.end is None else repr(state.end)})"


# Reads.


def begin_read(request: RangeRequest, leadership: Leadership, now: Timestamp) -> Timestamp:
    """Where to read: what the transaction says, or now. The read is noted, so that no write comes at or below it any
    more. `now` is this node's clock, which was forwarded to the request's timestamp."""
    timestamp = now if request.timestamp is None else request.timestamp
    assert timestamp <= now, f"read at {timestamp}, the leader's clock says {now}"
    _note_read(request, leadership.reads, timestamp)
    return timestamp


def _note_read(request: RangeRequest, reads: TimestampCache, timestamp: Timestamp) -> None:
    reader = request.transaction.id if request.transaction is not None else None
    for operation in request.operations:
        match operation:
            case Get() | QueryIntent():
                reads.record(operation.key, timestamp, reader)
            case Scan() | Refresh():
                reads.record_span(operation.start, operation.end, timestamp, reader)


def evaluate_read(
    request: RangeRequest, state: RangeState, leadership: Leadership, timestamp: Timestamp
) -> Evaluation:
    """Read at the timestamp that `begin_read` gave, with leadership confirmed since then and that much applied."""
    if isinstance(request.operations[0], Refresh):
        return _evaluate_refresh(request, state, timestamp)
    if isinstance(request.operations[0], QueryIntent):
        return _evaluate_queries(request, state, timestamp)
    results: list[Result] = []
    newest, conflicts = ZERO, []
    lowest_floor: Timestamp | None = None
    own = request.transaction.id if request.transaction is not None else None
    pushed = {push.transaction_id: push.floor for push in request.pushed} if request.pushed else {}
    locks = state.locks
    for operation in request.operations:
        intents: list[tuple[bytes, Intent]] = []
        if isinstance(operation, Get):
            version = state.mvcc.newest(operation.key)
            if version is None:
                results.append(_NEVER_WRITTEN)
            else:
                if version.timestamp > newest:
                    newest = version.timestamp
                results.append(ValueResult(version.value, version.timestamp))
            intent = locks.get(operation.key) if locks else None
            if intent is not None:
                intents.append((operation.key, intent))
        elif isinstance(operation, Scan):
            scanned = state.mvcc.scan(
                operation.start, operation.end, limit=operation.limit, reverse=operation.reverse
            )
            if scanned.newest > newest:
                newest = scanned.newest
            results.append(ScanResult(scanned.pairs, scanned.resume))
            if locks:
                start, end = operation.start, operation.end
                if scanned.resume is not None:
                    start, end = (scanned.resume, end) if operation.reverse else (start, scanned.resume)
                intents.extend(locks.in_span(start, end))
        for key, intent in intents:
            if intent.transaction.id == own:
                continue
            floor = pushed.get(intent.transaction.id)
            if floor is None:
                conflicts.append(Conflict(key, intent.transaction, intent.timestamp))
            elif lowest_floor is None or floor < lowest_floor:
                lowest_floor = floor
    # Everything above was read at its newest version. Now find the one timestamp at which all of it is true.
    if conflicts:
        return _conflict(request, conflicts, PushKind.TIMESTAMP, max(timestamp, newest))
    if request.transaction is None:
        if lowest_floor is not None and lowest_floor <= timestamp:
            # Reading a little below its own clock is as good: still above everything that was there when it began.
            timestamp = lowest_floor.prev()
        if newest > timestamp:
            return refuse(request, ReadUncertain(newest))
    else:
        if newest > timestamp:
            if not request.may_forward:
                return refuse(request, ReadUncertain(newest))
            timestamp = newest
            _note_read(request, leadership.reads, timestamp)
        if lowest_floor is not None and lowest_floor <= timestamp:
            return refuse(request, _repush(request, state, timestamp))
    return Evaluation(RangeReply(request.request_id, tuple(results), timestamp))


def _repush(request: RangeRequest, state: RangeState, timestamp: Timestamp) -> IntentConflict:
    """The read has moved above what some owners were pushed to: they must be pushed again."""
    low = {push.transaction_id for push in request.pushed if push.floor <= timestamp}
    conflicts = []
    for operation in request.operations:
        start, end = (
            (operation.key, operation.key + b"\x00")
            if isinstance(operation, Get)
            else (operation.start, operation.end)  # type: ignore[union-attr]
        )
        for key, intent in state.locks.in_span(start, end):
            if intent.transaction.id in low:
                conflicts.append(Conflict(key, intent.transaction, intent.timestamp))
    return IntentConflict(tuple(conflicts), PushKind.TIMESTAMP, timestamp)


def _evaluate_refresh(request: RangeRequest, state: RangeState, timestamp: Timestamp) -> Evaluation:
    """Nothing may have appeared in `(since, timestamp]`. An intent that could still commit in there fails the refresh
    if its owner is older, else the owner is pushed: of two transactions that refresh against each other, one wins."""
    transaction = request.transaction
    assert transaction is not None, "a refresh without a transaction passed the validation"
    pushed = {push.transaction_id: push.floor for push in request.pushed}
    conflicts: list[Conflict] = []
    for operation in request.operations:
        assert isinstance(operation, Refresh), f"{operation} beside a refresh passed the validation"
        changed = state.mvcc.first_newer(operation.start, operation.end, operation.since, timestamp)
        if changed is not None:
            return refuse(request, RefreshFailed(changed))
        for key, intent in state.locks.in_span(operation.start, operation.end):
            owner = intent.transaction
            if owner.id == transaction.id or intent.timestamp > timestamp:
                continue
            if pushed.get(owner.id, ZERO) > timestamp:
                continue
            if owner.is_older_than(transaction) or owner.protocol == TransactionProtocol.TWO_PHASE:
                return refuse(request, RefreshFailed(key))
            conflicts.append(Conflict(key, owner, intent.timestamp))
    if conflicts:
        # A lock that stands for its transaction cannot be made to commit later: the younger one gives way.
        kinds = {one.transaction.protocol for one in conflicts}
        kind = PushKind.TIMESTAMP if kinds == {TransactionProtocol.RECORD} else PushKind.ABORT
        return _conflict(request, conflicts, kind, timestamp)
    results = tuple(_REFRESHED for _ in request.operations)
    return Evaluation(RangeReply(request.request_id, results, timestamp))


def _evaluate_queries(request: RangeRequest, state: RangeState, timestamp: Timestamp) -> Evaluation:
    """Which intents stand. That one will never be is the timestamp cache's word, which it got before (`begin_read`)."""
    results: list[Result] = []
    for operation in request.operations:
        assert isinstance(operation, QueryIntent), f"{operation} beside questions for intents"
        intent = state.locks.get(operation.key)
        found = (
            intent is not None
            and intent.transaction.id == operation.transaction_id
            and intent.timestamp <= timestamp
        )
        results.append(IntentState(found))
    return Evaluation(RangeReply(request.request_id, tuple(results), timestamp))


# Writes.


def evaluate_write(
    request: RangeRequest,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    monotonic_ns: int,
    term: int,
) -> Evaluation:
    """Decide a request that may write. `now` is fresh from the clock, `term` the term in which this replica leads, and
    the command must be proposed in that term or not at all."""
    first = request.operations[0]
    match first:
        case Put() | Delete() | CompareAndSet() | Add():
            return _evaluate_plain_writes(request, state, leadership, now, term)
        case WriteIntent() | CreateRecord():
            return _evaluate_intents(request, state, leadership, now, monotonic_ns, term)
        case HeartbeatRecord():
            return _evaluate_heartbeat(request, state, leadership, monotonic_ns)
        case EndTransaction():
            return _evaluate_end(request, first, state, leadership, now, term)
        case PushTransaction():
            return _evaluate_push(request, first, state, leadership, now, monotonic_ns, term)
        case ResolveIntents():
            return _evaluate_resolve(request, state, now, term)
        case DeleteRecord():
            return _evaluate_delete_records(request, state, leadership, now, term)
        case CommitAtOnce():
            return _evaluate_commit_at_once(request, first, state, leadership, now, term)
        case RecoverTransaction():
            return _evaluate_recover(request, first, state, leadership, now, term)
        case _:
            raise ValueError(f"{type(first).__name__} reads; it isn't evaluated as a write")


def _evaluate_plain_writes(
    request: RangeRequest, state: RangeState, leadership: Leadership, now: Timestamp, term: int
) -> Evaluation:
    if request.write is not None:
        known = recall(request, request.write, state.sessions)
        if known is not None:
            # Only who leads still may say what was answered; what is refused has no effect, whoever says so.
            return Evaluation(known, confirm=known.error is None)
    results: list[Result] = []
    mutations: list[Mutation] = []
    conflicts: list[Conflict] = []
    highest = now
    for operation in request.operations:
        assert isinstance(operation, _PLAIN_WRITES), f"{operation} beside plain writes"
        key = operation.key
        intent = state.locks.get(key)
        if intent is not None:
            conflicts.append(Conflict(key, intent.transaction, intent.timestamp))
            continue
        newest = state.mvcc.newest(key)
        current = None if newest is None else newest.value
        if isinstance(operation, CompareAndSet) and current != operation.expected:
            leadership.reads.record(key, now)
            results.append(Compared(False, current, ZERO if newest is None else newest.timestamp))
            continue
        timestamp = leadership.reads.write_timestamp(key, now)
        if newest is not None and newest.timestamp >= timestamp:
            timestamp = newest.timestamp.next()
        if timestamp > highest:
            highest = timestamp
        if isinstance(operation, Put):
            mutations.append(PutVersion(key, timestamp, operation.value))
            results.append(Written(timestamp))
        elif isinstance(operation, Delete):
            mutations.append(PutVersion(key, timestamp, None))
            results.append(Written(timestamp))
        elif isinstance(operation, Add):
            added = add_to(current, operation)
            if isinstance(added, BadRequest):
                leadership.reads.record(key, now)
                return refuse(request, added, confirm=True)
            mutations.append(PutVersion(key, timestamp, encode_number(added)))
            results.append(Added(added, timestamp))
        else:
            mutations.append(PutVersion(key, timestamp, operation.new))
            results.append(Compared(True, current, timestamp))
    if conflicts:
        return _conflict(request, conflicts, PushKind.ABORT, now)
    reply = RangeReply(request.request_id, tuple(results), highest)
    if not mutations:
        return Evaluation(reply, confirm=True)
    if request.write is not None:
        mutations.append(remember(request, request.write, reply, state.sessions, leadership.replies_most))
    return Evaluation(reply, Command(term, highest, tuple(mutations), request.generation))


def _evaluate_intents(
    request: RangeRequest,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    monotonic_ns: int,
    term: int,
) -> Evaluation:
    """Intents of one transaction, and its record if this is the anchor's range, in one command."""
    transaction, timestamp = request.transaction, request.timestamp or now
    assert transaction is not None, "intents without a transaction passed the validation"
    mutations: list[Mutation] = []
    conflicts: list[Conflict] = []
    record = state.records.get(transaction.id)
    if record is not None and record.status in (COMMITTED, ABORTED):
        return refuse(request, TransactionAborted(f"it is {record.status.name} already"), confirm=True)
    create = next((one for one in request.operations if isinstance(one, CreateRecord)), None)
    if create is not None and record is None:
        refusal = leadership.markers.why_refused(transaction)
        if refusal is not None:
            return refuse(request, TransactionAborted(refusal), confirm=True)
    for operation in request.operations:
        if not isinstance(operation, WriteIntent):
            continue
        intent = state.locks.get(operation.key)
        if intent is not None:
            if intent.transaction.id != transaction.id:
                conflicts.append(Conflict(operation.key, intent.transaction, intent.timestamp))
                continue
            if intent.sequence >= operation.sequence:
                # Asked again. The coordinator may know this intent's timestamp already, and commit there: it stays.
                continue
            timestamp = max(timestamp, intent.timestamp)
        if timestamp <= state.threshold:
            timestamp = state.threshold.next()
        newest = state.mvcc.newest(operation.key)
        if newest is not None and newest.timestamp >= timestamp:
            timestamp = newest.timestamp.next()
        timestamp = leadership.reads.write_timestamp(operation.key, timestamp, transaction.id)
    if conflicts:
        return _conflict(request, conflicts, PushKind.ABORT, timestamp)
    if create is not None:
        leadership.liveness.heard(transaction.id, monotonic_ns)
        if record is None:
            floor = leadership.markers.floor(transaction.id)
            staged_at = request.timestamp or ZERO
            if create.stage and max(floor, timestamp) <= staged_at:
                record = TransactionRecord(transaction, STAGING, staged_at, floor, create.keys)
            else:
                record = TransactionRecord(transaction, PENDING, ZERO, floor, create.keys)
            mutations.append(PutRecord(record))
    results: list[Result] = []
    highest = ZERO
    for operation in request.operations:
        if isinstance(operation, WriteIntent):
            intent = state.locks.get(operation.key)
            if intent is None or intent.sequence < operation.sequence:
                intent = Intent(transaction, timestamp, operation.value, operation.sequence)
                mutations.append(PutIntent(operation.key, intent))
            results.append(Written(intent.timestamp))
            highest = max(highest, intent.timestamp)
        else:
            assert record is not None, f"{operation} beside intents"
            results.append(_state_of(record))
    reply = RangeReply(request.request_id, tuple(results), highest)
    if not mutations:
        return Evaluation(reply, confirm=True)
    return Evaluation(reply, Command(term, max(now, highest), tuple(mutations), request.generation))


def _evaluate_heartbeat(
    request: RangeRequest, state: RangeState, leadership: Leadership, monotonic_ns: int
) -> Evaluation:
    transaction = request.transaction
    assert transaction is not None, "a heartbeat without a transaction passed the validation"
    record = state.records.get(transaction.id)
    if record is None and leadership.markers.is_aborted(transaction.id):
        return answer(request, RecordState(ABORTED), confirm=True)
    if record is None or record.status in (PENDING, STAGING):
        leadership.liveness.heard(transaction.id, monotonic_ns)
    return answer(request, _state_of(record), confirm=record is None)


def _evaluate_end(
    request: RangeRequest,
    operation: EndTransaction,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    term: int,
) -> Evaluation:
    transaction = request.transaction
    assert transaction is not None, "an end without a transaction passed the validation"
    record = state.records.get(transaction.id)
    if record is None:
        at_once = leadership.markers.committed_at(transaction.id)
        if at_once is not None:
            return answer(request, RecordState(COMMITTED, at_once), confirm=True)
        markers = leadership.markers
        is_known = markers.why_refused(transaction) is None or markers.is_certainly_aborted(transaction.id)
        if operation.asked_before and not is_known:
            # Committed, made final and forgotten, or never to be: whoever wants to abort it cannot know either.
            return refuse(
                request, Ambiguous("the transaction's record is gone, and an earlier request may have won")
            )
        # Nobody may create it from here on, so what is said now stays true.
        leadership.markers.abort(transaction.id, now)
        if operation.commit:
            return refuse(request, TransactionAborted("its record is gone"), confirm=True)
        return answer(request, RecordState(ABORTED), confirm=True)
    if record.status == COMMITTED:
        return answer(request, _state_of(record))
    if record.status == ABORTED:
        if operation.commit:
            return refuse(request, TransactionAborted("aborted by another transaction"))
        return answer(request, _state_of(record))
    if record.status == STAGING and not operation.commit:
        # It may be committed: only who has looked for its intents may say.
        return answer(request, _indeterminate(record))
    if not operation.commit:
        ended = TransactionRecord(transaction, ABORTED, ZERO, record.floor, record.keys)
        status, commit_timestamp = ABORTED, ZERO
    else:
        assert request.timestamp is not None, "a commit without a timestamp passed the validation"
        commit_timestamp = request.timestamp
        assert record.status == PENDING or commit_timestamp >= record.commit_timestamp, (
            f"a commit at {commit_timestamp}, staged at {record.commit_timestamp}"
        )
        if commit_timestamp < record.floor:
            if not operation.may_forward:
                return refuse(request, TransactionPushed(record.floor))
            commit_timestamp = record.floor
        ended = TransactionRecord(transaction, COMMITTED, commit_timestamp, record.floor, record.keys)
        status = COMMITTED
    mutations: list[Mutation] = [PutRecord(ended)]
    for key in operation.local_keys:
        _resolve(key, state, transaction.id, status, commit_timestamp, mutations)
    leadership.liveness.forget(transaction.id)
    return decide(request, _state_of(ended), term, max(now, commit_timestamp), mutations)


def _evaluate_push(
    request: RangeRequest,
    operation: PushTransaction,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    monotonic_ns: int,
    term: int,
) -> Evaluation:
    pushee, pusher = operation.pushee, operation.pusher
    record = state.records.get(pushee.id)
    if record is not None and record.status == STAGING:
        # Nobody may pass it: it may be committed, and acknowledged. Who can't wait finds out.
        due = leadership.liveness.is_expired(pushee.id, monotonic_ns) or (
            pusher is not None and pusher.is_older_than(pushee)
        )
        return answer(request, _indeterminate(record) if due else _state_of(record))
    if record is not None and record.status != PENDING:
        return answer(request, _state_of(record))
    markers = leadership.markers
    if record is None and markers.why_refused(pushee) is not None:
        # Its record will never be created (again): it is aborted for good, or was finished and forgotten, and then no
        # intent of it is left in any range. PENDING would let a reader pass what was committed.
        return answer(request, RecordState(ABORTED), confirm=True)
    expired = leadership.liveness.is_expired(pushee.id, monotonic_ns)
    wounded = operation.kind == PushKind.ABORT and pusher is not None and pusher.is_older_than(pushee)
    if expired or wounded:
        leadership.liveness.forget(pushee.id)
        if record is None:
            markers.abort(pushee.id, now)
            return answer(request, RecordState(ABORTED), confirm=True)
        aborted = TransactionRecord(record.transaction, ABORTED, ZERO, record.floor, record.keys)
        return decide(request, _state_of(aborted), term, now, [PutRecord(aborted)])
    if operation.kind == PushKind.ABORT:
        return answer(request, _state_of(record) if record is not None else RecordState(PENDING))
    floor = operation.above.next()
    if record is None:
        return answer(request, RecordState(PENDING, ZERO, markers.push(pushee.id, floor, now)), confirm=True)
    if record.floor >= floor:
        return answer(request, _state_of(record), confirm=True)
    passed = TransactionRecord(record.transaction, PENDING, ZERO, floor, record.keys)
    return decide(request, _state_of(passed), term, max(now, floor), [PutRecord(passed)])


def _evaluate_recover(
    request: RangeRequest,
    operation: RecoverTransaction,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    term: int,
) -> Evaluation:
    """Whoever asks has looked for all its intents; what that found is true for as long as it is STAGING there."""
    record = state.records.get(operation.transaction.id)
    if record is None:
        # Decided, made final and forgotten: no intent of it is left, and nobody knows what it was.
        return answer(request, RecordState(MISSING), confirm=True)
    if record.status != STAGING or record.commit_timestamp != operation.staged_at:
        return answer(request, _state_of(record))
    status, at = (COMMITTED, record.commit_timestamp) if operation.committed else (ABORTED, ZERO)
    ended = TransactionRecord(record.transaction, status, at, record.floor, record.keys)
    leadership.liveness.forget(operation.transaction.id)
    return decide(request, _state_of(ended), term, max(now, at), [PutRecord(ended)])


def _evaluate_commit_at_once(
    request: RangeRequest,
    operation: CommitAtOnce,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    term: int,
) -> Evaluation:
    """Versions instead of intents. That it has happened is remembered by this leader only, and from the moment at which
    it has (`note_applied`): a later one refuses what began before it led, and then nobody knows."""
    transaction, asked_at = request.transaction, request.timestamp
    assert transaction is not None, "a commit at once without a transaction passed the validation"
    assert asked_at is not None, "a commit at once without a timestamp passed the validation"
    timestamp = asked_at
    markers = leadership.markers
    at_once = markers.committed_at(transaction.id)
    if at_once is not None:
        return answer(request, RecordState(COMMITTED, at_once), confirm=True)
    refusal = markers.why_refused(transaction)
    if refusal is None and transaction.id in state.records:
        refusal = "it was begun in another way"
    if refusal is not None:
        if operation.asked_before and not markers.is_certainly_aborted(transaction.id):
            return refuse(request, Ambiguous(f"an earlier request may have committed: {refusal}"))
        return refuse(request, TransactionAborted(refusal), confirm=True)
    conflicts: list[Conflict] = []
    for key in operation.keys:
        intent = state.locks.get(key)
        if intent is not None:
            conflicts.append(Conflict(key, intent.transaction, intent.timestamp))
            continue
        if timestamp <= state.threshold:
            timestamp = state.threshold.next()
        newest = state.mvcc.newest(key)
        if newest is not None and newest.timestamp >= timestamp:
            timestamp = newest.timestamp.next()
        timestamp = leadership.reads.write_timestamp(key, timestamp, transaction.id)
    if conflicts:
        return _conflict(request, conflicts, PushKind.ABORT, timestamp)
    if timestamp > asked_at and not operation.may_forward:
        return refuse(request, TransactionPushed(timestamp))
    mutations: list[Mutation] = [
        PutVersion(key, timestamp, value, transaction.id) for key, value in operation.writes
    ]
    return decide(request, RecordState(COMMITTED, timestamp), term, max(now, timestamp), mutations)


def note_applied(request: RangeRequest, reply: RangeReply, at: Timestamp, leadership: Leadership) -> None:
    """A command of this leader had its effect, and those who come next may hear of it. Not before: what was evaluated
    may be dropped yet, because leadership is about to be handed over or because the range has changed."""
    if isinstance(request.operations[0], CommitAtOnce):
        transaction, state = request.transaction, reply.results[0]
        assert transaction is not None, "a commit at once without a transaction passed the validation"
        assert isinstance(state, RecordState), f"a commit at once was answered by {state}"
        leadership.markers.commit(transaction.id, state.commit_timestamp, at)


def _evaluate_resolve(request: RangeRequest, state: RangeState, now: Timestamp, term: int) -> Evaluation:
    mutations: list[Mutation] = []
    results: list[Result] = []
    highest = now
    named: set[tuple[bytes, bytes]] = set()
    for operation in request.operations:
        assert isinstance(operation, ResolveIntents), f"{operation} beside resolutions"
        count = 0
        for key in operation.keys:
            if (operation.transaction_id, key) in named:
                # The state is that before the command: an intent that is named twice would be made final twice.
                continue
            named.add((operation.transaction_id, key))
            count += _resolve(
                key, state, operation.transaction_id, operation.status, operation.commit_timestamp, mutations
            )
        if operation.status == COMMITTED and operation.commit_timestamp > highest:
            highest = operation.commit_timestamp
        results.append(Resolved(count))
    reply = RangeReply(request.request_id, tuple(results), highest)
    if not mutations:
        # "Nothing to do" lets the record be deleted: only a leader may say so.
        return Evaluation(reply, confirm=True)
    return Evaluation(reply, Command(term, highest, tuple(mutations), request.generation))


def _resolve(
    key: bytes,
    state: RangeState,
    transaction_id: bytes,
    status: TransactionStatus,
    commit_timestamp: Timestamp,
    mutations: list[Mutation],
) -> int:
    intent = state.locks.get(key)
    if intent is None or intent.transaction.id != transaction_id:
        return 0
    if status == COMMITTED and commit_timestamp >= intent.timestamp:
        # All that it was told about are at or below the commit. One above is a late duplicate of a request whose
        # intent has been resolved already: it came after its own committed version.
        mutations.append(PutVersion(key, commit_timestamp, intent.value, transaction_id))
    mutations.append(RemoveIntent(key))
    return 1


def _evaluate_delete_records(
    request: RangeRequest, state: RangeState, leadership: Leadership, now: Timestamp, term: int
) -> Evaluation:
    """All of them are forgotten, or none."""
    mutations: list[Mutation] = []
    for operation in request.operations:
        assert isinstance(operation, DeleteRecord), f"{operation} beside deletions of records"
        transaction = operation.transaction
        record = state.records.get(transaction.id)
        if record is None:
            continue
        if record.status in (PENDING, STAGING):
            refusal = BadRequest(f"transaction {transaction.id.hex()} is {record.status.name}; end it first")
            return refuse(request, refusal, confirm=True)
        mutations.append(RemoveRecord(transaction.anchor, transaction.id))
    for operation in request.operations:
        assert isinstance(operation, DeleteRecord)
        # A late duplicate of its creation must not bring it back to life.
        record = state.records.get(operation.transaction.id)
        if record is not None and record.status == ABORTED:
            leadership.markers.abort(operation.transaction.id, now)
        else:
            leadership.markers.forget(operation.transaction.id, now)
        leadership.liveness.forget(operation.transaction.id)
    gone = (RecordState(MISSING),) * len(request.operations)
    if not mutations:
        return Evaluation(RangeReply(request.request_id, gone), confirm=True)
    command = Command(term, now, tuple(mutations), request.generation)
    return Evaluation(RangeReply(request.request_id, gone, now), command)


# Replies.


def _state_of(record: TransactionRecord | None) -> RecordState:
    if record is None:
        return RecordState(MISSING)
    return RecordState(record.status, record.commit_timestamp, record.floor)


def _indeterminate(record: TransactionRecord) -> RecordState:
    """To who should find out what became of a STAGING transaction."""
    return RecordState(STAGING, record.commit_timestamp, record.floor, record.keys)


def _conflict(
    request: RangeRequest, conflicts: list[Conflict], kind: PushKind, above: Timestamp
) -> Evaluation:
    return refuse(request, IntentConflict(tuple(conflicts), kind, above))


_NEVER_WRITTEN = ValueResult(None)
_REFRESHED = Refreshed()
