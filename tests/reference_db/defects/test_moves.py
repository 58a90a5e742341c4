"""Replicas that come back without what they had promised are found by the invariants; as they are, they are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reference_db.api import ClientGet, ClientMove, ClientPut, ClientTransfer
from reference_db.defects import promises_lost_on_move, zombie_replica
from reference_db.invariants import Watcher
from reference_db.invariants.memberships import why_apart
from reference_db.node import Node, NodeOptions
from reference_db.raft.membership import Configuration
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


async def moved(plant: Callable[[Node], None] | None) -> World:
    """Range 1 leaves n2 for n4 while n3 is cut off, with a write that n3 lacks."""
    world = World(
        nodes=5, ranges=1, plant=plant, watcher=Watcher(), options=NodeOptions(settled_ticks=1_000_000)
    )
    world.start_all()
    await world.wait_until_led()
    await world.ask("n5", ClientTransfer(1, "n1"))
    world.isolate("n3")
    await world.ask("n5", ClientPut(b"k", b"v"))
    await world.ask("n5", ClientMove(1, "n2", "n4"))
    await world.wait_for(lambda: 1 not in world.nodes["n2"].store.replicas, what="n2 has removed it")
    return world


def broken_by_stale_candidate(plant: Callable[[Node], None] | None) -> set[str]:
    async def story() -> set[str]:
        world = await moved(plant)
        # n3 can reach n2 and n5 again, but not those who know better.
        world.cut = {(one, other) for one in ("n1", "n4") for other in ("n2", "n3")}
        world.cut |= {(other, one) for one, other in world.cut}
        await world.wait_for(
            lambda: world.nodes["n3"].store.replicas[1].group.is_leader or plant is None, 10, "n3 leads"
        )
        if plant is None:
            await world.wait_for(lambda: 1 in world.nodes["n3"].store.replicas, what="n3 still has it")
        world.heal()
        await world.stop()
        return {violation.name for violation in world.violations}

    return run_virtually(story())


def test_a_zombie_elects_a_leader_that_lacks_what_was_committed() -> None:
    assert broken_by_stale_candidate(None) == set()
    assert broken_by_stale_candidate(zombie_replica.plant) >= {"leader completeness", "no vote without a log"}


def broken_by_return(plant: Callable[[Node], None] | None) -> set[str]:
    async def story() -> set[str]:
        world = await moved(plant)
        world.heal()
        await world.ask("n5", ClientMove(1, "n4", "n2"))
        assert await world.ask("n2", ClientGet(b"k")) == b"v"
        await world.stop()
        return {violation.name for violation in world.violations}

    return run_virtually(story())


def test_a_replica_that_forgot_its_term_is_found_as_soon_as_it_is_back() -> None:
    assert broken_by_return(None) == set()
    assert broken_by_return(promises_lost_on_move.plant) == {"promises outlive a replica"}


def of(voters: str, outgoing: str = "") -> Configuration:
    return Configuration(frozenset(map(int, voters)), frozenset(map(int, outgoing)))


@pytest.mark.parametrize(
    ("before", "after", "is_safe"),
    [
        (of("123"), of("423", "123"), True),
        (of("423", "123"), of("423"), True),
        (of("123"), of("1234"), True),
        (of("123"), of("423"), False),
        (of("123"), of("453"), False),
        (of("12"), of("23"), True),
        (of("1"), of("2"), False),
        (of("123"), of("12345"), False),
    ],
)
def test_memberships_that_follow_each_other_must_not_decide_apart(
    before: Configuration, after: Configuration, is_safe: bool
) -> None:
    text = why_apart(before, after)
    assert (text is None) == is_safe, '"quorums overlap"'
