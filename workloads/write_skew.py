"""Two transactions read both sides of a pair, and each writes its own side if neither is there: only one may commit.

Under snapshot isolation both may: each saw an empty pair, and they wrote different keys (Adya's G2-item; write skew).
So it is counted there, and only a lost update is wrong. The second insert of a pair follows the first at once, so that
the two run at the same time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from checkers.write_skew import WriteSkewChecker
from results.operation import INVOKE, Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import spread_key
from workloads.on_transactions import transact
from workloads.session import TRANSACTIONS, Definite, Session, Transaction, read_many
from workloads.workload import Option, Workload, WorkloadOptions, demanded, read_options

MOST_FINAL_PAIRS = 400
FINAL_READS_PER_S = 200.0
SIDES = 2


class FirstInserts(Generator, frozen=True):
    """Inserts of one side of pair 0, 1, 2 ..., without end."""

    pair: int = 0

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        value = [self.pair, 0, self.pair * SIDES]
        return Invocation("insert", value, process, context.time), FirstInserts(self.pair + 1)

    @property
    def listens(self) -> bool:
        return False


class SecondInserts(Generator, frozen=True):
    """For each insert of one side, as soon as it begins, that of the other."""

    waiting: tuple[int, ...] = ()
    """Pairs of which one side is under way."""

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None or not self.waiting:
            return PENDING, self
        pair = self.waiting[0]
        value = [pair, 1, pair * SIDES + 1]
        return Invocation("insert", value, process, context.time), SecondInserts(self.waiting[1:])

    def update(self, context: Context, event: Operation) -> Generator:
        if event.type == INVOKE and event.f == "insert" and event.value[1] == 0:
            return SecondInserts((*self.waiting, event.value[0]))
        return self


class Reads(Generator, frozen=True):
    """Reads of the pair that was begun last, without end."""

    pair: int = 0

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        return Invocation("read", self.pair, process, context.time), self

    def update(self, context: Context, event: Operation) -> Generator:
        if event.type == INVOKE and event.f == "insert":
            return msgspec.structs.replace(self, pair=event.value[0])
        return self


class WriteSkew(Workload):
    """Two transactions read both sides of a pair and write one each, unless they found something; only one of them may
    commit, unless snapshot isolation is all that is demanded."""

    name = "write-skew"
    needs = frozenset({TRANSACTIONS})
    read_only_functions = frozenset({"read"})
    required_functions = ("insert", "read")
    known_options = {  # noqa: RUF012 - never changed
        "read_share": Option(0.2, 0.01, 0.9, "share of reads among all operations"),
    }
    isolations = ("serializable", "snapshot-isolation")

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        isolation = demanded(self.name, "isolation", options.isolation, self.isolations)
        self.checker = WriteSkewChecker(allows_skew=isolation == "snapshot-isolation")
        share = float(own["read_share"])
        pairs_per_s = options.rate * (1 - share) / SIDES
        firsts = combine.stagger(1 / pairs_per_s, FirstInserts(), random=options.stream())
        reads = combine.stagger(1 / (options.rate * share), Reads(), random=options.stream())
        everything = combine.any_of(SecondInserts(), firsts, reads, random=options.stream())
        self.generator = combine.validate(
            combine.clients(combine.time_limit(options.time_limit_s, everything))
        )
        pairs = min(int(pairs_per_s * options.time_limit_s) + 1, MOST_FINAL_PAIRS)
        final = [combine.until_ok(combine.repeat(combine.operation("read", pair))) for pair in range(pairs)]
        self.final_generator = final_reads(final, options, 1 / FINAL_READS_PER_S)

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        if invocation.f not in ("insert", "read"):
            raise ValueError(f"workload write-skew has no function {invocation.f!r}: insert, read")
        pair = invocation.value[0] if invocation.f == "insert" else invocation.value
        keys = [spread_key(f"write-skew-{side}", pair) for side in range(SIDES)]

        async def insert(transaction: Transaction) -> list[int]:
            _, side, identifier = invocation.value
            found = await read_many(transaction, keys)
            if any(value is not None for value in found):
                raise Definite("occupied", f"pair {pair} holds {list(found)}")
            await transaction.put(keys[side], identifier)
            return [pair, side, identifier]

        async def read(transaction: Transaction) -> list[Any]:
            return list(await read_many(transaction, keys))

        return await transact(session, insert if invocation.f == "insert" else read)

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        if not isinstance(value, list) or len(value) != (3 if invocation.f == "insert" else SIDES):
            return [f"{invocation.f} answers a list, one value for each side of the pair"]
        return []
