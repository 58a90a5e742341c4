"""Transactions that scan ranges of rows and insert rows into them: predicate reads, and the phantoms that break them.

That a scan did not find a row says that whoever inserts it comes later, as a read of the row as absent would say
(Adya, Liskov and O'Neil, 2000). Two transactions that each scan a range and insert another row are the smallest
phantom: snapshot isolation lets both commit, serializability one of them. The rows of a range exist only after their
first write, and a range is left for a fresh one when it was written often enough, so that most writes are inserts.

A row is a number, and a range has `rows` of them in a row, so that a history names a scan by two numbers. In the
database the rows of a range lie apart by some of the keyspace, so that many scans cross from one range of the
database to the next; what else lies between is left out of the answer.
"""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec

from checkers.isolation.rw_register import RwRegisterChecker
from results.operation import Operation
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import PAIRS, STRIDE, beginning
from workloads.main_phase import main_phase
from workloads.on_transactions import transact_timed
from workloads.rotating_keys import RotatingKeys
from workloads.session import TRANSACTIONAL_SCAN, TRANSACTIONS, Session, Transaction
from workloads.transactions import READ, SCAN, final_micro_reads, shape_problems
from workloads.workload import Option, Workload, WorkloadOptions, demanded, read_options

WRITE: Final = "w"
AREA: Final = "phantom"
APART: Final = 10
"""Beginnings between two rows of a range."""
MOST_ROWS: Final = PAIRS // APART
MOST_FOUND: Final = 1_000_000
RANGES_OF_A_FINAL_READ: Final = 4
MOST_FINAL_RANGES: Final = 400


class Inserts(Generator, frozen=True):
    """Invocations of `txn`, without end."""

    random: random.Random
    ranges: RotatingKeys
    rows: int
    next_value: int
    most_operations: int
    scan_share: float
    write_share: float

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        stream, ranges, value = self.random, self.ranges, self.next_value
        operations: list[list[Any]] = []
        for _ in range(stream.randint(1, self.most_operations)):
            position = ranges.choose(stream)
            first = ranges.keys[position] * self.rows
            luck = stream.random()
            if luck < self.scan_share:
                start = stream.randrange(self.rows) if stream.random() < 0.5 else 0
                end = stream.randint(start + 1, self.rows) if stream.random() < 0.5 else self.rows
                operations.append([SCAN, [first + start, first + end], None])
                continue
            row = first + stream.randrange(self.rows)
            if luck < self.scan_share + self.write_share:
                operations.append([WRITE, row, value])
                value += 1
                ranges = ranges.changed(position)
            else:
                operations.append([READ, row, None])
        following = msgspec.structs.replace(self, ranges=ranges, next_value=value)
        return Invocation("txn", operations, process, context.time), following

    @property
    def listens(self) -> bool:
        return False


class Phantom(Workload):
    """Transactions scan ranges of rows, insert rows and write them again; a row that a scan did not find was inserted
    after it, in the order that the demanded isolation asks for."""

    name = "phantom"
    needs = frozenset({TRANSACTIONS, TRANSACTIONAL_SCAN})
    read_only_functions: frozenset[str] = frozenset()
    required_functions = ("txn",)
    known_options = {  # noqa: RUF012 - never changed
        "ranges": Option(3, 1, 1000, "how many ranges are hot at a time"),
        "rows": Option(8, 1, MOST_ROWS, "rows that a range may have"),
        "writes_per_range": Option(12, 1, 100_000, "writes into a range before a fresh one takes its place"),
        "most_operations": Option(4, 1, 100, "micro-operations of a transaction, at most"),
        "scan_share": Option(0.4, 0.05, 0.95, "share of scans among micro-operations"),
        "write_share": Option(0.4, 0.05, 0.95, "share of writes among micro-operations; the rest are reads"),
    }
    isolations = (
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
    )

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.rows = int(own["rows"])
        isolation = demanded(self.name, "isolation", options.isolation, self.isolations)
        self.checker = RwRegisterChecker(isolation, initial=None)
        inserts = Inserts(
            random=options.stream(),
            ranges=RotatingKeys.of(int(own["ranges"]), int(own["writes_per_range"])),
            rows=self.rows,
            next_value=1,
            most_operations=int(own["most_operations"]),
            scan_share=float(own["scan_share"]),
            write_share=float(own["write_share"]),
        )
        self.generator = main_phase(inserts, options)
        self.final_generator = final_micro_reads(
            lambda one: [SCAN, [one * self.rows, (one + 1) * self.rows], None],
            places=int(own["ranges"]),
            writes=own["write_share"],
            writes_per_place=own["writes_per_range"],
            most_operations=own["most_operations"],
            together=RANGES_OF_A_FINAL_READ,
            most=MOST_FINAL_RANGES,
            options=options,
        )

    def key_of(self, row: int) -> str:
        """Where a row is kept. The rows of a range are in order there."""
        return f"{beginning(self._position(row))}/{AREA}/{row}"

    def _position(self, row: int) -> int:
        range_, place = divmod(row, self.rows)
        room = PAIRS - APART * (self.rows - 1)
        return range_ * STRIDE % room + APART * place

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        if invocation.f != "txn":
            raise ValueError(f"workload phantom has no function {invocation.f!r}: txn")

        async def work(transaction: Transaction) -> list[list[Any]]:
            done: list[list[Any]] = []
            for function, place, value in invocation.value:
                if function == WRITE:
                    await transaction.put(self.key_of(place), value)
                    done.append([function, place, value])
                elif function == READ:
                    done.append([function, place, await transaction.get(self.key_of(place))])
                else:
                    done.append([function, place, await self._scan(transaction, *place)])
            return done

        return await transact_timed(session, work)

    async def _scan(self, transaction: Any, start: int, end: int) -> list[list[Any]]:
        """The rows from `start` up to `end`, all of one range, and their values."""
        last = self._position(end - 1)
        after = beginning(last + 1) if last + 1 < PAIRS else "{"
        found = await transaction.scan(beginning(self._position(start)), after, MOST_FOUND)
        rows = [(key.split("/"), value) for key, value in found]
        ours = [(int(name[2]), value) for name, value in rows if len(name) == 3 and name[1] == AREA]
        return [[row, value] for row, value in sorted(ours) if start <= row < end]

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        found = shape_problems(invocation.value, value, (READ, WRITE, SCAN))
        if not found:
            found = [
                f"a scan answers [[row, value], ...], not {answer!r:.80}"
                for function, _, answer in value
                if function == SCAN
                and not (
                    isinstance(answer, list)
                    and all(isinstance(one, list) and len(one) == 2 for one in answer)
                )
            ]
        return found
