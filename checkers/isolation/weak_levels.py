"""Read committed, read atomic and causal consistency of registers whose writes are unique.

A history satisfies one of these levels if there is a total commit order that contains the order of each session and
follows what was read, and in which a read of x sees the last write of x among those that its transaction must have
seen. What it must have seen is what the level decides (Biswas and Enea, OOPSLA 2019):

- read committed: the transactions that it read from earlier;
- read atomic: those, and the ones before it in its session and those that it reads from anywhere;
- causal: whatever happened before it, by sessions and reads, in any number of steps.

Each says of some pairs of transactions which must commit first, and the history satisfies the level if and only if
these, the sessions and the reads make no cycle. Only pairs from which the others follow are looked at, as AWDIT
(PLDI 2025) does, which is optimal: O(n^1.5), O(n^1.5) and O(n k) for n micro-operations in k sessions (here with a
binary search in the writes of a transaction where AWDIT has a hash table).

Sessions are processes; real time plays no part. That sessions count at every level is a convention of those who define
it so. Where transactions have times, only causal consistency has sessions here: a serializable store that shows a
session old states would not be read atomic otherwise (see `lattice`). Read committed as defined here is stronger than
Adya's PL-2: a transaction must not see what is older than what it has seen (G-monotonic).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from checkers.checker import Deadline, Limits
from checkers.isolation import weak_kernel
from checkers.isolation.budget import OutOfBudgetError
from checkers.isolation.orders import find_cycles, make_order, sort_topologically
from checkers.isolation.predicates import without_scans
from checkers.isolation.read_anomalies import find_read_anomalies
from checkers.isolation.reads_from import ReadsFrom, find_reads_from
from checkers.isolation.weak_words import Edges, Explainer
from checkers.words import allowance, count
from results.transactions import Transactions
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

READ_COMMITTED: Final = "read-committed"
READ_ATOMIC: Final = "read-atomic"
CAUSAL: Final = "causal"
LEVELS: Final = (READ_COMMITTED, READ_ATOMIC, CAUSAL)
"""The levels of this page, the weakest first."""

EXPLAINED: Final = 8
"""Cycles that are explained; each belongs to another strongly connected component."""
EDGE_BYTES: Final = 120
"""What one demanded edge takes in memory, about: a tuple of three numbers, its place in a list, then in columns."""

MOST_HEARD: Final = 16_000_000
"""How many numbers of transactions heard of are held at a time, one a transaction and session; about."""
LEAST_WIDTH: Final = 8
"""Sessions that are looked at together at least."""
AT_ONCE: Final = 10_000_000
"""Steps between two looks at the clock, about: a transaction's readers take one for each session looked at."""

TYPES: Final = {
    READ_COMMITTED: "G-monotonic",
    READ_ATOMIC: "fractured-read",
    CAUSAL: "causality-violation",
}
"""What a cycle with demanded edges is called (see `lattice`)."""


def check_weak(
    transactions: Transactions, level: str, limits: Limits, *, sessions: bool | None = None
) -> Verdict:
    """Judges whether transactions of registers satisfy a level, one of `LEVELS`.

    `sessions` says whether the order of sessions counts; None: at causal, and where transactions have no times.
    Invalid comes with the smallest patterns found, at most a few of each kind; unknown if a read may have seen
    several writes and nothing else is wrong, or if a limit was reached.
    """
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no level that is judged here (levels: {', '.join(LEVELS)})")
    deadline = limits.deadline()
    try:
        items = without_scans(transactions, phantoms=False, memory_mb=limits.memory_mb)
    except OutOfBudgetError as reached:
        return Verdict(UNKNOWN, level, f"{level} could not be decided: {reached}")
    found = find_reads_from(items.transactions, items.range)
    if sessions is None:
        sessions = level == CAUSAL or not transactions.has_real_time
    if not sessions:
        alone = np.arange(len(found.sessions) + 1, dtype=np.int64)
        found = replace(found, session_first=alone)  # Every transaction in a session of its own.
    anomalies = find_read_anomalies(found, unrepeatable=level != READ_COMMITTED)
    details: dict[str, Any] = {
        "isolation": level,
        "transactions": len(transactions),
        "committed": int(found.committed.sum()),
        "micro_operations": transactions.micro_operations,
        "sessions": len(found.session_first) - 1 if sessions else None,
        "ambiguous_reads": found.ambiguous,
    }
    if not anomalies:
        try:
            edges = happened_before(found)
            anomalies = _cycles(found, edges, level)
            if not anomalies:
                edges = _with_demanded(found, edges, level, limits, deadline)
                details["demanded"] = len(edges.source) - edges.demanded_from
                anomalies = _cycles(found, edges, level)
        except OutOfBudgetError as reached:
            return Verdict(UNKNOWN, level, f"{level} could not be decided: {reached}", details=details)
    return _verdict(found, level, anomalies, details)


