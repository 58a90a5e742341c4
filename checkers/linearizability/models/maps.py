"""Objects with many keys: a map with append, each key an object, and registers that transactions use together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

import msgspec

from checkers.linearizability.calls import Call, freeze, thaw
from checkers.linearizability.models.model import NOTHING, Effects, SequentialModel, State, no_function, show
from results.operation import OK

ABSENT: Final = ""
"""The value of a key that nobody has written."""


class AppendMap(SequentialModel):
    """One key of a map with append: `get` answers the value, `put` has a new one, `append` a text that is joined to it.

    A key that nobody has written holds the empty text, and an answer of nil means the same. Lists are joined like
    texts.
    """

    name = "kv"
    reads = frozenset({"get"})
    answers = frozenset({"get"})
    splits_by_key = True

    def initial_state(self) -> State:
        return ABSENT

    def step(self, state: State, call: Call) -> Sequence[State]:
        match call.f:
            case "get":
                return (state,) if call.type != OK or held(call.result) == state else NOTHING
            case "put":
                return (held(call.argument),)
            case "append":
                return (joined(state, call),)
        raise no_function(self, call)

    def effects(self, call: Call) -> Effects | None:
        """An append adds to whatever is there."""
        match call.f:
            case "get":
                return Effects((held(call.result),) if call.type == OK else (), ())
            case "put":
                return Effects((), (held(call.argument),))
        return None

    def describe(self, call: Call) -> str:
        match call.f:
            case "get":
                return f"got {show(held(call.result))}"
            case "put":
                return f"put {show(held(call.argument))}"
        return f"appended {show(call.argument)}"


def held(value: Hashable) -> Hashable:
    """What a key holds when a get answers, or a put has, this value."""
    return ABSENT if value is None or value == () else value


def joined(state: Any, call: Call) -> State:
    """What a key holds after an append. Raises ValueError for what cannot be joined."""
    more = held(call.argument)
    if state == ABSENT:
        return more
    if more == ABSENT:
        return state  # type: ignore[no-any-return]
    if isinstance(state, str) and isinstance(more, str):
        return state + more
    if isinstance(state, tuple) and isinstance(more, tuple):
        return state + more
    raise ValueError(
        f"event {call.start}: cannot append {more!r:.40} to {state!r:.40}; only texts or lists are joined"
    )


READS: Final = ("read", "r")
WRITES: Final = ("write", "w")


class MultiRegister(SequentialModel):
    """Registers that a transaction reads and writes in one step: `txn` has `[["r", k, nil], ["w", k, v], ...]`, and
    its answer the same with what was read. Reads see the writes before them in their transaction."""

    name = "multi-register"
    shaped = frozenset({"txn", "t", "read", "write"})

    def __init__(self, initial: Any = None) -> None:
        self.initial = freeze(initial)

    def initial_state(self) -> State:
        return frozenset()

    def step(self, state: State, call: Call) -> Sequence[State]:
        assert isinstance(state, frozenset), f"the state of multi-registers is a frozenset, not {state!r}"
        values: dict[Hashable, Hashable] = dict(state)
        for kind, key, value in micro_operations(self, call):
            if kind in WRITES:
                values[key] = value
            elif call.type == OK and values.get(key, self.initial) != value:
                return NOTHING
        return (frozenset(item for item in values.items() if item[1] != self.initial),)

    def shape(self, f: str, value: Hashable, is_answer: bool) -> str | None:
        if value is None or (isinstance(value, tuple) and all(map(is_micro_operation, value))):
            return None
        return 'a transaction is a list of ["r" or "w", key, value]'

    def effects(self, call: Call) -> Effects | None:
        rows = micro_operations(self, call)
        return Effects(
            tuple((key, value) for kind, key, value in rows if kind in READS and call.type == OK),
            tuple((key, value) for kind, key, value in rows if kind in WRITES),
        )

    def atoms(self, call: Call) -> tuple[Hashable, ...]:
        return tuple(dict.fromkeys(key for _, key, _ in micro_operations(self, call)))

    def without(self, call: Call, atom: Hashable) -> Call | None:
        left = tuple(row for row in micro_operations(self, call) if row[1] != atom)
        if not left:
            return None
        result = None if call.result is None else left
        return msgspec.structs.replace(call, argument=left, result=result)

    def describe(self, call: Call) -> str:
        done = []
        for kind, key, value in micro_operations(self, call):
            if kind in WRITES:
                done.append(f"wrote {show(value)} to {show(key)}")
            else:
                done.append(
                    f"read {show(value)} from {show(key)}" if call.type == OK else f"read {show(key)}"
                )
        return " and ".join(done) or "did nothing"


def is_micro_operation(row: Any) -> bool:
    return isinstance(row, tuple) and len(row) == 3 and row[0] in (*READS, *WRITES)


def micro_operations(model: MultiRegister, call: Call) -> Sequence[tuple[str, Hashable, Hashable]]:
    """The reads and writes of a transaction, in order. Raises ValueError for another shape."""
    if call.f not in ("txn", "t", "read", "write"):
        raise no_function(model, call)
    rows: Any = call.result if call.result is not None else call.argument
    for row in rows or ():
        if not is_micro_operation(row):
            raise ValueError(
                f'event {call.start}: a transaction is a list of ["r" or "w", key, value], not {row!r:.80}'
            )
    if rows is not call.argument and call.argument is not None and not _answers(call.argument, rows):
        raise ValueError(
            f"event {call.start}: {thaw(rows)!r:.80} does not answer what was asked, {thaw(call.argument)!r:.80}"
        )
    return rows or ()


def _answers(asked: Any, rows: Any) -> bool:
    """Whether a transaction's answer has the micro-operations that were asked for, but for what was read."""
    if len(asked) != len(rows):
        return False
    return all(
        (kind in WRITES) == (of_kind in WRITES) and key == of_key and (kind in READS or value == of_value)
        for (kind, key, value), (of_kind, of_key, of_value) in zip(asked, rows, strict=True)
    )
