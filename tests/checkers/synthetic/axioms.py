"""Isolation levels by their axioms, by trying every order: an oracle for a handful of transactions.

Cerone, Bernardi, Gotsman, A Framework for Transactional Consistency Models with Atomic Visibility (2015): there are an
arbitration (a total order) and a visibility (a part of it) such that each transaction reads what follows from what it
sees. Levels differ in what visibility must contain.
"""

from itertools import chain, combinations, permutations

from results.transactions import FOREVER, READ, Transactions

LEVELS = (
    "read-atomic",
    "causal-cerone",
    "causal",
    "prefix",
    "parallel-snapshot-isolation",
    "snapshot-isolation",
    "strong-session-snapshot-isolation",
    "strong-snapshot-isolation",
    "serializable",
    "strong-session-serializable",
    "strict-serializable",
)
TRANSITIVE = {"causal", "causal-cerone", "parallel-snapshot-isolation"}
PREFIX = {level for level in LEVELS if level == "prefix" or "snapshot" in level} - {
    "parallel-snapshot-isolation"
}
ALL = {level for level in LEVELS if "serializable" in level}
NO_CONFLICT = {level for level in LEVELS if "snapshot" in level}
SESSIONS = {level for level in LEVELS if "strong-session" in level} | {"causal"}
REAL_TIME = {"strong-snapshot-isolation", "strict-serializable"}


def holds(transactions: Transactions, level: str) -> bool:
    """Whether a level holds; exponential in the number of transactions."""
    count = len(transactions)
    certain = [t for t in range(count) if transactions.outcome[t] == 1]
    crashed = [t for t in range(count) if transactions.outcome[t] == 3]
    subsets = chain.from_iterable(combinations(crashed, size) for size in range(len(crashed) + 1))
    return any(
        _explained(transactions, level, order)
        for happened in subsets
        for order in permutations(certain + list(happened))
    )


def _explained(transactions: Transactions, level: str, order: tuple[int, ...]) -> bool:
    choices = []
    for place, t in enumerate(order):
        must = {u for u in order if u != t and _must_be_seen(transactions, level, u, t)}
        before = order[:place]
        if not must <= set(before):
            return False
        if level in ALL:
            options = [frozenset(before)]
        elif level in PREFIX:
            options = [frozenset(before[:length]) for length in range(place + 1)]
        else:
            options = [
                frozenset(some)
                for some in chain.from_iterable(combinations(before, size) for size in range(place + 1))
            ]
        if level in NO_CONFLICT:
            must |= {u for u in before if _writes(transactions, u) & _writes(transactions, t)}
        options = [seen for seen in options if must <= seen and _reads_follow(transactions, order, t, seen)]
        if not options:
            return False
        choices.append(options)
    return level not in TRANSITIVE or _transitive(order, choices)


def _transitive(order, choices) -> bool:
    def extend(place, chosen):
        if place == len(order):
            return True
        for seen in choices[place]:
            if all(chosen[u] <= seen for u in seen) and extend(place + 1, {**chosen, order[place]: seen}):
                return True
        return False

    return extend(0, {})


def _must_be_seen(transactions, level, u, t) -> bool:
    after = transactions.end[u] != FOREVER and transactions.end[u] < transactions.start[t]
    same = transactions.process[u] == transactions.process[t]
    return bool(after and ((level in SESSIONS and same) or level in REAL_TIME))


def _steps(transactions, t):
    return range(int(transactions.first[t]), int(transactions.first[t + 1]))


def _writes(transactions, t):
    return {int(transactions.key[m]) for m in _steps(transactions, t) if transactions.kind[m] != READ}


def _reads_follow(transactions, order, t, seen) -> bool:
    state: dict[int, list[int]] = {}
    for u in order:
        if u in seen:
            for m in _steps(transactions, u):
                if transactions.kind[m] != READ:
                    state.setdefault(int(transactions.key[m]), []).append(int(transactions.value[m]))
    for m in _steps(transactions, t):
        key = int(transactions.key[m])
        if transactions.kind[m] != READ:
            state.setdefault(key, []).append(int(transactions.value[m]))
        elif transactions.known[m]:
            first, end = transactions.element_first[m : m + 2]
            value = state.get(key, [])
            if transactions.of_registers:
                value = value[-1:]
            if transactions.elements[first:end].tolist() != value:
                return False
    return True
