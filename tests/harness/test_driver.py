"""The coroutines around the interpreter: what is journaled when, timeouts, sessions, stopping, and what is measured."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness.deadlines import DeadlineWheel
from harness.driver import (
    NO_CLIENT,
    Progress,
    Recorder,
    StopSignal,
    drive,
    rest_after,
)
from harness.interpreter import Interpreter
from harness.measures import LatencyHistogram
from nemesis.schedule import Step
from results.history import History
from results.operation import FAIL, INFO, INVOKE, NEMESIS, OK, Operation
from results.run_folder import Journal
from tests.harness.engine import NODES, ListJournal, play
from workloads.generator import combinators as g
from workloads.generator.core import NOTHING, PENDING, Context, Generator, Source, generator
from workloads.session import Definite, Indefinite
from workloads.workload import Workload

MILLISECOND = 1_000_000
read = g.operation("read")
write = g.operation("write", 1)


class Scripted(Workload):
    """A workload whose operations do what a test says."""

    name = "scripted"
    needs = frozenset()
    read_only_functions = frozenset({"read"})
    required_functions = ()

    def __init__(self, source: Source, act: Callable[[Any, Operation], Any], final: Source = None) -> None:
        self.generator = generator(source)
        self.final_generator = generator(final)
        self.act = act

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        return await self.act(session, invocation)


class Opened:
    """A session that knows whether it was closed."""

    interfaces: frozenset[str] = frozenset()

    def __init__(self, node: str) -> None:
        self.node = node
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class Door:
    """Opens sessions and remembers them."""

    def __init__(self) -> None:
        self.sessions: list[Opened] = []

    async def __call__(self, node: str) -> Opened:
        self.sessions.append(Opened(node))
        return self.sessions[-1]


async def at_once(session: Any, invocation: Operation) -> Any:
    return invocation.value


async def never(session: Any, invocation: Operation) -> Any:
    await asyncio.get_running_loop().create_future()


def few(count: int, source: Source = None) -> Generator:
    return g.clients(g.limit(count, g.repeat(source or write)))


both_loops = pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])


def ends(operations: list[Operation]) -> list[tuple[str, str, Any]]:
    return [
        (event.f, event.type, event.error[0] if event.error else None)
        for event in operations
        if event.type != INVOKE and isinstance(event.process, int)
    ]


# Recording


@both_loops
def test_an_invocation_is_written_before_its_client_sees_it(uvloop):
    journal = ListJournal()
    seen: list[tuple[int, int]] = []

    async def look(session: Any, invocation: Operation) -> Any:
        seen.append((invocation.index, journal.committed))
        await asyncio.sleep(0)
        return None

    played = play(Scripted(few(200), look), Door(), journal=journal, uvloop=uvloop, virtual=False)

    assert len(seen) == 200
    assert all(index < committed for index, committed in seen)
    assert played.main.ok == played.main.invoked == 200
    assert played.history.pairs()[-1].type == OK


def test_one_turn_writes_once_however_many_operations_begin_in_it():
    journal = ListJournal()
    play(Scripted(few(60), at_once), Door(), concurrency=20, journal=journal, final=False)
    assert len(journal.commits) <= 60 / 20 * 2 + 3
    assert (
        max(later - earlier for earlier, later in zip(journal.commits, journal.commits[1:], strict=False))
        >= 20
    )


def test_a_real_journal_gives_the_history_back(tmp_path):
    with Journal(tmp_path / "history.jsonl") as journal:
        play(Scripted(few(50), at_once, few(5)), Door(), journal=journal)
    history = History.load(tmp_path / "history.jsonl")
    assert len(history.pairs()) == 55
    assert [name for name, _ in history.phases()] == ["main", "final"]
    assert {pair.phase for pair in history.pairs()} == {"main", "final"}


def test_what_the_workload_answers_is_checked():
    class Picky(Scripted):
        def problems(self, invocation: Operation, value: Any) -> list[str]:
            return ["it must be 2"] if value != 2 else []

    played = play(Picky(few(1), at_once), Door())
    assert ends(played.operations) == [("write", INFO, "invalid-completion")]
    assert played.main.invalid_completions == 1


# Outcomes


@pytest.mark.parametrize(
    ("error", "f", "expected"),
    [
        (Definite("conflict", "x"), "write", (FAIL, "conflict")),
        (Indefinite("lost", "x"), "write", (INFO, "lost")),
        (Indefinite("lost", "x"), "read", (FAIL, "lost")),
        (ZeroDivisionError("x"), "write", (INFO, "ZeroDivisionError")),
        (asyncio.CancelledError(), "write", (INFO, "cancelled")),
        (TimeoutError(), "write", (INFO, "TimeoutError")),
    ],
)
def test_errors_are_sorted_into_fail_and_info(error, f, expected):
    async def raises(session: Any, invocation: Operation) -> Any:
        raise error

    played = play(Scripted(few(1, g.operation(f)), raises), Door())
    assert ends(played.operations) == [(f, *expected)]


@both_loops
@pytest.mark.parametrize(("f", "expected"), [("write", INFO), ("read", FAIL)])
def test_an_operation_that_hangs_is_ended_by_its_timeout(uvloop, f, expected):
    played = play(
        Scripted(few(3, g.operation(f)), never), Door(), timeout_s=0.05, uvloop=uvloop, virtual=False
    )
    assert ends(played.operations) == [(f, expected, "timeout")] * 3
    pairs = played.history.pairs()
    assert all(0.05e9 <= pair.end - pair.start < 60e9 for pair in pairs)


def test_a_client_that_will_not_be_cancelled_is_left_to_its_fate():
    """The outcome is recorded on time, its late answer is thrown away, and the thread goes on with a new worker."""
    stubborn_answers = []

    async def stubborn(session: Any, invocation: Operation) -> Any:
        if invocation.process >= 6:
            return None
        deadline = asyncio.get_running_loop().time() + 0.2
        while asyncio.get_running_loop().time() < deadline:
            try:
                await asyncio.sleep(deadline - asyncio.get_running_loop().time())
            except asyncio.CancelledError:
                continue
        stubborn_answers.append(invocation.process)
        return "too late"

    played = play(Scripted(few(12), stubborn), Door(), timeout_s=0.03)

    assert ends(played.operations).count(("write", INFO, "timeout")) == 6
    assert ends(played.operations).count(("write", OK, None)) == 6
    assert "too late" not in [event.value for event in played.operations]
    assert sorted(stubborn_answers) == [0, 1, 2, 3, 4, 5]


# Sessions


def test_each_worker_has_a_session_to_its_node_and_all_are_closed():
    door = Door()

    async def check(session: Any, invocation: Operation) -> Any:
        assert session.node == invocation.node
        assert not session.closed

    played = play(Scripted(few(100), check), door, final=False)
    assert played.main.ok == 100
    assert [session.node for session in door.sessions] == [NODES[thread % 3] for thread in range(6)]
    assert all(session.closed for session in door.sessions)


def test_sessions_are_open_before_the_first_operation_begins():
    opened = []

    async def slow_door(node: str) -> Opened:
        await asyncio.sleep(0.5)
        opened.append(node)
        return Opened(node)

    async def stamp(session: Any, invocation: Operation) -> Any:
        assert len(opened) == 6

    played = play(Scripted(few(6), stamp), slow_door, final=False)
    assert played.main.ok == 6
    assert played.main.latency.max_ns < 500 * MILLISECOND, "connecting is not part of any operation"


def test_a_process_that_ended_in_info_gets_a_new_session():
    door = Door()
    used: dict[int, Any] = {}

    async def crash(session: Any, invocation: Operation) -> Any:
        assert session not in used.values()
        used[invocation.process] = session
        raise Indefinite("lost")

    play(Scripted(few(4), crash), door, concurrency=1, final=False)
    assert len(used) == 4
    assert list(used) == [0, 1, 2, 3]
    assert all(session.closed for session in door.sessions)


def test_where_no_session_opens_operations_fail_for_certain_and_do_not_spin():
    async def shut(node: str) -> Any:
        raise OSError("connection refused")

    async def must_not_run(session: Any, invocation: Operation) -> Any:
        raise AssertionError

    played = play(
        Scripted(g.clients(g.time_limit(0.3, g.repeat(write))), must_not_run),
        shut,
        concurrency=2,
        final=False,
    )
    assert set(ends(played.operations)) == {("write", FAIL, NO_CLIENT)}
    assert 2 <= played.main.fail <= 10
    assert played.main.no_client == played.main.fail
    assert "connection refused" in played.operations[-1].error[1]


@pytest.mark.parametrize("error", [Indefinite("connection-lost"), Definite("connection-lost")])
def test_a_node_that_is_down_behind_a_proxy_is_not_asked_over_and_over(error):
    """Sessions open, and every operation on them is lost at once: the thread rests longer and longer."""

    async def lost(session: Any, invocation: Operation) -> Any:
        if invocation.node == "n1":
            raise error
        await asyncio.sleep(0.005)

    played = play(
        Scripted(g.clients(g.time_limit(0.5, g.repeat(write))), lost), Door(), concurrency=3, final=False
    )
    asked = [pair for pair in played.history.pairs() if pair.invocation.node == "n1"]
    assert 3 <= len(asked) <= 12
    assert played.main.ok > 50, "the others go on"


def test_rests_grow_and_an_ok_ends_them():
    assert [rest_after(failures, 2) // MILLISECOND for failures in range(1, 8)] == [
        0,
        100,
        200,
        400,
        800,
        1000,
        1000,
    ]
    failing = iter([True] * 6 + [False] + [True] * 4 + [False] * 100)

    async def sometimes(session: Any, invocation: Operation) -> Any:
        if next(failing):
            raise Definite("conflict")

    played = play(Scripted(few(20), sometimes), Door(), concurrency=1, final=False)
    assert played.main.ok == 10
    assert played.main.end_ns - played.main.start_ns == 300 * MILLISECOND, (
        "rests of 100 and 200 ms after the fifth and the sixth"
    )


def test_a_door_that_hangs_is_a_certain_failure_too():
    async def hangs(node: str) -> Any:
        await asyncio.get_running_loop().create_future()

    played = play(Scripted(few(2), at_once), hangs, concurrency=2, timeout_s=0.1, final=False)
    assert ends(played.operations) == [("write", FAIL, NO_CLIENT)] * 2


# Time


@both_loops
def test_invocations_never_begin_before_their_time_and_soon_after(uvloop):
    plan = g.clients(g.limit(40, g.delay(0.002, g.repeat(write))))
    played = play(Scripted(plan, at_once), Door(), uvloop=uvloop, virtual=False, final=False)
    invocations = [pair.invocation for pair in played.history.pairs()]
    starts = {
        event.intended - number * 2 * MILLISECOND
        for number, event in enumerate(invocations)
        if event.intended is not None
    }
    assert len(starts) == 1, "what is intended keeps to the plan, however late things begin"
    (start,) = starts
    for number, event in enumerate(invocations):
        assert event.time >= start + number * 2 * MILLISECOND
    assert played.main.latest_ns < 10_000 * MILLISECOND


def test_a_stall_shows_as_lateness_instead_of_hiding_operations():
    """Coordinated omission: the one client hangs for 60 ms; what should have begun meanwhile is late, not left out."""
    first = [True]

    async def stall_once(session: Any, invocation: Operation) -> Any:
        if first.pop() if first else False:
            await asyncio.sleep(0.06)

    plan = g.clients(g.limit(30, g.delay(0.002, g.repeat(write))))
    played = play(Scripted(plan, stall_once), Door(), concurrency=1, final=False)
    late = [pair.invocation for pair in played.history.pairs() if pair.invocation.intended is not None]
    assert len(late) >= 20
    assert max(event.time - event.intended for event in late) > 40 * MILLISECOND
    assert 15 <= played.main.late <= len(late)


def test_loop_lag_is_measured():
    async def blocks(session: Any, invocation: Operation) -> Any:
        if invocation.index < 5:
            time.sleep(0.08)  # noqa: ASYNC251 - exactly what must not be done, so that it shows.
        else:
            await asyncio.sleep(0.005)

    played = play(Scripted(few(30), blocks), Door(), concurrency=1, virtual=False, final=False)
    assert played.main.loop_lag.max_ns > 50 * MILLISECOND
    assert played.main.loop_lag.median_ns < played.main.loop_lag.max_ns
    assert played.main.loop_lag.samples >= 10


def test_a_loop_that_is_stuck_is_seen_from_outside():
    async def gets_stuck(session: Any, invocation: Operation) -> Any:
        time.sleep(0.4)  # noqa: ASYNC251 - the defect that the watch is for.

    played = play(Scripted(few(1), gets_stuck), Door(), final=False, stall_s=0.1)
    assert "gets_stuck" in played.main.stalls[0]
    assert "did not turn for" in played.main.stalls[0]


# Ending


def test_a_request_to_stop_generates_no_more_and_lets_operations_end():
    stop = StopSignal()

    async def slow(session: Any, invocation: Operation) -> Any:
        await asyncio.sleep(0.01)
        if invocation.index >= 50 and not stop.requests:
            stop.request()

    played = play(Scripted(g.clients(g.repeat(write)), slow, few(3)), Door(), stop=stop)
    main, final = played.results
    assert main.stopped == "interrupted"
    assert main.ok == main.invoked, "everything in flight has ended in order"
    assert final.is_whole, "the request was for the main phase"
    assert final.ok == 3


def test_two_requests_stop_at_once_and_record_what_is_in_flight_as_unknown():
    stop = StopSignal()

    async def hangs(session: Any, invocation: Operation) -> Any:
        if invocation.process == 5:
            stop.request()
            stop.request()
        await asyncio.get_running_loop().create_future()

    began = time.monotonic()
    played = play(Scripted(g.clients(g.repeat(write)), hangs), Door(), stop=stop, timeout_s=60, final=False)
    assert time.monotonic() - began < 30, "nobody waited for the timeout of what is in flight"
    assert played.main.stopped == "interrupted twice"
    assert set(ends(played.operations)) == {("write", INFO, "no-answer")}
    assert len(ends(played.operations)) == played.main.invoked == played.main.info
    assert stop.at_once


def test_the_watchdog_ends_a_phase_that_generates_for_ever():
    async def slow(session: Any, invocation: Operation) -> Any:
        await asyncio.sleep(0.005)

    played = play(Scripted(g.clients(g.repeat(write)), slow), Door(), final=False, limit_s=0.1)
    assert played.main.stopped is not None
    assert "still generated after 0.1 s" in played.main.stopped
    assert played.main.ok == played.main.invoked


def test_a_generator_that_waits_for_nothing_ends_the_phase_and_says_so():
    class Waits(Generator, frozen=True):
        def next(self, context: Context):
            return PENDING, self

    played = play(Scripted(Waits(), at_once), Door(), final=False)
    assert played.main.stopped is not None
    assert "cannot happen" in played.main.stopped


def test_what_the_generator_raises_is_raised_and_sessions_are_closed():
    def broken(context: Context) -> None:
        raise KeyError("broken generator")

    door = Door()
    with pytest.raises(KeyError, match="broken generator"):
        play(Scripted(g.clients([write, broken]), at_once), door)
    assert all(session.closed for session in door.sessions)


def test_what_the_journal_raises_is_raised():
    class Full(ListJournal):
        def commit(self) -> None:
            if len(self.operations) > 10:
                raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        play(Scripted(few(50), at_once), Door(), journal=Full())


# The nemesis


class FakeNemesis:
    """Begins steps and records their events a little later."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.record: Callable[[str, str, dict[str, Any]], None] = lambda type_, f, value: None
        self.tasks: list[asyncio.Task[None]] = []

    def begin(self, step: Step) -> None:
        self.tasks.append(asyncio.ensure_future(self._run(step)))

    async def _run(self, step: Step) -> None:
        value = {"step": step.id, "fault": step.fault, "targets": ["n1"]}
        self.record("invoke", "start", value)
        await asyncio.sleep(0)
        self.record("info", "start", {**value, "took_effect": True, "evidence": {}})


