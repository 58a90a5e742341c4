"""How large slow tests are, mostly of the checkers: fit for every run, or whole when HARNESS_FULL_SIZES is set.

The shapes are the same; only sizes, seeds, and how many of all small histories are looked at differ.
"""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "HARNESS_FULL_SIZES"
FULL: Final = os.environ.get(VARIABLE, "") not in ("", "0")


def sized(full: int, usual: int) -> int:
    """One of two sizes."""
    return full if FULL else usual
