"""What many ranges cost, and what each technique that makes them cheap brings: on and off, on one machine, in one run.

    python benchmarks/multi_raft.py [--rows heartbeats,idle,death,writes] [--most-ranges 10000] [--seconds 5]
                                    [--json FILE] [--svg FILE]

Three node processes on loopback, real RocksDB with real syncs. Counts are the nodes' own counters; CPU is that of the
node processes (user and system, from Linux's /proc) and hardly depends on what else the machine does; times and writes
a second do, so the load average stands beside them. A row of `death` is a `kill -9` of a node that leads a third of the
ranges: how long until every range serves again, and how many requests for votes that took in proportion to what is
needed (two a range).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.database import Cluster, one_round  # noqa: E402
from reference_db.client import Client, ClientError  # noqa: E402

NODES = 3
FOLLOWERS = 2
READY_S = 180.0
GIVE_UP_S = 40.0
"""How long a row of `death` waits for all ranges."""
ASLEEP_S = 8.0
"""After this all ranges of a new cluster are asleep, if they may be."""

Row = dict[str, Any]


async def started(ranges: int, options: dict[str, Any]) -> Cluster:
    """A cluster whose ranges are all led."""
    cluster = Cluster(NODES, ranges, options)
    cluster.start()
    try:
        await cluster.wait_ready(READY_S)
    except BaseException:
        cluster.stop()
        raise
    return cluster


def resident_bytes(cluster: Cluster) -> list[int]:
    """Memory of each node process that is in RAM."""
    found = []
    for process in cluster.processes.values():
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                found.append(int(line.split()[1]) * 1024)
    return found


async def watched(cluster: Cluster, seconds: float) -> tuple[dict[str, float], float]:
    """The counters of all nodes together, a second, and the CPU of a node in percent of a core, while nobody asks."""
    before, counted_at = await cluster.counters(), time.monotonic()
    cpu, begin = cluster.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    used, elapsed = cluster.cpu_s() - cpu, time.monotonic() - begin
    # With thousands of ranges it takes a while to ask.
    after, passed = await cluster.counters(), time.monotonic() - counted_at
    rates = {name: (after[name] - before[name]) / passed for name in after}
    return rates, 100 * used / elapsed / NODES


async def heartbeats(arguments: argparse.Namespace) -> list[Row]:
    """Envelopes a second with more and more ranges, all awake, together and apart."""
    rows = []
    for coalescing in ("on", "off"):
        for ranges in (1, 10, 100, 1000, 10_000):
            if ranges > min(arguments.most_ranges, 1000 if coalescing == "off" else 10_000):
                continue
            cluster = await started(ranges, {"coalescing": coalescing, "quiescence": "off"})
            try:
                await asyncio.sleep(2.0)
                rates, cpu = await watched(cluster, arguments.seconds)
            finally:
                cluster.stop()
            rows.append(
                {
                    "row": "heartbeats",
                    "coalescing": coalescing,
                    "ranges": ranges,
                    "envelopes/s": rates["heartbeat_envelopes"] + rates["answer_envelopes"],
                    "heartbeats/s": rates["heartbeats"],
                    "frames/s": rates["frames_sent"],
                    "bytes/s": rates["bytes_sent"],
                    "CPU % of a core, a node": cpu,
                }
            )
            show(rows[-1])
    return rows


async def idle(arguments: argparse.Namespace) -> list[Row]:
    """CPU and memory of clusters that nobody uses, with quiescence and without."""
    rows: list[Row] = []
    small = await started(1, {})
    await asyncio.sleep(ASLEEP_S)
    least = sum(resident_bytes(small)) / NODES
    small.stop()
    for quiescence in ("on", "off"):
        for ranges in (1000, 10_000):
            if ranges > arguments.most_ranges:
                continue
            cluster = await started(ranges, {"quiescence": quiescence})
            try:
                await asyncio.sleep(ASLEEP_S + ranges / 1000)
                rates, cpu = await watched(cluster, 2 * arguments.seconds)
                memory = sum(resident_bytes(cluster)) / NODES
            finally:
                cluster.stop()
            rows.append(
                {
                    "row": "idle",
                    "quiescence": quiescence,
                    "ranges": ranges,
                    "CPU % of a core, a node": cpu,
                    "kB a replica": (memory - least) / ranges / 1000,
                    "MB a node": memory / 1e6,
                    "replica ticks/s": rates["replica_ticks"],
                    "frames/s": rates["frames_sent"],
                }
            )
            show(rows[-1])
    return rows


CONTROLS: dict[str, dict[str, Any]] = {
    "all on": {},
    "jitter off": {"election_jitter": "off"},
    "priority off": {"election_priority": "off"},
    "bound off": {"elections_most": 0},
    "all off": {"storm_control": "off"},
}


async def death(arguments: argparse.Namespace) -> list[Row]:
    """A node that leads a third of all ranges is killed, with each control of elections on and off."""
    rows = []
    for name, options in CONTROLS.items():
        ranges = min(3000, arguments.most_ranges)
        cluster = await started(ranges, options)
        try:
            await asyncio.sleep(ASLEEP_S)
            orphans = await led_by(cluster, "n1")
            victim = cluster.processes.pop("n1")
            cluster.clients.pop("n1")
            before, cpu = await cluster.counters(), cluster.cpu_s()
            victim.send_signal(signal.SIGKILL)
            begin = time.monotonic()
            victim.wait()
            seconds, asked = await until_served(cluster, ranges, begin)
            cpu = cluster.cpu_s() - cpu
            after = await cluster.counters()
        finally:
            cluster.stop()
        ideal = max(len(orphans) * FOLLOWERS, 1)
        rows.append(
            {
                "row": "death",
                "controls": name,
                "ranges led": len(orphans),
                "s until all serve": seconds,
                "CPU s of two survivors": cpu,
                "status asked": asked,
                "vote factor": (after["votes"] - before["votes"]) / ideal,
                "pre-vote factor": (after["pre_votes"] - before["pre_votes"]) / ideal,
            }
        )
        show(rows[-1])
    return rows


async def led_by(cluster: Cluster, node: str) -> list[int]:
    """The ranges that a node serves."""
    async with Client(cluster.clients[node]) as client:
        return [one["id"] for one in (await client.status())["ranges"] if one["serves"]]


async def until_served(cluster: Cluster, ranges: int, begin: float) -> tuple[float, int]:
    """Seconds until the survivors serve everything, infinite if that takes too long; and how often they were asked,
    which is not free."""
    asked = 0
    while time.monotonic() - begin < GIVE_UP_S:
        served: set[int] = set()
        for node in cluster.clients:
            try:
                served |= set(await led_by(cluster, node))
            except (ClientError, OSError):
                continue
        asked += 1
        if len(served) == ranges:
            return time.monotonic() - begin, asked
        await asyncio.sleep(0.2)
    return math.inf, asked


async def writes(arguments: argparse.Namespace) -> list[Row]:
    """Durable writes a second over more and more ranges, with one batch and sync for all of them and with one each."""
    rows = []
    for batching in ("on", "off"):
        for ranges in (1, 2, 8, 64):
            cluster = await started(ranges, {"batching": batching})
            try:
                measured = await one_round(cluster, arguments.clients, arguments.seconds, "put")
            finally:
                cluster.stop()
            rows.append(
                {
                    "row": "writes",
                    "batching": batching,
                    "ranges": ranges,
                    "writes/s": measured.writes_per_s,
                    "syncs/write/node": measured.syncs_per_write_and_node,
                    "CPU us/write": measured.cpu_us_per_write,
                    "p50 ms": measured.p50_ms,
                    "p99 ms": measured.p99_ms,
                    "errors": measured.errors,
                }
            )
            show(rows[-1])
    return rows


ROWS: dict[str, Callable[[argparse.Namespace], Awaitable[list[Row]]]] = {
    "heartbeats": heartbeats,
    "idle": idle,
    "death": death,
    "writes": writes,
}


def show(row: Row) -> None:
    """One measured row, at once: a whole run takes minutes."""
    row["load"] = round(os.getloadavg()[0], 1)
    print("  ".join(f"{name} {shown(value)}" for name, value in row.items()), flush=True)


def shown(value: Any) -> str:
    """A value as a table holds it."""
    if not isinstance(value, float):
        return str(value)
    if math.isinf(value):
        return f"more than {GIVE_UP_S:g}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(rows: list[Row]) -> str:
    """Markdown, one table for rows with the same columns."""
    lines: list[str] = []
    columns: list[str] = []
    for row in rows:
        if list(row) != columns:
            columns = list(row)
            lines += ["", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines.append(f"| {' | '.join(shown(row[name]) for name in columns)} |")
    return "\n".join(lines[1:])


def plot(rows: list[Row]) -> str:
    """Envelopes a second against ranges, both logarithmic, as SVG."""
    width, height, margin = 480, 320, 48
    points = [row for row in rows if row["row"] == "heartbeats" and row["envelopes/s"] > 0]
    most = max([row["envelopes/s"] for row in points], default=10.0)
    top, right = math.ceil(math.log10(most)), 4

    def place(ranges: float, envelopes: float) -> tuple[float, float]:
        x = margin + (width - 2 * margin) * math.log10(ranges) / right
        y = height - margin - (height - 2 * margin) * math.log10(max(envelopes, 1)) / top
        return round(x, 1), round(y, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{margin}" y="24">heartbeat envelopes a second, three nodes</text>',
    ]
    for power in range(top + 1):
        x, y = place(1, 10**power)
        parts.append(f'<path d="M{x} {y}H{width - margin}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{10**power:,}</text>')
    for power in range(right + 1):
        x, y = place(10**power, 1)
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{10**power:,}</text>')
    parts.append(f'<text x="{width - margin}" y="{height - 8}" text-anchor="end">ranges</text>')
    for coalescing, colour, name in (("on", "#1a7f37", "coalesced"), ("off", "#cf222e", "one for each")):
        line = [place(row["ranges"], row["envelopes/s"]) for row in points if row["coalescing"] == coalescing]
        if line:
            path = "L".join(f"{x} {y}" for x, y in line)
            x, y = line[-1]
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts.append(f'<text x="{x}" y="{y - 8}" fill="{colour}" text-anchor="end">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


async def measure(arguments: argparse.Namespace) -> list[Row]:
    """All rows that were asked for."""
    rows: list[Row] = []
    for name in arguments.rows.split(","):
        if name not in ROWS:
            raise SystemExit(f"no rows {name!r}: there are {', '.join(ROWS)}")
        rows += await ROWS[name](arguments)
    return rows


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--most-ranges", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments))
    print(f"\n{table(rows)}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.svg is not None:
        arguments.svg.write_text(plot(rows))


if __name__ == "__main__":
    main()
