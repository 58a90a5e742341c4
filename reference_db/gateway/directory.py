"""Which range holds a key, and which node led it last, as far as this node knows.

What is known here may be old: the replica that is asked decides, by the generation that the request carries. A refusal
brings the descriptors that hold now (`learn`), and so do this node's own replicas when theirs change. Of two
descriptors that hold the same key the one with the larger generation is right; a key of which only the old descriptor
is known stays with that until somebody says better. Every node knows by itself, so there is nobody to ask who could be
down.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from reference_db.ranges.descriptor import Descriptor


class Directory:
    """The newest descriptor known of every key, and a leader hint for each range."""

    __slots__ = ("_by_id", "_hints", "_owners", "_starts", "_turn")

    def __init__(self, descriptors: Sequence[Descriptor]) -> None:
        """`descriptors` tile the keyspace."""
        self._owners = sorted(descriptors, key=lambda descriptor: descriptor.start)
        self._starts = [descriptor.start for descriptor in self._owners]
        """Where each owner's part begins; it ends where the next one begins. An owner may have a larger span than its
        part, or several parts, where newer descriptors were learned."""
        self._by_id = {descriptor.id: descriptor for descriptor in self._owners}
        self._hints: dict[int, str] = {}
        self._turn: dict[int, int] = {}

    def find(self, key: bytes) -> Descriptor:
        """The range that holds the key."""
        return self._owners[bisect_right(self._starts, key) - 1]

    def get(self, range_id: int) -> Descriptor:
        """The newest descriptor of the range with this id; KeyError for an id that was never heard of."""
        return self._by_id[range_id]

    def find_id(self, range_id: int) -> Descriptor | None:
        """The newest descriptor of the range with this id; None for an id that was never heard of."""
        return self._by_id.get(range_id)

    def all(self) -> Sequence[Descriptor]:
        """Every range that holds something, in key order."""
        return [owner for at, owner in enumerate(self._owners) if not at or owner is not self._owners[at - 1]]

    def overlapping(self, start: bytes, end: bytes | None) -> list[tuple[Descriptor, bytes, bytes | None]]:
        """The ranges that `[start, end)` touches in key order, each with its part of the span."""
        parts = []
        starts, count = self._starts, len(self._starts)
        for number in range(bisect_right(starts, start) - 1, count):
            low = starts[number]
            if end is not None and low >= end:
                break
            high = starts[number + 1] if number + 1 < count else None
            last = high if end is None or (high is not None and high < end) else end
            parts.append((self._owners[number], max(start, low), last))
        return parts

    def holders(self, start: bytes, end: bytes | None) -> list[Descriptor]:
        """The ranges that `[start, end)` touches."""
        return [descriptor for descriptor, _, _ in self.overlapping(start, end)]

    def learn(self, descriptor: Descriptor) -> bool:
        """Somebody has this descriptor. Says whether it was news."""
        known = self._by_id.get(descriptor.id)
        if known is None or known.generation < descriptor.generation:
            self._by_id[descriptor.id] = descriptor
        starts, owners = self._starts, self._owners
        first = bisect_right(starts, descriptor.start) - 1
        end = len(starts) if descriptor.end is None else bisect_left(starts, descriptor.end)
        new_starts: list[bytes] = []
        new_owners: list[Descriptor] = []

        def add(start: bytes, owner: Descriptor) -> None:
            if not new_owners or new_owners[-1] != owner:
                new_starts.append(start)
                new_owners.append(owner)

        is_news = False
        for number in range(first, end):
            start, owner = starts[number], owners[number]
            high = starts[number + 1] if number + 1 < len(starts) else None
            if owner.generation >= descriptor.generation:
                add(start, owner)
                continue
            is_news = True
            if start < descriptor.start:
                add(start, owner)
            add(max(start, descriptor.start), descriptor)
            if descriptor.end is not None and (high is None or descriptor.end < high):
                add(descriptor.end, owner)
        if is_news:
            starts[first:end] = new_starts
            owners[first:end] = new_owners
        return is_news

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
