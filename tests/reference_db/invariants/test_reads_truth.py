"""What was read stays true: the rule by itself, and what a leader that forgets reads makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientMerge,
    ClientPut,
    ClientTransfer,
    CommitTransaction,
    Consistency,
    Get,
    RangeReply,
    RangeRequest,
    Refresh,
    Refreshed,
    Result,
    Scan,
    ScanResult,
    Transaction,
    ValueResult,
)
from reference_db.defects import merge_forgets_reads, reads_forgotten_on_transfer
from reference_db.invariants import Watcher
from reference_db.invariants.reads import ServedReads
from reference_db.node import ClientConnection, Node
from reference_db.ranges.descriptor import Descriptor
from reference_db.timestamp import Timestamp
from reference_db.txn.command import Command, PutVersion
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


def at(number: int) -> Timestamp:
    return Timestamp(number)


def read(
    truth: ServedReads, operation: Get | Scan | Refresh, result: Result, when: int, reader: bytes = b""
) -> None:
    owner = Transaction(reader, b"k", at(1), at(1)) if reader else None
    request = RangeRequest(1, 1, 1, (operation,), at(when), owner)
    truth.served(request, RangeReply(1, (result,), at(when)))


@pytest.mark.parametrize(
    ("consistency", "stays"), [(Consistency.LEASE, False), (Consistency.LINEARIZABLE, True)]
)
def test_a_read_by_lease_is_true_at_its_moment_and_promises_nothing_of_timestamps(
    consistency: Consistency, stays: bool
) -> None:
    """No quorum has heard of the clock of a leader that answers by a lease: the next one may write below it."""
    truth = ServedReads()
    request = RangeRequest(1, 1, 1, (Get(b"k"),), consistency=consistency)
    truth.served(request, RangeReply(1, (ValueResult(None),), at(5)))
    assert (truth.broken_by(writes(b"k", 4)) is not None) is stays


def writes(key: bytes, when: int, writer: bytes = b"") -> Command:
    return Command(1, at(when), (PutVersion(key, at(when), b"v", writer),))


def test_a_version_appears_above_every_read_of_its_key() -> None:
    truth = ServedReads()
    read(truth, Get(b"k"), ValueResult(None), 5)
    assert truth.broken_by(writes(b"k", 6)) is None
    assert truth.broken_by(writes(b"j", 4)) is None
    for when in (5, 4):
        assert "was read at" in (truth.broken_by(writes(b"k", when)) or "")


def test_a_transaction_may_write_where_it_has_read_itself() -> None:
    truth = ServedReads()
    read(truth, Get(b"k"), ValueResult(None), 5, b"t")
    read(truth, Get(b"k"), ValueResult(None), 9, b"t")
    assert truth.broken_by(writes(b"k", 5, b"t")) is None
    assert truth.broken_by(writes(b"k", 5, b"u")) is not None
    read(truth, Get(b"k"), ValueResult(None), 7, b"u")
    read(truth, Get(b"k"), ValueResult(None), 6, b"w")
    assert truth.broken_by(writes(b"k", 7, b"t")) is not None
    assert truth.broken_by(writes(b"k", 8, b"t")) is None


def test_spans_count_as_far_as_they_were_read() -> None:
    truth = ServedReads()
    read(truth, Scan(b"a", b"m", 1), ScanResult(((b"b", b"v"),), b"c"), 5)
    read(truth, Scan(b"a", b"m", 1, reverse=True), ScanResult(((b"l", b"v"),), b"l"), 5)
    read(truth, Refresh(b"x", None, at(1)), Refreshed(), 5)
    broken = [
        key
        for key in (b"a", b"b", b"c", b"k", b"l", b"m", b"w", b"x", b"z")
        if truth.broken_by(writes(key, 5))
    ]
    assert broken == [b"a", b"b", b"l", b"x", b"z"]


def range_of(world: World, key: bytes) -> Descriptor:
    (found,) = [
        replica.descriptor
        for replica in world.nodes["n1"].store.replicas.values()
        if replica.state.contains(key)
    ]
    return found


async def hand_over(world: World, key: bytes) -> None:
    """Another node leads the range of the key."""
    range_id = range_of(world, key).id
    target = next(name for name in world.names if name != world.leader(range_id))
    await world.ask("n1", ClientTransfer(range_id, target))
    await world.wait_for(lambda: world.leader(range_id) == target, 20, "the range is handed over")


async def merge(world: World, key: bytes) -> None:
    """The range of the key is absorbed by its left neighbour."""
    start = range_of(world, key).start
    await world.ask("n1", ClientMerge(start[:-1] or b"a"), timeout_s=20)
    await world.wait_for(lambda: range_of(world, key).start < start, 20, "the range is absorbed")


@pytest.mark.parametrize(
    ("change", "plant"),
    [
        (hand_over, reads_forgotten_on_transfer.plant),
        (hand_over, None),
        (merge, merge_forgets_reads.plant),
        (merge, None),
    ],
)
def test_a_leader_that_does_not_know_what_was_read_before_it_led_is_found_out(
    change: Callable[[World, bytes], Awaitable[None]], plant: Callable[[Node], None] | None
) -> None:
    """1. T begins, and so has its timestamp. 2. Somebody else reads a key later. 3. The key comes under another leader.
    4. T writes the key, and commits where it began."""

    async def story() -> list[str]:
        world = World(watcher=Watcher())
        world.start_all()
        for node in world.nodes.values() if plant is not None else ():
            plant(node)
        await world.wait_until_led()
        await asyncio.sleep(0.3)
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        await world.ask("n1", ClientGet(b"a", number), connection)
        await asyncio.sleep(0.1)
        assert await world.ask("n2", ClientGet(b"m")) is None
        await change(world, b"m")
        await world.ask("n1", ClientPut(b"m", b"new", number), connection)
        await world.ask("n1", CommitTransaction(number), connection)
        await world.stop()
        return [violation.name for violation in world.violations]

    assert run_virtually(story()) == ([] if plant is None else ["reads stay true"])
