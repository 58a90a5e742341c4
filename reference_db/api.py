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


class CreateRecord(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Create the transaction's PENDING record, in the anchor's range. Result: `RecordState`, or error
    `TransactionAborted` when somebody was told that it never will exist."""

    keys: tuple[Key, ...]
    """All keys that the transaction writes, in all ranges: for whoever must finish it."""


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


ReadOperation = Get | Scan | Refresh
READ_OPERATIONS = (Get, Scan, Refresh)
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
)
CHANGES = (SplitRange, FreezeRange, ThawRange, AbsorbRange, BumpRange)
"""Operations that change the range itself; each is alone in its request."""
RangeOperation = ReadOperation | WriteOperation


class Pushed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A promise got from an anchor: this transaction commits at `floor` or later, or never."""

    transaction_id: bytes
    floor: Timestamp


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
            case PushTransaction(pushee=transaction) | DeleteRecord(transaction=transaction):
                keys = (transaction.anchor,)
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
    """Valid if COMMITTED."""
    floor: Timestamp = ZERO
    """Valid if PENDING: it commits at this timestamp or later, or never."""


class Resolved(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    count: int
    """How many intents were there."""


class Reshaped(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    descriptors: tuple[bytes, ...]
    """Encoded: of the ranges that came of it, in key order."""


Result = ValueResult | ScanResult | Refreshed | Written | Compared | RecordState | Resolved | Reshaped


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


class CommitTransaction(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    transaction: int
    writes: int | None = None
    """How many puts and deletes the client has sent in it, whose replies it has not waited for: it must not commit if
    one of them was refused. None: the client has looked."""


class RollbackTransaction(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    transaction: int


class Status(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """Reply: a map; see the server."""


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


class ClientReply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    request_id: int
    value: Any = None
    error: ClientError | None = None
