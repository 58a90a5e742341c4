"""The kit that unit-tests generators: run one against make-believe clients, on virtual time, and look at the events.

Nothing waits and nothing is random beyond the fixed seed: the same generator gives the same events, every time. A
*client* here is a function from an invocation (and a random stream) to an `Outcome`.

    perfect         every operation is ok, after a fixed latency
    imperfect       ok, fail and info in turn on each thread, after random latencies
    crashing        every operation ends in info, so that every process is replaced
    quick           only what would be invoked, by clients that take no time
"""

from __future__ import annotations

import heapq
import random as random_module
from collections.abc import Callable
from typing import Any

import msgspec

from results.operation import FAIL, INFO, INVOKE, OK, Operation
from workloads.generator.core import (
    LOG,
    NOTHING,
    SLEEP,
    Context,
    Generator,
    Invocation,
    Pending,
    Source,
    first_context,
    generator,
)

SEED = 45100
"""The fixed seed of every simulated execution."""

LATENCY_NS = 10
"""What an operation of a perfect client takes."""


class Outcome(msgspec.Struct, frozen=True):
    """How a make-believe client ends an operation."""

    type: str
    latency_ns: int
    value: Any = None


Client = Callable[[Operation, random_module.Random], Outcome]


class SimulationError(Exception):
    """The generator waits for something that cannot happen, or does not end."""


def simulate(
    source: Source,
    client: Client,
    *,
    clients: int = 2,
    seed: int = SEED,
    max_events: int = 100_000,
    start: int = 0,
) -> list[Operation]:
    """All events of a run with `clients` client threads and a nemesis, until the generator is exhausted and everything
    in flight has ended. Completions come before invocations at the same time. `intended` is set where an invocation
    was late. Logs and sleeps leave no event.

    Raises SimulationError if the generator waits though nothing is in flight, or after `max_events` events.
    """
    plan = generator(source)
    random = random_module.Random(seed)
    context = first_context(clients, start)
    events: list[Operation] = []
    pending: list[tuple[int, int, int, Operation | None, Outcome | None]] = []
    """What will end: (time, order, thread, invocation and outcome, or None for a sleep)."""
    order = 0
    while True:
        if len(events) > max_events:
            raise SimulationError(f"no end after {max_events} events; the generator is now {plan!r:.1000}")
        while pending and pending[0][0] <= context.time:
            plan, context = _end(plan, context, events, pending)
        answer = plan.next(context)
        ends = pending[0][0] if pending else None
        if answer is None:
            if ends is None:
                return events
            plan, wake = NOTHING, None
        else:
            what, following = answer
            if isinstance(what, Pending):
                plan = following
                wake = what.wake_ns
                if wake is not None and wake <= context.time:
                    raise SimulationError(f"pending until {wake}, but it is {context.time}: {plan!r:.1000}")
                if wake is None and ends is None:
                    raise SimulationError(
                        f"the generator waits for an event, but nothing is in flight: {plan!r:.1000}"
                    )
            else:
                plan = following
                order += 1
                plan, context = _begin(plan, what, context, client, random, events, pending, order)
                continue
        times = [time for time in (ends, wake) if time is not None]
        context = msgspec.structs.replace(context, time=min(times))


def _begin(
    plan: Generator,
    what: Invocation,
    context: Context,
    client: Client,
    random: random_module.Random,
    events: list[Operation],
    pending: list[tuple[int, int, int, Operation | None, Outcome | None]],
    order: int,
) -> tuple[Generator, Context]:
    assert what.process is not None
    assert context.is_free(what.process), f"{what!r} for a busy process, free threads {context.free:b}"
    thread = context.thread_of(what.process)
    now = context.time
    if what.type == LOG:
        return plan, context
    context = msgspec.structs.replace(
        context, free=context.free & ~(1 << thread), cursor=(thread + 1) % len(context.processes)
    )
    if what.type == SLEEP:
        heapq.heappush(pending, (now + what.value, order, thread, None, None))
        return plan, context
    intended = what.time if what.time != now else None
    event = Operation(len(events), now, what.process, INVOKE, what.f, what.value, intended=intended)
    events.append(event)
    outcome = client(event, random)
    heapq.heappush(pending, (now + outcome.latency_ns, order, thread, event, outcome))
    return plan.update(context, event), context


def _end(
    plan: Generator,
    context: Context,
    events: list[Operation],
    pending: list[tuple[int, int, int, Operation | None, Outcome | None]],
) -> tuple[Generator, Context]:
    time, _, thread, invocation, outcome = heapq.heappop(pending)
    processes = context.processes
    if invocation is None or outcome is None:
        return plan, msgspec.structs.replace(context, time=time, free=context.free | 1 << thread)
    process = invocation.process
    event = Operation(len(events), time, process, outcome.type, invocation.f, outcome.value)
    events.append(event)
    if outcome.type == INFO and isinstance(process, int):
        successor = process + len(processes) - 1
        processes = (*processes[:thread], successor, *processes[thread + 1 :])
    context = msgspec.structs.replace(
        context, time=time, free=context.free | 1 << thread, processes=processes
    )
    return plan.update(context, event), context


def perfect(source: Source, *, clients: int = 2, latency_ns: int = LATENCY_NS) -> list[Operation]:
    """All events of a run in which every operation is ok after `latency_ns`, with the value it was invoked with."""
    return simulate(source, lambda invocation, _: Outcome(OK, latency_ns, invocation.value), clients=clients)


def imperfect(source: Source, *, clients: int = 2, seed: int = SEED) -> list[Operation]:
    """All events of a run in which each thread's operations end in fail, info and ok in turn, after random latencies
    of 1 to 20 ns (so that completions change places)."""
    turn: dict[int | str, int] = {}

    def client(invocation: Operation, random: random_module.Random) -> Outcome:
        thread = invocation.process % clients if isinstance(invocation.process, int) else invocation.process
        count = turn[thread] = turn.get(thread, 0) + 1
        type_ = (FAIL, INFO, OK)[(count - 1) % 3]
        return Outcome(type_, random.randint(1, 20), invocation.value)

    return simulate(source, client, clients=clients, seed=seed)


def crashing(source: Source, *, clients: int = 2, latency_ns: int = LATENCY_NS) -> list[Operation]:
    """All events of a run in which every operation ends in info."""
    return simulate(
        source, lambda invocation, _: Outcome(INFO, latency_ns, invocation.value), clients=clients
    )


def quick(source: Source, *, clients: int = 2) -> list[Operation]:
    """Only the invocations of a run whose clients take no time."""
    return invocations(perfect(source, clients=clients, latency_ns=0))


def invocations(events: list[Operation]) -> list[Operation]:
    """The invocations among the events."""
    return [event for event in events if event.type == INVOKE]


def shape(events: list[Operation]) -> list[tuple[int, int | str, str, str, Any]]:
    """What tests compare: (time, process, type, f, value) of each event."""
    return [(event.time, event.process, event.type, event.f, event.value) for event in events]
