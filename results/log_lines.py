"""Lines of logs that begin with a time, as most programs write them: `2026-01-01T00:00:01.500 WARNING area: text`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

LINE_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(?:Z|\+00:00)? ")
"""A time of UTC at the beginning of a line."""
GRAVE = re.compile(r"\b(?:WARN(?:ING)?|ERROR|CRITICAL|FATAL|PANIC)\b", re.IGNORECASE)


def timed_lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The lines that begin with a time, without it; the time in nanoseconds since 1970. Others are left out."""
    for line in lines:
        match = LINE_TIME.match(line)
        if match is None:
            continue
        try:
            second = datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
        fraction = int((match[2] or "0").ljust(9, "0"))
        yield int(second) * 1_000_000_000 + fraction, line[match.end() :].rstrip()


def is_grave(text: str) -> bool:
    """Whether a line calls itself a warning or worse, near its beginning."""
    return GRAVE.search(text, 0, 40) is not None
