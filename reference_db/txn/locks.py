"""Intents: provisional values that are also locks, and a range's table of them in memory.

The engine is where intents live; the table mirrors all intents of one range, because there are few and every evaluation
asks for them. It is changed exactly where the batch is (`txn.state`), and loaded from the engine at start and after a
snapshot.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator

import msgspec

from ..api import Transaction
from ..timestamp import ZERO, Timestamp


class Intent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A write that isn't decided: it becomes a version at the commit timestamp, or nothing."""

    transaction: Transaction
    timestamp: Timestamp
    """Provisional: the commit's is this or later."""
    value: bytes | None
    sequence: int = 0
    keys: tuple[bytes, ...] = ()
    """On a primary lock: every key that its transaction writes."""
    commit_from: Timestamp = ZERO
    """Of a transaction of protocol primary-lock that is committed as soon as all its locks stand: no earlier than this,
    and at the largest of all its locks. Zero: only its primary decides."""


class LockTable:
    """Key to intent, with the keys in order. At most one intent per key."""

    __slots__ = ("_intents", "_keys")

    def __init__(self, intents: Iterable[tuple[bytes, Intent]] = ()) -> None:
        self._intents = dict(intents)
        self._keys = sorted(self._intents)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: bytes) -> bool:
        return key in self._intents

    def get(self, key: bytes) -> Intent | None:
        return self._intents.get(key)

    def put(self, key: bytes, intent: Intent) -> None:
        if key not in self._intents:
            bisect.insort(self._keys, key)
        self._intents[key] = intent

    def remove(self, key: bytes) -> None:
        """A key without an intent is passed over."""
        if self._intents.pop(key, None) is not None:
            del self._keys[bisect.bisect_left(self._keys, key)]

    def in_span(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, Intent]]:
        """Intents on `[start, end)`, in order of keys."""
        if not self._keys:
            return iter(())
        low = bisect.bisect_left(self._keys, start)
        high = len(self._keys) if end is None else bisect.bisect_left(self._keys, end)
        return iter([(key, self._intents[key]) for key in self._keys[low:high]])

    def items(self) -> Iterator[tuple[bytes, Intent]]:
        return self.in_span(b"", None)
