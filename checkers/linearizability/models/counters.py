"""A counter that is added to and read."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from checkers.linearizability.calls import Call
from checkers.linearizability.models.model import NOTHING, SequentialModel, State, no_function, show
from results.operation import OK

WIDEST = 4096
"""Values that a search may start from in mid-history, at most."""


class Counter(SequentialModel):
    """A number: `add` adds to it (what is negative takes away), `read` answers it."""

    name = "counter"
    reads = frozenset({"read"})
    answers = frozenset({"read"})
    shaped = frozenset({"add", "read"})

    def __init__(self, initial: int | float = 0) -> None:
        self.initial = initial

    def initial_state(self) -> State:
        return self.initial

    def step(self, state: State, call: Call) -> Sequence[State]:
        assert isinstance(state, int | float), f"the state of a counter is a number, not {state!r}"
        if call.f == "add":
            return (state + _number(call),)
        if call.f == "read":
            return (state,) if call.type != OK or call.result == state else NOTHING
        raise no_function(self, call)

    def shape(self, f: str, value: Hashable, is_answer: bool) -> str | None:
        if isinstance(value, int | float) or is_answer != (f == "read"):
            return None
        return "the value of a counter is a number" if is_answer else "an add has a number"

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        """All whole numbers from which some read could be reached."""
        more = less = 0
        seen: list[int] = []
        for call in calls:
            if call.f == "add":
                number = _number(call)
                if not isinstance(number, int):
                    return None
                more, less = more + max(0, number), less + min(0, number)
            elif call.type == OK:
                if not isinstance(call.result, int):
                    return None
                seen.append(call.result)
        if not seen:
            return [0]
        first, last = min(seen) - more, max(seen) - less
        return list(range(first, last + 1)) if last - first < WIDEST else None

    def describe(self, call: Call) -> str:
        return f"read {show(call.result)}" if call.f == "read" else f"added {show(call.argument)}"


def _number(call: Call) -> int | float:
    if not isinstance(call.argument, int | float):
        raise ValueError(f"event {call.start}: add needs a number, not {call.argument!r:.80}")
    return call.argument