def _verdict(found: ReadsFrom, level: str, anomalies: list[Anomaly], details: dict[str, Any]) -> Verdict:
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
    where = f" in {count(details['sessions'], 'session')}" if details["sessions"] is not None else ""
    committed = count(details["committed"], "transaction")
    sentence = f"{level}: {committed}{where} have a commit order that explains every read"
    return Verdict(VALID, level, sentence, details=details)


def explain_happened_before(found: ReadsFrom, *, sessions: bool) -> list[Anomaly]:
    """What is wrong if transactions happened before themselves, by reads alone or with the order of sessions."""
    return _cycles(found, happened_before(found, sessions=sessions), READ_COMMITTED)


def happened_before(found: ReadsFrom, *, sessions: bool = True) -> Edges:
    """The order of the sessions, if that counts, and each transaction that was read before its readers."""
    members, first = found.sessions, found.session_first
    follows = np.full(max(0, len(members) - 1), sessions, dtype=np.bool_)
    follows[first[1:-1] - 1] = False
    reader = np.repeat(np.arange(found.initial, dtype=np.int32), np.diff(found.read_first))
    reads = np.flatnonzero(found.read_source != found.initial)
    source = np.concatenate([members[:-1][follows], found.read_source[reads]])
    target = np.concatenate([members[1:][follows], reader[reads]])
    read = np.concatenate([np.full(int(follows.sum()), -1, dtype=np.int64), reads])
    return Edges(source, target, read, len(source))


def _with_demanded(found: ReadsFrom, edges: Edges, level: str, limits: Limits, deadline: Deadline) -> Edges:
    """The edges, and those that the level demands."""
    if level == READ_COMMITTED:
        demanded = _read_committed(found)
    elif level == READ_ATOMIC:
        demanded = _read_atomic(found)
    else:
        demanded = _causal(found, edges, limits, deadline)
    return Edges(
        np.concatenate([edges.source, demanded[:, 0].astype(np.int32)]),
        np.concatenate([edges.target, demanded[:, 1].astype(np.int32)]),
        np.concatenate([edges.read, demanded[:, 2]]),
        edges.demanded_from,
    )


def _columns(demanded: list[tuple[int, int, int]]) -> NDArray[np.int64]:
    return np.array(demanded, dtype=np.int64).reshape(-1, 3)


def _read_committed(found: ReadsFrom) -> NDArray[np.int64]:
    keys = max(1, len(found.transactions.keys))
    return _columns(
        weak_kernel.saturate_read_committed(
            found.sessions,
            found.initial,
            found.read_first,
            found.read_key,
            found.read_source,
            found.write_first,
            found.write_key,
            np.full(keys, -1, dtype=np.int64),
            np.full(keys, -1, dtype=np.int64),
            np.full(keys, -1, dtype=np.int32),
            np.full(found.initial + 1, -1, dtype=np.int64),
            np.empty(keys, dtype=np.int32),
        )
    )


def _read_atomic(found: ReadsFrom) -> NDArray[np.int64]:
    keys = max(1, len(found.transactions.keys))
    return _columns(
        weak_kernel.saturate_read_atomic(
            found.sessions,
            found.session_first,
            found.initial,
            found.read_first,
            found.read_key,
            found.read_source,
            found.write_first,
            found.write_key,
            np.full(keys, -1, dtype=np.int32),
            np.full(keys, -1, dtype=np.int32),
            np.full(keys, -1, dtype=np.int64),
            np.full(keys, -1, dtype=np.int32),
            np.full(found.initial + 1, -1, dtype=np.int32),
        )
    )


