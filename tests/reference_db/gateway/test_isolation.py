"""What a transaction of each protocol and isolation may miss: each anomaly at its smallest, beside its twin."""

import asyncio

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientPut,
    CommitTransaction,
    Isolation,
    TransactionProtocol,
)
from reference_db.node import ClientConnection
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World

PROTOCOLS = list(TransactionProtocol)


async def ready() -> World:
    world = World()
    world.start_all()
    await world.wait_until_led()
    await asyncio.sleep(0.3)
    for key in (b"f", b"m"):
        await world.ask("n1", ClientPut(key, b"0"))
    return world


async def begin(
    world: World, node: str, protocol: TransactionProtocol, isolation: Isolation
) -> tuple[ClientConnection, int]:
    connection = ClientConnection()
    number = await world.ask(node, BeginTransaction(protocol=protocol, isolation=isolation), connection)
    return connection, number


async def skew(protocol: TransactionProtocol, isolation: Isolation, second_writes: bytes) -> list[bool]:
    """Two transactions read both keys; the first writes f, the second what is said. Which of them commit?"""
    world = await ready()
    both = [await begin(world, node, protocol, isolation) for node in ("n1", "n2")]
    for (connection, number), node in zip(both, ("n1", "n2"), strict=True):
        for key in (b"f", b"m"):
            assert await world.ask(node, ClientGet(key, number), connection) == b"0"
    committed = []
    for (connection, number), node, key in zip(both, ("n1", "n2"), (b"f", second_writes), strict=True):
        await world.ask(node, ClientPut(key, b"1", number), connection)
        try:
            await world.ask(node, CommitTransaction(number), connection)
            committed.append(True)
        except Refused as refused:
            committed.append(not refused.definite)
    await world.stop()
    return committed


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_write_skew_commits_under_snapshot_isolation_and_never_when_serializable(
    protocol: TransactionProtocol,
) -> None:
    """Each writes what the other has read."""
    assert run_virtually(skew(protocol, Isolation.SNAPSHOT, b"m")) == [True, True]
    assert run_virtually(skew(protocol, Isolation.SERIALIZABLE, b"m")) == [True, False]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("isolation", Isolation)
def test_an_update_is_lost_under_no_isolation(protocol: TransactionProtocol, isolation: Isolation) -> None:
    """Both write the key that both have read: the first committer wins."""
    assert run_virtually(skew(protocol, isolation, b"f")) == [True, False]
