"""The coroutines that run an interpreter: one pump a loop turn, a worker for each thread, one journal write a turn.

How an operation travels:

1. The pump takes all completions that gathered since its last turn, gives them to the interpreter, then polls it.
2. What came of both is journaled with one write. Only then are the workers of the new invocations woken: whatever a
   client may have done is on record, also if the harness is killed in the next instant.
3. A worker, one long task for each thread, parked on a bare future, performs the operation on its session and leaves
   the outcome, stamped with the time, for the pump; the first one of a loop turn schedules it.

Operations that take too long are found by one deadline wheel that turns at every tick, since a timer for each
operation would cost a third of the speed. Their outcome is recorded at once, whether or not the client lets itself be
cancelled: the worker is left to its fate and a new one takes its thread.

Sessions belong to processes: opened before the phase begins, and again whenever a process was replaced. A session that
does not open is a certain failure of the operation that needed it (`no-client`). A thread whose operations fail one
after the other rests between them, longer each time: a node that is down would else be asked thousands of times a
second, and the history would be about little else.

Clients may be told apart from the harness by a context of their own (`client_context`): on a simulated network they
sit on a host. Workers and their sessions run in it, everything else where `drive` was called.

Runs on asyncio and uvloop alike. Both wake timers only to the millisecond, and uvloop may fire early: the pump looks
at the clock each time, and nobody asks for less than a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from harness.deadlines import DeadlineWheel, StallWatch
from harness.interpreter import Interpreter
from harness.measures import MILLISECOND, SECOND, LatencyHistogram, Progress, Quantiles
from nemesis.schedule import Step
from results.operation import FAIL, INFO, NEMESIS, OK, Operation
from workloads.session import Definite, Session, SessionError
from workloads.workload import Workload

TICK_NS = 10 * MILLISECOND
"""How often the deadline wheel turns and the lag of the loop is sampled."""
NO_CLIENT = "no-client"
"""First element of the error of an operation for which no session could be opened: it certainly was not sent."""
TIMEOUT = "timeout"
FIRST_REST_NS = 100 * MILLISECOND
LONGEST_REST_NS = SECOND
DOUBTS_BEFORE_REST = 2
"""So many operations in a row without an ok, the last one of unknown outcome, and the thread rests."""
FAILURES_BEFORE_REST = 5
"""The same where the last one certainly failed, as some do in the best of worlds: conflicts, mismatches."""
CLOSE_TIMEOUT_S = 2.0
STALL_S = 5.0
"""A loop that has not turned for so long is stuck in somebody's code: the stalls of the result say where."""

OpenSession = Callable[[str], Awaitable[Session]]

__all__ = [
    "DriveResult",
    "Journal",
    "NemesisRunner",
    "OpenSession",
    "Progress",
    "Quantiles",
    "Recorder",
    "StopSignal",
    "drive",
]


# What a phase was like


class DriveResult(msgspec.Struct, frozen=True):
    """What one phase was like. Times are nanoseconds since the start of the run."""

    phase: str
    start_ns: int
    end_ns: int
    invoked: int
    ok: int
    fail: int
    info: int
    late: int
    """How many invocations began 10 ms or more after their generator wanted them to."""
    latest_ns: int
    """How late the latest began."""
    no_client: int
    """How many operations failed because no session could be opened."""
    latency: Quantiles
    """Of ok operations."""
    loop_lag: Quantiles
    """How long something that was ready had to wait for its turn on the event loop. A harness that lags widens the
    intervals of operations, and may so hide what the database did."""
    stopped: str | None = None
    """Why the phase ended before its generator did: "interrupted", "interrupted twice", or the watchdog's reason."""
    stalls: tuple[str, ...] = ()
    """Where the loop was when it did not turn for seconds; stack traces."""
    invalid_completions: int = 0
    """How many answers made no sense; they are info in the history."""

    @property
    def is_whole(self) -> bool:
        """Whether the generator came to its own end."""
        return self.stopped is None


# Who else takes part


