"""Replicas where none may be, or none yet, are found by the invariants; as they are, they are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reference_db.api import ClientGet, ClientMove, ClientPlacement, ClientPut, ClientTransfer
from reference_db.defects import learner_twice, move_serves_early
from reference_db.gateway.placing import Placer
from reference_db.invariants import Watcher
from reference_db.invariants.placements import Placements
from reference_db.node import Node, NodeOptions
from reference_db.placement.state import MemberState, Placement, activated, decode_placement, decommissioned
from reference_db.ranges.descriptor import Descriptor
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World

Plant = Callable[[Node], None] | None


async def begun(nodes: int, plant: Plant, options: NodeOptions) -> World:
    world = World(nodes=nodes, ranges=2, plant=plant, watcher=Watcher(), options=options)
    world.start_all()
    await world.wait_until_led()
    await world.ask("n1", ClientPut(b"a", b"v"))
    return world


def broken_by_a_move(plant: Plant) -> set[str]:
    """Range 1 gets a replica on n4, which leads then."""

    async def story() -> set[str]:
        world = await begun(5, plant, NodeOptions(settled_ticks=1_000_000))
        await world.ask("n5", ClientMove(1, "n1", "n4"), timeout_s=8)
        try:
            await world.ask("n5", ClientTransfer(1, "n4"))
            assert await world.ask("n2", ClientGet(b"a")) == (
                b"v" if plant is not move_serves_early.plant else None
            )
        except Refused:
            assert plant is learner_twice.plant, "which has made the range unusable"
        await world.stop()
        return {violation.name for violation in world.violations}

    return run_virtually(story())


def test_a_move_that_serves_early_and_a_node_that_counts_twice() -> None:
    assert broken_by_a_move(None) == set()
    assert "state machine safety" in broken_by_a_move(move_serves_early.plant)
    assert broken_by_a_move(learner_twice.plant) == {"one replica a node"}


PLACED = NodeOptions(placement=True, placement_moves=4)


def plant_hasty_welcome(node: Node) -> None:
    """Who joins is active at once, whoever knows it."""

    async def welcome(placer: Placer, state: Placement) -> None:
        for name in state.in_state(MemberState.JOINING):
            await placer.replace(state, activated(state, name))

    node.placer._welcome = lambda state, _versions: welcome(node.placer, state)  # type: ignore[method-assign]


def plant_hasty_dismissal(node: Node) -> None:
    """Who shall go is gone at once, whatever it has."""

    async def dismiss(placer: Placer, state: Placement) -> None:
        for name in state.in_state(MemberState.DRAINING):
            await placer.replace(state, decommissioned(state, name))

    node.placer._dismiss = lambda state, _versions, _holders: dismiss(node.placer, state)  # type: ignore[method-assign]


def broken_by_going(plant: Plant) -> set[str]:
    async def story() -> set[str]:
        world = await begun(4, plant, PLACED)
        await world.ask("n1", ClientPlacement("decommission", "n3"))

        def is_gone() -> bool:
            member = world.nodes["n1"].members.known.find("n3")
            return member is not None and member.state is MemberState.DECOMMISSIONED

        await world.wait_for(is_gone, 40, what="n3 is decommissioned")
        await world.stop()
        return {violation.name for violation in world.violations}

    return run_virtually(story())


def test_a_node_that_is_not_counted_any_more_while_it_has_replicas() -> None:
    assert broken_by_going(None) == set()
    assert broken_by_going(plant_hasty_dismissal) == {"replicas where they may be"}


def plant_generous_leader(node: Node) -> None:
    """Ranges take any node that their leader has heard of."""
    node.store.may_hold = lambda name: name in node.nodes


def broken_by_coming(plant: Plant) -> set[str]:
    """n3 is cut off, and does not count n4, which somebody moves a range to."""

    async def story() -> set[str]:
        world = await begun(3, plant, PLACED)
        world.isolate("n3")
        await world.wait_until_led()
        placement = decode_placement(await world.ask("n1", ClientPlacement("join", "n4"), timeout_s=8))
        world.start("n4", joining=placement)
        await world.wait_for(lambda: "n4" in world.nodes["n1"].nodes, what="n1 has heard of n4")
        await world.wait_for(lambda: "n4" in world.nodes["n2"].nodes, what="n2 has heard of n4")
        if plant is None:
            with pytest.raises(Refused, match="n4 gets no replica of range 2"):
                await world.ask("n1", ClientMove(2, "n1", "n4"), timeout_s=8)
        else:
            await world.ask("n1", ClientMove(2, "n1", "n4"), timeout_s=8)
        await world.stop()
        return {violation.name for violation in world.violations}

    return run_virtually(story())


def test_a_replica_on_a_node_that_not_everybody_counts() -> None:
    assert broken_by_coming(None) == set()
    assert broken_by_coming(plant_generous_leader) == {"replicas where they may be"}


def test_a_node_that_is_welcomed_too_early_misses_what_others_did() -> None:
    """The rule itself: with n3 not counting n4, what n3 hears need not meet a quorum of n4 and n1."""

    async def story() -> int:
        world = await begun(3, plant_hasty_welcome, PLACED)
        world.isolate("n3")
        await world.wait_until_led()
        placement = decode_placement(await world.ask("n1", ClientPlacement("join", "n4"), timeout_s=8))
        world.start("n4", joining=placement)
        await world.wait_for(lambda: "n4" in world.nodes["n1"].members.known.may_hold, what="n4 is active")
        needed = world.nodes["n3"].store.closed.others_needed
        await world.stop()
        return needed

    assert run_virtually(story()) == 1, "of four nodes two meet no quorum of two others"


def test_how_many_replicas_a_range_has_never_changes() -> None:
    placements = Placements()
    assert placements.learn("n1", [Descriptor(1, b"", b"m", ("n1", "n2", "n3"))]) == []
    joint = Descriptor(1, b"", b"m", ("n4", "n2", "n3"), 2, leaving=("n1",))
    assert placements.learn("n2", [joint]) == []
    fewer = Descriptor(1, b"", b"m", ("n4", "n2"), 3)
    assert [one.name for one in placements.learn("n2", [fewer])] == ["replication is kept"]
    absorbed = Descriptor(2, b"", None, ("n4", "n2", "n3"), 5, absorbed=(1,))
    assert placements.learn("n2", [absorbed]) == []
    assert placements.learn("n3", [Descriptor(1, b"", b"m", ("n4", "n4"), 4)]) == [], (
        "gone, and heard of late"
    )
