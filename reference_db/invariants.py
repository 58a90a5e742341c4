"""What must hold of all nodes at every moment, checked over states that somebody collected.

Pure: states in, sentences out; an empty list means that everything holds. A client's history may look right while one
of these is broken, which makes them the early and cheap detectors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reference_db.ranges.descriptor import Descriptor


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """One replica at one moment. `leads` says that it believes so itself."""

    node: str
    range_id: int
    term: int
    leads: bool
    commit: int
    applied: int
    last_index: int


class ElectionSafety:
    """At most one leader for each (range, term), over everything ever observed (Raft paper, figure 3)."""

    def __init__(self) -> None:
        self._leaders: dict[tuple[int, int], str] = {}

    def observe(self, replicas: Iterable[ReplicaState]) -> list[str]:
        """Remember who leads what; sentences about terms with two leaders."""
        broken = []
        for replica in replicas:
            if not replica.leads:
                continue
            known = self._leaders.setdefault((replica.range_id, replica.term), replica.node)
            if known != replica.node:
                broken.append(
                    f"range {replica.range_id} has two leaders in term {replica.term}: {known} and {replica.node}"
                )
        return broken


class Progress:
    """Terms, commit and applied indexes of a replica never go back while its node stays up."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], ReplicaState] = {}

    def observe(self, replicas: Iterable[ReplicaState]) -> list[str]:
        """Compare with what each replica was before."""
        broken = []
        for replica in replicas:
            before = self._seen.get((replica.node, replica.range_id))
            if before is not None:
                for name in ("term", "commit", "applied"):
                    old, new = getattr(before, name), getattr(replica, name)
                    if new < old:
                        broken.append(
                            f"{name} of range {replica.range_id} on {replica.node} went back: {old} to {new}"
                        )
            self._seen[(replica.node, replica.range_id)] = replica
        return broken

    def forget(self, node: str) -> None:
        """The node was restarted; what was not durable may be behind again."""
        for key in [key for key in self._seen if key[0] == node]:
            del self._seen[key]


def check_indexes(replicas: Iterable[ReplicaState]) -> list[str]:
    """applied <= commit <= last index, on every replica."""
    return [
        f"range {replica.range_id} on {replica.node}: applied {replica.applied}, commit {replica.commit}, "
        f"last index {replica.last_index} are not in this order"
        for replica in replicas
        if not replica.applied <= replica.commit <= replica.last_index
    ]


def check_tiling(descriptors: Sequence[Descriptor]) -> list[str]:
    """The ranges cover the keyspace exactly once."""
    if not descriptors:
        return ["there is no range at all"]
    ordered = sorted(descriptors, key=lambda descriptor: descriptor.start)
    broken = []
    if ordered[0].start != b"":
        broken.append(f"keys below {ordered[0].start!r} belong to no range")
    for left, right in itertools.pairwise(ordered):
        if left.end is None or left.end > right.start:
            broken.append(f"ranges {left.id} and {right.id} overlap: {left.end!r} and {right.start!r}")
        elif left.end < right.start:
            broken.append(f"keys from {left.end!r} to {right.start!r} belong to no range")
    if ordered[-1].end is not None:
        broken.append(f"keys from {ordered[-1].end!r} belong to no range")
    return broken
