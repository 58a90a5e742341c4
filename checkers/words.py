"""Times, counts and operations in the words of verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from results.history import Pair


def seconds(time_ns: int) -> str:
    """Nanoseconds since the start of the run, as seconds with three digits: `12.310 s`."""
    return f"{time_ns / 1e9:.3f} s"


def interval(pair: Pair) -> str:
    """When an operation ran: `12.310–12.330 s`; `from 12.310 s` if its end is not known."""
    if pair.end is None:
        return f"from {seconds(pair.start)}"
    return f"{pair.start / 1e9:.3f}–{seconds(pair.end)}"


def allowance(time_s: float) -> str:
    """A limit in seconds, by three digits: `19.9 s`, `3600 s`."""
    return f"{time_s:.3g} s" if time_s < 100 else f"{time_s:.0f} s"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 read`, `3 reads`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def none_of(number: int, one: str, did: str, many: str | None = None) -> str:
    """`none of 3 reads succeeded`; `there was no read` to succeed."""
    return f"none of {count(number, one, many)} {did}" if number else f"there was no {one}"


def listing(items: Iterable[Any], most: int = 8) -> str:
    """`1, 2, 3` or, of many, `1, 2, 3 and 17 more`."""
    shown = [str(item) for item in items]
    if len(shown) <= most:
        return ", ".join(shown)
    return f"{', '.join(shown[:most])} and {len(shown) - most} more"


def shown(value: Any, most: int = 80) -> str:
    """A value, spelt, cut to a length that a sentence can bear."""
    if isinstance(value, str | bytes) and len(value) > most:
        return f"{value[:most]!r}… ({len(value)} characters)"
    text = spelt(value)
    return text if len(text) <= most else f"{text[:most]}…"


def spelt(value: Any) -> str:
    """A value by the names of JSON (null, true, lists, mappings); texts in quotes as Python has them."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return f"[{', '.join(map(spelt, value))}]"
        case dict():
            return f"{{{', '.join(f'{spelt(key)}: {spelt(item)}' for key, item in value.items())}}}"
        case _:
            return repr(value)
