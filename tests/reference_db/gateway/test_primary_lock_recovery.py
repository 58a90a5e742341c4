"""Coordinators of protocol `primary-lock` die at every step of a commit: all or nothing stays, and no lock."""

from __future__ import annotations

import asyncio

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientForsake,
    ClientGet,
    ClientPut,
    CommitTransaction,
    Isolation,
    TransactionProtocol,
)
from reference_db.invariants import Watcher
from reference_db.node import ClientConnection, NodeOptions
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Unanswered, World

KEYS = (b"f", b"m", b"t")
OUTCOMES = {
    "first-intents-sent": b"old",
    "intents-sent": b"old",
    "intents-laid": b"old",
    "reads-moved": b"old",
    "decision-sent": b"new",
    "decided": b"new",
    "first-resolutions-sent": b"new",
    "resolutions-sent": b"new",
    "resolved": b"new",
}
"""Step -> what all keys hold in the end. Whoever dies before the commit is rolled back once its locks are too old."""


@pytest.mark.parametrize("step", OUTCOMES)
@pytest.mark.parametrize("finisher", ["a reader", "a sweep"])
def test_what_a_dead_coordinator_has_left_is_finished(step: str, finisher: str) -> None:
    async def story() -> tuple[list[bytes], int, int]:
        world = World(watcher=Watcher(), options=NodeOptions(fault_points="on"))
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(0.3)
        for key in KEYS:
            await world.ask("n1", ClientPut(key, b"old"))
        connection = ClientConnection()
        begin = BeginTransaction(protocol=TransactionProtocol.PRIMARY_LOCK, isolation=Isolation.SERIALIZABLE)
        number = await world.ask("n1", begin, connection)
        await world.ask("n1", ClientGet(b"a", number), connection)
        for key in KEYS:
            await world.ask("n1", ClientPut(key, b"new", number), connection)
        await world.ask("n1", ClientForsake(step, 1))
        try:
            await world.ask("n1", CommitTransaction(number), connection, timeout_s=1.0)
        except Unanswered:
            assert "resol" not in step
        await asyncio.sleep(30 if finisher == "a sweep" else 0.1)
        values = [await world.ask("n2", ClientGet(key), timeout_s=20) for key in reversed(KEYS)]
        await asyncio.sleep(20)
        left = sum(
            len(replica.state.locks) + len(replica.state.records)
            for node in world.nodes.values()
            for replica in node.store.replicas.values()
        )
        await world.stop()
        return values, left, len(world.violations)

    assert run_virtually(story()) == ([OUTCOMES[step]] * 3, 0, 0)
