"""Locks with fencing tokens: no two hold one at the same time, and each holds it with a larger token than before.

A process that holds a lock releases it with its next operation, by the token that it got. A lock whose acquire or
release ended in unknown outcome may stay held for ever by nobody who knows; so it is left for a fresh one at once, as
is a lock that was held often enough for its history to be long.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from checkers.linearizability.checker import LinearizabilityChecker
from checkers.linearizability.models import FencedLock
from results.operation import FAIL, INFO, OK, Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation, generator
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.on_transactions import lock
from workloads.rotating_keys import RotatingKeys
from workloads.session import LOCK, Definite, Session
from workloads.workload import Option, Workload, WorkloadOptions, read_options

FIRST_FINAL_LOCK = 1_000_000_000
"""Locks from this number on are acquired at the end, one by each process, to see that it can be done."""
NOT_HELD = "not-held"


class Holding(msgspec.Struct, frozen=True):
    """What a process holds."""

    process: int
    lock: int
    token: int


class Locking(Generator, frozen=True):
    """Acquires of a few hot locks, and releases of what was acquired, without end."""

    random: random.Random
    locks: RotatingKeys
    holding: tuple[Holding, ...] = ()

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        for held in self.holding:
            if held.process == process:
                return Invocation("release", [held.lock, held.token], process, context.time), self
        position = self.locks.choose(self.random)
        return Invocation("acquire", [self.locks.keys[position], None], process, context.time), self

    def update(self, context: Context, event: Operation) -> Generator:
        process = event.process
        if event.type not in (OK, FAIL, INFO) or not isinstance(process, int):
            return self
        number = event.value[0]
        if event.type == INFO:
            left = tuple(held for held in self.holding if held.process != process)
            return msgspec.structs.replace(self, locks=self.locks.crashed(number), holding=left)
        if event.type == OK and event.f == "acquire":
            locks = self.locks
            if number in locks.keys:
                locks = locks.changed(locks.keys.index(number))
            holding = (*self.holding, Holding(process, number, event.value[1]))
            return msgspec.structs.replace(self, locks=locks, holding=holding)
        if event.f == "release" and (event.type == OK or event.error[0] == NOT_HELD):
            left = tuple(held for held in self.holding if held.process != process)
            return msgspec.structs.replace(self, holding=left)
        return self


class LockWorkload(Workload):
    """Processes acquire and release a few locks; no two hold one at the same time, and fencing tokens only rise."""

    name = "lock"
    needs = frozenset({LOCK})
    read_only_functions: frozenset[str] = frozenset()
    required_functions = ("acquire", "release")
    known_options = {  # noqa: RUF012 - never changed
        "locks": Option(3, 1, 1000, "how many locks are hot at a time"),
        "holds_per_lock": Option(
            200, 1, 1_000_000, "how often a lock is held before a fresh one takes its place"
        ),
    }

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.checker = LinearizabilityChecker(FencedLock(), split_by_key=True, name="linearizability")
        locks = RotatingKeys.of(int(own["locks"]), int(own["holds_per_lock"]), most_crashes=1)
        self.generator = main_phase(Locking(options.stream(), locks), options)
        self.final_generator = final_reads(combine.until_ok(generator(final_acquire)), options)

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        number, token = invocation.value
        name = spread_key("lock", number)
        match invocation.f:
            case "acquire":
                token = await lock(session).acquire(name)
                if token is None:
                    raise Definite("held", f"somebody holds lock {number}")
                return [number, token]
            case "release":
                if not await lock(session).release(name, token):
                    raise Definite(NOT_HELD, f"lock {number} was not held with token {token}")
                return invocation.value
        raise ValueError(f"workload lock has no function {invocation.f!r}: acquire, release")

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        number = invocation.value[0]
        if not isinstance(value, list) or len(value) != 2 or value[0] != number:
            return [f"{invocation.f} answers [lock, token] with the lock that was asked, {number!r}"]
        if isinstance(value[1], bool) or not isinstance(value[1], int):
            return [f"a fencing token is a whole number, not {value[1]!r:.80}"]
        return []


def final_acquire(context: Context) -> Invocation:
    """Of a lock that nobody else uses: a process has its own, and its successor another."""
    process = context.free_process()
    assert isinstance(process, int), f"final operations are clients', not of {process!r}"
    return Invocation("acquire", [FIRST_FINAL_LOCK + process, None])
