"""Leases of leaders: what a read by one costs, how long one lasts, and what ends it."""

import asyncio
import random

import pytest

from reference_db.api import ClientGet, ClientPut, Consistency, Get, Put, RangeRequest, ValueResult
from reference_db.node import NodeOptions
from reference_db.ranges.leases import lease_ns
from reference_db.ranges.options import StoreOptions
from tests.reference_db.chosen import NOTHING, at_once, costs, send
from tests.reference_db.ranges.test_store import Bench
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

LINEARIZABLE, LEASE = Consistency.LINEARIZABLE, Consistency.LEASE
KEY = b"1k"
"""Of range 1."""


async def led_with_a_lease(**options: object) -> tuple[World, str]:
    """A world whose range 1 is led by a node that holds a lease."""
    world = World(seed=3, ranges=2, options=NodeOptions(settled_ticks=1_000_000, **options))  # type: ignore[arg-type]
    world.start_all()
    await world.wait_until_led()
    leader = world.leader(1)
    assert leader is not None
    await world.ask(leader, ClientPut(KEY, b"old"))
    await world.ask(leader, request_by_lease())
    lease = world.nodes[leader].store.replicas[1].lease
    await world.wait_for(lambda: lease.is_valid(now_ns()), what="a lease")
    return world, leader


def request_by_lease() -> ClientGet:
    return ClientGet(KEY, 0, LEASE)


def now_ns() -> int:
    return int(asyncio.get_running_loop().time() * 1e9)


def test_a_lease_ends_before_those_who_granted_it_may_vote_again() -> None:
    """The least that ten ticks of 100 ms last is eight of them, and clocks may differ."""
    options = StoreOptions()
    assert lease_ns(options) == 760_000_000
    assert lease_ns(options) < (options.election_ticks - 2) * options.tick_ms * 1_000_000
    assert lease_ns(StoreOptions(election_ticks=3, heartbeat_ticks=1)) == 95_000_000


def test_reads_by_lease_cost_nothing_and_reads_of_a_turn_share_one_round_without() -> None:
    async def story() -> None:
        world, leader = await led_with_a_lease()
        before = costs(world)
        for _ in range(10):
            reply = await at_once(world, leader, KEY, LEASE)
            assert reply is not None
            assert reply.value == b"old"
        assert costs(world).since(before) == NOTHING
        reads = world.nodes[leader].store.reads
        assert reads.lease >= 10

        # Without a lease: ten reads of one turn are one round of F - 1 heartbeats, no sync, no entry.
        await asyncio.sleep(0.01)
        before = costs(world)
        replies = [send(world, leader, KEY, LINEARIZABLE) for _ in range(10)]
        for _ in range(5):
            await asyncio.sleep(0)
        spent = costs(world).since(before)
        assert (spent.rounds, spent.raft_messages, spent.syncs, spent.entries) == (1, 2, 0, 0)
        await world.wait_for(lambda: all(replies), step_s=0.001)
        assert {one[0].value for one in replies} == {b"old"}
        spent = costs(world).since(before)
        assert (spent.syncs, spent.entries) == (0, 0)
        await world.stop()

    run_virtually(story())


def test_a_lease_is_kept_alive_only_while_reads_ask_for_it() -> None:
    async def story() -> None:
        world, leader = await led_with_a_lease()
        replica = world.nodes[leader].store.replicas[1]
        for _ in range(40):
            await asyncio.sleep(0.1)
            assert replica.lease.is_valid(now_ns())
        await asyncio.sleep(3.0)
        assert not replica.group.core.renews_lease
        assert not replica.lease.is_valid(now_ns())
        assert await at_once(world, leader, KEY, LEASE) is None, "the first read goes the long way"
        await world.stop()

    run_virtually(story())


def test_with_leases_switched_off_a_quorum_is_asked() -> None:
    async def story() -> None:
        world = World(seed=3, ranges=2, options=NodeOptions(leases=False))
        world.start_all()
        await world.wait_until_led()
        leader = world.leader(1) or ""
        for _ in range(3):
            await world.ask(leader, request_by_lease())
            await asyncio.sleep(0.5)
        reads = world.nodes[leader].store.reads
        assert (reads.lease, reads.lease_refused) == (0, 3)
        await world.stop()

    run_virtually(story())


