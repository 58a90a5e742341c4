"""Where replicas should be: off nodes that are dead or shall go, spread over zones, as many on each node as can be.

In this order, one move a range at a time:

1. *Repair*: a replica on a node that has been silent for long goes to another node.
2. *Drain*: so does one on a node that is being decommissioned.
3. *Spread*: two replicas of a range in one zone, while a zone has none: one of them goes there.
4. *Even out*: the node with most replicas gives one to the node with fewest, if they are two or more apart; never so
   that a range has less zones than before, and only if all ranges are known.

The number of replicas of a range never changes: a move swaps one for another. This file knows neither Raft nor time: it
is told what was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class HeldRange(NamedTuple):
    """A range and the nodes that have its replicas."""

    id: int
    replicas: tuple[str, ...]
    is_fixed: bool = False
    """It is being changed, or was lately."""


class Spots(NamedTuple):
    """Where replicas can be."""

    open: tuple[str, ...]
    """Nodes that are up and may get replicas, in a fixed order."""
    dead: frozenset[str] = frozenset()
    """Silent for so long that their replicas count as lost."""
    draining: frozenset[str] = frozenset()
    up: frozenset[str] = frozenset()
    """Everybody who answers."""
    zone_of: Mapping[str, str] = {}
    """By node; one without a zone is a zone of its own."""


class Move(NamedTuple):
    """A replica that should go elsewhere."""

    range_id: int
    source: str
    target: str
    why: str
    """`repair`, `drain`, `spread` or `even`."""


def choose_moves(ranges: Sequence[HeldRange], spots: Spots, most: int, is_whole: bool = True) -> list[Move]:
    """At most so many moves, the most urgent first; none of a range that has no quorum up. `is_whole`: these are all
    ranges."""
    ordered = sorted(ranges)
    counts = dict.fromkeys(spots.open, 0)
    for one in ordered:
        for node in one.replicas:
            if node in counts:
                counts[node] += 1
    free = [one for one in ordered if not one.is_fixed and _has_quorum(one.replicas, spots)]
    moves: list[Move] = []

    def take(move: Move) -> None:
        moves.append(move)
        counts[move.target] += 1
        if move.source in counts:
            counts[move.source] -= 1

    for why, goers in (("repair", spots.dead), ("drain", spots.draining)):
        for one in free:
            if len(moves) >= most:
                return moves
            source = next((node for node in one.replicas if node in goers), None)
            if source is None or _is_taken(one, moves):
                continue
            target = _best_target(one, source, spots, counts)
            if target is not None:
                take(Move(one.id, source, target, why))
    for one in free:
        if len(moves) >= most:
            return moves
        found = None if _is_taken(one, moves) else _spread(one, spots, counts)
        if found is not None:
            take(found)
    while is_whole and len(moves) < most:
        found = _even([one for one in free if not _is_taken(one, moves)], spots, counts)
        if found is None:
            break
        take(found)
    return moves


def crowding(nodes: Iterable[str], zone_of: Mapping[str, str]) -> int:
    """How many of these nodes are in a zone that another one before them is in; 0: each has a zone of its own."""
    zones = Counter(_zone(node, zone_of) for node in nodes)
    return sum(count - 1 for count in zones.values())


def _zone(node: str, zone_of: Mapping[str, str]) -> str:
    return zone_of.get(node) or f"only {node}"


def _has_quorum(replicas: Sequence[str], spots: Spots) -> bool:
    return sum(node in spots.up for node in replicas) > len(replicas) // 2


def _is_taken(one: HeldRange, moves: Iterable[Move]) -> bool:
    return any(move.range_id == one.id for move in moves)


def _swapped(one: HeldRange, source: str, target: str) -> list[str]:
    return [target if node == source else node for node in one.replicas]


def _best_target(one: HeldRange, source: str, spots: Spots, counts: Mapping[str, int]) -> str | None:
    """Who should get what `source` has: where it is least crowded, then who has fewest."""
    free = [node for node in spots.open if node not in one.replicas]
    return min(
        free,
        key=lambda node: (crowding(_swapped(one, source, node), spots.zone_of), counts[node], node),
        default=None,
    )


def _spread(one: HeldRange, spots: Spots, counts: Mapping[str, int]) -> Move | None:
    now = crowding(one.replicas, spots.zone_of)
    if not now:
        return None
    best: tuple[int, int, str, str] | None = None
    for source in one.replicas:
        target = _best_target(one, source, spots, counts)
        if target is not None:
            then = crowding(_swapped(one, source, target), spots.zone_of)
            found = (then, -counts.get(source, 0), source, target)
            best = found if best is None else min(best, found)
    if best is None or best[0] >= now:
        return None
    return Move(one.id, best[2], best[3], "spread")


def _even(free: Sequence[HeldRange], spots: Spots, counts: Mapping[str, int]) -> Move | None:
    """From who has most to who has fewest, of all pairs that are two or more apart the furthest first."""
    pairs = sorted(
        (counts[target] - counts[source], source, target)
        for source in spots.open
        for target in spots.open
        if counts[source] - counts[target] >= 2
    )
    for _, source, target in pairs:
        for one in free:
            if (
                source in one.replicas
                and target not in one.replicas
                and crowding(_swapped(one, source, target), spots.zone_of)
                <= crowding(one.replicas, spots.zone_of)
            ):
                return Move(one.id, source, target, "even")
    return None
