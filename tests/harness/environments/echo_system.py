"""The echo node as a system under test, and what a test asks it: from the outside, past all evidence of ours."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness
from harness.environments.environment import (
    Address,
    Addresses,
    Launch,
    NodePlan,
    SimulatedHost,
    SimulatedWorld,
)
from tests.harness.environments import echo_node

ROOT = Path(harness.__file__).resolve().parents[1]
PATIENCE_S = 30.0
"""For what must come in the end, however busy the machine is."""
SOON_S = 0.5
"""What has not come after this does not come, as far as a test looks."""


@dataclass
class TestFolder:
    """What an environment uses of a run folder."""

    __test__ = False
    path: Path

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger.jsonl"

    def node_dir(self, name: str) -> Path:
        directory = self.path / "nodes" / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory


@dataclass
class EchoSystem:
    """See `SystemUnderTest`."""

    name: str = "echo"
    ports: tuple[str, ...] = ("peer", "client")
    supports: frozenset[str] = frozenset({"clock", "leaders"})
    clock_port: bool = True
    fail: dict[str, str] = field(default_factory=dict)
    """Node -> what it prints before it exits at once."""

    def configuration(self, plan: NodePlan) -> dict[str, Any]:
        return {
            "node": plan.name,
            "peer_listen": plan.listen["peer"],
            "client_listen": plan.listen["client"],
            "peers": {name: addresses["peer"] for name, addresses in plan.reach.items()},
            "clock_file": None if plan.clock_file is None else str(plan.clock_file),
            "fail": self.fail.get(plan.name),
        }

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        config = self.configuration(plan)
        argv = [sys.executable, str(ROOT / "tests/harness/environments/echo_node.py"), "config.json"]
        return Launch(argv, {"PYTHONPATH": str(ROOT)}, {"config.json": json.dumps(config).encode()})

    async def run_on(
        self, host: SimulatedHost, plan: NodePlan, all_nodes: tuple[str, ...], stopping: asyncio.Event
    ) -> int:
        program = asyncio.ensure_future(
            echo_node.main(self.configuration(plan), logging.getLogger("echo").info)
        )
        asked = asyncio.ensure_future(stopping.wait())
        await asyncio.wait([program, asked], return_when=asyncio.FIRST_COMPLETED)
        if program.done():
            program.result()
        return 0

    def watch(self, world: SimulatedWorld | None) -> None:
        self.world = world

    def disk_damaged(self, node: str) -> None: ...

    async def is_ready(self, address: Addresses) -> bool:
        return (await ask(address["client"], SOON_S)) is not None

    async def read_clock(self, address: Addresses) -> int | None:
        answer = await ask(address["client"], SOON_S)
        return None if answer is None else answer["clock_ns"]

    async def leaders(self, addresses: dict[str, Addresses]) -> dict[str, str]:
        return {"r1": min(addresses)}


async def ask(address: Address, timeout_s: float = PATIENCE_S) -> dict[str, Any] | None:
    """The status of a node, or None if it does not answer in time. Who expects silence asks with less patience."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(b"status\n")
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    return json.loads(line) if line else None


async def until(condition: Any, timeout_s: float = PATIENCE_S) -> None:
    """Wait until an (async) condition holds; fails with what it was about."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return
        assert loop.time() < deadline, f"did not hold within {timeout_s} s: {condition}"
        await asyncio.sleep(0.01)
