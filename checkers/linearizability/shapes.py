"""Operations that cannot be understood, and what can be decided all the same.

A value that has not the shape which its model knows (a cas of three values, a text that is added to a counter) may
have done anything to its object, or to any object if its key is not known. So that object is not decided; but

- other objects are, and
- it can still be wrong. A call that was not understood changes nothing before it was invoked: until then the history
  must be right by itself, with whatever ran then as not completed. A call that only reads changes nothing ever, and is
  left out. Where only the answer was not understood, the call may have been answered anything, as if it had crashed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from checkers.linearizability.calls import FOREVER
from checkers.linearizability.columns import FAIL_CODE, INFO_CODE, NIL, OK_CODE, CallColumns, Misshapen

if TYPE_CHECKING:
    from checkers.linearizability.models import Model

ANY_KEY = -1
"""Instead of the number of a key: it may be about any of them."""


def understood(columns: CallColumns, model: Model) -> tuple[CallColumns, dict[int, str]]:
    """The calls from which something follows; and for each object that cannot be called right, by its number, or for
    `ANY_KEY`, the first reason."""
    misshapen = {**columns.misshapen, **_misshapen(columns, model)}
    if not misshapen:
        return columns, {}
    at = np.array(sorted(misshapen))
    rows = np.searchsorted(columns.start, at)
    is_read = columns.rows_of_function(model.reads)
    kept = np.ones(len(columns), dtype=bool)
    type_, end, result = columns.type.copy(), columns.end.copy(), columns.result.copy()
    until: dict[int, int] = {}
    doubts: dict[int, str] = {}
    for row, start in zip(rows.tolist(), at.tolist(), strict=True):
        assert columns.start[row] == start, f"no call begins with event {start}, which is misshapen"
        what = misshapen[start]
        f = columns.functions[columns.function[row]]
        if (type_[row] == FAIL_CODE and f not in model.failures) or (
            type_[row] == INFO_CODE and is_read[row]
        ):
            continue
        key = int(columns.key[row]) if what.has_key else ANY_KEY
        doubts.setdefault(key, what.sentence)
        if is_read[row] or not what.is_answer:
            kept[row] = False
        if what.is_answer:
            type_[row], end[row], result[row] = INFO_CODE, FOREVER, NIL
        elif not is_read[row]:
            until[key] = min(start, until.get(key, start))
    for key, moment in until.items():
        of_key = columns.key == key if key != ANY_KEY else np.ones(len(columns), dtype=bool)
        kept &= ~(of_key & (columns.start >= moment))
        running = of_key & (end >= moment)
        type_[running], end[running], result[running] = INFO_CODE, FOREVER, NIL
    whole = replace(columns, type=type_, end=end, result=result, misshapen={})
    return whole.take(kept), doubts


def _misshapen(columns: CallColumns, model: Model) -> dict[int, Misshapen]:
    """The calls whose values have not the shape that the model asks for; each distinct value is looked at once."""
    found: dict[int, Misshapen] = {}
    for f in model.shaped.intersection(columns.functions):
        of_function = columns.rows_of_function({f})
        for is_answer in (False, True):
            asked = of_function & (columns.type == OK_CODE) if is_answer else of_function
            rows = np.flatnonzero(asked)
            numbers = (columns.result if is_answer else columns.argument)[rows]
            wrong = np.zeros(len(columns.values), dtype=bool)
            rules: dict[int, str] = {}
            for number in np.unique(numbers).tolist():
                rule = model.shape(f, columns.values[number], is_answer)
                if rule is not None:
                    wrong[number], rules[number] = True, rule
            for row in rows[wrong[numbers]].tolist():
                start = int(columns.start[row])
                if start in columns.misshapen or start in found:
                    continue
                number = int((columns.result if is_answer else columns.argument)[row])
                value = f"{columns.values[number]!r:.80}"
                event = int(columns.end[row]) if is_answer else start
                did = f"was answered {value}" if is_answer else f"has the value {value}"
                found[start] = Misshapen(True, is_answer, f"event {event}: the {f} {did}; {rules[number]}")
    return found
