"""What the clients of a simulated store are going to do: its shape, and the transactions that a seed draws from it.

The plan knows keys, values and who will crash or abort; what is read, and which commits conflict, the store decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from checkers.synthetic.draws import Draws
from results.transactions import APPEND, READ, WRITE

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPLETES: Final = 0
LOST: Final = 1
"""Crashes, and never takes effect."""
HAPPENED: Final = 2
"""Crashes after it has taken effect."""
LATER: Final = 3
"""Crashes, and takes effect some time after."""
SILENT: Final = 4
"""Added to a crash: no completion is recorded at all (else it is info)."""
ABORTS: Final = 8
"""Fails, and has no effect."""


@dataclass(frozen=True)
class Shape:
    """The shape of a history of transactions."""

    transactions: int = 1000
    clients: int = 10
    kind: Literal["list-append", "rw-register"] = "list-append"
    keys: int = 10
    """Keys in use at a time."""
    writes_per_key: int = 32
    """After so many writes a key is retired and a fresh one takes its place; 0: never."""
    micro_operations: float = 2.5
    """Mean number in a transaction; they are spread evenly from 1 to twice the mean."""
    read_share: float = 0.5
    distribution: Literal["uniform", "zipf"] = "uniform"
    """How the keys in use are chosen; zipf: the n-th with a weight of 1/n."""
    crash_share: float = 0.0
    """Share of transactions that end in info or without completion; half of them take effect, some later."""
    abort_share: float = 0.0
    """Share of transactions that fail of their own accord."""
    scan_share: float = 0.0
    """Share of reads that are scans of a range of keys; of registers only."""
    scan_keys: int = 4
    """Keys of the range of a scan."""
    is_timed: bool = False
    """Whether the history holds the commit timestamps of the store."""
    stale: int = 8
    """How many commits a snapshot may lag, at levels that allow it."""
    sites: int = 3
    """Sites that learn of each other's commits later, at levels that are made so."""

    def __post_init__(self) -> None:
        for name in ("transactions", "clients", "keys", "sites", "scan_keys"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: at least one is needed")
        for name in ("read_share", "crash_share", "abort_share", "scan_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: a share lies between 0 and 1")
        if self.crash_share + self.abort_share > 1:
            raise ValueError(
                f"crash_share={self.crash_share} and abort_share={self.abort_share} add up to more than 1"
            )
        if self.scan_share and self.kind != "rw-register":
            raise ValueError(
                f"scan_share={self.scan_share}: scans are of registers (kind rw-register), not of {self.kind}"
            )
        if self.micro_operations < 1:
            raise ValueError(f"micro_operations={self.micro_operations}: the mean is at least 1")
        if self.writes_per_key < 0 or self.stale < 0:
            raise ValueError("writes_per_key and stale are at least 0")


@dataclass(frozen=True)
class Plan:
    """Transactions before they run; n transactions, m micro-operations, in the columns of `Transactions`."""

    first: NDArray[np.int64]
    kind: NDArray[np.int8]
    key: NDArray[np.int32]
    value: NDArray[np.int32]
    """Values count up from 0 for each key, in the order of the plan; NIL for reads."""
    keys: int
    values: int
    fate: NDArray[np.int8]
    version_first: NDArray[np.int64]
    """[keys + 1] room for the versions of each key."""


def plan(shape: Shape, draws: Draws, *, reads_own_writes: bool = True) -> Plan:
    """Draws the transactions. Without `reads_own_writes`, no transaction reads a key after writing it."""
    n = shape.transactions
    most = max(1, round(2 * shape.micro_operations) - 1)
    sizes = 1 + draws.below(most, n)
    first = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(sizes, out=first[1:])
    m = int(first[-1])
    slot = _slots(shape, draws.uniform(m))
    is_write = draws.uniform(m) >= shape.read_share
    if not reads_own_writes:
        transaction = np.repeat(np.arange(n), sizes)
        is_write |= _written_before(transaction * shape.keys + slot, is_write)
    # The number of writes planned for a slot before each micro-operation decides which key it stands for.
    by_slot = np.argsort(slot, kind="stable")
    before: NDArray[np.int64] = np.cumsum(is_write[by_slot]) - is_write[by_slot]
    slot_start = np.searchsorted(slot[by_slot], np.arange(shape.keys))
    offset = np.append(before, 0)[np.minimum(slot_start, max(m - 1, 0))]
    earlier = np.empty(m, dtype=np.int64)
    earlier[by_slot] = before - offset[slot[by_slot]]
    per_key = shape.writes_per_key or m + 1
    key = (slot + shape.keys * (earlier // per_key)).astype(np.int32)
    value = np.where(is_write, earlier % per_key, -1).astype(np.int32)
    written = APPEND if shape.kind == "list-append" else WRITE
    keys = int(key.max(initial=-1)) + 1
    version_first = np.zeros(keys + 1, dtype=np.int64)
    np.cumsum(np.bincount(key[is_write], minlength=keys), out=version_first[1:])
    return Plan(
        first=first,
        kind=np.where(is_write, written, READ).astype(np.int8),
        key=key,
        value=value,
        keys=keys,
        values=int(value.max(initial=-1)) + 1,
        fate=fates(n, draws, shape.crash_share, shape.abort_share),
        version_first=version_first,
    )


def fates(count: int, draws: Draws, crash_share: float, abort_share: float = 0.0) -> NDArray[np.int8]:
    """How each of `count` operations is going to end."""
    luck = draws.uniform(count)
    crash = np.array([LOST, LOST, HAPPENED, LATER], dtype=np.int8)[draws.below(4, count)]
    crash |= np.where(draws.below(2, count) == 0, SILENT, 0).astype(np.int8)
    fate = np.where(luck < crash_share, crash, COMPLETES)
    return np.where(luck >= 1 - abort_share, ABORTS, fate).astype(np.int8)


def _slots(shape: Shape, luck: NDArray[np.float64]) -> NDArray[np.int64]:
    if shape.distribution == "uniform":
        return (luck * shape.keys).astype(np.int64)
    weights = np.cumsum(1.0 / np.arange(1, shape.keys + 1))
    return np.minimum(np.searchsorted(weights / weights[-1], luck, side="right"), shape.keys - 1)


def _written_before(group: NDArray[np.int64], is_write: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which micro-operations come after a write of the same group."""
    order = np.argsort(group, kind="stable")
    writes: NDArray[np.int64] = np.cumsum(is_write[order]) - is_write[order]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    base: NDArray[np.int64] = np.repeat(writes[starts], np.diff(np.append(starts, len(group))))
    result = np.empty(len(group), dtype=np.bool_)
    result[order] = writes > base
    return result
