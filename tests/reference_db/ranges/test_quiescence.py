"""Ranges that nobody uses sleep: they cost nothing, wake alone, and are safe and led whatever happens meanwhile."""

import asyncio
import contextlib
from collections import Counter

import pytest

from reference_db.api import ClientGet, ClientPut
from reference_db.node import NodeOptions
from reference_db.raft import Message, MessageKind
from reference_db.ranges.heartbeats import WAKE_UP, Heartbeats
from reference_db.ranges.store import Store
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World

UPPER_ELECTION_S = 2.0


def counted(world: World) -> Counter[str]:
    total: Counter[str] = Counter()
    for node in world.nodes.values():
        total.update(node.status()["counters"])
    return total


def awake(world: World) -> dict[str, list[int]]:
    """By node: the ranges for which time passes."""
    return {
        name: [number for number, one in sorted(node.store.replicas.items()) if one.asleep_since is None]
        for name, node in world.nodes.items()
    }


async def sleeping_world(ranges: int = 12, **options: object) -> World:
    """A cluster in which every range sleeps everywhere."""
    world = World(ranges=ranges, **options)  # type: ignore[arg-type]
    world.start_all()
    await world.wait_until_led()
    await world.wait_for(lambda: not any(awake(world).values()), what="sleep")
    return world


def terms(world: World) -> dict[int, set[int]]:
    return {
        number: {node.store.replicas[number].group.term for node in world.nodes.values()}
        for number in range(1, world.ranges + 1)
    }


@pytest.mark.parametrize("ranges", [3, 60])
@pytest.mark.parametrize("coalescing", ["on", "off"])
def test_a_range_that_sleeps_sends_nothing_and_no_time_passes_for_it(ranges: int, coalescing: str) -> None:
    async def story() -> None:
        world = await sleeping_world(ranges, options=NodeOptions(coalescing=coalescing))  # type: ignore[arg-type]
        await asyncio.sleep(0.5)
        before = counted(world)
        await asyncio.sleep(10.0)
        after = counted(world)
        after.subtract(before)
        for name in (
            "replica_ticks",
            "heartbeats",
            "heartbeat_answers",
            "heartbeat_envelopes",
            "answer_envelopes",
            "raft_messages",
            "wakes",
        ):
            assert after[name] == 0, name
        # Signs of life of nodes, as many with three ranges as with sixty; the clock's bound moves now and then.
        assert after["frames_sent"] <= 10.0 / 0.2 * 3 * 2
        assert after["turns"] <= 10.0 * 3
        await world.stop()

    run_virtually(story())


def test_without_quiescence_time_passes_and_heartbeats_go_on() -> None:
    async def story() -> None:
        world = World(ranges=6, options=NodeOptions(quiescence="off"))
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(8.0)
        before = counted(world)
        await asyncio.sleep(1.0)
        after = counted(world)
        after.subtract(before)
        assert after["replica_ticks"] == 10 * 6 * 3
        assert after["heartbeats"] == 5 * 6 * 2
        assert counted(world)["sleeps"] == 0
        await world.stop()

    run_virtually(story())


@pytest.mark.parametrize("asked", ["n1", "n2", "n3"])
def test_the_first_write_wakes_exactly_its_range(asked: str) -> None:
    async def story() -> None:
        world = await sleeping_world()
        key = b"f"
        range_id = world.nodes["n1"].directory.find(key).id
        before = counted(world)
        await world.ask(asked, ClientPut(key, b"v"))
        await asyncio.sleep(0.3)
        assert awake(world) == {name: [range_id] for name in world.names}
        assert counted(world)["wakes"] - before["wakes"] == 3
        assert await world.ask("n3", ClientGet(key)) == b"v"
        await world.wait_for(lambda: not any(awake(world).values()), what="sleep again")
        await world.stop()

    run_virtually(story())


def test_a_read_wakes_its_range_and_is_confirmed() -> None:
    async def story() -> None:
        world = await sleeping_world()
        before = counted(world)
        assert await world.ask("n2", ClientGet(b"f")) is None
        after = counted(world)
        assert after["heartbeats"] > before["heartbeats"], "the leader asked whether it still leads"
        await world.stop()

    run_virtually(story())