def test_fault_steps_begin_when_due_beside_the_clients():
    nemesis = FakeNemesis()
    steps = [Step(1, 20 * MILLISECOND, "kill"), Step(2, 30 * MILLISECOND, "pause"), Step(3, 10**12, "clock")]
    plan = g.clients(g.time_limit(0.08, g.stagger(0.001, g.repeat(write), random=random.Random(1))))
    played = play(Scripted(plan, at_once), Door(), nemesis=nemesis, schedule=steps, final=False)

    intervals = played.history.fault_intervals()
    assert [interval.step for interval in intervals] == [1, 2]
    start = played.main.start_ns
    assert intervals[0].start_ns - start >= 20 * MILLISECOND
    assert intervals[1].start_ns - start >= 30 * MILLISECOND
    assert list(played.progress.active_faults) == ["kill n1", "pause n1"]
    played.progress.nemesis_event("info", "stop", {"step": 1})
    assert list(played.progress.active_faults) == ["pause n1"]


def test_a_step_may_come_from_the_generator_too():
    nemesis = FakeNemesis()
    plan = [
        g.nemesis(g.operation("start", {"id": 7, "at_ns": 0, "fault": "kill"})),
        g.clients(g.limit(5, g.repeat(write))),
    ]
    played = play(Scripted(plan, at_once), Door(), nemesis=nemesis, final=False)
    assert [interval.step for interval in played.history.fault_intervals()] == [7]
    own = [event for event in played.history.nemesis() if event.value.get("id") == 7]
    assert [event.type for event in own] == [INVOKE, INFO]


