"""The disks of a simulated cluster made to fail and healed, each proven by a write and a sync that are tried.

A sync may take long by chance, so the disk's own word must agree with what was measured.
"""

from __future__ import annotations

from typing import Any

from harness.environments.simulation.disk import CrashReport, Disk, Fault, ProbeResult
from harness.environments.simulation.world import World
from nemesis.cluster import DiskMode, Evidence, evidence_of

OK = "ok"
TRIES_MOST = 200
"""A disk that fails now and then is tried so often, until it fails."""


class DiskFaults:
    """The verbs on disks, and which of them fail now."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.failing: set[str] = set()

    def _disk(self, node: str) -> Disk:
        return self._world.host(node).disk

    async def fail(self, node: str, mode: DiskMode, share: float, delay_ms: float) -> Evidence:
        """See `Cluster.fail_disk`."""
        disk = self._disk(node)
        before = await disk.probe()
        delay_ns = round(delay_ms * 1e6)
        self.failing.add(node)
        disk.set_fault(mode, share, delay_ns)
        patience_ns = before.taken_ns + 2 * delay_ns + 50_000_000
        tries = 0
        while True:
            tries += 1
            after = await disk.probe(patience_ns)
            shows = disk.fault == Fault(mode, share, delay_ns) and _shows(mode, after, delay_ns)
            if shows or tries == TRIES_MOST or mode not in ("eio-sync", "eio-write"):
                break
        probe: dict[str, Any] = {
            "what": f"write and sync on the disk of {node} ({mode})",
            "before": _shown(before),
            "after": _shown(after),
            "proves": shows,
        }
        if tries > 1:
            probe["tries"] = tries
        return evidence_of([probe])

    async def heal(self, node: str) -> Evidence:
        """See `Cluster.heal_disk`."""
        disk = self._disk(node)
        before = disk.fault.kind if disk.fault is not None else "no fault"
        disk.clear_fault()
        self.failing.discard(node)
        after = await disk.probe(patience_ns=60_000_000_000)
        return evidence_of(
            [
                {
                    "what": f"write and sync on the disk of {node}",
                    "before": before,
                    "after": _shown(after),
                    "proves": after.write == after.sync == OK,
                }
            ]
        )

    def lost(self, node: str, report: CrashReport) -> dict[str, Any]:
        """What a power loss did to the disk of a node, as a probe."""
        return {
            "what": f"disk of {node}",
            "before": f"{report.unsynced} unsynced writes and names",
            "after": {
                "lost": report.lost,
                "torn": report.torn,
                "reordered": report.reordered,
                "names": report.names,
            },
            "details": list(report.details),
            "proves": self._disk(node).unsynced() == 0,
        }

    def flip_bits(self, node: str) -> Evidence:
        """See `Cluster.flip_bits`."""
        damage = self._disk(node).flip_bits()
        if damage is None:
            return _nothing_stored(node)
        found = self._disk(node).durable(damage.path)
        assert found is not None, f"{damage.path} was damaged and is not there"
        there = found[damage.offset : damage.offset + len(damage.after)]
        return evidence_of(
            [
                {
                    "what": f"{damage.path} on the disk of {node}, at byte {damage.offset}",
                    "before": damage.before.hex(),
                    "after": there.hex(),
                    "proves": there == damage.after != damage.before,
                }
            ]
        )

    def lose_file(self, node: str) -> Evidence:
        """See `Cluster.lose_file`."""
        disk = self._disk(node)
        sizes = dict(disk.files())
        path = disk.lose_file()
        if path is None:
            return _nothing_stored(node)
        return evidence_of(
            [
                {
                    "what": f"{path} on the disk of {node}",
                    "before": f"{sizes[path]} bytes",
                    "after": "there" if disk.exists(path) else "gone",
                    "proves": not disk.exists(path),
                }
            ]
        )

    def wipe(self, node: str) -> Evidence:
        """See `Cluster.wipe`."""
        disk = self._disk(node)
        before = len(list(disk.files()))
        disk.wipe()
        after = len(list(disk.files()))
        what = f"files on the disk of {node}"
        return evidence_of([{"what": what, "before": before, "after": after, "proves": before > 0 == after}])


def _shows(mode: DiskMode, after: ProbeResult, delay_ns: int) -> bool:
    match mode:
        case "eio-sync":
            return after.sync == "EIO"
        case "eio-write":
            return after.write == "EIO"
        case "full":
            return after.write == "ENOSPC"
        case "stall":
            return after.write == OK and after.sync.startswith("no end")
        case "slow":
            return after.taken_ns >= delay_ns > 0
    raise ValueError(f"unknown mode {mode!r} of a disk")


def _shown(result: ProbeResult) -> str:
    return f"write {result.write}, sync {result.sync} after {result.taken_ns / 1e6:.3f} ms"


def _nothing_stored(node: str) -> Evidence:
    what = f"disk of {node}: nothing is stored durably yet, so nothing could be damaged"
    return evidence_of([{"what": what, "proves": False}])
