"""A machine without I/O: `poll(now)` says what to invoke and which fault steps are due, `complete` records an end.

It owns the generator, the threads and their processes, the indexes of the history and its phases. It knows no clock,
session or file: whoever drives it passes the time in, journals the events that it answers, and runs the operations.
Because it is one object for the whole run, process numbers, indexes and the order of time carry over from the main
phase to the final one.

The rules that live here:

- Completions come before invocations: give all that have ended to `complete`, then `poll`. The other way round,
  operations would seem concurrent that were not.
- A process whose operation ends in info is never heard of again; process p's thread goes on with p + threads.
- Time never goes back: an event is at least as late as the one before it.
- An invocation that could not start when the generator wanted it starts late, and says so (`intended`).
- What a client answers is checked here, once for all: an answer that makes no sense becomes info, with all problems.
"""

from __future__ import annotations

import heapq
import random as random_module
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from nemesis.schedule import Step
from results.operation import FAIL, HARNESS, INFO, INVOKE, MAIN_PHASE, OK, Operation
from workloads.generator.core import (
    LOG,
    NOTHING,
    SLEEP,
    Context,
    Generator,
    Pending,
    Source,
    first_context,
    generator,
)
from workloads.session import Committed

LATE_NS = 10_000_000
"""From this delay on, an invocation counts as late. Timers wake to the millisecond, so nearly all are a little late;
`intended` says of each by how much."""
INVALID_COMPLETION = "invalid-completion"
"""First element of the error of an operation whose answer made no sense."""
STAMPED_MOST = 4
"""So many invocations of one poll are stamped anew; with more of them, it is their number that takes the time."""
NO_ANSWER = "no-answer"
"""First element of the error of operations that were given up at the end of a phase."""


class CompletionError(Exception):
    """A completion was reported that cannot be one; the text lists all that is wrong. The driver has a defect."""


class Poll(msgspec.Struct, frozen=True):
    """What is to be done now."""

    invocations: list[Operation]
    """To journal, in this order, and then to run."""
    steps: list[Step]
    """Fault steps that are due."""
    messages: list[str]
    """For the user."""
    wake_at_ns: int | None
    """Poll again at this time if nothing ends before; None: only when something ends."""
    done: bool
    """The generator is exhausted and nothing is in flight: the phase is over."""


