"""A tiny system to run in containers, and the engine to run it on: skipped without one unless it is required."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harness.environments.docker.engine import Engine, connect
from harness.environments.environment import Addresses, EnvironmentFailed, Launch, NodePlan
from tests.support.requirements import skip_unless_required

SERVER = r'''
"""Echoes lines; tells its time, as its clock file says; connects and sends where it is told."""
import asyncio, json, os, signal, struct, sys, time

LISTEN, CLOCK = json.loads(sys.argv[1]), sys.argv[2]

def shift_ns():
    with open(CLOCK, "rb") as file:
        _, offset_ns, rate_ppb, anchor_ns, _ = struct.unpack("<QqqqQ", file.read())
    return offset_ns + rate_ppb * (time.monotonic_ns() - anchor_ns) // 10**9

async def answer(line):
    words = line.decode().split()
    if words[0] == "clock":
        return time.time_ns() + shift_ns()
    if words[0] == "connect":
        try:
            async with asyncio.timeout(0.7):
                reader, writer = await asyncio.open_connection(words[1], int(words[2]))
                writer.write(b"hello\n")
                reply = await reader.readline()
                writer.close()
                return reply.decode().strip()
        except (OSError, TimeoutError) as error:
            return type(error).__name__
    return line.decode().strip()

async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(f"{await answer(line)}\n".encode())
        await writer.drain()
    writer.close()

async def main():
    stop = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: stop.set_result(None))
    servers = [await asyncio.start_server(serve, host, port) for host, port in LISTEN]
    print("serving as user", os.getuid(), flush=True)
    await stop
    print("ended as asked", flush=True)

asyncio.run(main())
'''


class EchoSystem:
    """A system in one file, without an image of its own."""

    name = "echo"
    ports = ("peer", "client")
    supports = frozenset({"clock"})
    clock_port = True

    def __init__(self, server: str = SERVER) -> None:
        self.server = server

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        listen = json.dumps([list(address) for address in plan.listen.values()])
        return Launch(
            ["python3", str(plan.data_dir / "server.py"), listen, str(plan.clock_file)],
            files={"server.py": self.server.encode()},
        )

    async def ask(self, address: tuple[str, int], line: str, timeout_s: float = 30.0) -> str:
        """One line to a node, one line back."""
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(line.encode() + b"\n")
                reply = await reader.readline()
            finally:
                writer.close()
            if not reply:
                raise ConnectionResetError("the node closed the connection")
            return reply.decode().strip()

    async def is_ready(self, address: Addresses) -> bool:
        return await self.ask(address["client"], "hello", 2.0) == "hello"

    async def read_clock(self, address: Addresses) -> int | None:
        return int(await self.ask(address["client"], "clock", 2.0))

    async def leaders(self, addresses: Mapping[str, Addresses]) -> dict[str, str]:
        return {}


class PlainFolder:
    """As much of a run folder as an environment uses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger_path = path / "ledger.jsonl"

    def node_dir(self, name: str) -> Path:
        path = self.path / "nodes" / name
        path.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def echo() -> EchoSystem:
    return EchoSystem()


@pytest.fixture
def folder(tmp_path: Path) -> PlainFolder:
    return PlainFolder(tmp_path)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The engine of this machine, looked at directly by a test; what a test leaves there is its failure."""
    try:
        engine = connect()
    except EnvironmentFailed as error:
        skip_unless_required("docker", str(error))
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def leftovers(engine: Engine) -> Callable[[Path], list[str]]:
    """What a run has left in the engine: containers, networks, unfinished images. Things of others do not count."""

    def find(run_folder: Path) -> list[str]:
        filters = {"label": f"multiraft-harness.folder={run_folder.resolve()}"}
        found = [container["Names"][0] for container in engine.api.containers(all=True, filters=filters)]
        return found + [network["Name"] for network in engine.api.networks(filters=filters)]

    return find
