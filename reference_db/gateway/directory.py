"""Which range holds a key, and which node led it last, as far as this node knows.

A hint may be wrong: the replica that is asked decides. Hints come from this node's own replicas, from refusals that
name the leader, and from answers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from reference_db.ranges.descriptor import Descriptor


class Directory:
    """The descriptors in key order, and a leader hint for each range."""

    __slots__ = ("_by_id", "_descriptors", "_hints", "_starts", "_turn")

    def __init__(self, descriptors: Sequence[Descriptor]) -> None:
        self._descriptors = sorted(descriptors, key=lambda descriptor: descriptor.start)
        self._starts = [descriptor.start for descriptor in self._descriptors]
        self._by_id = {descriptor.id: descriptor for descriptor in self._descriptors}
        self._hints: dict[int, str] = {}
        self._turn: dict[int, int] = {}

    def find(self, key: bytes) -> Descriptor:
        """The range that holds the key."""
        return self._descriptors[bisect_right(self._starts, key) - 1]

    def get(self, range_id: int) -> Descriptor:
        """The range with this id; KeyError for an id that was never heard of."""
        return self._by_id[range_id]

    def all(self) -> Sequence[Descriptor]:
        """Every range in key order."""
        return self._descriptors

    def overlapping(self, start: bytes, end: bytes | None) -> list[tuple[Descriptor, bytes, bytes | None]]:
        """The ranges that `[start, end)` touches in key order, each with its part of the span."""
        parts = []
        for number in range(bisect_right(self._starts, start) - 1, len(self._descriptors)):
            descriptor = self._descriptors[number]
            if end is not None and descriptor.start >= end:
                break
            last = (
                descriptor.end
                if end is None or (descriptor.end is not None and descriptor.end < end)
                else end
            )
            parts.append((descriptor, max(start, descriptor.start), last))
        return parts

    def leader_hint(self, range_id: int) -> str | None:
        """Who led the range when last heard of."""
        return self._hints.get(range_id)

    def learn_leader(self, range_id: int, node: str) -> None:
        """Somebody who should know says that this node leads the range."""
        self._hints[range_id] = node

    def forget_leader(self, range_id: int, node: str) -> None:
        """This node does not lead the range after all, or cannot be reached."""
        if self._hints.get(range_id) == node:
            del self._hints[range_id]

    def candidate(self, range_id: int) -> str:
        """The node to ask next: the hint, else the replicas in turn."""
        hint = self._hints.get(range_id)
        if hint is not None:
            return hint
        replicas = self._by_id[range_id].replicas
        turn = self._turn.get(range_id, 0)
        self._turn[range_id] = turn + 1
        return replicas[turn % len(replicas)]
