"""A lease does not outlast its range: reads of a range that is frozen, with the defect and without."""

import asyncio
from collections.abc import Callable

from reference_db.api import ClientGet, ClientMerge, ClientPut, ClientTransfer, Consistency
from reference_db.defects import lease_read_in_merge
from reference_db.invariants import Watcher
from reference_db.node import Node
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World

KEY = b"\xf0"
"""In the right one of two ranges."""


async def read_while_absorbed(plant: Callable[[Node], None] | None) -> tuple[bytes | None, list[str]]:
    """1. n1 leads the left range, n2 the right one, with a lease. 2. The right one is frozen everywhere. 3. n2 hears no
    more, while n1 and n3 let the left one absorb it, and n1 takes a write. 4. n2 is asked for that key. What it
    answers (None: nothing), and the invariants that were seen broken."""
    world = World(ranges=2, plant=plant, watcher=Watcher())
    world.start_all()
    await world.wait_until_led()
    for range_id, leader in ((1, "n1"), (2, "n2")):
        if world.leader(range_id) != leader:
            await world.ask(leader, ClientTransfer(range_id, leader))
            await world.wait_for(lambda range_id=range_id, leader=leader: world.leader(range_id) == leader)  # type: ignore[misc]
    await world.ask("n2", ClientPut(KEY, b"old"))
    lease = ClientGet(KEY, consistency=Consistency.LEASE)
    for _ in range(3):
        assert await world.ask("n2", lease) == b"old"

    merge = asyncio.create_task(world.ask("n1", ClientMerge(b"\x01")))
    await world.wait_for(
        lambda: all(
            2 in node.store.replicas and node.store.replicas[2].descriptor.merging
            for node in world.nodes.values()
        ),
        what="frozen everywhere",
        step_s=0.0001,
    )
    world.cut |= {("n1", "n2"), ("n3", "n2")}
    await merge
    await world.ask("n1", ClientPut(KEY, b"new"))
    try:
        seen = await world.ask("n2", lease, timeout_s=0.3)
    except (Refused, Unanswered):
        seen = None
    world.heal()
    await world.stop()
    return seen, [one.name for one in world.violations]


def test_a_lease_that_is_believed_in_a_merge_shows_the_past_and_is_noticed() -> None:
    seen, broken = run_virtually(read_while_absorbed(lease_read_in_merge.plant))
    assert seen == b"old", "though a new value was acknowledged before it was asked for"
    assert broken == ["frozen is silent"]


def test_without_the_defect_nobody_answers_for_a_range_that_is_about_to_go() -> None:
    seen, broken = run_virtually(read_while_absorbed(None))
    assert seen in (None, b"new")
    assert broken == []
