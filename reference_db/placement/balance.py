"""Who should lead which range: where leaders are wished for, the hottest spread, and as many on each node as can be.

Each range has a set of nodes that may lead it: those of its replicas that are up and may stay, narrowed by wishes. The
numbers are evened out by paths. A node with two leaders more than another gives one away, if need be by way of others:

    n1 leads 1, 4, 7    n2 leads 2    n3 leads none, and has no replica of 1, 4 or 7
    n1 --- 4 ---> n2 --- 2 ---> n3    n1 leads 1, 7    n2 leads 4    n3 leads 2

While there is such a path there are two nodes that are more than one apart without need; each shortens the sum of the
squares, so it ends. What it ends with is as even as the replica sets allow, with as few transfers as the surplus needs
(the semi-matchings of Harvey, Ladner, Lovász and Tamir, *Semi-matchings for bipartite graphs*, 2006).

The hottest ranges are evened out first, then all together by moving only the others: so hot ones are apart, and no node
leads more than its share. This file knows neither Raft nor time: it is told what was seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

HOT_LEAST_PER_S = 20.0
"""Requests a second below which no range is hot."""
HOT_FACTOR = 2.0
"""A hot range is asked for so many times as often as ranges are on average."""
COOL_FACTOR = 1.5
"""One that was hot stays so above this."""
FOLLOWED_PER_S = 5.0
"""Requests a second below which nobody's wish is known."""
FOLLOWED_PART = 0.6
"""The zone from which at least this part of the requests comes gets the leader."""


class LedRange(NamedTuple):
    """A range that has a leader, as that one sees it."""

    id: int
    leader: str
    candidates: frozenset[str]
    """Nodes whose replicas vote, are up and may go on to lead; with its leader if that may."""
    is_fixed: bool = False
    """It counts, and stays where it is: it is new, is moving, or was handed over lately."""
    per_s: float = 0.0
    """Requests a second."""
    by_zone: Mapping[str, float] = {}
    """The same by the zone of the gateway that they came from."""


class Wishes(NamedTuple):
    """Where leaders should be, if that can be had."""

    zone_of: Mapping[str, str]
    """By node."""
    leader_zones: Sequence[str] = ()
    follow: bool = False
    """Leaders go where the requests come from; wished zones win over that."""


class Transfer(NamedTuple):
    """A leader that should hand over."""

    range_id: int
    source: str
    target: str


def find_hot(ranges: Iterable[LedRange], were_hot: Collection[int] = ()) -> set[int]:
    """The ranges that are asked for much more than others are."""
    known = list(ranges)
    if not known:
        return set()
    mean = sum(one.per_s for one in known) / len(known)
    return {
        one.id
        for one in known
        if one.per_s >= HOT_LEAST_PER_S
        and one.per_s >= mean * (COOL_FACTOR if one.id in were_hot else HOT_FACTOR)
    }


def wanted_candidates(one: LedRange, wishes: Wishes) -> frozenset[str]:
    """Those candidates among which the leader should be."""
    candidates = one.candidates
    zone_of = wishes.zone_of
    if wishes.leader_zones:
        preferred = frozenset(node for node in candidates if zone_of.get(node) in wishes.leader_zones)
        if preferred:
            return preferred
    elif wishes.follow and one.per_s >= FOLLOWED_PER_S and one.by_zone:
        zone, most = max(one.by_zone.items(), key=lambda item: (item[1], item[0]))
        near = frozenset(node for node in candidates if zone_of.get(node) == zone)
        if near and most >= FOLLOWED_PART * sum(one.by_zone.values()):
            return near
    return candidates


def choose_transfers(ranges: Sequence[LedRange], wishes: Wishes, hot: Collection[int] = ()) -> list[Transfer]:
    """Every leader that should go elsewhere, those first that lead where they should not."""
    ordered = sorted(ranges)
    leaders = {one.id: one.leader for one in ordered}
    wanted: dict[int, frozenset[str]] = {}
    counts = {node: 0 for one in ordered for node in sorted(one.candidates | {one.leader})}
    for one in ordered:
        counts[one.leader] += 1
    urgent: list[int] = []
    for one in ordered:
        if one.is_fixed:
            continue
        wanted[one.id] = wanted_candidates(one, wishes)
        if wanted[one.id] and one.leader not in wanted[one.id]:
            target = min(wanted[one.id], key=lambda node: (counts[node], node))
            counts[one.leader] -= 1
            counts[target] += 1
            leaders[one.id] = target
            urgent.append(one.id)
    hot_counts = dict.fromkeys(counts, 0)
    for range_id in sorted(hot):
        if range_id in leaders:
            hot_counts[leaders[range_id]] += 1
    _even_out(leaders, {one: nodes for one, nodes in wanted.items() if one in hot}, hot_counts)
    for node in counts:
        counts[node] = 0
    for node in leaders.values():
        counts[node] += 1
    _even_out(leaders, {one: nodes for one, nodes in wanted.items() if one not in hot}, counts)
    rest = [one.id for one in ordered if one.id not in urgent]
    sources = {one.id: one.leader for one in ordered}
    return [
        Transfer(range_id, sources[range_id], leaders[range_id])
        for range_id in (*urgent, *rest)
        if leaders[range_id] != sources[range_id]
    ]


def _even_out(leaders: dict[int, str], movable: Mapping[int, frozenset[str]], counts: dict[str, int]) -> None:
    """Changes `leaders` of the movable ranges until no path leads from a node to one that has two less. `counts` are
    the leaders of each node, also of ranges that are not movable here."""
    away: dict[str, dict[str, dict[int, None]]] = {node: {} for node in counts}
    """By node and other node: the ranges that the one leads and the other may, in the order in which they came."""

    def offer(range_id: int) -> None:
        for node in sorted(movable[range_id]):
            if node != leaders[range_id]:
                away[leaders[range_id]].setdefault(node, {})[range_id] = None

    for range_id in sorted(movable):
        offer(range_id)
    while True:
        path = _find_path(away, counts)
        if path is None:
            return
        counts[path[0]] -= 1
        counts[path[-1]] += 1
        # From the end, so that a range which has just come is not passed on.
        for source, target in reversed(list(pairwise(path))):
            range_id = next(iter(away[source][target]))
            for offered in away[source].values():
                offered.pop(range_id, None)
            leaders[range_id] = target
            offer(range_id)


def _find_path(
    away: Mapping[str, Mapping[str, Mapping[int, None]]], counts: Mapping[str, int]
) -> list[str] | None:
    """The shortest way from a node to one that has at least two less, beginning with the node that has most."""
    for start in sorted(counts, key=lambda node: (-counts[node], node)):
        came_from: dict[str, str] = {start: ""}
        edge = [start]
        while edge:
            found = [node for node in edge if counts[node] <= counts[start] - 2]
            if found:
                path = [min(found, key=lambda node: (counts[node], node))]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            following: list[str] = []
            for node in edge:
                for other in sorted(away[node]):
                    if away[node][other] and other not in came_from:
                        came_from[other] = node
                        following.append(other)
            edge = following
    return None
