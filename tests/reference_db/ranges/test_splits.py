"""Ranges that split while clients write: what it costs, and that nobody notices."""

import asyncio
from typing import Any

import msgspec
import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientGetMany,
    ClientPut,
    ClientScan,
    ClientSplit,
    CommitTransaction,
)
from reference_db.invariants import Watcher
from reference_db.node import ClientConnection, NodeOptions
from reference_db.raft import Message, MessageKind
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World

SETTLED = NodeOptions(settled_ticks=1_000_000)


async def begun(ranges: int = 1, seed: int = 0, options: NodeOptions = SETTLED) -> World:
    world = World(seed=seed, ranges=ranges, options=options, watcher=Watcher())
    world.start_all()
    await world.wait_until_led()
    return world


async def ended(world: World) -> None:
    await asyncio.sleep(3)
    await world.stop()
    assert [str(one) for one in world.violations] == []


def spans(world: World, node: str) -> list[tuple[int, bytes, bytes | None, int]]:
    """What a node's replicas hold, in key order."""
    found = [replica.descriptor for replica in world.nodes[node].store.replicas.values()]
    return sorted(
        ((one.id, one.start, one.end, one.generation) for one in found), key=lambda one: (one[1], one[0])
    )


def test_a_split_is_one_entry_and_copies_nothing() -> None:
    async def story() -> None:
        world = await begun()
        for number in range(20):
            await world.ask("n1", ClientPut(b"key%02d" % number, b"v" * 1000))
        leader = world.leader(1)
        assert leader is not None
        await world.ask("n1", ClientPut(b"\x02", b"the id counter is warm"))
        replica = world.nodes[leader].store.replicas[1]
        found = await world.ask("n2", ClientSplit(b"key10"))
        assert found == [[1, b"", b"key10", 2], [2, b"key10", None, 2]]
        await asyncio.sleep(1)
        for node in world.names:
            assert spans(world, node) == [(1, b"", b"key10", 2), (2, b"key10", None, 2)]
            counters = world.nodes[node].store.counters
            assert (counters.splits, counters.snapshots) == (1, 0)
        # The leader of the left leads the right, and everything is where it was.
        assert world.leader(2) == leader
        assert replica.group.is_leader
        pairs = await world.ask("n3", ClientScan(b"", None))
        assert [key for key, _ in pairs][1:] == [b"key%02d" % number for number in range(20)]
        await ended(world)

    run_virtually(story())


def test_a_split_takes_one_entry_and_no_bytes_of_data() -> None:
    async def story() -> None:
        world = await begun()
        for number in range(50):
            await world.ask("n1", ClientPut(b"key%02d" % number, b"v" * 10_000))
        await world.ask("n1", ClientSplit(b"key25"))
        await asyncio.sleep(1)
        leader = world.nodes[world.leader(1) or ""].store.replicas[1]
        before = {node: world.engines[node].counters.bytes for node in world.names}
        last = leader.group.last_index
        await world.ask("n1", ClientSplit(b"key10"))
        await asyncio.sleep(1)
        # One entry splits, two write the counter of ids, in the range that holds it.
        assert leader.group.last_index == last + 2
        for node in world.names:
            assert world.engines[node].counters.bytes - before[node] < 2500
        await ended(world)

    run_virtually(story())


@pytest.mark.parametrize("seed", range(3))
def test_writes_go_on_while_their_range_is_split_again_and_again(seed: int) -> None:
    async def story() -> None:
        world = await begun(seed=seed)
        slowest = 0.0
        stop = False
        written: dict[bytes, bytes] = {}

        async def write(client: int) -> None:
            nonlocal slowest
            loop = asyncio.get_running_loop()
            number = 0
            while not stop:
                number += 1
                key = b"k%02d" % ((client * 37 + number * 11) % 100)
                key = b"%d%s" % (client, key)
                began = loop.time()
                await world.ask(world.names[client % 3], ClientPut(key, b"%d" % number))
                slowest = max(slowest, loop.time() - began)
                written[key] = b"%d" % number
                if number % 7 == 0:
                    assert await world.ask(world.names[number % 3], ClientGet(key)) == written[key]
                    slowest = max(slowest, loop.time() - began)
                await asyncio.sleep(0.001)

        writers = [asyncio.ensure_future(write(client)) for client in range(6)]
        for number in range(30):
            await asyncio.sleep(0.05)
            await world.ask(world.names[number % 3], ClientSplit(b"%dk%02d" % (number % 6, number * 3)))
        stop = True
        await asyncio.gather(*writers)
        assert slowest < 0.6, "far from an election timeout of 1 to 2 s"
        keys = sorted(written)
        assert await world.ask("n1", ClientGetMany(tuple(keys))) == [written[key] for key in keys]
        assert len(world.nodes["n1"].store.replicas) > 25
        assert sum(world.nodes[node].store.counters.snapshots for node in world.names) == 0
        await ended(world)

    run_virtually(story())


