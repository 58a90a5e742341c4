"""Transactions as columns: what the isolation checkers read, and what readers of large files make directly.

A history of a million transactions as Python objects takes gigabytes; as columns it takes some bytes a micro-operation.
A *micro-operation* is one step of a transaction: a read of a key, an append to its list, a write of its register, or
a read of several keys by a predicate. Keys and values are numbered; the tables say what they are.

Positions: transaction `t` has the micro-operations `first[t] : first[t + 1]`, and micro-operation `m` the elements
`element_first[m] : element_first[m + 1]`. Order in real time is by event index (`start`, `end`), never by clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

READ: Final = 0
"""A read: of a list (`elements` are what was seen), or of a register (one element; none for a key that is absent)."""
APPEND: Final = 1
"""An append of `value` to a list."""
WRITE: Final = 2
"""A write of `value` to a register; `NIL` deletes the key."""
KINDS: Final = ("r", "append", "w")
"""How the kinds are called in histories, by number."""

NIL: Final = -1
"""In `value`: no value (of reads; of a write that deletes)."""
FOREVER: Final = 1 << 62
"""In `end`: the transaction's outcome is unknown, it may take effect at any later time."""


@dataclass(frozen=True)
class Transactions:
    """The transactions of a history in the order of their invocations; n transactions, m micro-operations."""

    process: NDArray[np.int32]
    """[n] the process that ran it: a session. Processes are numbered as in the history."""
    start: NDArray[np.int64]
    """[n] index of the event that invoked it."""
    end: NDArray[np.int64]
    """[n] index of the event that completed it with ok or fail; `FOREVER` if nobody knows how it ended."""
    outcome: NDArray[np.int8]
    """[n] 1 ok, 2 fail, 3 info (`results.history.TYPE_CODES`). Reads of fail and info are not known."""
    first: NDArray[np.int64]
    """[n + 1] first micro-operation of each transaction."""
    kind: NDArray[np.int8]
    """[m] `READ`, `APPEND` or `WRITE`."""
    key: NDArray[np.int32]
    """[m] number of the key."""
    value: NDArray[np.int32]
    """[m] number of the value that is appended or written; `NIL` for reads."""
    known: NDArray[np.bool_]
    """[m] of reads: whether the answer is known. Writes and appends are True."""
    element_first: NDArray[np.int64]
    """[m + 1] first element of each read's answer; other micro-operations have none."""
    elements: NDArray[np.int32]
    """Numbers of the values that reads answered, one after the other."""
    keys: Sequence[Any]
    """The keys by number, as they stand in the history."""
    values: Sequence[Any]
    """The values by number, as they stand in the history. Two numbers are never equal values, so numbers may be
    compared. Values are numbered for all keys together."""
    committed_at: NDArray[np.int64] | None = None
    """[n] the commit timestamps that the database itself reported, in its own unit; -1 where it reported none."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def micro_operations(self) -> int:
        return len(self.kind)
