"""Independent registers, a few of them hot at a time: read, write, compare-and-set, each linearizable.

`reads` chooses what reads ask for, and so what is demanded of them: `linearizable` and `lease` linearizability,
`bounded` that no read misses what had ended `bound_ms` before it, `stale` only that somebody wrote what is read. Writes
stay linearizable in any case. `--consistency linearizable` demands of stale reads what they do not promise.

Why it is arranged like this:

- Few hot keys, which every process uses: a stale read can only be seen where one process reads what another has just
  overwritten through another node. A key that was changed often enough is left for a fresh one, which keeps each
  key's history short enough to be judged.
- Some processes only read (by default every second round of them, so that each node has a reader). During a fault,
  a process that writes hangs until its timeout; readers go on, and a node that answers from old state is caught.
- A read has little patience, since giving it up costs nothing. And a reader stays with one key for some seconds, until
  a read of it fails: so the reader of a node that is cut off finds, within a second or two, a key that this node still
  answers, and asks for nothing else. That is the moment when an old leader that does not know of its successor is
  caught; a reader that chose at random would soon wait for a key that is led elsewhere.
- Values are unique by default, so that a checker can tell which write a read saw, and decide without a search. With
  `values=5`, values repeat: harder to judge, and it finds what unique values may miss.
- A compare-and-set expects what was last seen of the key, so that about as many succeed as fail.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import msgspec

from checkers.checker import Checker, compose
from checkers.linearizability.checker import LinearizabilityChecker
from checkers.linearizability.models import CasRegister
from checkers.online.online_checker import OnlineChecker
from checkers.online.unique_registers import OnlineRegisters
from checkers.staleness import StalenessChecker
from results.operation import FAIL, INVOKE, OK, Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.session import (
    CHOSEN_READS,
    COMPARE_AND_SET,
    KEY_VALUE,
    READ_CONSISTENCIES,
    Definite,
    Indefinite,
)
from workloads.workload import Option, Workload, WorkloadOptions, demanded, read_options

MOST_FINAL_KEYS = 400
READER_STAYS_NS = 5_000_000_000
"""How long a reader reads the same key, if all goes well."""
FINAL_READS_PER_S = 200.0
READS = Option(
    "linearizable", 0, 0, "what reads ask for: linearizable, lease, bounded or stale", READ_CONSISTENCIES
)
BOUND_MS = Option(1000, 1, 600_000, "milliseconds that a bounded read may lag behind")
LINEARIZABLE, BOUNDED_STALENESS = "linearizable", "bounded-staleness"
UNBOUNDED_NS = 1 << 60
"""Longer than any run."""


class HotKey(msgspec.Struct, frozen=True):
    """What is known of a key while it is in use."""

    key: int
    changes: int = 0
    """How many writes and compares-and-sets were invoked."""
    crashes: int = 0
    """How many ended in info."""
    last: int | None = None
    """The value last seen in an answer."""


class Registers(Generator, frozen=True):
    """Reads, writes and compares-and-sets on a few hot keys, without end."""

    random: random.Random
    hot: tuple[HotKey, ...]
    next_key: int
    next_value: int
    """With unique values, the next one."""
    values: int
    """How many values there are; 0: each is unique."""
    read_share: float
    readers: int
    """The threads that only read."""
    changes_per_key: int
    crashes_per_key: int
    reading: tuple[tuple[int, int], ...] = ()
    """For each thread, of which position in `hot` it is the reader, and until when."""

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        random = self.random
        thread = context.thread_of(process)
        if self.readers >> thread & 1:
            return self._read(context, process, thread)
        position = int(random.random() * len(self.hot))
        hot = self.hot[position]
        if random.random() < self.read_share:
            return Invocation("read", [hot.key, None], process, context.time), self
        next_value = self.next_value
        if self.values:
            new = int(random.random() * self.values)
        else:
            new, next_value = next_value, next_value + 1
        value: list[Any]
        if random.random() < 0.5:
            f, value = "write", [hot.key, new]
        else:
            expected: int | None = hot.last
            if self.values and random.random() < 0.3:
                expected = int(random.random() * self.values)
            f, value = "cas", [hot.key, [expected, new]]
        changed = msgspec.structs.replace(hot, changes=hot.changes + 1)
        following = msgspec.structs.replace(self, hot=self._with(position, changed), next_value=next_value)
        if changed.changes >= self.changes_per_key:
            following = following._retire(position)
        return Invocation(f, value, process, context.time), following

    def _read(self, context: Context, process: int | str, thread: int) -> Answer:
        """What a reader does: the same key as before, or another one when its time is over."""
        reading = self.reading
        following = self
        position, until = reading[thread] if thread < len(reading) else (0, 0)
        if context.time >= until:
            position = int(self.random.random() * len(self.hot))
            following = self._reads(thread, position, context.time + READER_STAYS_NS)
        return Invocation("read", [self.hot[position].key, None], process, context.time), following

    def _reads(self, thread: int, position: int, until: int) -> Registers:
        reading = self.reading + ((0, 0),) * (thread + 1 - len(self.reading))
        return msgspec.structs.replace(
            self, reading=(*reading[:thread], (position, until), *reading[thread + 1 :])
        )

    def _with(self, position: int, hot: HotKey) -> tuple[HotKey, ...]:
        return (*self.hot[:position], hot, *self.hot[position + 1 :])

    def _retire(self, position: int) -> Registers:
        fresh = self._with(position, HotKey(self.next_key))
        return msgspec.structs.replace(self, hot=fresh, next_key=self.next_key + 1)

    def update(self, context: Context, event: Operation) -> Generator:
        if event.type == INVOKE or not isinstance(event.process, int):
            return self
        if event.type == FAIL:
            thread = context.thread_of(event.process)
            if not self.readers >> thread & 1 or thread >= len(self.reading):
                return self
            position, _ = self.reading[thread]
            return self._reads(thread, (position + 1) % len(self.hot), context.time + READER_STAYS_NS)
        key, value = event.value
        found = [at for at, hot in enumerate(self.hot) if hot.key == key]
        if not found:
            return self  # The key was left meanwhile.
        position = found[0]
        hot = self.hot[position]
        if event.type == OK:
            seen = value[1] if event.f == "cas" else value
            if seen == hot.last:
                return self
            return msgspec.structs.replace(
                self, hot=self._with(position, msgspec.structs.replace(hot, last=seen))
            )
        if hot.crashes + 1 >= self.crashes_per_key:
            return self._retire(position)
        crashed = msgspec.structs.replace(hot, crashes=hot.crashes + 1)
        return msgspec.structs.replace(self, hot=self._with(position, crashed))


class Register(Workload):
    """Processes read, write and compare-and-set a few hot keys; every key must be linearizable on its own."""

    name = "register"
    needs = frozenset({KEY_VALUE, COMPARE_AND_SET})
    read_only_functions = frozenset({"read"})
    required_functions = ("read", "write", "cas")
    known_options = {  # noqa: RUF012 - never changed
        "keys": Option(3, 1, 1000, "how many keys are hot at a time"),
        "changes_per_key": Option(
            500, 1, 1_000_000, "writes and cas of a key before a fresh one takes its place"
        ),
        "read_patience": Option(
            0.5, 0.001, 3600.0, "seconds after which a read without an answer is given up"
        ),
        "crashes_per_key": Option(
            20, 1, 1_000_000, "unknown outcomes on a key before a fresh one takes its place"
        ),
        "values": Option(0, 0, 1_000_000, "values 0 .. n-1 that repeat; 0: every value is unique"),
        "read_share": Option(
            0.4, 0.0, 0.95, "share of reads among the operations of processes that also write"
        ),
        "readers": Option(True, 0, 1, "whether every second round of processes only reads"),
        "reads": READS,
        "bound_ms": BOUND_MS,
    }
    consistencies = (LINEARIZABLE, BOUNDED_STALENESS)

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.reads, self.bound_ms = str(own["reads"]), int(own["bound_ms"])
        usual = BOUNDED_STALENESS if self.reads in ("bounded", "stale") else LINEARIZABLE
        consistency = demanded(self.name, "consistency", options.consistency or usual, self.consistencies)
        self.is_linearizable = consistency == LINEARIZABLE
        self.checker = registers_checker(self.is_linearizable, self.reads, self.bound_ms)
        if self.reads != LINEARIZABLE:
            self.needs = self.needs | {CHOSEN_READS}
        self.read_patience_s = float(own["read_patience"])
        keys = int(own["keys"])
        registers = Registers(
            random=options.stream(),
            hot=tuple(HotKey(key) for key in range(keys)),
            next_key=keys,
            next_value=1,
            values=int(own["values"]),
            read_share=float(own["read_share"]),
            readers=reading_threads(options.concurrency, len(options.nodes)) if own["readers"] else 0,
            changes_per_key=int(own["changes_per_key"]),
            crashes_per_key=int(own["crashes_per_key"]),
        )
        self.generator = main_phase(registers, options)
        expected = keys + int(options.rate * options.time_limit_s / own["changes_per_key"]) + 4 * keys
        self.final_generator = self._final_reads(min(expected, MOST_FINAL_KEYS), options)

    @staticmethod
    def _final_reads(keys: int, options: WorkloadOptions) -> Generator:
        """Every key that may have been used, read through every node. Most were written; the others read as None."""
        reads = [
            combine.until_ok(combine.repeat(combine.operation("read", [key, None]))) for key in range(keys)
        ]
        return final_reads(reads, options, 1 / FINAL_READS_PER_S)

    def online_checkers(self) -> Sequence[OnlineChecker]:
        return (OnlineRegisters(),) if self.is_linearizable and not self.options["values"] else ()

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        key, value = invocation.value
        name = spread_key("register", key)
        match invocation.f:
            case "read":
                try:
                    async with asyncio.timeout(self.read_patience_s):
                        if self.reads == LINEARIZABLE:
                            return [key, await session.get(name)]
                        return [key, await session.get_as(name, self.reads, self.bound_ms)]
                except TimeoutError as error:
                    raise Indefinite("no-patience", f"no answer within {self.read_patience_s:g} s") from error
            case "write":
                await session.put(name, value)
                return invocation.value
            case "cas":
                expected, new = value
                if await session.compare_and_set(name, expected, new):
                    return invocation.value
                raise Definite("mismatch", f"the value was not {expected}")
        raise ValueError(f"workload register has no function {invocation.f!r}: read, write, cas")

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        if not isinstance(value, list) or len(value) != 2:
            return [f"a {invocation.f} answers [key, value]"]
        problems = []
        if value[0] != invocation.value[0]:
            problems.append(f"it is about key {value[0]!r}, but key {invocation.value[0]!r} was asked")
        return problems


def registers_checker(is_linearizable: bool, reads: str, bound_ms: int) -> Checker:
    """What is demanded of keyed registers. Where reads may lag, writes and compares-and-sets by themselves must still
    be linearizable."""
    if is_linearizable:
        return LinearizabilityChecker(CasRegister(None), split_by_key=True, name="linearizability")
    writes = LinearizabilityChecker(
        CasRegister(None), split_by_key=True, functions=frozenset({"write", "cas"}), name="linearizability"
    )
    bound_ns = UNBOUNDED_NS if reads == "stale" else bound_ms * 1_000_000
    return compose("registers", {"linearizability": writes, "staleness": StalenessChecker(bound_ns)})


def reading_threads(concurrency: int, nodes: int) -> int:
    """The threads that only read: of the rounds of one process a node, every second. None if there is only one
    round."""
    return sum(1 << thread for thread in range(concurrency) if thread // nodes % 2 == 1)
