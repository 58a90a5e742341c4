"""Containers of elements: a set, a queue, a bag, a stack, a priority queue.

Taking an element out of all calls of a right history leaves a right history, whatever the container: so elements are
the atoms by which evidence gets smaller. A take that answers nil found the container empty.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

import msgspec

from checkers.linearizability.calls import Call
from checkers.linearizability.models.model import NOTHING, SequentialModel, State, no_function, show
from results.operation import OK


class GrowSet(SequentialModel):
    """A set that only grows: `add` has an element, `read` answers all elements, in any order."""

    name = "set"
    rule = "a read shows all that was added, and nothing else"
    reads: frozenset[str] = frozenset({"read"})
    answers = frozenset({"read"})
    shaped: frozenset[str] = frozenset({"read"})

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
                same = len(elements) == len(state) and frozenset(elements) == state
                return (state,) if same else NOTHING
        raise no_function(self, call)

    def shape(self, f: str, value: Hashable, is_answer: bool) -> str | None:
        if not is_answer or value is None or isinstance(value, tuple):
            return None
        return "a read of a set answers a list of its elements"

    def atoms(self, call: Call) -> tuple[Hashable, ...]:
        return (call.argument,) if call.f == "add" else tuple(dict.fromkeys(call.result or ()))

    def without(self, call: Call, atom: Hashable) -> Call | None:
        if call.f == "add":
            return None
        left = tuple(element for element in call.result or () if element != atom)
        return msgspec.structs.replace(call, result=left)

    def describe(self, call: Call) -> str:
        if call.f == "read":
            return f"read {show(list(call.result or ()))}"
        return f"added {show(call.argument)}"


class RemovableSet(GrowSet):
    """A set whose elements can be taken out: `add` and `remove` have an element, `read` answers all, in any order.

    To remove what is not in it changes nothing.
    """

    name = "removable-set"
    rule = "a read shows all that was added and not removed, and nothing else"

    def step(self, state: State, call: Call) -> Sequence[State]:
        if call.f != "remove":
            return super().step(state, call)
        assert isinstance(state, frozenset), f"the state of a set is a frozenset, not {state!r}"
        return (state - {call.argument},)

    def atoms(self, call: Call) -> tuple[Hashable, ...]:
        return (call.argument,) if call.f == "remove" else super().atoms(call)

    def without(self, call: Call, atom: Hashable) -> Call | None:
        return None if call.f == "remove" else super().without(call, atom)

    def describe(self, call: Call) -> str:
        return f"removed {show(call.argument)}" if call.f == "remove" else super().describe(call)


class _Container(SequentialModel):
    """What is put into it comes out once; which element comes next is what tells the kinds apart."""

    puts: frozenset[str]
    """Functions that put their argument in."""
    takes: frozenset[str]
    """Functions that take an element out and answer it."""
    verbs: tuple[str, str]
    """What they are called in the past tense."""

    def initial_state(self) -> State:
        return ()

    def step(self, state: State, call: Call) -> Sequence[State]:
        assert isinstance(state, tuple), f"the state of a {self.name} is a tuple, not {state!r}"
        if call.f in self.puts:
            return (self.put(state, call),)
        if call.f in self.takes:
            if call.type != OK:
                return self.take_any(state)
            taken = self.take(state, call.result, call)
            return (state,) if not state and call.result is None else taken
        raise no_function(self, call)

    def put(self, state: tuple[Any, ...], call: Call) -> State:
        """The state with the call's argument in it."""
        raise NotImplementedError(type(self).__name__)

    def take(self, state: tuple[Any, ...], element: Hashable, call: Call) -> Sequence[State]:
        """The state without the element, if it is one that can come next."""
        raise NotImplementedError(type(self).__name__)

    def take_any(self, state: tuple[Any, ...]) -> Sequence[State]:
        """The states without one that can come next; the answer is not known. Empty, nothing comes."""
        raise NotImplementedError(type(self).__name__)

    def element(self, call: Call) -> Hashable:
        """What a put puts in."""
        return call.argument  # type: ignore[no-any-return]

    def atoms(self, call: Call) -> tuple[Hashable, ...]:
        if call.f in self.puts:
            return (self.element(call),)
        return (call.result,) if call.type == OK and call.result is not None else ()

    def describe(self, call: Call) -> str:
        put, took = self.verbs
        if call.f in self.puts:
            return f"{put} {show(self.element(call))}"
        if call.type != OK:
            return f"{took} something"
        return f"found the {self.name} empty" if call.result is None else f"{took} {show(call.result)}"


