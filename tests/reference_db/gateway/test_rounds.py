"""How many consensus rounds a commit waits for, counted exactly: in entries of logs, and in hops of the network."""

import asyncio
from typing import Any

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientGetMany,
    ClientPut,
    ClientRequest,
    CommitTransaction,
    TransactionRetry,
)
from reference_db.invariants import Watcher
from reference_db.node import ClientConnection, NodeOptions
from reference_db.trace import RecordingTrace
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World

HOP_S = 0.01
"""Every frame takes so long, and everything else next to nothing."""


async def calm_world(**options: Any) -> World:
    """Everybody is connected and led, and every record of the past forgotten."""
    world = World(options=NodeOptions(lock_wait_ticks=0, **options))
    world.start_all()
    await world.wait_until_led()
    await asyncio.sleep(5)
    world.delay_s = (HOP_S, HOP_S)
    world.sync_s = (0.0, 0.0)
    assert [world.leader(one) for one in (1, 2, 3, 4)] == ["n1", "n2", "n3", "n1"]
    return world


async def transact(world: World, writes: dict[bytes, bytes], reads: tuple[bytes, ...] = ()) -> float:
    """A transaction through n1; how long its commit took, in hops."""
    connection = ClientConnection()
    number = await world.ask("n1", BeginTransaction(), connection)
    for key in reads:
        await world.ask("n1", ClientGet(key, number), connection)
    for key, value in writes.items():
        await world.ask("n1", ClientPut(key, value, number), connection)
    loop = asyncio.get_running_loop()
    node, done = world.nodes["n1"], loop.create_future()
    began = loop.time()
    node.handle(ClientRequest(10_000 + number, CommitTransaction(number)), connection, done.set_result)
    reply = await done
    assert reply.error is None, reply.error
    return round((loop.time() - began) / HOP_S, 2)


def applied(world: World) -> dict[int, int]:
    """The last index of each range's log, at its leader."""
    return {
        range_id: world.nodes[world.leader(range_id) or ""].store.replicas[range_id].group.core.log.last_index
        for range_id in world.range_ids()
    }


async def entries_of(
    world: World, writes: dict[bytes, bytes], reads: tuple[bytes, ...] = ()
) -> dict[int, int]:
    """How many entries each range's log got by one transaction, until nothing is left of it."""
    before = applied(world)
    await transact(world, writes, reads)
    await world.wait_for(world.is_quiet, 60)
    await asyncio.sleep(3)
    after = applied(world)
    return {
        range_id: after[range_id] - before[range_id]
        for range_id in after
        if after[range_id] > before[range_id]
    }


LOCAL_COMMIT = 2
"""Hops of a round: the entry to a follower, and its answer."""
REMOTE_COMMIT = 4
"""And before and after it the request and the reply, where somebody else leads."""
TWO_RANGES = {b"f": b"1", b"m": b"2"}
"""Led by n2 and n3."""


def run(
    writes: dict[bytes, bytes], reads: tuple[bytes, ...] = (), **options: Any
) -> tuple[float, dict[int, int]]:
    """Hops that a commit takes, and entries of the ranges, of the same transaction twice."""

    async def story() -> tuple[float, dict[int, int]]:
        world = await calm_world(**options)
        hops = await transact(world, writes, reads)
        await world.wait_for(world.is_quiet, 60)
        await asyncio.sleep(3)
        entries = await entries_of(world, writes, reads)
        await world.stop()
        return hops, entries

    return run_virtually(story())


def test_a_transaction_in_one_range_takes_one_round_and_one_entry() -> None:
    assert run({b"z": b"1", b"y": b"2"}) == (LOCAL_COMMIT, {4: 1})
    assert run({b"f": b"1", b"g": b"2"}) == (REMOTE_COMMIT, {2: 1})
    assert run({b"f": b"1", b"g": b"2"}, reads=(b"f", b"m")) == (REMOTE_COMMIT, {2: 1})


def test_without_the_fast_path_one_range_takes_two_rounds() -> None:
    """Intents and record, the decision with its versions, and the record is forgotten."""
    assert run({b"f": b"1", b"g": b"2"}, one_range_commit=False) == (2 * REMOTE_COMMIT, {2: 3})


def test_several_ranges_take_two_rounds_and_one_if_they_commit_in_parallel() -> None:
    """The same entries: the anchor's as above, and in the other range the intent and what it becomes."""
    assert run(TWO_RANGES) == (2 * REMOTE_COMMIT, {2: 3, 3: 2})
    assert run(TWO_RANGES, parallel_commit=True) == (REMOTE_COMMIT, {2: 3, 3: 2})
    three = {**TWO_RANGES, b"z": b"3"}
    assert run(three) == (2 * REMOTE_COMMIT, {2: 3, 3: 2, 4: 2})
    assert run(three, parallel_commit=True) == (REMOTE_COMMIT, {2: 3, 3: 2, 4: 2})


