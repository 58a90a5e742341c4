"""Pure quorum arithmetic: what is committed, who won a vote, in a majority and in a joint configuration.

A joint configuration (paper 6; Ongaro's thesis 4.3) decides only what both of its halves decide; an empty half
agrees with everything. Nothing in this file knows what an index or a vote is for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

NO_LIMIT = 2**64 - 1
"""The commit index of an empty half: it never holds the other half back."""


class VoteResult(Enum):
    PENDING = "VotePending"
    LOST = "VoteLost"
    WON = "VoteWon"


def majority_committed(voters: Collection[int], acked: Mapping[int, int]) -> int:
    """The highest index that a majority of `voters` acknowledged; who is missing in `acked` counts as 0."""
    if not voters:
        return NO_LIMIT
    indexes = sorted(acked.get(voter, 0) for voter in voters)
    return indexes[(len(indexes) - 1) // 2]


def joint_committed(incoming: Collection[int], outgoing: Collection[int], acked: Mapping[int, int]) -> int:
    """The highest index that a majority of each half acknowledged."""
    return min(majority_committed(incoming, acked), majority_committed(outgoing, acked))


def majority_vote(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """Whether a majority said yes, or can't any more; who is missing in `votes` may still answer."""
    if not voters:
        return VoteResult.WON
    yes = no = 0
    for voter in voters:
        vote = votes.get(voter)
        if vote is True:
            yes += 1
        elif vote is False:
            no += 1
    needed = len(voters) // 2 + 1
    if yes >= needed:
        return VoteResult.WON
    if len(voters) - no >= needed:
        return VoteResult.PENDING
    return VoteResult.LOST


def is_majority(voters: Collection[int], members: Collection[int]) -> bool:
    """Whether these members alone decide: what `majority_vote` answers when they, and nobody else, say yes."""
    return not voters or 2 * len([voter for voter in voters if voter in members]) > len(voters)


def joint_vote(incoming: Collection[int], outgoing: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """Won if both halves are won, lost if one is lost, else pending."""
    first, second = majority_vote(incoming, votes), majority_vote(outgoing, votes)
    if first is second:
        return first
    if VoteResult.LOST in (first, second):
        return VoteResult.LOST
    return VoteResult.PENDING


def draw_acknowledged(voters: Collection[int], acked: Mapping[int, int]) -> str:
    """A drawing for people: one row a voter, a bar as long as the number of voters that are strictly behind it."""
    if not voters:
        return "<empty majority quorum>"
    width = len(voters)
    by_index = sorted((acked.get(voter, 0), voter) for voter in voters)
    bars: dict[int, int] = {}
    behind = 0
    for position, (index, voter) in enumerate(by_index):
        if position and by_index[position - 1][0] < index:
            behind = position
        bars[voter] = behind
    rows = [" " * width + "    idx"]
    for voter in sorted(voters):
        if voter in acked:
            mark = "x" * bars[voter] + ">" + " " * (width - bars[voter])
        else:
            mark = "?" + " " * width
        rows.append(f"{mark} {acked.get(voter, 0):5d}    (id={voter})")
    return "\n".join(rows) + "\n"
