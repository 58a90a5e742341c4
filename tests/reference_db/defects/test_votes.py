"""A vote that is forgotten is given twice: two leaders in one term; and the same stories with the clean database."""

import asyncio
from collections.abc import Callable

import pytest

from reference_db.defects import vote_nonatomic, vote_volatile
from reference_db.node import Node
from tests.reference_db.defects.elections import hurry, leaders_by_term, lose_power
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

Plant = Callable[[Node], None]


async def vote_and_lose_power(plant: Plant | None) -> dict[int, set[str]]:
    """1. n1 leads, and hands over to n2; n3 hears of nothing. 2. n1 votes for n2, which leads term 2. Before n1 hears
    more of n2, its power fails. 3. n1 is back and can talk with n3 only. n3 campaigns for term 2."""
    world = World(ranges=1, plant=plant)
    world.start_all()
    await world.wait_until_led()
    assert world.leader(1) == "n1"
    await asyncio.sleep(0.5)
    world.isolate("n3")
    n1, n2 = (world.nodes[name].store.replicas[1].group for name in ("n1", "n2"))
    term = n1.term + 1
    world.nodes["n1"].store.replicas[1].group.transfer_leadership(2)
    world.nodes["n1"].store._touch(world.nodes["n1"].store.replicas[1])
    await world.wait_for(lambda: n1.core.vote == 2, what="n1's vote", step_s=0.0001)
    world.cut.add(("n2", "n1"))
    await world.wait_for(lambda: n2.is_leader, what="n2 to lead", step_s=0.0001)
    assert n2.term == term
    lose_power(world, "n1")
    world.heal()
    world.isolate("n2")
    world.start("n1")
    hurry(world, "n3")
    found = await leaders_by_term(world, 0.9)
    assert "n2" in found[term]
    await world.stop()
    return found


@pytest.mark.parametrize("defect", [vote_volatile, vote_nonatomic], ids=["volatile", "nonatomic"])
def test_a_forgotten_vote_makes_two_leaders_of_a_term(defect: object) -> None:
    found = run_virtually(vote_and_lose_power(defect.plant))  # type: ignore[attr-defined]
    assert any(len(names) == 2 for names in found.values()), found


def test_a_vote_that_is_kept_does_not() -> None:
    found = run_virtually(vote_and_lose_power(None))
    assert all(len(names) == 1 for names in found.values()), found
