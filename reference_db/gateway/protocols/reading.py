"""Reading inside a transaction: all its reads hold at one timestamp, whichever protocol it follows.

A protocol says where that timestamp comes from (`_observe_once`). With a promise that everything acknowledged before is
at or below it, reads of all ranges are under way at the same time and see a snapshot. Without one, every newer version
moves the timestamp, and what was read before is refreshed: has anything changed in between?
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from reference_db.api import (
    Ambiguous,
    Get,
    IntentConflict,
    Isolation,
    Key,
    Pushed,
    RangeOperation,
    RangeReply,
    ReadUncertain,
    Refresh,
    RefreshFailed,
    Result,
    Scan,
    SnapshotTooOld,
    TimedOut,
    Transaction,
    TransactionAborted,
    TransactionPushed,
    TransactionRetry,
    Value,
    ValueResult,
    WriteConflict,
)
from reference_db.api import ClientError as Refusal
from reference_db.gateway.cutting import cut, group_keys
from reference_db.gateway.fault_points import FaultPoints
from reference_db.gateway.open_transaction import Failed, OpenTransaction, Span
from reference_db.gateway.pusher import Pusher
from reference_db.gateway.router import Router
from reference_db.timestamp import HybridClock, Timestamp
from reference_db.trace import Trace

READ_AGAIN_MOST = 50


class Reading:
    """What every protocol does to read."""

    def __init__(
        self,
        *,
        router: Router,
        pusher: Pusher,
        clock: HybridClock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        fault_points: FaultPoints | None = None,
        trace: Trace | None = None,
    ) -> None:
        """`spawn` runs a coroutine in the background and keeps it from being collected."""
        self._router = router
        self._pusher = pusher
        self._clock = clock
        self._spawn = spawn
        self._fault_points = fault_points if fault_points is not None else FaultPoints()
        self._trace = trace
        self._aborted: set[bytes] = set()
        """Committing transactions that a heartbeat found ABORTED."""

    async def _observe_once(self, open_one: OpenTransaction, deadline: float) -> None:
        """Before the first read: take the timestamp of all reads, with a promise if there is one. Raises Failed."""
        raise NotImplementedError

    async def get_many(
        self, open_one: OpenTransaction, keys: Sequence[Key], deadline: float
    ) -> list[Value | None]:
        """Read several keys, of all ranges at the same time. Raises Failed."""
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
                    found.update(values_of(mine, reply.results))
                    open_one.reads.update(dict.fromkeys(map(span_of, mine)))
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
        results = await self.read(
            open_one,
            tuple(map(Get, keys)),
            list(map(span_of, keys)),
            deadline,
            reply,
        )
        return values_of(keys, results)

    async def read(
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

    async def _move_to_commit(
        self, open_one: OpenTransaction, identity: Transaction, commit_at: Timestamp, deadline: float
    ) -> None:
        """Make sure that the transaction may commit at `commit_at`, which is above where it has read. Serializable, all
        that it has read must be the same there. A snapshot need not, but nobody else may have written since what the
        transaction writes (the first committer wins). Raises Failed."""
        if open_one.isolation == Isolation.SNAPSHOT:
            open_one.reads = dict.fromkeys(map(span_of, open_one.writes))
        await self._move_reads(open_one, identity, commit_at, deadline)

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
            lambda operations, reply: self._past_conflicts(
                open_one, identity, operations, target, deadline, reply
            ),
            parts,
            replies,
        )

    async def _past_conflicts(
        self,
        open_one: OpenTransaction,
        identity: Transaction,
        operations: tuple[RangeOperation, ...],
        timestamp: Timestamp,
        deadline: float,
        reply: RangeReply,
    ) -> RangeReply:
        """Go on from a range's `reply` until no intent is in the way of what it was asked for at `timestamp`; the reply
        then. Raises Failed."""
        pushed: tuple[Pushed, ...] = ()
        while True:
            match reply.error:
                case None:
                    return reply
                case IntentConflict() as conflict:
                    if identity.id in self._aborted:
                        raise Failed(TransactionRetry("an older transaction needed a key", open_one.priority))
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
                timestamp=timestamp,
                transaction=identity,
                pushed=pushed,
            )

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
            case WriteConflict():
                if self._trace is not None:
                    self._trace.mark("a prewrite met a newer version")
                return Failed(
                    TransactionRetry(
                        "somebody has written a key of the transaction meanwhile", open_one.priority
                    )
                )
            case SnapshotTooOld():
                if self._trace is not None:
                    self._trace.mark("a transaction began before what is kept, and starts again")
                return Failed(
                    TransactionRetry(
                        "what the transaction would have to see may be collected (gc_ttl_ms)",
                        open_one.priority,
                    )
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


def span_of(key: Key) -> Span:
    """That of one key."""
    return key, key + b"\x00"


def values_of(keys: Sequence[Key], results: Sequence[Result]) -> dict[Key, Value | None]:
    """What the gets of these keys were answered with."""
    values: dict[Key, Value | None] = {}
    for key, result in zip(keys, results, strict=True):
        assert isinstance(result, ValueResult), f"a get was answered with {result!r}"
        values[key] = result.value
    return values
