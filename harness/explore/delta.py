"""Delta debugging: which few of many things are needed for something to happen, and how small a number may be.

Pure: nothing here knows what is tried or how. A *search* is a generator that yields proposals, the most wanted first,
is sent the position of the first one that holds (None: none does), and returns the smallest that it found. So whoever
drives it may try the proposals one by one or many at a time; if it answers the first in order that holds, the result is
the same.

`ddmin` is the algorithm of Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (IEEE TSE 28(2),
2002), with two changes that save trials without giving up its promise. After the first cut in two it proposes
complements only: a part of a quarter or less seldom holds by itself, and removing single things is what the promise
needs. And after a part was removed it goes on with the part behind it, not with the first again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

Search = Generator[list[T], "int | None", T]
"""Yields proposals, is sent the position of the first that holds or None, returns the best."""


def ddmin(items: Sequence[T]) -> Search[tuple[T, ...]]:
    """The needed ones of `items`, which hold all together; in their order.

    The result is 1-minimal as far as what is tried answers the same each time: without any single one of its items it
    no longer holds. Proposes nothing at all first, since that is the largest step there is.
    """
    kept = tuple(items)
    if not kept:
        return kept
    if (yield [()]) is not None:
        return ()
    parts, begin = 2, 0
    while len(kept) > 1:
        parts = min(parts, len(kept))
        bounds = [len(kept) * number // parts for number in range(parts + 1)]
        # Complements in turn, from the part behind the one that was removed last.
        turn = [(begin + number) % parts for number in range(parts)]
        position = yield [kept[: bounds[part]] + kept[bounds[part + 1] :] for part in turn]
        if position is not None:
            begin = turn[position]
            kept = kept[: bounds[begin]] + kept[bounds[begin + 1] :]
            parts = max(parts - 1, 2)
            begin %= parts
        elif parts < len(kept):
            parts, begin = min(2 * parts, len(kept)), 0
        else:
            break
    return kept


def smallest(value: int, least: int, tolerance: int = 1) -> Search[int]:
    """A smaller number that still holds, where `value` does and larger ones are likelier to: not below `least`, and to
    `tolerance` exact. Proposes four numbers at a time, from small to large."""
    if tolerance < 1:
        raise ValueError(f"tolerance {tolerance}: must be at least 1")
    if value <= least:
        return value
    if (yield [least]) is not None:
        return least
    failed = least
    while value - failed > tolerance:
        proposals = sorted({failed + (value - failed) * part // 5 for part in range(1, 5)} - {failed})
        position = yield proposals
        if position is None:
            failed = proposals[-1]
            continue
        value = proposals[position]
        if position > 0:
            failed = proposals[position - 1]
    return value


def first_of(current: T, proposals: Sequence[T]) -> Search[T]:
    """The first proposal that holds; `current` if none does."""
    if not proposals:
        return current
    position = yield list(proposals)
    return current if position is None else proposals[position]


def mapped(search: Search[T], build: Callable[[T], U]) -> Search[U]:
    """The same search over what is built of its proposals."""
    try:
        proposals = next(search)
        while True:
            position = yield [build(proposal) for proposal in proposals]
            proposals = search.send(position)
    except StopIteration as end:
        return build(end.value)


def drive(search: Search[T], first_that_holds: Callable[[list[T]], int | None]) -> T:
    """Runs a search to its end. `first_that_holds` answers the position of the first proposal that does, or None."""
    try:
        proposals = next(search)
        while True:
            proposals = search.send(first_that_holds(proposals))
    except StopIteration as end:
        result: T = end.value
        return result
