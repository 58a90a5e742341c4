"""Bounded and stale reads from any replica: what they cost, how old they may be, and what stands in their way."""

import asyncio
import random

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientGetMany,
    ClientPut,
    ClientScan,
    CommitTransaction,
    Consistency,
    Get,
    Put,
    RangeRequest,
    Transaction,
    WriteIntent,
)
from reference_db.node import ClientConnection, NodeOptions
from reference_db.ranges.closed_timestamps import Closed, Closings
from reference_db.timestamp import Timestamp
from tests.reference_db.chosen import NOTHING, at_once, costs
from tests.reference_db.ranges.test_store import WALL_NS, Bench
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World

BOUNDED, STALE = Consistency.BOUNDED, Consistency.STALE
KEY = b"1k"
"""Of range 1."""
BOUND_MS = 1000


async def with_closings(nodes: int = 3, ranges: int = 2, **options: object) -> tuple[World, str, list[str]]:
    """A world in which every node has been asked for bounded reads of range 1 for a while; its leader, and the others
    that hold a replica."""
    chosen = NodeOptions(settled_ticks=1_000_000, **options)  # type: ignore[arg-type]
    world = World(seed=5, nodes=nodes, ranges=ranges, replication=nodes, options=chosen)
    world.start_all()
    await world.wait_until_led()
    leader = world.leader(1) or ""
    await world.ask(leader, ClientPut(KEY, b"old"))
    for name in world.names:
        await world.ask(name, ClientGet(KEY, 0, BOUNDED, BOUND_MS))
    await asyncio.sleep(0.6)
    return world, leader, [name for name in world.names if name != leader]


@pytest.mark.parametrize("consistency", [BOUNDED, STALE])
def test_a_read_from_a_followers_replica_costs_nothing(consistency: Consistency) -> None:
    async def story() -> None:
        world, _, followers = await with_closings()
        before = costs(world)
        for name in followers:
            reply = await at_once(world, name, KEY, consistency, BOUND_MS)
            assert reply is not None
            assert reply.value == b"old"
        assert costs(world).since(before) == NOTHING
        await world.stop()

    run_virtually(story())


def test_what_is_served_is_closed_and_applied() -> None:
    """While writes go on, the timestamp that a follower reads at is one that its leader takes no write below."""

    async def story() -> None:
        world, leader, followers = await with_closings()
        at_leader = world.nodes[leader].store.replicas[1]
        closed = world.nodes[followers[0]].store.closed
        seen = 0
        for number in range(50):
            await world.ask(leader, ClientPut(KEY, b"%d" % number))
            fresh = closed.newest(1)
            assert fresh is not None
            assert at_leader.leadership is not None
            assert fresh.timestamp <= at_leader.leadership.reads.low_water
            assert fresh.index <= world.nodes[followers[0]].store.replicas[1].applied_index
            reply = await at_once(world, followers[0], KEY, BOUNDED, BOUND_MS)
            assert reply is not None
            version = at_leader.state.mvcc.get(KEY, fresh.timestamp)
            assert version is not None
            assert reply.value == version.value
            seen += version.value != b"%d" % number
        assert seen, "some of them were older than the newest"
        await world.stop()

    run_virtually(story())


def test_a_follower_that_is_cut_off_answers_until_the_bound_and_not_beyond() -> None:
    """The wall clocks are wrong, which must not matter."""

    async def story() -> None:
        world, leader, followers = await with_closings()
        name = followers[0]
        world.clock_offsets_ns[name] -= 3_600_000_000_000
        world.isolate(name)
        cut_at = asyncio.get_running_loop().time()
        await world.ask(leader, ClientPut(KEY, b"new"))
        written_at = asyncio.get_running_loop().time()
        served = 0
        for _ in range(600):
            await asyncio.sleep(0.005)
            reply = await at_once(world, name, KEY, BOUNDED, BOUND_MS)
            if reply is None or reply.error is not None:
                continue
            served += 1
            assert reply.value == b"old"
            assert asyncio.get_running_loop().time() - written_at <= BOUND_MS / 1000
        assert served > 50
        assert asyncio.get_running_loop().time() - cut_at > 2
        stale = await at_once(world, name, KEY, STALE)
        assert stale is not None
        assert stale.value == b"old", "a stale read promises nothing"
        await world.stop()

    run_virtually(story())


