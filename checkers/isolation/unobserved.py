"""Appends that nobody observed: they come after all that was observed, in an order that nobody knows.

Where transactions can be put in one order, it is theirs, too. Levels that allow some cycles and forbid others depend on
it. Snapshot isolation is then decided by polygraphs: of registers, where an append that was observed reads the element
before it and overwrites it, so that those make one chain, and an append that nobody observed is a blind write. For
the levels that are about what happened before what, one order is tried, that in which the transactions were over, and
then all (`append_orders`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from checkers.isolation.commit_order import UNOBSERVED, committed
from checkers.isolation.dependencies import WW, Dependencies, sorted_dependencies
from checkers.isolation.list_versions import ListVersions
from results.history import TYPE_CODES
from results.operation import FAIL, INFO, OK
from results.transaction_columns import TransactionsBuilder
from results.transactions import APPEND, FOREVER, READ, Transactions

ALLOWING_CYCLES: Final = frozenset(
    {
        "consistent-view",
        "parallel-snapshot-isolation",
        "snapshot-isolation",
        "strong-session-snapshot-isolation",
        "strong-snapshot-isolation",
    }
)
"""Levels that depend on the order of writes, and allow some cycles of dependencies."""


def in_order_of_ends(versions: ListVersions) -> Dependencies | None:
    """The dependencies if these appends were made in the order in which their transactions were over; None if no two
    transactions that are known to have committed made any to one key."""
    transactions = versions.transactions
    is_append = transactions.kind == APPEND
    unobserved = np.flatnonzero(
        is_append & (versions.position == UNOBSERVED) & committed(versions)[versions.owner]
    )
    owner = versions.owner[unobserved]
    order = np.lexsort((transactions.start[owner], transactions.end[owner], transactions.key[unobserved]))
    unobserved, owner = unobserved[order], owner[order]
    key = transactions.key[unobserved]
    follows = np.flatnonzero((key[1:] == key[:-1]) & (owner[1:] != owner[:-1]))
    if not len(follows):
        return None
    known = versions.dependencies
    source = np.repeat(np.arange(known.nodes, dtype=np.int32), np.diff(known.edge_first))
    return sorted_dependencies(
        known.nodes,
        np.concatenate([source, owner[follows]]).astype(np.int32),
        np.concatenate([known.target, owner[follows + 1]]).astype(np.int32),
        np.concatenate([known.kind, np.full(len(follows), WW, np.int8)]).astype(np.int8),
        np.concatenate([known.via, unobserved[follows + 1]]).astype(np.int32),
    )


def as_registers(versions: ListVersions) -> Transactions:
    """The transactions as ones on registers, which hold the last element of each list. Nothing must be wrong by itself
    with what was read."""
    lists = versions.transactions
    builder = TransactionsBuilder(of_registers=True, has_real_time=lists.has_real_time)
    happened = committed(versions)
    for number in range(len(lists)):
        outcome = int(lists.outcome[number])
        steps: list[list[Any]] = []
        written: set[int] = set()
        for one in range(int(lists.first[number]), int(lists.first[number + 1])):
            key = int(lists.key[one])
            if lists.kind[one] == READ:
                if key not in written and lists.known[one] and outcome == TYPE_CODES[OK]:
                    first, end = int(lists.element_first[one]), int(lists.element_first[one + 1])
                    seen = lists.values[int(lists.elements[end - 1])] if end > first else None
                    steps.append(["r", lists.keys[key], seen])
            else:
                place = int(versions.position[one])
                if key not in written and place >= 0:
                    before = int(versions.order[int(versions.order_first[key]) + place - 1]) if place else -1
                    steps.append(
                        ["r", lists.keys[key], lists.values[int(lists.value[before])] if place else None]
                    )
                written.add(key)
                steps.append(["w", lists.keys[key], lists.values[int(lists.value[one])]])
        asked = [[f, key, None if f == "r" else value] for f, key, value in steps]
        given = builder.invoke(int(lists.process[number]), int(lists.start[number]), asked)
        ended = int(lists.end[number])
        if outcome == TYPE_CODES[FAIL]:
            builder.complete(given, ended, FAIL, asked)
        elif happened[number]:
            builder.complete(given, ended if ended < FOREVER else int(lists.start[number]) + 1, OK, steps)
    registers = builder.done()
    # Crashed transactions of which something was observed have committed; nobody knows when.
    return replace(registers, end=np.where(lists.outcome == TYPE_CODES[INFO], FOREVER, registers.end))
