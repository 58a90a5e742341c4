"""The life of one run: set up, drive while things break, heal, final reads, save, check.

Rules that live here:
- Evidence is on disk before anything is judged: scenario, schedule and fingerprint before the first node starts, every
  operation before its client sees it, the nodes' logs before the cluster goes.
- Healing is a step of its own, seen in the history, never hidden in a `finally`. What a `finally` does is end the
  processes that were started.
- Interrupted once (Ctrl-C, SIGTERM): generate no more, heal, read, save and judge. Twice: stop at once.
- An environment that fails on the way (not a node: what keeps the nodes and breaks their links) ends the run at once.
- A cluster that does not come back after healing is not an error of the harness: the history says so, and the verdict
  of the liveness check follows from it.
- Where somebody looks into the nodes (simulation), what was found enters the history at its moment and ends the
  generating: what comes after a broken rule says little more.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from checkers.alarms import ALARM, BROKE, contradiction, judge_alarms
from checkers.availability import AvailabilityChecker
from checkers.checker import Checker, Limits, compose
from checkers.clock_faults import ClockStops, told_beside
from checkers.completeness import BY_ALARM, CompletenessChecker
from checkers.convergence import FINAL_STATE, ConvergenceChecker
from checkers.crashes import CRASH, CrashChecker
from checkers.faults import FaultsTookEffectChecker
from checkers.findings import FINDING, FindingsChecker
from checkers.log_patterns import LogPatternChecker
from checkers.recovery import RecoveryChecker
from checkers.stats import StatsChecker
from harness.alarms import Alarm, WatchedJournal
from harness.counters import COUNTERS, ask_counters
from harness.driver import STALL_S, DriveResult, Progress, Recorder, StopSignal, drive
from harness.environments.environment import (
    ClockRecording,
    Environment,
    EnvironmentCluster,
    EnvironmentFailed,
    MessageRecording,
)
from harness.final_states import wait_until_settled
from harness.fingerprint import fingerprint
from harness.interpreter import Interpreter
from harness.leader_changes import leader_changes
from harness.scenario import Scenario
from harness.seeds import Seeds
from harness.systems.system import AuditedSystem, CountingSystem, FinalState, System
from nemesis.package import Choice, Package
from nemesis.runner import NemesisRunner
from nemesis.schedule import Schedule
from results.history import History
from results.operation import HARNESS, INFO, LEADERS, LOG
from results.run_folder import Journal, RunFolder
from results.verdict import Verdict, merge
from workloads.generator.recorded import RecordedOperation, encode_operations
from workloads.session import Session, SessionError
from workloads.workload import Workload

Say = Callable[[str], None]
"""Takes one line for the user."""

Show = Callable[[Progress], AbstractContextManager[None]]
"""Shows the progress of a run while its block runs."""

READY_TIMEOUT_S = 60.0
SETUP_TIMEOUT_S = 60.0
SETUP_ATTEMPT_S = 10.0
SETUP_PAUSE_S = 0.5
MAIN_SLACK_S = 30.0
"""The watchdog ends a main phase that still generates so long after its time limit."""
UNHEALED_PATIENCE_S = 5.0
"""How long replicas of a cluster that did not recover are waited for."""
TRACEBACK_HEAD = "Traceback (most recent call last)"
DIRECT_CAUSE = "The above exception was the direct cause of the following exception:"
CLOCKS_EVERY_S = 1.0
"""Of a run with clock faults on real time, how often every node's clock is read for the history."""
LOG_LINES_MAX = 100
"""Matching log lines of a node that enter the history; the log itself stays whole."""

T = TypeVar("T")


class Stopped(Exception):
    """The user asked to stop, and there is nothing to judge (or no wish to wait for it)."""


@dataclass(frozen=True)
class Parts:
    """What a scenario's names stand for."""

    scenario: Scenario
    seeds: Seeds
    workload: Workload
    system: System
    environment: Environment
    packages: Mapping[str, Package]
    choice: Choice
    schedule: Schedule
    operations: tuple[RecordedOperation, ...] | None = None
    """The recorded stream that the workload's generator invokes, if it does not make up its own."""
    checkers: tuple[Checker, ...] = ()
    """Who else judges the history."""


