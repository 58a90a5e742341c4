"""What may be asked of the database: requests of clients and of ranges, replies, and errors that say what they mean.

Two vocabularies live here. Clients speak to a node: `Get`, `Put`, `CommitTransaction`, ... . A gateway speaks to a
range's leader: `RangeRequest`, a few operations that are evaluated together under one set of latches. Keys and values
are bytes; spans are half-open, and an `end` of None is the end of the keyspace.

Every error says by `definite` whether the request certainly had no effect. Everything is a frozen struct that encodes
as an array led by a number, so field order and tags are the wire format: append, never reorder.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar

import msgspec

from .timestamp import ZERO, Timestamp

Key = bytes
Value = bytes

SYSTEM_END = b"\x01"
"""Keys before this one are the system's own: clients can neither read nor write them, and no scan shows them."""


class Consistency(IntEnum):
    """What a read outside of transactions promises, chosen request by request; the weaker ones cost less."""

    LINEARIZABLE = 0
    """It sees every write that ended before it began. The leader asks a quorum first; no clock is trusted."""
    LEASE = 1
    """The same, without asking, while the leader's lease holds: rests on monotonic clocks that run about alike."""
    BOUNDED = 2
    """From any replica: it misses nothing that had ended longer before it began than the request allows."""
    STALE = 3
    """From any replica, what it has applied: something that was true once."""


class TransactionProtocol(IntEnum):
    """How a transaction's writes in many ranges become one commit (`gateway/protocols/`)."""

    RECORD = 0
    """A replicated record decides; as CockroachDB."""
    PRIMARY_LOCK = 1
    """The lock on one of the keys decides; as TiKV, after Percolator."""
    TWO_PHASE = 2
    """The coordinator's memory decides; as in textbooks, to show what is wrong with it."""


class Isolation(IntEnum):
    """What a transaction's own eyes may miss of others."""

    SERIALIZABLE = 0
    SNAPSHOT = 1
    """Reads hold at one timestamp, and nobody else writes what it writes meanwhile; write skew may happen."""


MAX_WRITE_BYTES = 8 << 20
"""Most bytes of the keys and values of one write, and of all writes of one transaction together. A log entry, and every
message about it, then fits a frame (`codec.MAX_FRAME_BYTES`) with room to spare: one that doesn't would be committed
nowhere, and stop its range for ever."""


# Transactions, as everybody names them.


class TransactionStatus(IntEnum):
    """The fate of a transaction. `MISSING` is an answer, never a stored state: no record with this id exists."""

    PENDING = 0
    COMMITTED = 1
    ABORTED = 2
    MISSING = 3
    STAGING = 4
    """Committed if all its intents stand, at or below the record's timestamp; else not yet, or never."""


