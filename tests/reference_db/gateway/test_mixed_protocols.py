"""Transactions of all protocols meet in one database: transfers between the same accounts, one total at every time."""

from __future__ import annotations

import asyncio
import random

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGetMany,
    ClientPut,
    CommitTransaction,
    Isolation,
    TransactionProtocol,
)
from reference_db.invariants import Watcher
from reference_db.node import ClientConnection
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World

ACCOUNTS = (b"0", b"f", b"m", b"z")


@pytest.mark.parametrize("seed", range(2))
def test_the_total_stays_whoever_moves_the_money(seed: int) -> None:
    """Two processes a node; each draws a protocol and an isolation for every transaction. n2 dies in the middle, with
    what it drives in protocols that others can finish."""

    async def story() -> tuple[list[int], int, int, int]:
        world = World(seed=seed, watcher=Watcher())
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(0.3)
        for key in ACCOUNTS:
            await world.ask("n1", ClientPut(key, b"10"))
        stream = random.Random(seed)
        totals: list[int] = []
        committed = [0]
        safe = (TransactionProtocol.RECORD, TransactionProtocol.PRIMARY_LOCK)

        async def process(node: str) -> None:
            for _ in range(40):
                protocol = stream.choice(safe if node == "n2" else tuple(TransactionProtocol))
                isolation = stream.choice(tuple(Isolation))
                connection = ClientConnection()
                try:
                    number = await world.ask(
                        node, BeginTransaction(protocol=protocol, isolation=isolation), connection
                    )
                    values = await world.ask(node, ClientGetMany(ACCOUNTS, number), connection)
                    balances = [int(value) for value in values]
                    totals.append(sum(balances))
                    source, target = stream.sample(range(len(ACCOUNTS)), 2)
                    for place, amount in ((source, -1), (target, 1)):
                        new = b"%d" % (balances[place] + amount)
                        await world.ask(node, ClientPut(ACCOUNTS[place], new, number), connection)
                    await world.ask(node, CommitTransaction(number), connection)
                    committed[0] += 1
                except (Refused, Unanswered):
                    await asyncio.sleep(0.01 * stream.random())

        async def trouble() -> None:
            await asyncio.sleep(0.5)
            world.crash("n2")
            await asyncio.sleep(2)
            world.start("n2")

        await asyncio.gather(trouble(), *(process(node) for node in world.names for _ in range(2)))
        await asyncio.sleep(20)
        locks = sum(
            len(replica.state.locks) + len(replica.state.records)
            for node in world.nodes.values()
            for replica in node.store.replicas.values()
        )
        await world.stop()
        return totals, committed[0], locks, len(world.violations)

    totals, committed, left, violations = run_virtually(story())
    assert set(totals) == {40}
    assert committed > 20
    assert (left, violations) == (0, 0)
