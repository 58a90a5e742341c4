"""Nodes that join and nodes that go while the cluster serves; and that nobody is counted too early or too late."""

from __future__ import annotations

import asyncio

import pytest

from reference_db.api import ClientGet, ClientMove, ClientPlacement, ClientPut, ClientScan, ClientSplit
from reference_db.invariants import Watcher
from reference_db.node import NodeOptions
from reference_db.placement.state import (
    MemberState,
    Placement,
    decode_placement,
    decommissioned,
    drained,
    encode_placement,
    founded,
    joined,
    parse_zones,
    preferring,
    recommissioned,
)
from tests.reference_db.gateway.test_placing import driver, leaders, replicas, spread
from tests.reference_db.ranges.test_splits import ended
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World

PLACED = NodeOptions(placement=True, dead_after_ms=5000, placement_moves=4)


async def begun(nodes: int, ranges: int = 6, options: NodeOptions = PLACED) -> World:
    world = World(nodes=nodes, ranges=ranges, options=options, watcher=Watcher())
    world.start_all()
    await world.wait_until_led()
    for number in range(10):
        await world.ask("n1", ClientPut(b"k%d" % number, b"v%d" % number))
    return world


async def wish(world: World, action: str, node: str = "", asked: str = "n1") -> Placement:
    return decode_placement(await world.ask(asked, ClientPlacement(action, node)))


def state_of(world: World, node: str, seen_by: str = "n1") -> MemberState | None:
    member = world.nodes[seen_by].members.known.find(node)
    return None if member is None else member.state


async def until(world: World, node: str, state: MemberState, timeout_s: float = 60) -> None:
    """Every live node knows, durably."""
    await world.wait_for(
        lambda: all(
            state_of(world, node, other) is state
            and world.nodes[other].members.durable_version == world.nodes[other].members.known.version
            for other in world.nodes
        ),
        timeout_s,
        what=f"{node} is {state.name}",
    )


async def all_there(world: World, node: str) -> None:
    pairs = await world.ask(node, ClientScan(b"k", b"l"), timeout_s=8)
    assert pairs == [(b"k%d" % number, b"v%d" % number) for number in range(10)]


async def with_n4(world: World) -> None:
    """n4 joins three founders and has become active."""
    placement = await wish(world, "join", "n4", asked="n2")
    assert placement.find("n4") is not None
    world.start("n4", joining=placement)
    await until(world, "n4", MemberState.ACTIVE)


def test_a_node_that_joins_gets_its_share_of_replicas_and_leaders() -> None:
    async def story() -> None:
        world = await begun(3, ranges=8)
        assert replicas(world) == {"n1": 8, "n2": 8, "n3": 8}
        await with_n4(world)
        await world.wait_for(lambda: set(replicas(world).values()) == {6}, 60, what="replicas are even")
        await world.wait_for(lambda: set(leaders(world).values()) == {2}, 60, what="leaders are even")
        await all_there(world, "n4")
        await world.ask("n4", ClientSplit(b"k5"))
        # It remembers, and so do the founders.
        for name in ("n4", "n1"):
            world.crash(name)
            await asyncio.sleep(0.5)
            node = world.start(name)
            assert node.nodes == ("n1", "n2", "n3", "n4")
        await world.wait_until_led()
        await all_there(world, "n1")
        await ended(world)

    run_virtually(story())


def test_nobody_gets_a_replica_before_everybody_counts_it() -> None:
    """n3 is cut off, and would ask too few others: n4 waits for it, also if somebody moves by hand."""

    async def story() -> None:
        world = await begun(3)
        world.isolate("n3")
        await world.wait_until_led()
        placement = await wish(world, "join", "n4")
        world.start("n4", joining=placement)
        await asyncio.sleep(12)
        assert state_of(world, "n4") is MemberState.JOINING
        with pytest.raises(Refused, match="n4 gets no replica of range 1"):
            await world.ask("n1", ClientMove(1, "n3", "n4"))
        assert replicas(world)["n4"] == 0
        world.heal()
        await until(world, "n4", MemberState.ACTIVE)
        assert world.nodes["n3"].store.closed.others_needed == 2, (
            "of four, any three meet two of three replicas"
        )
        await world.wait_for(lambda: replicas(world)["n4"] > 0, 60, what="n4 has something")
        await ended(world)

    run_virtually(story())