@pytest.mark.parametrize("parallel_commit", [False, True])
def test_a_transaction_that_only_reads_takes_no_entry_and_no_time_to_commit(parallel_commit: bool) -> None:
    assert run({}, reads=(b"f", b"m", b"z"), parallel_commit=parallel_commit) == (0, {})


def test_a_write_below_somebodys_read_takes_the_second_round() -> None:
    """It cannot be where it was to be, so its intents alone don't commit it."""

    async def story() -> None:
        world = await calm_world(parallel_commit=True)
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        await world.ask("n1", ClientGet(b"a", number), connection)
        # Somebody reads later than the transaction, what it will write.
        assert await world.ask("n2", ClientGetMany((b"f", b"m"))) == [None, None]
        for key, value in TWO_RANGES.items():
            await world.ask("n1", ClientPut(key, value, number), connection)
        await world.ask("n1", CommitTransaction(number), connection)
        assert isinstance(world.trace, RecordingTrace)
        assert not world.trace.marks["a transaction was committed in parallel with its intents"]
        assert await world.ask("n3", ClientGetMany((b"f", b"m"))) == [b"1", b"2"]
        await world.wait_for(world.is_quiet, 60)
        await world.stop()

    run_virtually(story())


def test_whoever_meets_an_intent_finishes_what_a_dead_coordinator_left() -> None:
    """n1 dies at each half hop of its commit; its request to n3 arrives late, or never. What it acknowledged is there,
    all or nothing is there in any case, and no lock and no record is left."""
    marks: dict[str, int] = {}
    seen = set()

    async def story(after_hops: float, *, n3_hears: bool = True) -> None:
        watcher = Watcher()
        trace = RecordingTrace()
        world = World(options=NodeOptions(parallel_commit=True), watcher=watcher, trace=trace)
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(5)
        world.delay_s, world.sync_s = (HOP_S, HOP_S), (0.0, 0.0)
        # n3's range hears of it later than n2's.
        world.extra_delay_s[("n1", "n3")] = HOP_S
        if not n3_hears:
            world.cut.add(("n1", "n3"))
        committing = asyncio.ensure_future(transact(world, TWO_RANGES))
        await asyncio.sleep(after_hops * HOP_S)
        acknowledged = committing.done()
        world.crash("n1")
        committing.cancel()
        found = None
        while found is None:
            try:
                found = await world.ask("n2", ClientGetMany((b"f", b"m")), timeout_s=20.0)
            except (Refused, Unanswered):
                continue
        assert found in ([None, None], [b"1", b"2"]), found
        assert found == [b"1", b"2"] or not acknowledged
        seen.add((acknowledged, found[0]))
        world.heal()
        world.start("n1")
        await world.wait_for(world.is_quiet, 60)
        for name, count in trace.marks.items():
            marks[name] = marks.get(name, 0) + count
        assert not world.violations, world.violations
        await world.stop()

    for halves in range(2, 16):
        run_virtually(story(halves / 2 + 0.25))
    run_virtually(story(3.25, n3_hears=False))
    assert seen == {(False, None), (False, b"1"), (True, b"1")}
    assert marks["a staging transaction was recovered as committed"]
    assert marks["a staging transaction was recovered as aborted"]


@pytest.mark.parametrize("parallel_commit", [False, True])
def test_two_that_wait_for_each_other_do_not_wait_long(parallel_commit: bool) -> None:
    """1. The older locks f, and its request for m is late. 2. The younger locks m, and waits for f. 3. The older comes
    to m: it waits for nobody younger, so the younger must begin anew. Nobody waits until a lock expires."""

    async def story() -> None:
        world = await calm_world(parallel_commit=parallel_commit)
        world.extra_delay_s[("n1", "n3")] = 5 * HOP_S
        loop = asyncio.get_running_loop()
        began = loop.time()
        connections = [ClientConnection(), ClientConnection()]
        numbers = []
        for name, connection in zip(("n1", "n3"), connections, strict=True):
            await asyncio.sleep(0.05)
            numbers.append(await world.ask(name, BeginTransaction(), connection))
            for key in TWO_RANGES:
                await world.ask(name, ClientPut(key, name.encode(), numbers[-1]), connection)
        outcomes = await asyncio.gather(
            *(
                world.ask(name, CommitTransaction(number), connection, timeout_s=30)
                for name, number, connection in zip(("n1", "n3"), numbers, connections, strict=True)
            ),
            return_exceptions=True,
        )
        assert loop.time() - began < 2.0, "locks expire after 4 s"
        assert outcomes[0] is None
        assert isinstance(outcomes[1], Refused)
        assert isinstance(outcomes[1].error, TransactionRetry)
        assert await world.ask("n2", ClientGetMany((b"f", b"m"))) == [b"n1", b"n1"]
        await world.wait_for(world.is_quiet, 60)
        await world.stop()

    run_virtually(story())