def test_an_old_leader_that_does_not_know_of_its_successor_closes_nothing() -> None:
    """Of five nodes the leader is cut off together with one follower, and goes on telling it what it believes."""

    async def story() -> None:
        world, leader, followers = await with_closings(nodes=5)
        name = followers[0]
        world.isolate(leader, name)
        others = [one for one in world.names if one not in (leader, name)]
        await world.wait_for(
            lambda: any(world.nodes[one].store.replicas[1].leadership is not None for one in others)
        )
        successor = world.leader(1) or ""
        assert successor in others
        for node in others:
            world.nodes[node].directory.learn_leader(1, successor)
        await world.ask(successor, ClientPut(KEY, b"new"))
        written_at = asyncio.get_running_loop().time()
        for _ in range(600):
            await asyncio.sleep(0.005)
            reply = await at_once(world, name, KEY, BOUNDED, BOUND_MS)
            if reply is not None and reply.error is None:
                assert asyncio.get_running_loop().time() - written_at <= BOUND_MS / 1000
        await world.stop()

    run_virtually(story())


def test_an_intent_at_or_below_the_closed_timestamp_sends_the_read_to_the_leader() -> None:
    """It may become a version there. At a leader by itself, which closes for itself."""
    bench = Bench()
    bench.become_leader()
    bench.submit(Put(b"k", b"v"))
    bench.settle()
    bounded = RangeRequest(50, 1, 1, (_get(),), consistency=BOUNDED, max_staleness_ms=BOUND_MS)
    bench.store.submit(bounded, bench.replies.append)
    bench.settle()
    for _ in range(6):
        bench.ns += 100_000_000
        bench.store.tick()
        bench.store.closed.tick()
        bench.settle()
    bench.replies.clear()
    bench.store.submit(bounded, bench.replies.append)
    (reply,) = bench.replies
    assert reply.results[0].value == b"v"  # type: ignore[union-attr]
    closed = bench.store.closed.newest(1)
    assert closed is not None
    assert reply.timestamp == closed.timestamp

    # An intent that is asked for below what is closed comes to stand above it.
    writer = Transaction(b"w" * 16, b"k", Timestamp(WALL_NS, 1), Timestamp(WALL_NS, 1))
    intent = RangeRequest(51, 1, 1, (WriteIntent(b"k", b"later", 1),), Timestamp(WALL_NS, 2), writer)
    bench.replies.clear()
    bench.store.submit(intent, bench.replies.append)
    bench.settle()
    assert bench.store.replicas[1].state.locks.get(b"k").timestamp > closed.timestamp  # type: ignore[union-attr]
    bench.replies.clear()
    bench.store.submit(bounded, bench.replies.append)
    assert bench.replies[0].results[0].value == b"v", "it stands above what is read"  # type: ignore[union-attr]

    # Once the clock that is closed has passed it, it stands in the way.
    for _ in range(6):
        bench.ns += 100_000_000
        bench.store.tick()
        bench.store.closed.tick()
        bench.settle()
    refused = bench.store.reads.bounded_refused
    bench.replies.clear()
    bench.store.submit(bounded, bench.replies.append)
    assert bench.store.reads.bounded_refused == refused + 1
    assert bench.replies == []


def _get() -> Get:
    return Get(b"k")


def test_a_closing_that_answers_another_lifes_question_is_not_fresh() -> None:
    bench = Bench(nodes=("n1", "n2", "n3"))
    closed = bench.store.closed
    closed.want(1)
    closed.tick()
    probe = closed._probe
    old = Closings(closed=(Closed(1, 1, Timestamp(WALL_NS, 0), 0, probe - 10_000),))
    assert closed.heard("n2", old) is None
    assert closed.newest(1) is None
    closed.heard("n2", Closings(closed=(Closed(1, 1, Timestamp(WALL_NS, 0), 0, probe),)))
    fresh = closed.newest(1)
    assert fresh is not None
    bench.ns += BOUND_MS * 1_000_000
    assert closed.is_within(fresh.since_ns, BOUND_MS)
    bench.ns += 1
    assert not closed.is_within(fresh.since_ns, BOUND_MS)


