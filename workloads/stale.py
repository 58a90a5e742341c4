"""Reads that may be old, but not older than was asked for: numbered versions of a few keys, read through every node.

Every key has one writer, which writes 1, 2, 3, ... one after the other: the order of a key's versions is certain
without asking the database for it, and each read tells how far behind it was. Half of the processes only read, by
default bounded reads, each from the node that it is connected to: a replica that answers from state which is too old is
caught where it is cut off, paused, or led by somebody who does not know of a successor.

A read has little patience: one that a replica cannot answer by itself goes to the leader, which may be out of reach.
Values that a write left unknown count as written, if they are seen.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import msgspec

from results.operation import Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.register import BOUND_MS, BOUNDED_STALENESS, LINEARIZABLE, reading_threads, registers_checker
from workloads.session import CHOSEN_READS, KEY_VALUE, READ_CONSISTENCIES, Indefinite
from workloads.workload import Option, Workload, WorkloadOptions, demanded, read_options


class Versions(Generator, frozen=True):
    """Each writing thread writes the next version of its own key; the others read any key. Without end."""

    random: Random
    writers: tuple[int, ...]
    """Threads; the position of one is its key."""
    written: tuple[int, ...]
    """By key: its last version."""

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        thread = context.thread_of(process)
        if thread not in self.writers:
            key = self.random.randrange(len(self.writers))
            return Invocation("read", [key, None], process, context.time), self
        key = self.writers.index(thread)
        version = self.written[key] + 1
        written = (*self.written[:key], version, *self.written[key + 1 :])
        following = msgspec.structs.replace(self, written=written)
        return Invocation("write", [key, version], process, context.time), following


class Stale(Workload):
    """Each key's one writer numbers its versions; others read them, and miss nothing that had ended a bound before."""

    name = "stale"
    needs = frozenset({KEY_VALUE, CHOSEN_READS})
    read_only_functions = frozenset({"read"})
    required_functions = ("read", "write")
    known_options = {  # noqa: RUF012 - never changed
        "reads": Option(
            "bounded", 0, 0, "what reads ask for: linearizable, lease, bounded or stale", READ_CONSISTENCIES
        ),
        "bound_ms": BOUND_MS,
        "read_patience": Option(
            0.5, 0.001, 3600.0, "seconds after which a read without an answer is given up"
        ),
    }
    consistencies = (BOUNDED_STALENESS, LINEARIZABLE)

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.reads, self.bound_ms = str(own["reads"]), int(own["bound_ms"])
        self.read_patience_s = float(own["read_patience"])
        consistency = demanded(self.name, "consistency", options.consistency, self.consistencies)
        self.checker = registers_checker(consistency == LINEARIZABLE, self.reads, self.bound_ms)
        readers = reading_threads(options.concurrency, len(options.nodes))
        writers = tuple(thread for thread in range(options.concurrency) if not readers >> thread & 1)
        if not readers:
            # One round of processes only: the last of them reads, if there are several.
            writers = writers[:-1] or writers
        versions = Versions(options.stream(), writers, (0,) * len(writers))
        self.generator = main_phase(versions, options)
        reads = [
            combine.until_ok(combine.repeat(combine.operation("read", [key, None])))
            for key in range(len(writers))
        ]
        self.final_generator = final_reads(reads, options)

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        key, value = invocation.value
        name = spread_key("stale", key)
        match invocation.f:
            case "read":
                try:
                    async with asyncio.timeout(self.read_patience_s):
                        return [key, await session.get_as(name, self.reads, self.bound_ms)]
                except TimeoutError as error:
                    raise Indefinite("no-patience", f"no answer within {self.read_patience_s:g} s") from error
            case "write":
                await session.put(name, value)
                return invocation.value
        raise ValueError(f"workload stale has no function {invocation.f!r}: read, write")

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        if not isinstance(value, list) or len(value) != 2 or value[0] != invocation.value[0]:
            return [
                f"a {invocation.f} answers [key, value] of the key that was asked, {invocation.value[0]!r}"
            ]
        return []
