"""A serial order that explains a history of registers: where one is found, the history is serializable."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.isolation import serial_kernel
from checkers.isolation.arrays import Arrays
from checkers.isolation.dependencies import Orders
from checkers.isolation.register_versions import DERIVED, RegisterVersions, register_versions
from results.transactions import FOREVER, READ, WRITE, Transactions

REAL_TIME: Final = "real time"
SESSIONS: Final = "sessions"
NOTHING: Final = "nothing"
"""What a serial order may have to agree with."""

ROUNDS: Final = 3
"""How often the times of transactions and the orders of versions are derived from one another."""
SWEEPS: Final = 3
STEPS: Final = 20
"""Steps that a transaction may take on average before the search is given up."""
FEW_STEPS: Final = 4
"""The same for a first try, with less known of the order of versions."""
MOST_READY: Final = 4096
EAGER_UP_TO: Final = 20_000
"""Transactions up to which it is worth it to look ahead."""
VARIANTS: Final = 2
"""Ways to choose whom to run first that are not drawn."""
MOST_LOOKS: Final = 30_000_000
"""Nodes and edges that are looked at to see ahead, at most."""
MOST_DEAD: Final = 1 << 20
"""States that led nowhere and are remembered, at most."""


def tightened(
    transactions: Transactions, orders: Orders, versions: RegisterVersions, kernel: Any = serial_kernel
) -> RegisterVersions:
    """The versions with more of their order: if a transaction must come before another, it is over before that one
    is, and begins earlier; which again says more about the order of versions. It holds for serial orders that agree
    with real time, and for nothing weaker."""
    arrays = Arrays(kernel)
    for _ in range(ROUNDS):
        dependencies = versions.dependencies
        further = dependencies.nodes - len(transactions)
        start = np.concatenate((transactions.start, np.full(further, -1, np.int64)))
        end = np.concatenate((transactions.end, np.full(further, FOREVER, np.int64)))
        given_start, given_end = arrays.given(start), arrays.given(end)
        moved = kernel.tighten(
            len(transactions),
            dependencies.nodes,
            arrays.given(dependencies.edge_first),
            arrays.given(dependencies.target),
            given_start,
            given_end,
            SWEEPS,
        )
        if not moved:
            break
        transactions = replace(
            transactions,
            start=arrays.taken(given_start, np.int64)[: len(transactions)],
            end=arrays.taken(given_end, np.int64)[: len(transactions)],
        )
        before = len(dependencies.target)
        versions = register_versions(transactions, orders, by_real_time=DERIVED)
        if len(versions.dependencies.target) == before:
            break
    return versions


def find_serial_order(
    versions: RegisterVersions,
    orders: Orders,
    *,
    agreeing_with: str,
    steps: int = STEPS,
    eager: bool = False,
    variant: int = 0,
    kernel: Any = serial_kernel,
) -> NDArray[np.int32] | None:
    """The committed transactions in an order in which every read sees the latest write; None if none was found,
    which proves nothing. `eager` is for histories in which many are concurrent; of those that may go on then, the
    first to be tried is by its end, by its start (`variant` 1), or drawn by the number of the variant."""
    transactions, dependencies = versions.transactions, versions.dependencies
    if versions.has_delete.any():
        return None  # Which of several absences was read is not known.
    arrays = Arrays(kernel)
    count, nodes, keys = len(transactions), dependencies.nodes, len(transactions.keys)
    completions = len(orders.by_end) if agreeing_with == REAL_TIME else 0
    is_committed = versions.is_committed
    # Sessions go on past what is not known to have committed: the next transaction of each that is.
    successor = np.empty(0, np.int32)
    if agreeing_with == SESSIONS:
        counted = np.argsort(orders.session, kind="stable")
        counted = counted[is_committed[counted]]
        successor = np.full(count, -1, np.int32)
        same = orders.session[counted[:-1]] == orders.session[counted[1:]]
        successor[counted[:-1][same]] = counted[1:][same]
    due = np.empty(count, np.int64)
    if variant >= VARIANTS:
        due[:] = np.random.default_rng(variant).permutation(count) * variant
    else:
        soonest = transactions.start if variant else transactions.end
        due[np.lexsort((np.arange(count), transactions.start, soonest))] = np.arange(count)
    owner = np.repeat(np.arange(count), np.diff(transactions.first))
    counted_step = is_committed[owner]
    reads = np.flatnonzero(counted_step & (transactions.kind == READ) & (versions.position >= -1))
    writes = np.flatnonzero(counted_step & (transactions.kind == WRITE))
    seen = versions.position[reads]
    readers = np.bincount(seen[seen >= 0], minlength=len(owner))[writes]
    unread = np.bincount(transactions.key[reads[seen == -1]], minlength=keys)
    counted_node = np.append(is_committed, np.ones(nodes - count, dtype=np.bool_))
    target = dependencies.target[np.repeat(counted_node, np.diff(dependencies.edge_first))]
    target = np.concatenate([target, successor[successor >= 0]])
    before = np.bincount(target, minlength=nodes)
    number = np.full(len(owner) + 1, -1, np.int32)
    number[writes] = np.arange(len(writes))
    order = arrays.zeros(nodes + 1, np.int32)
    done = kernel.run_all(
        count,
        nodes,
        arrays.given(dependencies.edge_first),
        arrays.given(dependencies.target),
        arrays.given(successor),
        arrays.given(orders.rank),
        arrays.given(orders.invoked_first),
        completions,
        arrays.given(is_committed.view(np.int8)),
        arrays.given(_starts(owner[reads], count)),
        arrays.given(transactions.key[reads]),
        arrays.given(_starts(owner[writes], count)),
        arrays.given(transactions.key[writes]),
        arrays.given(readers.astype(np.int32)),
        arrays.given(due),
        arrays.given(before.astype(np.int32)),
        arrays.given(unread.astype(np.int32)),
        arrays.zeros(nodes + 1, np.int32),
        arrays.zeros(nodes + 1, np.int32),
        arrays.zeros(nodes + 1, np.int32),
        arrays.zeros(nodes + 1, np.int32),
        arrays.zeros(nodes + 1, np.int32),
        arrays.zeros(nodes + 2, np.int64),
        arrays.zeros(nodes + 2, np.uint64),
        arrays.zeros(max(completions, 1), np.int8),
        order,
        arrays.zeros(min(MOST_DEAD, 1 << (64 * count + 64).bit_length()), np.uint64),
        steps * nodes + 10_000,
        MOST_READY,
        eager,
        arrays.given(number[seen]),
        arrays.zeros(keys, np.int32),
        arrays.zeros(keys, np.int32),
        arrays.zeros(nodes, np.int32),
        arrays.zeros(nodes, np.int32),
        MOST_LOOKS,
    )
    found = arrays.taken(order, np.int32)[:done]
    found = found[found < count]
    return found if len(found) == int(is_committed.sum()) else None


def _starts(owner: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Where each owner's entries begin; `owner` is sorted."""
    return np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=count))]).astype(np.int64)
