"""The first elections of a new cluster: each range costs what one election costs, however many there are."""

import asyncio

import pytest

from reference_db.api import ClientPut
from reference_db.node import NodeOptions
from reference_db.ranges import unborn
from reference_db.ranges.unborn import PATIENCE, STUCK
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

RANGES = 90
FOLLOWERS = 2


def total(world: World, name: str) -> int:
    return sum(int(getattr(node.store.counters, name)) for node in world.nodes.values())


def test_each_range_costs_one_request_for_a_vote_a_follower_and_few_are_awake_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With room for ten, or two new ones a tick, no node ever has two thirds of its replicas awake; and no range is
    awake for longer than a second."""
    monkeypatch.setattr(unborn, "AWAKE_MOST", 10)
    monkeypatch.setattr(unborn, "FLOOR", 2)

    async def story() -> None:
        world = World(ranges=RANGES)
        world.start_all()
        most = 0
        while not world.all_led():
            most = max(most, *(len(node.store._awake) for node in world.nodes.values()))
            await asyncio.sleep(0.01)
        assert most < RANGES * 2 // 3
        assert total(world, "votes") == RANGES * FOLLOWERS
        assert total(world, "pre_votes") == 0
        assert total(world, "elections_won") == RANGES
        assert total(world, "replica_ticks") < 3 * 2 * RANGES * 10
        await world.stop()

    run_virtually(story())


def test_where_the_preferred_node_is_down_the_next_one_leads_after_a_while() -> None:
    async def story() -> None:
        world = World(ranges=20)
        for name in ("n2", "n3"):
            world.start(name)
        loop = asyncio.get_running_loop()
        await world.wait_for(world.all_led, what="all ranges are led")
        assert PATIENCE <= loop.time() < PATIENCE + 3
        assert total(world, "elections_won") == 20
        # n1 misses all that, and is told when it comes.
        world.start("n1")
        await world.ask("n1", ClientPut(b"k", b"v"))
        await world.wait_for(world.is_quiet, what="n1 has everything")
        await world.stop()

    run_virtually(story())


def test_a_node_that_comes_late_to_a_cluster_that_has_begun_disturbs_nobody() -> None:
    async def story() -> None:
        world = World(ranges=20, options=NodeOptions(settled_ticks=1_000_000))
        world.start("n1")
        world.start("n2")
        await world.wait_for(world.all_led)
        led = [world.leader(number) for number in world.range_ids()]
        await asyncio.sleep(3)
        world.start("n3")
        await asyncio.sleep((STUCK + 5) * 1.0)
        assert [world.leader(number) for number in world.range_ids()] == led
        assert total(world, "elections_won") == 20
        replicas = world.nodes["n3"].store.replicas.values()
        assert not [one.id for one in replicas if not one.group.leader_id], "it follows in all of them"
        await world.stop()

    run_virtually(story())
