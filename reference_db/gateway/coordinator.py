"""Interactive transactions: the node that a client talks to drives them, and keeps what they read and will write.

Each transaction follows one protocol (`protocols/`), which says where its reads hold and how its writes become one
commit. Here is what they have in common: what clients ask, the transaction's own writes, and who drives whom. An open
transaction holds nothing in any range, so a client that disappears leaves nothing behind; one that only read is done
when it has read.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from reference_db.api import (
    MAX_WRITE_BYTES,
    SYSTEM_END,
    BadRequest,
    Get,
    Isolation,
    Key,
    Scan,
    ScanResult,
    TimedOut,
    TransactionAborted,
    TransactionProtocol,
    TransactionRetry,
    Value,
    ValueResult,
)
from reference_db.gateway.cutting import group_keys
from reference_db.gateway.fault_points import FaultPoints
from reference_db.gateway.open_transaction import Failed, OpenTransaction, Span
from reference_db.gateway.oracle import Oracle
from reference_db.gateway.protocols.deciding import Deciding
from reference_db.gateway.protocols.primary_lock import PrimaryLockProtocol
from reference_db.gateway.protocols.reading import READ_AGAIN_MOST
from reference_db.gateway.protocols.record import RecordProtocol
from reference_db.gateway.protocols.two_phase import TwoPhaseProtocol
from reference_db.gateway.pusher import Pusher
from reference_db.gateway.router import Router
from reference_db.timestamp import ZERO, HybridClock, Timestamp
from reference_db.trace import Trace

OWN_ISOLATION = {
    TransactionProtocol.RECORD: Isolation.SERIALIZABLE,
    TransactionProtocol.PRIMARY_LOCK: Isolation.SNAPSHOT,
    TransactionProtocol.TWO_PHASE: Isolation.SERIALIZABLE,
}
"""The protocols that are offered, and what each promises where nobody says."""
PROTOCOLS = {one.name.lower().replace("_", "-"): one for one in OWN_ISOLATION}
ISOLATIONS: dict[str, Isolation | None] = {"own": None, **{one.name.lower(): one for one in Isolation}}
"""Protocols and isolations as options name them; `own` is the protocol's own isolation."""


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
        protocol: TransactionProtocol = TransactionProtocol.RECORD,
        isolation: Isolation | None = None,
        parallel_commit: bool = False,
        one_range_commit: bool = True,
        async_commit: bool = False,
        fault_points: FaultPoints | None = None,
        trace: Trace | None = None,
    ) -> None:
        """`spawn` runs a coroutine in the background and keeps it from being collected. `observe(deadline)` asks other
        nodes for their clocks, see `RecordProtocol`. `protocol` and `isolation` hold for transactions that don't say;
        an isolation of None is the protocol's own."""
        self._router = router
        self._clock = clock
        self._random = random_stream
        self._protocol = protocol
        self._isolation = isolation
        parts: dict[str, Any] = {
            "router": router,
            "pusher": pusher,
            "clock": clock,
            "spawn": spawn,
            "fault_points": fault_points,
            "trace": trace,
        }
        self.on_begin: Callable[[OpenTransaction], None] = lambda _open_one: None
        """Told of every transaction that begins."""
        self.oracle = Oracle(router, spawn)
        self.record = RecordProtocol(
            observe=observe,
            parallel_commit=parallel_commit,
            one_range_commit=one_range_commit,
            **parts,
        )
        self.primary_lock = PrimaryLockProtocol(
            oracle=self.oracle, observe=observe, async_commit=async_commit, **parts
        )
        self.protocols: dict[TransactionProtocol, Deciding] = {
            TransactionProtocol.RECORD: self.record,
            TransactionProtocol.PRIMARY_LOCK: self.primary_lock,
            TransactionProtocol.TWO_PHASE: TwoPhaseProtocol(observe=observe, **parts),
        }
        """Who drives what."""

    # What clients ask.

    def begin(
        self,
        priority: Timestamp = ZERO,
        protocol: TransactionProtocol | None = None,
        isolation: Isolation | None = None,
    ) -> OpenTransaction:
        """A new transaction. A retry hands in the `priority` of its first attempt. Raises Failed for a protocol that
        is not offered."""
        if protocol is None:
            protocol = self._protocol
        if isolation is None:
            isolation = self._isolation if self._isolation is not None else OWN_ISOLATION[protocol]
        if protocol not in self.protocols:
            raise Failed(BadRequest(f"protocol {protocol!r} is not offered here"))
        now = self._clock.now()
        open_one = OpenTransaction(
            self._random.getrandbits(128).to_bytes(16, "big"),
            priority if ZERO < priority < now else now,
            protocol,
            isolation,
        )
        self.on_begin(open_one)
        return open_one

    async def get(self, open_one: OpenTransaction, key: Key, deadline: float) -> Value | None:
        """Read a key. Raises Failed."""
        async with open_one.one_at_a_time:
            self._check_open(open_one)
            if key in open_one.writes:
                return open_one.writes[key]
            return (await self._driver(open_one).get_many(open_one, [key], deadline))[0]

    async def get_many(
        self, open_one: OpenTransaction, keys: Sequence[Key], deadline: float
    ) -> list[Value | None]:
        """Read several keys, of all ranges at the same time. Raises Failed."""
        async with open_one.one_at_a_time:
            self._check_open(open_one)
            return await self._driver(open_one).get_many(open_one, keys, deadline)

    async def get_versions(
        self, open_one: OpenTransaction, keys: Sequence[Key], deadline: float
    ) -> dict[Key, ValueResult]:
        """Read several keys that the transaction has not written, with the timestamps of what is found. Raises
        Failed."""
        async with open_one.one_at_a_time:
            self._check_open(open_one)
            found: dict[Key, ValueResult] = {}
            for mine in group_keys(sorted(set(keys)), self._router.directory):
                spans: list[Span] = [(key, key + b"\x00") for key in mine]
                results = await self._driver(open_one).read(open_one, tuple(map(Get, mine)), spans, deadline)
                for key, result in zip(mine, results, strict=True):
                    assert isinstance(result, ValueResult), f"a get was answered with {result!r}"
                    found[key] = result
            return found

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
        driver = self._driver(open_one)
        parts = self._router.directory.overlapping(start, end)
        pairs: dict[Key, Value] = {}
        for _, low, high in reversed(parts) if reverse else parts:
            first: Key = low
            last: Key | None = high
            while not wanted or len(pairs) < wanted:
                operation = Scan(first, last, wanted - len(pairs) if wanted else 0, reverse)
                (result,) = await driver.read(open_one, (operation,), [(first, last)], deadline)
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
        await self._driver(open_one).commit(open_one, deadline)

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
            finally:
                open_one.over = True
        raise Failed(TimedOut(f"what was read changed {READ_AGAIN_MOST} times while it was read"))

    def _check_open(self, open_one: OpenTransaction) -> None:
        if open_one.over:
            raise Failed(TransactionAborted("the transaction is over; begin a new one"))

    def _driver(self, open_one: OpenTransaction) -> Deciding:
        return self.protocols[open_one.protocol]

    # What the node has it do from time to time.

    async def heartbeat(self) -> None:
        """Called every `HEARTBEAT_S`: see `Deciding.heartbeat`."""
        for driver in self.protocols.values():
            await driver.heartbeat()

    async def delete_records(self) -> None:
        """Called every `DELETE_RECORDS_S`: see `Deciding.delete_records`."""
        for driver in self.protocols.values():
            await driver.delete_records()
