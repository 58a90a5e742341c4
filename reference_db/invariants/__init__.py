"""What must hold of all nodes at every moment, checked while they run: a watcher for simulations."""

from reference_db.invariants.keyspace import check_tiling
from reference_db.invariants.violation import INVARIANTS, Violation
from reference_db.invariants.watcher import Watcher, WatcherBroken

__all__ = [
    "INVARIANTS",
    "Violation",
    "Watcher",
    "WatcherBroken",
    "check_tiling",
]
