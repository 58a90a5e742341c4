"""Commit timestamps of the database, and what they say of lists: the order of appends that nobody observed.

What was observed has its order from the reads. A database that is right about when it committed must agree with it:
an element stands in a list after those that were committed before it, and none that was committed before another is
missing where that one was read. Where it does not, that is told (`contradictions`), since either the list or the
timestamps are wrong. Appends that nobody observed come after all that was, and among themselves in the order of their
commits, wherever every transaction that made one to the key has a timestamp of its own. Without timestamps nothing here
changes anything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from checkers.isolation.dependencies import WW, sorted_dependencies
from checkers.isolation.list_versions import Finding, ListVersions
from results.history import TYPE_CODES
from results.operation import FAIL, OK
from results.transactions import APPEND

if TYPE_CHECKING:
    from numpy.typing import NDArray

BY_COMMITS: Final = -1
"""In `Finding.third`: the order is incompatible with commit timestamps, not with another read."""
UNOBSERVED: Final = -1
"""In `ListVersions.position`."""


def committed(versions: ListVersions) -> NDArray[np.bool_]:
    """[n] the transactions that are known to have committed: those that are ok, and those of which something was
    observed."""
    transactions = versions.transactions
    known: NDArray[np.bool_] = transactions.outcome == TYPE_CODES[OK]
    known[versions.owner[(transactions.kind == APPEND) & (versions.position >= 0)]] = True
    known &= transactions.outcome != TYPE_CODES[FAIL]
    return known


def with_commit_order(versions: ListVersions) -> ListVersions:
    """The versions with what commit timestamps say, if there are any: contradictions among the findings, and appends
    that nobody observed in the order, as if a read had shown them.

    Nothing else must be wrong by itself with what was read, else the versions are answered as they are.
    """
    transactions = versions.transactions
    if transactions.committed_at is None or versions.findings:
        return versions
    at = np.where(transactions.outcome == TYPE_CODES[OK], transactions.committed_at, -1)
    unobserved = np.flatnonzero(
        (transactions.kind == APPEND)
        & (versions.position == UNOBSERVED)
        & committed(versions)[versions.owner]
    )
    wrong = contradictions(versions, at, unobserved)
    if wrong:
        return replace(versions, findings=wrong)
    return _extended(versions, at, unobserved)


def contradictions(
    versions: ListVersions, at: NDArray[np.int64], unobserved: NDArray[np.int64]
) -> list[Finding]:
    """Where lists and timestamps disagree: an append (`first`) that stands after another (`second`) in what was read,
    or that is missing where the other was read, though it was committed earlier."""
    order_key = np.repeat(np.arange(len(versions.order_first) - 1), np.diff(versions.order_first))
    timed = np.flatnonzero(
        versions.order[: len(order_key)] >= 0
    )  # What is behind is room that was not needed.
    timed = timed[at[versions.owner[versions.order[timed]]] >= 0]
    appends, key = versions.order[timed], order_key[timed]
    when = at[versions.owner[appends]]
    falls = np.flatnonzero((key[1:] == key[:-1]) & (when[1:] < when[:-1]))
    found = [
        Finding("incompatible-order", int(appends[place + 1]), int(appends[place]), BY_COMMITS)
        for place in falls
    ]
    last = np.full(len(versions.order_first) - 1, -1, np.int64)
    last[key] = np.arange(len(key))  # Of each key the last one stays; with nothing found it is the latest.
    if not found:
        mine = versions.transactions.key[unobserved]
        earlier = (last[mine] >= 0) & (at[versions.owner[unobserved]] >= 0)
        earlier[earlier] = at[versions.owner[unobserved[earlier]]] < when[last[mine[earlier]]]
        found = [
            Finding("incompatible-order", int(one), int(appends[last[key_]]), BY_COMMITS)
            for one, key_ in zip(unobserved[earlier], mine[earlier], strict=True)
        ]
    return found


def _extended(versions: ListVersions, at: NDArray[np.int64], unobserved: NDArray[np.int64]) -> ListVersions:
    """The order of each key goes on with its appends that nobody observed, where all are timed and none ties."""
    transactions, owner = versions.transactions, versions.owner
    keys = len(versions.order_first) - 1
    key = transactions.key[unobserved]
    by_time = np.lexsort((unobserved, owner[unobserved], at[owner[unobserved]], key))
    appends, key = unobserved[by_time], key[by_time]
    who, when = owner[appends], at[owner[appends]]
    same = key[1:] == key[:-1]
    ties = same & (when[1:] == when[:-1]) & (who[1:] != who[:-1])
    open_ = np.zeros(keys, np.bool_)
    open_[key[when < 0]] = True
    open_[key[1:][ties]] = True
    known = ~open_[key]
    appends, key, who = appends[known], key[known], who[known]
    if not len(appends):
        return versions
    more = np.bincount(key, minlength=keys)
    lengths = np.diff(versions.order_first)
    order_first = np.concatenate([[0], np.cumsum(lengths + more)]).astype(np.int64)
    order = np.empty(int(order_first[-1]), np.int32)
    old = np.arange(int(versions.order_first[-1]))
    moved = np.repeat(order_first[:-1] - versions.order_first[:-1], lengths)
    order[old + moved] = versions.order[: len(old)]
    starts = np.concatenate([[0], np.cumsum(more)])
    place = np.arange(len(key)) - starts[key] + lengths[key]
    order[order_first[key] + place] = appends
    position = versions.position.copy()
    position[appends] = place
    follows = np.flatnonzero((key[1:] == key[:-1]) & (who[1:] != who[:-1]))
    known_edges = versions.dependencies
    source = np.repeat(np.arange(known_edges.nodes, dtype=np.int32), np.diff(known_edges.edge_first))
    dependencies = sorted_dependencies(
        known_edges.nodes,
        np.concatenate([source, who[follows]]).astype(np.int32),
        np.concatenate([known_edges.target, who[follows + 1]]).astype(np.int32),
        np.concatenate([known_edges.kind, np.full(len(follows), WW, np.int8)]).astype(np.int8),
        np.concatenate([known_edges.via, appends[follows + 1]]).astype(np.int32),
    )
    return replace(
        versions,
        position=position,
        order_first=order_first,
        order=order,
        dependencies=dependencies,
        by_commits=appends,
    )
