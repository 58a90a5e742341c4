"""Transactions and micro-operations in the words of anomalies."""

from __future__ import annotations

from collections.abc import Iterable

from checkers.isolation.reads_from import ReadsFrom
from checkers.linearizability.models import show
from results.transactions import NIL, Transactions


class Names:
    """Calls the transactions of one sentence T1, T2, ... as they come up; the first time it says who they are."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._names: dict[int, str] = {}

    def __call__(self, transaction: int) -> str:
        known = self._names.get(transaction)
        if known is not None:
            return known
        name = self._names[transaction] = f"T{len(self._names) + 1}"
        events = " and ".join(str(event) for event in sorted(set(self._transactions.events(transaction))))
        which = "events" if " " in events else "event"
        return f"{name} (process {self._transactions.process[transaction]}, {which} {events})"

    @property
    def mentioned(self) -> list[int]:
        """The transactions that came up, in that order."""
        return list(self._names)

    def table(self) -> dict[str, list[int]]:
        """The names, each with its transaction's events."""
        return {name: self._transactions.events(number) for number, name in self._names.items()}


def events_of_all(transactions: Transactions, which: Iterable[int]) -> list[int]:
    """Indexes of the events of several transactions, in order."""
    return sorted({event for transaction in which for event in transactions.events(transaction)})


def show_value(transactions: Transactions, value: int) -> str:
    """A value by its number; `NIL` is the absence of one."""
    found = transactions.absent if value == NIL else transactions.values[value]
    return "nil" if found is None else show(found)


def show_key(transactions: Transactions, key: int) -> str:
    return show(transactions.keys[key])


def show_seen(found: ReadsFrom, read: int) -> str:
    """What a read saw: `read x = 1`, `scanned [a, c) and found b = 1`, `scanned [a, c) without finding b`."""
    transactions = found.transactions
    key = show_key(transactions, int(transactions.key[read]))
    value = int(found.roles.value[read])
    range_ = int(found.roles.range[read])
    if range_ < 0:
        return f"read {key} = {show_value(transactions, value)}"
    low, high = transactions.ranges[range_]
    scanned = f"scanned [{show(low)}, {show(high)})"
    if value == NIL:
        return f"{scanned} without finding {key}"
    return f"{scanned} and found {key} = {show_value(transactions, value)}"
