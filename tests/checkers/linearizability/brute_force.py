"""Linearizability by trying every order: slow, obvious, and independent of the checkers that it judges."""

from __future__ import annotations

from typing import Any

from results.history import History, Pair
from results.operation import FAIL, OK


def is_linearizable(history: History, initial: Any = None, *, failed_cas_observes: bool = False) -> bool:
    """Whether a history of one (cas-)register has a linearization: any subset of the crashed operations, any order
    that respects real time, replayed on a plain variable."""
    pairs = [
        pair for pair in history.pairs() if pair.type != FAIL or (failed_cas_observes and pair.f == "cas")
    ]
    return _try(tuple(pairs), initial, frozenset())


def _try(pairs: tuple[Pair, ...], value: Any, done: frozenset[int]) -> bool:
    left = [pair for pair in pairs if pair.index not in done]
    if all(pair.type not in (OK, FAIL) for pair in left):
        return True
    for pair in left:
        if any(_ends(other) < pair.index for other in left if other is not pair):
            continue  # Another one returned before this one was invoked, and must come first.
        fits, after = _apply(pair, value)
        if fits and _try(pairs, after, done | {pair.index}):
            return True
    return False


def _ends(pair: Pair) -> float:
    return pair.completion.index if pair.completion is not None and pair.type in (OK, FAIL) else float("inf")


def _apply(pair: Pair, value: Any) -> tuple[bool, Any]:
    asked = pair.invocation.value
    match pair.f:
        case "read":
            return pair.type != OK or pair.completion.value == value, value
        case "write":
            return True, asked
        case "cas":
            old, new = asked
            if pair.type == FAIL:
                return value != old, value
            return value == old, new
    raise AssertionError(pair.f)
