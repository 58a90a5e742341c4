"""The versions of registers, what reads show to be wrong without any cycle, and the dependencies that follow.

A value is written to a key once, so each read names the write that it saw. In what order the writes were made, a
history of registers says only in part (see `dependencies_kernel.register_dependencies`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.isolation import dependencies_kernel, register_kernel
from checkers.isolation.arrays import Arrays
from checkers.isolation.dependencies import Dependencies, Orders, sorted_dependencies
from checkers.isolation.grouping import group
from checkers.isolation.list_versions import Finding
from results.transactions import READ, WRITE, Transactions

FINDINGS: Final = (
    "duplicate-writes",
    "unwritten-value",
    "G1a",
    "dirty-update",
    "G1b",
    "future-read",
    "lost-update",
    "internal",
)
"""The names of findings, by the codes of the kernel. They are as those of lists, with writes for appends; the third of
a lost update is the write that both had read, -1 for the initial state."""

IGNORED: Final = 0
DERIVED: Final = 1
CERTAIN: Final = 2
"""What the order of sessions, or real time, says about the versions of a key: nothing; what must be so if the history
is as demanded; what was promised to be so."""


ABSENT: Final = -1
"""In `RegisterVersions.position`: the read saw that the register is absent."""


@dataclass(frozen=True)
class RegisterVersions:
    """What the reads of a history say; see `register_kernel`."""

    transactions: Transactions
    owner: NDArray[np.int32]
    """[m] the transaction of each micro-operation."""
    position: NDArray[np.int32]
    """[m] of a read, the write that it saw; see the kernel for negative numbers."""
    findings: Sequence[Finding]
    is_committed: NDArray[np.bool_]
    """[n] whether the transaction is known to have committed, or something of it was observed."""
    is_unwritten: NDArray[np.bool_]
    """[m] of reads, whether nobody wrote what they saw."""
    open_keys: NDArray[np.bool_]
    """[keys] whether the order of the key's versions is not known completely."""
    has_delete: NDArray[np.bool_]
    """[keys] whether somebody wrote that the register is absent, so that an absent one need not be in its initial
    state."""
    dependencies: Dependencies
    is_initial_known: bool = False
    """Whether it was said what registers hold at first, and no read can have seen anything else that nobody wrote."""


