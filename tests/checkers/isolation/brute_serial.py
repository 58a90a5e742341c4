"""Serializability and snapshot isolation by running the transactions in every order: slow, and plain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations, permutations

from tests.checkers.isolation.registers import Transaction

Intervals = list[tuple[int, int]]


def satisfies(transactions: list[Transaction], level: str, intervals: Intervals | None = None) -> bool:
    """Whether some of the transactions of unknown outcome and all that are ok can have run in some order."""
    ok = [number for number, one in enumerate(transactions) if one.outcome == "ok"]
    unknown = [number for number, one in enumerate(transactions) if one.outcome == "info"]
    chosen = chain.from_iterable(combinations(unknown, size) for size in range(len(unknown) + 1))
    return any(_fits(transactions, sorted([*ok, *some]), level, intervals) for some in chosen)


def _fits(
    transactions: list[Transaction], committed: list[int], level: str, intervals: Intervals | None
) -> bool:
    before = set()
    for a in committed:
        for b in committed:
            in_session = a < b and transactions[a].session == transactions[b].session
            if level.startswith("strong-session") and in_session:
                before.add((a, b))
            if level in ("strict-serializable", "strong-snapshot-isolation"):
                assert intervals is not None
                ended = intervals[a][1] if transactions[a].outcome == "ok" else 1 << 60
                if in_session or ended < intervals[b][0]:
                    before.add((a, b))
    if level.endswith("snapshot-isolation"):
        return any(_runs_on_snapshots(transactions, order) for order in _event_orders(committed, before))
    for order in permutations(committed):
        place = {number: at for at, number in enumerate(order)}
        if all(place[a] < place[b] for a, b in before) and _runs(transactions, order):
            return True
    return False


def _answers(one: Transaction, state: dict[str, int | None]) -> bool:
    """Runs a transaction on a state, which it changes; whether it reads what was read."""
    for is_write, key, value in one.steps:
        if is_write:
            state[key] = value
        elif one.outcome == "ok" and state.get(key) != value:
            return False
    return True


def _runs(transactions: list[Transaction], order: tuple[int, ...]) -> bool:
    state: dict[str, int | None] = {}
    return all(_answers(transactions[number], state) for number in order)


def _event_orders(committed: list[int], before: set[tuple[int, int]]) -> Iterator[list[tuple[int, bool]]]:
    """All orders of begins `(number, False)` and commits `(number, True)`."""

    def extend(
        order: list[tuple[int, bool]], begun: set[int], done: set[int]
    ) -> Iterator[list[tuple[int, bool]]]:
        if len(done) == len(committed):
            yield order
            return
        for number in committed:
            if number not in begun and all(a in done for a, b in before if b == number):
                yield from extend([*order, (number, False)], begun | {number}, done)
            elif number in begun and number not in done:
                yield from extend([*order, (number, True)], begun, done | {number})

    yield from extend([], set(), set())


def _runs_on_snapshots(transactions: list[Transaction], order: list[tuple[int, bool]]) -> bool:
    state: dict[str, int | None] = {}
    changed_at: dict[str, int] = {}
    begun_at: dict[int, int] = {}
    for at, (number, is_commit) in enumerate(order):
        one = transactions[number]
        if not is_commit:
            begun_at[number] = at
            if not _answers(one, dict(state)):
                return False
            continue
        for is_write, key, value in one.steps:
            if is_write:
                if begun_at[number] < changed_at.get(key, -1) < at:
                    return False
                state[key] = value
        for is_write, key, _ in one.steps:
            if is_write:
                changed_at[key] = at
    return True