def test_a_closing_of_another_generation_or_beyond_what_is_applied_is_not_used() -> None:
    bench = Bench(nodes=("n1", "n2", "n3"))
    closed = bench.store.closed
    closed.want(1)
    closed.tick()
    for one in (
        Closed(1, 2, Timestamp(WALL_NS, 1), 0, closed._probe),
        Closed(1, 1, Timestamp(WALL_NS, 2), 1, closed._probe),
    ):
        closed.heard("n2", Closings(closed=(one,)))
    assert closed.newest(1) is None


def test_who_asks_waits_until_enough_nodes_have_sent_its_probe_back() -> None:
    """Of three nodes with three replicas one other is enough; by default all are needed."""
    bench = Bench(nodes=("n1", "n2", "n3"))
    closed = bench.store.closed
    assert closed.others_needed == 2
    closed.want(1)
    said = closed.tick()
    assert sorted(said) == ["n2", "n3"]
    probe = said["n2"].probe
    assert probe > 0
    closed.heard("n2", Closings(echo=probe))
    assert closed._token() == 0
    closed.heard("n3", Closings(echo=probe))
    assert closed._token() == probe
    closed.heard("n3", Closings(echo=probe + 5))
    assert closed._token() == probe, "that was never asked"


def test_a_range_that_nobody_reads_is_asked_for_no_more() -> None:
    async def story() -> None:
        world, leader, _ = await with_closings()
        assert world.nodes[leader].store.closed._marks
        await asyncio.sleep(7)
        before = world.nodes[leader].store.closed.counters.closed
        await asyncio.sleep(3)
        assert world.nodes[leader].store.closed.counters.closed == before
        assert all(node.store.closed.tick() == {} for node in world.nodes.values())
        await world.stop()

    run_virtually(story())


@pytest.mark.parametrize("seed", range(3))
def test_several_ranges_are_read_at_one_timestamp(seed: int) -> None:
    """Transfers between accounts of four ranges go on; the total that a follower reads is the same always."""
    keys = tuple(b"%s%d" % (start, number) for start in (b"1", b"a", b"j", b"s") for number in range(2))

    async def story() -> None:
        world, _, followers = await with_closings(ranges=4)
        stream = random.Random(seed)
        for key in keys:
            await world.ask("n1", ClientPut(key, b"100"))
        done = False

        async def transfer() -> None:
            while not done:
                connection = ClientConnection()
                node = stream.choice(world.names)
                source, target = stream.sample(keys, 2)
                try:
                    number = await world.ask(node, BeginTransaction(), connection)
                    have, other = [
                        int(await world.ask(node, ClientGet(key, number), connection))
                        for key in (source, target)
                    ]
                    amount = stream.randint(1, 5)
                    await world.ask(node, ClientPut(source, b"%d" % (have - amount), number), connection)
                    await world.ask(node, ClientPut(target, b"%d" % (other + amount), number), connection)
                    await world.ask(node, CommitTransaction(number), connection)
                except Refused:
                    pass
                await asyncio.sleep(stream.random() * 0.1)

        transfers = [asyncio.ensure_future(transfer()) for _ in range(2)]
        name = followers[0]
        seen = set()
        for number in range(60):
            many = await world.ask(name, ClientGetMany(keys, 0, BOUNDED, BOUND_MS))
            assert sum(map(int, many)) == 800
            pairs = await world.ask(name, ClientScan(b"", None, 0, bool(number % 2), 0, BOUNDED, BOUND_MS))
            assert sum(int(value) for key, value in pairs if key in keys) == 800
            seen.add(tuple(many))
            await asyncio.sleep(0.05)
        done = True
        await asyncio.gather(*transfers)
        assert len(seen) > 5
        assert world.nodes[name].store.reads.bounded > 20, "most were answered by the node's own replicas"
        await world.stop()

    run_virtually(story())