def register_versions(
    transactions: Transactions,
    orders: Orders,
    *,
    by_session: int = IGNORED,
    by_real_time: int = IGNORED,
    kernel: Any = register_kernel,
    edging: Any = dependencies_kernel,
) -> RegisterVersions:
    """Finds the versions of all registers, what is wrong with them, and the dependencies between transactions."""
    arrays = Arrays(kernel)
    count, micro_operations, keys = len(transactions), transactions.micro_operations, len(transactions.keys)
    values = len(transactions.values)
    first = arrays.given(transactions.first)
    outcome = arrays.given(transactions.outcome)
    kind = arrays.given(transactions.kind)
    key = arrays.given(transactions.key)
    value = arrays.given(transactions.value)
    known = arrays.given(transactions.known.view(np.int8))
    element_first = arrays.given(transactions.element_first)
    elements = arrays.given(transactions.elements)

    grouping = group(transactions, arrays)
    owner, key_first, by_key = grouping.owner, grouping.key_first, grouping.by_key
    found: list[tuple[int, int, int, int]] = []
    kernel.internal_reads(
        outcome,
        first,
        kind,
        key,
        value,
        known,
        element_first,
        elements,
        arrays.zeros(keys, np.int32, -1),
        found,
    )
    position = arrays.zeros(micro_operations, np.int32)
    is_observed = arrays.zeros(count, np.int8)
    is_intermediate = arrays.zeros(micro_operations, np.int8)
    is_spoilt = arrays.zeros(keys, np.int8)
    has_delete = arrays.zeros(keys, np.int8)
    kernel.observe(
        keys,
        key_first,
        by_key,
        owner,
        outcome,
        kind,
        value,
        known,
        element_first,
        elements,
        arrays.zeros(values, np.int32, -1),
        arrays.zeros(values, np.int32),
        arrays.zeros(micro_operations, np.int32, -1),
        position,
        is_observed,
        is_intermediate,
        is_spoilt,
        has_delete,
        found,
    )
    most = grouping.most + 2  # Every write is a version, and there is the initial one.
    scratch: dict[str, Any] = {
        "version_of": arrays.zeros(micro_operations, np.int32),
        "last_key": arrays.zeros(orders.sessions, np.int32, -1),
        "last_version": arrays.zeros(orders.sessions, np.int32),
    }
    for name in (
        "write", "parent", "reader_head", "reader_tail", "reader_next", "child_head", "child_tail", "child_next",
        "order", "spare", "latest", "runner_up", "pair_before", "pair_after", "readers", "writes",
    ):  # fmt: skip
        scratch[name] = arrays.zeros(most, np.int32)
    for name in ("known_at", "used_at"):
        scratch[name] = arrays.zeros(most, np.int64)
    committed_at = _distinct(transactions.committed_at)
    edges = edging.Edges()
    is_open = arrays.zeros(keys, np.int8)
    nodes = edging.register_dependencies(
        count,
        keys,
        key_first,
        by_key,
        owner,
        outcome,
        kind,
        known,
        position,
        is_observed,
        is_intermediate,
        is_spoilt,
        has_delete,
        arrays.given(transactions.start),
        arrays.given(transactions.end),
        arrays.given(orders.session),
        arrays.given(np.empty(0, np.int64) if committed_at is None else committed_at),
        by_session,
        by_real_time,
        scratch,
        is_open,
        edges,
    )
    is_unwritten = np.zeros(micro_operations, np.bool_)
    is_unwritten[[one[1] for one in found if FINDINGS[one[0]] == "unwritten-value"]] = True
    observed = arrays.taken(is_observed, np.int8).astype(np.bool_)
    return RegisterVersions(
        transactions=transactions,
        owner=arrays.taken(owner, np.int32),
        position=arrays.taken(position, np.int32),
        findings=[Finding(FINDINGS[code], *rest) for code, *rest in found],
        is_committed=(transactions.outcome == 1) | (observed & (transactions.outcome != 2)),
        is_unwritten=is_unwritten,
        open_keys=arrays.taken(is_open, np.int8).astype(np.bool_),
        has_delete=arrays.taken(has_delete, np.int8).astype(np.bool_),
        dependencies=sorted_dependencies(nodes, *edges.found()),
    )


def keys_with_garbage(versions: RegisterVersions) -> NDArray[np.bool_]:
    """[keys] of which different things were read that nobody wrote: only one of them can have been there before the
    history began. Absence is one of them, unless the key was deleted. Where the initial value is known, any other
    is garbage."""
    transactions = versions.transactions
    if versions.is_initial_known:
        return np.ones(len(transactions.keys), dtype=np.bool_)
    lowest = np.full(len(transactions.keys), np.iinfo(np.int32).max, dtype=np.int32)
    highest = np.full(len(transactions.keys), ABSENT, dtype=np.int32)
    unwritten = np.flatnonzero(versions.is_unwritten)
    key = transactions.key[unwritten]
    seen = transactions.elements[transactions.element_first[unwritten]]
    np.minimum.at(lowest, key, seen)
    np.maximum.at(highest, key, seen)
    absent = (transactions.kind == READ) & (versions.position == ABSENT)
    key = transactions.key[absent]
    lowest[key[~versions.has_delete[key]]] = ABSENT
    garbage: NDArray[np.bool_] = lowest < highest
    return garbage


def holds_only_registers(transactions: Transactions) -> bool:
    """Whether all micro-operations are reads and writes of registers."""
    return bool(((transactions.kind == 0) | (transactions.kind == WRITE)).all())


def _distinct(committed_at: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """Commit timestamps that say which of two came first: of those that several transactions have, none is left."""
    if committed_at is None:
        return None
    _, number, how_many = np.unique(committed_at, return_inverse=True, return_counts=True)
    return np.where(how_many[number] > 1, -1, committed_at)
