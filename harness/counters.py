"""What each node has counted by the end of a run, for the record: nothing is judged by it.

Asked once, when all is read and done, and by a way that no fault touches. A node that does not answer is left out; a
system whose nodes count nothing has no such event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from harness.environments.environment import Addresses
from harness.systems.system import CountingSystem

COUNTERS = "counters"
"""The event in the history: `{"nodes": {node: {name: number}}, "silent": [nodes]}`."""
ASK_TIMEOUT_S = 5.0


async def ask_counters(system: CountingSystem, addresses: Mapping[str, Addresses]) -> dict[str, Any]:
    """The value of the event; never raises for a node that cannot be asked."""

    async def ask(node: str) -> dict[str, int | float] | None:
        try:
            return await asyncio.wait_for(system.counters(addresses[node]), ASK_TIMEOUT_S)
        except Exception:  # noqa: BLE001 - whatever keeps a node from answering, the run is over and judged without it
            return None

    nodes = sorted(addresses)
    answers = dict(zip(nodes, await asyncio.gather(*map(ask, nodes)), strict=True))
    return {
        "nodes": {node: answer for node, answer in answers.items() if answer is not None},
        "silent": [node for node, answer in answers.items() if answer is None],
    }
