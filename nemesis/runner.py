"""Executes a schedule: every step in a task of its own, so that a slow one never delays the heal of another.

The life of a step, and what is recorded (value of the events: `step`, `fault`, `shape`, `target`, ...; the shape is
the one that is carried out, which may be another than the schedule's):

1. It is due: leaders are asked, targets resolved and held. If nobody can be hit (a pause that is due while its only
   node is down), it waits for somebody: up to half its duration, or as long as the run lasts while no step of its
   class (or of its shape, where that was asked for) has taken effect yet, because one that never does leaves the
   whole run without a verdict. Waiting in vain, it is recorded as skipped.
2. `invoke start` with the resolved `plan`, *before* anything is done: a harness that dies now has said what to.
3. The package acts; `info start` with `targets`, `evidence`, `took_effect`, `skipped`.
4. It is held until `end_ns`; at least a second, or its own duration if that is less, after it took effect.
5. `invoke stop`, the package heals what the step did; `info stop` with `healed` and the evidence of that.
6. A step that did all this without effect (a merge that met no neighbour, a follower that lacked nothing) begins anew
   while no step of its class has taken effect yet: again from 1, with another draw among its candidates, and recorded
   again, a few times at most.

A step that raises is recorded with its error and did not take effect; the others go on. Healing is never hidden:
`stop` ends the steps (each heals itself, and says so), `heal_all` then asks the cluster to heal and verify all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from nemesis.cluster import Cluster, Evidence, HealReport
from nemesis.holds import Holds
from nemesis.package import Package, Plan, Situation
from nemesis.schedule import Schedule, Step
from nemesis.targets import ROLES

Record = Callable[[str, str, dict[str, Any]], None]
"""Takes type ("invoke" or "info"), f ("start" or "stop") and the value of a nemesis event, at its moment."""

LEADERS_TIMEOUT_S = 1.5
RETRY_S = 0.1
AGAIN_S = 0.5
"""Between the end of a step without effect and its next attempt."""
MOST_ATTEMPTS = 6
LEAST_EFFECT_S = 1.0


class NemesisRunner:
    """Runs the steps of one schedule on one cluster, on the event loop it is called from.

    Either `follow` runs the whole schedule, or a driver that keeps its own time calls `begin` for each due step.
    """

    def __init__(
        self,
        cluster: Cluster,
        schedule: Schedule,
        packages: Mapping[str, Package],
        record: Record | None = None,
    ) -> None:
        missing = [name for name in schedule.faults() if name not in packages]
        if missing:
            raise ValueError(f"no package for {', '.join(missing)}; packages: {', '.join(sorted(packages))}")
        self.cluster = cluster
        self.schedule = schedule
        self.packages = packages
        self.record: Record = record or (lambda type_, f, value: None)
        self.holds = Holds()
        self.problems: list[str] = []
        """Steps that raised, one sentence each."""
        self._active: dict[int, tuple[Step, Plan]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._proven: set[str] = set()
        """Fault classes that have taken effect, and each shape of them: `partition`, `partition:bridge`."""
        self._stopping = asyncio.Event()

    @property
    def active(self) -> tuple[tuple[Step, tuple[str, ...]], ...]:
        """Steps in effect now and their targets, by id."""
        return tuple((step, plan.targets) for _, (step, plan) in sorted(self._active.items()))

    def begin(self, step: Step) -> None:
        """Start a step that is due now, and return at once. Does nothing once `stop` was called."""
        if self._stopping.is_set():
            return
        if step.id in self._tasks:
            raise ValueError(f"step {step.id} was begun before: a step runs once")
        self._tasks[step.id] = asyncio.create_task(self._run(step), name=f"nemesis step {step.id}")

    async def follow(self, started_at: float | None = None) -> None:
        """Begin every step when it is due, and return when all are over. `started_at`: loop time of the start."""
        loop = asyncio.get_running_loop()
        start = loop.time() if started_at is None else started_at
        for step in self.schedule:
            await self._sleep(start + step.at_ns / 1e9 - loop.time())
            if self._stopping.is_set():
                break
            self.begin(step)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def stop(self, timeout_s: float = 60.0) -> bool:
        """Begin nothing more, end every step now, and wait until each has healed. False if some did not in time."""
        self._stopping.set()
        tasks = list(self._tasks.values())
        if not tasks:
            return True
        _, unfinished = await asyncio.wait(tasks, timeout=timeout_s)
        for task in (one for one in tasks if one in unfinished):
            self.problems.append(f"{task.get_name()} did not end within {timeout_s:.0f} s of being stopped")
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=5.0)
        return not unfinished

    async def heal_all(self, timeout_s: float = 60.0) -> HealReport:
        """End every step, then let the cluster heal and verify everything. What failed is in the report."""
        await self.stop(timeout_s)
        report = await self.cluster.heal_all()
        self.holds.clear()
        return report

    async def _run(self, step: Step) -> None:
        draw = step.parameters.get("draw", step.id)
        for attempt in range(MOST_ATTEMPTS):
            if attempt > 0:
                step = msgspec.structs.replace(step, parameters={**step.parameters, "draw": draw + attempt})
            may_begin_anew = await self._carry_out(step) and self._is_owed(step)
            if not may_begin_anew or self._stopping.is_set():
                return
            await self._sleep(AGAIN_S)

    async def _carry_out(self, step: Step) -> bool:
        """From its planning to its healing. Says whether it went well, but had no effect."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        package = self.packages[step.fault]
        plan = await self._resolve(step, package, due + step.duration_ns / 2e9)
        shape = plan.details.get("shape", step.shape)
        about = {"step": step.id, "fault": step.fault, "shape": shape, "target": step.target}
        described = {**step.parameters, **plan.details, "targets": list(plan.targets)}
        self.record("invoke", "start", {**about, "plan": described})
        start_value: dict[str, Any] = {**about, "plan": described, "targets": list(plan.targets)}
        if plan.skipped is not None:
            outcome = {"evidence": {}, "took_effect": False, "skipped": plan.skipped}
            self.record("info", "start", start_value | outcome)
            return False
        self._active[step.id] = (step, plan)
        keeping: asyncio.Task[None] | None = None
        ended = asyncio.Event()
        try:
            evidence, error = await self._attempt(
                step, "start", package.start(step, plan, self.cluster, self.holds)
            )
            outcome = {"evidence": _builtins(evidence), "took_effect": evidence.took_effect, "skipped": None}
            self.record("info", "start", start_value | outcome | ({"error": error} if error else {}))
            if evidence.took_effect:
                self._proven |= {step.fault, f"{step.fault}:{shape}"}
            if error is None:
                keeping = asyncio.create_task(package.hold(step, plan, self.cluster, self.holds, ended))
            least = min(step.duration_ns / 1e9, LEAST_EFFECT_S)
            await self._sleep(max(due + step.duration_ns / 1e9 - loop.time(), least))
        finally:
            ended.set()
            try:
                await self._end(step, plan, package, about, keeping)
            finally:
                self._active.pop(step.id, None)
        return error is None and not evidence.took_effect

    async def _end(
        self,
        step: Step,
        plan: Plan,
        package: Package,
        about: dict[str, Any],
        keeping: asyncio.Task[None] | None,
    ) -> None:
        value = {**about, "targets": list(plan.targets)}
        self.record("invoke", "stop", value)
        problem: str | None = None
        if keeping is not None:
            _, problem = await self._attempt(step, "hold", _no_evidence(keeping))
        evidence, error = await self._attempt(
            step, "stop", package.stop(step, plan, self.cluster, self.holds)
        )
        error = error or problem
        outcome = {"healed": evidence.took_effect, "evidence": _builtins(evidence)}
        self.record("info", "stop", value | outcome | ({"error": error} if error else {}))

    async def _resolve(self, step: Step, package: Package, give_up_at: float) -> Plan:
        """The step's plan; while nobody can be hit, tries again until `give_up_at` (loop time)."""
        loop = asyncio.get_running_loop()
        while True:
            leaders = await self._leaders() if self._wants_leaders(step) else {}
            states = {name: self.cluster.state(name) for name in self.cluster.nodes}
            available = frozenset(n for n, one in self.cluster.capabilities().items() if one.available)
            situation = Situation(tuple(self.cluster.nodes), states, leaders, available)
            try:
                plan = package.plan(step, situation, self.holds)
            except ValueError as error:
                self.problems.append(f"step {step.id} ({step.describe()}) cannot be planned: {error}")
                return Plan(skipped=str(error))
            late = loop.time() >= give_up_at and not self._is_owed(step)
            if plan.skipped is None or late or self._stopping.is_set():
                return plan
            await self._sleep(RETRY_S)

    def _is_owed(self, step: Step) -> bool:
        """Whether the run has yet to show the class of this step, or its shape where that was asked for."""
        shape = f"{step.fault}:{step.shape}"
        owed = {step.fault} | ({shape} if shape in self.schedule.requested else set())
        return not owed <= self._proven

    def _wants_leaders(self, step: Step) -> bool:
        """Whether who is hit depends on who leads: asking costs messages, which change what follows in simulation."""
        hits_replicas = getattr(self.packages.get(step.fault), "hits_replicas", False)
        return step.target in ("leader", *ROLES) or (hits_replicas and step.target in (None, "one"))

    async def _leaders(self) -> dict[str, str]:
        try:
            return await asyncio.wait_for(self.cluster.leaders(), LEADERS_TIMEOUT_S)
        except (Exception, TimeoutError) as error:  # noqa: BLE001 - the choice falls back to any node, and says so
            self.problems.append(f"leaders could not be asked: {type(error).__name__}: {error}")
            return {}

    async def _attempt(self, step: Step, act: str, awaitable: Any) -> tuple[Evidence, str | None]:
        """Whatever goes wrong inside one act of one step stays with this step, as its recorded error."""
        try:
            return await awaitable, None
        except Exception as error:  # noqa: BLE001 - recorded as the step's error; no effect is claimed
            text = f"{type(error).__name__}: {error}"
            self.problems.append(f"step {step.id} ({step.describe()}), {act}: {text}")
            return Evidence(False), text

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or less: `stop` wakes everybody."""
        if seconds > 0 and not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), seconds)
            except TimeoutError:
                return


async def _no_evidence(task: asyncio.Task[None]) -> Evidence:
    await task
    return Evidence(False)


def _builtins(evidence: Evidence) -> dict[str, Any]:
    return {"took_effect": evidence.took_effect, "probes": list(evidence.probes)}
