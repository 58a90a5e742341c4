"""Small histories written as text, and the brute force that says what is right about them.

A line holds transactions that overlap, divided by `|`; lines follow one another. A micro-operation is a letter for
what is done, one for the key, and digits: `ax1` appends 1 to x, `rx12` reads [1, 2] from it, `rx` nothing; on
registers, `wx1` writes 1 and `rx1` reads it. In front, `0:` says which process runs it, otherwise each has one of its
own; then `!` that it failed, `?` that nobody knows how it ended.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from checkers.isolation.dependencies import FREE
from results.history import History, HistoryBuilder


def play(text: str) -> History:
    """The history that a text describes."""
    builder = HistoryBuilder()
    registers = any(word.startswith("w") for word in text.split())
    fresh = itertools.count(100)
    for line in text.strip().splitlines():
        endings = []
        for one in filter(None, map(str.strip, line.split("|"))):
            words = one.split()
            process = int(words.pop(0)[:-1]) if words[0].endswith(":") else next(fresh)
            ending = words.pop(0) if words[0] in "!?" else ""
            asked, answered = [], []
            for word in words:
                numbers = [int(digit) for digit in word[2:]]
                if word[0] == "r":
                    asked.append(["r", word[1], None])
                    answered.append(["r", word[1], (numbers or [None])[0] if registers else numbers])
                else:
                    f = {"a": "append", "w": "w"}[word[0]]
                    asked.append([f, word[1], numbers[0]])
                    answered.append(asked[-1])
            builder.invoke(process, "txn", asked)
            endings.append((process, ending, answered))
        for process, ending, answered in endings:
            if ending == "!":
                builder.fail(process)
            elif ending == "?":
                builder.info(process)
            else:
                builder.ok(process, answered)
    return builder.done()


def _apply(state, micro_operations, check) -> dict | None:
    """The state after a transaction; None if it would have read something else."""
    state = dict(state)
    for f, key, value in micro_operations:
        if f == "append":
            state[key] = (*state.get(key, ()), value)
        elif f == "w":
            state[key] = value
        elif check:
            seen = state.get(key)
            if (list(seen or ()) if isinstance(value, list) else seen) != value:
                return None
    return state


def _choices(history: History) -> Iterator[list]:
    """The transactions that may have been committed: those that are ok, and any of those whose end is unknown."""
    ok = [pair for pair in history.pairs() if pair.type == "ok"]
    open_ = [pair for pair in history.pairs() if pair.type == "info"]
    for count in range(len(open_) + 1):
        for chosen in itertools.combinations(open_, count):
            yield [*ok, *chosen]


def _precedes(one, other) -> bool:
    return one.type == "ok" and one.completion.index < other.invocation.index


def is_serializable(history: History, *, strict: bool = False, sessions: bool = False) -> bool:
    """Whether some serial order explains all reads; with `strict` one that agrees with real time."""
    for pairs in _choices(history):
        for order in itertools.permutations(pairs):
            before = list(itertools.combinations(order, 2))
            if strict and any(_precedes(second, first) for first, second in before):
                continue
            if sessions and any(
                _precedes(second, first) and first.process == second.process for first, second in before
            ):
                continue
            state: dict | None = {}
            for pair in order:
                state = _apply(state, pair.value, pair.type == "ok")
                if state is None:
                    break
            if state is not None:
                return True
    return False


def sees_consistently(history: History, level: str) -> bool:
    """Prefix consistency, parallel snapshot isolation, both without sessions, or causal consistency, by their axioms:
    some relation of who sees whom, and some order of commits that contains it, explain every read. The versions of a
    list are in the order of commits, and who reads one after appending to it reads the version that was made then."""
    return any(
        _is_seen_from(order, level, [])
        for pairs in _choices(history)
        for order in itertools.permutations(pairs)
    )


def _is_seen_from(order, level: str, chosen: list[frozenset[int]]) -> bool:
    """Whether all transactions of this order of commits can see what they read; `chosen` is what the first ones see.

    What is seen is a prefix of the order; or all that those see which are seen, with all before that wrote the same
    key (parallel snapshot isolation), or all before in the session (causal).
    """
    place = len(chosen)
    if place == len(order):
        return True
    pair = order[place]
    if level == "causal" and any(
        one.process == pair.process and _precedes(pair, one) for one in order[:place]
    ):
        return False
    everything: dict | None = {}
    for one in order[:place]:
        everything = _apply(everything, one.value, False)
    if _apply(everything, _of_own_versions(pair.value), pair.type == "ok") is None:
        return False
    writes = [{key for f, key, _ in one.value if f != "r"} for one in order[: place + 1]]
    must = {
        number
        for number, one in enumerate(order[:place])
        if (level == "parallel-snapshot-isolation" and writes[number] & writes[place])
        or (level == "causal" and one.process == pair.process)
    }
    prefix = level == "prefix"
    for size in range(place + 1):
        for seen in [range(size)] if prefix else map(frozenset, itertools.combinations(range(place), size)):
            if not prefix and not (must <= seen and all(chosen[one] <= seen for one in seen)):
                continue
            state: dict | None = {}
            for one in sorted(seen):
                state = _apply(state, order[one].value, False)
            if _apply(state, pair.value, pair.type == "ok") is None:
                continue
            if _is_seen_from(order, level, [*chosen, frozenset(seen)]):
                return True
            if prefix:
                return False  # What the next ones see does not depend on it.
    return False


def _of_own_versions(steps) -> list:
    """The writes of a transaction, and its reads of what it has written."""
    written = set()
    kept = []
    for f, key, value in steps:
        if f != "r":
            written.add(key)
        if key in written:
            kept.append([f, key, value])
    return kept


def is_snapshot_isolated(history: History) -> bool:
    """Whether snapshots and commits can be ordered so that each transaction reads its snapshot, and no two that
    overlap write the same key."""
    return any(_snapshots(pairs, {}, {}, frozenset()) for pairs in _choices(history))


def _snapshots(pairs, state, open_, done) -> bool:
    """`open_` holds, of each transaction that began, its snapshot and the keys written by others since."""
    if len(done) == len(pairs):
        return True
    for place, pair in enumerate(pairs):
        if place in done:
            continue
        if place not in open_:
            if _snapshots(pairs, state, {**open_, place: (state, frozenset())}, done):
                return True
            continue
        snapshot, touched = open_[place]
        writes = {key for f, key, _ in pair.value if f != "r"}
        if touched & writes or _apply(snapshot, pair.value, pair.type == "ok") is None:
            continue
        after = _apply(state, pair.value, False)
        rest = {other: (seen, keys | writes) for other, (seen, keys) in open_.items() if other != place}
        if _snapshots(pairs, after, rest, done | {place}):
            return True
    return False


def direct_dependencies(versions) -> set[tuple[int, int, int]]:
    """Who depends on whom, and by which kind of edge, through the further nodes of a graph; each edge has its proof."""
    graph, n = versions.dependencies, len(versions.transactions)
    edges = list(zip(graph.target.tolist(), graph.kind.tolist(), graph.via.tolist(), strict=True))
    leaving = [edges[begin:end] for begin, end in itertools.pairwise(graph.edge_first.tolist())]
    assert len(leaving) == graph.nodes
    found = set()
    for source in range(n):
        for target, kind, via in leaving[source]:
            reached, seen = [target], set()
            assert versions.owner[via] == (target if target < n else source)
            while reached:
                node = reached.pop()
                if node < n:
                    found.add((source, node, kind))
                elif node not in seen:
                    seen.add(node)
                    assert all(one[1] == FREE for one in leaving[node])
                    assert all(versions.owner[via] == one for one, _, via in leaving[node] if one < n)
                    reached += [one[0] for one in leaving[node]]
    return found


def reachable(edges, size: int):
    """[size, size] whether there is a way from each node to each, by at least one edge."""
    ways = np.zeros((size, size), np.float32)
    for source, target in edges:
        ways[source, target] = 1
    while True:
        further = np.minimum(ways + ways @ ways, 1)
        if np.array_equal(further, ways):
            return ways > 0
        ways = further
