"""What `harness heal` does for the environment `docker`: remove the containers and networks of a dead run, and end its
processes on this host; and give containers back that it was attached to, as they were.

Cut links, pauses, names and clocks of containers that a run has made need no undo of their own: rules live in the
namespace of a container and a pause in its cgroup, both end with it, and nobody else reads its files of hosts and
clock.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from harness.environments import undo_processes
from harness.environments.clock_file import REAL_TIME
from harness.environments.docker.engine import connect, remove_run, run_key, translated
from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import Entry, LedgerHeader
from harness.environments.linux import rules, vdso
from harness.environments.linux.cgroups import CPU, group_of
from harness.environments.linux.namespace import VARIANTS, WAIT_FOR_LOCK, search_path

_QUOTA = "cpu.cfs_quota_us"


def undo(entry: Entry, header: LedgerHeader) -> str | None:
    """Undo one entry. The first container or network takes all others of the run with it, by the run's label."""
    match entry.kind:
        case "container" | "network":
            return "; ".join(sweep(header)) or None
        case "attached":
            engine = connect()
            try:
                return translated(f"giving {entry.undo['node']} back", give_back, engine.api, entry.undo)
            finally:
                engine.close()
        case "process" | "mount":
            return undo_processes.undo(entry, header)
        case "links" | "pause" | "names" | "clock":
            return None
        case _:
            raise ValueError(
                f"no undo for kind {entry.kind!r}; known: container, network, attached, process, mount, links, pause, "
                "names, clock"
            )


def sweep(header: LedgerHeader) -> list[str]:
    """End processes with the run's token, and remove what carries the run's label in the engine. Raises
    EnvironmentFailed if something is left."""
    ended = undo_processes.sweep(header)
    engine = connect()
    try:
        removed = translated("cleaning up", remove_run, engine.api, run_key(header.token))
    finally:
        engine.close()
    return [*ended, *(f"removed {thing}" for thing in removed)]


# Containers of others


def quota_of(pid: int) -> str | None:
    """How much of the processor the container of this process may use, as its control group says; None: unknown."""
    try:
        return (group_of(pid, CPU) / _QUOTA).read_text().strip()
    except OSError:
        return None


def give_back(api: Any, undo: Mapping[str, Any]) -> str | None:
    """Makes a container again what it was when a run was attached to it: it ran, unpaused, with its own share of the
    processor, nothing of ours in its network namespace, on real time. Answers what was done, in words; blocks.

    `undo` is what the ledger says (`attached.py`). Raises EnvironmentFailed where something cannot be undone.
    """
    from docker import errors  # type: ignore[import-untyped]

    node = undo["node"]
    try:
        seen = api.inspect_container(undo["container"])
    except errors.NotFound:
        return f"the container of {node} was removed by somebody else"
    done = []
    if undo["control"] and seen["State"]["Paused"]:
        api.unpause(undo["container"])
        done.append("resumed")
    if undo["control"] and not seen["State"]["Running"]:
        api.start(undo["container"])
        done.append("started")
        seen = api.inspect_container(undo["container"])
    pid = int(seen["State"]["Pid"])
    if pid:
        if undo["quota"] is not None and quota_of(pid) not in (undo["quota"], None):
            (group_of(pid, CPU) / _QUOTA).write_text(undo["quota"])
            done.append("given its share of the processor")
        if _remove_rules(pid, undo["run"], node):
            done.append("freed of our rules")
        if _show_real_time(pid):
            done.append("shown real time")
    return f"the container of {node} was {', '.join(done)}" if done else None


def _remove_rules(pid: int, run: str, node: str) -> bool:
    """Whether there were any. Raises EnvironmentFailed where they stay."""
    complaints = []
    for tools in VARIANTS:
        with contextlib.suppress(FileNotFoundError):
            if rules.chain(run, "in") not in _run_inside(pid, [tools.save, "-t", "filter"])[1]:
                continue
            status, output = _run_inside(pid, [tools.restore, "--noflush", WAIT_FOR_LOCK], rules.removal(run))
            if status == 0:
                return True
            complaints.append(f"{tools.restore}: {output.strip()[:200]}")
    if complaints:
        raise EnvironmentFailed(f"our rules stay in the namespace of {node}: {'; '.join(complaints)}")
    return False


def _run_inside(pid: int, argv: list[str], text: str = "") -> tuple[int, str]:
    """Exit status and output of a program in the network namespace of a process."""
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "--", *argv],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PATH": search_path()},
        check=False,
    )
    return done.returncode, done.stdout


def _show_real_time(pid: int) -> bool:
    """Whether one of its processes was told another time."""
    try:
        if all(vdso.setting_of(one) == REAL_TIME for one in vdso.family(pid)):
            return False
        vdso.set_clock(pid, REAL_TIME)
    except vdso.ClockUntouchable:
        return False  # It ended meanwhile, or was never reached.
    return True
