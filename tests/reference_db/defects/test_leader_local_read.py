"""The planted stale read must be reachable, and the same story must be impossible without it."""

import asyncio

from reference_db.api import ClientGet, ClientPut
from reference_db.defects.leader_local_read import plant
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World


async def read_at_a_leader_that_was_cut_off(world: World) -> bytes | None:
    """1. n1 leads range 1 and is cut off. 2. The others elect another leader, which takes a new value. 3. n1, which has
    not noticed yet, is asked for the value; None stands for a refusal."""
    world.start_all()
    await world.wait_until_led()
    await world.ask("n1", ClientPut(b"0", b"old"))
    assert world.leader(1) == "n1"
    world.isolate("n1")
    # n2's election timeout passes at once, n3 is willing to vote; n1 still believes that it leads, until it checks its
    # quorum.
    candidate, voter = (world.nodes[name].store.replicas[1].group for name in ("n2", "n3"))
    candidate.set_randomized_timeout(1)
    voter.set_randomized_timeout(10_000)
    candidate.core.election_elapsed = voter.core.election_elapsed = 1_000
    await world.wait_for(
        lambda: any(world.nodes[name].store.replicas[1].leadership is not None for name in ("n2", "n3")),
        what="a new leader",
    )
    await world.ask("n2", ClientPut(b"0", b"new"))
    assert world.nodes["n1"].store.replicas[1].group.is_leader
    try:
        value: bytes | None = await world.ask("n1", ClientGet(b"0"), timeout_s=0.3)
    except Refused:
        value = None
    world.heal()
    await asyncio.sleep(3.0)
    assert await world.ask("n1", ClientGet(b"0")) == b"new"
    await world.stop()
    return value


def test_with_the_defect_a_leader_that_was_cut_off_serves_what_it_knew() -> None:
    async def story() -> bytes | None:
        return await read_at_a_leader_that_was_cut_off(World(plant=plant))

    assert run_virtually(story()) == b"old"


def test_without_the_defect_it_refuses() -> None:
    async def story() -> bytes | None:
        return await read_at_a_leader_that_was_cut_off(World())

    assert run_virtually(story()) is None
