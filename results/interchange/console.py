"""Operations in Jepsen's console log, and in its `history.txt`: process, type, function and value on a line.

A log holds many other lines; they are passed over. `INFO  jepsen.util - 3 :invoke :write 4` is an operation, with
blanks or tabs between its parts; a second value after the first is the error.
"""

from __future__ import annotations

import re
from typing import Final

from results.interchange.events_kernel import Reader
from results.interchange.places import FormatError
from results.interchange.reading import Reading, reading_of
from results.operation import Operation

LINE: Final = re.compile(
    rb"^(?:.*?\bjepsen\.util\b\s*[:-]*\s+)?(?P<process>:?[\w.-]+)\s+:(?P<type>invoke|ok|fail|info)\s+:(?P<f>\S+)"
    rb"[ \t]*(?P<value>.*)$"
)
MARK: Final = re.compile(rb"\s:(?:invoke|ok|fail|info)\s+:")
"""What every line with an operation contains; much quicker to look for."""


def read(text: bytes) -> Reading:
    """The history in a log. Raises FormatError if no line of it is an operation."""
    events: list[Operation] = []
    first = -1
    at = 0
    for line in text.split(b"\n"):
        found = LINE.match(line.rstrip(b"\r")) if MARK.search(line) else None
        if found is not None:
            events.append(_event(found, len(events), at))
        elif first < 0 and line.strip():
            first = at
        at += len(line) + 1
    if not events and text.strip():
        raise FormatError("no line looks like an operation in Jepsen's log", max(first, 0))
    return reading_of(events, "jepsen-log", timed=False)


def _event(found: re.Match[bytes], index: int, at: int) -> Operation:
    try:
        values = Reader(found["value"], False).values()
        name = found["f"].decode()
        (process,) = Reader(found["process"], False).values()
    except FormatError as error:
        start = found.start("value") if error.offset else 0
        raise FormatError(error.reason, at + start + error.offset) from None
    except ValueError as error:
        raise FormatError(f"no operation: {error}", at) from None
    return Operation(
        index,
        index * 1_000_000,
        process if isinstance(process, int) else str(process),
        found["type"].decode(),
        name,
        values[0] if values else None,
        values[1] if len(values) > 1 else None,
    )
