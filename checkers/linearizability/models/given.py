"""A model made of two functions, for objects that this project does not know.

def step(balance, f, argument, answer):
    if f == "deposit":
        return [balance + argument]
    if f == "withdraw":
        return [balance - argument] if balance >= argument else []
    return [balance] if answer in (UNKNOWN, balance) else []

account = GivenModel("account", init=0, step_of=step, reads=frozenset({"balance"}))
LinearizabilityChecker(account, split_by_key=False).check(history, Limits())
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from checkers.linearizability.calls import Call, freeze
from checkers.linearizability.models.model import SequentialModel, State, show
from results.operation import FAIL, OK


class _Unknown:
    """The answer of a call that crashed."""

    def __repr__(self) -> str:
        return "UNKNOWN"


class _Failed:
    """The answer of a call that failed."""

    def __repr__(self) -> str:
        return "FAILED"


UNKNOWN: Final = _Unknown()
"""Given to `step` as the answer of a crashed call: every answer must be allowed."""
FAILED: Final = _Failed()
"""Given to `step` as the answer of a failed call of one of the `failures`."""


def _same(state: Any) -> State:
    return freeze(state)


@dataclass(frozen=True)
class GivenModel(SequentialModel):
    """A sequential model as functions over states.

    Arguments and answers reach the functions frozen (lists as tuples, see `freeze`).
    """

    name: str
    init: Any
    """The state at first."""
    step_of: Callable[[Any, str, Any, Any], Iterable[Any]]
    """`(state, f, argument, answer)` -> all states that the object may be in afterwards; none: it cannot happen. It
    must not change the state it is given."""
    reads: frozenset[str] = frozenset()
    """Functions that never change the state."""
    failures: frozenset[str] = frozenset()
    """Functions whose failed calls say something; `step` gets `FAILED` as their answer."""
    identity: Callable[[Any], State] = _same
    """A hashable value that is equal for equal states only; needed where states are not JSON-like."""
    words: Callable[[str, Any, Any], str] | None = None
    """`(f, argument, answer)` -> what the call did, in the past tense."""

    def initial_state(self) -> State:
        return _Known(self.identity(self.init), self.init)

    def step(self, state: State, call: Call) -> Sequence[State]:
        assert isinstance(state, _Known), f"the state of a given model is wrapped, not {state!r}"
        nexts = self.step_of(state.state, call.f, call.argument, _answer(call))
        return tuple(_Known(self.identity(after), after) for after in nexts)

    def describe_state(self, state: State) -> str:
        return show(state.state) if isinstance(state, _Known) else show(state)

    def describe(self, call: Call) -> str:
        if self.words is None:
            return super().describe(call)
        return self.words(call.f, call.argument, _answer(call))


class _Known:
    """A state, compared by its identity."""

    __slots__ = ("identity", "state")

    def __init__(self, identity: State, state: Any) -> None:
        self.identity = identity
        self.state = state

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        return repr(self.state)


def _answer(call: Call) -> Any:
    if call.type == FAIL:
        return FAILED
    return call.result if call.type == OK else UNKNOWN