class FifoQueue(_Container):
    """A queue: `enqueue` has an element, `dequeue` answers the oldest one; it fails when there is none.

    `drain` takes out everything in one step, and answers it from the oldest to the youngest. (A drain that is a row of
    dequeues is to be recorded as such, or judged as `fifo-queue`.)
    """

    name = "queue"
    rule = "each element comes out once, the one that was put in first before the others"
    puts = frozenset({"enqueue"})
    takes = frozenset({"dequeue"})
    drains = frozenset({"drain"})
    answers = frozenset({"dequeue", "drain"})
    shaped = drains
    verbs = ("enqueued", "dequeued")

    def step(self, state: State, call: Call) -> Sequence[State]:
        if call.f not in self.drains:
            return super().step(state, call)
        if call.type == OK and self.drained(call) != state:
            return NOTHING
        return ((),)

    def drained(self, call: Call) -> tuple[Any, ...]:
        """The state that a drain found."""
        return tuple(call.result or ())

    def shape(self, f: str, value: Hashable, is_answer: bool) -> str | None:
        if not is_answer or value is None or isinstance(value, tuple):
            return None
        return "a drain answers a list of the elements that it took out"

    def atoms(self, call: Call) -> tuple[Hashable, ...]:
        if call.f not in self.drains:
            return super().atoms(call)
        return tuple(dict.fromkeys(call.result or ())) if call.type == OK else ()

    def without(self, call: Call, atom: Hashable) -> Call | None:
        if call.f not in self.drains:
            return super().without(call, atom)
        return msgspec.structs.replace(
            call, result=tuple(element for element in call.result or () if element != atom)
        )

    def describe(self, call: Call) -> str:
        if call.f not in self.drains:
            return super().describe(call)
        return f"drained {show(list(call.result or ()))}" if call.type == OK else "drained it"

    def put(self, state: tuple[Any, ...], call: Call) -> State:
        return (*state, call.argument)

    def take(self, state: tuple[Any, ...], element: Hashable, call: Call) -> Sequence[State]:
        return (state[1:],) if state and state[0] == element else NOTHING

    def take_any(self, state: tuple[Any, ...]) -> Sequence[State]:
        return (state[1:],) if state else (state,)


class Bag(FifoQueue):
    """A queue without an order: `dequeue` answers any element that is in it."""

    name = "unordered-queue"
    rule = "each element comes out once"

    def drained(self, call: Call) -> tuple[Any, ...]:
        return _sorted(tuple(call.result or ()))

    def put(self, state: tuple[Any, ...], call: Call) -> State:
        return _sorted((*state, call.argument))

    def take(self, state: tuple[Any, ...], element: Hashable, call: Call) -> Sequence[State]:
        if element not in state:
            return NOTHING
        place = state.index(element)
        return (state[:place] + state[place + 1 :],)

    def take_any(self, state: tuple[Any, ...]) -> Sequence[State]:
        return [state[:place] + state[place + 1 :] for place in range(len(state))] or (state,)


class Stack(_Container):
    """A stack: `push` has an element, `pop` answers the youngest one; it fails when there is none."""

    name = "stack"
    rule = "each element comes out once, the one that was put in last before the others"
    puts = frozenset({"push"})
    takes = frozenset({"pop"})
    answers = frozenset({"pop"})
    verbs = ("pushed", "popped")

    def put(self, state: tuple[Any, ...], call: Call) -> State:
        return (*state, call.argument)

    def take(self, state: tuple[Any, ...], element: Hashable, call: Call) -> Sequence[State]:
        return (state[:-1],) if state and state[-1] == element else NOTHING

    def take_any(self, state: tuple[Any, ...]) -> Sequence[State]:
        return (state[:-1],) if state else (state,)


GREATEST: Final = "delete-max"
LEAST: Final = "delete-min"


class PriorityQueue(_Container):
    """A priority queue: `insert` has an element, or `[priority, element]`; `delete-max` or `delete-min` answers one of
    the greatest or least priority (`insert` alone: the element is its own priority).

    An answer may be the element or `[priority, element]`.
    """

    name = "priority-queue"
    rule = "each element comes out once, the greatest, or the least, of those that are there"
    puts = frozenset({"insert"})
    takes = frozenset({GREATEST, LEAST})
    answers = frozenset({GREATEST, LEAST})
    verbs = ("inserted", "took out")

    def put(self, state: tuple[Any, ...], call: Call) -> State:
        return _sorted((*state, priority_and_element(call.argument)))

    def take(self, state: tuple[Any, ...], element: Hashable, call: Call) -> Sequence[State]:
        if not state:
            return NOTHING
        priority = _extreme([priority for priority, _ in state], call)
        nexts = []
        for place, entry in enumerate(state):
            if entry[0] == priority and element in (entry[1], entry):
                nexts.append(state[:place] + state[place + 1 :])
        return tuple(dict.fromkeys(nexts))

    def take_any(self, state: tuple[Any, ...]) -> Sequence[State]:
        """From an empty one; `step` takes from others what comes first."""
        return (state,)

    def step(self, state: State, call: Call) -> Sequence[State]:
        if call.f in self.takes and call.type != OK and isinstance(state, tuple) and state:
            priority = _extreme([priority for priority, _ in state], call)
            places = [place for place, entry in enumerate(state) if entry[0] == priority]
            return tuple(dict.fromkeys(state[:place] + state[place + 1 :] for place in places))
        return super().step(state, call)

    def element(self, call: Call) -> Hashable:
        return call.argument  # type: ignore[no-any-return]

    def atoms(self, call: Call) -> tuple[Hashable, ...]:
        """Only where elements are their own priorities can a call be recognised by its answer alone."""
        if call.f in self.puts:
            return (priority_and_element(call.argument)[1],)
        if call.type != OK or call.result is None:
            return ()
        answer = call.result
        return (answer[1] if isinstance(answer, tuple) and len(answer) == 2 else answer,)


def priority_and_element(argument: Any) -> tuple[Any, Hashable]:
    """What an insert puts in: `[priority, element]`, or an element that is its own priority."""
    if isinstance(argument, tuple) and len(argument) == 2:
        return argument[0], argument[1]
    return argument, argument


def _extreme(priorities: list[Any], call: Call) -> Any:
    try:
        return max(priorities) if call.f == GREATEST else min(priorities)
    except TypeError as error:
        raise ValueError(f"event {call.start}: priorities that cannot be compared: {error}") from error


def _sorted(elements: tuple[Any, ...]) -> tuple[Any, ...]:
    """One order for the same elements, whatever they are."""
    return tuple(sorted(elements, key=lambda element: (type(element).__name__, repr(element))))
