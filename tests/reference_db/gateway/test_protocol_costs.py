"""What a transaction over two ranges costs in each protocol before its client hears of the commit: exact counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientPut,
    CommitTransaction,
    TransactionProtocol,
)
from reference_db.node import ClientConnection, NodeOptions
from reference_db.txn.command import Command, PutIntent, PutRecord, PutVersion, RemoveIntent
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

RECORD, PRIMARY_LOCK = TransactionProtocol.RECORD, TransactionProtocol.PRIMARY_LOCK


async def counted(protocol: TransactionProtocol, reads: bool = True, **options: Any) -> dict[str, Any]:
    """One transaction that reads and writes a key of each of two ranges, in a cluster that does nothing else. Rounds
    are log entries one of which was made after another was applied, so that they took their time one by one."""
    world = World(options=NodeOptions(**options))
    world.start_all()
    await world.wait_until_led()
    await asyncio.sleep(0.3)
    node = world.nodes["n1"]
    warm = ClientConnection()
    number = await world.ask("n1", BeginTransaction(protocol=protocol), warm)
    await world.ask("n1", ClientPut(b"zz", b"0", number), warm)
    await world.ask("n1", CommitTransaction(number), warm)
    await asyncio.sleep(0.1)
    proposed: list[Command] = []
    for one in world.nodes.values():
        for replica in one.store.replicas.values():
            replica._propose = _noting(replica._propose, proposed)  # type: ignore[method-assign]
    oracle = node.coordinator.oracle
    taken = oracle.taken
    connection = ClientConnection()
    number = await world.ask("n1", BeginTransaction(protocol=protocol), connection)
    if reads:
        for key in (b"f", b"m"):
            await world.ask("n1", ClientGet(key, number), connection)
    for key in (b"f", b"m"):
        await world.ask("n1", ClientPut(key, b"1", number), connection)
    await world.ask("n1", CommitTransaction(number), connection)
    before = list(proposed)
    await asyncio.sleep(3)
    kinds = Counter(_kind(command) for command in before)
    after = Counter(_kind(command) for command in proposed[len(before) :])
    held = {
        (name, replica.id): (len(replica.state.locks), len(replica.state.records))
        for name, one in world.nodes.items()
        for replica in one.store.replicas.values()
    }
    await world.stop()
    return {
        "laid": kinds["intents"],
        "decided": kinds["decision"],
        "window": kinds["other"],
        "resolved before": kinds["resolution"],
        "resolved after": after["resolution"],
        "oracle": oracle.taken - taken,
        "left": sorted(set(held.values())),
    }


def _noting(propose: Callable[[Any], None], proposed: list[Command]) -> Callable[[Any], None]:
    def note(works: Any) -> None:
        proposed.extend(work.command for work in works)
        propose(works)

    return note


def _kind(command: Command) -> str:
    mutations = command.mutations
    if any(isinstance(one, PutIntent) for one in mutations):
        return "intents"
    if any(isinstance(one, PutRecord) for one in mutations):
        return "decision"
    if any(isinstance(one, RemoveIntent) for one in mutations):
        return "resolution"
    return "other" if any(isinstance(one, PutVersion) for one in mutations) else "tidying"


@pytest.mark.parametrize("reads", [True, False])
def test_primary_lock_takes_two_rounds_and_two_timestamps_and_leaves_nothing(reads: bool) -> None:
    """Locks in both ranges at once, then the commit at the primary; the secondary is made final afterwards."""
    counts = run_virtually(counted(PRIMARY_LOCK, reads))
    assert counts == {
        "laid": 2,
        "decided": 1,
        "window": 0,
        "resolved before": 0,
        "resolved after": 1,
        "oracle": 2,
        "left": [(0, 0)],
    }


@pytest.mark.parametrize("reads", [True, False])
def test_async_commit_takes_one_round_and_one_timestamp_before_the_answer(reads: bool) -> None:
    """The locks are the commit. The primary says so afterwards."""
    counts = run_virtually(counted(PRIMARY_LOCK, reads, async_commit=True))
    assert counts == {
        "laid": 2,
        "decided": 0,
        "window": 0,
        "resolved before": 0,
        "resolved after": 1,
        "oracle": 1,
        "left": [(0, 0)],
    }


def test_record_takes_two_rounds_and_no_timestamp_of_the_oracle() -> None:
    """Intents in both ranges at once, in the anchor's with the record, which is then turned."""
    counts = run_virtually(counted(RECORD))
    assert counts == {
        "laid": 2,
        "decided": 1,
        "window": 0,
        "resolved before": 0,
        "resolved after": 1,
        "oracle": 0,
        "left": [(0, 0)],
    }
