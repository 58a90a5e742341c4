"""JSON-like values as what they equal: hashable identities, and dense numbers for whole columns of them.

Two values are the same exactly if JSON says so: a list is not a text, true is not 1, and two NaN, which no arithmetic
calls equal, are the same answer. Numbers compare as numbers (1 is 1.0). Keys of mappings are values like any other;
where the notation of a history knows only texts for them, `meant_keys` tells which key such a text stands for.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.words import spelt

_PLAIN: Final = frozenset({int, str, type(None)})
"""Types whose values are their own identity."""


def identity(value: Any) -> Hashable:
    """Something hashable that equals another's identity exactly if the values are the same.

    Whatever is not plain becomes a tuple that begins with a type, so that no plain value can be taken for it.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return (bool, value)
    if kind is float:
        return (float,) if value != value else value
    if isinstance(value, list | tuple):
        return (list, *map(identity, value))
    if isinstance(value, dict):
        return (dict, frozenset((identity(key), identity(item)) for key, item in value.items()))
    hash(value)  # Raises TypeError, with the type's name, for what cannot be compared.
    return value  # type: ignore[no-any-return]


def identities(values: Sequence[Any]) -> Sequence[Hashable]:
    """The identities of many values; the values themselves, uncopied, where all are plain."""
    if _PLAIN.issuperset(map(type, values)):
        return values
    return [identity(value) for value in values]


def key_text(key: Any) -> str:
    """What JSON writes where the key is one of a mapping."""
    return key if isinstance(key, str) else spelt(key)


def meant_keys(named: Iterable[Any], found: Iterable[Any]) -> dict[Any, Any]:
    """For each key found in mappings, the one that it stands for among those that operations named.

    JSON has only texts for keys of mappings, so that the key 1 is "1" there: a text stands for the key with that text.
    Where 1 and "1" are both named it may be either, and is left out. Mappings with other keys than texts need no such
    spelling, and every key is what it is. What nobody named stands for itself.
    """
    keys = list(found)
    if not all(isinstance(key, str) for key in keys):
        return {key: key for key in keys}
    by_text: dict[str, dict[Hashable, Any]] = {}
    for key in named:
        by_text.setdefault(key_text(key), {})[identity(key)] = key
    meant = {key: by_text.get(key) or {key: key} for key in keys}
    return {key: next(iter(those.values())) for key, those in meant.items() if len(those) == 1}


class Numbering:
    """Numbers 0, 1, 2 ... for values, in the order in which they were first met."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self.values: list[Any] = []
        """The value of each number, as it was first met."""

    def __len__(self) -> int:
        return len(self.values)

    def number(self, values: Sequence[Any]) -> NDArray[np.int64]:
        """The number of each value; new values get new ones."""
        numbers, known = self._numbers, self.values
        keys = identities(values)
        found = np.fromiter(map(numbers.get, keys, repeat(-1)), np.int64, len(keys))
        for place in np.flatnonzero(found < 0).tolist():
            key = keys[place]
            number = numbers.get(key)
            if number is None:
                number = numbers[key] = len(known)
                known.append(values[place])
            found[place] = number
        return found

    def find(self, values: Sequence[Any]) -> NDArray[np.int64]:
        """The number of each value, -1 for one that has none."""
        keys = identities(values)
        return np.fromiter(map(self._numbers.get, keys, repeat(-1)), np.int64, len(keys))


def number_all(values: Iterable[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """Numbers for the values of one column, and the value of each number."""
    numbering = Numbering()
    numbers = numbering.number(values if isinstance(values, list) else list(values))
    return numbers, numbering.values


def whole_number(value: Any) -> int | None:
    """The value as an int; None if it is no whole number (true is none, 3.0 is 3)."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def integers(values: Sequence[int]) -> NDArray[Any]:
    """A column of whole numbers: 64 bits where all partial sums fit, else Python's own, which are slow and never
    overflow."""
    if sum(map(abs, values)) < 1 << 62:
        return np.array(values, dtype=np.int64)
    return np.array(values, dtype=object)
