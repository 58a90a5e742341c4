"""Locks: a mutex whoever holds it, one that knows its owner, one with fencing tokens, and a semaphore."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from checkers.linearizability.calls import Call
from checkers.linearizability.models.model import NOTHING, Footprint, SequentialModel, State, no_function
from results.operation import OK


class Mutex(SequentialModel):
    """A lock that one holds at a time: `acquire`, `release`. Who holds it is not looked at."""

    name = "mutex"
    rule = "one holds the lock at a time, and only a lock that is held is released"
    answers: frozenset[str] = frozenset()

    def initial_state(self) -> State:
        return "free"

    def step(self, state: State, call: Call) -> Sequence[State]:
        match call.f:
            case "acquire":
                return ("held",) if state == "free" else NOTHING
            case "release":
                return ("free",) if state == "held" else NOTHING
        raise no_function(self, call)

    def footprint(self, call: Call) -> Footprint | None:
        if call.f == "acquire":
            return Footprint(True, "free", True, "held")
        return Footprint(True, "held", True, "free")

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        return ["free", "held"]

    def describe(self, call: Call) -> str:
        return {"acquire": "acquired the lock", "release": "released the lock"}.get(call.f, call.f)


class OwnedMutex(SequentialModel):
    """A lock that only the process that holds it can release: `acquire`, `release`."""

    name = "owned-mutex"
    rule = "one process holds the lock at a time, and only that one releases it"
    answers: frozenset[str] = frozenset()
    by_process = True
    keeps = frozenset({"acquire"})

    def initial_state(self) -> State:
        return None

    def step(self, state: State, call: Call) -> Sequence[State]:
        match call.f:
            case "acquire":
                return (("held by", call.process),) if state is None else NOTHING
            case "release":
                return (None,) if state == ("held by", call.process) else NOTHING
        raise no_function(self, call)

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        holders = dict.fromkeys(("held by", call.process) for call in calls)
        return [None, ("held by", "nobody of these"), *holders]

    def atoms(self, call: Call) -> tuple[Hashable, ...]:
        return (call.process,)

    def describe_state(self, state: State) -> str:
        return "free" if state is None else _held_by(state[1] if isinstance(state, tuple) else state)

    def describe(self, call: Call) -> str:
        return {"acquire": "acquired the lock", "release": "released the lock"}.get(call.f, call.f)


class FencedLock(SequentialModel):
    """A lock whose owner gets a token that is greater with each hold: `acquire` answers it, `release` may name it.

    An acquire that answers nil, and a crashed one, got some token; it counts as the least that it can be. The owner
    is the process.
    """

    name = "fenced-lock"
    rule = (
        "one process holds the lock at a time, only that one releases it, and each hold has a greater token"
    )
    answers = frozenset({"acquire"})
    shaped = frozenset({"acquire", "release"})
    by_process = True
    keeps = frozenset({"acquire"})

    def initial_state(self) -> State:
        return (None, None, True)

    def step(self, state: State, call: Call) -> Sequence[State]:
        assert isinstance(state, tuple), f"the state of a fenced lock is a triple, not {state!r}"
        holder, last, is_known = state
        match call.f:
            case "acquire":
                if holder is not None:
                    return NOTHING
                token = call.result if call.type == OK else None
                if token is None:
                    return ((call.process, last, False),)
                if not isinstance(token, int | float):
                    raise ValueError(f"event {call.start}: a fencing token is a number, not {token!r:.80}")
                return ((call.process, token, True),) if last is None or token > last else NOTHING
            case "release":
                if holder != call.process:
                    return NOTHING
                return self._released(last, is_known, call.argument)
        raise no_function(self, call)

    def shape(self, f: str, value: Hashable, is_answer: bool) -> str | None:
        if value is None or isinstance(value, int | float) or is_answer != (f == "acquire"):
            return None
        return "a fencing token is a number"

    def _released(self, last: Any, is_known: bool, named: Any) -> Sequence[State]:
        """The states after a release; where the token is not known, it is greater than the last one."""
        if is_known:
            return ((None, last, True),) if named is None or last in (None, named) else NOTHING
        if named is None:
            return ((None, last + 1 if isinstance(last, int) else last, True),)
        return ((None, named, True),) if last is None or named > last else NOTHING

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        """With any token: no state allows more."""
        holders = dict.fromkeys(call.process for call in calls)
        return [
            (None, None, True),
            ("nobody of these", None, True),
            *((name, None, True) for name in holders),
        ]

    def atoms(self, call: Call) -> tuple[Hashable, ...]:
        return (call.process,)

    def describe_state(self, state: State) -> str:
        assert isinstance(state, tuple), f"the state of a fenced lock is a triple, not {state!r}"
        holder, last, is_known = state
        held = "free" if holder is None else _held_by(holder)
        if last is None:
            return held
        return f"{held}, {'token' if is_known else 'a token after'} {last}"

    def describe(self, call: Call) -> str:
        if call.f == "acquire":
            token = f" with token {call.result}" if call.type == OK and call.result is not None else ""
            return f"acquired the lock{token}"
        return "released the lock" + ("" if call.argument is None else f" of token {call.argument}")


class Semaphore(SequentialModel):
    """So many permits: `acquire` takes n (nil: one) if there are as many, `release` gives n back."""

    name = "semaphore"
    answers: frozenset[str] = frozenset()
    shaped = frozenset({"acquire", "release"})

    def __init__(self, permits: int = 1) -> None:
        if type(permits) is not int or permits < 1:
            raise ValueError(f"a semaphore has a whole number of permits, at least one, not {permits!r}")
        self.permits = permits
        there = "there is 1 permit" if permits == 1 else f"there are {permits} permits"
        self.rule = f"{there}, and no more are released than are held"

    def initial_state(self) -> State:
        return self.permits

    def step(self, state: State, call: Call) -> Sequence[State]:
        assert isinstance(state, int), f"the state of a semaphore is a number, not {state!r}"
        count = 1 if call.argument is None else call.argument
        if self.shape(call.f, count, False) is not None:
            raise ValueError(
                f"event {call.start}: {call.f} takes a number of permits from 1, not {count!r:.80}"
            )
        match call.f:
            case "acquire":
                return (state - count,) if state >= count else NOTHING
            case "release":
                return (state + count,) if state + count <= self.permits else NOTHING
        raise no_function(self, call)

    def shape(self, f: str, value: Hashable, is_answer: bool) -> str | None:
        if is_answer or value is None or (isinstance(value, int) and value >= 1):
            return None
        return "permits are counted from 1"

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        return list(range(self.permits + 1))

    def describe_state(self, state: State) -> str:
        return f"{state} of {self.permits} permits left"

    def describe(self, call: Call) -> str:
        count = 1 if call.argument is None else call.argument
        permits = "1 permit" if count == 1 else f"{count} permits"
        return f"acquired {permits}" if call.f == "acquire" else f"released {permits}"


def _held_by(holder: Any) -> str:
    return f"held by process {holder}" if isinstance(holder, int) else f"held by {holder}"
