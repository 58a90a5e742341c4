"""Counters of which every key only ever grows: nobody may see one go back.

An increment is a transaction that reads the number and writes the next; it answers what it wrote. A read is a plain
read of the key. So every answer has a place in the order of the key's values, which is known from the start, and what
a process or anybody saw later must not be less.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from checkers.monotonic import MonotonicChecker
from checkers.online.monotonic import OnlineMonotonic
from checkers.online.online_checker import OnlineChecker
from results.operation import Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import Context, Generator, Invocation, generator
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.on_transactions import transact
from workloads.session import KEY_VALUE, TRANSACTIONS, Transaction
from workloads.workload import Option, Workload, WorkloadOptions, demanded, read_options


class Monotonic(Workload):
    """Processes increment and read a few numbers, which only grow; no number may be reached twice or go back."""

    name = "monotonic"
    needs = frozenset({KEY_VALUE, TRANSACTIONS})
    read_only_functions = frozenset({"read"})
    required_functions = ("inc", "read")
    known_options = {  # noqa: RUF012 - never changed
        "keys": Option(4, 1, 1000, "how many numbers there are"),
        "read_share": Option(0.6, 0.05, 0.95, "share of reads among all operations"),
    }

    consistencies = ("linearizable", "monotonic-reads")

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        consistency = demanded(self.name, "consistency", options.consistency, self.consistencies)
        self.real_time = consistency == "linearizable"
        self.checker = MonotonicChecker(real_time=self.real_time)
        keys = int(own["keys"])
        self.generator = main_phase(steps(keys, float(own["read_share"]), options.stream()), options)
        reads = [combine.until_ok(combine.repeat(combine.operation("read", key))) for key in range(keys)]
        self.final_generator = final_reads(reads, options)

    def online_checkers(self) -> Sequence[OnlineChecker]:
        return (OnlineMonotonic(),) if self.real_time else ()

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        if invocation.f not in ("inc", "read"):
            raise ValueError(f"workload monotonic has no function {invocation.f!r}: inc, read")
        number = invocation.value
        key = spread_key("monotonic", number)
        if invocation.f == "read":
            return [number, await session.get(key)]

        async def increment(transaction: Transaction) -> int:
            following = int(await transaction.get(key) or 0) + 1
            await transaction.put(key, following)
            return following

        return [number, await transact(session, increment)]

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        if not isinstance(value, list) or len(value) != 2 or value[0] != invocation.value:
            return [f"{invocation.f} answers [key, number] with the key that was asked, {invocation.value!r}"]
        return []


def steps(keys: int, read_share: float, stream: random.Random) -> Generator:
    """Increments and reads of random keys, without end."""

    def step(context: Context) -> Invocation:
        f = "read" if stream.random() < read_share else "inc"
        return Invocation(f, stream.randrange(keys))

    return generator(step)
