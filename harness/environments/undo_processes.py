"""What `harness heal` does where nodes are processes of this host: end those of a dead run, set clock files right.

Cut links need no undo of their own. In `local` they exist in the proxy, and the proxy is one of the processes; in
`netns` they are rules in namespaces that end with their last process, as do the files of hosts that are mounted there.
"""

from __future__ import annotations

from pathlib import Path

from harness.environments.clock_file import REAL_TIME, read_clock, write_clock
from harness.environments.disks.mounts import unmount
from harness.environments.ledger import Entry, LedgerHeader
from harness.environments.linux.cgroups import remove_group
from harness.environments.processes import ProcessIdentity, end_process, is_running, processes_with_token


def undo(entry: Entry, header: LedgerHeader) -> str | None:
    """Undo one entry. Raises OSError with what is left if it cannot be undone."""
    match entry.kind:
        case "process":
            return _end_process(entry)
        case "mount":
            path = Path(entry.undo["path"])
            return f"unmounted {path}" if unmount(path) else None
        case "cgroup":
            group = Path(entry.undo["path"])
            return f"removed the control group {group}" if remove_group(group) else None
        case "clock":
            if "path" not in entry.undo:
                return None  # It was told to the processes, and ended with them.
            path = Path(entry.undo["path"])
            if not path.exists() or read_clock(path) == REAL_TIME:
                return None
            write_clock(path, REAL_TIME)
            return f"{path} shows real time again"
        case "links" | "pause" | "names":
            return None
        case _:
            raise ValueError(
                f"no undo for kind {entry.kind!r}; known: process, mount, cgroup, links, pause, names, clock"
            )


def _end_process(entry: Entry) -> str | None:
    if "pid" not in entry.undo:
        return None  # It was never noted; if it did start, `sweep` finds it by the token.
    process = ProcessIdentity(entry.undo["pid"], entry.undo["started"])
    if not is_running(process):
        return None
    if not end_process(process):
        raise OSError(f"process {process.pid} ({entry.undo.get('name')}) does not end")
    return f"ended {entry.undo.get('name')} (process {process.pid})"


def sweep(header: LedgerHeader) -> list[str]:
    """End every process that carries the run's token in its environment."""
    ended = []
    for process in processes_with_token(header.token):
        if not end_process(process):
            raise OSError(f"process {process.pid} of this run does not end")
        ended.append(f"ended process {process.pid}, which carried the token of this run")
    return ended
