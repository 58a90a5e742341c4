"""Maps with append as registers: what a get answers tells the order of the appends before it.

Where no two calls of a key put or append the same text, and no text begins another (or none ends another), a text that
was read can be taken apart in one way only: the put that it began with, and the appends since. So each append that
anybody saw is a compare-and-set from the text before to the text with it, a put is a write, and a get a read of a
value that was written once: zones decide (`zone_columns.py`), in the time that it takes to read the texts. An append
that nobody saw is like a write that nobody saw: it stands between a chain that is over and the next put.

A text that cannot be taken apart, or that has an append where another text does not, is a value that nobody wrote.
Texts are taken apart in `versions_kernel.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from checkers.linearizability.calls import Call
from checkers.linearizability.columns import INFO_CODE, CallColumns
from checkers.linearizability.footprints import NONE, Footprints
from checkers.linearizability.models import AppendMap, Footprint, State
from checkers.linearizability.models.maps import ABSENT, held
from checkers.linearizability.models.model import NOTHING, Effects, SequentialModel
from checkers.linearizability.versions_kernel import ROOT, find_versions
from results.operation import OK


@dataclass(frozen=True)
class Versions:
    """The calls of a map as footprints between versions."""

    footprints: Footprints
    keys: Sequence[Any]
    """The versions of each (`versions_kernel.KeyVersions`); None where texts cannot be taken apart in one way only."""

    def model_of(self, number: int, columns: CallColumns, rows: Sequence[int]) -> VersionedKey:
        """The model of one key whose calls at `rows` are judged by versions."""
        key = self.keys[number]
        assert key is not None, f"key {number} has no versions"
        text_of: Callable[[int], Hashable] = functools.cache(key.text_of)
        table: dict[int, Footprint] = {}
        each = (columns.start, self.footprints.observed, self.footprints.written, columns.argument)
        of_key = (column[rows].tolist() for column in each)
        for row, start, observed, written, argument in zip(rows, *of_key, strict=True):
            after: Hashable = None
            if written != NONE:
                told = key.was_seen(row)
                after = text_of(written) if told else _Unread(held(columns.values[argument]))
            before = text_of(observed) if observed != NONE else None
            table[start] = Footprint(observed != NONE, before, written != NONE, after)
        return VersionedKey(table)


class VersionedKey(AppendMap):
    """One key of a map with append, where it is known from what to what each append led."""

    def __init__(self, table: dict[int, Footprint]) -> None:
        self._table = table
        """By the event that invoked a call."""

    def step(self, state: State, call: Call) -> Sequence[State]:
        footprint = self.footprint(call)
        assert footprint is not None, f"event {call.start} has no footprint"
        if footprint.observes and footprint.observed != state:
            return NOTHING
        return (footprint.written,) if footprint.writes else (state,)

    def footprint(self, call: Call) -> Footprint | None:
        known = self._table.get(call.start)
        if known is None:
            return Footprint(False, None, True, held(call.argument)) if call.f == "put" else None
        if call.f == "get" and call.type != OK:
            return Footprint(False, None, False, None)
        return known if call.f != "put" else Footprint(False, None, True, known.written)

    def effects(self, call: Call) -> Effects | None:
        return SequentialModel.effects(self, call)

    def as_write(self, call: Call) -> Call:
        """An append whose own observation plays no part: a put of what it made."""
        return msgspec.structs.replace(call, f="put") if call.f == "append" else call

    by_process = True
    """No two calls are alike: the same text is appended once."""


class _Unread:
    """What a key held after a put or an append that nobody saw."""

    def __init__(self, text: Hashable) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"{self._text!r}"


def versions_of(columns: CallColumns, model: AppendMap) -> Versions:
    """The calls of a map, those that matter, by versions.

    Raises ValueError for a function that a map does not have.
    """
    unknown = set(columns.functions) - {"get", "put", "append"}
    if unknown:
        rows = np.flatnonzero(columns.rows_of_function(unknown))
        if len(rows):
            model.step(model.initial_state(), columns.calls([int(rows[0])])[0])
    count = len(columns)
    observed = [NONE] * count
    written = [NONE] * count
    closed = np.zeros(count, dtype=bool)
    gets = columns.rows_of_function({"get"}).tolist()
    puts = columns.rows_of_function({"put"}).tolist()
    argument, result = columns.argument.tolist(), columns.result.tolist()
    values = [held(value) for value in columns.values]
    crashed = (columns.type == INFO_CODE).tolist()
    rows_of: list[list[int]] = [[] for _ in range(max(1, len(columns.keys)))]
    for row, number in enumerate(columns.key.tolist()):
        rows_of[number].append(row)
    keys: list[Any] = []
    most = 1
    for rows_of_key in rows_of:
        key = find_versions(
            rows_of_key, gets, puts, crashed, argument, result, values, ABSENT, observed, written
        )
        if key is None:
            closed[rows_of_key] = True
        else:
            most = max(most, key.versions())
        keys.append(key)
    footprints = Footprints(
        columns.start,
        columns.end,
        columns.key,
        np.array(observed, dtype=np.int32),
        np.array(written, dtype=np.int32),
        closed if closed.any() else None,
        ROOT,
        most,
        max(1, len(columns.keys)),
    )
    return Versions(footprints, keys)
