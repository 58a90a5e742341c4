"""Unique elements are added to a set and never removed: what was added stays, and every read sees all of it.

On a key-value database the set is a set of keys: each element is a key of its own, an add is a put of a key that nobody
else writes, and a read is one scan over all of them. (The other way, one value that holds all elements and is changed
by compare-and-set, is a register with a long value: it tries what `register` tries, on one range only, and
concurrent adds fail each other.) So an add costs the same at any size and needs no condition, and may be retried by
nobody but the database; a lost element is a lost acknowledged write, which one final read of everything proves. The
keys spread over the whole keyspace, so that a read has to be right across ranges.

Reads are rare, since each returns everything: one a second by default, and one through each node at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkers.online.growing_set import OnlineSet
from checkers.online.online_checker import OnlineChecker
from checkers.set_full import SetFullChecker
from results.operation import Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import END_KEY, FIRST_KEY, spread_key
from workloads.session import KEY_VALUE, SCAN
from workloads.workload import Option, Workload, WorkloadOptions, read_options

AREA = "set"
MOST_ELEMENTS = 10_000_000


class Adds(Generator, frozen=True):
    """Adds of 0, 1, 2 ..., without end: each element once, whatever became of the add."""

    element: int = 0

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        return Invocation("add", self.element, process, context.time), Adds(self.element + 1)

    @property
    def listens(self) -> bool:
        return False


class Set(Workload):
    """Processes add unique elements, each a key of its own, and scan all of them now and then; no element whose add
    was acknowledged may ever be missing."""

    name = "set"
    needs = frozenset({KEY_VALUE, SCAN})
    read_only_functions = frozenset({"read"})
    required_functions = ("add", "read")
    known_options = {  # noqa: RUF012 - never changed
        "read_interval": Option(
            1.0, 0.001, 3600.0, "seconds between two reads of the whole set in the main phase"
        ),
    }

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.checker = SetFullChecker(linearizable=True)
        adds = combine.stagger(1 / options.rate, Adds(), random=options.stream())
        # Reads that are late compete with late adds by their lateness, so that neither starves the other.
        reads = combine.stagger(
            own["read_interval"], combine.repeat(combine.operation("read")), random=options.stream()
        )
        both = combine.any_of(adds, reads, random=options.stream())
        self.generator = combine.validate(combine.clients(combine.time_limit(options.time_limit_s, both)))
        self.final_generator = final_reads(
            combine.until_ok(combine.repeat(combine.operation("read"))), options
        )

    def online_checkers(self) -> Sequence[OnlineChecker]:
        return (OnlineSet(),)

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        match invocation.f:
            case "add":
                await session.put(spread_key(AREA, invocation.value), invocation.value)
                return invocation.value
            case "read":
                found = await session.scan(FIRST_KEY, END_KEY, MOST_ELEMENTS)
                return [value for key, value in found if key[2:].startswith(f"/{AREA}/")]
        raise ValueError(f"workload set has no function {invocation.f!r}: add, read")

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        if invocation.f == "read" and not isinstance(value, list):
            return ["a read answers a list"]
        return []
