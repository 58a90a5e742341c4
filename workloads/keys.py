"""Names of keys that spread over a keyspace, however it is cut.

Databases with ranges cut the keyspace by the beginnings of keys, so `bank/1` and `bank/2` would share a range, and
nothing that crosses ranges would be tried. The names here begin with two base-36 digits that differ from key to key.
"""

from __future__ import annotations

from typing import Final

DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
PAIRS: Final = len(DIGITS) ** 2

FIRST_KEY: Final = "0"
"""No name of `spread_key` sorts before it."""
END_KEY: Final = "{"
"""All names of `spread_key` sort before it; it is the character after z."""

STRIDE: Final = 497
"""About 1,296 times the smaller part of the golden section, and coprime to 1,296: the names of 0, 1, 2 ... fall far
from each other, and every beginning is used before one comes again."""


def spread_key(area: str, number: int) -> str:
    """The name of the `number`th key of an area: `00/set/0`, `dt/set/1`, `rm/set/2` ..."""
    return f"{beginning(number * STRIDE % PAIRS)}/{area}/{number}"


def evenly_spread_key(area: str, number: int, count: int) -> str:
    """The name of one of `count` keys that divide the keyspace evenly; for few keys that must not share a range."""
    return f"{beginning(number * PAIRS // count % PAIRS)}/{area}/{number}"


def beginning(position: int) -> str:
    """The two digits at a position, 0 to 1295."""
    high, low = divmod(position, len(DIGITS))
    return DIGITS[high] + DIGITS[low]
