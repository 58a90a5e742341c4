"""The ranges tile the keyspace: every key belongs to exactly one, and a generation of a range has one descriptor.

Ranges split and merge, and not at the same moment on all nodes: of the descriptors that were ever seen, the newest of
each range counts, unless another range has absorbed it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from reference_db.invariants.violation import Violation
from reference_db.ranges.descriptor import Descriptor

_NAME = "ranges tile the keyspace"


class Keyspace:
    """The newest descriptor of every range, from all nodes."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Descriptor] = {}
        """By range and generation."""
        self._newest: dict[int, Descriptor] = {}

    def learn(self, node: str, descriptors: Sequence[Descriptor]) -> list[Violation]:
        """A node has these, together."""
        found = []
        for descriptor in descriptors:
            if not descriptor.is_known:
                continue
            known = self._known.setdefault((descriptor.id, descriptor.generation), descriptor)
            if known != descriptor:
                text = f"range {descriptor.id}: {node} has {descriptor}, others have {known} as the same generation"
                found.append(Violation(_NAME, text, descriptor.id, node))
            newest = self._newest.get(descriptor.id)
            if newest is None or newest.generation < descriptor.generation:
                self._newest[descriptor.id] = descriptor
        return found

    def check(self, node: str) -> list[Violation]:
        """Once all nodes were heard: whether the newest descriptors leave no gap and don't overlap."""
        return [
            Violation(_NAME, text, None, node)
            for text in check_tiling(without_absorbed([one for _, one in sorted(self._newest.items())]))
        ]


def without_absorbed(descriptors: Sequence[Descriptor]) -> list[Descriptor]:
    """Those of ranges that were not merged into others."""
    gone = {range_id for one in descriptors for range_id in one.absorbed}
    return [one for one in descriptors if one.id not in gone]


def check_tiling(descriptors: Sequence[Descriptor]) -> list[str]:
    """The ranges cover the keyspace exactly once; one sentence for each place where they don't."""
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
