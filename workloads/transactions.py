"""Small transactions over a few hot keys, as the workloads `list-append` and `rw-register` have them.

Each is a list of micro-operations `[function, key, value]`: reads, whose value is null until they are done, and
writes, whose values are unique over the whole run, so that every read tells whose write it saw. Keys come from
`rotating_keys`; the first are the hottest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.rotating_keys import RotatingKeys
from workloads.session import Transaction, read_many
from workloads.workload import Option, WorkloadOptions

READ = "r"
SCAN = "scan"
READ_ONE_BY_ONE = 4
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
"""What the checkers of both workloads can demand, the default first. What holds at `strict-serializable` and at
`strong-snapshot-isolation` holds at all that come after them."""


def strongest_within(promised: str, levels: Sequence[str]) -> str | None:
    """The first of these levels that holds where `promised` does; None if none of them is known to."""
    held = ISOLATIONS[ISOLATIONS.index(promised) :]
    return next((level for level in levels if level in held), None)


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
    """Reads of every key that was probably used."""
    return final_micro_reads(
        lambda key: [READ, key, None],
        places=int(own["keys"]),
        writes=1 - own["read_share"],
        writes_per_place=own["writes_per_key"],
        most_operations=own["most_operations"],
        together=KEYS_OF_A_FINAL_READ,
        most=MOST_FINAL_KEYS,
        options=options,
    )


def final_micro_reads(
    read: Callable[[int], list[Any]],
    *,
    places: int,
    writes: float,
    writes_per_place: float,
    most_operations: float,
    together: int,
    most: int,
    options: WorkloadOptions,
) -> Generator:
    """`read` of every place that was probably used, some together in a transaction, through every node. `places` are
    hot at a time, each until it was written so often; `writes` is their share among micro-operations. How many there
    were is known on average only; the first are read, and a few that were never written."""
    written = options.rate * options.time_limit_s * (1 + most_operations) / 2 * writes
    count = min(2 * places + int(written / writes_per_place), most)
    reads = [
        combine.until_ok(
            combine.repeat(
                combine.operation("txn", [read(one) for one in range(first, min(first + together, count))])
            )
        )
        for first in range(0, count, together)
    ]
    return final_reads(reads, options, 1 / FINAL_READS_PER_S)


async def read_only(
    transaction: Transaction, operations: Sequence[Sequence[Any]], key_of: Callable[[int], str]
) -> list[list[Any]] | None:
    """The answer to a transaction of more than `READ_ONE_BY_ONE` reads, as the last ones are, read in one go: one after
    another they may take longer than an operation may, where the network is slow. None for any other transaction."""
    if len(operations) <= READ_ONE_BY_ONE or any(function != READ for function, _, _ in operations):
        return None
    values = await read_many(transaction, [key_of(key) for _, key, _ in operations])
    return [[READ, key, value] for (_, key, _), value in zip(operations, values, strict=True)]


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
        elif one[:2] != other[:2] or (one[0] not in (READ, SCAN) and one[2] != other[2]):
            problems.append(f"micro-operation {position} was {one!r:.80}, and is answered as {other!r:.80}")
    return problems
