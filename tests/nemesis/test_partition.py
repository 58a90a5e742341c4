"""Shapes of partitions: who hears whom, at every size of cluster, and which shapes small clusters have."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemesis.cluster import CLIENT, Link, NodeState
from nemesis.holds import Holds
from nemesis.package import Plan, Situation
from nemesis.partition import Partition, bridge, clients, isolate, one_way, possible_shapes, ring
from nemesis.schedule import Request, Step
from nemesis.targets import quorum


def situation(size: int, leader: str = "n1", **states: NodeState) -> Situation:
    nodes = tuple(f"n{number}" for number in range(1, size + 1))
    return Situation(nodes, {name: states.get(name, "up") for name in nodes}, {"r1": leader})


def plan(size: int, shape: str, target: str = "one", draw: int = 1, **parameters: object) -> Plan:
    step = Step(1, 0, "partition", shape, target, 10, {"draw": draw, **parameters})
    return Partition().plan(step, situation(size), Holds())


def hears(nodes: tuple[str, ...], links: tuple[Link, ...]) -> dict[str, set[str]]:
    """Whom each node can still hear, itself included."""
    return {name: {other for other in nodes if other == name or (other, name) not in links} for name in nodes}


def test_one_node_hears_nobody_and_is_heard_by_nobody() -> None:
    assert isolate(("n1", "n2", "n3"), "n2") == (("n1", "n2"), ("n2", "n1"), ("n2", "n3"), ("n3", "n2"))


def test_one_way_cuts_one_direction_alone() -> None:
    nodes = ("n1", "n2", "n3")
    assert one_way(nodes, "n1", "out") == (("n1", "n2"), ("n1", "n3"))
    assert one_way(nodes, "n1", "in") == (("n2", "n1"), ("n3", "n1"))


def test_two_halves_of_a_bridge_hear_it_and_not_each_other() -> None:
    nodes = ("n1", "n2", "n3", "n4", "n5")
    heard = hears(nodes, bridge(nodes))
    assert heard["n1"] == set(nodes)
    assert heard["n2"] == heard["n3"] == {"n1", "n2", "n3"}
    assert heard["n4"] == heard["n5"] == {"n1", "n4", "n5"}


@given(st.integers(3, 9))
def test_in_a_ring_each_hears_a_majority_and_no_two_the_same(size: int) -> None:
    nodes = tuple(f"n{number}" for number in range(1, size + 1))
    heard = hears(nodes, ring(nodes))
    assert all(len(names) == quorum(size) for names in heard.values())
    assert len({frozenset(names) for names in heard.values()}) == size


def test_clients_lose_requests_or_replies() -> None:
    assert clients(["n2"], "requests") == ((CLIENT, "n2"),)
    assert clients(["n2"], "replies") == (("n2", CLIENT),)
    assert clients(["n2"], "both") == ((CLIENT, "n2"), ("n2", CLIENT))


def names(size: int) -> list[str]:
    return [f"n{number}" for number in range(1, size + 1)]


@given(st.integers(1, 7), st.data(), st.integers(0, 1000))
def test_every_shape_that_a_cluster_has_is_what_is_cut_and_never_everything(
    size: int, data: st.DataObject, draw: int
) -> None:
    shape = data.draw(st.sampled_from(possible_shapes(size)))
    aim = Partition().draw(Request("partition", shape), Random(draw), names(size), True)
    step = Step(1, 0, "partition", aim.shape, aim.target, 10, aim.parameters)
    result = Partition().plan(step, situation(size), Holds())
    assert result.skipped is None
    assert result.details["shape"] == shape
    assert result.links
    assert result.targets
    assert len(set(result.links)) == len(result.links)
    if shape == "client":
        assert all(CLIENT in link for link in result.links)
    else:
        assert not any(CLIENT in link for link in result.links)
    if shape == "majority":
        largest = max(len(names) for names in hears(situation(size).nodes, result.links).values())
        assert largest >= quorum(size)


@given(st.integers(1, 7), st.integers(0, 1000), st.booleans())
def test_what_is_drawn_is_a_shape_and_a_target_that_the_cluster_has(
    size: int, draw: int, first: bool
) -> None:
    """One node was once given a ring, which silently became a partition of its clients."""
    for request in (
        Request("partition"),
        Request("partition", None, "n1"),
        Request("partition", None, "leader"),
    ):
        aim = Partition().draw(request, Random(draw), names(size), first)
        assert aim.shape in possible_shapes(size)
        assert Partition().objection(aim.shape, aim.target, names(size)) is None
        assert aim.target != "minority" or size >= 3
        if size == 1:
            assert aim.parameters["direction"] in ("requests", "replies", "both")
        step = Step(1, 0, "partition", aim.shape, aim.target, 10, aim.parameters)
        assert Partition().plan(step, situation(size), Holds()).details["shape"] == aim.shape


def test_a_shape_that_the_cluster_has_not_is_refused_and_never_replaced() -> None:
    for size in (1, 2):
        for shape in sorted(set(Partition.shapes) - set(possible_shapes(size))):
            with pytest.raises(
                ValueError, match=f"{shape} needs at least [23] nodes, there (is|are) {size}; use "
            ):
                plan(size, shape)
    assert possible_shapes(1) == ("client",)
    assert possible_shapes(2) == ("one", "halves", "one-way", "leader", "client")
    assert possible_shapes(3) == Partition.shapes


def test_where_clients_cannot_be_cut_off_a_node_is() -> None:
    step = Step(1, 0, "partition", "client", "one", 10, {"draw": 1, "direction": "both"})
    nodes = situation(3)
    without = Situation(nodes.nodes, nodes.states, nodes.leaders, frozenset({"cut"}))
    result = Partition().plan(step, without, Holds())
    assert result.details["shape"] == "one"
    assert not any(CLIENT in link for link in result.links)


def test_two_nodes_have_one_pair() -> None:
    for shape in ("one", "halves"):
        assert plan(2, shape).links == (("n1", "n2"), ("n2", "n1"))
    assert len(plan(2, "one-way").links) == 1


def test_the_leader_is_isolated_from_nodes_and_not_from_clients() -> None:
    step = Step(1, 0, "partition", "leader", "leader", 10, {"draw": 5})
    result = Partition().plan(step, situation(5, leader="n4"), Holds())
    assert result.targets == ("n4",)
    assert result.links == isolate(situation(5).nodes, "n4")


def test_without_a_known_leader_the_shape_says_that_just_one_node_was_cut_off() -> None:
    step = Step(1, 0, "partition", "leader", "leader", 10, {"draw": 5})
    nodes = situation(5)
    result = Partition().plan(step, Situation(nodes.nodes, nodes.states, {}), Holds())
    assert result.details["shape"] == "one"
    assert result.links == isolate(nodes.nodes, result.targets[0])


def test_a_target_that_the_shape_cannot_have_is_refused() -> None:
    nodes = names(3)
    refused: list[tuple[str | None, str, str]] = [
        ("one", "all", "one is aimed at 2 nodes at most, and 'all' is 3 of 3 nodes"),
        (None, "n1+n2+n3", "one is aimed at 2 nodes at most, and 'n1+n2+n3' is 3 nodes"),
        ("bridge", "majority", "bridge is aimed at 1 node at most, and 'majority' is 2 of 3 nodes"),
        ("one-way", "n1+n3", "one-way is aimed at 1 node at most"),
        ("leader", "n2", "leader cuts off whoever leads, not 'n2'; use partition:one@n2"),
    ]
    for shape, target, words in refused:
        assert words in (Partition().objection(shape, target, nodes) or ""), (shape, target)
    had: list[tuple[str | None, str | None]] = [
        ("one", "n1+n2"),
        ("ring", "all"),
        ("client", "all"),
        (None, "minority"),
        (None, None),
    ]
    for fits in had:
        assert Partition().objection(*fits, nodes) is None
    assert Partition().objection(None, "n1", ["n1"]) is None, "one node: its clients"


def test_a_partition_aims_at_nodes_that_run() -> None:
    for draw in range(20):
        step = Step(1, 0, "partition", "one", "one", 10, {"draw": draw})
        result = Partition().plan(step, situation(3, n1="down", n3="paused"), Holds())
        assert result.targets == ("n2",)


def test_asked_for_by_target_alone_a_partition_isolates_it() -> None:
    package, nodes = Partition(), ["n1", "n2", "n3"]
    aim = package.draw(Request("partition", None, "leader"), Random(1), nodes, True)
    assert (aim.shape, aim.target) == ("leader", "leader")
    aim = package.draw(Request("partition", None, "n2"), Random(1), nodes, True)
    assert (aim.shape, aim.target) == ("one", "n2")


def test_the_same_step_plans_the_same_cut() -> None:
    for shape in Partition.shapes:
        target = "leader" if shape == "leader" else "one"
        assert plan(5, shape, target, draw=9) == plan(5, shape, target, draw=9)


def test_an_unknown_shape_in_a_saved_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown shape 'star'"):
        plan(3, "star")
