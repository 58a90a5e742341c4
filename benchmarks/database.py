"""How fast three local nodes of the reference database commit durable single-range writes, and what each costs.

    python benchmarks/database.py [--clients 64] [--seconds 5] [--rounds 5] [--ranges 8] [--nodes 3]

Real node processes on loopback, real RocksDB with real syncs; clients are connected to every node and send each write
to the leader of its key's range. CPU is that of the node processes (user and system, from Linux's /proc), so it hardly
depends on what else the machine does; writes per second do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from reference_db.client import Client, ClientError, DirectClient  # noqa: E402

KEYS = 5000
TARGETS = {"writes/s": 2000.0, "syncs/write/node": 0.1, "CPU us/write": 700.0}


@dataclass(frozen=True)
class Round:
    """What one round measured. Latencies in ms, CPU in microseconds a write, over all nodes."""

    writes_per_s: float
    syncs_per_write_and_node: float
    batches_per_write_and_node: float
    frames_per_write: float
    cpu_us_per_write: float
    p50_ms: float
    p99_ms: float
    errors: int


class Cluster:
    """Node processes in a temporary folder."""

    def __init__(self, nodes: int, ranges: int, options: dict[str, Any]) -> None:
        self.ranges = ranges
        self.folder = Path(tempfile.mkdtemp(prefix="database-benchmark-"))
        self.names = [f"n{number}" for number in range(1, nodes + 1)]
        ports = free_ports(2 * nodes)
        self.peers = {name: ("127.0.0.1", ports[at]) for at, name in enumerate(self.names)}
        self.clients = {name: ("127.0.0.1", ports[nodes + at]) for at, name in enumerate(self.names)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for at, name in enumerate(self.names):
            config = {
                "node": name,
                "data_dir": str(self.folder / name),
                "peer_listen": self.peers[name],
                "client_listen": self.clients[name],
                "peers": {other: self.peers[other] for other in self.names if other != name},
                "nodes": self.names,
                "replication": min(3, nodes),
                "ranges": ranges,
                "seed": at,
                "options": options,
            }
            (self.folder / f"{name}.json").write_text(json.dumps(config))

    def start(self) -> None:
        """Start all nodes."""
        for name in self.names:
            self.start_node(name)

    def start_node(self, name: str) -> None:
        """Start one node, on the data that it has."""
        command = [sys.executable, "-m", "reference_db.server", "--config", str(self.folder / f"{name}.json")]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stderr=log, cwd=ROOT)

    def kill_node(self, name: str) -> None:
        """End one node without warning; returns when it is gone."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    async def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until every range has a leader that serves."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                served = 0
                for address in self.clients.values():
                    async with Client(address) as client:
                        served += (await client.status(ranges=False))["counters"]["ranges_served"]
                if served >= self.ranges:
                    return
            except ClientError:
                pass
            await asyncio.sleep(0.05)
        raise TimeoutError(f"the cluster was not ready after {timeout_s} s; see {self.folder}")

    def cpu_s(self) -> float:
        """User and system time of all node processes so far."""
        ticks = 0
        for process in self.processes.values():
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    async def counters(self) -> dict[str, int]:
        """The nodes' counters, summed."""
        total: dict[str, int] = {}
        for address in self.clients.values():
            async with Client(address) as client:
                for name, value in (await client.status(ranges=False))["counters"].items():
                    total[name] = total.get(name, 0) + value
        return total

    def stop(self) -> None:
        """End the nodes and remove the folder."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def one_round(cluster: Cluster, clients: int, seconds: float, operation: str) -> Round:
    """All clients write as fast as they can, one request at a time each."""
    sessions = [DirectClient(cluster.clients) for _ in range(clients)]
    for session in sessions:
        await session.connect()
    latencies: list[float] = []
    errors = 0
    stopping = False

    async def work(session: DirectClient, number: int) -> None:
        nonlocal errors
        count = number * 1_000_003
        while not stopping:
            count += 7919
            at = count % KEYS
            # Two leading digits spread the keys over the ranges; see descriptor.cut_points.
            key = f"{'0123456789abcdefghijklmnopqrstuvwxyz'[at % 36]}{at}"
            begin = time.perf_counter()
            try:
                if operation == "put":
                    await session.put(key, count)
                else:
                    await session.get(key)
            except ClientError:
                errors += 1
                await session.refresh()
                continue
            latencies.append(time.perf_counter() - begin)

    tasks = [asyncio.create_task(work(session, number)) for number, session in enumerate(sessions)]
    await asyncio.sleep(0.5)
    latencies.clear()
    before, cpu_before, begin = await cluster.counters(), cluster.cpu_s(), time.perf_counter()
    await asyncio.sleep(seconds)
    writes, elapsed = len(latencies), time.perf_counter() - begin
    cpu, after = cluster.cpu_s() - cpu_before, await cluster.counters()
    stopping = True
    await asyncio.gather(*tasks)
    for session in sessions:
        session.close_now()
    latencies.sort()
    per_node = writes * len(cluster.names)
    return Round(
        writes_per_s=writes / elapsed,
        syncs_per_write_and_node=(after["syncs"] - before["syncs"]) / per_node,
        batches_per_write_and_node=(after["batches"] - before["batches"]) / per_node,
        frames_per_write=(after["frames_sent"] - before["frames_sent"]) / writes,
        cpu_us_per_write=cpu / writes * 1e6,
        p50_ms=latencies[writes // 2] * 1000,
        p99_ms=latencies[writes * 99 // 100] * 1000,
        errors=errors,
    )


async def measure(arguments: argparse.Namespace) -> list[Round]:
    """Start a cluster, measure, stop it."""
    cluster = Cluster(arguments.nodes, arguments.ranges, {})
    try:
        cluster.start()
        await cluster.wait_ready()
        return [
            await one_round(cluster, arguments.clients, arguments.seconds, arguments.operation)
            for _ in range(arguments.rounds)
        ]
    finally:
        cluster.stop()


def print_table(rounds: list[Round], arguments: argparse.Namespace) -> None:
    """One line a round, then the medians beside the targets."""
    columns = [
        ("writes/s", [one.writes_per_s for one in rounds], "8.0f"),
        ("syncs/write/node", [one.syncs_per_write_and_node for one in rounds], "16.3f"),
        ("batches/write/node", [one.batches_per_write_and_node for one in rounds], "18.3f"),
        ("frames/write", [one.frames_per_write for one in rounds], "12.2f"),
        ("CPU us/write", [one.cpu_us_per_write for one in rounds], "12.0f"),
        ("p50 ms", [one.p50_ms for one in rounds], "7.1f"),
        ("p99 ms", [one.p99_ms for one in rounds], "7.1f"),
        ("errors", [float(one.errors) for one in rounds], "6.0f"),
    ]
    print(
        f"{arguments.operation}: {arguments.nodes} nodes, {arguments.ranges} ranges, {arguments.clients} clients, "
        f"{arguments.seconds:g} s a round, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':8}" + "  ".join(f"{name:>{int(spec.split('.')[0])}}" for name, _, spec in columns))
    for at in range(len(rounds)):
        print(f"round {at + 1:<2}" + "  ".join(f"{values[at]:{spec}}" for _, values, spec in columns))
    print(f"{'median':8}" + "  ".join(f"{statistics.median(values):{spec}}" for _, values, spec in columns))
    print(f"{'target':8}" + ", ".join(f"{name} {value:g}" for name, value in TARGETS.items()))


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ranges", type=int, default=8)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--operation", choices=["put", "get"], default="put")
    arguments = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        rounds = asyncio.run(measure(arguments))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rounds = runner.run(measure(arguments))
    print_table(rounds, arguments)


if __name__ == "__main__":
    main()