def test_a_recorder_works_between_phases():
    journal = ListJournal()
    interpreter = Interpreter(NOTHING, 1, NODES, random.Random(1))
    progress = Progress(60.0)
    recorder = Recorder(interpreter, journal, progress, clock=iter([1000, 1500, 2000]).__next__)
    recorder.phase("heal")
    recorder.event("log", INFO, "log", {"node": "n1"})
    recorder.nemesis_event("info", "stop", {"step": 1, "healed": True})
    assert [(event.index, event.time, event.process, event.f) for event in journal.operations] == [
        (0, 0, "harness", "phase"),
        (1, 500, "log", "log"),
        (2, 1000, NEMESIS, "stop"),
    ]
    assert journal.committed == 3
    assert progress.phase == "heal"


# Measures


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_right_to_seven_percent(seed):
    choose = random.Random(seed)
    values = [int(10 ** choose.uniform(0, 10)) for _ in range(2000)]
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    values.sort()
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        exact = values[max(0, -(-int(share * 2000 * 1000) // 1000) - 1)]
        found = histogram.quantile(share)
        assert found is not None
        assert exact <= found <= exact * 1.07 + 1
    assert LatencyHistogram().quantile(0.5) is None


def test_histograms_merge():
    one, other = LatencyHistogram(), LatencyHistogram()
    one.add(5)
    other.add(1000)
    one.merge(other)
    assert (one.count, one.sum_ns, one.max_ns) == (2, 1005, 1000)
    one.add(10**18)
    assert one.quantile(1.0) == 10**18


@pytest.mark.parametrize("seed", range(10))
def test_the_deadline_wheel_finds_every_deadline_once_it_is_over_and_never_before(seed):
    choose = random.Random(seed)
    wheel = DeadlineWheel(20, 10)
    deadlines: dict[int, int] = {}
    now = 0
    for _ in range(500):
        now += choose.randint(0, 30)
        for thread in wheel.expired(now):
            if thread in deadlines:
                assert deadlines.pop(thread) <= now, "never early"
        for thread, deadline in deadlines.items():
            assert deadline > now - 40, f"thread {thread} is late by more than the resolution and one turn"
        for thread in range(20):
            if thread not in deadlines and choose.random() < 0.5:
                deadlines[thread] = now + choose.choice([5, 50, 500])
                wheel.arm(thread, deadlines[thread])
            elif choose.random() < 0.3:
                deadlines.pop(thread, None)  # It has ended; nobody tells the wheel.
    now += 10_000
    found = set(wheel.expired(now))
    assert set(deadlines) <= found


def test_progress_shows_the_last_second():
    now = [0]
    progress = Progress(60.0, clock=lambda: now[0])
    progress.began(0)
    for _ in range(100):
        progress.completed(OK, 2 * MILLISECOND)
    progress.completed(FAIL, MILLISECOND)
    progress.completed(INFO, MILLISECOND)
    progress.roll(500 * MILLISECOND)
    assert progress.p50_ms is None, "the second is not over"
    now[0] = 1000 * MILLISECOND
    progress.roll(now[0])
    assert progress.rate == 102
    assert progress.p50_ms == pytest.approx(2, rel=0.07)
    assert (progress.ok, progress.fail, progress.info) == (100, 1, 1)
    assert (progress.elapsed_s, progress.time_left_s) == (1.0, 59.0)
    assert progress.latency_of_phase.count == 100


def test_a_timeout_must_be_above_zero():
    async def run() -> None:
        interpreter = Interpreter(NOTHING, 1, NODES, random.Random(1))
        await drive(
            interpreter, Scripted(None, at_once), Door(), ListJournal(), None, 0, Progress(), StopSignal()
        )

    with pytest.raises(ValueError, match="above 0"):
        asyncio.run(run())
