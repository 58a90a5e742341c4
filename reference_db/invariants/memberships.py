"""Who may decide for a range, as replicas come and go: memberships that follow each other, and members that return.

A membership is what a range's entries say it is, so the first replica that applies an entry shows what comes after it.
Two that follow each other must not be able to decide apart from each other. What a replica had promised when it was
removed from a node is remembered here, whatever the node itself remembers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from reference_db.raft.membership import Configuration
from reference_db.raft.messages import HardState
from reference_db.raft.quorum import is_majority


def quorums_of(configuration: Configuration) -> Iterator[frozenset[int]]:
    """Every set of members that decides, from the smallest on."""
    members = sorted(configuration.all_voters)
    for size in range(1, len(members) + 1):
        for some in combinations(members, size):
            if is_majority(configuration.voters, some) and is_majority(configuration.outgoing, some):
                yield frozenset(some)


def why_apart(before: Configuration, after: Configuration) -> str | None:
    """A quorum of each that have no member in common, as a sentence; None if there are none."""
    earlier = list(quorums_of(before))
    for later in quorums_of(after):
        for one in earlier:
            if not one & later:
                return (
                    f"members {sorted(one)} decide under ({before}), and without any of them {sorted(later)} under "
                    f"the next membership ({after})"
                )
    return None


class Memberships:
    """Of one range."""

    __slots__ = ("_applied", "_left")

    def __init__(self) -> None:
        self._applied = 0
        """The entry with the latest change that was looked at."""
        self._left: dict[str, HardState] = {}
        """By node: what its replica had promised, durably, when it was removed."""

    def changed(self, index: int, before: Configuration, after: Configuration) -> str | None:
        """A replica has applied an entry that changes the membership; what is wrong with that."""
        if index <= self._applied or before == after:
            return None
        self._applied = index
        return why_apart(before, after)

    def removed(self, node: str, promised: HardState) -> None:
        """A node's replica was removed."""
        self._left[node] = promised

    def forget(self, node: str) -> None:
        """What a node had promised is lost, through no fault of its own."""
        self._left.pop(node, None)

    def returned(self, node: str, begins_with: HardState) -> str | None:
        """A replica appears on a node; what it has forgotten."""
        promised = self._left.pop(node, None)
        if promised is None or begins_with.term > promised.term:
            return None
        if begins_with.term == promised.term and promised.vote in (0, begins_with.vote):
            return None
        return (
            f"{node} begins anew in term {begins_with.term} with vote {begins_with.vote}; the replica that was removed "
            f"from there had term {promised.term} and vote {promised.vote}"
        )
