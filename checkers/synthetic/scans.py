"""Scans in generated histories: planned as a read of each key in the range, and put together when the store has run.

So a scan sees what a read of each of its keys would see at its moment, absent keys included, and a store that keeps a
level for items keeps it for predicates as well. A store that keeps repeatable read and no more overlooks some of the
keys: nothing that was answered is wrong, but the scan is a phantom's victim (Adya, Liskov and O'Neil, 2000).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from checkers.synthetic.draws import Draws
from checkers.synthetic.plan import Plan, Shape
from results.transactions import NIL, READ, SCAN, Transactions

if TYPE_CHECKING:
    from numpy.typing import NDArray

OVERLOOKED: Final = 0.25
"""Share of the keys found that a store overlooks, where it does."""


@dataclass(frozen=True)
class Scans:
    """Where the scans are among the micro-operations of a plan; s scans."""

    scan_of: NDArray[np.int64]
    """[m] the scan that each planned micro-operation belongs to; -1: none, it is one itself."""
    start: NDArray[np.int64]
    """[s] the first key of each."""
    end: NDArray[np.int64]
    """[s] the key after its last."""


def with_scans(
    planned: Plan, shape: Shape, draws: Draws, *, reads_own_writes: bool
) -> tuple[Plan, Scans | None]:
    """The plan with some of its reads made scans, as the shape asks for; the plan itself if it asks for none.

    A scan is of `scan_keys` keys from that of the read on: some of them in use, some not yet. Without
    `reads_own_writes`, only reads before the first write of their transaction become scans.
    """
    if shape.scan_share == 0:
        return planned, None
    reads = planned.kind == READ
    is_scan = reads & (draws.uniform(len(reads)) < shape.scan_share)
    if not reads_own_writes:
        sizes = np.diff(planned.first)
        writes: NDArray[np.int64] = np.cumsum(~reads) - ~reads
        before = writes - np.repeat(writes[planned.first[:-1]], sizes)
        is_scan &= before == 0
    start = planned.key[is_scan].astype(np.int64)
    end = np.minimum(start + shape.scan_keys, planned.keys)
    sizes = np.ones(len(reads), dtype=np.int64)
    sizes[is_scan] = end - start
    old = np.repeat(np.arange(len(reads)), sizes)
    scan_of = np.where(is_scan, np.cumsum(is_scan) - 1, -1)[old]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    inside = np.arange(len(old)) - starts[old]
    larger = replace(
        planned,
        first=starts[planned.first].astype(np.int64),
        kind=planned.kind[old],
        key=(planned.key[old] + inside).astype(np.int32),
        value=planned.value[old],
    )
    return larger, Scans(scan_of, start, end)


def put_together(transactions: Transactions, scans: Scans, overlooking: Draws | None) -> Transactions:
    """The transactions of such a plan with the reads of each scan as one micro-operation; with draws, some of the keys
    found are left out."""
    sizes = np.diff(transactions.element_first)
    is_part = scans.scan_of >= 0
    if overlooking is not None:
        out = is_part & (overlooking.uniform(len(is_part)) < OVERLOOKED)
        sizes = np.where(out, 0, sizes)
    begins = is_part & (np.diff(scans.scan_of, prepend=-1) != 0)
    kept = np.flatnonzero(~is_part | begins)
    scan = scans.scan_of[kept]
    parts = np.where(is_part, 2 * sizes, sizes)
    ends = np.concatenate([[0], np.cumsum(parts)])
    element_first = np.append(ends[kept], ends[-1])
    elements = np.empty(int(ends[-1]), dtype=np.int32)
    alone = np.flatnonzero(~is_part & (sizes > 0))
    elements[ends[alone]] = transactions.elements[transactions.element_first[alone]]
    found = np.flatnonzero(is_part & (sizes > 0))
    elements[ends[found]] = transactions.key[found]
    elements[ends[found] + 1] = transactions.elements[transactions.element_first[found]]
    ranges = sorted(set(zip(scans.start.tolist(), scans.end.tolist(), strict=True)))
    number = {bounds: place for place, bounds in enumerate(ranges)}
    range_of = np.array(
        [number[bounds] for bounds in zip(scans.start.tolist(), scans.end.tolist(), strict=True)], np.int32
    )
    key = transactions.key[kept].copy()
    key[scan >= 0] = range_of[scan[scan >= 0]]
    return replace(
        transactions,
        first=np.searchsorted(kept, transactions.first).astype(np.int64),
        kind=np.where(scan >= 0, SCAN, transactions.kind[kept]).astype(np.int8),
        key=key,
        value=np.where(scan >= 0, NIL, transactions.value[kept]).astype(np.int32),
        known=transactions.known[kept],
        element_first=element_first.astype(np.int64),
        elements=elements,
        ranges=ranges,
    )