@pytest.mark.parametrize("seed", range(4))
def test_a_leader_that_is_cut_off_serves_nobody_once_another_leads(seed: int) -> None:
    """Its wall clock is set back meanwhile, which must not matter."""

    async def story() -> None:
        world, leader = await led_with_a_lease()
        stream = random.Random(seed)
        await asyncio.sleep(stream.random())
        world.isolate(leader)
        world.clock_offsets_ns[leader] -= 3_600_000_000_000
        served = 0
        others = [name for name in world.names if name != leader]
        for _ in range(400):
            await asyncio.sleep(0.005)
            successor = [name for name in others if world.nodes[name].store.replicas[1].group.is_leader]
            reply = await at_once(world, leader, KEY, LEASE)
            if successor:
                assert reply is None or reply.error is not None
            elif reply is not None and reply.error is None:
                assert reply.value == b"old"
                served += 1
        assert successor
        assert served > 50, "it did serve for a while"
        await world.stop()

    run_virtually(story())


@pytest.mark.parametrize("keeps", [True, False])
def test_who_granted_a_lease_keeps_its_promise_over_a_restart(keeps: bool) -> None:
    """1. n3 is cut off; n1 leads with n2, which grants the lease. 2. n2 crashes, and restarts in touch with n3 alone.
    3. n3 campaigns. If n2 forgot what it has promised, n3 leads while n1 still serves."""

    async def story() -> bool:
        world, leader = await led_with_a_lease()
        second, third = [name for name in world.names if name != leader]
        world.isolate(third)
        await asyncio.sleep(3.0)
        replica = world.nodes[leader].store.replicas[1]
        await world.ask(leader, request_by_lease())
        sent = replica.group.core.reads
        tick = sent.confirmed_tick
        await world.wait_for(lambda: sent.confirmed_tick > tick, step_s=0.0005)
        world.cut.clear()
        world.isolate(leader)
        world.crash(second)
        world.start(second)
        at_second = world.nodes[second].store.replicas[1].group.core
        assert at_second.vote_hold_ticks == 10
        if not keeps:
            at_second.vote_hold_ticks = 0
        at_third = world.nodes[third].store.replicas[1].group
        both = False
        for _ in range(300):
            at_third.set_randomized_timeout(1)
            await asyncio.sleep(0.005)
            both = both or (at_third.is_leader and replica.lease.is_valid(now_ns()))
        assert at_third.is_leader
        await world.stop()
        return both

    assert run_virtually(story()) is not keeps


def test_a_leader_that_hands_over_gives_its_lease_up_first() -> None:
    async def story() -> None:
        world, leader = await led_with_a_lease()
        replica = world.nodes[leader].store.replicas[1]
        target = next(name for name in world.names if name != leader)
        assert replica.lease.is_valid(now_ns())
        replica.group.transfer_leadership(world.names.index(target) + 1)
        assert not replica.lease.is_valid(now_ns()), "nothing has left this node yet"
        replica._touch(replica)
        await world.wait_for(lambda: world.leader(1) == target, step_s=0.001)
        await world.stop()

    run_virtually(story())


def test_a_lease_is_looked_at_again_when_the_reply_is_there() -> None:
    """The process is paused between the first look and the second: what it has read may be old by now."""
    bench = Bench()
    bench.become_leader()
    bench.submit(Put(b"k", b"v"))
    bench.settle()
    replica = bench.store.replicas[1]
    looks: list[int] = []

    def looked(now: int) -> bool:
        looks.append(now)
        return len(looks) == 1

    replica.lease = _Lease(looked)  # type: ignore[assignment]
    replies = []
    request = RangeRequest(99, 1, 1, (Get(b"k"),), consistency=LEASE)
    bench.store.submit(request, replies.append)
    bench.store.replicas[1].evaluate()
    assert len(looks) >= 2
    assert replies == []
    bench.settle()
    assert isinstance(replies[0].results[0], ValueResult), "the quorum was asked instead"


class _Lease:
    """Valid when it is looked at first, and then no more."""

    def __init__(self, looked: object) -> None:
        self.is_valid = looked

    def want(self) -> None:
        pass

    def tick(self, now_ns: int) -> None:
        pass
