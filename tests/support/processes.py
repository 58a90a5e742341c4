"""Looking at the machine's processes, for tests that end some or that must leave none."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from harness.environments.ledger import read_ledger
from harness.environments.processes import TOKEN_VARIABLE


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


def alive(pid: int) -> bool:
    """By signal 0 and /proc, where there is one; not by the code under test. A zombie is not alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()


def processes_with(token: str) -> list[int]:
    """Living processes whose environment holds the token of a run: read here, not by the code under test."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"{TOKEN_VARIABLE}={token}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return [pid for pid in found if alive(pid)]


def wait_for_end_of_run(folder: Path, timeout_s: float = 30.0) -> None:
    """Waits until no process of a run lives. A process that is ending has lost its environment before it is gone, so
    those in the ledger are looked at as well."""
    content = read_ledger(folder / "ledger.jsonl")
    noted = [entry.undo["pid"] for entry in content.open_entries if "pid" in entry.undo]
    wait_until(
        lambda: not processes_with(content.header.token) and not any(map(alive, noted)),
        timeout_s,
        f"no process of the run in {folder} is left",
    )


def wait_until(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    """Waits for a condition of the real world; fails, saying what, if it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)