def test_a_node_that_is_decommissioned_has_nothing_and_is_missed_by_nobody() -> None:
    async def story() -> None:
        world = await begun(4)
        assert world.nodes["n1"].store.closed.others_needed == 2
        await wish(world, "decommission", "n2", asked="n3")
        await until(world, "n2", MemberState.DECOMMISSIONED)
        assert 0 not in {count for name, count in replicas(world).items() if name != "n2"}
        assert world.nodes["n2"].store.replicas == {}
        assert world.nodes["n2"].store.closed.others_needed == 2, (
            "it is in no quorum itself: of the other three it needs two"
        )
        world.crash("n2")
        assert world.nodes["n1"].store.closed.others_needed == 1
        await all_there(world, "n3")
        assert spread_without(world, "n2") <= 1
        # A second one could not be missed now.
        with pytest.raises(
            Refused, match=r"n3 cannot go: ranges have 3 replicas.*\(n1, n4\); add a node first"
        ):
            await wish(world, "decommission", "n3")
        with pytest.raises(Refused, match="n2 was decommissioned: a node that comes back needs another name"):
            await wish(world, "join", "n2")
        with pytest.raises(Refused, match="n2 is decommissioned and cannot become active"):
            await wish(world, "recommission", "n2")
        with pytest.raises(Refused, match="there is no node n2"):
            await world.ask("n1", ClientMove(1, "n1", "n2"))
        await ended(world)

    run_virtually(story())


def spread_without(world: World, node: str) -> int:
    counts = [count for name, count in leaders(world).items() if name != node]
    return max(counts) - min(counts)


def test_a_dead_node_can_be_decommissioned_and_finds_that_out_when_it_comes_back() -> None:
    async def story() -> None:
        world = await begun(4)
        world.crash("n4")
        await world.wait_until_led()
        await wish(world, "decommission", "n4")
        await until(world, "n4", MemberState.DECOMMISSIONED)
        node = world.start("n4")
        await world.wait_for(lambda: not node.store.replicas, what="its replicas are removed")
        await all_there(world, "n4")
        await ended(world)

    run_virtually(story())


def test_who_was_to_go_may_stay_after_all() -> None:
    async def story() -> None:
        world = await begun(4, options=NodeOptions(placement=True, placement_moves=0))
        await wish(world, "decommission", "n2")
        await until(world, "n2", MemberState.DRAINING)
        await world.wait_for(lambda: leaders(world)["n2"] == 0, what="n2 leads nothing")
        assert replicas(world)["n2"] > 0
        await wish(world, "recommission", "n2")
        await until(world, "n2", MemberState.ACTIVE)
        await world.wait_for(lambda: spread(world) <= 1, what="n2 leads again")
        assert driver(world).state.version == 2
        await ended(world)

    run_virtually(story())


def test_without_placement_nobody_joins_or_goes() -> None:
    async def story() -> None:
        world = await begun(3, options=NodeOptions())
        with pytest.raises(Refused, match="placement is off: start the nodes with placement=on"):
            await wish(world, "join", "n4")
        assert await world.ask("n2", ClientGet(b"k1")) == b"v1"
        await ended(world)

    run_virtually(story())


THREE = founded(["n1", "n2", "n3"], 2, {"n1": "eu", "n2": "us"})


def test_each_change_makes_a_version_and_says_since_when() -> None:
    four = joined(THREE, "n4", ("host", 1), "us")
    assert joined(four, "n4", ("host", 1)) is four, "asked twice"
    going = drained(four, "n1")
    gone = decommissioned(going, "n1")
    assert [one.version for one in (THREE, four, going, gone)] == [0, 1, 2, 3]
    assert [one.name for one in gone.members] == ["n1", "n2", "n3", "n4"], "places are ids"
    assert gone.counted == ("n2", "n3", "n4")
    assert gone.may_hold == {"n2", "n3"}, "n4 is joining"
    assert gone.find("n1").since == 3  # type: ignore[union-attr]
    assert recommissioned(going, "n1").find("n1").since == 3  # type: ignore[union-attr]
    assert decode_placement(encode_placement(gone)) == gone
    assert preferring(THREE, ["us"]).leader_zones == ("us",)
    assert preferring(THREE, []) is THREE


def test_a_change_that_breaks_a_rule_is_refused_with_the_rule() -> None:
    with pytest.raises(ValueError, match="there is a node n2 already"):
        joined(THREE, "n2", None)
    with pytest.raises(ValueError, match="there is no node n9: the nodes are n1, n2, n3"):
        drained(THREE, "n9")
    with pytest.raises(ValueError, match="n1 is active and cannot become decommissioned"):
        decommissioned(THREE, "n1")
    with pytest.raises(ValueError, match="no node is in zone 'asia': the zones are eu, us"):
        preferring(THREE, ["asia"])
    assert parse_zones("n1:eu/n2:us") == {"n1": "eu", "n2": "us"}
    for text in ("n1", "n1:eu/n1:us", ":eu", "n1:"):
        with pytest.raises(ValueError, match="it must be NODE:ZONE"):
            parse_zones(text)
