"""What `harness heal` does for the environment `docker`: remove the containers and networks of a dead run.

Cut links, pauses and clocks need no undo of their own: rules live in the namespace of a container and a pause in its
cgroup, both end with it, and the clock file is read by nobody else.
"""

from __future__ import annotations

from harness.environments.docker.engine import connect, remove_run, run_key, translated
from harness.environments.ledger import Entry, LedgerHeader


def undo(entry: Entry, header: LedgerHeader) -> str | None:
    """Undo one entry. The first container or network takes all others of the run with it, by the run's label."""
    match entry.kind:
        case "container" | "network":
            return "; ".join(sweep(header)) or None
        case "links" | "pause" | "clock":
            return None
        case _:
            raise ValueError(
                f"no undo for kind {entry.kind!r}; known: container, network, links, pause, clock"
            )


def sweep(header: LedgerHeader) -> list[str]:
    """Remove everything in the engine that carries the run's label. Raises EnvironmentFailed if something is left."""
    engine = connect()
    try:
        removed = translated("cleaning up", remove_run, engine.api, run_key(header.token))
    finally:
        engine.close()
    return [f"removed {thing}" for thing in removed]
