"""The last lines of a log: what a process said before it ended, or while it does not get ready."""

from __future__ import annotations

import os
from pathlib import Path

LINES = 15
BYTES = 16_384

LITTLE_ROOM = 1 << 20
"""Bytes; with less no database gets ready."""


def last_lines(path: Path) -> list[str]:
    """At most 15 lines, of the last 16 KiB; [] if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - BYTES))
            return file.read().decode(errors="replace").splitlines()[-LINES:]
    except OSError:
        return []


def nothing_printed(path: Path) -> str:
    """For a program whose log is empty or not there: that it is, and whether the disk below it may be why."""
    said = f"it has printed nothing ({path})"
    try:
        volume = os.statvfs(path.parent)
    except OSError:
        return said
    free = volume.f_bavail * volume.f_frsize
    return said if free >= LITTLE_ROOM else f"{said}: the disk below is full, {free // 1024} kB are free"
