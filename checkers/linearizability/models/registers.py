"""A register, and one that can also be compared and set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from checkers.linearizability.calls import Call, freeze
from checkers.linearizability.models.model import (
    NOTHING,
    Footprint,
    SequentialModel,
    State,
    no_function,
    show,
)
from results.operation import FAIL, INFO, OK


class _AnyOtherValue:
    """A value that no operation has ever named."""

    def __repr__(self) -> str:
        return "another value"


_ANOTHER: Final = _AnyOtherValue()


class Register(SequentialModel):
    """A value that can be read and written.

    Operations: `read` answers the value; `write` has the new value.
    """

    name = "register"
    reads: frozenset[str] = frozenset({"read"})
    answers = frozenset({"read"})

    def __init__(self, initial: Any = None) -> None:
        self.initial = initial

    def initial_state(self) -> State:
        return freeze(self.initial)

    def step(self, state: State, call: Call) -> Sequence[State]:
        if call.f == "read":
            return (state,) if call.type != OK or call.result == state else NOTHING
        if call.f == "write":
            return (call.argument,)
        raise no_function(self, call)

    def footprint(self, call: Call) -> Footprint | None:
        if call.f == "read":
            return Footprint(call.type == OK, call.result, False, None)
        if call.f == "write":
            return Footprint(False, None, True, call.argument)
        return None

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        values: dict[State, None] = {}
        for call in calls:
            footprint = self.footprint(call)
            if footprint is None:
                return None
            if footprint.observes:
                values[footprint.observed] = None
        return [*values, _ANOTHER]

    def describe(self, call: Call) -> str:
        return f"read {show(call.result)}" if call.f == "read" else f"wrote {show(call.argument)}"


class CasRegister(Register):
    """A register that can also be changed from one value to another.

    Operations: those of a register; `cas` has `[old, new]`, ok if the value was old and is now new. A failed cas did
    not happen. With `failed_cas_observes`, it also says that the value was not old (only for systems whose failures
    mean nothing else, as Porcupine's etcd model has it).
    """

    name = "cas-register"

    def __init__(self, initial: Any = None, *, failed_cas_observes: bool = False) -> None:
        super().__init__(initial)
        self.failures = frozenset({"cas"}) if failed_cas_observes else frozenset()

    def step(self, state: State, call: Call) -> Sequence[State]:
        if call.f != "cas":
            return super().step(state, call)
        old, new = _old_and_new(call)
        if call.type == FAIL:
            return (state,) if state != old else NOTHING
        return (new,) if state == old else NOTHING

    def footprint(self, call: Call) -> Footprint | None:
        if call.f != "cas":
            return super().footprint(call)
        if call.type == FAIL:
            return None  # It observes that the value is something else.
        old, new = _old_and_new(call)
        return Footprint(True, old, old != new, new)

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        calls = list(calls)
        failed = [call for call in calls if call.type == FAIL]
        states = super().possible_states(call for call in calls if call.type != FAIL)
        if states is None:
            return None
        return list(dict.fromkeys([*(_old_and_new(call)[0] for call in failed), *states]))

    def describe(self, call: Call) -> str:
        if call.f != "cas":
            return super().describe(call)
        old, new = _old_and_new(call)
        verb = "failed to change" if call.type == FAIL else "changed"
        return f"{verb} {show(old)} to {show(new)}"


def _old_and_new(call: Call) -> tuple[State, State]:
    argument = call.argument
    if not isinstance(argument, tuple) or len(argument) != 2:
        raise ValueError(
            f"event {call.start}: a cas has the value [old, new], not {argument!r:.80} "
            f"({'crashed' if call.type == INFO else call.type})"
        )
    return argument[0], argument[1]
