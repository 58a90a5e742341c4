"""Quorum arithmetic agrees with its definition, counted out over all majorities."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from reference_db.raft.quorum import (
    NO_LIMIT,
    VoteResult,
    draw_acknowledged,
    is_majority,
    joint_committed,
    joint_vote,
    majority_committed,
    majority_vote,
)

NODES = st.frozensets(st.integers(1, 7), max_size=6)
ACKED = st.dictionaries(st.integers(1, 7), st.integers(0, 9))
VOTES = st.dictionaries(st.integers(1, 7), st.booleans())


def _majorities(voters: frozenset[int]) -> list[tuple[int, ...]]:
    size = len(voters) // 2 + 1
    return list(combinations(sorted(voters), size)) if voters else [()]


@given(NODES, ACKED)
def test_committed_is_the_best_index_that_some_majority_has(
    voters: frozenset[int], acked: dict[int, int]
) -> None:
    best = max(min((acked.get(voter, 0) for voter in some), default=NO_LIMIT) for some in _majorities(voters))
    assert majority_committed(voters, acked) == best


@given(NODES, NODES)
def test_members_are_a_majority_if_some_majority_is_among_them(
    voters: frozenset[int], members: frozenset[int]
) -> None:
    assert is_majority(voters, members) == any(members.issuperset(some) for some in _majorities(voters))
    assert is_majority(voters, members) == (
        majority_vote(voters, dict.fromkeys(members, True)) is VoteResult.WON
    )


@given(NODES, VOTES)
def test_a_vote_is_won_by_a_majority_and_lost_when_none_is_left(
    voters: frozenset[int], votes: dict[int, bool]
) -> None:
    won = any(all(votes.get(voter) for voter in some) for some in _majorities(voters))
    open_ = any(all(votes.get(voter, True) for voter in some) for some in _majorities(voters))
    expected = VoteResult.WON if won else VoteResult.PENDING if open_ else VoteResult.LOST
    assert majority_vote(voters, votes) is expected


@given(NODES, NODES, ACKED, VOTES)
def test_a_joint_configuration_decides_what_both_halves_decide(
    incoming: frozenset[int], outgoing: frozenset[int], acked: dict[int, int], votes: dict[int, bool]
) -> None:
    halves = {majority_vote(incoming, votes), majority_vote(outgoing, votes)}
    assert joint_committed(incoming, outgoing, acked) == min(
        majority_committed(incoming, acked), majority_committed(outgoing, acked)
    )
    result = joint_vote(incoming, outgoing, votes)
    assert (result is VoteResult.WON) == (halves == {VoteResult.WON})
    assert (result is VoteResult.LOST) == (VoteResult.LOST in halves)


def test_four_voters_need_three() -> None:
    assert majority_committed((1, 2, 3, 4), {1: 5, 2: 5, 3: 4, 4: 2}) == 4


def test_the_drawing_shows_how_many_are_behind() -> None:
    assert draw_acknowledged((1, 2, 3), {1: 12, 2: 5}) == (
        "       idx\n"
        "xx>     12    (id=1)\n"
        "x>       5    (id=2)\n"
        "?        0    (id=3)\n"
    )  # fmt: skip