def _causal(found: ReadsFrom, edges: Edges, limits: Limits, deadline: Deadline) -> NDArray[np.int64]:
    sessions = len(found.session_first) - 1
    order = sort_topologically(make_order(found.initial, edges.source, edges.target))
    order = order[found.committed[order]]
    session = np.zeros(found.initial + 1, dtype=np.int32)
    place = np.zeros(found.initial + 1, dtype=np.int32)
    sizes = np.diff(found.session_first)
    session[found.sessions] = np.repeat(np.arange(sessions, dtype=np.int32), sizes)
    place[found.sessions] = np.arange(len(found.sessions)) - np.repeat(found.session_first[:-1], sizes)
    keys = len(found.transactions.keys)
    source_first = np.zeros(found.initial + 3, dtype=np.int64)
    reads = np.empty(len(found.read_source), dtype=np.int64)
    reader = np.empty(len(found.read_source), dtype=np.int32)
    weak_kernel.group_reads(found.sessions, found.read_first, found.read_source, source_first, reads, reader)
    previous = np.full(len(reads), -1, dtype=np.int32)
    previous_source = np.full(len(reads), -1, dtype=np.int32)
    weak_kernel.find_previous(
        found.sessions,
        found.session_first,
        found.read_first,
        found.read_key,
        found.read_source,
        found.write_first,
        found.write_key,
        np.full(max(1, keys), -1, dtype=np.int32),
        np.full(max(1, keys), -1, dtype=np.int32),
        previous,
        previous_source,
    )
    sources = np.append(order, np.int32(found.initial))
    readers_until = np.cumsum(source_first[sources + 1] - source_first[sources] + 1)
    width = max(1, min(sessions, max(LEAST_WIDTH, MOST_HEARD // (found.initial + 1))))
    heard = np.empty((found.initial + 1) * width, dtype=np.int32)
    demanded = np.full(width, -1, dtype=np.int32)
    demanded_by = np.empty(width, dtype=np.int64)
    parts = []
    held = 0
    for begin in range(0, sessions, width):
        width = min(width, sessions - begin)
        members = found.sessions[found.session_first[begin] : found.session_first[begin + width]]
        writes = int((found.write_first[members + 1] - found.write_first[members]).sum())
        key_first = np.zeros(keys + 2, dtype=np.int64)
        writer = np.empty(writes, dtype=np.int32)
        group_first = np.empty(writes + 1, dtype=np.int64)
        groups = weak_kernel.group_writes(
            members, session, found.write_first, found.write_key, key_first, writer, group_first
        )
        cursor = group_first[:groups].copy()
        weak_kernel.hear(
            found.sessions,
            found.session_first,
            found.initial,
            order,
            place,
            session,
            found.read_first,
            found.read_source,
            begin,
            width,
            heard,
        )
        first = 0
        while first < len(sources):
            done = int(readers_until[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(readers_until, done + AT_ONCE // width)))
            if deadline.expired():
                raise OutOfBudgetError(
                    f"the time allowed ({allowance(limits.time_s)}) ran out after {begin} of {sessions} sessions; "
                    "allow more"
                )
            part = weak_kernel.saturate_causal(
                sources[first:last],
                found.initial,
                session,
                place,
                begin,
                width,
                heard,
                source_first,
                reads,
                reader,
                found.read_key,
                previous,
                previous_source,
                key_first,
                group_first,
                writer,
                cursor,
                demanded,
                demanded_by,
            )
            first = last
            parts.append(_columns(part))
            held += len(part)
            if held * EDGE_BYTES > limits.memory_mb * 1_000_000:
                raise OutOfBudgetError(
                    f"the commit order that is demanded needs more than the {limits.memory_mb} MB allowed; allow more"
                )
    return np.concatenate(parts) if parts else _columns([])


def _cycles(found: ReadsFrom, edges: Edges, level: str) -> list[Anomaly]:
    """The anomalies that the edges prove: reads of the initial state that came too late, or cycles."""
    late = np.flatnonzero(edges.target == found.initial)
    if len(late):
        explainer = Explainer(found, edges)
        return [explainer.late(int(edge), TYPES[level]) for edge in late[:EXPLAINED]]
    graph = make_order(found.initial, edges.source, edges.target)
    if len(sort_topologically(graph)) == found.initial:
        return []
    explainer = Explainer(found, edges)
    return [explainer.cycle(cycle, TYPES[level]) for cycle in find_cycles(graph, EXPLAINED)]
