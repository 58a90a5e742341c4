"""What `harness heal` does for the environment `ssh`: log in again, end the run's processes, remove rules and files.

The entry of a host has all that it takes; those of processes and links need nothing of their own.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from harness.environments.ledger import Entry, LedgerHeader
from harness.environments.ssh.cluster import clean_host, tags_of
from harness.environments.ssh.hosts import Host, Login, parse_destination


def undo(entry: Entry, header: LedgerHeader) -> str | None:
    """Undo one entry. Raises EnvironmentFailed where the host cannot be reached."""
    match entry.kind:
        case "host":
            return asyncio.run(_clean(entry, header)) or None
        case "process" | "mount" | "links" | "pause" | "names" | "clock":
            return None
        case _:
            raise ValueError(
                f"no undo for kind {entry.kind!r}; known: host, process, mount, links, pause, names, clock"
            )


async def _clean(entry: Entry, header: LedgerHeader) -> str:
    about = entry.undo["login"]
    login = Login(
        Path(about["known_hosts"]),
        None if about["key"] is None else Path(about["key"]),
        None if about["jump"] is None else parse_destination(about["jump"]),
        about["sudo"],
        about["marker"],
    )
    host = Host(parse_destination(entry.undo["destination"]), login)
    try:
        await host.open()
        tags = tags_of(header.token, entry.undo["name"])
        return "; ".join(await clean_host(host, entry.undo["folder"], entry.undo["run_key"], tags))
    finally:
        host.close()


def sweep(header: LedgerHeader) -> list[str]:
    """Nothing of the run is on this host."""
    return []
