"""A sweep looks after many leftovers at the same time."""

import asyncio
from types import SimpleNamespace
from typing import Any

from reference_db.api import IntentConflict, Transaction
from reference_db.gateway.sweeper import BUDGET_S, PATIENCE_SWEEPS, Sweeper
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.timestamp import Timestamp
from reference_db.txn.command import Command, PutIntent
from reference_db.txn.locks import Intent
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
