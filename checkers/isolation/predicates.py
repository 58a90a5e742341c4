"""Predicate reads: a scan of a range of keys, taken as a read of each key that the history knows of in the range.

A scan answers the keys that exist in its range and their values. Each of these is a read of an item. That it did not
answer a key says as much: it read that key as absent, and whoever writes the key later comes after it (a predicate
anti-dependency; Adya, Liskov and O'Neil, 2000). An insert that a scan overlooked is a *phantom*. Serializability and
snapshot isolation forbid them, repeatable read and the weaker levels allow them: there only what was answered counts.

A key lies in a range from `lo`, included, to `hi`, excluded, if it can be compared with both; None as a bound is none.
An answer with a key that does not, or with one twice, is wrong at every level, and is told before anything is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from checkers.isolation.budget import OutOfBudgetError
from checkers.isolation.naming import Names, show_key
from checkers.linearizability.models import show
from results.transactions import NIL, READ, SCAN, Transactions
from results.verdict import Anomaly

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTSIDE: Final = "scan-outside-range"
TWICE: Final = "scan-repeats-key"
TOLD: Final = 8
"""Impossible answers that are told."""
BYTES: Final = 80
"""What one read takes in memory until it is judged, about."""


@dataclass(frozen=True)
class Items:
    """Transactions without scans, and where the reads come from that stand for scans."""

    transactions: Transactions
    range: NDArray[np.int32]
    """[m] of each micro-operation, the number of the range whose scan it stands for; -1 if it is one itself."""


def has_scans(transactions: Transactions) -> bool:
    return bool((transactions.kind == SCAN).any())


def impossible_answers(transactions: Transactions) -> list[Anomaly]:
    """The scans that answered a key outside of their range, or one twice; at most `TOLD` of them."""
    found: list[Anomaly] = []
    for scan in np.flatnonzero((transactions.kind == SCAN) & transactions.known).tolist():
        bounds = transactions.ranges[transactions.key[scan]]
        seen: set[int] = set()
        for key in _answer(transactions, scan)[0].tolist():
            outside = not _lies_in(transactions.keys[key], bounds)
            if outside or key in seen:
                found.append(_told(transactions, scan, key, OUTSIDE if outside else TWICE))
                break
            seen.add(key)
        if len(found) == TOLD:
            break
    return found


def _told(transactions: Transactions, scan: int, key: int, kind: str) -> Anomaly:
    names = Names(transactions)
    transaction = int(np.searchsorted(transactions.first, scan, side="right")) - 1
    low, high = (show(bound) for bound in transactions.ranges[transactions.key[scan]])
    what = "which does not lie there" if kind == OUTSIDE else "which is one row, twice"
    sentence = (
        f"{names(transaction)} scanned [{low}, {high}) and was answered {show_key(transactions, key)}, {what}"
    )
    return Anomaly(kind, sentence, transactions.events(transaction), key=transactions.keys[key])


def without_scans(transactions: Transactions, *, phantoms: bool, memory_mb: int) -> Items:
    """The transactions with each scan as reads of single keys; with `phantoms`, of keys that it did not answer, too.

    Raises OutOfBudgetError if these are more reads than the memory allows.
    """
    none = np.full(transactions.micro_operations, -1, dtype=np.int32)
    if not has_scans(transactions):
        return Items(transactions, none)
    inside = [_keys_in(bounds, transactions.keys) for bounds in transactions.ranges]
    scans = np.flatnonzero(transactions.kind == SCAN)
    answers = {int(scan): _answer(transactions, int(scan)) for scan in scans}
    sizes = np.ones(transactions.micro_operations, dtype=np.int64)
    missing: dict[int, NDArray[np.int32]] = {}
    most = memory_mb * 1_000_000 // BYTES
    total = 0
    for scan in answers:
        absent = np.empty(0, dtype=np.int32)
        if phantoms and transactions.known[scan]:
            absent = np.setdiff1d(inside[transactions.key[scan]], answers[scan][0]).astype(np.int32)
        missing[scan] = absent
        sizes[scan] = len(answers[scan][0]) + len(absent)
        total += int(sizes[scan])
        if total > most:
            raise OutOfBudgetError(
                f"scans over many keys stand for more than {most} reads, which is what the {memory_mb} MB allowed can "
                "hold; allow more, or scan smaller ranges"
            )
    return _laid_out(transactions, sizes, answers, missing)


def _keys_in(bounds: tuple[Any, Any], keys: Sequence[Any]) -> NDArray[np.int32]:
    return np.array([number for number, key in enumerate(keys) if _lies_in(key, bounds)], dtype=np.int32)


def _lies_in(key: Any, bounds: tuple[Any, Any]) -> bool:
    low, high = bounds
    try:
        return bool((low is None or low <= key) and (high is None or key < high))
    except TypeError:
        return False  # A number and a string, say: neither is before the other.


def _answer(transactions: Transactions, scan: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The keys that a scan answered, and their values."""
    begin, end = transactions.element_first[scan], transactions.element_first[scan + 1]
    answer = transactions.elements[begin:end]
    return answer[::2], answer[1::2]


def _laid_out(
    transactions: Transactions,
    sizes: NDArray[np.int64],
    answers: dict[int, tuple[NDArray[np.int32], NDArray[np.int32]]],
    missing: dict[int, NDArray[np.int32]],
) -> Items:
    starts = np.concatenate([[0], np.cumsum(sizes)])
    count = int(starts[-1])
    was_scan = transactions.kind == SCAN
    old = np.repeat(np.arange(len(sizes)), sizes)
    is_new = was_scan[old]
    kind = np.where(is_new, READ, transactions.kind[old]).astype(np.int8)
    key = transactions.key[old]
    value = np.where(is_new, NIL, transactions.value[old]).astype(np.int32)
    range_ = np.where(is_new, key, -1).astype(np.int32)
    elements_of = np.diff(transactions.element_first)[old]
    elements_of[is_new] = 0
    for scan, (seen, _) in answers.items():
        begin = starts[scan]
        key[begin : begin + len(seen)] = seen
        key[begin + len(seen) : starts[scan + 1]] = missing[scan]
        elements_of[begin : begin + len(seen)] = 1
    element_first = np.concatenate([[0], np.cumsum(elements_of)]).astype(np.int64)
    elements = np.empty(int(element_first[-1]), dtype=np.int32)
    kept = np.repeat(~was_scan, np.diff(transactions.element_first))
    target = np.repeat(~is_new, elements_of)
    elements[target] = transactions.elements[kept]
    for scan, (seen, values) in answers.items():
        begin = element_first[starts[scan]]
        elements[begin : begin + len(seen)] = values
    items = replace(
        transactions,
        first=starts[transactions.first].astype(np.int64),
        kind=kind,
        key=key.astype(np.int32),
        value=value,
        known=transactions.known[old],
        element_first=element_first,
        elements=elements,
    )
    assert items.micro_operations == count, (
        f"{items.micro_operations} micro-operations were laid out as {count}"
    )
    return Items(items, range_)
