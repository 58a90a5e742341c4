"""Three zones, 50 ms apart: what a write costs with the leader near and far, and where leaders and replicas go."""

from __future__ import annotations

import asyncio
import statistics

from reference_db.api import ClientPlacement, ClientPut, ClientSplit
from reference_db.invariants import Watcher
from reference_db.node import NodeOptions
from tests.reference_db.ranges.test_splits import ended
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

APART_S = 0.05
"""One way between two zones."""
THREE = {"n1": "eu", "n2": "us", "n3": "asia"}


def zoned(zones: dict[str, str], **more: object) -> NodeOptions:
    text = "/".join(f"{node}:{zone}" for node, zone in zones.items())
    return NodeOptions(placement=True, zones=text, **more)  # type: ignore[arg-type]


async def begun(zones: dict[str, str], options: NodeOptions, ranges: int) -> World:
    world = World(nodes=len(zones), ranges=ranges, options=options, watcher=Watcher())
    for source in world.names:
        for target in world.names:
            if zones[source] != zones[target]:
                world.extra_delay_s[(source, target)] = APART_S
    world.start_all()
    await world.wait_until_led()
    return world


def leaders(world: World) -> set[str | None]:
    return {world.leader(one) for one in world.range_ids()}


async def write_latency_ms(world: World, gateway: str, first: bytes = b"05agmsz", count: int = 12) -> float:
    """The median over keys that begin with one of these letters, one write after the other, by way of one node."""
    loop = asyncio.get_running_loop()
    took = []
    for number in range(count):
        began = loop.time()
        await world.ask(gateway, ClientPut(b"%c%d" % (first[number % len(first)], number), b"v"))
        took.append(1000 * (loop.time() - began))
    return statistics.median(took)


def test_a_write_by_way_of_a_near_leader_takes_half_as_long() -> None:
    """Near: to the nearest follower and back. Far: to the leader and back as well."""

    async def story() -> None:
        world = await begun(THREE, zoned(THREE, leader_zones="eu"), ranges=3)
        await world.wait_for(lambda: leaders(world) == {"n1"}, 30, what="all leaders in eu")
        near = await write_latency_ms(world, "n1")
        assert 100 <= near <= 110
        # Another wish, while it runs.
        await world.ask("n2", ClientPlacement("prefer", zones=("us",)))
        await world.wait_for(lambda: leaders(world) == {"n2"}, 30, what="all leaders in us")
        far = await write_latency_ms(world, "n1")
        assert 200 <= far <= 220
        await world.ask("n2", ClientPlacement("prefer"))
        await world.wait_for(lambda: leaders(world) == {"n1", "n2", "n3"}, 30, what="anywhere")
        await ended(world)

    run_virtually(story())


async def ask_much(world: World, gateway: str, until: float) -> None:
    number = 0
    while asyncio.get_running_loop().time() < until:
        number += 1
        await world.ask(gateway, ClientPut(b"z%d" % number, b"v"))


def test_leaders_follow_the_clients_from_zone_to_zone() -> None:
    """The last of three ranges is led in asia. All its clients are in us, then all in eu."""

    async def story(options: NodeOptions) -> list[float]:
        world = await begun(THREE, options, ranges=3)
        assert world.leader(3) == "n3"
        loop = asyncio.get_running_loop()
        took = []
        for gateway in ("n2", "n1"):
            if options.follow_workload:
                await asyncio.gather(*(ask_much(world, gateway, loop.time() + 9) for _ in range(2)))
                assert world.leader(3) == gateway
            took.append(await write_latency_ms(world, gateway, b"z", 4))
        await ended(world)
        return took

    for took in run_virtually(story(zoned(THREE, follow_workload=True))):
        assert 100 <= took <= 110
    for took in run_virtually(story(zoned(THREE))):
        assert 200 <= took <= 220


def test_replicas_spread_over_zones_and_a_lost_zone_stops_nobody() -> None:
    zones = {"n1": "eu", "n2": "eu", "n3": "us", "n4": "us", "n5": "asia", "n6": "asia"}

    async def story() -> None:
        world = await begun(zones, zoned(zones, placement_moves=4), ranges=6)

        def zones_of_ranges() -> list[int]:
            newest = {}
            for node in world.nodes.values():
                for one in node.store.replicas.values():
                    if one.id not in newest or one.descriptor.generation > newest[one.id].generation:
                        newest[one.id] = one.descriptor
            return [len({zones[name] for name in one.members}) for _, one in sorted(newest.items())]

        assert zones_of_ranges() == [2] * 6, "as bootstrap puts them"
        await world.wait_for(lambda: zones_of_ranges() == [3] * 6, 90, what="a replica in each zone")
        await world.ask("n1", ClientSplit(b"k"))
        world.crash("n3")
        world.crash("n4")
        await world.wait_until_led()
        await write_latency_ms(world, "n1")
        await ended(world)

    run_virtually(story())
