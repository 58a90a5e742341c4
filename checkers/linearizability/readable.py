"""Models with fewer states that behave alike for the calls at hand: what nobody will ever see need not be told apart.

The texts of a map with append are as many as there are orders of its appends. Only those count that are the beginning
of some text that was read; all others are one state, which nothing but a put leaves.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final

from checkers.linearizability.calls import Call
from checkers.linearizability.columns import OK_CODE, CallColumns
from checkers.linearizability.models import AppendMap, Model, State
from checkers.linearizability.models.maps import held


class _Unreadable:
    """What no get ever answers."""

    def __repr__(self) -> str:
        return "a text that nobody read"


UNREADABLE: Final = _Unreadable()


class ReadableMap(AppendMap):
    """One key of a map with append, as far as gets with these answers can tell."""

    def __init__(self, answers: Iterable[Any]) -> None:
        """Raises TypeError for answers that have no order."""
        self._answers = sorted(set(answers))

    def step(self, state: State, call: Call) -> Sequence[State]:
        if state is UNREADABLE and call.f != "put":
            return (UNREADABLE,) if call.f == "append" or call.type != "ok" else ()
        return tuple(self._readable(after) for after in super().step(state, call))

    def _readable(self, text: Any) -> State:
        place = bisect_left(self._answers, text)
        begins_one = place < len(self._answers) and self._answers[place][: len(text)] == text
        return text if begins_one else UNREADABLE


def narrowed(model: Model, columns: CallColumns) -> Model:
    """A model that judges these calls of one object like the given one, with as few states as are known to do."""
    if type(model) is not AppendMap:
        return model
    gets = columns.rows_of_function({"get"}) & (columns.type == OK_CODE)
    answers = {held(columns.values[number]) for number in set(columns.result[gets].tolist())}
    texts = {held(columns.values[number]) for number in set(columns.argument[~gets].tolist())}
    if {type(text) for text in answers | texts} != {str}:
        return model
    return ReadableMap(answers)
