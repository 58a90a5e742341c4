"""Small transactions over a few hot keys, as the workloads `list-append` and `rw-register` have them.

Each is a list of micro-operations `[function, key, value]`: reads, whose value is null until they are done, and
writes, whose values are unique over the whole run, so that every read tells whose write it saw. Keys come from
`rotating_keys`; the first are the hottest.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.rotating_keys import RotatingKeys
from workloads.workload import Option, WorkloadOptions

READ = "r"
KEYS_OF_A_FINAL_READ = 8
MOST_FINAL_KEYS = 800
FINAL_READS_PER_S = 100.0

ISOLATIONS = (
    "strict-serializable",
    "strong-session-serializable",
    "serializable",
    "strong-snapshot-isolation",
    "strong-session-snapshot-isolation",
    "snapshot-isolation",
    "repeatable-read",
    "causal",
    "read-atomic",
    "read-committed",
    "read-uncommitted",
)
"""What the checkers of both workloads can demand, the default first."""

TRANSACTION_OPTIONS = {
    "keys": Option(5, 1, 1000, "how many keys are hot at a time"),
    "writes_per_key": Option(32, 1, 100_000, "writes of a key before a fresh one takes its place"),
    "most_operations": Option(4, 1, 100, "micro-operations of a transaction, at most"),
    "read_share": Option(0.5, 0.05, 0.95, "share of reads among micro-operations"),
}
"""Options that both workloads take."""


class Transactions(Generator, frozen=True):
    """Invocations of `txn`, without end."""

    random: random.Random
    write: str
    """The function of a write: `append` or `w`."""
    keys: RotatingKeys
    next_value: int
    most_operations: int
    read_share: float

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        stream, keys, value = self.random, self.keys, self.next_value
        operations: list[list[Any]] = []
        for _ in range(stream.randint(1, self.most_operations)):
            position = keys.choose(stream)
            key = keys.keys[position]
            if stream.random() < self.read_share:
                operations.append([READ, key, None])
            else:
                operations.append([self.write, key, value])
                value += 1
                keys = keys.changed(position)
        following = msgspec.structs.replace(self, keys=keys, next_value=value)
        return Invocation("txn", operations, process, context.time), following

    @property
    def listens(self) -> bool:
        return False


def transactions(own: dict[str, Any], write: str, options: WorkloadOptions) -> Generator:
    """The transactions that these options (of `TRANSACTION_OPTIONS`) describe. Draws one stream."""
    return Transactions(
        random=options.stream(),
        write=write,
        keys=RotatingKeys.of(int(own["keys"]), int(own["writes_per_key"])),
        next_value=1,
        most_operations=int(own["most_operations"]),
        read_share=float(own["read_share"]),
    )


def final_transactions(own: dict[str, Any], options: WorkloadOptions) -> Generator:
    """Reads of every key that was probably used, some at a time, through every node. How many there were is known on
    average only; the first are read, and a few that were never written."""
    writes = options.rate * options.time_limit_s * (1 + own["most_operations"]) / 2 * (1 - own["read_share"])
    count = min(2 * int(own["keys"]) + int(writes / own["writes_per_key"]), MOST_FINAL_KEYS)
    reads = [
        combine.until_ok(
            combine.repeat(
                combine.operation(
                    "txn",
                    [[READ, key, None] for key in range(first, min(first + KEYS_OF_A_FINAL_READ, count))],
                )
            )
        )
        for first in range(0, count, KEYS_OF_A_FINAL_READ)
    ]
    return final_reads(reads, options, 1 / FINAL_READS_PER_S)


def shape_problems(invocation: Any, value: Any, functions: tuple[str, ...]) -> list[str]:
    """What is wrong with the shape of an answer to a list of micro-operations: it must be as long, with the same
    functions and keys, and the same values where something was written."""
    asked = invocation
    if not isinstance(value, list) or len(value) != len(asked):
        return [f"a transaction of {len(asked)} micro-operations answers as many"]
    problems = []
    for position, (one, other) in enumerate(zip(asked, value, strict=True)):
        if not isinstance(other, list) or len(other) != 3 or other[0] not in functions:
            problems.append(
                f"micro-operation {position} is [{' or '.join(functions)}, key, value], not {other!r:.80}"
            )
        elif one[:2] != other[:2] or (one[0] != READ and one[2] != other[2]):
            problems.append(f"micro-operation {position} was {one!r:.80}, and is answered as {other!r:.80}")
    return problems