def checker_of(
    workload: Workload,
    system: System,
    requested: tuple[str, ...],
    availability: AvailabilityChecker,
    others: Sequence[Checker] = (),
) -> Checker:
    """Everything that is judged about a run: the workload's promise, whether the run proved anything, and how available
    the service was, where the scenario demands something of that."""
    return compose(
        "run",
        {
            workload.name: workload.checker,
            "stats": StatsChecker(workload.required_functions),
            "faults": FaultsTookEffectChecker(requested),
            "recovery": RecoveryChecker(),
            "completeness": CompletenessChecker(),
            "crashes": CrashChecker(),
            "logs": LogPatternChecker(system.log_patterns),
            "convergence": ConvergenceChecker(),
            "findings": FindingsChecker(),
            "availability": availability,
            **{f"plug-in {number}": checker for number, checker in enumerate(others, 1)},
        },
    )


def judge(parts: Parts, history: History) -> Verdict:
    """The verdict on a history of these parts, within the scenario's limits."""
    scenario = parts.scenario
    limits = Limits(time_s=scenario.check_time_limit, memory_mb=scenario.check_memory_limit_mb)
    availability = AvailabilityChecker(
        scenario.least_ok_fraction, scenario.longest_outage, scenario.longest_recovery
    )
    checker = checker_of(parts.workload, parts.system, parts.schedule.requested, availability, parts.checkers)
    verdict = checker.check(history, limits)
    # The workload's checker comes first; see `checker_of`.
    first = told_beside(verdict.parts[0], ClockStops.of(history, CRASH))
    return merge(verdict.checker, [first, *verdict.parts[1:], judge_alarms(history, verdict.parts[0])])


class HarnessContradiction(Exception):
    """What was seen during the run and what the whole history says cannot both be right: the harness has failed."""


def require_consistency(verdict: Verdict) -> None:
    """Raises HarnessContradiction if the harness contradicts itself in a verdict of `judge`; call it once the verdict
    is saved."""
    found = contradiction(verdict)
    if found is not None:
        raise HarnessContradiction(found)


async def execute(
    parts: Parts,
    folder: RunFolder,
    say: Say,
    show: Show,
    stop: StopSignal,
    *,
    keep_running: bool = False,
    keep_messages: bool = False,
) -> None:
    """Runs a scenario and leaves its record in the folder; judging comes after. With `keep_messages`, who sent what to
    whom is a part of it, where the environment can see that.

    Raises EnvironmentFailed, and Stopped where the user did not want to wait for a record worth judging. Whatever was
    started is ended in any case (unless it is to be kept running).
    """
    folder.claim()
    try:
        folder.write_scenario(parts.scenario.to_toml())
        folder.write_schedule(parts.schedule.to_dicts())
        if parts.operations is not None:
            folder.write_operations(encode_operations(parts.operations))
        folder.write_environment({"command": parts.scenario.command("./run"), **fingerprint()})
        run = _Run(parts, folder, say, show, stop, keep_messages)
        try:
            await run.live()
            if keep_running:
                say(await run.leave_running())
        finally:
            await run.end()
    finally:
        folder.release()


