"""Small histories of register transactions in a notation of one line a session, and drawn ones.

`x=1` writes, `x?1` reads 1, `x?` reads that x is absent, `x=` deletes; ` | ` separates the transactions of a session.
A transaction that begins with `!` failed, one with `~` has an unknown outcome.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from results.transaction_columns import TransactionsBuilder
from results.transactions import Transactions


@dataclass(frozen=True)
class Transaction:
    """One transaction: its session, how it ended, and its micro-operations `(is_write, key, value)`."""

    session: int
    outcome: str
    steps: tuple[tuple[bool, str, int | None], ...]


def parsed(*sessions: str) -> list[Transaction]:
    """The transactions of sessions in the notation above, session by session."""
    found = []
    for number, session in enumerate(sessions):
        for text in session.split("|"):
            words = text.split()
            outcome = "ok"
            if words and words[0][0] in "!~":
                outcome = "fail" if words[0][0] == "!" else "info"
                words[0] = words[0][1:]
            steps = []
            for word in words:
                mark = "=" if "=" in word else "?"
                key, _, value = word.partition(mark)
                steps.append((mark == "=", key, int(value) if value else None))
            found.append(Transaction(number, outcome, tuple(steps)))
    return found


def columns(
    transactions: list[Transaction], *, intervals: list[tuple[int, int]] | None = None
) -> Transactions:
    """The columns of transactions. Without intervals they have no times, only sessions."""
    builder = TransactionsBuilder(of_registers=True, has_real_time=intervals is not None)
    asked = [
        [["w", key, value] if is_write else ["r", key, None] for is_write, key, value in one.steps]
        for one in transactions
    ]
    answered = [
        [["w", key, value] if is_write else ["r", key, value] for is_write, key, value in one.steps]
        for one in transactions
    ]
    if intervals is None:
        intervals = overlapping(transactions)
    order = sorted(range(len(transactions)), key=lambda number: intervals[number][0])
    for number in order:
        one = transactions[number]
        given = builder.invoke(one.session, intervals[number][0], asked[number])
        if one.outcome != "info":
            builder.complete(given, intervals[number][1], one.outcome, answered[number])
    return builder.done()


def overlapping(transactions: list[Transaction]) -> list[tuple[int, int]]:
    """When each begins and ends: the first of all sessions at once, then the second of all, and so on."""
    places: dict[int, int] = {}
    rounds = []
    for one in transactions:
        rounds.append(places.get(one.session, 0))
        places[one.session] = rounds[-1] + 1
    width = len(transactions)
    return [(2 * width * round_ + at, 2 * width * round_ + width + at) for at, round_ in enumerate(rounds)]


def history(*sessions: str) -> Transactions:
    """The columns of sessions in the notation above."""
    return columns(parsed(*sessions))


@st.composite
def drawn(draw: st.DrawFn, *, sessions: int = 3, most: int = 5, unique: bool = True) -> list[Transaction]:
    """Up to `most` transactions of up to three micro-operations on two or three keys, right or wrong.

    Reads see any value that is written somewhere to the key, or nil. With `unique`, no value is written twice.
    """
    keys = "xyz"[: draw(st.integers(2, 3))]
    fresh = {key: 0 for key in keys}
    shapes = []
    ended: set[int] = set()
    for _ in range(draw(st.integers(2, most))):
        session = draw(
            st.sampled_from([number for number in range(sessions) if number not in ended] or [sessions])
        )
        outcome = draw(st.sampled_from(["ok"] * 8 + ["info", "fail"]))
        if outcome == "info" or session == sessions:
            ended.add(session)
        steps = []
        for _ in range(draw(st.integers(1, 3))):
            key = draw(st.sampled_from(keys))
            if draw(st.booleans()):
                fresh[key] += 1
                value = fresh[key] if unique else draw(st.sampled_from([1, 2, 3, None]))
                steps.append((True, key, value))
            else:
                steps.append((False, key, None))
        shapes.append((session, outcome, steps))
    written = {key: [None] for key in keys}
    for _, _, steps in shapes:
        for is_write, key, value in steps:
            if is_write:
                written[key].append(value)
    transactions = []
    for session, outcome, steps in shapes:
        filled = []
        for is_write, key, value in steps:
            filled.append((is_write, key, value if is_write else draw(st.sampled_from(written[key]))))
        transactions.append(Transaction(session, outcome, tuple(filled)))
    return transactions