@pytest.mark.parametrize("silently", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_a_dead_nodes_sleeping_ranges_have_new_leaders_in_time(seed: int, silently: bool) -> None:
    """By a reset of the connections, and with nothing but silence."""

    async def story() -> None:
        world = await sleeping_world(30, seed=seed)
        mine = [number for number in range(1, 31) if world.leader(number) == "n1"]
        assert len(mine) == 10
        loop = asyncio.get_running_loop()
        begin = loop.time()
        if silently:
            world.isolate("n1")
        else:
            world.crash("n1")

        def led() -> bool:
            found = 0
            for name in ("n2", "n3"):
                for number in mine:
                    replica = world.nodes[name].store.replicas[number]
                    found += replica.group.is_leader and replica.leadership is not None
            return found == len(mine)

        await world.wait_for(led, 30.0, "new leaders")
        assert loop.time() - begin <= UPPER_ELECTION_S + 2.0
        await world.stop()

    run_virtually(story())


def test_with_a_node_down_ranges_sleep_without_it_and_catch_it_up_when_it_is_back() -> None:
    async def story() -> None:
        world = await sleeping_world()
        world.crash("n1")
        await world.wait_for(lambda: all(world.leader(number) for number in range(1, 13)), what="leaders")
        for number in range(36):
            await world.ask(
                "n2", ClientPut(b"%c" % b"0123456789abcdefghijklmnopqrstuvwxyz"[number], b"while down")
            )
        await world.wait_for(lambda: not any(awake(world).values()), what="sleep without n1")
        await asyncio.sleep(5.0)
        assert not any(awake(world).values())
        world.start("n1")
        await world.wait_for(world.is_quiet, what="n1 has everything")
        await world.wait_for(
            lambda: [world.leader(number) for number in range(1, 13)] == ["n1", "n2", "n3"] * 4,
            60.0,
            "leaders where they were",
        )
        await world.wait_for(lambda: not any(awake(world).values()), what="sleep")
        await world.stop()

    run_virtually(story())


@pytest.mark.parametrize("seed", range(5))
def test_a_node_that_restarts_at_once_is_woken_for(seed: int) -> None:
    """It comes back within an election timeout: everybody else could have slept on."""

    async def story() -> None:
        world = await sleeping_world(seed=seed)
        world.crash("n1")
        world.start("n1")
        begin = asyncio.get_running_loop().time()
        await world.wait_for(world.all_led, 30.0, "leaders")
        assert asyncio.get_running_loop().time() - begin <= UPPER_ELECTION_S + 2.0
        await world.stop()

    run_virtually(story())


def test_a_follower_that_hears_nothing_of_the_leaders_node_disturbs_nobody() -> None:
    """The link between n1 and n3 is cut; n2 hears both. n1 leads, and is still to lead afterwards."""

    async def story() -> None:
        world = await sleeping_world(ranges=3)
        before = terms(world)[1]
        assert world.leader(1) == "n1"
        world.cut = {("n1", "n3"), ("n3", "n1")}
        await asyncio.sleep(10.0)
        assert world.leader(1) == "n1"
        assert terms(world)[1] == before
        await world.ask("n2", ClientPut(b"0", b"v"))
        world.heal()
        await world.wait_for(lambda: not any(awake(world).values()), what="sleep")
        await world.stop()

    run_virtually(story())


def test_a_leader_that_was_cut_off_in_its_sleep_serves_nothing_old() -> None:
    async def story() -> None:
        world = await sleeping_world(ranges=3)
        await world.ask("n1", ClientPut(b"0", b"old"))
        await world.wait_for(lambda: not any(awake(world).values()), what="sleep")
        assert world.leader(1) == "n1"
        world.isolate("n1")
        await world.wait_for(lambda: world.leader(1) in ("n2", "n3"), what="a new leader")
        await world.ask("n2", ClientPut(b"0", b"new"))
        with pytest.raises((Refused, Unanswered)):
            await world.ask("n1", ClientGet(b"0"), timeout_s=1.5)
        world.heal()
        await world.wait_for(world.is_quiet, what="n1 has everything")
        assert await world.ask("n1", ClientGet(b"0")) == b"new"
        await world.stop()

    run_virtually(story())


@pytest.mark.parametrize("seed", range(5))
def test_frames_that_are_lost_keep_nobody_apart_for_long(seed: int) -> None:
    """Who misses that its leader sleeps asks, and wakes it; who misses that it wakes is woken by what follows."""

    async def story() -> None:
        world = World(seed=seed, ranges=6, options=NodeOptions(quiesce_ticks=3))
        world.start_all()
        await world.wait_until_led()
        world.drop = 0.2
        for number in range(20):
            with contextlib.suppress(Refused, Unanswered):
                await world.ask("n2", ClientPut(b"%d" % number, b"v"), timeout_s=2.0)
            await asyncio.sleep(0.3)
        world.drop = 0.0
        await world.wait_until_led()
        for number in range(6):
            await world.ask("n1", ClientPut(b"%d" % number, b"at last"))
        await world.wait_for(world.is_quiet, what="everybody has everything")
        await world.wait_for(lambda: not any(awake(world).values()), 60.0, what="sleep")
        await world.stop()

    run_virtually(story())


def sleeping_store(world: World, name: str) -> Store:
    return world.nodes[name].store


def test_who_cannot_sleep_says_so_and_keeps_the_leader_awake() -> None:
    """n2 lacks the last entry that its leader believes it to have: an old word, of a time before."""

    async def story() -> None:
        world = await sleeping_world(ranges=3)
        store, leader = sleeping_store(world, "n2"), sleeping_store(world, "n1").replicas[1]
        replica = store.replicas[1]
        replica_term, last = replica.group.term, replica.group.last_index
        await world.ask("n1", ClientPut(b"0", b"v"))
        await asyncio.sleep(0.5)
        assert replica.asleep_since is None
        store.receive_heartbeats(1, Heartbeats(sleeps=(1, replica_term, last)))
        assert replica.asleep_since is None
        taken = store.heartbeats.take("n1")
        assert taken is not None
        assert (1, replica_term, WAKE_UP) == taken.answers[:3]
        await asyncio.sleep(0.01)
        store.receive_heartbeats(1, Heartbeats(sleeps=(1, replica_term, replica.group.last_index)))
        assert replica.asleep_since is not None
        # The leader goes on, and so its follower wakes.
        assert leader.asleep_since is None
        await asyncio.sleep(0.4)
        assert replica.asleep_since is None
        await world.stop()

    run_virtually(story())


def test_thousands_that_wake_for_nothing_rest_again_after_a_round_of_heartbeats() -> None:
    """A node is not heard for a moment, as on a machine that is too busy: all who rely on it wake. Were they awake for
    seconds each time, they would keep the machine busy, and nodes unheard."""

    async def story() -> None:
        world = await sleeping_world(ranges=60)
        before = counted(world)
        for name in ("n1", "n2"):
            world.nodes[name].link_lost("n3")
        await asyncio.sleep(1.0)
        after = counted(world)
        after.subtract(before)
        assert not any(awake(world).values())
        assert after["wakes"] >= 2 * 60
        assert after["replica_ticks"] <= 6 * after["wakes"]
        assert after["votes"] == 0
        await world.stop()

    run_virtually(story())


def test_a_vote_of_a_stranger_wakes_the_leader_before_anybody_is_elected() -> None:
    async def story() -> None:
        world = await sleeping_world(ranges=3)
        store = sleeping_store(world, "n2")
        term = store.replicas[1].group.term
        asked = Message(MessageKind.PRE_VOTE, 2, 3, term + 1, 99, term)
        store.receive([(1, asked)])
        assert store.replicas[1].asleep_since is None
        leader = sleeping_store(world, "n1").replicas[1]
        await world.wait_for(lambda: leader.asleep_since is None, 0.5, "its leader is awake", step_s=0.01)
        await world.wait_for(lambda: not any(awake(world).values()), 2.0, "nobody asks for anything")
        assert world.leader(1) == "n1"
        assert terms(world)[1] == {term}
        await world.stop()

    run_virtually(story())
