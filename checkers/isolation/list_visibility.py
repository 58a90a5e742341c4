"""What transactions on lists saw of others only in part: fractured reads, and violations of causality.

A read is *fractured* if a transaction saw one append of another and not an earlier one to another key, though it read
that key (Bailis et al., RAMP, 2014). *Causality* is violated if it did not see what came before something it saw, or
before itself in its session, in any number of such steps (Biswas and Enea 2019). Both make cycles with a single rw, so
only components are looked at in which such a cycle was found.

Who reads a list comes after everybody whose append is in it, not only after the last of them: either each append by
itself was seen, or the last one came upon the others. For a fractured read only the last one counts, since the version
that was read is of that one alone; its maker may have seen the others when nobody else did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from checkers.isolation.cycles import Found
from checkers.isolation.dependencies import WR, Orders
from checkers.isolation.evidence import Cast, shown
from checkers.isolation.list_versions import ListVersions
from results.transactions import APPEND, READ, Transactions
from results.verdict import Anomaly

FRACTURED: str = "fractured-read"
CAUSALITY: str = "causality-violation"


@dataclass(frozen=True)
class Overlooked:
    """A read that did not see an append, though its transaction came after it."""

    name: str
    append: int
    read: int
    way: tuple[int, ...]
    """The transactions by which it came after it: each was read by the next, or before it in the session."""


def overlooked(
    versions: ListVersions,
    order: Orders,
    component: NDArray[np.int32],
    found: Found,
    enough: Callable[[], bool],
) -> tuple[list[Overlooked], bool]:
    """One fractured read and one violation of causality for each component that has one; and whether all components
    were looked at."""
    suspects = {
        cycle.component for cycle in found.cycles if cycle.name in ("G-single-item", "G-single-item-process")
    }
    results: list[Overlooked] = []
    if not suspects:
        return results, True
    count = len(versions.transactions)
    inside = np.flatnonzero(np.isin(component[:count], list(suspects)))
    members: dict[int, list[int]] = {}
    for number in inside.tolist():
        members.setdefault(int(component[number]), []).append(number)
    for numbers in members.values():
        if enough():
            return results, False
        results.extend(_in_component(versions, order, numbers, enough))
    return results, True


def _in_component(
    versions: ListVersions, order: Orders, numbers: list[int], enough: Callable[[], bool]
) -> Iterator[Overlooked]:
    graph = versions.dependencies
    inside = set(numbers)
    following = _readers(versions, numbers)
    read_by: dict[int, list[int]] = {}
    last: dict[int, int] = {}
    for number in numbers:
        edges = slice(int(graph.edge_first[number]), int(graph.edge_first[number + 1]))
        targets = graph.target[edges][graph.kind[edges] == WR].tolist()
        read_by[number] = [target for target in targets if target in inside]
    for number in numbers:
        session = int(order.session[number])
        if session in last:
            following.setdefault(last[session], []).append(number)
        last[session] = number
    fractured = causal = None
    for source in numbers:
        appends = _appends(versions, source)
        if not appends or enough():
            continue
        if fractured is None:
            for target in read_by[source]:
                if (pair := _missed(versions, appends, target)) is not None:
                    fractured = Overlooked(FRACTURED, *pair, (source, target))
                    yield fractured
                    break
        came_by: dict[int, int] = {source: -1}
        waiting = deque([source])
        while waiting and causal is None:
            here = waiting.popleft()
            for target in following.get(here, ()):
                if target in came_by:
                    continue
                came_by[target] = here
                waiting.append(target)
                if target >= 0 and (pair := _missed(versions, appends, target)) is not None:
                    way = [target]
                    while way[-1] != source:
                        way.append(came_by[way[-1]])
                    causal = Overlooked(CAUSALITY, *pair, tuple(one for one in reversed(way) if one >= 0))
                    yield causal
                    break
        if fractured is not None and causal is not None:
            return


def _readers(versions: ListVersions, numbers: list[int]) -> dict[int, list[int]]:
    """Who of these transactions read whose appends: from each of them to the places of its appends, from each place to
    the next one that matters here, and to whom read up to there. The place `p` of all in order is number `-1 - p`."""
    transactions, position, order_first = versions.transactions, versions.position, versions.order_first
    following: dict[int, list[int]] = {}
    places: dict[int, set[int]] = {}
    for number in numbers:
        for one in range(int(transactions.first[number]), int(transactions.first[number + 1])):
            place, key = int(position[one]), int(transactions.key[one])
            at = int(order_first[key]) + place
            if transactions.kind[one] == APPEND and place >= 0:
                following.setdefault(number, []).append(-1 - at)
                places.setdefault(key, set()).add(at)
            elif transactions.kind[one] == READ and place > 0:
                following.setdefault(-at, []).append(number)
                places.setdefault(key, set()).add(at - 1)
    for of_key in places.values():
        for place, later in pairwise(sorted(of_key)):
            following.setdefault(-1 - place, []).append(-1 - later)
    return following


def _appends(versions: ListVersions, transaction: int) -> dict[int, int]:
    """The last append of a transaction to each key."""
    transactions = versions.transactions
    return {
        int(transactions.key[one]): one
        for one in range(int(transactions.first[transaction]), int(transactions.first[transaction + 1]))
        if int(transactions.kind[one]) == APPEND
    }


def _missed(versions: ListVersions, appends: dict[int, int], reader: int) -> tuple[int, int] | None:
    """An append of those that a read of the transaction did not see, with the read."""
    transactions, position = versions.transactions, versions.position
    for one in range(int(transactions.first[reader]), int(transactions.first[reader + 1])):
        append = appends.get(int(transactions.key[one]))
        if append is None or int(transactions.kind[one]) != READ or int(position[one]) < 0:
            continue
        place = int(position[append])
        if place == -1 or place >= int(position[one]):
            return append, one
    return None


def anomaly_of(one: Overlooked, transactions: Transactions) -> Anomaly:
    """The anomaly in words."""
    cast = Cast(transactions, one.way)
    first, second = cast.name(one.way[0]), cast.name(one.way[-1])
    key = transactions.keys[int(transactions.key[one.append])]
    value = shown(transactions.values[int(transactions.value[one.append])])
    if one.name == FRACTURED:
        text = f"{second} observed one append of {first}, but not its append of {value} to key {shown(key)}"
    else:
        names = ", ".join(map(cast.name, one.way))
        text = (
            f"{second} came after {first} (each of {names} was observed by the next, or before it in its session), but "
            f"did not observe {first}'s append of {value} to key {shown(key)}"
        )
    data = cast.as_data()
    return Anomaly(
        type=one.name,
        sentence=f"{one.name}: {text}. Here {cast.introduced(data)}",
        operations=cast.events(),
        key=key,
        evidence={"transactions": data},
    )
