"""A sweep looks after many leftovers at the same time, also where nodes have no room for many."""

import asyncio
from types import SimpleNamespace
from typing import Any

from reference_db.api import (
    DeleteRecord,
    IntentConflict,
    Overloaded,
    RangeOperation,
    RangeReply,
    ResolveIntents,
    Transaction,
    TransactionStatus,
)
from reference_db.gateway.sweeper import BUDGET_S, MOST_AT_ONCE, PATIENCE_SWEEPS, Sweeper
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.timestamp import Timestamp
from reference_db.txn.command import Command, PutIntent, PutRecord
from reference_db.txn.locks import Intent
from reference_db.txn.record import TransactionRecord
from reference_db.txn.state import RangeState
from tests.reference_db.virtual_loop import run_virtually


class SlowPusher:
    """Every holder's anchor is unreachable: each push takes all the time it is given."""

    def __init__(self) -> None:
        self.cleared: list[IntentConflict] = []

    async def clear(self, conflict: IntentConflict, deadline: float, *_: Any) -> None:
        self.cleared.append(conflict)
        await asyncio.sleep(deadline - asyncio.get_running_loop().time())


def test_many_intents_whose_anchors_are_unreachable_take_no_longer_than_one() -> None:
    engine = MemoryEngine()
    state = RangeState(engine, b"", None)
    now = Timestamp(100)
    intents = tuple(
        PutIntent(
            b"%03d" % number,
            Intent(Transaction(b"%016d" % (number // 2), b"a", now, now), now, b"v"),
        )
        for number in range(60)
    )
    batch = WriteBatch()
    assert state.apply(Command(1, now, intents), 1, batch)
    engine.write(batch)

    async def story() -> None:
        loop = asyncio.get_running_loop()
        pusher = SlowPusher()
        sweeper = Sweeper(SimpleNamespace(now=loop.time), pusher)  # type: ignore[arg-type]
        for _ in range(PATIENCE_SWEEPS):
            await sweeper.sweep([(1, state, 1)])
        assert pusher.cleared == []
        begin = loop.time()
        await sweeper.sweep([(1, state, 1)])
        assert loop.time() - begin < 1.5 * BUDGET_S
        assert len(pusher.cleared) == 30, "one push a holder"
        assert sum(len(conflict.conflicts) for conflict in pusher.cleared) == 60

    run_virtually(story())


class NarrowRouter:
    """One range on a node that has room for no request at first, and then for one at a time, which takes a moment."""

    def __init__(self, refusals: int) -> None:
        self.directory = SimpleNamespace(find=lambda _key: SimpleNamespace(id=1, generation=1))
        self.requests = 0
        self.refused = 0
        self.resolved: set[bytes] = set()
        self.deleted: list[bytes] = []
        self._refusals = refusals
        self._busy = False

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def send(
        self, operations: tuple[RangeOperation, ...], _deadline: float, *, repeatable: bool
    ) -> RangeReply:
        assert repeatable
        if self._busy or self.refused < self._refusals:
            self.refused += 1
            return RangeReply(0, error=Overloaded("1 request is under way on n1"))
        self._busy = True
        self.requests += 1
        await asyncio.sleep(0.02)
        self._busy = False
        for operation in operations:
            match operation:
                case ResolveIntents(transaction_id=resolved):
                    self.resolved.add(resolved)
                case DeleteRecord(transaction=transaction):
                    assert transaction.id in self.resolved
                    self.deleted.append(transaction.id)
        return RangeReply(0)


def test_an_overloaded_node_is_tidied_up_with_two_requests_a_sweep() -> None:
    """Leftovers by the hundred, and room for six requests: one for each of them took minutes (bank seeds 24, 2309)."""
    engine = MemoryEngine()
    state = RangeState(engine, b"", None)
    now = Timestamp(100)
    records = tuple(
        PutRecord(
            TransactionRecord(
                Transaction(b"%016d" % number, b"a", now, now),
                TransactionStatus.ABORTED,
                now,
                now,
                keys=(b"%03d" % (number % 8),),
            )
        )
        for number in range(MOST_AT_ONCE)
    )
    assert state.apply(Command(1, now, records), 1, WriteBatch())

    async def story() -> None:
        router = NarrowRouter(refusals=3)
        sweeper = Sweeper(router, SlowPusher())  # type: ignore[arg-type]
        for _ in range(PATIENCE_SWEEPS):
            await sweeper.sweep([(1, state, 1)])
        assert router.deleted == []
        begin = router.now()
        await sweeper.sweep([(1, state, 1)])
        assert router.refused == 3
        assert router.requests == 2
        assert len(router.deleted) == MOST_AT_ONCE
        assert router.now() - begin < 1.5 * BUDGET_S

    run_virtually(story())
