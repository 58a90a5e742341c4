"""Interactive transactions: the node that a client talks to drives them, and keeps what they read and will write.

Serializable, after CockroachDB's design without its reliance on clocks. Before the first read, the clocks of enough
nodes are heard to know a timestamp that nothing acknowledged before is above (`ranges.certain_reads`); all reads hold
there. Where too few nodes answer, every newer version moves that timestamp, earlier reads are refreshed (has anything
changed in between?), and where something has, the client starts again. Writes wait here until the commit:

1. Lay intents in all ranges at once; in the range of the first key (the anchor) together with the PENDING record. Each
   reply may say that the write lands later than planned.
2. If so, refresh the reads up to there.
3. Turn the record COMMITTED at that timestamp. This single entry in one range's log is the commit.
4. Answer the client; make the intents final, then forget the record.

A transaction that only read is done when it has read. An open transaction holds nothing in any range, so a client that
disappears leaves nothing behind. After step 1 anybody who meets an intent can finish the transaction (`pusher.py`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from reference_db.api import (
    MAX_WRITE_BYTES,
    SYSTEM_END,
    Ambiguous,
    BadRequest,
    CreateRecord,
    DeleteRecord,
    EndTransaction,
    Get,
    HeartbeatRecord,
    IntentConflict,
    Key,
    Overloaded,
    Pushed,
    RangeMismatch,
    RangeOperation,
    RangeReply,
    ReadUncertain,
    RecordState,
    Refresh,
    RefreshFailed,
    ResolveIntents,
    Result,
    Scan,
    ScanResult,
    TimedOut,
    Transaction,
    TransactionAborted,
    TransactionPushed,
    TransactionRetry,
    TransactionStatus,
    Value,
    ValueResult,
    WriteIntent,
)
from reference_db.api import ClientError as Refusal
from reference_db.gateway.cutting import cut, group_keys, range_of
from reference_db.gateway.pusher import Pusher
from reference_db.gateway.router import ATTEMPT_S, LOST, SILENT, Part, Router
from reference_db.ranges.certain_reads import certainty
from reference_db.timestamp import ZERO, HybridClock, Timestamp
from reference_db.trace import Trace

HEARTBEAT_S = 1.0
"""How often the record of a transaction that is still committing is told that its coordinator lives."""
DELETE_RECORDS_S = 1.0
"""How often records are forgotten. Nobody waits for it, and what is sent together shares turns, frames and syncs."""
DELETED_TOGETHER = 100
"""Records that one request forgets."""
DELETABLE_MOST = 10_000
"""How many records wait for room on an overloaded node; more are left to the sweeps of their ranges' leaders."""
CLEAN_UP_S = 10.0
"""How long a coordinator tries to tidy up behind a decided transaction, before it leaves that to others."""
READ_AGAIN_MOST = 50

Span = tuple[Key, Key | None]


class Failed(Exception):
    """The transaction ends with this error for the client."""

    def __init__(self, error: Refusal) -> None:
        super().__init__(str(error))
        self.error = error


class OpenTransaction:
    """What the coordinator knows of one transaction."""

    __slots__ = (
        "id",
        "observed",
        "one_at_a_time",
        "over",
        "priority",
        "promise",
        "puts",
        "read_timestamp",
        "reads",
        "writes",
        "written_bytes",
    )

    def __init__(self, identity: bytes, priority: Timestamp) -> None:
        self.id = identity
        self.priority = priority
        self.read_timestamp: Timestamp | None = None
        """Where all reads so far hold; None before the first."""
        self.reads: dict[Span, None] = {}
        self.writes: dict[Key, Value | None] = {}
        """The last value written to each key, in order of the first write; None deletes."""
        self.puts = 0
        """How many writes were taken."""
        self.written_bytes = 0
        """Of the keys and values in `writes`."""
        self.observed = False
        """Whether the nodes' clocks were asked for."""
        self.promise: tuple[Pushed, ...] = ()
        """What enough clocks have promised; empty if too few answered."""
        self.over = False
        self.one_at_a_time = asyncio.Lock()
        """Reads and the commit of a client that doesn't wait for answers come one after the other: each may move the
        timestamp that the others read at."""

    def identity(self, began: Timestamp) -> Transaction:
        """As ranges know it."""
        return Transaction(self.id, next(iter(self.writes), b""), self.priority, began)