class StopSignal:
    """Asks a run to end: once, to generate no more and finish in order; twice, to stop at once."""

    def __init__(self) -> None:
        self.requests = 0
        self.reason = "requested"
        """Who asked: the name of a signal, or "finding"."""
        self._listeners: list[Callable[[], None]] = []

    def request(self) -> None:
        """Another request; call it on the event loop's thread (for example from `loop.add_signal_handler`)."""
        self.requests += 1
        for listener in list(self._listeners):
            listener()

    @property
    def at_once(self) -> bool:
        """Whether everything shall stop now."""
        return self.requests >= 2

    @contextlib.contextmanager
    def calling(self, listener: Callable[[], None]) -> Any:
        """Calls `listener` at each request while the block runs."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)


class NemesisRunner(Protocol):
    """Executes fault steps beside the clients; each in a task of its own."""

    record: Callable[[str, str, dict[str, Any]], None]
    """Takes type, f and value of the nemesis's events; `drive` sets it."""

    def begin(self, step: Step) -> None:
        """Starts a step that is due now, and returns at once."""


class Journal(Protocol):
    """Where events are kept; see `results.run_folder.Journal`."""

    @property
    def record(self) -> Callable[[Operation], None]: ...

    def commit(self) -> None: ...


class Recorder:
    """Puts the events of observers into the history: nemesis, phases, logs. Works during a phase and between phases;
    each event is written at once."""

    def __init__(
        self,
        interpreter: Interpreter,
        journal: Journal,
        progress: Progress | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._interpreter = interpreter
        self._journal = journal
        self._progress = progress
        self._clock = clock

    def now_ns(self) -> int:
        """Time since the start of the run, which begins with the first question."""
        now = self._clock()
        origin = self._interpreter.origin_ns
        if origin is None:
            origin = self._interpreter.origin_ns = now
            if self._progress is not None:
                self._progress.began(origin)
        return now - origin

    def event(self, process: str, type_: str, f: str, value: Any, error: Any = None) -> Operation:
        """Records what an observer saw."""
        event = self._interpreter.observe(process, type_, f, value, self.now_ns(), error)
        self._journal.record(event)
        self._journal.commit()
        return event

    def nemesis_event(self, type_: str, f: str, value: dict[str, Any]) -> None:
        """Records an event of the nemesis; see `NemesisRunner.record`."""
        self.event(NEMESIS, type_, f, value)
        if self._progress is not None:
            self._progress.nemesis_event(type_, f, value)

    def phase(self, name: str) -> None:
        """Records that a phase begins."""
        self._journal.record(self._interpreter.mark_phase(name, self.now_ns()))
        self._journal.commit()
        if self._progress is not None:
            self._progress.begin_phase(name)


async def drive(
    interpreter: Interpreter,
    workload: Workload,
    open_session: OpenSession,
    journal: Journal,
    nemesis: NemesisRunner | None,
    timeout_s: float,
    progress: Progress,
    stop: StopSignal,
    clock: Callable[[], int] = time.monotonic_ns,
    *,
    limit_s: float | None = None,
    drain_s: float | None = None,
    stall_s: float | None = STALL_S,
    client_context: contextvars.Context | None = None,
) -> DriveResult:
    """Runs the interpreter's present phase to its end: until its generator is exhausted and all operations have ended.

    An operation that takes longer than `timeout_s` is info (fail, if it is read-only). The first request of `stop`
    during this phase ends the generating; the second ever ends everything at once. `limit_s` is the watchdog's: a
    phase that still generates after so long is ended in the same way, and the result says why. What has not ended
    `drain_s` after the generating did (by default the timeout and a second) is given up. `nemesis` is not stopped.
    `stall_s` None: nobody watches whether the loop turns (on virtual time it always does).

    Raises what the generator, the journal or the nemesis's `begin` raise; the sessions are closed in any case.
    """
    driver = _Driver(
        interpreter, workload, open_session, journal, nemesis, timeout_s, progress, stop, clock, limit_s,
        timeout_s + 1.0 if drain_s is None else drain_s, client_context,
    )  # fmt: skip
    if stall_s is not None:
        driver.watch = StallWatch(threading.get_ident(), stall_s)
        driver.watch.start()
    try:
        return await driver.run()
    finally:
        if driver.watch is not None:
            driver.watch.end()
        await driver.close()


class _Worker:
    """Performs the operations of one thread, one after the other, until it is abandoned."""

    __slots__ = ("abandoned", "has_session", "node", "operation", "task", "thread", "waiter")

    def __init__(self, thread: int, node: str) -> None:
        self.thread = thread
        self.node = node
        self.operation: Operation | None = None
        """What it is to do, or is doing."""
        self.waiter: asyncio.Future[None] | None = None
        """What it is parked on while it has nothing to do."""
        self.has_session = False
        self.abandoned = False
        """Another worker has its thread; nobody listens to this one any more."""
        self.task: asyncio.Task[None] | None = None


class _Driver:
    """One phase; see `drive`."""

    def __init__(
        self,
        interpreter: Interpreter,
        workload: Workload,
        open_session: OpenSession,
        journal: Journal,
        nemesis: NemesisRunner | None,
        timeout_s: float,
        progress: Progress,
        stop: StopSignal,
        clock: Callable[[], int],
        limit_s: float | None,
        drain_s: float,
        client_context: contextvars.Context | None,
    ) -> None:
        if timeout_s <= 0:
            raise ValueError(f"an operation timeout of {timeout_s} s: it must be above 0")
        self.interpreter = interpreter
        self.workload = workload
        self.open_session = open_session
        self.journal = journal
        self.nemesis = nemesis
        self.timeout_ns = round(timeout_s * SECOND)
        self.timeout_s = timeout_s
        self.progress = progress
        self.stop = stop
        self.stop_base = stop.requests
        self.clock = clock
        self.limit_ns = None if limit_s is None else round(limit_s * SECOND)
        self.drain_ns = round(drain_s * SECOND)
        self.loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()
        """That of the harness: what a client wakes runs in it."""
        self.client_context = client_context
        self.recorder = Recorder(interpreter, journal, progress, clock)
        self.workers: list[_Worker] = []
        self.background: dict[asyncio.Task[None], None] = {}
        """In the order they began: sessions being closed, abandoned workers, operations of the nemesis."""
        self.completed: list[tuple[int | str, str, Any, Any, int, int]] = []
        """What has ended since the last turn: process, type, value, error, time, and how long the thread rests."""
        self.pump_scheduled = False
        self.timer: asyncio.TimerHandle | None = None
        self.timer_at = 0
        self.ticker: asyncio.TimerHandle | None = None
        self.tick_due = 0
        self.unopened = interpreter.threads
        """Workers that have not yet tried to open their first session."""
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.finished: asyncio.Future[None] = self.loop.create_future()
        self.wheel = DeadlineWheel(interpreter.threads, min(TICK_NS, max(MILLISECOND, self.timeout_ns // 20)))
        self.lag = LatencyHistogram()
        self.before = progress.counts()
        progress.latency_of_phase.reset()
        self.invoked = 0
        self.no_client = 0
        self.late_before = interpreter.late
        self.invalid_before = interpreter.invalid
        self.stopped: str | None = None
        self.generating_ended_ns: int | None = None
        self.watch: StallWatch | None = None

    # The phase

    async def run(self) -> DriveResult:
        self.recorder.phase(self.interpreter.phase)
        origin = self.interpreter.origin_ns
        assert origin is not None, "the recorder has just set it"
        self.origin = origin
        self.start_ns = self.recorder.now_ns()
        if self.nemesis is not None:
            self.nemesis.record = self.recorder.nemesis_event
        self.workers = [self._hire(thread) for thread in range(self.interpreter.threads)]
        with self.stop.calling(self._on_stop):
            self._tick()
            await self._sessions_opened()
            self.start_ns = self.recorder.now_ns()
            if not self.finished.done():
                self._pump()
            await self.finished
        end_ns = self.recorder.now_ns()
        self.progress.settle()
        ok, fail, info = (
            now - before for now, before in zip(self.progress.counts(), self.before, strict=True)
        )
        return DriveResult(
            phase=self.interpreter.phase,
            start_ns=self.start_ns,
            end_ns=end_ns,
            invoked=self.invoked,
            ok=ok,
            fail=fail,
            info=info,
            late=self.interpreter.late - self.late_before,
            latest_ns=self.interpreter.latest_ns,
            no_client=self.no_client,
            latency=Quantiles.of(self.progress.latency_of_phase),
            loop_lag=Quantiles.of(self.lag),
            stopped=self.stopped,
            stalls=tuple(self.watch.stalls) if self.watch is not None else (),
            invalid_completions=self.interpreter.invalid - self.invalid_before,
        )

    async def _sessions_opened(self) -> None:
        """Waits until every worker has tried to open its session once, but for no longer than the timeout: the first
        operations should not have to wait for connections."""
        if self.unopened:
            await asyncio.wait(
                {self.opened, self.finished},
                timeout=min(self.timeout_s, 5.0),
                return_when=asyncio.FIRST_COMPLETED,
            )

    def _pump(self) -> None:
        """One turn: completions, then invocations, then one write, then the workers."""
        self.pump_scheduled = False
        if self.finished.done():
            return
        try:
            self._turn()
        except BaseException as error:  # noqa: BLE001 - whatever it is ends the phase, and is raised by `drive`.
            self._fail(error)

    def _turn(self) -> None:
        interpreter = self.interpreter
        record = self.journal.record
        completed = self.completed
        if completed:
            self.completed = []
            complete = interpreter.complete
            in_flight = interpreter.in_flight
            count = self.progress.completed
            for process, type_, value, error, at, rest in completed:
                began = in_flight[process].time
                event = complete(process, type_, value, error, at, rest)
                record(event)
                if type(process) is int:
                    count(event.type, event.time - began)
        poll = interpreter.poll(self.clock() - self.origin, self.recorder.now_ns)
        invocations = poll.invocations
        for event in invocations:
            record(event)
        self.journal.commit()
        if invocations:
            self._start(invocations)
        for step in poll.steps:
            if self.nemesis is not None:
                self.nemesis.begin(step)
        if poll.messages:
            self.progress.messages.extend(poll.messages)
        if poll.done:
            self._finish()
        elif poll.wake_at_ns is not None:
            self._wake_at(poll.wake_at_ns)
        elif interpreter.is_stuck() and not self.completed:
            self._end_generating(
                "the generator waits for something that cannot happen: nothing is in flight, and it names no time; "
                + interpreter.describe()
            )

    def _start(self, invocations: list[Operation]) -> None:
        """Wakes the workers of these invocations, which are on record now."""
        workers = self.workers
        threads = self.interpreter.threads
        arm = self.wheel.arm
        timeout = self.timeout_ns
        count = 0
        for event in invocations:
            process = event.process
            if type(process) is int:
                thread = process % threads
                worker = workers[thread]
                worker.operation = event
                arm(thread, event.time + timeout)
                waiter = worker.waiter
                if waiter is not None:
                    worker.waiter = None
                    waiter.set_result(None)
                count += 1
            else:
                self._in_background(self._nemesis_operation(event))
        self.invoked += count
        self.progress.invoked += count

    def _schedule_pump(self) -> None:
        if not self.pump_scheduled:
            self.pump_scheduled = True
            self.loop.call_soon(self._pump, context=self.context)

    def _wake_at(self, at_ns: int) -> None:
        """Sees to it that the pump runs at this time or a little later (earlier does no harm)."""
        timer = self.timer
        if timer is not None:
            if self.timer_at <= at_ns:
                return
            timer.cancel()
        delay = at_ns - (self.clock() - self.origin)
        self.timer_at = at_ns
        self.timer = self.loop.call_later(max(delay, MILLISECOND) / SECOND, self._on_timer)

    def _on_timer(self) -> None:
        self.timer = None
        if not self.pump_scheduled:
            self._pump()

    # The clients

    def _hire(self, thread: int) -> _Worker:
        worker = _Worker(thread, self.interpreter.node_of(thread))
        worker.task = self.loop.create_task(
            self._work(worker), name=f"worker {thread}", context=self.client_context
        )
        worker.task.add_done_callback(self._on_worker_end)
        return worker

    def _on_worker_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            error = task.exception()
            assert error is not None
            self._fail(error)

    async def _work(self, worker: _Worker) -> None:
        loop = self.loop
        clock = self.clock
        origin = self.origin
        invoke = self.workload.invoke
        failures = 0
        session: Session | None = None
        try:
            session, _ = await self._open(worker)
            self._tried_to_open()
            while not worker.abandoned:
                operation = worker.operation
                if operation is None:
                    waiter = worker.waiter = loop.create_future()
                    await waiter
                    operation = worker.operation
                    assert operation is not None, f"worker {worker.thread} was woken for nothing"
                error: Any = None
                value: Any = None
                reopen = False
                if session is None:
                    session, trouble = await self._open(worker)
                    if worker.abandoned:
                        return
                    if session is None:
                        failures += 1
                        self._ended(worker, operation, FAIL, [NO_CLIENT, trouble], rest_after(failures, 1))
                        continue
                try:
                    value = await invoke(session, operation)
                    type_ = OK
                except Definite as definite:
                    type_, error = FAIL, [definite.kind, definite.text]
                except asyncio.CancelledError:
                    if worker.abandoned or self.finished.done() or _is_cancelling():
                        raise
                    type_, error, reopen = INFO, ["cancelled", "the client cancelled its own call"], True
                except Exception as unknown:  # noqa: BLE001 - Whatever it is, nobody knows what it did.
                    type_, error, reopen = INFO, _error_of(unknown), True
                if worker.abandoned:
                    return
                if type_ == INFO and operation.f in self.workload.read_only_functions:
                    type_ = FAIL
                rest = 0
                if type_ == OK:
                    failures = 0
                else:
                    failures += 1
                    rest = rest_after(failures, DOUBTS_BEFORE_REST if reopen else FAILURES_BEFORE_REST)
                # What follows is `_ended`, written out: it runs for every operation.
                worker.operation = None
                self.completed.append((operation.process, type_, value, error, clock() - origin, rest))
                if not self.pump_scheduled:
                    self.pump_scheduled = True
                    loop.call_soon(self._pump, context=self.context)
                if reopen:
                    worker.has_session = False
                    self._discard(session)
                    session = None
                    session, _ = await self._open(worker)
        finally:
            worker.has_session = False
            if session is not None:
                self._discard(session)

    def _tried_to_open(self) -> None:
        self.unopened -= 1
        if self.unopened == 0:
            self.opened.set_result(None)

    async def _open(self, worker: _Worker) -> tuple[Session | None, str]:
        """A session for this worker, or the reason why there is none."""
        try:
            async with asyncio.timeout(self.timeout_s):
                session = await self.open_session(worker.node)
        except TimeoutError:
            return None, f"no session to {worker.node} within {self.timeout_s:g} s"
        except Exception as error:  # noqa: BLE001 - It becomes the error of the operation that needs the session.
            return None, f"no session to {worker.node}: {type(error).__name__}: {error}"
        worker.has_session = True
        return session, ""

    def _ended(
        self, worker: _Worker, operation: Operation, type_: str, error: list[str], rest_ns: int = 0
    ) -> None:
        worker.operation = None
        if error[0] == NO_CLIENT:
            self.no_client += 1
        self.completed.append((operation.process, type_, None, error, self.clock() - self.origin, rest_ns))
        self._schedule_pump()

    def _expire(self, thread: int) -> None:
        """The operation of this thread has taken too long: its outcome is decided here and now, and a new worker
        takes the thread."""
        worker = self.workers[thread]
        operation = worker.operation
        if operation is None:
            return
        seconds = f"no answer within {self.timeout_s:g} s"
        if not worker.has_session:
            self._ended(
                worker, operation, FAIL, [NO_CLIENT, f"no session to {worker.node} yet, and {seconds}"]
            )
        elif operation.f in self.workload.read_only_functions:
            self._ended(worker, operation, FAIL, [TIMEOUT, seconds])
        else:
            self._ended(worker, operation, INFO, [TIMEOUT, seconds])
        self._abandon(worker)
        self.workers[thread] = self._hire(thread)

    def _abandon(self, worker: _Worker) -> None:
        """Nobody listens to this worker any more; it is asked to end, and closes its session when it does."""
        worker.abandoned = True
        task = worker.task
        assert task is not None, f"worker {worker.thread} has never begun"
        if not task.done():
            task.cancel()
            self._keep(task)

    def _discard(self, session: Session) -> None:
        self._in_background(_close(session))

    def _in_background(self, work: Any) -> None:
        self._keep(self.loop.create_task(work))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self.background[task] = None
        task.add_done_callback(lambda done: self.background.pop(done, None))

    async def _nemesis_operation(self, invocation: Operation) -> None:
        """A nemesis operation that came from the generator: a step as its value."""
        type_, error = INFO, None
        try:
            step = (
                invocation.value
                if isinstance(invocation.value, Step)
                else msgspec.convert(invocation.value, Step)
            )
            if self.nemesis is None:
                error = ["no-nemesis", "this run has no nemesis"]
            else:
                self.nemesis.begin(step)
        except Exception as problem:  # noqa: BLE001 - It is kept as the operation's error.
            error = _error_of(problem)
        self.completed.append((invocation.process, type_, None, error, self.clock() - self.origin, 0))
        self._schedule_pump()

    # The clock's hand

    def _tick(self) -> None:
        """Every few milliseconds: deadlines, lag, the watchdog, the second that is over."""
        if self.finished.done():
            return
        now = self.clock()
        # Timers are only right to a millisecond; what exceeds that is lag. Beside it, how long a turn takes.
        if self.tick_due:
            self.lag.add(max(0, now - self.tick_due - MILLISECOND))
        if self.watch is not None:
            self.watch.beat = time.monotonic()
            self.loop.call_soon(self._turn_taken, now)
        else:
            self.lag.add(0)  # On virtual time a turn takes none.
        self.tick_due = now + TICK_NS
        self.ticker = self.loop.call_later(TICK_NS / SECOND, self._tick)
        self.progress.roll(now)
        try:
            since_origin = now - self.origin
            for thread in self.wheel.expired(since_origin):
                self._expire(thread)
            self._watch_over(since_origin)
        except BaseException as error:  # noqa: BLE001 - as in `_pump`
            self._fail(error)

    def _turn_taken(self, since: int) -> None:
        self.lag.add(self.clock() - since)

    def _watch_over(self, now: int) -> None:
        interpreter = self.interpreter
        if interpreter.exhausted:
            if self.generating_ended_ns is None:
                self.generating_ended_ns = now
            if now - self.generating_ended_ns > self.drain_ns and interpreter.in_flight:
                self._give_up("it had not ended when the phase did")
                self._schedule_pump()
        elif self.limit_ns is not None and now - self.start_ns > self.limit_ns:
            self._end_generating(
                f"the watchdog ended the phase: it still generated after {self.limit_ns / SECOND:g} s; "
                + interpreter.describe()
            )

    def _on_stop(self) -> None:
        if self.finished.done():
            return
        if self.stop.at_once:
            self.stopped = "interrupted twice"
            self._give_up("the run was stopped at once")
            self.interpreter.stop()
            self._finish()
        else:
            self._end_generating("interrupted")

    def _end_generating(self, why: str) -> None:
        self.stopped = self.stopped or why
        self.interpreter.stop()
        self._schedule_pump()

    def _give_up(self, why: str) -> None:
        """Ends what is in flight; its workers are left to their fate."""
        completed, self.completed = self.completed, []
        for process, type_, value, error, at, _ in completed:
            self._record_end(
                self.interpreter.in_flight[process],
                self.interpreter.complete(process, type_, value, error, at),
            )
        open_invocations = sorted(self.interpreter.in_flight.values(), key=lambda event: event.index)
        ends = self.interpreter.give_up(self.clock() - self.origin, why)
        for invocation, event in zip(open_invocations, ends, strict=True):
            self._record_end(invocation, event)
        self.journal.commit()
        for worker in list(self.workers):
            if worker.operation is not None:
                worker.operation = None
                self._abandon(worker)
                if not self.stop.at_once:
                    self.workers[worker.thread] = self._hire(worker.thread)

    def _record_end(self, invocation: Operation, event: Operation) -> None:
        self.journal.record(event)
        if isinstance(event.process, int):
            self.progress.completed(event.type, event.time - invocation.time)

    # The end

    def _finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)

    async def close(self) -> None:
        """Ends the workers and closes their sessions, within a bounded time."""
        if not self.finished.done():
            self.finished.cancel()
        for handle in (self.timer, self.ticker):
            if handle is not None:
                handle.cancel()
        for worker in self.workers:
            self._abandon(worker)
        deadline = self.loop.time() + CLOSE_TIMEOUT_S
        while self.background and self.loop.time() < deadline:
            await asyncio.wait(list(self.background), timeout=max(0.01, deadline - self.loop.time()))
        for task in list(self.background):
            task.cancel()


def rest_after(failures: int, patience: int) -> int:
    """How long a thread rests, in nanoseconds, after so many operations in a row without an ok: not at all before the
    `patience`th, then twice as long each time, up to a second."""
    if failures < patience:
        return 0
    return min(FIRST_REST_NS << min(failures - patience, 10), LONGEST_REST_NS)


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _error_of(error: BaseException) -> list[str]:
    if isinstance(error, SessionError):
        return [error.kind, error.text]
    return [type(error).__name__, str(error)]


async def _close(session: Session) -> None:
    """Gives a session back. What goes wrong with that changes nothing any more."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await session.close()
