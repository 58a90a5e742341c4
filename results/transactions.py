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
SCAN: Final = 3
"""A read of all keys of a range (a predicate). `key` is then the number of the range in `ranges`; the elements of the
answer are pairs, first the number of a key that exists and then that of its value."""
KINDS: Final = ("r", "append", "w", "scan")
"""How the kinds are called in histories, by number."""

NIL: Final = -1
"""In `value`: no value (of reads; of a write that deletes)."""
FOREVER: Final = 1 << 62
"""In `end`: the transaction's outcome is unknown, it may take effect at any later time."""


@dataclass(frozen=True)
class Transactions:
    """The transactions of a history in the order of their invocations; n transactions, m micro-operations."""

    process: NDArray[Any]
    """[n] the process that ran it: a session. Processes are numbered as in the history, in 32 bits if these hold all of
    them."""
    start: NDArray[np.int64]
    """[n] index of the event that invoked it."""
    end: NDArray[np.int64]
    """[n] index of the event that completed it with ok or fail; `FOREVER` if nobody knows how it ended."""
    outcome: NDArray[np.int8]
    """[n] 1 ok, 2 fail, 3 info (`results.history.TYPE_CODES`). Reads of fail and info are not known."""
    first: NDArray[np.int64]
    """[n + 1] first micro-operation of each transaction."""
    kind: NDArray[np.int8]
    """[m] `READ`, `APPEND`, `WRITE` or `SCAN`."""
    key: NDArray[np.int32]
    """[m] number of the key; of scans, of the range."""
    value: NDArray[np.int32]
    """[m] number of the value that is appended or written; `NIL` for reads, scans and deletions."""
    known: NDArray[np.bool_]
    """[m] of reads and scans: whether the answer is known. Writes and appends are True."""
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
    of_registers: bool = False
    """Whether the keys are registers, of which a read answers one value, and not lists."""
    ranges: Sequence[tuple[Any, Any]] = ()
    """The ranges of scans by number: from the first, included, to the second, excluded."""
    has_real_time: bool = True
    """Whether `start` and `end` say when transactions ran. Formats without times say False: the transactions are then
    in the order of their sessions, and only transactions of one session are known to follow one another."""
    absent: Any = None
    """What a register holds that is absent here, as it stands in the history; see `isolation/initial_values.py`."""
    is_initial_known: bool = False
    """Whether it was said what registers hold at first: then nobody can have read another value that nobody wrote."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def micro_operations(self) -> int:
        return len(self.kind)

    def events(self, transaction: int) -> list[int]:
        """Indexes of the events of a transaction in the history: of its invocation, and of its completion if known."""
        start, end = int(self.start[transaction]), int(self.end[transaction])
        return [start] if end == FOREVER else [start, end]

    def spelt(self, transaction: int) -> list[list[Any]]:
        """The micro-operations of a transaction as a history has them: `["r", k, [..]]`, `["append", k, v]`,
        `["w", k, v]`. What is not known is None; so is what a read of an absent register answered.
        """
        return [
            self.spelt_one(micro_operation)
            for micro_operation in range(int(self.first[transaction]), int(self.first[transaction + 1]))
        ]

    def spelt_one(self, micro_operation: int) -> list[Any]:
        """One micro-operation as a history has it."""
        kind, key = int(self.kind[micro_operation]), int(self.key[micro_operation])
        if kind in (APPEND, WRITE):
            value = int(self.value[micro_operation])
            return [KINDS[kind], self.keys[key], self.absent if value == NIL else self.values[value]]
        first, end = int(self.element_first[micro_operation]), int(self.element_first[micro_operation + 1])
        seen = self.elements[first:end].tolist()
        if kind == SCAN:
            pairs = [[self.keys[k], self.values[v]] for k, v in zip(seen[::2], seen[1::2], strict=True)]
            return [KINDS[SCAN], list(self.ranges[key]), pairs if self.known[micro_operation] else None]
        if not self.known[micro_operation]:
            return [KINDS[READ], self.keys[key], None]
        values = [self.values[number] for number in seen]
        if self.of_registers:
            return [KINDS[READ], self.keys[key], values[0] if values else self.absent]
        return [KINDS[READ], self.keys[key], values]
