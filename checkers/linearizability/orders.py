"""How far the evidence can be put in order: its longest partial orders, the state after each step, and what is left.

An order takes calls one at a time. A call may come next if every call that had returned before it began is there
already, and if the object allows it in its present state. An order ends where nothing that is left may come next; the
longest ones show best where a history stops making sense (Porcupine's visualizer draws the same for whole histories).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from checkers.linearizability.calls import Call
from checkers.linearizability.models import Model, State

EFFORT = 400
"""Steps of the model that looking for orders may cost; with more than about eight calls not all are looked at."""
ANY = "any state"
MOST = 3
"""Orders that are told."""


@dataclass(frozen=True)
class PartialOrder:
    """Calls in one order that the object allows, and those that it does not allow after them."""

    start: tuple[State] | None
    """The state at first, in a tuple because it may be None; None if it was any of several."""
    steps: tuple[tuple[Call, State], ...]
    """Each call with the state that it leaves."""
    blocked: tuple[Call, ...]
    """What may come next by its time, and cannot in the last state."""

    def as_evidence(self, model: Model) -> dict[str, Any]:
        """The order for verdict.json: events, and states as texts."""
        start = ANY if self.start is None else model.describe_state(self.start[0])
        state = model.describe_state(self.steps[-1][1]) if self.steps else start
        return {
            "start": start,
            "steps": [
                {"index": call.start, "state": model.describe_state(after)} for call, after in self.steps
            ],
            "blocked": [
                {"index": call.start, "what": model.describe(call), "state": state} for call in self.blocked
            ],
        }


def longest_orders(
    calls: Sequence[Call], model: Model, start_states: Sequence[State] | None = None, effort: int = EFFORT
) -> tuple[list[PartialOrder], bool]:
    """The orders that hold the most calls, at most `MOST` of them, and whether all were looked at.

    Of orders that hold the same calls and end in the same state one is kept, and of those with the same steps.
    `start_states`: where the object may be at first; the model's initial state if None.
    """
    search = _Orders(calls, model, effort)
    for state in (model.initial_state(),) if start_states is None else start_states:
        search.extend(0, state, ())
    start = (model.initial_state(),) if start_states is None else None
    most = max((len(steps) for steps, _ in search.ends), default=0)
    longest: dict[tuple[int, ...], PartialOrder] = {}
    for steps, blocked in search.ends:
        if len(steps) == most:
            longest.setdefault(tuple(call.start for call, _ in steps), PartialOrder(start, steps, blocked))
    # Sorted, so that the order of the states at first does not matter.
    return [longest[events] for events in sorted(longest)][:MOST], search.left > 0


class _Orders:
    def __init__(self, calls: Sequence[Call], model: Model, effort: int) -> None:
        self.calls = sorted(calls, key=lambda call: call.start)
        self.model = model
        self.left = effort
        self.ends: list[tuple[tuple[tuple[Call, State], ...], tuple[Call, ...]]] = []
        self.seen: set[tuple[int, State]] = set()
        self.before = [
            sum(1 << other for other, earlier in enumerate(self.calls) if earlier.end < call.start)
            for call in self.calls
        ]
        """For each call, as bits, those that must be there before it."""

    def extend(self, placed: int, state: State, steps: tuple[tuple[Call, State], ...]) -> None:
        if (placed, state) in self.seen:
            return
        self.seen.add((placed, state))
        blocked: list[Call] = []
        ended = True
        for position, call in enumerate(self.calls):
            if placed >> position & 1 or self.before[position] & ~placed:
                continue
            if self.left <= 0:
                break
            self.left -= 1
            following = self.model.step(state, call)
            if not following and not call.crashed:  # What crashed need not have happened.
                blocked.append(call)
            for after in following:
                ended = False
                self.extend(placed | 1 << position, after, (*steps, (call, after)))
        if ended and blocked:
            self.ends.append((steps, tuple(blocked)))
