"""The versions of lists as reads show them, and what they show to be wrong without any cycle.

A read of a list tells the whole order of the appends before it. So the longest read of a key is the order of its
versions, as far as anybody saw them, and every other read must be a prefix of it (Kingsbury and Alvaro, Elle, 2020,
section 4). What was appended, by a committed transaction, and never seen comes after all that was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.isolation import append_kernel, dependencies_kernel
from checkers.isolation.arrays import Arrays
from checkers.isolation.dependencies import Dependencies, sorted_dependencies
from checkers.isolation.grouping import group
from results.transactions import Transactions

FINDINGS: Final = (
    "duplicate-appends",
    "garbage-read",
    "duplicate-elements",
    "incompatible-order",
    "G1a",
    "dirty-update",
    "G1b",
    "future-read",
    "lost-update",
    "internal",
    "incompatible-order",
)
"""The names of findings, by the codes of the kernel."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong by itself.

    | name | first | second |
    |---|---|---|
    | duplicate-appends | append | an earlier append of the same value |
    | garbage-read, duplicate-elements | read | number of the value |
    | incompatible-order | read | the longest read |
    | incompatible-order | append | the longest read, which saw the third, a later append of the same, before it |
    | incompatible-order | append | an earlier one by reads, committed later; third: -1 (see `commit_order`) |
    | G1a, G1b, future-read | read | append that it saw |
    | dirty-update | failed append | committed append that follows it |
    | lost-update | append of who updated first | append of another that had read the same; third: length |
    | internal | read | what the same transaction did with the key before |
    """

    name: str
    first: int
    second: int
    third: int = 0


@dataclass(frozen=True)
class ListVersions:
    """What the reads of a history say; see `append_kernel`."""

    transactions: Transactions
    owner: NDArray[np.int32]
    """[m] the transaction of each micro-operation."""
    position: NDArray[np.int32]
    """[m] of an append, its place in the order of its key; of a read, how many elements of that order it saw. See the
    kernel for negative numbers."""
    order_first: NDArray[np.int64]
    """[keys + 1] first entry of each key's order."""
    order: NDArray[np.int32]
    """The appends that a key's longest read saw, in order; -1 for an element without an append of its own."""
    findings: Sequence[Finding]
    dependencies: Dependencies
    by_commits: NDArray[np.int64] | None = None
    """Appends that nobody observed, and that the order holds by their commit timestamps (see `commit_order`)."""


def list_versions(
    transactions: Transactions, kernel: Any = append_kernel, edging: Any = dependencies_kernel
) -> ListVersions:
    """Finds the versions of all lists, what is wrong with them, and the dependencies between transactions."""
    arrays = Arrays(kernel)
    count, micro_operations, keys = len(transactions), transactions.micro_operations, len(transactions.keys)
    values = len(transactions.values)
    lengths = np.diff(transactions.element_first)
    longest_read = int(lengths.max(initial=0))
    first = arrays.given(transactions.first)
    outcome = arrays.given(transactions.outcome)
    kind = arrays.given(transactions.kind)
    key = arrays.given(transactions.key)
    value = arrays.given(transactions.value)
    known = arrays.given(transactions.known.view(np.int8))
    element_first = arrays.given(transactions.element_first)
    elements = arrays.given(transactions.elements)
    raw = b"" if arrays.compiled else transactions.elements.tobytes()

    grouping = group(transactions, arrays)
    owner, key_first, by_key = grouping.owner, grouping.key_first, grouping.by_key
    found: list[tuple[int, int, int, int]] = []
    last_of_key = arrays.zeros(keys, np.int32, -1)
    previous = arrays.zeros(micro_operations, np.int32)
    kernel.internal_reads(
        outcome, first, kind, key, value, known, element_first, elements, last_of_key, previous, found
    )
    stamp = arrays.zeros(values, np.int32, -1)
    slot = arrays.zeros(values, np.int32)
    position = arrays.zeros(micro_operations, np.int32)
    longest = arrays.zeros(keys, np.int32)
    order_first = arrays.zeros(keys + 1, np.int64)
    order = arrays.room(len(transactions.elements), np.int32)
    is_observed = arrays.zeros(count, np.int8)
    is_spoilt = arrays.zeros(keys, np.int8)
    kernel.observe(
        keys,
        key_first,
        by_key,
        owner,
        outcome,
        kind,
        key,
        value,
        known,
        element_first,
        elements,
        raw,
        stamp,
        slot,
        arrays.zeros(values, np.int32, -1),
        arrays.zeros(longest_read + 1, np.int32, -1),
        position,
        longest,
        order_first,
        order,
        is_observed,
        arrays.zeros(micro_operations, np.int8),
        is_spoilt,
        found,
    )
    edges = edging.Edges()
    nodes = edging.list_dependencies(
        count,
        keys,
        key_first,
        by_key,
        owner,
        outcome,
        kind,
        known,
        element_first,
        elements,
        value,
        stamp,
        slot,
        position,
        longest,
        order_first,
        order,
        is_observed,
        is_spoilt,
        arrays.zeros(longest_read + 1, np.int32),
        arrays.zeros(grouping.most, np.int32),
        arrays.zeros(grouping.most, np.int32),
        edges,
    )
    return ListVersions(
        transactions=transactions,
        owner=arrays.taken(owner, np.int32),
        position=arrays.taken(position, np.int32),
        order_first=arrays.taken(order_first, np.int64),
        order=arrays.taken(order, np.int32),
        findings=[Finding(FINDINGS[code], *rest) for code, *rest in found],
        dependencies=sorted_dependencies(nodes, *edges.found()),
    )
