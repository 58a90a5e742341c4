"""What a sequential model says: a few pure functions over hashable states; the searches do the rest.

`step` answers with every state that the object may be in afterwards: none if the call cannot have happened in this
state, several if the object may choose. Of a crashed call the answer is unknown, so any answer must be allowed.

The other functions have defaults that are always right. They make verdicts quicker and evidence smaller, and are
sound only if they are right:

- `reads` and `failures` say which functions never change the state, and whose failures say something about it;
- `footprint` says which values a call observes and which it leaves behind, for objects whose state is the last value
  left behind and nothing else;
- `possible_states` lists every state that could matter to some calls, so that a search may start in mid-history;
- `atoms` and `without` say what a history may lose so that a right one stays right: the evidence becomes smaller.

The smallest model of one's own:

    class Toggle(SequentialModel):
        name = "toggle"

        def initial_state(self) -> State:
            return False

        def step(self, state: State, call: Call) -> Sequence[State]:
            if call.f == "flip":
                return (not state,)
            raise no_function(self, call)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from checkers.linearizability.calls import Call, thaw
from checkers.words import spelt
from results.operation import OK

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


class Effects(NamedTuple):
    """All that a call observes and all that it writes, of objects of several parts: each part with its value."""

    observed: tuple[Hashable, ...]
    written: tuple[Hashable, ...]


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

    @property
    def answers(self) -> frozenset[str] | None:
        """Functions whose answer matters to `step`, or whether they crashed; None: all."""
        ...

    @property
    def by_process(self) -> bool:
        """Whether it matters who calls: then calls of different processes never count as alike."""
        ...

    @property
    def keeps(self) -> frozenset[str]:
        """Functions that stop everybody until the same process goes on, as who takes a lock that only he can release.
        One that crashed, and was the last that its process did, is best not to have happened."""
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

    def effects(self, call: Call) -> Effects | None:
        """The same where an object has several parts; None where that is not the whole story."""
        ...

    @property
    def rule(self) -> str:
        """What wrong histories break, as a person would say it: *one holds the lock at a time*. Empty for objects that
        are told by their values."""
        ...

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        """States of which one behaves, for these calls, like any state there is; None if there is no such list."""
        ...

    def atoms(self, call: Call) -> tuple[Hashable, ...]:
        """What the call is about, such as elements: taking one out of all calls keeps a right history right. Empty
        where nothing can be taken out."""
        ...

    def without(self, call: Call, atom: Hashable) -> Call | None:
        """The call when an atom is taken out; None if nothing of it is left."""
        ...

    @property
    def shaped(self) -> frozenset[str]:
        """Functions whose arguments or answers must have some shape."""
        ...

    def shape(self, f: str, value: Hashable, is_answer: bool) -> str | None:
        """What an argument, or the answer of an ok call, of one of these functions should have been, if it is not."""
        ...

    def describe(self, call: Call) -> str:
        """What the call did, in the past tense, without its process and time: *read 7*, *wrote 9*."""
        ...

    def describe_state(self, state: State) -> str:
        """The state for people."""
        ...


class SequentialModel:
    """The defaults of a model; a model of one's own needs `name`, `initial_state` and `step`."""

    name: str
    reads: frozenset[str] = frozenset()
    failures: frozenset[str] = frozenset()
    answers: frozenset[str] | None = None
    by_process: bool = False
    keeps: frozenset[str] = frozenset()
    shaped: frozenset[str] = frozenset()
    rule: str = ""
    splits_by_key: bool = False
    """Whether operations' values are `[key, value]` by nature, each key an object of its own."""

    def initial_state(self) -> State:
        raise NotImplementedError(f"{type(self).__name__} has no initial_state; every model needs one")

    def step(self, state: State, call: Call) -> Sequence[State]:
        raise NotImplementedError(f"{type(self).__name__} has no step; every model needs one")

    def footprint(self, call: Call) -> Footprint | None:
        return None

    def effects(self, call: Call) -> Effects | None:
        footprint = self.footprint(call)
        if footprint is None:
            return None
        return Effects(
            (footprint.observed,) if footprint.observes else (),
            (footprint.written,) if footprint.writes else (),
        )

    def possible_states(self, calls: Iterable[Call]) -> list[State] | None:
        return None

    def atoms(self, call: Call) -> tuple[Hashable, ...]:
        return ()

    def without(self, call: Call, atom: Hashable) -> Call | None:
        return None

    def shape(self, f: str, value: Hashable, is_answer: bool) -> str | None:
        return None

    def describe(self, call: Call) -> str:
        asked = "" if call.argument is None else f" {show(call.argument)}"
        answered = f" -> {show(call.result)}" if call.type == OK and call.result is not None else ""
        return f"did {call.f}{asked}{answered}"

    def describe_state(self, state: State) -> str:
        return show(state)


class NoFunctionError(ValueError):
    """The object does not have that function: the history is of something else."""


def no_function(model: Model, call: Call) -> NoFunctionError:
    """What to raise for a call of a function that the object does not have."""
    return NoFunctionError(f"event {call.start}: a {model.name} has no function {call.f!r}")


def show(value: Any) -> str:
    """A frozen value for people, long ones cut."""
    text = spelt(thaw(value))
    return text if len(text) <= 60 else text[:57] + "..."
