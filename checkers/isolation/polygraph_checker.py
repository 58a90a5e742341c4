"""Snapshot isolation and serializability of registers whose writes are unique, with no order of versions known.

That is NP-complete (Papadimitriou 1979; Biswas and Enea 2019), so what is quick comes first, and most histories never
need more:

1. reads that no level allows, lost updates, cycles of what is certain: invalid;
2. the versions in the order that the transactions suggest: if that makes no cycle, valid;
3. orders that follow, round by round (`pruning`): invalid, or nothing is left, or 2. again;
4. a SAT solver chooses the rest (`sat`).

Where every transaction reads what it overwrites no order is open, and 2. decides, in O(m log m) for m
micro-operations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from checkers.checker import Deadline, Limits
from checkers.isolation.budget import OutOfBudgetError
from checkers.isolation.orders import is_acyclic, make_order, sort_by_rank, sort_topologically
from checkers.isolation.polygraph import LEVELS, Edges, Level, Polygraph, join, make_polygraph
from checkers.isolation.polygraph_words import Refutation, tell_lost_update
from checkers.isolation.predicates import without_scans
from checkers.isolation.pruning import Reachability, all_choices, prune
from checkers.isolation.read_anomalies import find_read_anomalies
from checkers.isolation.reads_from import ReadsFrom, find_reads_from
from checkers.isolation.sat import search
from checkers.isolation.versions import find_versions
from checkers.isolation.weak_levels import explain_happened_before
from checkers.words import count
from results.transactions import FOREVER, Transactions
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOST_TOLD: Final = 8
"""Lost updates that are told."""
CHOICE_BYTES: Final = 120
"""What one choice takes in memory while it is looked at, about, with its edges."""


def check_polygraph(
    transactions: Transactions, level: str, limits: Limits, *, sessions: bool | None = None
) -> Verdict:
    """Judges whether transactions of registers satisfy a level, one of `polygraph.LEVELS`.

    With `sessions` their order counts at levels that do not ask for it, too; None: where transactions have no times,
    as then it does at the weak levels (see `weak_levels`), and what violates these must violate the stronger ones.
    Unknown, with the reason and the way out, if a limit was reached, if the SAT solver is needed and not installed, or
    if a read may have seen several writes and nothing else is wrong.
    """
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no level that is judged here (levels: {', '.join(LEVELS)})")
    asked = LEVELS[level]
    if sessions or (sessions is None and not transactions.has_real_time):
        asked = replace(asked, sessions=True)
    details: dict[str, Any] = {
        "isolation": level,
        "transactions": len(transactions),
        "micro_operations": transactions.micro_operations,
    }
    try:
        items = without_scans(transactions, phantoms=asked.phantoms, memory_mb=limits.memory_mb)
        found = find_reads_from(items.transactions, items.range)
        details |= {"committed": int(found.committed.sum()), "ambiguous_reads": found.ambiguous}
        anomalies = _anomalies(found, asked, limits, details)
    except OutOfBudgetError as reached:
        return Verdict(UNKNOWN, level, f"{level} could not be decided: {reached}", details=details)
    if anomalies:
        others = f" (and {len(anomalies) - 1} more)" if len(anomalies) > 1 else ""
        return Verdict(INVALID, level, f"not {level}: {anomalies[0].sentence}{others}", anomalies, details)
    if found.ambiguous:
        sentence = (
            f"{level} could not be decided: {count(found.ambiguous, 'read')} may have seen any of several writes, "
            "and nothing is wrong with the rest; histories in which no value is written twice to a key, and no key "
            "deleted, can be decided"
        )
        return Verdict(UNKNOWN, level, sentence, details=details)
    sentence = f"{level}: an order of {count(details['committed'], 'transaction')} explains every read"
    return Verdict(VALID, level, sentence, details=details)


def _anomalies(found: ReadsFrom, level: Level, limits: Limits, details: dict[str, Any]) -> list[Anomaly]:
    """What is wrong; nothing if there is an order. The details say how far the search had to go."""
    deadline = limits.deadline()
    details["decided_by"] = "reads"
    anomalies = find_read_anomalies(found, unrepeatable=True)
    if anomalies:
        return anomalies
    anomalies = explain_happened_before(found, sessions=level.sessions)
    if anomalies:
        return anomalies
    versions = find_versions(found)
    graph = make_polygraph(found, versions, level)
    if len(versions.updates_lost):
        return [
            tell_lost_update(graph, int(one), int(other)) for one, other in versions.updates_lost[:LOST_TOLD]
        ]
    details["chains"] = len(versions.heads)
    details["decided_by"] = "certain edges"
    if not is_acyclic(graph.nodes, graph.known.source, graph.known.target):
        refutation = Refutation(graph)
        refutation.add_cycle()
        return [refutation.anomaly()]
    details["decided_by"] = "suggested order"
    if _suggested(graph, graph.known, details) is None:
        return []
    return _decide(graph, limits, deadline, details)


def _decide(graph: Polygraph, limits: Limits, deadline: Deadline, details: dict[str, Any]) -> list[Anomaly]:
    memory = limits.memory_mb * 1_000_000
    needed = Reachability.size_bytes(graph.nodes, graph.helpers)
    if needed > memory // 2:
        raise OutOfBudgetError(
            f"the order of versions that the transactions suggest does not fit, and to look for others takes "
            f"{needed // 1_000_000} MB for {graph.nodes} nodes, more than half of the {limits.memory_mb} MB allowed; "
            "allow more, or check shorter histories"
        )
    choices = all_choices(graph, (memory - needed) * 3 // 4 // CHOICE_BYTES)
    details["choices"] = len(choices)
    details["decided_by"] = "pruning"
    pruned = prune(graph, choices, deadline)
    details["open_choices"] = len(pruned.open)
    if pruned.refuted is not None or pruned.reach is None:
        refutation = Refutation(graph, pruned)
        if pruned.refuted is None:
            refutation.add_cycle()
        else:
            one, other = pruned.refuted
            refutation.add_impossible(one, other)
            refutation.add_impossible(other, one)
        return [refutation.anomaly()]
    if not len(pruned.open):
        return []
    rank = _suggested(graph, pruned.edges, details)
    if rank is None:
        return []
    details["decided_by"] = "SAT solver"
    result = search(graph, pruned, rank, deadline, limits.memory_mb)
    details["rounds_of_solver"] = result.rounds
    if result.chosen is not None:
        return []
    refutation = Refutation(graph, pruned)
    for cycle in result.refuting:
        supposed = [
            (int(pruned.open.one[literal - 1]), int(pruned.open.other[literal - 1]))
            if literal > 0
            else (int(pruned.open.other[-literal - 1]), int(pruned.open.one[-literal - 1]))
            for literal in cycle.literals
        ]
        refutation.add_excluded(supposed, result.edges, cycle.edges)
    return [refutation.anomaly()]


def _suggested(graph: Polygraph, edges: Edges, details: dict[str, Any]) -> NDArray[np.int64] | None:
    """None if the versions fit in the order that the transactions suggest by when they completed, as far as the edges
    allow; else the place of each node in that order."""
    rank = np.zeros(graph.nodes, dtype=np.int64)
    transactions = graph.found.transactions
    end = np.where(transactions.end == FOREVER, transactions.start, transactions.end)
    every = np.arange(len(transactions), dtype=np.int32)
    rank[graph.reading(every)] = transactions.start if graph.level.is_snapshot else end
    rank[graph.writing(every)] = end
    order = sort_by_rank(make_order(graph.nodes, edges.source, edges.target), rank)
    place = np.empty(graph.nodes, dtype=np.int64)
    place[order] = np.arange(graph.nodes)
    versions = graph.versions
    heads = versions.heads[
        np.lexsort((place[graph.writing(versions.owner[versions.heads])], versions.key[versions.heads]))
    ]
    same = np.flatnonzero(versions.key[heads[1:]] == versions.key[heads[:-1]])
    ordered, _ = graph.following(versions.tail[heads[same]], heads[same + 1])
    whole = join([edges, ordered])
    graph_of_all = make_order(graph.nodes, whole.source, whole.target)
    fits = len(sort_topologically(graph_of_all)) == graph.nodes
    return None if fits else place
