"""Sentences for people on a terminal: folded at its width, with what follows a first line set under its text.

Where there is no terminal nothing is folded: a line of a log is one thing to search for.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Final

NARROWEST: Final = 40
WIDEST: Final = 120
"""Longer lines are hard to read, however wide the terminal is."""


def folded(text: str, indent: str = "", hanging: str = "    ") -> str:
    """The text as lines that fit; `indent` goes before the first one, and `hanging` more before the others."""
    if not sys.stdout.isatty():
        return indent + text
    width = min(WIDEST, max(NARROWEST, shutil.get_terminal_size().columns))
    return "\n".join(
        textwrap.fill(
            line,
            width,
            initial_indent=indent,
            subsequent_indent=indent + hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.splitlines() or [""]
    )