def test_a_transaction_goes_on_across_a_split_between_its_writes_and_its_commit() -> None:
    async def story() -> None:
        world = await begun(options=msgspec.structs.replace(SETTLED, one_range_commit=False))
        client = ClientConnection()
        number = await world.ask("n2", BeginTransaction(), client)
        assert await world.ask("n2", ClientGet(b"a", number), client) is None
        await world.ask("n2", ClientPut(b"a", b"1", number), client)
        await world.ask("n2", ClientPut(b"z", b"2", number), client)
        coordinator = world.nodes["n2"].coordinator.record
        decide = coordinator._decide

        async def split_first(*arguments: Any) -> Any:
            await world.ask("n1", ClientSplit(b"m"))
            return await decide(*arguments)

        coordinator._decide = split_first  # type: ignore[method-assign]
        await world.ask("n2", CommitTransaction(number), client)
        assert world.trace.marks["a transaction's anchor and its other keys were parted by a split"] == 1  # type: ignore[attr-defined]
        assert await world.ask("n3", ClientGetMany((b"a", b"z"))) == [b"1", b"2"]
        await ended(world)
        assert world.is_quiet()

    run_virtually(story())


def test_keys_of_the_system_are_nobodys() -> None:
    async def story() -> None:
        world = await begun()
        await world.ask("n1", ClientSplit(b"m"))
        for operation in (ClientPut(b"\x00k", b"v"), ClientGet(b"\x00range-ids"), ClientSplit(b"\x00")):
            with pytest.raises(Refused, match=r"system|split at keys"):
                await world.ask("n1", operation)
        assert await world.ask("n1", ClientScan(b"", None)) == []
        await ended(world)

    run_virtually(story())


def other_than(world: World, *nodes: str | None) -> str:
    return next(name for name in world.names if name not in nodes)


def same_everywhere(world: World) -> bool:
    """All nodes hold the same ranges, and have applied the same."""
    first, *others = (
        {
            one.id: (one.descriptor, one.applied_index)
            for one in node.store.replicas.values()
            if one.descriptor.is_known
        }
        for node in world.nodes.values()
    )
    return all(other == first for other in others)


def test_a_follower_that_was_down_applies_the_split_from_the_log() -> None:
    async def story() -> None:
        world = await begun()
        follower = other_than(world, world.leader(1))
        await world.ask(world.leader(1) or "", ClientPut(b"k", b"1"))
        world.crash(follower)
        asked = other_than(world, follower)
        await world.ask(asked, ClientSplit(b"k"))
        await world.ask(asked, ClientPut(b"k", b"2"))
        world.start(follower)
        await world.wait_for(lambda: same_everywhere(world), what="the follower catches up")
        assert sum(node.store.counters.snapshots for node in world.nodes.values()) == 0
        assert await world.ask(follower, ClientGet(b"k")) == b"2"
        await ended(world)

    run_virtually(story())


@pytest.mark.parametrize("seed", range(3))
def test_a_follower_that_missed_the_split_gets_both_halves_by_snapshots(seed: int) -> None:
    """1. A follower is cut off; the range is split, and the entry leaves the log of the left half. 2. The follower
    comes back: the left half's snapshot makes it give up the right half's keys, and only then may it have those."""

    async def story() -> None:
        options = NodeOptions(settled_ticks=1_000_000, log_entries_kept=10, log_bytes_most=1000)
        world = await begun(seed=seed, options=options)
        follower = other_than(world, world.leader(1))
        for number in range(10):
            await world.ask(other_than(world, follower), ClientPut(b"k%d" % number, b"old"))
        world.isolate(follower)
        await world.ask(other_than(world, follower), ClientSplit(b"k5"))
        for number in range(40):
            await world.ask(other_than(world, follower), ClientPut(b"k%d" % (number % 10), b"new%d" % number))
        replica = world.nodes[follower].store.replicas[1]
        assert replica.descriptor.end is None
        world.heal()
        await world.wait_for(lambda: same_everywhere(world), what="the follower catches up", timeout_s=30)
        assert spans(world, follower) == [(1, b"", b"k5", 2), (2, b"k5", None, 2)]
        assert world.trace.marks["a replica was restored from a snapshot"] >= 2  # type: ignore[attr-defined]
        await ended(world)

    run_virtually(story())


def test_a_snapshot_that_leaves_in_the_turn_of_a_split_is_whole() -> None:
    """In one turn the leader hears that a split is committed, and that a follower needs a snapshot. The split is
    applied, and not written yet: what is sent is the range as it was before, all of it. It was half of it, and said to
    be all: the follower kept what it had of the other half, and lost what was written there meanwhile."""

    async def story() -> None:
        options = NodeOptions(settled_ticks=1_000_000, log_entries_kept=10, log_bytes_most=1000)
        world = await begun(options=options)
        for number in range(10):
            await world.ask("n1", ClientPut(b"k%d" % number, b"old"))
        leader = world.leader(1)
        follower = other_than(world, leader)
        (third,) = {*world.names} - {leader, follower}
        world.isolate(follower)
        for number in range(40):
            await world.ask(leader, ClientPut(b"k%d" % (number % 10), b"new%d" % number))
        replica = world.nodes[leader].store.replicas[1]
        last = replica.group.core.log.last_index
        splitting = asyncio.ensure_future(world.ask(leader, ClientSplit(b"k5")))
        await world.wait_for(
            lambda: replica.group.core.log.last_index == last + 2,
            what="the number of the new range and the split are proposed",
            step_s=0.0001,
        )
        world.holding = {(follower, leader), (third, leader)}
        world.cut.clear()
        await asyncio.sleep(0.3)
        assert replica.descriptor.end is None
        world.let_go()
        await splitting
        await world.wait_for(lambda: same_everywhere(world), what="the follower catches up", timeout_s=30)
        assert spans(world, follower) == [(1, b"", b"k5", 2), (2, b"k5", None, 2)]
        assert await world.ask(follower, ClientGet(b"k7")) == b"new37"
        await ended(world)

    run_virtually(story())


