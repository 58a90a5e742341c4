"""The timestamp oracle in a whole cluster: only ever upward, and above whatever was acknowledged, by any protocol."""

from __future__ import annotations

import asyncio

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientPut,
    CommitTransaction,
    TransactionProtocol,
)
from reference_db.gateway.open_transaction import Failed
from reference_db.node import ClientConnection
from reference_db.timestamp import Timestamp
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

RECORD, PRIMARY_LOCK, _ = TransactionProtocol
HOUR_NS = 3_600_000_000_000


async def ready() -> World:
    world = World()
    world.start_all()
    await world.wait_until_led()
    await asyncio.sleep(0.3)
    return world


async def read(world: World, node: str, key: bytes) -> bytes | None:
    connection = ClientConnection()
    number = await world.ask(node, BeginTransaction(protocol=PRIMARY_LOCK), connection)
    value: bytes | None = await world.ask(node, ClientGet(key, number), connection)
    await world.ask(node, CommitTransaction(number), connection)
    return value


def test_timestamps_only_grow_though_each_leader_of_the_oracle_has_an_earlier_clock() -> None:
    """The leader dies again and again, and comes back with a clock that stands an hour further behind."""

    async def story() -> tuple[list[Timestamp], int]:
        world = await ready()
        taken: list[Timestamp] = []
        leaders: set[tuple[str, int]] = set()
        for turn in range(4):
            leader = world.leader(1)
            asker = next(name for name in world.names if name != leader)
            leaders.add((leader, world.nodes[leader].store.replicas[1].group.term))
            oracle = world.nodes[asker].coordinator.oracle
            deadline = asyncio.get_running_loop().time() + 5
            taken += await asyncio.gather(*(oracle.take(deadline) for _ in range(5)))
            world.crash(leader)
            world.clock_offsets_ns[leader] -= (turn + 1) * HOUR_NS
            await asyncio.sleep(3)
            world.start(leader)
            await world.wait_until_led()
        await world.stop()
        return taken, len(leaders)

    taken, leaders = run_virtually(story())
    assert leaders == 4
    assert taken == sorted(set(taken))


def test_those_who_ask_at_the_same_time_share_a_request() -> None:
    async def story() -> tuple[int, int, int]:
        world = await ready()
        oracle = world.nodes["n1"].coordinator.oracle
        deadline = asyncio.get_running_loop().time() + 5
        taken = await asyncio.gather(*(oracle.take(deadline) for _ in range(50)))
        await world.stop()
        return len(set(taken)), oracle.taken, oracle.requests

    assert run_virtually(story()) == (50, 50, 1)


def test_without_the_first_range_there_are_no_timestamps_and_nothing_has_happened() -> None:
    async def story() -> None:
        world = await ready()
        world.isolate("n1")
        with pytest.raises(Failed) as failure:
            await world.nodes["n1"].coordinator.oracle.take(asyncio.get_running_loop().time() + 1)
        assert failure.value.error.definite
        await world.stop()

    run_virtually(story())


@pytest.mark.parametrize("writer", ["outside of transactions", "record"])
def test_a_transaction_sees_what_others_have_written_with_clocks_that_are_an_hour_ahead(writer: str) -> None:
    """The oracle's leader has not heard of that clock; the writer's node has. The client goes from one node to another,
    and must find what it was told is there."""

    async def story() -> bytes | None:
        world = await ready()
        far = next(name for name in world.names if name != world.leader(1))
        world.clock_offsets_ns[far] += HOUR_NS
        key = b"m"
        if writer == "record":
            connection = ClientConnection()
            number = await world.ask(far, BeginTransaction(protocol=RECORD), connection)
            await world.ask(far, ClientPut(key, b"new", number), connection)
            await world.ask(far, CommitTransaction(number), connection)
        else:
            await world.ask(far, ClientPut(key, b"new"))
        other = next(name for name in world.names if name not in (far, world.leader(1)))
        value = await read(world, other, key)
        await world.stop()
        return value

    assert run_virtually(story()) == b"new"
