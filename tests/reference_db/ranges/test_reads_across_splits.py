"""Reads by choice while ranges split: leases and closed timestamps belong to one span, and begin anew with another."""

import asyncio

import pytest

from reference_db.api import ClientGet, ClientPut, ClientSplit, Consistency
from reference_db.node import NodeOptions
from tests.reference_db.chosen import at_once
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World


@pytest.mark.parametrize("consistency", [Consistency.LEASE, Consistency.BOUNDED])
def test_a_split_takes_no_promise_over_to_the_other_half(consistency: Consistency) -> None:
    """A reader at each node asks for two keys all the time; between them the range is cut, and what was written before
    the cut is seen after it."""

    async def story() -> None:
        world = World(seed=4, ranges=1, options=NodeOptions(settled_ticks=1_000_000))
        world.start_all()
        await world.wait_until_led()
        leader = world.leader(1) or ""
        written = {b"c": -1, b"t": -1}
        done = False

        async def write() -> None:
            number = 0
            while not done:
                for key in written:
                    await world.ask(leader, ClientPut(key, b"%d" % number))
                    written[key] = number
                number += 1
                await asyncio.sleep(0.02)

        writer = asyncio.ensure_future(write())
        before: list[tuple[float, dict[bytes, int]]] = []
        answered = 0
        for step in range(400):
            if step == 150:
                split = asyncio.ensure_future(split_at(world, b"m"))
            before.append((asyncio.get_running_loop().time(), dict(written)))
            for name in world.names:
                for key in written:
                    reply = await at_once(world, name, key, consistency, 600)
                    if reply is None or reply.error is not None:
                        continue
                    answered += 1
                    now = asyncio.get_running_loop().time()
                    bound = 0.0 if consistency == Consistency.LEASE else 0.6
                    floor = max([seen[key] for at, seen in before if now - at >= bound], default=-1)
                    assert int(reply.value or b"-1") >= floor, (step, name, key)
            await asyncio.sleep(0.01)
        await split
        done = True
        await writer
        assert len(world.nodes[leader].store.replicas) == 2
        assert answered > 400
        for key in written:
            assert await world.ask(leader, ClientGet(key)) == b"%d" % written[key]
        await world.stop()

    run_virtually(story())


async def split_at(world: World, key: bytes) -> None:
    for _ in range(20):
        try:
            await world.ask("n1", ClientSplit(key))
        except (Refused, Unanswered):
            await asyncio.sleep(0.1)
        else:
            return
