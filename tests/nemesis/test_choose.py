"""What was asked for against what there is: wrong names, missing capabilities, `all`; and targets."""

from __future__ import annotations

from random import Random

import pytest

from nemesis.cluster import Capability, FaultUnavailable
from nemesis.package import choose
from nemesis.schedule import Request, parse_nemesis
from nemesis.targets import check_target, minority, pick, quorum
from tests.nemesis.fake_cluster import EVERYTHING
from tests.nemesis.test_schedule import PACKAGES

NODES = ("n1", "n2", "n3", "n4", "n5")
WITHOUT_CLOCK = {
    **EVERYTHING,
    "clock": Capability("clock", False, "clock port", "acme reads no clock file"),
}


def test_all_is_everything_there_is_and_says_what_is_left_out() -> None:
    choice = choose(parse_nemesis("all"), PACKAGES, WITHOUT_CLOCK, NODES)
    assert [request.name for request in choice.requests] == ["partition", "kill", "pause", "restart"]
    reasons = dict(choice.left_out)
    assert reasons["clock"] == "acme reads no clock file"
    assert set(reasons) == {
        "packet", "resources", "clock", "disk", "membership", "split", "merge", "move", "transfer", "coordinator",
    }  # fmt: skip


def test_a_fault_by_name_that_is_not_there_ends_with_reason_and_way_out() -> None:
    with pytest.raises(FaultUnavailable) as raised:
        choose(parse_nemesis("kill,clock"), PACKAGES, WITHOUT_CLOCK, NODES)
    text = str(raised.value)
    assert "'clock' is not available here: acme reads no clock file" in text
    assert "Available: partition, kill, pause, restart" in text
    with pytest.raises(FaultUnavailable, match="no environment injects disk faults"):
        choose(parse_nemesis("disk"), PACKAGES, EVERYTHING, NODES)
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
        ValueError, match="'n6' is neither one of one, minority, majority, all, leader nor a node"
    ):
        check_target("n1+n6", NODES)
