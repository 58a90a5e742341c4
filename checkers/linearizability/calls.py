"""Operations as the searches see them: one call with its interval, and plain comparable values.

An interval is counted in event indexes and never in clock readings, so that operations whose clocks show the same
time still have the order in which the harness saw them. Three rules turn a history into calls:

- ok: the call took effect somewhere between its invocation and its completion;
- fail: it did not happen, and is left out (unless a model learns something from the failure);
- info: it may take effect at any time after its invocation, or never. Such calls are *crashed*. A crashed call that
  only reads tells nothing and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Any, Final

import msgspec

from results.history import Pair
from results.operation import FAIL, INFO, OK

FOREVER: Final = 1 << 62
"""The return of a call that never returned."""

_ATOMS: Final = (int, str, type(None))


class _Mark:
    """Something that equals only itself, and stands in frozen values for what Python would take for something else."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


TRUE: Final = _Mark("true")
FALSE: Final = _Mark("false")
NOT_A_NUMBER: Final = _Mark("not a number")
MAPPING: Final = _Mark("mapping")


class Call(msgspec.Struct, frozen=True, gc=False):
    """One operation on one object."""

    pair: Pair
    f: str
    argument: Any
    """What was asked, frozen."""
    result: Any
    """What was answered, frozen; only of an ok call."""
    type: str
    """ok, info or fail."""
    start: int
    """Index of the event that invoked it."""
    end: int
    """Index of the event that completed it with ok or fail; `FOREVER` if it crashed."""

    @property
    def crashed(self) -> bool:
        return self.type == INFO

    @property
    def process(self) -> int | str:
        return self.pair.process

    @property
    def signature(self) -> tuple[Any, ...]:
        """Calls with the same signature act alike in every state."""
        return (self.f, self.argument, self.result, self.type)


def freeze(value: Any) -> Hashable:
    """The JSON-like value as something hashable that equals only itself: lists become tuples, mappings sorted
    tuples, and true is not 1 (but 1.0 is 1, as in JSON)."""
    kind = type(value)
    if kind in _ATOMS:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return TRUE if value else FALSE
    if kind is list or kind is tuple:
        return tuple(freeze(item) for item in value)
    if isinstance(value, dict):
        items = ((freeze(key), freeze(item)) for key, item in value.items())
        return (MAPPING, *sorted(items, key=repr))
    if isinstance(value, float) and value != value:
        return NOT_A_NUMBER
    hash(value)  # Raises TypeError, with the type's name, for what cannot be compared.
    return value  # type: ignore[no-any-return]


def thaw(value: Any) -> Any:
    """The JSON-like value that was frozen; what was not comes back as it is."""
    if value is TRUE or value is FALSE:
        return value is TRUE
    if value is NOT_A_NUMBER:
        return math.nan
    if not isinstance(value, tuple):
        return value
    if value[:1] == (MAPPING,):
        return {key: thaw(item) for key, item in value[1:]}
    return [thaw(item) for item in value]


def call_of(pair: Pair, *, keyed: bool = False) -> Call:
    """The call that an operation makes; with `keyed`, its values are `[key, value]` and the key is left off."""
    argument = pair.invocation.value
    completion = pair.completion
    type_ = pair.type
    result = completion.value if completion is not None and type_ == OK else None
    if keyed:
        argument = argument[1]
        result = result[1] if result is not None else None
    end = FOREVER if type_ == INFO or completion is None else completion.index
    index = pair.invocation.index
    return Call(pair, pair.invocation.f, freeze(argument), freeze(result), type_, index, end)


def calls_of(
    pairs: Iterable[Pair],
    *,
    reads: frozenset[str],
    failures: frozenset[str] = frozenset(),
    keyed: bool = False,
) -> list[Call]:
    """The calls that matter: failed ones only of the functions in `failures`, crashed ones not of `reads`."""
    calls = []
    for pair in pairs:
        type_ = pair.type
        if type_ == FAIL and pair.f not in failures:
            continue
        if type_ == INFO and pair.f in reads:
            continue
        calls.append(call_of(pair, keyed=keyed))
    return calls


def split_by_key(pairs: Iterable[Pair]) -> dict[Hashable, list[Pair]]:
    """The operations by the key in their value `[key, value]`, keys in the order of their first use.

    Raises ValueError for a value of another shape, or an answer about another key than was asked.
    """
    groups: dict[Hashable, list[Pair]] = {}
    for pair in pairs:
        value = pair.invocation.value
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ValueError(
                f"event {pair.index}: the {pair.f} has the value {value!r:.80}; where objects are told apart by key, "
                "values are [key, value]"
            )
        key = freeze(value[0])
        completion = pair.completion
        if completion is not None and completion.type == OK and completion.value is not None:
            answer = completion.value
            if not isinstance(answer, list | tuple) or len(answer) != 2 or freeze(answer[0]) != key:
                raise ValueError(
                    f"event {completion.index}: the {pair.f} of key {value[0]!r} was answered {answer!r:.80}, "
                    "which is not [the same key, value]"
                )
        groups.setdefault(key, []).append(pair)
    return groups
