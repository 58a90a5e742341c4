"""What watching a run costs: events through the online checkers, beside what the driver takes for an operation.

A recorded run of each workload against the database in memory (without a network) is played to fresh online checkers
again and again; the figure is the processor time for an operation, which is two events. Beside it stands the time that
interpreter, driver and journal take for one (`benchmarks.interpreter`, measured in the same process), and the share.

    python -m benchmarks.online [--seconds 3] [--operations 20000]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

from benchmarks.interpreter import measure
from harness.driver import Progress, StopSignal, drive
from harness.interpreter import Interpreter
from harness.systems.in_memory.database import InMemoryDatabase
from results.operation import Operation
from workloads.bank import Bank
from workloads.list_append import ListAppend
from workloads.monotonic import Monotonic
from workloads.register import Register
from workloads.set import Set
from workloads.unique_ids import UniqueIdsWorkload
from workloads.workload import Workload, WorkloadOptions

NODES = ("n1", "n2", "n3")
KINDS: tuple[type[Workload], ...] = (Bank, Register, Set, Monotonic, ListAppend, UniqueIdsWorkload)
REPEATS = 5


class KeptEvents:
    """A journal in memory."""

    def __init__(self) -> None:
        self.events: list[Operation] = []
        self.record = self.events.append

    def commit(self) -> None:
        """Nothing is written."""


async def recorded(kind: type[Workload], operations: int) -> tuple[Workload, list[Operation]]:
    """A workload, and the clients' events of its main phase against a right database."""
    extra = {"read_interval": 0.05} if kind is Set else {}
    options = WorkloadOptions(
        random=random.Random(3),
        concurrency=20,
        nodes=NODES,
        rate=4000.0,
        time_limit_s=operations / 4000,
        extra=extra,
    )
    workload = kind(options)
    database = InMemoryDatabase(random.Random(4))
    await workload.setup(await database.open_session("n1"))
    interpreter = Interpreter(
        workload.generator, 20, list(NODES), random.Random(5), problems=workload.problems
    )
    journal = KeptEvents()
    await drive(interpreter, workload, database.open_session, journal, None, 5.0, Progress(), StopSignal())
    return workload, [event for event in journal.events if type(event.process) is int]


def watched_us(workload: Workload, events: list[Operation]) -> float:
    """Microseconds of processor time an operation; the least of several runs."""
    least = float("inf")
    for _ in range(REPEATS):
        checkers = list(workload.online_checkers())
        began = time.process_time()
        for event in events:
            for checker in checkers:
                assert checker.observe(event) is None, f"{checker.name}: an alarm about a right database"
        least = min(least, time.process_time() - began)
    return least / (len(events) / 2) * 1e6


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of the driver's measurement")
    parser.add_argument("--operations", type=int, default=20_000, help="of each workload")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = [asyncio.run(measure(20, given.seconds, Path(folder))) for _ in range(3)]
    driver_us = min(1e6 / by_processor for _, by_processor, _ in figures)
    print(f"driver, interpreter and journal: {driver_us:.1f} us an operation\n")
    print(f"{'workload':12} {'operations':>10} {'watched':>10} {'share':>7}")
    for kind in KINDS:
        workload, events = asyncio.run(recorded(kind, given.operations))
        cost = watched_us(workload, events)
        print(f"{workload.name:12} {len(events) // 2:10} {cost:7.2f} us {cost / driver_us:6.1%}")


if __name__ == "__main__":
    main()
