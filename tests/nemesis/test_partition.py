"""Shapes of partitions: who hears whom, at every size of cluster, and what small clusters degrade to."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemesis.cluster import CLIENT, Link, NodeState
from nemesis.holds import Holds
from nemesis.package import Plan, Situation
from nemesis.partition import Partition, bridge, clients, isolate, one_way, ring
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


@given(st.integers(2, 7), st.sampled_from(Partition.shapes), st.integers(0, 1000))
def test_every_shape_cuts_something_and_never_everything_at_every_size(
    size: int, shape: str, draw: int
) -> None:
    aim = Partition().draw(
        Request("partition", shape), Random(draw), [f"n{i + 1}" for i in range(size)], True
    )
    step = Step(1, 0, "partition", aim.shape, aim.target, 10, aim.parameters)
    result = Partition().plan(step, situation(size), Holds())
    assert result.skipped is None
    assert result.links
    assert result.targets
    assert len(set(result.links)) == len(result.links)
    if shape == "client":
        assert all(CLIENT in link for link in result.links)
    else:
        assert not any(CLIENT in link for link in result.links)
    if shape == "majority":
        largest = max(len(names) for names in hears(situation(size).nodes, result.links).values())
        assert largest >= quorum(size) or size == 2


def test_a_single_node_is_cut_from_its_clients() -> None:
    for shape in Partition.shapes:
        result = plan(1, shape)
        assert result.details["shape"] == "client"
        assert set(result.links) <= {(CLIENT, "n1"), ("n1", CLIENT)}


def test_where_clients_cannot_be_cut_off_a_node_is() -> None:
    step = Step(1, 0, "partition", "client", "one", 10, {"draw": 1, "direction": "both"})
    nodes = situation(3)
    without = Situation(nodes.nodes, nodes.states, nodes.leaders, frozenset({"cut"}))
    result = Partition().plan(step, without, Holds())
    assert result.details["shape"] == "one"
    assert not any(CLIENT in link for link in result.links)


def test_two_nodes_have_one_pair() -> None:
    for shape in ("one", "halves", "majority", "ring", "bridge", "leader"):
        assert plan(2, shape).links == (("n1", "n2"), ("n2", "n1"))
    assert len(plan(2, "one-way").links) == 1


def test_the_leader_is_isolated_from_nodes_and_not_from_clients() -> None:
    step = Step(1, 0, "partition", "leader", "leader", 10, {"draw": 5})
    result = Partition().plan(step, situation(5, leader="n4"), Holds())
    assert result.targets == ("n4",)
    assert result.links == isolate(situation(5).nodes, "n4")


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
        assert plan(5, shape, draw=9) == plan(5, shape, draw=9)


def test_an_unknown_shape_in_a_saved_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown shape 'star'"):
        plan(3, "star")
