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
from reference_db.gateway.sweeper import BUDGET_S, PATIENCE_SWEEPS, Sweeper
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
    """One range on a node that has room for a few requests, each of which takes a moment."""

    def __init__(self, room: int) -> None:
        self.directory = SimpleNamespace(find=lambda _key: SimpleNamespace(id=1))
        self.refused = 0
        self.resolved: set[bytes] = set()
        self.deleted: list[bytes] = []
        self._room = room

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def send(
        self, _range_id: int, operations: tuple[RangeOperation, ...], _deadline: float, *, repeatable: bool
    ) -> RangeReply:
        assert repeatable
        if not self._room:
            self.refused += 1
            return RangeReply(0, error=Overloaded("3 requests are under way on n1"))
        self._room -= 1
        await asyncio.sleep(0.002)
        self._room += 1
        match operations:
            case (ResolveIntents(transaction_id=resolved),):
                self.resolved.add(resolved)
            case (DeleteRecord(transaction=transaction),):
                assert transaction.id in self.resolved
                self.deleted.append(transaction.id)
        return RangeReply(0)


def test_what_an_overloaded_node_refuses_of_a_sweep_comes_again_within_the_sweep() -> None:
    """With leftovers by the hundred and one sweep in two seconds, a few a sweep would take minutes (bank seed 2309)."""
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
                keys=(b"%03d" % number,),
            )
        )
        for number in range(12)
    )
    assert state.apply(Command(1, now, records), 1, WriteBatch())

    async def story() -> None:
        router = NarrowRouter(room=3)
        sweeper = Sweeper(router, SlowPusher())  # type: ignore[arg-type]
        for _ in range(PATIENCE_SWEEPS):
            await sweeper.sweep([(1, state, 1)])
        assert router.deleted == []
        begin = router.now()
        await sweeper.sweep([(1, state, 1)])
        assert router.refused > 0
        assert len(router.deleted) == 12
        assert router.now() - begin < 1.5 * BUDGET_S

    run_virtually(story())
