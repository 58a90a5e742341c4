"""Which replicas go where: off dead and leaving nodes, over zones, then evenly; and never without need."""

from __future__ import annotations

from collections import Counter

from reference_db.placement.replicas import HeldRange, Move, Spots, choose_moves, crowding

FOUR = Spots(open=("n1", "n2", "n3", "n4"), up=frozenset({"n1", "n2", "n3", "n4"}))


def held(*replicas: str) -> list[HeldRange]:
    return [HeldRange(number, tuple(one.split())) for number, one in enumerate(replicas, 1)]


def carried_out(ranges: list[HeldRange], moves: list[Move]) -> list[HeldRange]:
    by_id = {move.range_id: move for move in moves}
    assert len(by_id) == len(moves), "one move a range"
    found = []
    for one in ranges:
        replicas = one.replicas
        if one.id in by_id:
            move = by_id[one.id]
            assert move.source in replicas
            assert move.target not in replicas
            replicas = tuple(move.target if node == move.source else node for node in replicas)
        found.append(HeldRange(one.id, replicas))
    return found


def test_what_is_even_stays() -> None:
    assert choose_moves(held("n1 n2 n3", "n2 n3 n4", "n3 n4 n1", "n4 n1 n2"), FOUR, 10) == []
    assert choose_moves([], FOUR, 10) == []


def test_a_new_node_gets_its_share_from_whoever_has_most() -> None:
    ranges = held(*["n1 n2 n3"] * 8)
    moves = choose_moves(ranges, FOUR, 100)
    assert {move.target for move in moves} == {"n4"}
    counts = Counter(node for one in carried_out(ranges, moves) for node in one.replicas)
    assert counts == {"n1": 6, "n2": 6, "n3": 6, "n4": 6}
    assert [move.why for move in choose_moves(ranges, FOUR, 2)] == ["even", "even"], (
        "so many at once and no more"
    )


def test_replicas_leave_a_dead_node_before_one_that_is_to_go() -> None:
    spots = Spots(
        open=("n1", "n4", "n5"),
        dead=frozenset({"n3"}),
        draining=frozenset({"n2"}),
        up=frozenset({"n1", "n2", "n4", "n5"}),
    )
    moves = choose_moves(held("n1 n2 n4", "n1 n3 n5"), spots, 10)
    assert moves == [Move(2, "n3", "n4", "repair"), Move(1, "n2", "n5", "drain")]


def test_without_a_quorum_or_a_place_nothing_is_moved() -> None:
    most_are_down = Spots(open=("n1", "n4"), dead=frozenset({"n2", "n3"}), up=frozenset({"n1", "n4"}))
    assert choose_moves(held("n1 n2 n3"), most_are_down, 10) == []
    nowhere = Spots(open=("n1", "n2"), dead=frozenset({"n3"}), up=frozenset({"n1", "n2"}))
    assert choose_moves(held("n1 n2 n3"), nowhere, 10) == []
    assert choose_moves([HeldRange(1, ("n1", "n2", "n3"), is_fixed=True)] * 1, FOUR, 10) == []


def test_replicas_spread_over_zones_and_stay_spread() -> None:
    zone_of = {"n1": "eu", "n2": "eu", "n3": "us", "n4": "asia"}
    spots = FOUR._replace(zone_of=zone_of)
    assert crowding(["n1", "n2", "n3"], zone_of) == 1
    (move,) = choose_moves(held("n1 n2 n3"), spots, 10)
    assert (move.target, move.why) == ("n4", "spread")
    # Two in eu and one each in us and asia: to even out, nothing leaves us or asia for eu's second node.
    ranges = held(*["n1 n3 n4"] * 4)
    moves = choose_moves(ranges, spots, 10)
    assert {(move.source, move.target) for move in moves} == {("n1", "n2")}
    assert all(crowding(one.replicas, zone_of) == 0 for one in carried_out(ranges, moves))


def test_what_leaves_a_dead_node_goes_where_its_zone_is_missing() -> None:
    zone_of = {"n1": "eu", "n2": "us", "n3": "asia", "n4": "us", "n5": "asia"}
    spots = Spots(
        ("n1", "n2", "n4", "n5"), frozenset({"n3"}), frozenset(), frozenset(["n1", "n2", "n4", "n5"]), zone_of
    )
    assert choose_moves(held("n1 n2 n3"), spots, 10) == [Move(1, "n3", "n5", "repair")]
