"""What objects do when one operation happens at a time: register, compare-and-set register, mutex, set, queue.

A model is a few pure functions over hashable states; the searches do the rest. `step` answers with every state that
the object may be in afterwards: none if the call cannot have happened in this state, several if the object may
choose. Of a crashed call the answer is unknown, so any answer must be allowed.

Two optional functions make verdicts quicker and evidence smaller, and are sound only if they are right:

- `footprint` says which values a call observes and which it leaves behind, for objects whose state is the last value
  left behind and nothing else;
- `possible_states` lists every state that could matter to some calls, so that a search may start in mid-history.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from checkers.linearizability.calls import Call, freeze
from results.operation import FAIL, INFO, OK

State = Hashable

NOTHING: Final[tuple[State, ...]] = ()


class Footprint(NamedTuple):
    """What a call reads from and leaves in a register-like object. A cas from v to v observes, and writes nothing."""

    observes: bool
    observed: Hashable
    """The value that the object must have before; only if `observes`."""
    writes: bool
    written: Hashable
    """The value that the object has after; only if `writes`."""


class Model(Protocol):
    """The sequential specification of an object."""

    @property
    def name(self) -> str: ...

    @property
    def reads(self) -> frozenset[str]:
        """Functions that never change the state."""
        ...

    @property
    def failures(self) -> frozenset[str]:
        """Functions whose failed calls still say something about the state; `step` then gets them."""
        ...

    def initial_state(self) -> State: ...

    def step(self, state: State, call: Call) -> Sequence[State]:
        """The states that the object may be in after the call; none if it cannot happen in `state`.

        Raises ValueError for a function that the object does not have.
        """
        ...

    def footprint(self, call: Call) -> Footprint | None:
        """What the call observes and writes; None where that is not the whole story."""
        ...

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        """States of which one behaves, for these calls, like any state there is; None if there is no such list."""
        ...

    def describe(self, call: Call) -> str:
        """What the call did, in the past tense, without its process and time: *read 7*, *wrote 9*."""
        ...


class _AnyOtherValue:
    """A value that no operation has ever named."""

    def __repr__(self) -> str:
        return "another value"


_ANOTHER: Final = _AnyOtherValue()


class Register:
    """A value that can be read and written.

    Operations: `read` answers the value; `write` has the new value.
    """

    name = "register"
    reads: frozenset[str] = frozenset({"read"})
    failures: frozenset[str] = frozenset()

    def __init__(self, initial: Any = None) -> None:
        self.initial = initial

    def initial_state(self) -> State:
        return freeze(self.initial)

    def step(self, state: State, call: Call) -> Sequence[State]:
        if call.f == "read":
            return (state,) if call.type != OK or call.result == state else NOTHING
        if call.f == "write":
            return (call.argument,)
        raise _no_function(self, call)

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


class Mutex:
    """A lock that one holds at a time: `acquire`, `release`. Who holds it is not looked at."""

    name = "mutex"
    reads: frozenset[str] = frozenset()
    failures: frozenset[str] = frozenset()

    def initial_state(self) -> State:
        return "free"

    def step(self, state: State, call: Call) -> Sequence[State]:
        match call.f:
            case "acquire":
                return ("held",) if state == "free" else NOTHING
            case "release":
                return ("free",) if state == "held" else NOTHING
        raise _no_function(self, call)

    def footprint(self, call: Call) -> Footprint | None:
        if call.f == "acquire":
            return Footprint(True, "free", True, "held")
        return Footprint(True, "held", True, "free")

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        return ["free", "held"]

    def describe(self, call: Call) -> str:
        return {"acquire": "acquired the lock", "release": "released the lock"}.get(call.f, call.f)


class GrowSet:
    """A set that only grows: `add` has an element, `read` answers all elements, in any order."""

    name = "set"
    reads: frozenset[str] = frozenset({"read"})
    failures: frozenset[str] = frozenset()

    def initial_state(self) -> State:
        return frozenset()

    def step(self, state: State, call: Call) -> Sequence[State]:
        assert isinstance(state, frozenset), f"the state of a set is a frozenset, not {state!r}"
        match call.f:
            case "add":
                return (state if call.argument in state else state | {call.argument},)
            case "read":
                if call.type != OK:
                    return (state,)
                elements = call.result or ()
                same = len(elements) == len(state) and all(element in state for element in elements)
                return (state,) if same else NOTHING
        raise _no_function(self, call)

    def footprint(self, call: Call) -> Footprint | None:
        return None

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        return None

    def describe(self, call: Call) -> str:
        if call.f == "read":
            return f"read {show(list(call.result or ()))}"
        return f"added {show(call.argument)}"


class FifoQueue:
    """A queue: `enqueue` has an element, `dequeue` answers the oldest one; it fails when there is none."""

    name = "queue"
    reads: frozenset[str] = frozenset()
    failures: frozenset[str] = frozenset()

    def initial_state(self) -> State:
        return ()

    def step(self, state: State, call: Call) -> Sequence[State]:
        assert isinstance(state, tuple), f"the state of a queue is a tuple, not {state!r}"
        match call.f:
            case "enqueue":
                return ((*state, call.argument),)
            case "dequeue":
                if not state or (call.type == OK and state[0] != call.result):
                    return NOTHING
                return (state[1:],)
        raise _no_function(self, call)

    def footprint(self, call: Call) -> Footprint | None:
        return None

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        return None

    def describe(self, call: Call) -> str:
        if call.f == "dequeue":
            return f"dequeued {show(call.result)}" if call.type == OK else "dequeued something"
        return f"enqueued {show(call.argument)}"


def show(value: Any) -> str:
    """A frozen value for people, long ones cut."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _old_and_new(call: Call) -> tuple[State, State]:
    argument = call.argument
    if not isinstance(argument, tuple) or len(argument) != 2:
        raise ValueError(
            f"event {call.start}: a cas has the value [old, new], not {argument!r:.80} "
            f"({'crashed' if call.type == INFO else call.type})"
        )
    return argument[0], argument[1]


def _no_function(model: Model, call: Call) -> ValueError:
    return ValueError(f"event {call.start}: a {model.name} has no function {call.f!r}")
