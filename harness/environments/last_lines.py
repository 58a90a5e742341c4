"""The last lines of a log: what a process said before it ended, or while it does not get ready."""

from __future__ import annotations

import os
from pathlib import Path

LINES = 15
BYTES = 16_384


def last_lines(path: Path) -> list[str]:
    """At most 15 lines, of the last 16 KiB; [] if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - BYTES))
            return file.read().decode(errors="replace").splitlines()[-LINES:]
    except OSError:
        return []
