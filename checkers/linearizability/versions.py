"""Maps with append as registers: what a get answers tells the order of the appends before it.

Where no two calls of a key put or append the same text, and no text begins another (or none ends another), a text that
was read can be taken apart in one way only: the put that it began with, and the appends since. So each append that
anybody saw is a compare-and-set from the text before to the text with it, a put is a write, and a get a read of a
value that was written once: zones decide (`zone_columns.py`), in the time that it takes to read the texts. An append
that nobody saw is like a write that nobody saw: it stands between a chain that is over and the next put.

A text that cannot be taken apart, or that has an append where another text does not, is a value that nobody wrote.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from checkers.linearizability.calls import Call
from checkers.linearizability.columns import INFO_CODE, CallColumns
from checkers.linearizability.footprints import NONE, Footprints
from checkers.linearizability.models import AppendMap, Footprint, State
from checkers.linearizability.models.maps import ABSENT, held
from checkers.linearizability.models.model import NOTHING
from results.operation import OK

ROOT = 0
"""The version of a key that nobody has written."""


@dataclass
class _Chain:
    """A put, or the beginning, and the appends after it."""

    root: int
    text: Any = ABSENT
    ends: list[int] = field(default_factory=list)
    """How long the text was after each of its parts."""
    versions: list[int] = field(default_factory=list)
    """The version after each part."""


@dataclass
class _Key:
    """The versions of one key."""

    puts: dict[Hashable, int] = field(default_factory=dict)
    """Text -> the row that put it."""
    appends: dict[Hashable, int] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    """How long texts are, each once."""
    from_the_end: bool = False
    """Whether texts have to be taken apart from their end."""
    chains: dict[Hashable, _Chain] = field(default_factory=dict)
    """By the first part."""
    count: int = 1
    """Versions so far."""
    before: dict[int, int] = field(default_factory=dict)
    """Row of an append that was seen -> the version before it."""
    after: dict[int, int] = field(default_factory=dict)
    """Row of a put or append that was seen -> the version that it made."""
    texts: dict[int, Any] = field(default_factory=dict)
    """Versions that nobody wrote -> what was read."""

    def fresh(self) -> int:
        self.count += 1
        return self.count - 1

    def version_of(self, text: Any) -> int:
        """The version that a get saw."""
        if text == ABSENT:
            return ROOT
        first = None if self.from_the_end else self._part_at(text, 0)
        if first is None and not self.from_the_end:
            return self._nobodys(text)
        chain = self.chains.get(first) if first is not None else None
        if chain is None:
            return self._new_chain(text)
        known, length = len(chain.text), len(text)
        if length <= known:
            if chain.text[:length] == text:
                place = bisect_left(chain.ends, length)
                if chain.ends[place] == length:
                    return chain.versions[place]
            return self._nobodys(text)
        if text[:known] != chain.text:
            return self._nobodys(text)
        parts = self._parts(text, known)
        if parts is None:
            return self._nobodys(text)
        return self._extend(chain, text, parts)

    def _new_chain(self, text: Any) -> int:
        parts = self._parts(text, 0)
        if parts is None:
            return self._nobodys(text)
        if self.from_the_end and parts[0] in self.chains:
            chain = self.chains[parts[0]]
            shared = len(chain.ends)
            if len(parts) <= shared:
                return (
                    chain.versions[len(parts) - 1] if chain.text[: len(text)] == text else self._nobodys(text)
                )
            if text[: len(chain.text)] != chain.text:
                return self._nobodys(text)
            return self._extend(chain, text, parts[shared:])
        chain = _Chain(ROOT)
        first = parts[0]
        if first in self.puts:
            row = self.puts[first]
            version = self.after[row] = self.fresh()
            chain = _Chain(version, first, [len(first)], [version])
            parts = parts[1:]
        self.chains[first] = chain
        return self._extend(chain, text, parts) if parts else chain.versions[-1]

    def _extend(self, chain: _Chain, text: Any, parts: Sequence[Any]) -> int:
        """Adds appends to a chain; what was seen elsewhere already cannot be here too."""
        rows = [self.appends.get(part, NONE) for part in parts]
        if NONE in rows or any(row in self.after for row in rows) or len(set(rows)) < len(rows):
            return self._nobodys(text)
        version = chain.versions[-1] if chain.versions else chain.root
        length = len(chain.text)
        for part, row in zip(parts, rows, strict=True):
            self.before[row] = version
            version = self.after[row] = self.fresh()
            length += len(part)
            chain.ends.append(length)
            chain.versions.append(version)
        chain.text = text
        return version

    def _nobodys(self, text: Any) -> int:
        version = self.fresh()
        self.texts[version] = text
        return version

    def _part_at(self, text: Any, start: int) -> Any:
        """The text that was put or appended and begins there; None if there is none."""
        for length in self.lengths:
            part = text[start : start + length]
            if part in self.appends or part in self.puts:
                return part
        return None

    def _parts(self, text: Any, start: int) -> list[Any] | None:
        """What the rest of a text was put together from; None if it was not."""
        parts = []
        if self.from_the_end:
            end = len(text)
            while end > start:
                for length in self.lengths:
                    part = text[max(start, end - length) : end]
                    if len(part) == length and (part in self.appends or part in self.puts):
                        break
                else:
                    return None
                parts.append(part)
                end -= length
            parts.reverse()
            return parts
        while start < len(text):
            part = self._part_at(text, start)
            if part is None:
                return None
            parts.append(part)
            start += len(part)
        return parts

    def text_of(self, version: int) -> Any:
        """The text that a version is."""
        if version == ROOT:
            return ABSENT
        for chain in self.chains.values():
            place = bisect_left(chain.versions, version)
            if place < len(chain.versions) and chain.versions[place] == version:
                return chain.text[: chain.ends[place]]
        return self.texts[version]


@dataclass(frozen=True)
class Versions:
    """The calls of a map as footprints between versions."""

    footprints: Footprints
    keys: Sequence[_Key | None]
    """None where texts cannot be taken apart in one way only."""

    def model_of(self, number: int, columns: CallColumns, rows: Sequence[int]) -> VersionedKey:
        """The model of one key whose calls at `rows` are judged by versions."""
        key = self.keys[number]
        assert key is not None, f"key {number} has no versions"
        table: dict[int, Footprint] = {}
        for row in rows:
            observed = int(self.footprints.observed[row])
            written = int(self.footprints.written[row])
            call = columns.calls([row])[0]
            after: Hashable = None
            if written != NONE:
                after = key.text_of(written) if row in key.after else _Unread(held(call.argument))
            table[call.start] = Footprint(
                observed != NONE, None if observed == NONE else key.text_of(observed), written != NONE, after
            )
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
    keys: list[_Key | None] = []
    most = 1
    for rows_of_key in rows_of:
        key: _Key | None = _Key()
        assert key is not None
        writes = [row for row in rows_of_key if not gets[row]]
        for row in writes:
            (key.puts if puts[row] else key.appends)[values[argument[row]]] = row
        if not _can_be_taken_apart(key, len(writes)):
            closed[rows_of_key] = True
            keys.append(None)
            continue
        seen: dict[int, int] = {}
        for row in rows_of_key:
            if gets[row] and not crashed[row]:
                number = result[row]
                version = seen.get(number)
                if version is None:
                    version = seen[number] = key.version_of(values[number])
                observed[row] = version
        for row in writes:
            if row in key.after:
                written[row] = key.after[row]
                observed[row] = key.before.get(row, NONE)
            else:
                written[row] = key.fresh()
        most = max(most, key.count)
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


def _can_be_taken_apart(key: _Key, writes: int) -> bool:
    """Whether a text of this key can be taken apart in one way only; sets `lengths` and `from_the_end`."""
    texts: list[Any] = [*key.puts, *key.appends]
    if len(texts) < writes or len(set(texts)) < writes or ABSENT in texts:
        return False
    kinds = {type(text) for text in texts}
    if len(kinds) > 1 or not kinds <= {str, tuple}:
        return False
    key.lengths = sorted({len(text) for text in texts})
    try:
        if not _has_prefix(texts):
            return True
        key.from_the_end = not _has_prefix([text[::-1] for text in texts])
    except TypeError:  # Lists of things that have no order.
        return False
    return key.from_the_end


def _has_prefix(texts: list[Any]) -> bool:
    """Whether one of the texts begins another."""
    ordered = sorted(texts)
    return any(later[: len(text)] == text for text, later in itertools.pairwise(ordered))