class _Run:
    """One execution; see `execute`."""

    def __init__(
        self, parts: Parts, folder: RunFolder, say: Say, show: Show, stop: StopSignal, keep_messages: bool
    ) -> None:
        self.parts = parts
        self.folder = folder
        self.say = say
        self.show = show
        self.stop = stop
        self.keep_messages = keep_messages
        self.cluster: EnvironmentCluster | None = None
        self.journal: Journal | None = None
        self.watched: WatchedJournal | None = None
        self.nemesis: NemesisRunner | None = None
        self.left_running = False
        self.findings_recorded = 0
        self.alarms: list[Alarm] = []
        """Those that are not recorded yet."""
        self.has_recovered = False

    async def live(self) -> None:
        """From nothing to a whole record. Raises EnvironmentFailed, also when the environment fails on the way."""
        cluster = await self._unless_stopped(1, self._create_cluster())
        await self._unless_failed(cluster, self._live_on(cluster))

    async def _live_on(self, cluster: EnvironmentCluster) -> None:
        """Start, set up, main phase, heal, final phase, logs."""
        scenario, workload = self.parts.scenario, self.parts.workload
        await self._unless_stopped(1, self._start(cluster))
        await self._unless_stopped(1, self._prepare(cluster))

        progress = Progress(scenario.time_limit, clock=cluster.clock_ns)
        interpreter = Interpreter(
            workload.generator,
            scenario.processes,
            scenario.node_names,
            self.parts.seeds.stream("interpreter"),
            schedule=self.parts.schedule,
            problems=workload.problems,
        )
        self.journal = self.folder.journal()
        self.watched = WatchedJournal(
            self.journal, workload.online_checkers(), lambda alarm: self._on_alarm(alarm, recorder, progress)
        )
        recorder = Recorder(interpreter, self.journal, progress, cluster.clock_ns)
        nemesis = self.nemesis = NemesisRunner(cluster, self.parts.schedule, self.parts.packages)
        nemesis.record = recorder.nemesis_event
        with self.show(progress), self._watching(cluster, recorder):
            results = [
                await self._drive(interpreter, nemesis, progress, limit_s=scenario.time_limit + MAIN_SLACK_S)
            ]
            self._check_stop()
            await self._unless_stopped(2, self._heal(cluster, nemesis, recorder))
            interpreter.begin_phase("final", workload.final_generator)
            results.append(
                await self._drive(interpreter, None, progress, limit_s=scenario.recovery_timeout + 30.0)
            )
            self._check_stop()
            await self._unless_stopped(2, self._record_final_states(cluster, recorder))
            await self._unless_stopped(2, self._record_counters(cluster, recorder))
        self._record_alarms(recorder)
        for result in results:
            recorder.event(HARNESS, INFO, "drive", msgspec.to_builtins(result))
        if self.stop.requests:
            recorder.event(HARNESS, INFO, "stopped", {"by": self.stop.reason})
        self._say_if_late(results[0])
        for message in progress.messages:
            self.say(message)
        await self._record_logs(cluster, recorder)
        self._record_findings(cluster, recorder)
        self._keep_messages(cluster, recorder)
        self._record_clocks(cluster, recorder)
        if cluster.marks():
            recorder.event(HARNESS, INFO, "marks", dict(cluster.marks()))
        self.journal.close()

    # Set up

    async def _create_cluster(self) -> EnvironmentCluster:
        parts, scenario = self.parts, self.parts.scenario
        self.say(f"starting {scenario.nodes} nodes of {scenario.system} ({scenario.environment}) ...")
        self.cluster = await parts.environment.create_cluster(
            parts.system, scenario.node_names, self.folder, scenario.environment_options, self.say
        )
        if self.keep_messages and isinstance(self.cluster, MessageRecording):
            self.cluster.record_messages()
        return self.cluster

    async def _start(self, cluster: EnvironmentCluster) -> None:
        await cluster.expect(self.parts.schedule.faults())
        await cluster.start_all()
        await cluster.wait_ready(READY_TIMEOUT_S, self.say)

    async def _prepare(self, cluster: EnvironmentCluster) -> None:
        """The workload's set-up, tried until it succeeds: it is idempotent, and nothing is broken yet."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + SETUP_TIMEOUT_S
        nodes = self.parts.scenario.node_names
        attempt = 0
        while True:
            node = nodes[attempt % len(nodes)]
            attempt += 1
            try:
                await self._as_client(self._set_up_on(node))
                return
            except (SessionError, OSError, TimeoutError) as error:
                why = str(error) or f"no end within {SETUP_ATTEMPT_S:g} s"
                if loop.time() >= give_up:
                    raise EnvironmentFailed(
                        f"the workload {self.parts.workload.name} could not be set up within {SETUP_TIMEOUT_S:g} s "
                        f"on a cluster that nothing has broken yet ({attempt} attempts, the last on {node}): "
                        f"{type(error).__name__}: {why}; see the nodes' logs in {self.folder.nodes_path}"
                    ) from error
            await asyncio.sleep(SETUP_PAUSE_S)

    async def _set_up_on(self, node: str) -> None:
        session = await asyncio.wait_for(self._open_session(node), SETUP_ATTEMPT_S)
        try:
            await asyncio.wait_for(self.parts.workload.setup(session), SETUP_ATTEMPT_S)
        finally:
            await session.close()

    async def _as_client(self, work: Coroutine[Any, Any, T]) -> T:
        """Does it where the clients are."""
        assert self.cluster is not None, "clients work on a cluster that was created"
        context = self.cluster.client_context()
        return await asyncio.get_running_loop().create_task(work, context=context)

    async def _open_session(self, node: str) -> Session:
        assert self.cluster is not None, "sessions are opened on a cluster that was created"
        return await self.parts.system.open_session(self.cluster.client_address(node), node)

    # Phases

    async def _drive(
        self, interpreter: Interpreter, nemesis: NemesisRunner | None, progress: Progress, *, limit_s: float
    ) -> DriveResult:
        assert self.watched is not None, "the journal is open while a phase is driven"
        assert self.cluster is not None, "a phase is driven on a cluster that was created"
        return await drive(
            interpreter,
            self.parts.workload,
            self._open_session,
            self.watched,
            nemesis,
            self.parts.scenario.operation_timeout,
            progress,
            self.stop,
            self.cluster.clock_ns,
            limit_s=limit_s,
            stall_s=None if self.parts.environment.is_virtual else STALL_S,
            client_context=self.cluster.client_context(),
        )

    async def _heal(self, cluster: EnvironmentCluster, nemesis: NemesisRunner, recorder: Recorder) -> None:
        """Undo every fault, verify it, and wait until the cluster is whole; what did not work is recorded."""
        recorder.phase("heal")
        began = recorder.now_ns()
        report = await nemesis.heal_all()
        failed = list(report.failed)
        recorder.event(
            HARNESS,
            INFO,
            "heal",
            {"healed": list(report.healed), "failed": failed, "problems": list(nemesis.problems)},
        )
        for line in failed:
            self.say(f"not healed: {line}")
        recovered: str | None = None
        try:
            await cluster.wait_ready(self.parts.scenario.recovery_timeout)
        except EnvironmentFailed as error:
            recovered = str(error)
            self.say(f"the cluster did not come back after healing: {error}")
        self.has_recovered = recovered is None and not failed
        recorder.event(
            HARNESS,
            INFO,
            "recovery",
            {"recovered": recovered is None, "after_ns": recorder.now_ns() - began, "problem": recovered},
        )

    # What remains of it

    async def _record_final_states(self, cluster: EnvironmentCluster, recorder: Recorder) -> None:
        """What the replicas hold once they have settled, if the system's nodes can be asked."""
        system, nodes = self.parts.system, self.parts.scenario.node_names
        why = None
        if not isinstance(system, AuditedSystem):
            why = f"the nodes of {system.name} cannot be asked what they hold"
        elif self.stop.reason == FINDING:
            why = "a rule was broken before, and the run ended there"
        if why is not None or not isinstance(system, AuditedSystem):
            recorder.event(HARNESS, INFO, FINAL_STATE, {"asked": False, "why": why})
            return
        audited = system

        async def ask(digests: bool) -> tuple[list[FinalState], list[str]]:
            addresses = {cluster.known_as(node): cluster.direct_address(node) for node in nodes}
            return await self._as_client(audited.final_states(addresses, digests=digests))

        patience_s = self.parts.scenario.recovery_timeout if self.has_recovered else UNHEALED_PATIENCE_S
        value = await wait_until_settled(ask, cluster.clock_ns, patience_s)
        recorder.event(HARNESS, INFO, FINAL_STATE, value)

    async def _record_counters(self, cluster: EnvironmentCluster, recorder: Recorder) -> None:
        """What each node has counted, if the system's nodes count."""
        system = self.parts.system
        if isinstance(system, CountingSystem):
            addresses = {
                node: cluster.direct_address(node)
                for node in self.parts.scenario.node_names
                if cluster.state(node) == "up"
            }
            recorder.event(HARNESS, INFO, COUNTERS, await self._as_client(ask_counters(system, addresses)))

    def _say_if_late(self, result: DriveResult) -> None:
        """An open-loop rate that the processes could not keep up with is not the rate that was tested."""
        if result.late * 20 > result.invoked:
            self.say(
                f"note: {result.late} of {result.invoked} operations began late, the latest by "
                f"{result.latest_ns / 1e9:.1f} s: the processes were busy; more of them (--concurrency) reach a "
                "higher rate"
            )

    async def _record_logs(self, cluster: EnvironmentCluster, recorder: Recorder) -> None:
        """What the nodes themselves noticed enters the history, as far as patterns or their end tell."""
        for end in cluster.crashes():
            value: dict[str, Any] = {
                "node": end.node,
                "status": end.status,
                "text": "\n".join(end.last_lines),
            }
            if end.ended_ns is not None:
                value["time_ns"] = recorder.now_ns() - (cluster.clock_ns() - end.ended_ns)
            recorder.event(LOG, INFO, "crash", value)
        logs = await cluster.collect_logs()
        for event in matching_log_lines(logs, self.parts.system.log_patterns):
            recorder.event(LOG, INFO, LOG, event)
        began_wall_ns = cluster.wall_ns() - recorder.now_ns()
        pattern: str | None = getattr(self.parts.system, "leader_pattern", None)
        changes = [] if pattern is None else leader_changes(logs, pattern, began_wall_ns)
        recorder.event(LOG, INFO, LEADERS, {"began_wall_ns": began_wall_ns, "changes": changes})

    def _keep_messages(self, cluster: EnvironmentCluster, recorder: Recorder) -> None:
        """A file of its own: there are many, and no checker looks at them."""
        if not isinstance(cluster, MessageRecording):
            return
        told = cluster.messages(cluster.clock_ns() - recorder.now_ns())
        if told is not None:
            self.folder.write_messages(*told)

    def _record_clocks(self, cluster: EnvironmentCluster, recorder: Recorder) -> None:
        """Where clocks can be looked into, when each was set to what."""
        if isinstance(cluster, ClockRecording):
            began_ns = cluster.clock_ns() - recorder.now_ns()
            settings = [
                {"time_ns": time_ns - began_ns, "node": node, "ahead_ms": ahead_ms, "gains_ppm": gains_ppm}
                for time_ns, node, ahead_ms, gains_ppm in cluster.clock_settings()
            ]
            if settings:
                recorder.event(HARNESS, INFO, "clocks", {"set": settings})

    # What was seen inside the nodes

    @contextlib.contextmanager
    def _watching(self, cluster: EnvironmentCluster, recorder: Recorder) -> Iterator[None]:
        """While the block runs, the first finding asks the run to end."""

        async def wait() -> None:
            await cluster.wait_for_finding()
            self._record_findings(cluster, recorder)
            if not self.stop.requests:
                self.stop.reason = FINDING
                self.stop.request()

        async def read_clocks() -> None:
            while True:
                ahead_ms = await cluster.clock_offsets()
                recorder.event(HARNESS, INFO, "clocks", {"ahead_ms": dict(ahead_ms)})
                await asyncio.sleep(CLOCKS_EVERY_S)

        tasks = [asyncio.ensure_future(wait())]
        if "clock" in self.parts.schedule.faults() and not self.parts.environment.is_virtual:
            tasks.append(asyncio.ensure_future(read_clocks()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    def _record_findings(self, cluster: EnvironmentCluster, recorder: Recorder) -> None:
        """Those that are new."""
        findings = cluster.findings()
        for finding in findings[self.findings_recorded :]:
            recorder.event(LOG, INFO, FINDING, msgspec.to_builtins(finding))
        self.findings_recorded = len(findings)

    # What was seen of the answers while they came

    def _on_alarm(self, alarm: Alarm, recorder: Recorder, progress: Progress) -> None:
        """Takes note; the driver is in the middle of a turn, so what follows from it comes after."""
        if alarm.anomaly is not None and progress.violation is None:
            progress.violation = f"{alarm.checker}: {alarm.anomaly.sentence}"
        self.alarms.append(alarm)
        asyncio.get_running_loop().call_soon(self._record_alarms, recorder)

    def _record_alarms(self, recorder: Recorder) -> None:
        """Those that are new enter the history; with `--fail-fast`, a violation ends the main phase."""
        alarms, self.alarms = self.alarms, []
        for alarm in alarms:
            if alarm.anomaly is None:
                self.say(f"note: the online checker {alarm.checker} broke down; the run goes on without it")
                recorder.event(HARNESS, INFO, BROKE, {"checker": alarm.checker, "traceback": alarm.problem})
                continue
            ends = self.parts.scenario.fail_fast and not self.stop.requests
            self.say(f"violation seen: {alarm.checker}: {alarm.anomaly.sentence}")
            value = {"checker": alarm.checker, **msgspec.to_builtins(alarm.anomaly), "ended": ends}
            recorder.event(HARNESS, INFO, ALARM, value)
            if ends:
                self.say("--fail-fast: no new operations, then heal, final reads and verdict")
                self.stop.reason = BY_ALARM
                self.stop.request()

    # The end

    async def leave_running(self) -> str:
        """The cluster outlives this process; answers how to stop it."""
        assert self.cluster is not None, "a run that lived has a cluster"
        self.left_running = True
        return await self.cluster.detach()

    async def end(self) -> None:
        """Closes the record and ends what was started."""
        if self.nemesis is not None:
            # Steps that are still under way when a run stops at once have nowhere to record what they do.
            self.nemesis.record = lambda type_, f, value: None
            await self.nemesis.stop(timeout_s=0.1)
        if self.journal is not None:
            self.journal.close()
        if self.cluster is not None and not self.left_running:
            await self.cluster.destroy()

    # Ending early

    async def _unless_failed(self, cluster: EnvironmentCluster, awaitable: Awaitable[T]) -> T:
        """Waits for it; cancels it and raises EnvironmentFailed when the environment can no longer do its work."""
        task = asyncio.ensure_future(awaitable)
        failure = asyncio.ensure_future(cluster.wait_for_failure())
        try:
            await asyncio.wait((task, failure), return_when=asyncio.FIRST_COMPLETED)
            if not failure.done():
                return task.result()
        finally:
            for one in (task, failure):
                one.cancel()
            await asyncio.gather(task, failure, return_exceptions=True)
        recorded = "what was recorded until then is in" if self.journal else "nothing was tested yet; see"
        raise EnvironmentFailed(
            f"the environment {self.parts.environment.name} failed in the middle of the run, so nothing can be said "
            f"about {self.parts.system.name}: {failure.result()}\n{recorded} {self.folder.path}"
        )

    def _check_stop(self) -> None:
        if self.stop.at_once:
            raise Stopped("stopped at once; what was recorded can be judged with `harness check`")

    async def _unless_stopped(self, requests: int, awaitable: Awaitable[T]) -> T:
        """Waits for it, or cancels it when the user has asked to stop so often."""
        task = asyncio.ensure_future(awaitable)

        def cancel_when_asked() -> None:
            if self.stop.requests >= requests:
                task.cancel()

        with self.stop.calling(cancel_when_asked):
            cancel_when_asked()
            try:
                return await task
            except asyncio.CancelledError:
                if self.stop.requests >= requests:
                    self._check_stop()
                    raise Stopped("stopped before anything was tested") from None
                raise


def matching_log_lines(logs: Mapping[str, Path], patterns: tuple[str, ...]) -> list[dict[str, Any]]:
    """The lines of the nodes' logs in which a pattern is found: `node`, `line` (from 1), `text`, `pattern`; and where
    the line is the head of a traceback that Python says is the direct consequence of the one above it, `caused_by`: the
    line of that one's head."""
    if not patterns:
        return []
    compiled = [(pattern, re.compile(pattern)) for pattern in patterns]
    found = []
    for node, path in sorted(logs.items()):
        matches = 0
        head: int | None = None
        before = ""
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                cause = None
                if line.startswith(TRACEBACK_HEAD):
                    cause = head if before.startswith(DIRECT_CAUSE) else None
                    head = number
                before = line if line.strip() else before
                pattern = next((text for text, one in compiled if one.search(line)), None)
                if pattern is None:
                    continue
                matches += 1
                if matches > LOG_LINES_MAX:
                    break
                event = {"node": node, "line": number, "text": line.rstrip()[:2000], "pattern": pattern}
                found.append(event if cause is None else {**event, "caused_by": cause})
    return found