class Coordinator:
    """The transactions that clients of one node run."""

    def __init__(
        self,
        *,
        router: Router,
        pusher: Pusher,
        clock: HybridClock,
        random_stream: random.Random,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        observe: Callable[[float], Coroutine[Any, Any, Timestamp | None]],
        trace: Trace | None = None,
    ) -> None:
        """`spawn` runs a coroutine in the background and keeps it from being collected. `observe(deadline)` asks other
        nodes for their clocks and answers the latest, which is not before this node's when it was asked; None if too
        few answered to meet every quorum."""
        self._router = router
        self._pusher = pusher
        self._clock = clock
        self._random = random_stream
        self._spawn = spawn
        self._observe = observe
        self._trace = trace
        self._committing: dict[bytes, Transaction] = {}
        """Those whose record may exist and be PENDING: they are kept alive by heartbeats."""
        self._deletable: list[Transaction] = []
        """Whose records nobody needs any more."""
        self._aborted: set[bytes] = set()
        """Committing transactions whose record a heartbeat found ABORTED."""

    # What clients ask.

    def begin(self, priority: Timestamp = ZERO) -> OpenTransaction:
        """A new transaction. A retry hands in the `priority` of its first attempt."""
        now = self._clock.now()
        return OpenTransaction(
            self._random.getrandbits(128).to_bytes(16, "big"),
            priority if ZERO < priority < now else now,
        )

    async def get(self, open_one: OpenTransaction, key: Key, deadline: float) -> Value | None:
        """Read a key. Raises Failed."""
        async with open_one.one_at_a_time:
            self._check_open(open_one)
            if key in open_one.writes:
                return open_one.writes[key]
            return (await self._get_of_range(open_one, [key], deadline))[key]

    async def get_many(
        self, open_one: OpenTransaction, keys: Sequence[Key], deadline: float
    ) -> list[Value | None]:
        """Read several keys, of all ranges at the same time. Raises Failed."""
        async with open_one.one_at_a_time:
            self._check_open(open_one)
            return await self._get_many(open_one, keys, deadline)

    async def _get_many(
        self, open_one: OpenTransaction, keys: Sequence[Key], deadline: float
    ) -> list[Value | None]:
        found = dict(open_one.writes)
        await self._observe_once(open_one, deadline)
        wanted = group_keys(sorted(set(keys) - open_one.writes.keys()), self._router.directory)
        if open_one.promise:
            replies = await self._router.send_together(
                [tuple(map(Get, mine)) for mine in wanted],
                deadline,
                timestamp=open_one.read_timestamp,
                transaction=open_one.identity(open_one.priority),
                pushed=open_one.promise,
            )
            left: list[list[Key]] = []
            refusals: list[RangeReply] = []
            for mine, reply in zip(wanted, replies, strict=True):
                if reply.error is None:
                    found.update(_values_of(mine, reply.results))
                    open_one.reads.update(dict.fromkeys(map(_span_of, mine)))
                else:
                    left.append(mine)
                    refusals.append(reply)
            for values in await self._each(
                lambda mine, reply: self._get_of_range(open_one, mine, deadline, reply),
                left,
                refusals,
            ):
                found.update(values)
        else:
            # Each read may move the timestamp, and with it those before it: one after the other.
            for mine in wanted:
                found.update(await self._get_of_range(open_one, mine, deadline))
        return [found[key] for key in keys]

    async def _get_of_range(
        self,
        open_one: OpenTransaction,
        keys: list[Key],
        deadline: float,
        reply: RangeReply | None = None,
    ) -> dict[Key, Value | None]:
        """`reply`: what the range has said already."""
        results = await self._read(
            open_one,
            tuple(map(Get, keys)),
            list(map(_span_of, keys)),
            deadline,
            reply,
        )
        return _values_of(keys, results)

    async def scan(
        self,
        open_one: OpenTransaction,
        start: Key,
        end: Key | None,
        limit: int,
        reverse: bool,
        deadline: float,
    ) -> list[tuple[Key, Value]]:
        """Read a span over all its ranges. Raises Failed."""
        async with open_one.one_at_a_time:
            self._check_open(open_one)
            start = max(start, SYSTEM_END)
            if end is not None and end <= start:
                return []
            return await self._scan(open_one, start, end, limit, reverse, deadline)

    async def _scan(
        self,
        open_one: OpenTransaction,
        start: Key,
        end: Key | None,
        limit: int,
        reverse: bool,
        deadline: float,
    ) -> list[tuple[Key, Value]]:
        own = {
            key: value
            for key, value in open_one.writes.items()
            if start <= key and (end is None or key < end)
        }
        wanted = limit + len(own) if limit else 0
        parts = self._router.directory.overlapping(start, end)
        pairs: dict[Key, Value] = {}
        for _, low, high in reversed(parts) if reverse else parts:
            first: Key = low
            last: Key | None = high
            while not wanted or len(pairs) < wanted:
                operation = Scan(first, last, wanted - len(pairs) if wanted else 0, reverse)
                (result,) = await self._read(open_one, (operation,), [(first, last)], deadline)
                assert isinstance(result, ScanResult), f"a scan was answered with {result!r}"
                pairs.update(result.pairs)
                if result.resume is None:
                    break
                if reverse:
                    last = result.resume
                else:
                    first = result.resume
        for key, value in own.items():
            if value is None:
                pairs.pop(key, None)
            else:
                pairs[key] = value
        found = sorted(pairs.items(), reverse=reverse)
        return found[:limit] if limit else found

    def put(self, open_one: OpenTransaction, key: Key, value: Value | None) -> None:
        """Write a key when the transaction commits; None deletes it. Raises Failed; after a write that is refused the
        transaction is over, since it must not commit without it."""
        self._check_open(open_one)
        if key < SYSTEM_END:
            open_one.over = True
            raise Failed(BadRequest(f"key {key!r} is the system's: keys of clients begin at {SYSTEM_END!r}"))
        size = open_one.written_bytes + len(key) + len(value or b"")
        if key in open_one.writes:
            size -= len(key) + len(open_one.writes[key] or b"")
        if size > MAX_WRITE_BYTES:
            open_one.over = True
            raise Failed(
                BadRequest(
                    f"the transaction's keys and values have {size} bytes, the limit is {MAX_WRITE_BYTES}; "
                    "write smaller values or fewer keys"
                )
            )
        open_one.written_bytes = size
        open_one.writes[key] = value
        open_one.puts += 1

    async def commit(self, open_one: OpenTransaction, deadline: float) -> None:
        """Returns when committed. Raises Failed: with a definite error it has not and never will be."""
        async with open_one.one_at_a_time:
            self._check_open(open_one)
            open_one.over = True
        if not open_one.writes:
            return
        transaction = open_one.identity(self._clock.now())
        self._committing[transaction.id] = transaction
        try:
            await self._commit(open_one, transaction, deadline)
        finally:
            self._committing.pop(transaction.id, None)
            self._aborted.discard(transaction.id)

    def rollback(self, open_one: OpenTransaction) -> None:
        """Forget it. Nothing was written anywhere."""
        open_one.over = True

    async def run_read_only(
        self, read: Callable[[OpenTransaction], Coroutine[Any, Any, Any]], deadline: float
    ) -> Any:
        """Run a transaction that only reads, again and again while it is told to retry. Raises Failed."""
        priority = ZERO
        for _ in range(READ_AGAIN_MOST):
            open_one = self.begin(priority)
            priority = open_one.priority
            try:
                return await read(open_one)
            except Failed as failed:
                if not isinstance(failed.error, TransactionRetry) or self._router.now() >= deadline:
                    raise
        raise Failed(TimedOut(f"what was read changed {READ_AGAIN_MOST} times while it was read"))

    def _check_open(self, open_one: OpenTransaction) -> None:
        if open_one.over:
            raise Failed(TransactionAborted("the transaction is over; begin a new one"))

    # Reading.

    async def _observe_once(self, open_one: OpenTransaction, deadline: float) -> None:
        """Before the first read: hear the clocks, and take the timestamp of all reads."""
        if open_one.observed:
            return
        open_one.observed = True
        observed = await self._observe(deadline)
        if observed is not None:
            # Not this node's clock of now: whoever answered has said, up to here, whom it follows, so that the ranges
            # which this node leads need no round of heartbeats for reads at it.
            open_one.read_timestamp = observed
            open_one.promise = (certainty(observed),)
        elif self._trace is not None:
            self._trace.mark("a transaction reads with uncertainty")

    async def _read(
        self,
        open_one: OpenTransaction,
        operations: tuple[Get | Scan, ...],
        spans: list[Span],
        deadline: float,
        reply: RangeReply | None = None,
    ) -> tuple[Result, ...]:
        """Read in one range: the results, one for each operation. With a promise, reads of several ranges may be under
        way at the same time, since none of them moves the timestamp; then the range may have been asked already, and
        this is its `reply`. Raises Failed."""
        await self._observe_once(open_one, deadline)
        pushed = open_one.promise
        for _ in range(READ_AGAIN_MOST):
            identity = open_one.identity(open_one.priority)
            is_first = not open_one.reads and not open_one.promise
            if reply is None:
                reply = await self._router.send(
                    operations,
                    deadline,
                    repeatable=True,
                    timestamp=open_one.read_timestamp,
                    transaction=identity,
                    pushed=pushed,
                    may_forward=is_first,
                )
            match reply.error:
                case None:
                    if is_first:
                        open_one.read_timestamp = reply.timestamp
                    open_one.reads.update(dict.fromkeys(spans))
                    return reply.results
                case IntentConflict() as conflict:
                    cleared = await self._pusher.clear(conflict, deadline, identity, pushed)
                    if cleared.error is not None:
                        raise self._failed(open_one, RangeReply(0, error=cleared.error))
                    pushed = cleared.pushed
                    if open_one.read_timestamp is None:
                        # The pushes hold for where the leader wanted to read; asking for "now" would outrun them.
                        open_one.read_timestamp = conflict.above
                case ReadUncertain(newest=newest):
                    if self._trace is not None:
                        self._trace.mark("a read met a version that may be older than its transaction")
                    await self._move_reads(open_one, identity, max(newest, self._clock.now()), deadline)
                case _:
                    raise self._failed(open_one, reply)
            reply = None
        raise Failed(TimedOut(f"a read was moved {READ_AGAIN_MOST} times; the range is written too fast"))

    async def _move_reads(
        self, open_one: OpenTransaction, identity: Transaction, target: Timestamp, deadline: float
    ) -> None:
        """Make sure that all reads so far hold at `target` too, and read on from there. Raises Failed."""
        since = open_one.read_timestamp
        if since is not None and open_one.reads and since < target:
            await self._refresh(open_one, identity, since, target, deadline)
            if self._trace is not None:
                self._trace.mark("a transaction moved its reads forward")
        open_one.read_timestamp = target if since is None else max(since, target)

    async def _refresh(
        self,
        open_one: OpenTransaction,
        identity: Transaction,
        since: Timestamp,
        target: Timestamp,
        deadline: float,
    ) -> None:
        refreshes = tuple([Refresh(start, end, since) for start, end in open_one.reads])
        pieces = cut(refreshes, identity, self._router.directory)
        parts = [piece.operations for piece in sorted(pieces, key=lambda piece: piece.descriptor.id)]
        replies = await self._router.send_together(parts, deadline, timestamp=target, transaction=identity)
        await self._each(
            lambda operations, reply: self._refresh_range(
                open_one, identity, operations, target, deadline, reply
            ),
            parts,
            replies,
        )

    async def _refresh_range(
        self,
        open_one: OpenTransaction,
        identity: Transaction,
        operations: tuple[RangeOperation, ...],
        target: Timestamp,
        deadline: float,
        reply: RangeReply,
    ) -> None:
        """Go on from a range's `reply` until its reads hold at `target`. Raises Failed."""
        pushed: tuple[Pushed, ...] = ()
        while True:
            match reply.error:
                case None:
                    return
                case IntentConflict() as conflict:
                    cleared = await self._pusher.clear(conflict, deadline, identity, pushed)
                    if cleared.error is not None:
                        raise self._failed(open_one, RangeReply(0, error=cleared.error))
                    pushed = cleared.pushed
                case _:
                    raise self._failed(open_one, reply)
            reply = await self._router.send(
                operations,
                deadline,
                repeatable=True,
                timestamp=target,
                transaction=identity,
                pushed=pushed,
            )

    # Committing.

    async def _commit(self, open_one: OpenTransaction, transaction: Transaction, deadline: float) -> None:
        written_keys = tuple(open_one.writes)
        local: tuple[Key, ...] = ()
        reads = bool(open_one.reads)
        start = open_one.read_timestamp if open_one.read_timestamp is not None else self._clock.now()
        parts: list[Part] = []
        for mine in group_keys(written_keys, self._router.directory):
            intents = tuple([WriteIntent(key, open_one.writes[key], 1) for key in mine])
            if transaction.anchor in mine:
                local = tuple(mine)
                parts.append((CreateRecord(written_keys), *intents))
            else:
                parts.append(intents)
        try:
            replies = await self._router.send_together(
                parts, deadline, timestamp=start, transaction=transaction
            )
            written = await self._each(
                lambda operations, reply: self._write_range(
                    open_one, transaction, operations, start, deadline, reply
                ),
                parts,
                replies,
            )
            commit_at = max((start, *written))
            if reads and commit_at > start:
                await self._move_reads(open_one, transaction, commit_at, deadline)
        except BaseException:
            # Certainly not committed: nobody but us may, and we never asked to.
            self._spawn(self._abandon(transaction, written_keys))
            raise
        commit_at, local = await self._decide(open_one, transaction, written_keys, commit_at, local, deadline)
        left = [key for key in written_keys if key not in set(local)]
        self._spawn(self._finish(transaction, left, TransactionStatus.COMMITTED, commit_at))

    async def _write_range(
        self,
        open_one: OpenTransaction,
        transaction: Transaction,
        operations: tuple[RangeOperation, ...],
        start: Timestamp,
        deadline: float,
        reply: RangeReply,
    ) -> Timestamp:
        """Go on from a range's `reply` until its intents are laid; returns the largest timestamp written. Raises
        Failed."""
        pushed: tuple[Pushed, ...] = ()
        while True:
            match reply.error:
                case None:
                    floors = [result.floor for result in reply.results if isinstance(result, RecordState)]
                    return max((reply.timestamp, *floors))
                case IntentConflict() as conflict:
                    if transaction.id in self._aborted:
                        raise Failed(TransactionRetry("an older transaction needed a key", open_one.priority))
                    cleared = await self._pusher.clear(conflict, deadline, transaction, pushed)
                    if cleared.error is not None:
                        raise self._failed(open_one, RangeReply(0, error=cleared.error))
                    pushed = cleared.pushed
                case _:
                    raise self._failed(open_one, reply)
            reply = await self._router.send(
                operations,
                deadline,
                repeatable=True,
                timestamp=start,
                transaction=transaction,
                pushed=pushed,
            )

    async def _decide(
        self,
        open_one: OpenTransaction,
        transaction: Transaction,
        keys: tuple[Key, ...],
        commit_at: Timestamp,
        local: tuple[Key, ...],
        deadline: float,
    ) -> tuple[Timestamp, tuple[Key, ...]]:
        """Make the record COMMITTED, and with it the intents on the `local` keys final; returns the commit timestamp,
        and the keys for which the latter is certain. These only ever become fewer: whichever of several requests to
        commit is carried out, it has named them all. Raises Failed."""
        asked_before = False
        may_forward = not open_one.reads
        while True:
            now = self._router.now()
            if now >= deadline:
                if asked_before:
                    self._mark_ambiguous()
                    raise Failed(Ambiguous("nobody answered whether the transaction has committed"))
                self._spawn(self._abandon(transaction, keys))
                raise Failed(TimedOut("the transaction's record could not be reached"))
            reply = await self._router.send(
                (EndTransaction(True, may_forward, asked_before, local),),
                min(deadline, now + ATTEMPT_S),
                repeatable=False,
                timestamp=commit_at,
                transaction=transaction,
            )
            match reply.error:
                case None:
                    state = reply.results[0]
                    assert isinstance(state, RecordState), f"a commit was answered with {state!r}"
                    assert state.status == TransactionStatus.COMMITTED, (
                        f"a commit was answered with {state!r}"
                    )
                    return state.commit_timestamp, local
                case RangeMismatch():
                    # Some keys have left the anchor's range, and are seen to by themselves.
                    anchored = self._router.directory.find(transaction.anchor)
                    local = tuple(filter(anchored.contains, local))
                    if self._trace is not None:
                        self._trace.mark("a transaction's anchor and its other keys were parted by a split")
                case TransactionPushed(floor=floor):
                    try:
                        await self._move_reads(open_one, transaction, floor, deadline)
                        if self._trace is not None:
                            self._trace.mark("a commit was pushed and went on at a later timestamp")
                    except Failed as failed:
                        # An earlier request to commit may still arrive, unless the abort gets there first.
                        raise await self._abort_first(
                            failed, asked_before, transaction, keys, deadline
                        ) from failed
                    commit_at = max(commit_at, floor)
                case TransactionAborted(reason=why):
                    self._spawn(self._abandon(transaction, keys))
                    raise Failed(TransactionRetry(why, open_one.priority))
                case Ambiguous() as error if asked_before and error is not SILENT and error is not LOST:
                    # The anchor itself cannot know: the record is gone, and we have asked before.
                    self._mark_ambiguous()
                    raise Failed(error)
                case Ambiguous():
                    asked_before = True
                    if self._trace is not None:
                        self._trace.mark("a commit was asked for again")
                case TimedOut():
                    continue
                case _:
                    reason = self._failed(open_one, reply)
                    raise await self._abort_first(reason, asked_before, transaction, keys, deadline)

    async def _abort_first(
        self,
        failed: Failed,
        asked_before: bool,
        transaction: Transaction,
        keys: tuple[Key, ...],
        deadline: float,
    ) -> Failed:
        """The error to give up with. Where a request to commit may still be under way, only the record can tell."""
        if not asked_before:
            self._spawn(self._abandon(transaction, keys))
            return failed
        abort = EndTransaction(False, asked_before=True)
        reply = await self._router.send((abort,), deadline, repeatable=True, transaction=transaction)
        if reply.error is None:
            state = reply.results[0]
            assert isinstance(state, RecordState), f"an abort was answered with {state!r}"
            if state.status == TransactionStatus.ABORTED:
                self._spawn(self._abandon(transaction, keys))
                return failed
        self._mark_ambiguous()
        return Failed(Ambiguous("a request to commit is unanswered, and so is whether it was carried out"))

    async def _abandon(self, transaction: Transaction, keys: tuple[Key, ...]) -> None:
        """Abort the record, then remove the intents."""
        if self._trace is not None:
            self._trace.mark("a transaction was abandoned")
        deadline = self._router.now() + CLEAN_UP_S
        reply = await self._router.send(
            (EndTransaction(False),), deadline, repeatable=True, transaction=transaction
        )
        if reply.error is not None and not isinstance(reply.error, TransactionAborted):
            return
        if reply.error is None:
            state = reply.results[0]
            assert isinstance(state, RecordState), f"an abort was answered with {state!r}"
            if state.status == TransactionStatus.COMMITTED:
                return
        await self._finish(transaction, keys, TransactionStatus.ABORTED, ZERO)

    async def _finish(
        self,
        transaction: Transaction,
        keys: Sequence[Key],
        status: TransactionStatus,
        commit_at: Timestamp,
    ) -> None:
        """Make the intents on these keys, which are all that are left, final or gone; then forget the record. Others do
        it if we cannot."""
        deadline = self._router.now() + CLEAN_UP_S
        parts: list[Part] = [
            (ResolveIntents(transaction.id, tuple(mine), status, commit_at),)
            for mine in group_keys(keys, self._router.directory)
        ]
        replies = await self._router.send_together(parts, deadline)
        if all(reply.error is None for reply in replies):
            self._deletable.append(transaction)

    async def delete_records(self) -> None:
        """Called every `DELETE_RECORDS_S`: forgets the records whose intents are all resolved, many in one request."""
        deletable, self._deletable = self._deletable, []
        if deletable:
            self._spawn(self._delete(deletable, self._router.now() + CLEAN_UP_S))

    async def _delete(self, deletable: list[Transaction], deadline: float) -> None:
        by_range: dict[tuple[int, int], list[Transaction]] = {}
        for transaction in deletable:
            at = range_of(transaction.anchor, self._router.directory)
            by_range.setdefault(at, []).append(transaction)
        sent = [
            transactions[start : start + DELETED_TOGETHER]
            for _, transactions in sorted(by_range.items(), key=lambda one: one[0])
            for start in range(0, len(transactions), DELETED_TOGETHER)
        ]
        parts: list[Part] = [tuple(map(DeleteRecord, some)) for some in sent]
        replies = await self._router.send_together(parts, deadline)
        for some, reply in zip(sent, replies, strict=True):
            if isinstance(reply.error, Overloaded) and len(self._deletable) < DELETABLE_MOST:
                self._deletable += some

    async def heartbeat(self) -> None:
        """Called every `HEARTBEAT_S`: tells the records of transactions that are committing that we live."""
        for transaction in list(self._committing.values()):
            self._spawn(self._heartbeat_one(transaction))

    async def _heartbeat_one(self, transaction: Transaction) -> None:
        reply = await self._router.send(
            (HeartbeatRecord(),),
            self._router.now() + HEARTBEAT_S,
            repeatable=True,
            transaction=transaction,
        )
        if reply.error is None and transaction.id in self._committing:
            state = reply.results[0]
            if isinstance(state, RecordState) and state.status == TransactionStatus.ABORTED:
                self._aborted.add(transaction.id)
                if self._trace is not None:
                    self._trace.mark("a coordinator heard that its transaction was aborted")

    def _mark_ambiguous(self) -> None:
        if self._trace is not None:
            self._trace.mark("a commit stayed ambiguous")

    def _failed(self, open_one: OpenTransaction, reply: RangeReply) -> Failed:
        """What the client hears of a range's error, before anything was decided: always definite."""
        open_one.over = True
        match reply.error:
            case RefreshFailed():
                if self._trace is not None:
                    self._trace.mark("a refresh failed")
                return Failed(
                    TransactionRetry("what the transaction has read was changed", open_one.priority)
                )
            case TransactionAborted(reason=reason):
                return Failed(TransactionRetry(reason, open_one.priority))
            case Ambiguous(reason=reason):
                return Failed(TimedOut(f"no answer: {reason}"))
            case None | IntentConflict() | ReadUncertain() | TransactionPushed():
                raise AssertionError(f"no reason for a transaction to fail: {reply!r}")
            case error:
                return Failed(error) if isinstance(error, Refusal) else Failed(TimedOut(str(error)))

    async def _each(
        self,
        go_on: Callable[[Any, RangeReply], Coroutine[Any, Any, Any]],
        parts: Sequence[Any],
        replies: Sequence[RangeReply],
    ) -> list[Any]:
        """Go on from the first reply of each part, at the same time where a part is not done with it; when one fails,
        the others still come to their end before its error is raised, so that nothing of this transaction is under way
        when its intents are removed."""
        both = zip(parts, replies, strict=True)
        if sum([reply.error is not None for reply in replies]) <= 1:
            return [await go_on(part, reply) for part, reply in both]
        results = await asyncio.gather(*(go_on(*one) for one in both), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results


def _span_of(key: Key) -> Span:
    """That of one key."""
    return key, key + b"\x00"


def _values_of(keys: Sequence[Key], results: Sequence[Result]) -> dict[Key, Value | None]:
    """What the gets of these keys were answered with."""
    values: dict[Key, Value | None] = {}
    for key, result in zip(keys, results, strict=True):
        assert isinstance(result, ValueResult), f"a get was answered with {result!r}"
        values[key] = result.value
    return values
