"""Reads that no level from read committed up allows, each as an anomaly in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from checkers.isolation.naming import Names, events_of_all, show_seen, show_value
from checkers.isolation.reads_from import ReadsFrom
from results.transactions import WRITE
from results.verdict import Anomaly

MOST: Final = 8
"""Anomalies of one kind that are told."""

ABORTED: Final = "G1a"
INTERMEDIATE: Final = "G1b"
UNWRITTEN: Final = "garbage-read"
FUTURE: Final = "future-read"
INTERNAL: Final = "internal"
"""A read that contradicts an earlier write or read of its own transaction."""


def find_read_anomalies(found: ReadsFrom, *, unrepeatable: bool) -> list[Anomaly]:
    """The anomalies of single reads, at most `MOST` of each kind; with those of reads that were not repeatable if
    the level forbids them."""
    anomalies = []
    kinds: list[tuple[str, list[int], Callable[[ReadsFrom, int, Names], str]]] = [
        (UNWRITTEN, found.unwritten[:MOST].tolist(), _unwritten),
        (ABORTED, found.aborted[:MOST].tolist(), _aborted),
        (INTERMEDIATE, found.intermediate[:MOST].tolist(), _intermediate),
        (INTERNAL, found.missed[:MOST].tolist(), _missed),
        (FUTURE, found.future[:MOST].tolist(), _future),
    ]
    if unrepeatable:
        kinds.append((INTERNAL, found.unrepeatable[:MOST].tolist(), _unrepeatable))
    for type_, reads, tell in kinds:
        for read in reads:
            names = Names(found.transactions)
            sentence = tell(found, read, names)
            anomalies.append(
                Anomaly(
                    type_,
                    sentence,
                    events_of_all(found.transactions, names.mentioned),
                    key=found.transactions.keys[found.transactions.key[read]],
                    evidence={"transactions": names.table()},
                )
            )
    return anomalies


def _subject(found: ReadsFrom, read: int, names: Names) -> str:
    return f"{names(int(found.roles.transaction[read]))} {show_seen(found, read)}"


def _value(found: ReadsFrom, micro_operation: int) -> str:
    return show_value(found.transactions, int(found.roles.value[micro_operation]))


def _unwritten(found: ReadsFrom, read: int, names: Names) -> str:
    return f"{_subject(found, read, names)}, which nobody ever wrote"


def _aborted(found: ReadsFrom, read: int, names: Names) -> str:
    subject = _subject(found, read, names)
    key, value = found.transactions.key[read], found.roles.value[read]
    same = (found.transactions.kind == WRITE) & (found.transactions.key == key) & (found.roles.value == value)
    writer = int(found.roles.transaction[int(same.argmax())])
    return f"{subject}, which {names(writer)} wrote, and that failed"


def _intermediate(found: ReadsFrom, read: int, names: Names) -> str:
    subject = _subject(found, read, names)
    write = int(found.writer[read])
    overwriting = int(found.roles.other[write])
    writer = names(int(found.roles.transaction[write]))
    return f"{subject} of {writer}, which itself overwrote it with {_value(found, overwriting)}"


def _missed(found: ReadsFrom, read: int, names: Names) -> str:
    own = int(found.roles.other[read])
    return f"{_subject(found, read, names)} after it had itself written {_value(found, own)} there"


def _future(found: ReadsFrom, read: int, names: Names) -> str:
    return f"{_subject(found, read, names)}, which it wrote itself only later"


def _unrepeatable(found: ReadsFrom, read: int, names: Names) -> str:
    earlier = int(found.roles.other[read])
    return f"{_subject(found, read, names)} after it had read {_value(found, earlier)} there"
