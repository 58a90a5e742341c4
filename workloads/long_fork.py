"""Writes of single keys, and reads of several: two reads must not see two writes in two orders.

A long fork is what parallel snapshot isolation allows and snapshot isolation does not: of two writes that know nothing
of each other, one reader sees only the one, another only the other (Sovran et al., Walter, SOSP 2011). Every key is
written once, so each read tells which writes it saw. Keys come in small groups, which are read and written at the
same time by everybody, and then left.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from checkers.long_fork import LongForkChecker
from results.operation import Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.on_transactions import transact
from workloads.session import TRANSACTIONS, Session, Transaction, read_many
from workloads.workload import Option, Workload, WorkloadOptions, read_options

MOST_FINAL_GROUPS = 200
FINAL_READS_PER_S = 200.0


class Group(msgspec.Struct, frozen=True):
    """What has been done with the keys `number * size` to `(number + 1) * size - 1`."""

    number: int
    written: int = 0
    reads_since: int = 0
    """Reads since the last key was written."""


class Forks(Generator, frozen=True):
    """Reads and writes of a few open groups, without end."""

    random: random.Random
    size: int
    groups: tuple[Group, ...]
    next_group: int
    read_share: float
    reads_after: int
    """So many reads of a group that is written whole, and a fresh one takes its place."""

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        position = self.random.randrange(len(self.groups))
        group = self.groups[position]
        first = group.number * self.size
        if group.written < self.size and self.random.random() >= self.read_share:
            changed = Group(group.number, group.written + 1)
            invocation = Invocation("write", [["w", first + group.written, 1]], process, context.time)
            return invocation, self._with(position, changed)
        keys = self.random.sample(range(first, first + self.size), self.size)
        reads = group.reads_since + 1 if group.written == self.size else 0
        following = self._with(position, Group(group.number, group.written, reads))
        if reads >= self.reads_after:
            following = msgspec.structs.replace(
                self._with(position, Group(self.next_group)), next_group=self.next_group + 1
            )
        return Invocation("read", [["r", key, None] for key in keys], process, context.time), following

    def _with(self, position: int, group: Group) -> Forks:
        groups = (*self.groups[:position], group, *self.groups[position + 1 :])
        return msgspec.structs.replace(self, groups=groups)

    @property
    def listens(self) -> bool:
        return False


class LongFork(Workload):
    """Processes write single keys, each once, and read groups of them; no two reads may see two writes in two
    orders."""

    name = "long-fork"
    needs = frozenset({TRANSACTIONS})
    read_only_functions = frozenset({"read"})
    required_functions = ("write", "read")
    known_options = {  # noqa: RUF012 - never changed
        "group_size": Option(3, 2, 20, "how many keys are read together"),
        "groups": Option(3, 1, 100, "how many groups are open at a time"),
        "read_share": Option(0.6, 0.1, 0.95, "share of reads of a group until all its keys are written"),
        "reads_after": Option(
            6, 1, 1000, "reads of a group after its last write, before a fresh one takes its place"
        ),
    }

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.checker = LongForkChecker()
        size, groups, share = int(own["group_size"]), int(own["groups"]), float(own["read_share"])
        opened = tuple(Group(number) for number in range(groups))
        forks = Forks(options.stream(), size, opened, groups, share, int(own["reads_after"]))
        self.generator = main_phase(forks, options)
        operations_a_group = size / (1 - share) + own["reads_after"]
        used = groups + int(options.rate * options.time_limit_s / operations_a_group)
        reads = [
            combine.until_ok(
                combine.repeat(
                    combine.operation("read", [["r", number * size + key, None] for key in range(size)])
                )
            )
            for number in range(max(0, used - MOST_FINAL_GROUPS), used)
        ]
        self.final_generator = final_reads(reads, options, 1 / FINAL_READS_PER_S)

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        if invocation.f not in ("write", "read"):
            raise ValueError(f"workload long-fork has no function {invocation.f!r}: write, read")
        operations = invocation.value
        keys = [spread_key("long-fork", key) for _, key, _ in operations]

        async def write(transaction: Transaction) -> list[Any]:
            await transaction.put(keys[0], operations[0][2])
            return list(operations)

        async def read(transaction: Transaction) -> list[Any]:
            values = await read_many(transaction, keys)
            return [["r", key, value] for (_, key, _), value in zip(operations, values, strict=True)]

        return await transact(session, write if invocation.f == "write" else read)

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        asked = [operation[1] for operation in invocation.value]
        if not isinstance(value, list) or [operation[1] for operation in value] != asked:
            return [f"{invocation.f} answers micro-operations on the keys that were asked, {asked}"]
        return []
