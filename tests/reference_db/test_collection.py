"""Collection of versions in a live cluster: what is old goes on every replica, and nobody reads wrongly for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientDelete,
    ClientGet,
    ClientPut,
    ClientScan,
    CommitTransaction,
    TransactionProtocol,
    TransactionRetry,
)
from reference_db.invariants import Watcher
from reference_db.node import ClientConnection, NodeOptions
from reference_db.timestamp import ZERO
from reference_db.trace import RecordingTrace
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World


async def ready_world(gc_ttl_ms: int = 200, **options: Any) -> World:
    world = World(options=NodeOptions(gc_ttl_ms=gc_ttl_ms, **options), watcher=Watcher())
    world.start_all()
    await world.wait_until_led()
    return world


def versions_of(world: World, key: bytes) -> list[int]:
    """How many versions of a key each node holds."""
    found = []
    for node in world.nodes.values():
        mvcc = next(one for one in node.store.replicas.values() if one.state.contains(key)).state.mvcc
        found.append(sum(1 for _ in mvcc.versions(key, key + b"\x00")))
    return found


def marks(world: World) -> set[str]:
    assert isinstance(world.trace, RecordingTrace)
    return set(world.trace.marks)


async def finish(world: World) -> None:
    assert world.violations == []
    assert world.watcher is not None
    assert world.watcher.provenance.audit_outcomes() == []
    for _, range_id, held, _ in world.watcher.held_and_written():
        assert world.watcher.provenance.audit_writers(range_id, held) == []
    await world.stop()


def test_old_versions_and_deleted_keys_go_from_every_replica() -> None:
    async def story() -> None:
        world = await ready_world()
        for number in range(30):
            await world.ask("n1", ClientPut(b"often", b"%d" % number))
        await world.ask("n2", ClientPut(b"gone", b"1"))
        await world.ask("n2", ClientDelete(b"gone"))
        assert max(versions_of(world, b"often")) == 30
        await world.wait_for(
            lambda: versions_of(world, b"often") == [1] * 3 and versions_of(world, b"gone") == [0] * 3,
            what="one version of one key, and none of the other",
        )
        assert await world.ask("n3", ClientGet(b"often")) == b"29"
        assert [key for key, _ in await world.ask("n3", ClientScan(b"a", None, 0))] == [b"often"]
        assert sum(node.status()["counters"]["versions_collected"] for node in world.nodes.values()) == 31
        # Nothing is written any more, so nobody collects, and ranges can sleep.
        entries = [one.applied_index for one in world.nodes["n1"].store.replicas.values()]
        await asyncio.sleep(3.0)
        assert [one.applied_index for one in world.nodes["n1"].store.replicas.values()] == entries
        await finish(world)

    run_virtually(story())


def test_an_open_transaction_keeps_what_it_reads_for_a_while_and_is_told_to_start_again_after_that() -> None:
    async def story() -> None:
        world = await ready_world()
        await world.ask("n1", ClientPut(b"k", b"old"))
        await world.ask("n1", ClientPut(b"z", b"old"))
        connection = ClientConnection()
        number = await world.ask("n3", BeginTransaction(), connection)
        assert await world.ask("n3", ClientGet(b"k", number), connection) == b"old"
        for _ in range(5):
            await world.ask("n1", ClientPut(b"z", b"new"))
        await asyncio.sleep(1.0)
        # Five times to live later its snapshot is still whole, though a range away the key was overwritten.
        assert "versions were kept for an open transaction" in marks(world)
        assert await world.ask("n3", ClientGet(b"z", number), connection) == b"old"
        await world.wait_for(lambda: versions_of(world, b"z") == [1] * 3, what="the snapshot is given up")
        with pytest.raises(Refused) as refused:
            await world.ask("n3", ClientGet(b"z", number), connection)
        assert isinstance(refused.value.error, TransactionRetry)
        assert refused.value.definite
        assert "a read was refused below the threshold of what is kept" in marks(world)
        await finish(world)

    run_virtually(story())


@pytest.mark.parametrize("protocol", TransactionProtocol)
def test_a_blind_write_of_an_old_transaction_never_lies_below_what_was_collected(
    protocol: TransactionProtocol,
) -> None:
    """1. It reads at 5. 2. Somebody writes and deletes its key, and both are collected. 3. It must not commit as if
    nobody had."""

    async def story() -> None:
        world = await ready_world()
        await world.ask("n1", ClientPut(b"a", b"read"))
        connection = ClientConnection()
        number = await world.ask("n2", BeginTransaction(ZERO, protocol), connection)
        assert await world.ask("n2", ClientGet(b"k", number), connection) is None
        await world.ask("n1", ClientPut(b"k", b"theirs"))
        await world.ask("n1", ClientDelete(b"k"))
        await world.wait_for(lambda: versions_of(world, b"k") == [0] * 3, what="nothing is left of the key")
        await world.ask("n2", ClientPut(b"k", b"mine", number), connection)
        await world.ask("n2", ClientPut(b"z", b"mine", number), connection)
        with pytest.raises(Refused) as refused:
            await world.ask("n2", CommitTransaction(number), connection)
        assert isinstance(refused.value.error, TransactionRetry)
        assert await world.ask("n3", ClientGet(b"k")) is None
        await finish(world)

    run_virtually(story())


def test_a_clock_that_jumps_ahead_makes_nothing_old() -> None:
    async def story() -> None:
        world = await ready_world(gc_ttl_ms=60_000)
        for number in range(5):
            await world.ask("n1", ClientPut(b"k", b"%d" % number))
        for name in world.names:
            world.clock_offsets_ns[name] = 3_600_000_000_000
        await asyncio.sleep(30.0)
        assert versions_of(world, b"k") == [5] * 3
        await finish(world)

    run_virtually(story())
