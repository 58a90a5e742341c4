"""Evidence in words and as data: transactions named T1, T2, ... and spelt out, and what each cycle says.

As data, an anomaly's evidence has `transactions` (name, process, events, type, micro-operations) and, for cycles,
`cycle`: edges (source, target, kind, key, value, events, reason), each leading from one transaction to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from checkers.isolation.cycles import Cycle
from checkers.isolation.dependencies import KINDS, PROCESS
from results.history import TYPE_CODES
from results.transactions import FOREVER, Transactions

_TYPES: Final = {code: name for name, code in TYPE_CODES.items()}
_WIDTH: Final = 60
"""Characters of a text or a number that a sentence shows."""
_LIST_WIDTH: Final = 400
"""The same of a list."""
_SHOWN: Final = 6
"""Elements of a list that a sentence shows; the evidence has all of them."""


def shown(value: Any) -> str:
    """A value in a sentence: as JSON, long lists, texts and numbers shortened in the middle."""
    if isinstance(value, list | tuple):
        if len(value) <= _SHOWN:
            return _cut(f"[{', '.join(map(shown, value))}]", _LIST_WIDTH)
        left, right = value[:2], value[2 - _SHOWN :]
        return _cut(f"[{', '.join(map(shown, left))}, … {', '.join(map(shown, right))}]", _LIST_WIDTH)
    if isinstance(value, int) and not isinstance(value, bool):
        return _cut(str(value), _WIDTH)
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError):
        text = repr(value)
    return _cut(text, _WIDTH)


def _cut(text: str, width: int) -> str:
    half = width // 2 - 2
    return text if len(text) <= width else f"{text[:half]}…{text[-half:]}"


class Cast:
    """The transactions of one anomaly in the order in which they are told: the first is T1."""

    def __init__(self, transactions: Transactions, numbers: Sequence[int]) -> None:
        self._transactions = transactions
        self.numbers = list(dict.fromkeys(numbers))
        self._names = {number: f"T{place}" for place, number in enumerate(self.numbers, 1)}

    def name(self, number: int) -> str:
        return self._names[number]

    def events(self) -> list[int]:
        """Indexes of all their events, in order."""
        transactions = self._transactions
        if not transactions.has_real_time:
            return sorted(self.numbers)
        return sorted(event for number in self.numbers for event in transactions.events(number))

    def as_data(self) -> list[dict[str, Any]]:
        transactions = self._transactions
        return [
            {
                "name": self._names[number],
                "process": int(transactions.process[number]),
                "events": transactions.events(number),
                "type": _TYPES[int(transactions.outcome[number])],
                "micro_operations": transactions.spelt(number),
            }
            for number in self.numbers
        ]

    @staticmethod
    def introduced(data: list[dict[str, Any]]) -> str:
        """`T1 = r x [1], append y 2 (process 0, events 3–4)` and so on."""
        return "; ".join(
            f"{one['name']} = "
            + ", ".join(
                f"{f} {shown(key)}"
                if f == "r" and value is None and one["type"] != "ok"
                else f"{f} {shown(key)} {shown(value)}"
                for f, key, value in one["micro_operations"]
            )
            + f" ({'' if one['type'] == 'ok' else one['type'] + ', '}process {one['process']}, "
            + (
                f"event {one['events'][0]})"
                if len(one["events"]) == 1
                else f"events {one['events'][0]}–{one['events'][1]})"
            )
            for one in data
        )


def order_reason(transactions: Transactions, kind: int, source: int, target: int, cast: Cast) -> str:
    """Why the order of a session, or that in real time, puts one transaction before another."""
    if kind == PROCESS:
        return (
            f"process {int(transactions.process[source])} ran {cast.name(source)} before {cast.name(target)}"
        )
    end = int(transactions.end[source])
    assert end < FOREVER, f"transaction {source} never ended, so it is before nothing in real time"
    return (
        f"{cast.name(source)} was over (event {end}) before {cast.name(target)} began "
        f"(event {int(transactions.start[target])})"
    )


def told(cycle: Cycle, cast: Cast, reasons: Sequence[str]) -> str:
    """The sentence of a cycle: each reason, and what it says about the order, up to the contradiction."""
    count = len(reasons)
    names = [cast.name(number) for number in cycle.transactions]
    parts = [
        f"{'but ' if place and place == count - 1 else ''}{reason}, "
        f"so {names[place]} came before {names[(place + 1) % count]}"
        for place, reason in enumerate(reasons)
    ]
    return f"{'; '.join(parts)}: a contradiction"


def edge_as_data(kind: int, source: str, target: str, reason: str, **more: Any) -> dict[str, Any]:
    """One edge of a cycle; `more` says which key and values show it."""
    return {"source": source, "target": target, "kind": KINDS[kind], "reason": reason, **more}
