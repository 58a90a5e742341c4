"""Resources of a node: its share of the processor, and the end of its memory, by control groups (version 1).

A node's process is put into a group of this run's own; a container has one already. The proofs come from the kernel: a
program that computes inside the group gets no more than the share, and the group's count of processes that were killed
for memory rises. Groups are in the ledger, as they outlive whoever made them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.environments.ledger import Ledger
from nemesis.cluster import Evidence, FaultFailed, evidence_of

ROOT = Path("/sys/fs/cgroup")
CPU, MEMORY = "cpu", "memory"
PERIOD_US = 100_000
LEAST_QUOTA_US = 1_000
SPIN_S = 0.5
SPARE_BYTES = 32 << 20
"""What a group may use beyond what it does, before it is exhausted."""
EXHAUSTED_WITHIN_S = 20.0
MECHANISMS: dict[str, str] = {
    "limit_cpu": "the quota of a control group (cpu.cfs_quota_us)",
    "limit_memory": "the limit of a control group (memory.limit_in_bytes)",
    "exhaust_memory": "the limit of a control group (memory.limit_in_bytes), and a program that fills it",
}
"""Capability -> how."""

SPIN = f"""
import os, sys, time
open(sys.argv[1], "w").write(str(os.getpid()))
began, used = time.monotonic(), time.process_time()
while time.monotonic() - began < {SPIN_S}:
    pass
print((time.process_time() - used) / (time.monotonic() - began))
"""
FILL = """
import os, sys, time
open(sys.argv[1], "w").write(str(os.getpid()))
kept = []
while True:
    kept.append(bytearray(os.urandom(1 << 16)) * 16)
    time.sleep(0.001)
