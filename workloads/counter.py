"""One counter that everybody adds to and reads: every read must be a sum of adds that could have happened by then.

By default all adds are of 1: then the checker decides what all reads say together, exactly. With `largest_amount`
above 1 amounts vary, and with `decrements` some are negative; then that may take long, and stay unknown. With `retries`
clients try adds again by themselves; one that counts twice for it is seen like any other.
"""

from __future__ import annotations

import random
from typing import Any

from checkers.counter import CounterChecker
from results.operation import Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import Context, Generator, Invocation, generator
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.on_transactions import counter
from workloads.session import COUNTER, RETRIED_TRANSACTIONS, Session, Transaction
from workloads.workload import Option, Workload, WorkloadOptions, demanded, read_options

NAME = spread_key("counter", 0)


class CounterWorkload(Workload):
    """Processes add to one counter and read it; every read must be what adds that had happened by then come to."""

    name = "counter"
    needs = frozenset({COUNTER})
    read_only_functions = frozenset({"read"})
    required_functions = ("add", "read")
    known_options = {  # noqa: RUF012 - never changed
        "read_share": Option(0.5, 0.05, 0.95, "share of reads among all operations"),
        "largest_amount": Option(1, 1, 1_000_000, "adds are of 1 to this"),
        "decrements": Option(False, 0, 1, "whether half of the adds are negative"),
        "retries": Option(
            "none",
            0,
            0,
            "who tries an add again: nobody, the client where it certainly did not happen, or always, with a token",
            ("none", "definite", "token"),
        ),
    }
    consistencies = ("linearizable", "eventual")

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        consistency = demanded(self.name, "consistency", options.consistency, self.consistencies)
        self.checker = CounterChecker(eventual=consistency == "eventual")
        self.retries = str(own["retries"])
        if self.retries != "none":
            self.needs = self.needs | {RETRIED_TRANSACTIONS}
        share = float(own["read_share"])
        mixed = combine.mix(
            combine.repeat(combine.operation("read")),
            adds(int(own["largest_amount"]), bool(own["decrements"]), options.stream()),
            random=options.stream(),
            weights=(share, 1 - share),
        )
        self.generator = main_phase(mixed, options)
        self.final_generator = final_reads(
            combine.until_ok(combine.repeat(combine.operation("read"))), options
        )

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        match invocation.f:
            case "add":
                if self.retries == "none":
                    await counter(session).add(NAME, invocation.value)
                else:
                    await self._add_again_and_again(session, invocation)
                return invocation.value
            case "read":
                return await counter(session).count(NAME)
        raise ValueError(f"workload counter has no function {invocation.f!r}: add, read")

    async def _add_again_and_again(self, session: Any, invocation: Operation) -> None:
        async def work(transaction: Transaction) -> None:
            held = int(await transaction.get(NAME) or 0)
            await transaction.put(NAME, held + invocation.value)

        token = f"add-{invocation.process}-{invocation.time}" if self.retries == "token" else ""
        await session.retried(work, token)

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        if isinstance(value, bool) or not isinstance(value, int):
            return [f"{invocation.f} answers a whole number, not {value!r:.80}"]
        return []


def adds(largest: int, decrements: bool, stream: random.Random) -> Generator:
    """Adds of 1 to `largest`, or the negative of it, without end."""

    def add(context: Context) -> Invocation:
        amount = stream.randint(1, largest)
        if decrements and stream.random() < 0.5:
            amount = -amount
        return Invocation("add", amount)

    return generator(add)
