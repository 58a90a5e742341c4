"""What the nodes hold when all is healed, read and done: asked until it has settled, or the time for recovery is over.

Settled: every replica of a range has applied the same, and no lock and no transaction's record is left. Only then are
digests asked for, since a node reads all its data for one. What is seen is recorded; `checkers.convergence` judges it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from harness.systems.system import FinalState

PAUSE_S = 0.25

Ask = Callable[[bool], Awaitable[tuple[list[FinalState], list[str]]]]
"""Asks all nodes, with or without digests: the replicas, and who did not answer."""


async def wait_until_settled(ask: Ask, clock_ns: Callable[[], int], timeout_s: float) -> dict[str, Any]:
    """The value of the event: `asked`, `settled`, `after_ns`, `silent` (nodes), `replicas` (see `FinalState`)."""
    began = clock_ns()
    while True:
        states, silent = await ask(False)
        if not silent and is_settled(states):
            # An election may have come in between: then once more.
            states, silent = await ask(True)
            if not silent and is_settled(states):
                break
        if clock_ns() - began >= timeout_s * 1e9:
            states, silent = await ask(True)
            break
        await asyncio.sleep(PAUSE_S)
    return {
        "asked": True,
        "settled": not silent and is_settled(states),
        "after_ns": clock_ns() - began,
        "silent": silent,
        "replicas": [msgspec.to_builtins(state) for state in states],
    }


def is_settled(states: Sequence[FinalState]) -> bool:
    """Whether nothing is left to do for anybody."""
    applied: dict[str, int] = {}
    holders: dict[str, set[str]] = {}
    for state in states:
        if state.locks or state.records or applied.setdefault(state.range, state.applied) != state.applied:
            return False
        holders.setdefault(state.range, set()).add(state.node)
    return bool(states) and all(holders[state.range] == set(state.replicas) for state in states)
