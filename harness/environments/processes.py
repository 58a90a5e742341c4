"""What the operating system says about a process: is it the one we started, does it run, stand still, is it gone.

A process is named by pid *and* start time, because pids are used again. Linux answers from /proc, macOS by `ps`.
This page asks the system itself and never our own records, so its answers serve as evidence.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

TOKEN_VARIABLE = "HARNESS_TOKEN"
"""Environment variable that every process of a run carries, so that none is overlooked."""

_PROC = Path("/proc")
_LINUX = sys.platform.startswith("linux")


class ProcessIdentity(NamedTuple):
    """One process for all time."""

    pid: int
    started: str


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
    return _ps("-o", "state=", "-p", str(pid))[:1] or None


def processes_with_token(token: str) -> list[ProcessIdentity]:
    """All processes of this user whose environment holds the token, by pid; never the caller."""
    needle = f"{TOKEN_VARIABLE}={token}"
    pids: list[int] = []
    if _LINUX:
        for entry in _PROC.iterdir():
            if entry.name.isdigit():
                try:
                    environment = (entry / "environ").read_bytes()
                except OSError:
                    continue
                if needle.encode() in environment.split(b"\0"):
                    pids.append(int(entry.name))
    else:
        for line in _ps("-axEww", "-o", "pid=,command=").splitlines():
            number, _, command = line.strip().partition(" ")
            if needle in command.split(" ") and number.isdigit():
                pids.append(int(number))
    found = [identify(pid) for pid in sorted(pids) if pid != os.getpid()]
    return [process for process in found if process is not None and is_running(process)]


def end_process(process: ProcessIdentity, timeout_s: float = 5.0) -> bool:
    """SIGKILL this very process (stopped ones die too) and wait. True once it is gone, also if it was before."""
    deadline = time.monotonic() + timeout_s
    while is_running(process):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _stat_fields(pid: int) -> list[str] | None:
    """Fields of /proc/pid/stat from the third (state) on; the second may hold blanks and parentheses."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _start_time(pid: int) -> str | None:
    if not _LINUX:
        return _ps("-o", "lstart=", "-p", str(pid)) or None
    fields = _stat_fields(pid)
    return f"{_boot()}:{fields[19]}" if fields else None


def _boot() -> str:
    """Start times count from the boot, so which boot is a part of the name."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return "boot"


def _ps(*arguments: str) -> str:
    """What `ps` prints, in the C locale: start times are compared as texts."""
    environment = {**os.environ, "LC_ALL": "C"}
    answer = subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False, env=environment)
    return answer.stdout.strip()
