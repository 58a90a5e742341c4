"""Looking at the machine's processes, for tests that end some or that must leave none."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def command_lines() -> dict[int, str]:
    """The command line of every process that one can be read of, by pid (from /proc)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if line and state != "Z":
                found[int(entry.name)] = line
    return found


def mentioning(text: str) -> dict[int, str]:
    """Processes whose command line has this text, but for this one."""
    return {pid: line for pid, line in command_lines().items() if text in line and pid != os.getpid()}


def wait_until(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    """Waits for a condition of the real world; fails, saying what, if it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)
