"""Defects that random search hardly comes to: the story of each, with the defect and without, and which invariant it
breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientMerge,
    ClientMove,
    ClientPut,
    ClientTransfer,
    CommitTransaction,
)
from reference_db.defects import frozen_early, joined_ack, observe_less, sleep_behind, sleeping_leader
from reference_db.invariants import Watcher
from reference_db.node import ClientConnection, Node, NodeOptions
from reference_db.raft import Message, MessageKind
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

Plant = Callable[[Node], None] | None
LEFT, RIGHT = b"\x01", b"\xf0"
"""A key of the first of two ranges, and of the second."""


def watched(plant: Plant, nodes: int = 3, ranges: int = 2, **options: int) -> World:
    return World(
        nodes=nodes,
        ranges=ranges,
        plant=plant,
        watcher=Watcher(),
        options=NodeOptions(settled_ticks=1_000_000, **options),
    )


async def led_by(world: World, range_id: int, node: str) -> None:
    if world.leader(range_id) != node:
        await world.ask(node, ClientTransfer(range_id, node))
        await world.wait_for(lambda: world.leader(range_id) == node, what=f"{node} leads range {range_id}")


async def merge_with_slow_disks(plant: Plant) -> World:
    """Two ranges become one; between what is written and what is durable there is time."""
    world = watched(plant)
    world.start_all()
    await world.wait_until_led()
    world.sync_s = (0.02, 0.05)
    await world.ask("n1", ClientMerge(LEFT))
    return world


async def rest_while_a_follower_is_far(plant: Plant) -> World:
    """1. A range rests for a moment. 2. What its leader has sent is still on its way to one follower."""
    world = watched(plant, quiesce_ticks=1)
    world.start_all()
    await world.wait_until_led()
    await led_by(world, 1, "n1")
    world.extra_delay_s[("n1", "n3")] = 0.6
    for _ in range(3):
        await world.ask("n1", ClientPut(LEFT, b"v"))
        await asyncio.sleep(1)
    return world


async def rest_while_a_follower_gets_nothing(plant: Plant) -> World:
    """1. A range rests for a moment. 2. Its leader's word reaches a follower, and what was written before does not."""
    world = watched(plant, quiesce_ticks=1)
    world.start_all()
    await world.wait_until_led()
    await led_by(world, 1, "n1")
    store = world.nodes["n1"].store
    send = store._send

    def without_entries(target: str, range_id: int, message: Message) -> None:
        if (target, message.kind) != ("n3", MessageKind.APPEND):
            send(target, range_id, message)

    store._send = without_entries
    await world.ask("n1", ClientPut(LEFT, b"v"))
    await asyncio.sleep(1)
    return world


async def begin_where_nobody_was_heard(plant: Plant) -> World:
    """1. n3's clock is ahead, and n1 hears nothing for a moment. 2. A transaction commits on n3. 3. Another one begins
    on n1, and reads the same key."""
    world = watched(plant)
    world.start_all()
    await world.wait_until_led()
    await led_by(world, 2, "n3")
    world.holding |= {("n2", "n1"), ("n3", "n1")}
    world.clock_offsets_ns["n3"] = 1_000_000_000
    writer, reader = ClientConnection(), ClientConnection()
    number = await world.ask("n3", BeginTransaction(), writer)
    await world.ask("n3", ClientPut(RIGHT, b"new", number), writer)
    await world.ask("n3", CommitTransaction(number), writer)
    number = await world.ask("n1", BeginTransaction(), reader)
    reading = asyncio.create_task(world.ask("n1", ClientGet(RIGHT, number), reader))
    await asyncio.sleep(0.05)
    world.let_go()
    assert (await reading == b"new") is (plant is None)
    return world


async def return_before_the_last_word_arrives(plant: Plant) -> World:
    """1. What n3 acknowledges is long under way. 2. n3's replica leaves for n4, and is asked back: n3 is a member, and
    has got nothing yet. 3. What it acknowledged arrives."""
    world = watched(plant, nodes=4, ranges=1)
    world.start_all()
    await world.wait_until_led()
    await led_by(world, 1, "n1")
    replica = world.nodes["n1"].store.replicas[1]
    world.holding.add(("n3", "n1"))
    for _ in range(5):
        await world.ask("n1", ClientPut(LEFT, b"v"))
    await world.ask("n2", ClientMove(1, "n3", "n4"), timeout_s=10)
    await world.wait_for(lambda: 1 not in world.nodes["n3"].store.replicas, what="n3 has removed it")
    world.holding.add(("n1", "n3"))
    moving = asyncio.create_task(world.ask("n2", ClientMove(1, "n4", "n3"), timeout_s=10))
    await world.wait_for(lambda: replica.descriptor.learners == ("n3",), what="n3 is a learner")
    assert replica.group.is_leader, "or it would not matter what it believes"
    world.holding.discard(("n3", "n1"))
    for deliver in world._held.pop(("n3", "n1")):
        deliver()
    await asyncio.sleep(0.05)
    world.let_go()
    await asyncio.wait([moving], timeout=15)
    return world


@pytest.mark.parametrize(
    ("tell", "plant", "broken", "on"),
    [
        (merge_with_slow_disks, frozen_early.plant, "frozen is durable", "n1"),
        (rest_while_a_follower_is_far, sleeping_leader.plant, "asleep is done", "n1"),
        (rest_while_a_follower_gets_nothing, sleep_behind.plant, "asleep is done", "n3"),
        (begin_where_nobody_was_heard, observe_less.plant, "acknowledged is observed", "n1"),
        (return_before_the_last_word_arrives, joined_ack.plant, "returned is empty", "n1"),
    ],
)
def test_its_story_breaks_the_rule_that_it_belongs_to_and_is_innocent_without_it(
    tell: Callable[[Plant], Awaitable[World]], plant: Callable[[Node], None], broken: str, on: str
) -> None:
    async def story(planted: Plant) -> set[tuple[str, str]]:
        world = await tell(planted)
        await world.stop()
        return {(violation.name, violation.node) for violation in world.violations}

    assert run_virtually(story(None)) == set()
    assert (broken, on) in run_virtually(story(plant))
