"""Which process is meant: its number and its start, because numbers are used again.

Linux answers from /proc, macOS by `ps`. The operating system is asked, never our own records, so its answers serve as
evidence. Imports nothing but the standard library's cheapest: processes that must start fast use it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_LINUX = sys.platform.startswith("linux")


class ProcessIdentity(NamedTuple):
    """One process for all time."""

    pid: int
    started: str
    """Opaque; differs between two processes with the same number."""


def identify(pid: int) -> ProcessIdentity | None:
    """Who has this pid now. None: nobody."""
    started = _start_time(pid)
    return None if started is None else ProcessIdentity(pid, started)


def is_running(process: ProcessIdentity) -> bool:
    """True while this very process exists and is more than a zombie."""
    return identify(process.pid) == process and process_state(process.pid) not in ("Z", "X", None)


def process_state(pid: int) -> str | None:
    """The first letter of `ps`'s state: R, S, D, T (stands still), Z, ...; None if there is no such process."""
    if _LINUX:
        fields = _stat_fields(pid)
        return fields[0] if fields else None
    return ask_ps("-o", "state=", "-p", str(pid))[:1] or None


def ask_ps(*arguments: str) -> str:
    """What `ps` prints, in the C locale: start times are compared as texts."""
    environment = {**os.environ, "LC_ALL": "C"}
    answer = subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False, env=environment)
    return answer.stdout.strip()


def _start_time(pid: int) -> str | None:
    if not _LINUX:
        return ask_ps("-o", "lstart=", "-p", str(pid)) or None
    fields = _stat_fields(pid)
    return f"{_boot()}:{fields[19]}" if fields else None


def _stat_fields(pid: int) -> list[str] | None:
    """Fields of /proc/pid/stat from the third (state) on; the second may hold blanks and parentheses."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _boot() -> str:
    """Start times count from the boot, so which boot is a part of the name."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return "boot"
