"""What transactions cost: by protocol, isolation, contention and the number of ranges that they touch, and as ratios.

    python benchmarks/transactions.py [--seconds 5] [--clients 16]
                                      [--protocols record,record-parallel,primary-lock,two-phase]
                                      [--isolations serializable] [--ranges 1,2,8] [--contention uniform,zipf]
                                      [--json FILE]

Three node processes on loopback, real RocksDB with real syncs, eight ranges. A transfer reads as many accounts as it
touches ranges (two, where it touches one), one in each, and moves money around between them; the total is read at the
end and must be what it was. Of uniform accounts there are many; of Zipf's (exponent 1.1) a few are wanted by all. A
transfer that is refused is tried again with the priority of its first attempt, as `Client.transact` does; its latency
counts from the first. `record-parallel` is `record` with `parallel_commit`, `primary-lock-async` is with
`async_commit`. What the machine does besides changes times, not the ratios of rows that were measured in turn; so
rounds go over all rows of a protocol.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.database import Cluster  # noqa: E402
from reference_db.api import Isolation, TransactionProtocol  # noqa: E402
from reference_db.client import Client, ClientError, Transaction  # noqa: E402

NODES, RANGES = 3, 8
ACCOUNTS = {"uniform": 200, "zipf": 20}
"""In each range."""
ZIPF = 1.1
BALANCE = 1000
ROUNDS = 3
PROTOCOLS: dict[str, tuple[TransactionProtocol, dict[str, Any]]] = {
    "record": (TransactionProtocol.RECORD, {}),
    "record-parallel": (TransactionProtocol.RECORD, {"parallel_commit": True}),
    "record-slow-path": (TransactionProtocol.RECORD, {"one_range_commit": False}),
    "primary-lock": (TransactionProtocol.PRIMARY_LOCK, {}),
    "primary-lock-async": (TransactionProtocol.PRIMARY_LOCK, {"async_commit": True}),
    "two-phase": (TransactionProtocol.TWO_PHASE, {}),
}
"""Name -> protocol of the transactions, options of the cluster."""
Row = dict[str, Any]


class Chooser:
    """Accounts as a contention says."""

    def __init__(self, contention: str, keys: list[list[str]], stream: random.Random) -> None:
        self._keys = keys
        self._stream = stream
        count = len(keys[0])
        weights = [1.0 if contention == "uniform" else 1 / (rank + 1) ** ZIPF for rank in range(count)]
        self._weights = weights

    def choose(self, ranges: int) -> list[str]:
        """Two accounts of one range, or one of each of several."""
        stream = self._stream
        places = stream.sample(range(len(self._keys)), ranges)
        if ranges > 1:
            return [stream.choices(self._keys[place], self._weights)[0] for place in places]
        (place,) = places
        first = stream.choices(self._keys[place], self._weights)[0]
        second = first
        while second == first:
            second = stream.choices(self._keys[place], self._weights)[0]
        return [first, second]


class Tally:
    """What one row has come to."""

    def __init__(self) -> None:
        self.done = 0
        self.attempts = 0
        self.given_up = 0
        self.elapsed_s = 0.0
        self.latencies_s: list[float] = []

    def row(self) -> Row:
        """Its figures."""
        latencies = sorted(self.latencies_s) or [0.0]
        return {
            "transfers": self.done,
            "a_second": round(self.done / self.elapsed_s, 1) if self.elapsed_s else 0.0,
            "median_ms": round(1000 * latencies[len(latencies) // 2], 2),
            "p99_ms": round(1000 * latencies[int(len(latencies) * 0.99)], 2),
            "aborted_share": round(1 - self.done / self.attempts, 3) if self.attempts else 0.0,
            "given_up": self.given_up,
        }


async def transfers(
    clients: list[Client],
    choosers: list[Chooser],
    tally: Tally,
    seconds: float,
    ranges: int,
    protocol: TransactionProtocol,
    isolation: Isolation,
) -> None:
    """Every client moves money, one transfer after the other, for so long."""
    end = time.monotonic() + seconds

    async def work_of(client: Client, chooser: Chooser) -> None:
        while time.monotonic() < end:
            keys = chooser.choose(ranges)

            async def move(transaction: Transaction, keys: list[str] = keys) -> None:
                tally.attempts += 1
                held = await transaction.get_many(keys)
                for key, balance, change in zip(
                    keys, held, [-(len(keys) - 1), *([1] * (len(keys) - 1))], strict=True
                ):
                    await transaction.put(key, balance + change)

            began = time.monotonic()
            try:
                await client.transact(move, protocol=protocol, isolation=isolation)
            except ClientError:
                tally.given_up += 1
            else:
                tally.done += 1
                tally.latencies_s.append(time.monotonic() - began)

    began = time.monotonic()
    await asyncio.gather(*(work_of(*one) for one in zip(clients, choosers, strict=True)))
    tally.elapsed_s += time.monotonic() - began


async def keys_of_ranges(client: Client, count: int) -> list[list[str]]:
    """So many new keys of each range."""
    found = []
    for one in (await client.status())["ranges"]:
        start = one["start"] or "\x02"
        found.append([f"{start}/{number:05d}" for number in range(count)])
    return found


async def measure(arguments: argparse.Namespace) -> list[Row]:
    """All rows: a cluster for each set of options, and the rest of the rows in turn on it."""
    rows: list[Row] = []
    for name in arguments.protocols:
        protocol, options = PROTOCOLS[name]
        cluster = Cluster(NODES, RANGES, options)
        cluster.start()
        try:
            await cluster.wait_ready(60.0)
            rows += await measure_cluster(arguments, name, protocol, cluster)
        finally:
            cluster.stop()
    return rows


async def measure_cluster(
    arguments: argparse.Namespace, name: str, protocol: TransactionProtocol, cluster: Cluster
) -> list[Row]:
    """The rows of one protocol."""
    addresses = list(cluster.clients.values())
    clients = [
        Client([*addresses[at % NODES :], *addresses[: at % NODES]], timeout_s=10.0)
        for at in range(arguments.clients)
    ]
    rows = []
    try:
        keys = {
            contention: await keys_of_ranges(clients[0], ACCOUNTS[contention])
            for contention in arguments.contention
        }
        every = sorted({key for of_ranges in keys.values() for of_range in of_ranges for key in of_range})
        for key in every:
            await clients[0].put(key, BALANCE)
        cells = [
            (isolation, contention, ranges)
            for isolation in arguments.isolations
            for contention in arguments.contention
            for ranges in arguments.ranges
        ]
        tallies = {cell: Tally() for cell in cells}
        for turn in range(ROUNDS):
            for isolation, contention, ranges in cells:
                choosers = [
                    Chooser(contention, keys[contention], random.Random(f"{turn} {at} {ranges}"))
                    for at in range(len(clients))
                ]
                tally = tallies[isolation, contention, ranges]
                level = Isolation[isolation.upper()]
                share = arguments.seconds / ROUNDS
                await transfers(clients, choosers, tally, share, ranges, protocol, level)
        held = sum(await clients[0].get_many(every))
        assert held == BALANCE * len(every), f"the accounts hold {held}, and held {BALANCE * len(every)}"
        for cell, tally in tallies.items():
            isolation, contention, ranges = cell
            rows.append(
                {
                    "protocol": name,
                    "isolation": isolation,
                    "contention": contention,
                    "ranges": ranges,
                    **tally.row(),
                }
            )
    finally:
        for client in clients:
            client.close_now()
    return rows


def ratios(rows: list[Row]) -> list[str]:
    """What a transfer over several ranges costs against one in one range, where all else is the same."""
    told = []
    for row in rows:
        base = next(
            other
            for other in rows
            if other["ranges"] == min(one["ranges"] for one in rows)
            and all(other[name] == row[name] for name in ("protocol", "isolation", "contention"))
        )
        if base is not row and row["median_ms"] and row["a_second"]:
            told.append(
                f"{row['protocol']}, {row['isolation']}, {row['contention']}: {row['ranges']} ranges against "
                f"{base['ranges']}: latency x {row['median_ms'] / base['median_ms']:.2f}, "
                f"transfers a second x {row['a_second'] / base['a_second']:.2f}"
            )
    return told


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def words(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("--seconds", type=float, default=5.0, help="of each row")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument(
        "--protocols", type=words, default=["record", "record-parallel", "primary-lock", "two-phase"]
    )
    parser.add_argument("--isolations", type=words, default=["serializable"])
    parser.add_argument("--contention", type=words, default=["uniform", "zipf"])
    parser.add_argument(
        "--ranges", type=lambda text: [int(one) for one in text.split(",")], default=[1, 2, 8]
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments))
    load = os.getloadavg()[0]
    columns = list(rows[0])
    print(f"load average {load:.1f}; {arguments.clients} clients, {arguments.seconds:g} s a row")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in columns) + " |")
    print("\n".join(["", *ratios(rows)]))
    if arguments.json:
        arguments.json.write_text(json.dumps({"load": load, "rows": rows, "ratios": ratios(rows)}, indent=1))


if __name__ == "__main__":
    main()