class Interpreter:
    """Decides what the clients of a run do, and numbers what happens."""

    def __init__(
        self,
        source: Source,
        processes: int,
        nodes: Sequence[str],
        random: random_module.Random,
        *,
        schedule: Iterable[Step] = (),
        problems: Callable[[Operation, Any], list[str]] | None = None,
    ) -> None:
        """`processes` client threads; thread t's processes talk to `nodes[t % len(nodes)]`. `random` decides which of
        the free threads is next. The schedule's times count from the first poll. `problems(invocation, value)` says
        what is wrong with the value of an ok completion, in the eyes of the workload.
        """
        if not nodes:
            raise ValueError("there must be at least one node for the processes to talk to")
        first = first_context(processes)
        self.threads = processes
        self.nodes = tuple(nodes)
        self.phase = MAIN_PHASE
        self.origin_ns: int | None = None
        """What the driver's clock showed when the run began; kept here because it outlives a phase."""
        self.phase_start_ns: int | None = None
        """When this phase was first polled; None before."""
        self.late = 0
        """How many invocations started `LATE_NS` or more after they should have."""
        self.latest_ns = 0
        """How late the latest of them was."""
        self.invalid = 0
        """How many answers made no sense."""
        self._plan: Generator = generator(source)
        self._exhausted = False
        self._random = random.random
        self._problems = problems
        self._index = 0
        self._now = 0
        self._everybody = first.threads
        self._free = first.free
        self._processes = first.processes
        self._cursor = 0
        self._bits = [1 << thread for thread in range(processes + 1)]
        self._node_of = [self.nodes[thread % len(self.nodes)] for thread in range(processes)]
        self._in_flight: dict[int | str, Operation] = {}
        self._asleep: list[tuple[int, int]] = []
        """(when it wakes, thread), a heap."""
        self._steps = sorted(schedule, key=lambda step: (step.at_ns, step.id), reverse=True)
        """Steps that are not yet due, the next one last."""

    # What there is

    @property
    def in_flight(self) -> Mapping[int | str, Operation]:
        """The invocation that each busy process is waiting on; not to be changed."""
        return self._in_flight

    @property
    def next_index(self) -> int:
        """How many events there have been."""
        return self._index

    @property
    def exhausted(self) -> bool:
        """Whether nothing more will be invoked in this phase."""
        return self._exhausted

    @property
    def steps_left(self) -> int:
        """How many steps of the schedule are not yet due."""
        return len(self._steps)

    def process_on(self, thread: int) -> int | str:
        """The process that runs on a thread now."""
        return self._processes[thread]

    def node_of(self, thread: int) -> str:
        """The node that a thread's processes talk to."""
        return self._node_of[thread]

    # What happens

    def poll(self, now_ns: int, stamp: Callable[[], int] | None = None) -> Poll:
        """Everything that should begin now; call it after the completions that are known, and again whenever
        something has ended or `wake_at_ns` has come.

        Where only a few begin at once, they begin when `stamp` is asked, after the generator has decided: what the
        deciding took is then not part of their intervals, and a narrow interval hides less.
        """
        now = self._now = max(now_ns, self._now)
        if self.phase_start_ns is None:
            self.phase_start_ns = now
        asleep = self._asleep
        while asleep and asleep[0][0] <= now:
            self._free |= self._bits[heapq.heappop(asleep)[1]]
        wake = asleep[0][0] if asleep else None
        invocations: list[Operation] = []
        messages: list[str] = []
        if not self._exhausted:
            pending = self._generate(now, invocations, messages)
            if stamp is not None and 0 < len(invocations) <= STAMPED_MOST:
                self._begin_at(stamp(), invocations)
            if pending is not None and (wake is None or pending < wake):
                wake = pending
        done = self._exhausted and not self._in_flight and not asleep
        steps: list[Step] = []
        if self._steps and not self._exhausted:
            start = self.phase_start_ns
            while self._steps and start + self._steps[-1].at_ns <= now:
                steps.append(self._steps.pop())
            if self._steps:
                due = start + self._steps[-1].at_ns
                wake = due if wake is None or due < wake else wake
        return Poll(invocations, steps, messages, wake, done)

    def _begin_at(self, now_ns: int, invocations: list[Operation]) -> None:
        """Lets these invocations begin at this time, not before the last event."""
        now = self._now = max(now_ns, self._now)
        for position, event in enumerate(invocations):
            invocations[position] = self._in_flight[event.process] = Operation(
                event.index,
                now,
                event.process,
                INVOKE,
                event.f,
                event.value,
                None,
                event.intended,
                event.node,
                event.phase,
            )

    def _generate(self, now: int, invocations: list[Operation], messages: list[str]) -> int | None:
        """Asks the generator until it has nothing more for now; answers when to ask again."""
        plan = self._plan
        processes = self._processes
        everybody = self._everybody
        clients = self.threads
        free = self._free
        cursor = self._cursor
        index = self._index
        phase = None if self.phase == MAIN_PHASE else self.phase
        wake: int | None = None
        context = Context(now, free, everybody, processes, cursor)
        while True:
            answer = plan.next(context)
            if answer is None:
                self._exhausted = True
                plan = NOTHING
                break
            what, plan = answer
            if isinstance(what, Pending):
                wake = what.wake_ns
                if wake is not None and wake <= now:
                    wake = now + 1
                break
            process = what.process
            assert process is not None, f"{what!r} has no process; was it filled?"
            if type(process) is int:
                thread = process % clients
                node: str | None = self._node_of[thread]
            else:
                thread, node = clients, None
            bit = self._bits[thread]
            assert free & bit, f"{what!r} for a busy process (free: {free:b})"
            assert processes[thread] == process, (
                f"{what!r} for a process that is over: {processes[thread]} is next"
            )
            type_ = what.type
            if type_ == INVOKE:
                time = what.time
                assert time is not None, f"{what!r} has no time; was it filled?"
                if time >= now:
                    intended = None
                else:
                    intended = time
                    if now - time > self.latest_ns:
                        self.latest_ns = now - time
                    if now - time >= LATE_NS:
                        self.late += 1
                event = Operation(
                    index,
                    now,
                    process,
                    INVOKE,
                    what.f,
                    what.value,
                    None,
                    intended,
                    node,
                    phase,
                )
                index += 1
                self._in_flight[process] = event
                invocations.append(event)
                free ^= bit
                cursor = int(self._random() * clients)
                context = Context(now, free, everybody, processes, cursor)
                if plan.listens:
                    plan = plan.update(context, event)
            elif type_ == SLEEP:
                heapq.heappush(self._asleep, (now + what.value, thread))
                free ^= bit
                context = Context(now, free, everybody, processes, cursor)
            else:
                assert type_ == LOG, f"{what!r} has an unknown type"
                messages.append(str(what.value))
        if self._asleep:
            earliest = self._asleep[0][0]
            wake = earliest if wake is None or earliest < wake else wake
        self._plan, self._free, self._cursor, self._index = plan, free, cursor, index
        return wake

    def complete(
        self, process: int | str, type_: str, value: Any, error: Any, now_ns: int, rest_ns: int = 0
    ) -> Operation:
        """The operation that this process was busy with has ended; answers the completion, to be journaled.

        A fail or info keeps the value that was invoked. An ok with a value that makes no sense becomes info. The thread
        is given nothing for another `rest_ns`. Raises CompletionError for what no client can have caused: an idle
        process, or a type that is none.
        """
        invocation = self._in_flight.pop(process, None)
        if invocation is None or (type_ != OK and type_ != FAIL and type_ != INFO):
            raise CompletionError(self._wrong_call(process, type_, invocation))
        committed_at = None
        if type_ == OK:
            if type(value) is Committed:
                value, committed_at = value.value, value.committed_at
            wrong = json_problems(value)
            if not wrong and self._problems is not None:
                wrong = self._problems(invocation, value)
            if wrong:
                self.invalid += 1
                type_, error = (
                    INFO,
                    [INVALID_COMPLETION, f"{'; '.join(wrong)}; the answer was {value!r:.300}"],
                )
                value, committed_at = invocation.value, None
        else:
            value = invocation.value
        if error is not None and json_problems(error):
            error = str(error)
        now = self._now = max(now_ns, self._now)
        event = Operation(
            self._index, now, process, type_, invocation.f, value, error, committed_at=committed_at
        )
        self._index += 1
        clients = self.threads
        if type(process) is int:
            thread = process % clients
            if type_ == INFO:
                processes = self._processes
                self._processes = (*processes[:thread], process + clients, *processes[thread + 1 :])
        else:
            thread = clients
        if rest_ns and not self._exhausted:
            heapq.heappush(self._asleep, (now + rest_ns, thread))
        else:
            self._free |= self._bits[thread]
        if self._plan.listens:
            context = Context(now, self._free, self._everybody, self._processes, self._cursor)
            self._plan = self._plan.update(context, event)
        return event

    def _wrong_call(self, process: int | str, type_: str, invocation: Operation | None) -> str:
        problems = []
        if invocation is None:
            busy = sorted(self._in_flight, key=str)
            problems.append(f"process {process!r} is not busy (busy: {busy[:20]})")
        if type_ not in (OK, FAIL, INFO):
            problems.append(f"type {type_!r} must be one of {OK}, {FAIL}, {INFO}")
        return f"a completion that cannot be: {'; '.join(problems)}"

    def observe(
        self, process: str, type_: str, f: str, value: Any, now_ns: int, error: Any = None
    ) -> Operation:
        """An event of the nemesis or another observer, to be journaled. No generator hears of it."""
        assert isinstance(process, str), f"process {process!r}: clients' events come from poll and complete"
        self._now = max(now_ns, self._now)
        event = Operation(self._index, self._now, process, type_, f, value, error)
        self._index += 1
        return event

    def mark_phase(self, name: str, now_ns: int) -> Operation:
        """The event that says that a phase begins, to be journaled."""
        return self.observe(HARNESS, INFO, "phase", name, now_ns)

    # How a phase begins and ends

    def begin_phase(self, name: str, source: Source) -> None:
        """Goes on with another generator under another name; what is left of the schedule is dropped. The phase
        before must be over: nothing in flight."""
        assert not self._in_flight, f"phase {name} begins with {sorted(self._in_flight, key=str)} in flight"
        for _, thread in self._asleep:
            self._free |= self._bits[thread]
        self._asleep.clear()
        self._steps.clear()
        self.phase = name
        self.phase_start_ns = None
        self._plan = generator(source)
        self._exhausted = False

    def stop(self) -> None:
        """Nothing more is invoked in this phase; what is in flight may end, who sleeps is woken."""
        self._exhausted = True
        self._plan = NOTHING
        for _, thread in self._asleep:
            self._free |= self._bits[thread]
        self._asleep.clear()

    def give_up(self, now_ns: int, why: str) -> list[Operation]:
        """Ends everything in flight with info, since nobody will wait for it; the completions, to be journaled."""
        return [
            self.complete(process, INFO, None, [NO_ANSWER, why], now_ns)
            for process in sorted(self._in_flight, key=lambda process: self._in_flight[process].index)
        ]

    def is_stuck(self) -> bool:
        """Whether, polled just now with no time to wake, nothing can ever happen again though the generator is not
        exhausted. (Only for a nemesis whose steps are all over.)"""
        return not self._exhausted and not self._in_flight and not self._asleep and not self._steps

    def describe(self) -> str:
        """Where it stands, in words; for the report on a run that hangs."""
        busy = ", ".join(
            f"process {process} {event.f} {event.value!r:.60} since {event.time / 1e9:.3f} s on {event.node}"
            for process, event in sorted(self._in_flight.items(), key=lambda item: item[1].index)[:20]
        )
        return (
            f"phase {self.phase}, {self._index} events, last at {self._now / 1e9:.3f} s; "
            f"in flight ({len(self._in_flight)}): {busy or 'nothing'}; "
            f"generator {'exhausted' if self._exhausted else f'{self._plan!r:.500}'}"
        )


def json_problems(value: Any, at: str = "value") -> list[str]:
    """Why a value cannot be kept in a history, which is JSON; empty if it can."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return []
    if kind is int:
        if -(2**63) <= value < 2**64:
            return []
        return [f"{at} {value} does not fit in 64 bits"]
    if kind is float:
        if value - value == 0:
            return []
        return [f"{at} {value} is not a finite number"]
    if kind is list or kind is tuple:
        return [
            problem
            for position, item in enumerate(value)
            for problem in json_problems(item, f"{at}[{position}]")
        ]
    if kind is dict:
        problems = []
        for key, item in value.items():
            if type(key) is not str:
                problems.append(f"{at} has the key {key!r}, which is not text")
            problems += json_problems(item, f"{at}[{key!r}]")
        return problems
    return [f"{at} is a {kind.__name__}, which JSON does not have: {value!r:.100}"]
