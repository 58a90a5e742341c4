"""What was asked for against what there is: wrong names, missing capabilities, `all`; and targets."""

from __future__ import annotations

from random import Random

import pytest

from nemesis.cluster import Capability, FaultUnavailable
from nemesis.package import check_schedule, choose
from nemesis.schedule import Request, Schedule, Step, parse_nemesis
from nemesis.targets import check_target, holders, minority, most_hit, pick, possible_targets, quorum
from tests.nemesis.fake_cluster import EVERYTHING
from tests.nemesis.test_schedule import PACKAGES

NODES = ("n1", "n2", "n3", "n4", "n5")
WITHOUT_CLOCK = {
    **EVERYTHING,
    "clock": Capability("clock", False, "clock port", "acme reads no clock file"),
}


def test_all_is_everything_there_is_and_says_what_is_left_out() -> None:
    choice = choose(parse_nemesis("all"), PACKAGES, WITHOUT_CLOCK, NODES)
    assert [request.name for request in choice.requests] == [
        "partition",
        "packet",
        "kill",
        "pause",
        "restart",
        "disk",
    ]
    reasons = dict(choice.left_out)
    assert reasons["clock"] == "acme reads no clock file"
    assert set(reasons) == {
        "resources", "clock", "membership", "split", "merge", "move", "transfer", "coordinator",
        "lagging", "dns",
    }  # fmt: skip


def test_a_fault_by_name_that_is_not_there_ends_with_reason_and_way_out() -> None:
    with pytest.raises(FaultUnavailable) as raised:
        choose(parse_nemesis("kill,clock"), PACKAGES, WITHOUT_CLOCK, NODES)
    text = str(raised.value)
    assert "'clock' is not available here: acme reads no clock file" in text
    assert "Available: partition, packet, kill, pause, restart, disk" in text
    with pytest.raises(FaultUnavailable, match="no environment injects resources faults"):
        choose(parse_nemesis("resources"), PACKAGES, EVERYTHING, NODES)
    no_clients = {**EVERYTHING, "cut_client": Capability("cut_client", False, "", "clients share the host")}
    assert choose(parse_nemesis("partition:one"), PACKAGES, no_clients, NODES).requests
    with pytest.raises(FaultUnavailable, match="clients share the host"):
        choose(parse_nemesis("partition:client"), PACKAGES, no_clients, NODES)


def test_wrong_shapes_and_targets_are_wrong_usage() -> None:
    with pytest.raises(ValueError, match="unknown shape 'square' of nemesis 'partition'; known: one, halves"):
        choose(parse_nemesis("partition:square"), PACKAGES, EVERYTHING, NODES)
    with pytest.raises(ValueError, match="unknown shape 'x' of nemesis 'kill'; it has none"):
        choose(parse_nemesis("kill:x"), PACKAGES, EVERYTHING, NODES)
    with pytest.raises(ValueError, match="unknown target 'n9'"):
        choose(parse_nemesis("kill@n9"), PACKAGES, EVERYTHING, NODES)
    assert choose(parse_nemesis("kill@n1+n3"), PACKAGES, EVERYTHING, NODES).requests == (
        Request("kill", None, "n1+n3"),
    )


