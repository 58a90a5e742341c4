"""Whether the kernel has frozen a process's cgroup: an answer that does not come from the engine that froze it."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def is_frozen(pid: int, proc: Path = Path("/proc"), root: Path = _ROOT) -> bool | None:
    """True, False, or None where this cannot be seen (the process is gone, the cgroups are not mounted here)."""
    try:
        membership = (proc / str(pid) / "cgroup").read_text()
    except OSError:
        return None
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if "freezer" in controllers.split(","):
            return _first_version(root / "freezer" / path.lstrip("/") / "freezer.state")
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            return _second_version(root / path.lstrip("/") / "cgroup.events")
    return None


def _first_version(path: Path) -> bool | None:
    try:
        return path.read_text().strip() == "FROZEN"
    except OSError:
        return None


def _second_version(path: Path) -> bool | None:
    try:
        events = dict(line.split() for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return None
    return events["frozen"] == "1" if "frozen" in events else None