"""
"""Takes memory."""
FILL_FIRST = """
import os, sys
open("/proc/self/oom_score_adj", "w").write("1000")
open(sys.argv[1], "w").write(str(os.getpid()))
kept = [bytearray(os.urandom(1 << 16)) * 16 for _ in range(int(sys.argv[2]))]
"""
"""Takes so many megabytes, and is the first to be ended for it."""
LIMIT = "memory.limit_in_bytes"
MOST_LIKELY = "1000"
"""What makes the kernel choose a process to be killed for memory."""


@functools.cache
def why_no_groups() -> str | None:
    """Why there can be no groups here; None if there can."""
    if not sys.platform.startswith("linux"):
        return f"control groups are Linux's, this is {sys.platform}"
    if os.geteuid() != 0:
        return "making control groups needs root"
    for controller, file in ((CPU, "cpu.cfs_quota_us"), (MEMORY, "memory.limit_in_bytes")):
        group = ROOT / controller / f"multiraft-harness-probe-{os.getpid()}"
        try:
            group.mkdir()
            there = (group / file).exists()
            group.rmdir()
        except OSError as error:
            return f"no control group can be made for {controller} ({error}): version 1 of them is needed"
        if not there:
            return f"control groups for {controller} have no {file}: version 1 of them is needed"
    return None


def lacking() -> dict[str, str]:
    """Capability -> why it is missing here; nothing where both are there."""
    why = why_no_groups()
    return {} if why is None else dict.fromkeys(MECHANISMS, why)


def group_of(pid: int, controller: str, proc: Path = Path("/proc"), root: Path = ROOT) -> Path:
    """The group in which a process is. Raises OSError if it is gone or the controller is not mounted."""
    for line in (proc / str(pid) / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return root / controller / path.lstrip("/")
    raise FileNotFoundError(f"process {pid} is in no control group for {controller}")


def remove_group(group: Path) -> bool:
    """Whether it was there and is no more; whoever is still in it goes to the root."""
    if not group.exists():
        return False
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            (group.parent / "cgroup.procs").write_text(pid)
    group.rmdir()
    return True


class Resources:
    """The verbs, and which nodes are limited now."""

    def __init__(self, ledger: Ledger, pid: Callable[[str], int | None], owns_groups: bool) -> None:
        """`pid` is a process of the node; `owns_groups`: it is in a group of its own already, as a container is."""
        self._ledger = ledger
        self._pid = pid
        self._owns_groups = owns_groups
        self._shares: dict[str, float] = {}
        self._entries: dict[Path, int] = {}
        self._spare_mb: dict[str, int] = {}
        self._usual_limits: dict[str, str] = {}
        """What a container of its own group might use before its memory was limited."""
        self._kills: dict[str, int] = {}
        """Of nodes whose memory is limited: how many processes the kernel had ended in the group when last looked."""

    @property
    def short_of_memory(self) -> tuple[str, ...]:
        """Nodes whose memory is limited now."""
        return tuple(self._spare_mb)

    @property
    def limited(self) -> tuple[str, ...]:
        """Nodes whose share of the processor is limited now."""
        return tuple(self._shares)

    def _group(self, node: str, controller: str) -> Path:
        """The node's group, with its process in it."""
        pid = self._pid(node)
        if pid is None:
            raise FaultFailed(f"{node} is down: it uses nothing")
        if self._owns_groups:
            return group_of(pid, controller)
        group = ROOT / controller / f"multiraft-harness-{self._ledger.header.token[:12]}-{node}"
        if group not in self._entries:
            self._entries[group] = self._ledger.intend("cgroup", path=str(group))
            group.mkdir(exist_ok=True)
            # What it uses already stays counted where it was, so the limit concerns what is taken from now on; the
            # kernel chooses whom to kill by all that a process has.
        (group / "cgroup.procs").write_text(str(pid))
        return group

    async def limit_cpu(self, node: str, share: float | None) -> Evidence:
        """See `Cluster.limit_cpu`."""
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"share {share}: must be above 0 and at most 1, or None to undo")
        if share is None:
            self._shares.pop(node, None)
            if self._pid(node) is None:
                return Evidence(True, [{"what": f"{node} is down: nothing to undo", "proves": True}])
        else:
            self._shares[node] = share
        try:
            group = self._group(node, CPU)
            _set_quota(group, share)
            before = _throttled(group)
            measured = await self._spin(group)
            held_back = _throttled(group) - before
        except OSError as error:
            raise FaultFailed(f"limiting {node}: {error}") from error
        # Without a limit the rest of the machine decides, so there only the quota is read again.
        quota = int((group / "cpu.cfs_quota_us").read_text())
        proves = quota == -1 if share is None else held_back > 0 and measured <= 1.5 * share + 0.05
        wanted = "no limit" if share is None else f"{share:.3f} of a core"
        return evidence_of(
            [
                {
                    "what": f"a program in the group of {node} ({wanted})",
                    "before": "unlimited",
                    "after": f"got {measured:.3f} of a core, quota {quota} of {PERIOD_US} us, "
                    f"held back {held_back} times",
                    "proves": proves,
                }
            ]
        )

    def started(self, node: str) -> None:
        """The node has a new process: what limited the old one limits it, too."""
        if node in self._shares:
            with contextlib.suppress(OSError, FaultFailed):
                _set_quota(self._group(node, CPU), self._shares[node])
        if node in self._spare_mb:
            with contextlib.suppress(OSError, FaultFailed):
                self._set_memory(node, self._spare_mb[node])

    def _set_memory(self, node: str, spare_mb: int) -> Path:
        """The node's group, which may from now on use so much beyond what it does."""
        group = self._group(node, MEMORY)
        self._usual_limits.setdefault(
            node, (group / LIMIT).read_text().strip() if self._owns_groups else "-1"
        )
        (group / LIMIT).write_text("-1" if not self._owns_groups else self._usual_limits[node])
        used = int((group / "memory.usage_in_bytes").read_text())
        (group / LIMIT).write_text(str(used + (spare_mb << 20)))
        self._kills[node] = _kills(group)
        return group

    async def limit_memory(self, node: str, spare_mb: int | None) -> Evidence:
        """See `Cluster.limit_memory`. The program that takes more is the one which the kernel ends first."""
        if spare_mb is None:
            return self._free_memory(node)
        if spare_mb < 1:
            raise ValueError(f"spare_mb {spare_mb}: must be at least 1 megabyte, or None to undo")
        self._spare_mb[node] = spare_mb
        try:
            group = self._set_memory(node, spare_mb)
            before = _kills(group)
            filling = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-S",
                    "-c",
                    FILL_FIRST,
                    str(group / "cgroup.procs"),
                    str(2 * spare_mb + 64),
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, **self._ledger.variables()},
            )
            status = await filling.wait()
            after = self._kills[node] = _kills(group)
        except OSError as error:
            raise FaultFailed(f"limiting the memory of {node}: {error}") from error
        shown = {
            "what": f"a program in the group of {node} that takes {2 * spare_mb + 64} MB, where {spare_mb} MB are left",
            "before": f"{before} killed by the kernel for memory",
            "after": f"{after} killed; the program ended with {status}",
            "proves": after > before and status == -signal.SIGKILL,
        }
        return evidence_of([shown])

    def _free_memory(self, node: str) -> Evidence:
        self._spare_mb.pop(node, None)
        usual = self._usual_limits.pop(node, "-1")
        if self._pid(node) is None:
            return Evidence(True, [{"what": f"{node} is down: nothing to undo", "proves": True}])
        try:
            group = self._group(node, MEMORY)
            before = (group / LIMIT).read_text().strip()
            (group / LIMIT).write_text(usual)
            after = (group / LIMIT).read_text().strip()
        except OSError as error:
            raise FaultFailed(f"undoing the limit of {node}'s memory: {error}") from error
        proves = int(after) >= int(before) if usual == "-1" else after == usual
        shown = {"what": f"bytes that {node} may use", "before": before, "after": after, "proves": proves}
        return evidence_of([shown])

    def was_ended_for_memory(self, node: str) -> bool:
        """The node's process has ended by itself: whether the kernel did it, for a limit of ours."""
        if node not in self._spare_mb:
            return False
        if self._owns_groups:
            return True  # Its group has ended with it; the engine says whether the kernel did it.
        group = ROOT / MEMORY / f"multiraft-harness-{self._ledger.header.token[:12]}-{node}"
        kills, before = _kills(group), self._kills.get(node, 0)
        self._kills[node] = kills
        return kills > before

    async def exhaust_memory(self, node: str, is_gone: Callable[[], bool]) -> Evidence:
        """See `Cluster.exhaust_memory`; whether the process is gone is asked over and over."""
        try:
            group = self._group(node, MEMORY)
            before = _kills(group)
            for pid in (group / "cgroup.procs").read_text().split():
                Path(f"/proc/{pid}/oom_score_adj").write_text(
                    MOST_LIKELY
                )  # Not the one that fills the memory.
            old_limit = (group / "memory.limit_in_bytes").read_text().strip()
            used = int((group / "memory.usage_in_bytes").read_text())
            (group / "memory.limit_in_bytes").write_text(str(used + SPARE_BYTES))
            swap = group / "memory.memsw.limit_in_bytes"
            if swap.exists():
                with contextlib.suppress(OSError):
                    swap.write_text(str(used + SPARE_BYTES))
        except OSError as error:
            raise FaultFailed(f"exhausting the memory of {node}: {error}") from error
        filling = subprocess.Popen(
            [sys.executable, "-S", "-c", FILL, str(group / "cgroup.procs")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **self._ledger.variables()},
        )
        after = before
        try:
            deadline = time.monotonic() + EXHAUSTED_WITHIN_S
            while not is_gone() and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    after = max(after, _kills(group))
                await asyncio.sleep(0.01)
            with contextlib.suppress(OSError):
                after = max(after, _kills(group))
        finally:
            filling.kill()
            await asyncio.to_thread(filling.wait)
            with contextlib.suppress(OSError):  # A container's group has ended with it.
                if swap.exists():
                    swap.write_text("-1")
                (group / "memory.limit_in_bytes").write_text("-1" if not self._owns_groups else old_limit)
        return evidence_of(
            [
                {
                    "what": f"memory of {node}: {used >> 20} MB used, {(used + SPARE_BYTES) >> 20} MB allowed",
                    "before": f"{before} killed by the kernel for memory",
                    "after": f"{after} killed, the process is {'gone' if is_gone() else 'still there'}",
                    # The group of a container may end before its count is read.
                    "proves": is_gone() and (after > before or self._owns_groups),
                }
            ]
        )

    def end(self) -> None:
        """Removes the groups of this run; their processes have ended."""
        for group, entry in list(self._entries.items()):
            remove_group(group)
            self._ledger.done(entry)
            del self._entries[group]

    async def _spin(self, group: Path) -> float:
        """Which share of a core a program got that computed inside the group."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-c", SPIN, str(group / "cgroup.procs")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await process.communicate()
        try:
            return float(output)
        except ValueError:
            raise FaultFailed(f"the program that measures {group} gave no answer") from None


def _set_quota(group: Path, share: float | None) -> None:
    (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
    quota = -1 if share is None else max(LEAST_QUOTA_US, round(share * PERIOD_US))
    (group / "cpu.cfs_quota_us").write_text(str(quota))


def _throttled(group: Path) -> int:
    """How often the group was held back so far."""
    rows = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(rows["nr_throttled"])


def _kills(group: Path) -> int:
    """How many processes of a group the kernel has killed for memory."""
    rows: dict[str, Any] = dict(
        line.split() for line in (group / "memory.oom_control").read_text().splitlines()
    )
    return int(rows.get("oom_kill", 0))
