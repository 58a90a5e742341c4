"""The placement driver in a simulated cluster: who leads and who holds what, after splits, crashes and healing."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from reference_db.api import ClientGet, ClientPut, ClientSplit
from reference_db.gateway.placing import Placer
from reference_db.invariants import Watcher
from reference_db.node import NodeOptions
from tests.reference_db.ranges.test_splits import ended
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

PLACED = NodeOptions(placement=True)
FORGETFUL = NodeOptions(placement=True, dead_after_ms=8000)


def leaders(world: World) -> dict[str, int]:
    """By node that is up: how many ranges it leads."""
    counts = Counter(world.leader(range_id) for range_id in world.range_ids())
    return {name: counts[name] for name in sorted(world.nodes)}


def spread(world: World) -> int:
    """How many leaders more the fullest node has than the emptiest."""
    counts = leaders(world).values()
    return max(counts) - min(counts)


def replicas(world: World) -> dict[str, int]:
    """By node that is up: how many replicas it has, by the newest descriptors."""
    newest = {}
    for node in world.nodes.values():
        for one in node.store.replicas.values():
            if one.descriptor.generation >= (newest[one.id].generation if one.id in newest else 0):
                newest[one.id] = one.descriptor
    counts = Counter(name for one in newest.values() for name in one.members)
    return {name: counts[name] for name in sorted(world.nodes)}


def driver(world: World) -> Placer:
    """The placement leader."""
    (found,) = [node.placer for node in world.nodes.values() if node.placer.is_leading]
    return found


def moved(world: World) -> tuple[int, int]:
    """Moves and transfers of all drivers of live nodes."""
    counters = [node.placer.counters for node in world.nodes.values()]
    return sum(one.moves for one in counters), sum(one.transfers for one in counters)


async def begun(
    nodes: int = 3, ranges: int = 1, splits: int = 0, options: NodeOptions = PLACED, seed: int = 0
) -> World:
    """A cluster whose first range was split so often: all pieces are where it was, led by who led it."""
    world = World(seed=seed, nodes=nodes, ranges=ranges, options=options, watcher=Watcher())
    world.start_all()
    await world.wait_until_led()
    for number in range(splits):
        await world.ask("n1", ClientSplit(b"k%02d" % number))
    await world.ask("n1", ClientPut(b"k", b"v"))
    return world


@pytest.mark.parametrize("seed", range(2))
def test_leaders_are_even_after_splits_and_after_healing(seed: int) -> None:
    """Without placement all pieces of a range stay with its preferred leader."""

    async def story(options: NodeOptions) -> tuple[int, int]:
        world = await begun(splits=11, options=options, seed=seed)
        await asyncio.sleep(12)
        after_splits = spread(world)
        world.crash("n2")
        await asyncio.sleep(5)
        world.start("n2")
        await world.wait_until_led()
        await asyncio.sleep(15)
        after_healing = spread(world)
        if options.placement:
            before = moved(world)
            await asyncio.sleep(20)
            assert moved(world) == before, "what is even stays"
        assert await world.ask("n3", ClientGet(b"k")) == b"v"
        await ended(world)
        return after_splits, after_healing

    assert run_virtually(story(PLACED)) == (0, 0)
    assert run_virtually(story(NodeOptions())) == (12, 12)


def test_no_more_leaders_are_handed_over_than_the_surplus() -> None:
    async def story() -> None:
        world = await begun(splits=11)
        await world.wait_for(lambda: spread(world) <= 1, what="even")
        await asyncio.sleep(5)
        assert moved(world) == (0, 8)
        await ended(world)

    run_virtually(story())


def test_a_new_placement_leader_goes_on_when_the_old_one_dies() -> None:
    async def story() -> None:
        world = await begun(nodes=4, ranges=4, splits=4)
        await asyncio.sleep(3)
        old = world.leader(1)
        assert old is not None
        assert driver(world) is world.nodes[old].placer
        world.crash(old)
        await world.wait_for(lambda: world.leader(1) not in (None, old), what="range 1 is led again")
        await asyncio.sleep(15)
        assert driver(world) is world.nodes[str(world.leader(1))].placer
        assert spread(world) <= 1
        assert driver(world).state.version == 0
        world.start(old)
        await asyncio.sleep(15)
        assert spread(world) <= 1
        assert max(replicas(world).values()) - min(replicas(world).values()) <= 1
        await ended(world)

    run_virtually(story())


def test_replicas_leave_a_dead_node_and_are_even_when_it_comes_back() -> None:
    async def story() -> None:
        world = await begun(nodes=4, ranges=8, options=FORGETFUL)
        await asyncio.sleep(2)
        assert replicas(world) == {"n1": 6, "n2": 6, "n3": 6, "n4": 6}
        world.crash("n3")
        await asyncio.sleep(7)
        assert moved(world)[0] == 0, "it may come back"
        await world.wait_for(
            lambda: replicas(world) == {"n1": 8, "n2": 8, "n4": 8}, 40, what="three replicas again"
        )
        world.start("n3")
        await world.wait_for(
            lambda: replicas(world) == {"n1": 6, "n2": 6, "n3": 6, "n4": 6}, 60, what="even again"
        )
        await asyncio.sleep(10)
        assert spread(world) <= 1
        assert await world.ask("n3", ClientGet(b"k")) == b"v"
        await ended(world)

    run_virtually(story())


def test_hot_ranges_are_led_by_different_nodes() -> None:
    """Three of twelve are asked for all the time, all led by n1 at first."""

    async def story() -> None:
        world = await begun(splits=11)
        await world.wait_for(lambda: spread(world) <= 1, what="even")
        led_together = next(name for name, count in leaders(world).items() if count == 4)
        hot = [one for one in world.range_ids() if world.leader(one) == led_together and one != 1][:3]
        keys = [world.nodes["n1"].directory.get(one).start + b"x" for one in hot]
        seen: set[int] = set()
        for number in range(600):
            await world.ask(world.names[number % 3], ClientGet(keys[number % 3]))
            await asyncio.sleep(0.01)
            seen.update(*(node.placer.hot for node in world.nodes.values()))
        assert seen == set(hot)
        assert len({world.leader(one) for one in hot}) == 3
        assert spread(world) <= 1
        await ended(world)

    run_virtually(story())


def test_ranges_sleep_wherever_they_are_led() -> None:
    async def story() -> None:
        world = await begun(splits=5)
        await world.wait_for(lambda: spread(world) <= 1, what="even")
        await asyncio.sleep(12)
        awake = {
            one.id
            for node in world.nodes.values()
            for one in node.store.replicas.values()
            if one.asleep_since is None
        }
        assert awake == {1}, "the state of placement is read every second"
        await ended(world)

    run_virtually(story())
