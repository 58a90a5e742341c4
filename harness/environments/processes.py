"""The processes that a run has started: found by the token that all of them carry, and ended one by one.

Which process is meant, and whether it runs, `results.process_identity` says; its words are offered here as well.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import harness
from results.process_identity import ProcessIdentity, ask_ps, identify, is_running, process_state

TOKEN_VARIABLE = "HARNESS_TOKEN"
"""Environment variable that every process of a run carries, so that none is overlooked."""

LEDGER_VARIABLE = "HARNESS_LEDGER"
"""Environment variable with the path of the run's ledger, so that whoever finds the process finds what to undo."""

_PROC = Path("/proc")
_LINUX = sys.platform.startswith("linux")

__all__ = [
    "LEDGER_VARIABLE",
    "TOKEN_VARIABLE",
    "ProcessIdentity",
    "end_process",
    "identify",
    "is_running",
    "process_state",
    "processes_with_token",
    "processes_with_variable",
    "python_path",
]


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
        for line in ask_ps("-axEww", "-o", "pid=,command=").splitlines():
            number, _, command = line.strip().partition(" ")
            if needle in command.split(" ") and number.isdigit():
                pids.append(int(number))
    found = [identify(pid) for pid in sorted(pids) if pid != os.getpid()]
    return [process for process in found if process is not None and is_running(process)]


def processes_with_variable(name: str) -> list[tuple[ProcessIdentity, str]]:
    """Linux: all processes whose environment has this variable, with its value, by pid; never the caller.

    Elsewhere none: whoever needs all of a run's processes there asks by its token.
    """
    found = []
    for entry in sorted(_PROC.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        prefix = f"{name}=".encode()
        values = [part[len(prefix) :] for part in environment.split(b"\0") if part.startswith(prefix)]
        process = identify(int(entry.name)) if values and int(entry.name) != os.getpid() else None
        if process is not None and is_running(process):
            found.append((process, os.fsdecode(values[0])))
    return found


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


def python_path() -> str:
    """So that our own processes find the packages wherever they are started."""
    root = str(Path(harness.__file__).resolve().parents[1])
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