class Transaction(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who holds an intent, and where its fate is written. The same in all its requests and intents."""

    id: bytes
    """Sixteen random bytes; a retry of the transaction takes new ones."""
    anchor: Key
    """The key whose range keeps the transaction's record: the first key it writes."""
    priority: Timestamp
    """When the first attempt began: the older wins a conflict. Retries keep it, so each becomes the oldest some day."""
    began: Timestamp
    """When this attempt began. A record is never created after a change of leaders that came later than this."""
    protocol: TransactionProtocol = TransactionProtocol.RECORD
    """Whom to ask for its fate, and how."""

    def is_older_than(self, other: Transaction) -> bool:
        """Wound-wait order (Rosenkrantz, Stearns, Lewis 1978): total, because ids differ."""
        return (self.priority, self.id) < (other.priority, other.id)


# Operations of a range. One request holds reads only or writes only.


class Get(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The value of a key. Result: `ValueResult`."""

    key: Key


class Scan(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The live keys of `[start, end)` in order, at most `limit` (0: all). Result: `ScanResult`."""

    start: Key
    end: Key | None
    limit: int = 0
    reverse: bool = False


class Refresh(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Are a transaction's reads of `[start, end)` at `since` still true at the request's timestamp? For a single key,
    `end` is the key followed by a zero byte. Result: `Refreshed`, or error `RefreshFailed`."""

    start: Key
    end: Key | None
    since: Timestamp


class Put(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Write a key outside of any transaction. Result: `Written`."""

    key: Key
    value: Value


class Delete(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Delete a key outside of any transaction; a missing one is no error. Result: `Written`."""

    key: Key


class CompareAndSet(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Write `new` if the key's value is `expected`; None means that the key is absent. Result: `Compared`."""

    key: Key
    expected: Value | None
    new: Value | None


class WriteIntent(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """Lock a key for the request's transaction and leave its provisional value (None deletes). Result: `Written`."""

    key: Key
    value: Value | None
    sequence: int = 0
    """Counts the transaction's writes to the key: only a larger one replaces an intent, so duplicates do nothing."""
    commits: bool = False
    """Protocol primary-lock: with all the other locks of its transaction this one commits it, at the largest timestamp
    that any of them is answered with."""


class CreateRecord(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Create the transaction's PENDING record, in the anchor's range. Result: `RecordState`, or error
    `TransactionAborted` when somebody was told that it never will exist."""

    keys: tuple[Key, ...]
    """All keys that the transaction writes, in all ranges: for whoever must finish it."""
    stage: bool = False
    """Create it as STAGING at the request's timestamp, if all that is written here lands there; else as PENDING."""


class HeartbeatRecord(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """The coordinator lives. Remembered by the leader only, never replicated. Result: `RecordState`."""


class EndTransaction(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """Decide the transaction: commit at the request's timestamp, or abort. Result: `RecordState`; for a commit, errors
    `TransactionAborted` and `TransactionPushed`; and `Ambiguous` if the record is gone and we have asked before."""

    commit: bool
    may_forward: bool = False
    """The transaction has read nothing, so a push needs no refresh: commit at the pushed timestamp at once."""
    asked_before: bool = False
    """An earlier request with `commit` may have been carried out: a missing record says nothing about it then."""
    local_keys: tuple[Key, ...] = ()
    """Intents in the anchor's own range, made final in the same command as the decision."""


class PushKind(IntEnum):
    """What the pusher needs of the transaction in its way."""

    TIMESTAMP = 0
    """A reader: commit above my timestamp, or be done."""
    ABORT = 1
    """A writer: be done, or die if I am older (or you are dead)."""


class PushTransaction(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """May I pass you? Asked at the anchor of `pushee`. Result: `RecordState`; PENDING after `ABORT` means wait and ask
    again, PENDING after `TIMESTAMP` means that `floor` is above `above`."""

    pushee: Transaction
    kind: PushKind
    pusher: Transaction | None = None
    """None for a request outside of transactions: the youngest of all."""
    above: Timestamp = ZERO


class ResolveIntents(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """Make the intents of a decided transaction final or gone; keys without its intent are passed over.
    Result: `Resolved`. Once it is answered for all keys of all ranges, the record may be deleted."""

    transaction_id: bytes
    keys: tuple[Key, ...]
    status: TransactionStatus
    commit_timestamp: Timestamp = ZERO


class DeleteRecord(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """Forget a decided transaction, all of whose intents are resolved. Result: `RecordState` (MISSING). A request may
    hold many of these, which are all carried out or none."""

    transaction: Transaction


class SplitRange(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """Cut the range in two before a key of it. `right_id` becomes the id of the new range, which takes what is from the
    key on; no range may ever have had it. Result: `Reshaped`, also where a range begins at the key already."""

    key: Key
    right_id: int


class FreezeRange(msgspec.Struct, frozen=True, array_like=True, tag=15, gc=False):
    """First step of a merge, to the range that begins at `key`: serve nothing any more. Result: `Reshaped`."""

    key: Key
    left_id: int
    left_generation: int
    left_start: Key


class ThawRange(msgspec.Struct, frozen=True, array_like=True, tag=16, gc=False):
    """Serve again. Only after the left range said by `BumpRange` that it has not absorbed this one. Result:
    `Reshaped`."""

    key: Key
    range_id: int
    frozen_generation: int


class AbsorbRange(msgspec.Struct, frozen=True, array_like=True, tag=17, gc=False):
    """Last step of a merge, to the left range: take over the frozen range with this descriptor, all of whose replicas
    have said that they are frozen. Result: `Reshaped`, also where it was done before."""

    key: Key
    right: bytes


class BumpRange(msgspec.Struct, frozen=True, array_like=True, tag=18, gc=False):
    """To the range that holds `key`, the start of a left range: never absorb anything as of this generation any more.
    Result: `Reshaped`; its `absorbed` says whether that had happened."""

    key: Key
    left_id: int
    left_generation: int


class AwaitFrozen(msgspec.Struct, frozen=True, array_like=True, tag=19, gc=False):
    """To one node, leader or not: tell when its replica is frozen in this generation, and durably so. Result:
    `Reshaped`."""

    key: Key
    generation: int


ORACLE_KEY = b"\x00oracle"
"""The system's key under which the first range keeps the window of the timestamp oracle."""


class TakeTimestamps(msgspec.Struct, frozen=True, array_like=True, tag=60, gc=False):
    """Issue so many timestamps, above all that were issued before. Result: `TimestampsTaken`."""

    count: int = 1
    key: Key = ORACLE_KEY


class QueryIntent(msgspec.Struct, frozen=True, array_like=True, tag=40, gc=False):
    """Has a transaction an intent on a key, at or below the request's timestamp? If not, it will never have: the key
    counts as read there, by others. Result: `IntentState`."""

    key: Key
    transaction_id: bytes


class CheckLock(msgspec.Struct, frozen=True, array_like=True, tag=171, gc=False):
    """Does this transaction's lock stand on the key? If it does not, this leader, and every later one, refuses to lay
    it (protocol primary-lock). Result: `LockState`."""

    key: Key
    transaction: Transaction


class RecoverTransaction(msgspec.Struct, frozen=True, array_like=True, tag=41, gc=False):
    """Decide a STAGING transaction in place of its coordinator: whoever asks has found all its intents (`QueryIntent`
    at `staged_at`), or made sure that one of them will never be. Result: `RecordState`, whatever it is by now."""

    transaction: Transaction
    staged_at: Timestamp
    committed: bool


class CommitAtOnce(msgspec.Struct, frozen=True, array_like=True, tag=42, gc=False):
    """A whole transaction, all of whose keys are in the anchor's range: its versions in one log entry, without intents
    or a record. Result: `RecordState` (COMMITTED); errors `IntentConflict`, `TransactionPushed` (nothing was written:
    it would have to be later) and, as for `EndTransaction`, `TransactionAborted` and `Ambiguous`."""

    writes: tuple[tuple[Key, Value | None], ...]
    may_forward: bool = False
    """As for `EndTransaction`."""
    asked_before: bool = False

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys that it writes."""
        return tuple([key for key, _ in self.writes])


class MoveReplica(msgspec.Struct, frozen=True, array_like=True, tag=30, gc=False):
    """One step of a move, see `ranges.moving`; `step` is a `MoveStep`. `key` is in the range. `TimedOut` says that it
    cannot be taken yet, and why. Result: `Reshaped`, also where it was taken before."""

    key: Key
    range_id: int
    generation: int
    """`ADD_LEARNER`: of the range for which the target said that it has no old replica. Else not used."""
    step: int
    target: str
    source: str


class TransferRange(msgspec.Struct, frozen=True, array_like=True, tag=31, gc=False):
    """Let this node lead the range that holds `key`. `TimedOut` says that it is being handed over. Result: `Reshaped`
    once it leads."""

    key: Key
    range_id: int
    target: str


class RetireReplica(msgspec.Struct, frozen=True, array_like=True, tag=32, gc=False):
    """To one node: by this descriptor (encoded) it has no replica of the range. It removes what it has, and lets
    nothing older bring it back. Result: `Reshaped`, once that is durable."""

    key: Key
    descriptor: bytes


class ReportPlacement(msgspec.Struct, frozen=True, array_like=True, tag=50, gc=False):
    """To one node, from the placement leader: this is the state of placement (encoded, `placement.state`); say which
    ranges you lead (`placement.reports`). Result: `PlacementReported`."""

    state: bytes
    key: Key = b""


class Add(msgspec.Struct, frozen=True, array_like=True, tag=160, gc=False):
    """Add to a whole number, outside of any transaction; a key without a value is 0. Result: `Added`, or error
    `BadRequest` where the value is no whole number, or would have more than 63 bits."""

    key: Key
    amount: int


class CollectVersions(msgspec.Struct, frozen=True, array_like=True, tag=170, gc=False):
    """Raise the range's threshold, below which nobody reads any more, and drop what only such readers could see of the
    keys from `key` on (`txn/collecting.py`). Result: `Collected`."""

    key: Key
    threshold: Timestamp
    most: int
    """Versions that one request drops; it looks at a few times as many."""


ReadOperation = Get | Scan | Refresh | QueryIntent
READ_OPERATIONS = (Get, Scan, Refresh, QueryIntent)
"""For `isinstance`: much faster than the union."""
WriteOperation = (
    Put
    | Delete
    | CompareAndSet
    | WriteIntent
    | CreateRecord
    | HeartbeatRecord
    | EndTransaction
    | PushTransaction
    | ResolveIntents
    | DeleteRecord
    | SplitRange
    | FreezeRange
    | ThawRange
    | AbsorbRange
    | BumpRange
    | AwaitFrozen
    | TakeTimestamps
    | RecoverTransaction
    | CommitAtOnce
    | MoveReplica
    | TransferRange
    | RetireReplica
    | ReportPlacement
    | Add
    | CollectVersions
    | CheckLock
)
CHANGES = (SplitRange, FreezeRange, ThawRange, AbsorbRange, BumpRange, MoveReplica, TransferRange)
"""Operations that change the range itself; each is alone in its request."""
RangeOperation = ReadOperation | WriteOperation


class Pushed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A promise got from an anchor: this transaction commits at `floor` or later, or never."""

    transaction_id: bytes
    floor: Timestamp


class SessionWrite(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Which write of which session a request is: it is carried out once, however often it is sent."""

    session: bytes
    """Sixteen bytes, given by a node."""
    sequence: int
    """Grows with each write of the session. Of two writes to one key the later may only be sent when nobody waits for
    the earlier any more."""
    since: Timestamp
    """When the session was opened. Replies that are forgotten, and later than that, make it too old."""
    is_retry: bool = False
    """It may have been carried out already."""


class RangeRequest(msgspec.Struct, frozen=True, array_like=True, tag=20, gc=False):
    """Operations for one range, evaluated together by its leader."""

    request_id: int
    """Chosen by the sending node; unique there."""
    range_id: int
    generation: int
    """The descriptor's generation that the sender routed by."""
    operations: tuple[RangeOperation, ...]
    timestamp: Timestamp | None = None
    """Reads: where to read; None lets the leader take its clock. Intents, `EndTransaction`: the provisional or commit
    timestamp. Other writes don't use it."""
    transaction: Transaction | None = None
    pushed: tuple[Pushed, ...] = ()
    """What pushes on behalf of this very request have yielded so far."""
    may_forward: bool = False
    """A transaction's first read: the leader may answer at a later timestamp instead of `ReadUncertain`."""
    asked_at: Timestamp | None = None
    """With `pushed`: the sender's clock when it sent this, above all that it had heard of until then."""
    consistency: Consistency = Consistency.LINEARIZABLE
    """Reads outside of transactions: what they must promise. A replica that cannot keep it here and now refuses, and
    the sender goes to the leader, which keeps every promise."""
    max_staleness_ms: int = 0
    """With `BOUNDED`: the bound."""
    write: SessionWrite | None = None
    """A single write that belongs to a session. `timestamp` is the session's `since` then."""

    @property
    def is_read(self) -> bool:
        """Does it only read? Then it needs a confirmed leader and no log entry."""
        return isinstance(self.operations[0], READ_OPERATIONS)


def spans_of(request: RangeRequest) -> list[tuple[Key, Key | None]]:
    """The keys that decide which range a request is for, as spans."""
    spans: list[tuple[Key, Key | None]] = []
    for operation in request.operations:
        keys: tuple[Key, ...]
        match operation:
            case Scan(start=start, end=end) | Refresh(start=start, end=end):
                spans.append((start, end))
                continue
            case ResolveIntents():
                keys = operation.keys
            case (
                PushTransaction(pushee=transaction)
                | DeleteRecord(transaction=transaction)
                | RecoverTransaction(transaction=transaction)
            ):
                keys = (transaction.anchor,)
            case CommitAtOnce():
                keys = operation.keys
            case CreateRecord() | HeartbeatRecord() | EndTransaction():
                keys = () if request.transaction is None else (request.transaction.anchor,)
                if isinstance(operation, EndTransaction):
                    keys += operation.local_keys
            case _:
                keys = (operation.key,)
        spans += [(key, key + b"\x00") for key in keys]
    return spans


# Results, one for each operation.


class ValueResult(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    value: Value | None
    timestamp: Timestamp = ZERO
    """Of the version read; zero if the key was never written."""


class ScanResult(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    pairs: tuple[tuple[Key, Value], ...]
    resume: Key | None = None
    """Where the next scan continues (forward: its start; reverse: its end); None if the span is exhausted."""


class Refreshed(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    pass


class Written(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    timestamp: Timestamp


class Compared(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    applied: bool
    current: Value | None
    """The value found, whether or not it was replaced."""
    timestamp: Timestamp = ZERO


class RecordState(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    status: TransactionStatus
    commit_timestamp: Timestamp = ZERO
    """Valid if COMMITTED, or STAGING."""
    floor: Timestamp = ZERO
    """Valid if PENDING: it commits at this timestamp or later, or never."""
    keys: tuple[Key, ...] = ()
    """If STAGING: all that it writes, told to those who should find out what became of it; others wait."""


class Resolved(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    count: int
    """How many intents were there."""


class Reshaped(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    descriptors: tuple[bytes, ...]
    """Encoded: of the ranges that came of it, in key order."""


class Added(msgspec.Struct, frozen=True, array_like=True, tag=160, gc=False):
    value: int
    """After the addition."""
    timestamp: Timestamp = ZERO


class PlacementReported(msgspec.Struct, frozen=True, array_like=True, tag=50, gc=False):
    report: bytes
    """Encoded, see `placement.reports`."""


class TimestampsTaken(msgspec.Struct, frozen=True, array_like=True, tag=60, gc=False):
    first: Timestamp
    count: int
    """The others follow on it one by one, by their logical part."""


class IntentState(msgspec.Struct, frozen=True, array_like=True, tag=40, gc=False):
    found: bool


class Collected(msgspec.Struct, frozen=True, array_like=True, tag=170, gc=False):
    """Of `CollectVersions`."""

    threshold: Timestamp
    """Up to where it was looked: lower than what was asked for where an intent stands."""
    dropped: int
    resume: Key | None
    """Where to go on; None: all keys of the range were looked at."""


class LockState(msgspec.Struct, frozen=True, array_like=True, tag=171, gc=False):
    """Of `CheckLock`."""

    found: bool
    commit_from: Timestamp = ZERO
    """The lock's."""


Result = (
    ValueResult
    | ScanResult
    | Refreshed
    | Written
    | Compared
    | RecordState
    | Resolved
    | Reshaped
    | TimestampsTaken
    | IntentState
    | PlacementReported
    | Added
    | Collected
    | LockState
)


# Errors.


class NotLeader(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """This replica doesn't lead the range; nothing was proposed."""

    definite: ClassVar[bool] = True
    range_id: int
    leader: str | None = None
    """Who does, as far as is known here."""


class RangeMismatch(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The sender's descriptor is not the range's: it lacks the range, or the generation or the span differ."""

    definite: ClassVar[bool] = True
    range_id: int
    descriptor: bytes = b""
    """The encoded current descriptor, if this node has one."""
    others: tuple[bytes, ...] = ()
    """Encoded descriptors of the ranges that hold the request's keys now, as far as this node knows."""


class Conflict(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An intent in the way."""

    key: Key
    transaction: Transaction
    timestamp: Timestamp


class IntentConflict(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Push these transactions, resolve those that are decided, then send the request again."""

    definite: ClassVar[bool] = True
    conflicts: tuple[Conflict, ...]
    kind: PushKind
    above: Timestamp = ZERO
    """For `PushKind.TIMESTAMP`: push above this."""


class ReadUncertain(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """A version newer than the read's timestamp may have been acknowledged before the read began."""

    definite: ClassVar[bool] = True
    newest: Timestamp
    """Read (and refresh what was read before) at this timestamp or later."""


class RefreshFailed(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Something that the transaction has read has changed since: it must start again."""

    definite: ClassVar[bool] = True
    key: Key


class TransactionAborted(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """The transaction has not committed and never will."""

    definite: ClassVar[bool] = True
    reason: str


class TransactionPushed(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """A reader has passed: refresh to `floor` and end the transaction there."""

    definite: ClassVar[bool] = True
    floor: Timestamp


class Ambiguous(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """It may have happened, or may still happen."""

    definite: ClassVar[bool] = False
    reason: str


class Overloaded(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """Refused before anything was done."""

    definite: ClassVar[bool] = True
    reason: str


class TimedOut(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """The deadline passed before anything was proposed. (After that it is `Ambiguous`.)"""

    definite: ClassVar[bool] = True
    reason: str


class BadRequest(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """The request breaks a rule; sending it again is no use."""

    definite: ClassVar[bool] = True
    reason: str


class TransactionRetry(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """To the client: the transaction has not committed; the same work as a new transaction may well."""

    definite: ClassVar[bool] = True
    reason: str
    priority: Timestamp = ZERO
    """Hand it to the next attempt, so that it grows older."""


class Unavailable(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """Nobody could be reached who may answer; nothing was proposed."""

    definite: ClassVar[bool] = True
    reason: str


class TransactionCancelled(msgspec.Struct, frozen=True, array_like=True, tag=40, gc=False):
    """To the client: a `ClientTransactWrite` had no effect, for these reasons, one an item: `none`, `condition-failed`
    or `validation` (an update of what is neither number nor list)."""

    definite: ClassVar[bool] = True
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        """In words."""
        told = [f"item {place}: {why}" for place, why in enumerate(self.reasons) if why != "none"]
        return "; ".join(told)


class WriteConflict(msgspec.Struct, frozen=True, array_like=True, tag=60, gc=False):
    """Somebody else has committed a write of this key since the transaction began: it must start again."""

    definite: ClassVar[bool] = True
    key: Key
    newest: Timestamp


class SessionExpired(msgspec.Struct, frozen=True, array_like=True, tag=160, gc=False):
    """So many other writes came after this session was opened that a reply to it may have been forgotten. A write that
    was never sent before has not happened: open another session for it."""

    definite: ClassVar[bool] = True
    reason: str


class SnapshotTooOld(msgspec.Struct, frozen=True, array_like=True, tag=170, gc=False):
    """What was to be read lies below the range's threshold: versions that it would have to see may be gone. Read again
    at a later timestamp; a transaction starts again."""

    definite: ClassVar[bool] = True
    threshold: Timestamp


RangeError = (
    NotLeader
    | RangeMismatch
    | IntentConflict
    | ReadUncertain
    | RefreshFailed
    | TransactionAborted
    | TransactionPushed
    | Ambiguous
    | Overloaded
    | TimedOut
    | BadRequest
    | Unavailable
    | WriteConflict
    | SessionExpired
    | SnapshotTooOld
)
ClientError = (
    TransactionAborted
    | TransactionRetry
    | Ambiguous
    | Overloaded
    | TimedOut
    | BadRequest
    | Unavailable
    | NotLeader
    | TransactionCancelled
    | SessionExpired
)


class RangeReply(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """One result per operation, or one error for all of them."""

    request_id: int
    results: tuple[Result, ...] = ()
    timestamp: Timestamp = ZERO
    """Reads: where they were evaluated. Writes: the largest timestamp written."""
    error: RangeError | None = None


# What clients say. Tags of their own: these frames cross another port.


class ClientGet(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Reply: value or None. With `transaction`, inside of it; a consistency is chosen outside of transactions only."""

    key: Key
    transaction: int = 0
    consistency: Consistency | None = None
    """None: as the node is set to (`NodeOptions.reads`)."""
    max_staleness_ms: int = 0
    """With `BOUNDED`: the bound; 0: as the node is set to."""


class ClientPut(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    key: Key
    value: Value
    transaction: int = 0


class ClientDelete(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    key: Key
    transaction: int = 0


class ClientCompareAndSet(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Reply: [applied, value found]. Never inside a transaction: read and put instead."""

    key: Key
    expected: Value | None
    new: Value | None


class ClientScan(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Reply: [[key, value], ...] in order, over all ranges, at one timestamp."""

    start: Key
    end: Key | None
    limit: int = 0
    reverse: bool = False
    transaction: int = 0
    consistency: Consistency | None = None
    """As in `ClientGet`."""
    max_staleness_ms: int = 0


class BeginTransaction(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """The id of this request names the transaction on this connection, so a client need not wait for the reply (which
    repeats it) before it goes on."""

    priority: Timestamp = ZERO
    """From `TransactionRetry`, if this is a retry."""
    protocol: TransactionProtocol | None = None
    """None: as the node is set to (`NodeOptions.protocol`)."""
    isolation: Isolation | None = None
    """None: as the node is set to (`NodeOptions.isolation`)."""


class CommitTransaction(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    transaction: int
    writes: int | None = None
    """How many puts and deletes the client has sent in it, whose replies it has not waited for: it must not commit if
    one of them was refused. None: the client has looked."""
    token: bytes = b""
    """As in `ClientTransactWrite`, for a transaction that its client may run again: reply True if an earlier one with
    this token has committed, and this one therefore did nothing; else None."""
    is_timed: bool = False
    """Reply where this one has committed, as `[wall_ns, logical]`: the timestamp of all versions that it wrote."""


class RollbackTransaction(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    transaction: int


class Status(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """Reply: a map; see the server."""

    ranges: bool = True
    """With each of the node's ranges. Without them it costs little, however many there are."""


class ClientGetMany(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """Reply: the values of these keys in their order, None for one that does not exist; all at one timestamp."""

    keys: tuple[Key, ...]
    transaction: int = 0
    consistency: Consistency | None = None
    """As in `ClientGet`."""
    max_staleness_ms: int = 0


class ReplicaStates(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """Reply: what the node's replicas hold, a `ReplicaState` each, in order of range ids."""

    digests: bool = False
    """With digests, for which the node reads all its data."""


class ClientSplit(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """Cut the range of a key in two before that key. Reply: [[id, start, end, generation], ...] of the ranges that came
    of it, in key order; of one range if one begins there already."""

    key: Key


class ClientMerge(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """Merge the range of a key with its right neighbour. Reply: [[id, start, end, generation]] of what came of it."""

    key: Key


class ItemAction(IntEnum):
    """What a `TransactItem` does to its key."""

    CHECK = 0
    """Nothing: only its condition counts."""
    PUT = 1
    UPDATE = 2
    """Adds to what is there: a number to a number, the elements of a list to a list; what is missing counts as the
    neutral one."""
    DELETE = 3


class ItemCondition(IntEnum):
    """What must hold of an item's key before the write."""

    NONE = 0
    EXISTS = 1
    NOT_EXISTS = 2
    EQUALS = 3
    """Its value is `expected`."""
    VERSION = 4
    """Its newest version was written at `version` (`ClientGetVersion`), zero for a key that was never written."""


class TransactItem(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One item of a `ClientTransactWrite`."""

    key: Key
    action: ItemAction
    value: Value | None = None
    """PUT: the new value. UPDATE: what is added, an encoded number or list."""
    condition: ItemCondition = ItemCondition.NONE
    expected: Value | None = None
    version: Timestamp = ZERO


TRANSACT_ITEMS_MOST = 100
"""Items of one `ClientTransactWrite`."""
TOKEN_BYTES_MOST = 64


class ClientTransactWrite(msgspec.Struct, frozen=True, array_like=True, tag=40, gc=False):
    """All items or none, in one transaction, as DynamoDB's TransactWriteItems. Reply: [write units, replayed]; where an
    item keeps it from happening, error `TransactionCancelled`. Each key at most once."""

    items: tuple[TransactItem, ...]
    token: bytes = b""
    """Names the request: for `NodeOptions.token_ms` after it succeeded, the same items with the same token succeed
    without any effect, and other items with it are a `BadRequest`. Empty: none."""


class ClientGetVersion(msgspec.Struct, frozen=True, array_like=True, tag=41, gc=False):
    """Reply: [value or None, wall time in ns, logical part]: the newest version of a key, linearizable, and when it was
    written; zeros if the key was never written."""

    key: Key


class ClientForsake(msgspec.Struct, frozen=True, array_like=True, tag=42, gc=False):
    """Let the next `count` coordinators of this node that reach a step die there (`gateway/fault_points.py`); 0: none
    any more. Reply: a map, how many have died at each step. Refused unless the node's options allow it."""

    step: str
    count: int


class ClientMove(msgspec.Struct, frozen=True, array_like=True, tag=30, gc=False):
    """Move a range's replica from one node to another. Reply: [id, start, end, generation, replicas] of the range as it
    is then."""

    range_id: int
    source: str
    target: str


class ClientTransfer(msgspec.Struct, frozen=True, array_like=True, tag=31, gc=False):
    """Let this node lead the range. Reply: as of `ClientMove`."""

    range_id: int
    target: str


class ClientPlacement(msgspec.Struct, frozen=True, array_like=True, tag=50, gc=False):
    """Ask about placement (`show`), or change its state: `join`, `decommission` or `recommission` a node, `prefer`
    zones for leaders. Reply: the state, encoded (`placement.state`). Refused where placement is off."""

    action: str
    node: str = ""
    zones: tuple[str, ...] = ()
    """`join`: the node's zone, if it has one; `prefer`: those where leaders should be."""
    address: tuple[str, int] | None = None
    """`join`: where other nodes dial it."""


class ClientAdd(msgspec.Struct, frozen=True, array_like=True, tag=160, gc=False):
    """Reply: the whole number that there is now."""

    key: Key
    amount: int


class OpenSession(msgspec.Struct, frozen=True, array_like=True, tag=161, gc=False):
    """Reply: [id, wall ns, logical], the session's id and since when it is open. Nothing is written for it: it lasts
    until so many replies were forgotten that a retry could be taken for a new write (`SessionExpired`)."""


class CutLogs(msgspec.Struct, frozen=True, array_like=True, tag=162, gc=False):
    """Forget the entries that the node's replicas have applied, whoever lacks them: who does gets a snapshot. Reply:
    [[range, first index before, first index after], ...] of all its replicas."""


class ReplicaState(msgspec.Struct, frozen=True, array_like=True):
    """One replica between two turns."""

    range_id: int
    start: Key
    end: Key | None
    generation: int
    replicas: tuple[str, ...]
    """The nodes that should hold one, as far as this one knows."""
    term: int
    applied: int
    locks: int
    """Intents that nobody has made final or removed."""
    records: int
    """Transaction records that nobody has forgotten."""
    digest: str | None = None
    """Of all versions, intents and records."""


ClientOperation = (
    ClientGet
    | ClientPut
    | ClientDelete
    | ClientCompareAndSet
    | ClientScan
    | BeginTransaction
    | CommitTransaction
    | RollbackTransaction
    | Status
    | ClientGetMany
    | ReplicaStates
    | ClientSplit
    | ClientMerge
    | ClientTransactWrite
    | ClientGetVersion
    | ClientForsake
    | ClientMove
    | ClientTransfer
    | ClientPlacement
    | ClientAdd
    | OpenSession
    | CutLogs
)


class ClientRequest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    request_id: int
    """Chosen by the client; unique on its connection. Replies may come in another order."""
    operation: ClientOperation
    timeout_ms: int = 0
    """How long the client waits; 0 leaves it to the node."""
    quiet: bool = False
    """Answered only if it is refused. For what a node merely notes: that a transaction begins, what it writes, that it
    is over. The commit says how many writes there were."""
    write: SessionWrite | None = None
    """Puts, deletes, compare-and-sets and adds outside of transactions: which write of a session it is."""


class ClientReply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    request_id: int
    value: Any = None
    error: ClientError | None = None
