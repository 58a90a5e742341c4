"""Blind writes, each of a key of its own, and reads of all: a read that sees a write sees what was written before it.

If a write began after another had ended, nobody may see the later one without the earlier. Databases that order
transactions only where they touch the same keys break it (CockroachDB calls it causal reverse; a violation of strict
serializability that serializable systems may show). The keys spread over the whole keyspace, so that a scan has to be
right across ranges.
"""

from __future__ import annotations

from typing import Any

from checkers.causal_reverse import CausalReverseChecker
from results.operation import Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import END_KEY, FIRST_KEY, spread_key
from workloads.session import KEY_VALUE, SCAN
from workloads.workload import Option, Workload, WorkloadOptions, read_options

AREA = "causal-reverse"
MOST_KEYS = 10_000_000


class Writes(Generator, frozen=True):
    """Writes of 0, 1, 2 ..., without end."""

    value: int = 0

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        return Invocation("write", self.value, process, context.time), Writes(self.value + 1)

    @property
    def listens(self) -> bool:
        return False


class CausalReverse(Workload):
    """Processes write keys, each once, and scan all of them; a scan that sees a write must see every write that had
    ended before that one began."""

    name = "causal-reverse"
    needs = frozenset({KEY_VALUE, SCAN})
    read_only_functions = frozenset({"read"})
    required_functions = ("write", "read")
    known_options = {  # noqa: RUF012 - never changed
        "read_interval": Option(
            0.25, 0.001, 3600.0, "seconds between two scans of everything in the main phase"
        ),
    }

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.checker = CausalReverseChecker()
        writes = combine.stagger(1 / options.rate, Writes(), random=options.stream())
        read = combine.repeat(combine.operation("read"))
        reads = combine.stagger(own["read_interval"], read, random=options.stream())
        both = combine.any_of(writes, reads, random=options.stream())
        self.generator = combine.validate(combine.clients(combine.time_limit(options.time_limit_s, both)))
        self.final_generator = final_reads(combine.until_ok(read), options)

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        match invocation.f:
            case "write":
                await session.put(spread_key(AREA, invocation.value), invocation.value)
                return invocation.value
            case "read":
                found = await session.scan(FIRST_KEY, END_KEY, MOST_KEYS)
                return [value for key, value in found if key[2:].startswith(f"/{AREA}/")]
        raise ValueError(f"workload causal-reverse has no function {invocation.f!r}: write, read")

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        if invocation.f == "read" and not isinstance(value, list):
            return ["a read answers a list"]
        return []
