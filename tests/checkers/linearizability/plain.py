"""Any object's histories judged by trying every order on a plain Python object: slow, obvious, and independent of the
models and algorithms that it judges."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from results.history import History, Pair
from results.operation import FAIL, OK

Play = Callable[[Any, Pair], list[Any]]
"""`(object, operation)` -> the objects that it may have become, each a new one; none if that cannot happen."""


def is_linearizable(history: History, start: Any, play: Play) -> bool:
    """Whether some order of the operations, and some choice of the crashed ones, fits."""
    return _try([pair for pair in history.pairs() if pair.type != FAIL], start, play)


def _try(left: list[Pair], thing: Any, play: Play) -> bool:
    if all(pair.type != OK for pair in left):
        return True
    for pair in left:
        if any(_end(other) < pair.index for other in left if other is not pair):
            continue
        rest = [other for other in left if other is not pair]
        if any(_try(rest, after, play) for after in play(copy.deepcopy(thing), pair)):
            return True
    return False


def _end(pair: Pair) -> float:
    return pair.completion.index if pair.completion is not None and pair.type == OK else float("inf")


def answer(pair: Pair) -> Any:
    assert pair.completion is not None
    return pair.completion.value


def play_queue(items: list[Any], pair: Pair) -> list[Any]:
    if pair.f == "enqueue":
        return [[*items, pair.invocation.value]]
    if not items:
        return [items] if pair.type != OK or answer(pair) is None else []
    return [items[1:]] if pair.type != OK or items[0] == answer(pair) else []


def play_bag(items: list[Any], pair: Pair) -> list[Any]:
    if pair.f == "enqueue":
        return [[*items, pair.invocation.value]]
    if not items:
        return [items] if pair.type != OK or answer(pair) is None else []
    places = [i for i in range(len(items)) if pair.type != OK or items[i] == answer(pair)]
    return [items[:i] + items[i + 1 :] for i in places]


def play_stack(items: list[Any], pair: Pair) -> list[Any]:
    if pair.f == "push":
        return [[*items, pair.invocation.value]]
    if not items:
        return [items] if pair.type != OK or answer(pair) is None else []
    return [items[:-1]] if pair.type != OK or items[-1] == answer(pair) else []


def play_priority_queue(items: list[Any], pair: Pair) -> list[Any]:
    if pair.f == "insert":
        return [[*items, pair.invocation.value]]
    if not items:
        return [items] if pair.type != OK or answer(pair) is None else []
    first = max(items) if pair.f == "delete-max" else min(items)
    if pair.type == OK and answer(pair) != first:
        return []
    items.remove(first)
    return [items]


def play_set(items: list[Any], pair: Pair) -> list[Any]:
    if pair.f == "add":
        return [items if pair.invocation.value in items else [*items, pair.invocation.value]]
    return [items] if pair.type != OK or sorted(answer(pair) or []) == sorted(items) else []


def play_counter(number: int, pair: Pair) -> list[Any]:
    if pair.f == "add":
        return [number + pair.invocation.value]
    return [number] if pair.type != OK or answer(pair) == number else []


def play_map(text: str, pair: Pair) -> list[Any]:
    """One key of a map with append, its values without the key."""
    if pair.f == "put":
        return [pair.invocation.value or ""]
    if pair.f == "append":
        return [text + pair.invocation.value]
    return [text] if pair.type != OK or (answer(pair) or "") == text else []


def play_owned_mutex(holder: Any, pair: Pair) -> list[Any]:
    if pair.f == "acquire":
        return [pair.process] if holder is None else []
    return [None] if holder == pair.process else []


def play_mutex(held: bool, pair: Pair) -> list[Any]:
    return [not held] if held == (pair.f == "release") else []


def play_fenced_lock(state: tuple[Any, float], pair: Pair) -> list[Any]:
    holder, last = state
    if pair.f == "acquire":
        if holder is not None:
            return []
        if pair.type == OK and answer(pair) is not None:
            return [(pair.process, answer(pair))] if answer(pair) > last else []
        return [(pair.process, last + more) for more in range(1, 30)]
    named = pair.invocation.value
    return [(None, last)] if holder == pair.process and named in (None, last) else []


def play_semaphore(free: int, pair: Pair) -> list[Any]:
    """Three permits."""
    number = pair.invocation.value or 1
    after = free + number if pair.f == "release" else free - number
    return [after] if 0 <= after <= 3 else []
