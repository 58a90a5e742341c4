"""Transactions as plain text, in the three notations of tools that check isolation.

- `sessions` (AWDIT, Plume): a micro-operation a line, `w KEY VALUE` or `r KEY VALUE`; a line of dashes ends a
  transaction, a line of equals signs a session.
- `isovista`: a micro-operation a line, `w(KEY,VALUE,SESSION,TRANSACTION)` or with `r`; those of one session and
  transaction belong together.
- `micro-operations` (as jepsen-io/history.sim's results are written down): an event a line, `invoke`, `ok`, `fail` or
  `info`, the process, and micro-operations `a KEY VALUE`, `w KEY VALUE` and `r KEY VALUES`, with commas between
  values, and `-` for an empty or unknown read.

The first two record committed transactions, and no real time. Whole numbers are numbers, all else is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from results.interchange.places import FormatError
from results.interchange.reading import Reading, reading_of
from results.operation import INVOKE, OK, TYPES, Operation

_NOTHING: Final = (b"-", b"nil", b"null", b"None")
_ISOVISTA: Final = re.compile(
    rb"([rw])\(\s*([^,()\s]+)\s*,\s*([^,()\s]+)\s*,\s*([^,()\s]+)\s*,\s*([^,()\s]+)\s*\)"
)
_KINDS: Final = {b"a": "append", b"append": "append", b"w": "w", b"r": "r"}

Micro = list[Any]


def read_sessions(text: bytes) -> Reading:
    """The history in a text of sessions. Raises FormatError."""
    events: list[Operation] = []
    session = 0
    transaction: list[Micro] = []
    for line, at in _lines(text):
        if line.strip(b"-") == b"" or line.strip(b"=") == b"":
            _commit(events, session, transaction)
            transaction = []
            session += line.startswith(b"=")
            continue
        words = line.split()
        if len(words) != 3 or words[0] not in (b"r", b"w"):
            raise FormatError(
                "a line is `r KEY VALUE`, `w KEY VALUE`, dashes (a transaction ends) or equals signs (a session ends)",
                at,
            )
        transaction.append([words[0].decode(), _value(words[1], at), _value(words[2], at)])
    _commit(events, session, transaction)
    return reading_of(events, "sessions", has_real_time=False, timed=False)


def read_isovista(text: bytes) -> Reading:
    """The history in a text in IsoVista's notation. Raises FormatError."""
    transactions: dict[tuple[bytes, bytes], list[Micro]] = {}
    sessions: dict[bytes, int] = {}
    for line, at in _lines(text):
        found = _ISOVISTA.fullmatch(line)
        if found is None:
            raise FormatError("a line is `r(KEY,VALUE,SESSION,TRANSACTION)`, or the same with w", at)
        micro = [found[1].decode(), _value(found[2], at), _value(found[3], at)]
        transactions.setdefault((found[4], found[5]), []).append(micro)
        sessions.setdefault(found[4], len(sessions))
    events: list[Operation] = []
    for (session, _), transaction in transactions.items():
        _commit(events, sessions[session], transaction)
    return reading_of(events, "isovista", has_real_time=False, timed=False)


def _commit(events: list[Operation], session: int, transaction: list[Micro]) -> None:
    """Adds a committed transaction; one without micro-operations is none."""
    if not transaction:
        return
    asked = [[kind, key, None] if kind == "r" else [kind, key, value] for kind, key, value in transaction]
    for type_, value in ((INVOKE, asked), (OK, transaction)):
        index = len(events)
        events.append(Operation(index, index * 1_000_000, session, type_, "txn", value))


def read_micro_operations(text: bytes) -> Reading:
    """The history in a text of events with micro-operations. Raises FormatError."""
    events: list[Operation] = []
    lists: bool | None = None
    """Whether the keys hold lists, or registers; known at the first append or write."""
    for line, at in _lines(text):
        words = line.split()
        type_ = words[0].decode("ascii", "replace")
        if type_ not in TYPES or len(words) < 2 or not words[1].isdigit() or (len(words) - 2) % 3:
            raise FormatError(
                "a line is `invoke|ok|fail|info PROCESS`, and then `a|w|r KEY VALUE` as often as there is one",
                at,
            )
        value: list[Micro] = []
        for position in range(2, len(words), 3):
            kind = _KINDS.get(words[position])
            if kind is None:
                raise FormatError(
                    f"{words[position].decode('utf-8', 'replace')!r:.30} is no micro-operation; they are a, w and r",
                    at,
                )
            key, given = _value(words[position + 1], at), words[position + 2]
            if kind == "r":
                value.append(
                    ["r", key, None if given in _NOTHING else [_value(v, at) for v in given.split(b",")]]
                )
                continue
            if lists is None:
                lists = kind == "append"
            elif lists != (kind == "append"):
                raise FormatError(
                    "appends and writes in one file: keys hold lists or registers, not both", at
                )
            value.append([kind, key, _value(given, at)])
        index = len(events)
        events.append(Operation(index, index * 1_000_000, int(words[1]), type_, "txn", value))
    for event in events:
        for micro in event.value:
            if micro[0] != "r":
                continue
            if lists is False:
                if micro[2] is not None and len(micro[2]) != 1:
                    raise FormatError(
                        f"event {event.index}: a read of a register has one value, not {micro[2]!r:.40}", 0
                    )
                micro[2] = micro[2][0] if micro[2] else None
            elif micro[2] is None and event.type == OK:
                micro[2] = []
    return reading_of(events, "micro-operations", timed=False)


def _lines(text: bytes) -> Iterator[tuple[bytes, int]]:
    """The lines that are not blank, without the blanks around them, and where each begins."""
    at = 0
    for line in text.split(b"\n"):
        if stripped := line.strip():
            yield stripped, at
        at += len(line) + 1


def _value(word: bytes, at: int) -> Any:
    if word.lstrip(b"-").isdigit() and len(word) < 20:
        try:
            return int(word)
        except ValueError:
            pass  # Such as 1-2.
    try:
        return None if word in _NOTHING else word.decode()
    except UnicodeDecodeError as error:
        raise FormatError("bytes that are no UTF-8", at + error.start) from None