@pytest.mark.parametrize(
    ("nemesis", "size", "words"),
    [
        ("partition:ring", 1, "'partition:ring': ring needs at least 3 nodes, there is 1; use client"),
        ("partition:bridge", 2, "bridge needs at least 3 nodes, there are 2; use one, halves, one-way"),
        ("partition:leader", 1, "leader needs at least 2 nodes"),
        ("partition@all", 3, "one is aimed at 2 nodes at most"),
        ("kill@minority", 1, "'minority' needs at least 3 nodes, there is 1; use one of one, majority"),
        ("clock@minority", 2, "'minority' needs at least 3 nodes, there are 2"),
    ],
)
def test_what_so_few_nodes_cannot_have_is_wrong_usage(nemesis: str, size: int, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        choose(parse_nemesis(nemesis), PACKAGES, EVERYTHING, NODES[:size])
    assert words in str(raised.value)


def test_a_single_node_has_partitions_where_clients_can_be_cut_off() -> None:
    no_clients = {**EVERYTHING, "cut_client": Capability("cut_client", False, "", "clients share the host")}
    assert choose(parse_nemesis("partition"), PACKAGES, EVERYTHING, NODES[:1]).requests == (
        Request("partition"),
    )
    with pytest.raises(FaultUnavailable, match="clients share the host"):
        choose(parse_nemesis("partition"), PACKAGES, no_clients, NODES[:1])
    assert dict(choose(parse_nemesis("all"), PACKAGES, no_clients, NODES[:1]).left_out)["partition"]
    no_leaders = {**EVERYTHING, "leaders": Capability("leaders", False, "", "acme does not say who leads")}
    with pytest.raises(FaultUnavailable, match="acme does not say who leads"):
        choose(parse_nemesis("partition:leader"), PACKAGES, no_leaders, NODES)
    assert choose(parse_nemesis("partition"), PACKAGES, no_leaders, NODES).requests


def test_a_family_may_be_there_without_each_of_its_shapes() -> None:
    absent = {name: Capability(name, False, "", "only in the simulation") for name in ("lose", "flip_bits")}
    some = {**EVERYTHING, **absent}
    assert choose(parse_nemesis("packet,disk,packet:flaky"), PACKAGES, some, NODES).requests
    for nemesis in ("packet:loss", "disk:bit-flip"):
        with pytest.raises(FaultUnavailable, match="only in the simulation"):
            choose(parse_nemesis(nemesis), PACKAGES, some, NODES)


def test_a_schedule_for_another_cluster_is_refused_with_every_step() -> None:
    steps = [
        Step(1, 0, "kill", None, "n9", 1_000_000_000),
        Step(2, 0, "partition", "ring", "one", 1_000_000_000),
        Step(3, 0, "partition", "star", "one", 1_000_000_000),
        Step(4, 0, "resources", None, "one", 1_000_000_000),
        Step(5, 0, "kill", None, "n1", 1_000_000_000),
    ]
    with pytest.raises(ValueError) as raised:
        check_schedule(Schedule.of(steps), PACKAGES, NODES[:2])
    problems = str(raised.value).split("; step ")
    assert len(problems) == 4
    assert problems[0].startswith("step 1 (kill@n9 at 0.0 s for 1.0 s): unknown target 'n9': 'n9' is neither")
    assert "ring needs at least 3 nodes, there are 2" in problems[1]
    assert "unknown shape 'star' of nemesis 'partition'" in problems[2]
    assert "no package injects resources; there are clock, disk, kill" in problems[3]
    check_schedule(Schedule.of(steps[4:]), PACKAGES, NODES[:2])


def test_a_name_that_is_no_node_is_named_when_a_step_is_due() -> None:
    """It was once `skipped ( cannot be hit now)`, without any name."""
    for target in ("n9", "n1+n9"):
        with pytest.raises(ValueError, match=f"unknown target '{target.replace('+', '.')}': 'n9' is neither"):
            pick(target, NODES, NODES, {}, Random(1))


@pytest.mark.parametrize(
    ("size", "most", "fails"), [(1, 1, 1), (2, 2, 1), (3, 2, 1), (4, 3, 1), (5, 3, 2), (7, 4, 3)]
)
def test_majorities_and_minorities(size: int, most: int, fails: int) -> None:
    assert (quorum(size), minority(size)) == (most, fails)


def test_targets_are_resolved_among_those_that_can_be_hit() -> None:
    leaders = {"r1": "n4", "r2": "n4", "r3": "n2"}
    for draw in range(50):
        random = Random(draw)
        assert pick("one", NODES, ["n3"], leaders, random).nodes == ("n3",)
        assert 1 <= len(pick("minority", NODES, NODES, leaders, random).nodes) <= 2
        assert len(pick("majority", NODES, NODES, leaders, random).nodes) == 3
        assert pick("leader", NODES, NODES, leaders, random).nodes[0] in ("n2", "n4")
        assert pick("leader", NODES, ["n2", "n5"], leaders, random).nodes == ("n2",)
        assert pick("minority", NODES, NODES, leaders, random, at_most=0).nodes.__len__() == 1
    assert pick("all", NODES, ["n5", "n1"], leaders, Random(1)).nodes == ("n1", "n5")
    assert pick("n2+n4", NODES, NODES, leaders, Random(1)).nodes == ("n2", "n4")
    assert pick("n2", NODES, ["n1"], leaders, Random(1)).nodes == ()
    assert pick("one", NODES, [], leaders, Random(1)).how == "no node can be hit now"


def test_without_a_known_leader_somebody_is_hit_and_the_plan_says_so() -> None:
    picked = pick("leader", NODES, NODES, {}, Random(1))
    assert len(picked.nodes) == 1
    assert "no leader is known" in picked.how


def test_both_ways_to_choose_a_leader_are_taken() -> None:
    leaders = {"r1": "n4", "r2": "n4", "r3": "n2"}
    hows = {pick("leader", NODES, NODES, leaders, Random(draw)).how for draw in range(50)}
    assert "leads most ranges (2 of 3 known)" in hows
    assert "leads range r3" in hows


def test_a_name_is_a_target_only_if_it_is_a_node() -> None:
    check_target("leader", NODES)
    check_target("n1+n5", NODES)
    with pytest.raises(
        ValueError, match="'n6' is neither one of one, minority, majority, all, leader, placement-leader nor"
    ):
        check_target("n1+n6", NODES)


def test_a_role_is_hit_by_name_and_is_no_range() -> None:
    leaders = {"1": "n2", "2": "n4", "placement": "n5"}
    random = Random(1)
    check_target("placement-leader", NODES)
    assert most_hit("placement-leader", len(NODES)) == 1
    assert pick("placement-leader", NODES, NODES, leaders, random).nodes == ("n5",)
    assert pick("placement-leader", NODES, NODES, {"1": "n2"}, random).nodes == ()
    assert pick("placement-leader", NODES, ["n1"], leaders, random).nodes == (), "it is down already"
    assert {pick("leader", NODES, NODES, leaders, Random(seed)).nodes[0] for seed in range(20)} == {
        "n2",
        "n4",
    }
    assert holders(NODES, leaders) == ["n2", "n4"]
    assert "placement-leader" not in possible_targets(len(NODES)), "so that no seed draws another schedule"
