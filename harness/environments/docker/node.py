"""One node: a container, its folder in the run folder, and the small shell that is its first process.

What the container sees as `/node` is that folder: `data/`, `node.log`, `clock` and `gate`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness.environments.environment import Addresses, NodePlan
from nemesis.cluster import NodeState

IN_CONTAINER = PurePosixPath("/node")
DATA, LOG, CLOCK_FILE, GATE = "data", "node.log", "clock", "gate"
FIRST_PORT = 7000
"""Ports are the same in every container, counted from here in the order of the system's port names."""

ENTRY = r"""
read -r _ < "$1/gate" || exit 125
log="$1/node.log"
shift
"$@" >> "$log" 2>&1 &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM INT
while :; do
    wait "$child"
    status=$?
    kill -0 "$child" 2>/dev/null || exit "$status"
done
"""
"""What a container runs: waits at the gate, then runs the node's command (the other arguments) as its child. A process
with number 1 ignores SIGTERM unless it handles it, so the shell is that process and passes the signal on."""


@dataclass
class Node:
    """One container, and what is known about it."""

    name: str
    container: str
    """Id of the container."""
    folder: Path
    plan: NodePlan
    """As the node sees it: paths inside the container."""
    client_address: Addresses
    direct_address: Addresses
    ledger_entry: int
    state: NodeState = "down"
    pid: int | None = None
    """The container's first process, as this host numbers it, while it runs."""
    end_is_asked_for: bool = False
    pause_entry: int | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever starts, stops, pauses or resumes it: these acts on one node never overlap."""
