"""Appends that nobody observed: they come after all that was observed, in an order that nobody knows.

Where transactions can be put in one order, it is theirs, too. Levels that allow some cycles and forbid others depend on
it: a history is right if it is so with these appends in some order, of which one is tried, that in which their
transactions were over.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from checkers.isolation.dependencies import WW, Dependencies, sorted_dependencies
from checkers.isolation.list_versions import ListVersions
from results.history import TYPE_CODES
from results.operation import FAIL, OK
from results.transactions import APPEND

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
UNOBSERVED: Final = -1
"""In `ListVersions.position`."""


def with_unobserved_in_order(versions: ListVersions) -> Dependencies | None:
    """The dependencies if appends that nobody observed were made in the order in which their transactions were over;
    None if no key has several."""
    transactions = versions.transactions
    is_append = transactions.kind == APPEND
    committed = transactions.outcome == TYPE_CODES[OK]
    committed[versions.owner[is_append & (versions.position >= 0)]] = True
    committed &= transactions.outcome != TYPE_CODES[FAIL]
    unobserved = np.flatnonzero(is_append & (versions.position == UNOBSERVED) & committed[versions.owner])
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