def test_two_of_three_elect_a_leader_though_one_of_them_has_nothing_of_the_range_yet() -> None:
    """1. n3 is cut off while the range is split and the log cut. 2. A node that has the right half dies for good. 3.
    The other one needs the vote of n3, which can only be brought up to date by a leader."""

    async def story() -> None:
        options = NodeOptions(settled_ticks=1_000_000, log_entries_kept=10, log_bytes_most=1000)
        world = await begun(options=options)
        leader = world.leader(1)
        assert leader is not None
        behind = other_than(world, leader)
        for number in range(10):
            await world.ask(leader, ClientPut(b"k%d" % number, b"old"))
        world.isolate(behind)
        await world.ask(leader, ClientSplit(b"k5"))
        for number in range(40):
            await world.ask(leader, ClientPut(b"k%d" % (number % 10), b"new%d" % number))
        await asyncio.sleep(0.5)
        world.crash(leader)
        world.heal()
        left = other_than(world, leader, behind)
        await world.wait_for(lambda: world.leader(2) == left, what="a leader of the right half", timeout_s=30)
        assert await world.ask(left, ClientGet(b"k9"), timeout_s=8) == b"new39"
        assert await world.ask(behind, ClientGet(b"k1"), timeout_s=8) == b"new31"
        await world.wait_for(lambda: same_everywhere(world), what="all caught up", timeout_s=30)
        await ended(world)

    run_virtually(story())


@pytest.mark.parametrize("seed", range(8))
def test_a_crash_at_any_moment_of_a_split_leaves_one_range_or_two(seed: int) -> None:
    """The leader dies a random while after it was told to split, with a random part of what was not synced."""

    async def story() -> None:
        world = await begun(seed=seed)
        leader = world.leader(1)
        assert leader is not None
        for number in range(10):
            await world.ask(leader, ClientPut(b"k%d" % number, b"v%d" % number))
        await world.ask(leader, ClientSplit(b"\x02"))
        asking = asyncio.ensure_future(world.ask(leader, ClientSplit(b"k5"), timeout_s=2))
        await asyncio.sleep(world.random.uniform(0, 0.02))
        victim = world.names[seed % 3]
        world.crash(victim)
        await asyncio.wait([asking])
        asking.exception()
        await asyncio.sleep(0.3 * (seed % 3))
        world.start(victim)
        await world.wait_for(lambda: same_everywhere(world), what="all caught up", timeout_s=30)
        for number in range(10):
            assert await world.ask(victim, ClientGet(b"k%d" % number), timeout_s=8) == b"v%d" % number
        await ended(world)

    run_virtually(story())


def test_a_vote_that_was_given_before_the_split_is_kept() -> None:
    """A node that has not applied a split is asked to vote in the right half's first terms. The split's first state
    must not make it forget whom it voted for."""

    async def story() -> None:
        world = await begun()
        leader = world.leader(1)
        assert leader is not None
        late = other_than(world, leader)
        other = other_than(world, leader, late)
        await world.ask(leader, ClientSplit(b"\x02"))
        node = world.nodes[late]
        # It does not hear of the next split, and is asked by both others in turn, which are ahead of it.
        world.cut |= {(leader, late), (other, late)}
        asking = asyncio.ensure_future(world.ask(leader, ClientSplit(b"k")))
        await asking
        vote = Message(MessageKind.VOTE, 3, world.names.index(other) + 1, 9, 40, 9)
        node.store.receive([(3, vote)])
        await asyncio.sleep(0.05)
        early = node.store.replicas[3]
        assert not early.descriptor.is_known
        assert (early.group.term, early.group.core.vote) == (9, world.names.index(other) + 1)
        world.heal()
        await world.wait_for(lambda: node.store.replicas[3].descriptor.is_known, what="the split arrives")
        assert early.is_retired
        core = node.store.replicas[3].group.core
        assert core.term >= 9
        assert core.term > 9 or core.vote == world.names.index(other) + 1
        assert world.trace.marks["a split met a replica that had voted before it"] >= 1  # type: ignore[attr-defined]
        await world.wait_for(lambda: world.leader(3) is not None, what="a leader")
        await ended(world)

    run_virtually(story())
