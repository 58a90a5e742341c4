"""Repeats a saved run: a simulated one exactly, any other by its recorded faults and operations, in any environment.

- *Exactly* is possible where everything follows from the seed: in simulation, with the same code. The new history is
  then the old one byte for byte, and where it is not, the first difference says what went another way.
- Elsewhere only what was decided can be repeated: the schedule, with its targets still symbolic, and what each client
  asked for at which time. What the network, disks and processors do meanwhile is their own affair, so the outcome may
  be another.
- A fault that the environment cannot inject is never left out in silence: without `--skip-unavailable` there is no run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.catalog import make_environment, make_nemesis, make_system, nemesis_of
from harness.explore.saved_run import SavedRun
from harness.scenario import Scenario
from harness.seeds import Seeds
from nemesis.cluster import FaultUnavailable
from nemesis.package import choose
from nemesis.schedule import Request, Schedule, Step
from results.operation import Operation, decode_line
from results.run_folder import RunFolder
from workloads.generator.recorded import operations_to_dicts

SIMULATION = "simulation"


@dataclass(frozen=True)
class Replay:
    """How a run is repeated."""

    scenario: Scenario
    steps: tuple[Step, ...]
    operations: tuple[Any, ...] | None
    """The recorded stream; None where the seed makes the workload generate the same again."""
    exact: bool
    """Whether the same history is to be expected."""
    skipped: tuple[str, ...]
    """Steps that were left out, and why."""

    @property
    def schedule(self) -> list[dict[str, Any]]:
        """The steps, for `catalog.make_parts`."""
        return Schedule.of(self.steps).to_dicts()

    @property
    def stream(self) -> list[dict[str, Any]] | None:
        """The operations, for `catalog.make_parts`."""
        return None if self.operations is None else operations_to_dicts(self.operations)

    def scenario_in(self, folder: RunFolder) -> Scenario:
        """The scenario as the new folder keeps it: it names the folder's own files, where the run is made of such."""
        return own_files(
            self.scenario,
            folder,
            schedule=not self.exact or self.scenario.schedule_file is not None,
            operations=self.operations is not None,
        )


def own_files(scenario: Scenario, folder: RunFolder, *, schedule: bool, operations: bool) -> Scenario:
    """The scenario with the schedule and the operations that lie in this folder."""
    return msgspec.structs.replace(
        scenario,
        schedule_file=str(folder.schedule_path) if schedule else None,
        operations_file=str(folder.operations_path) if operations else None,
    )


def plan_replay(saved: SavedRun, environment: str | None = None, *, skip_unavailable: bool = False) -> Replay:
    """How to repeat a run, in its own environment or in another one.

    Raises FaultUnavailable for steps that cannot be injected there, unless they may be skipped, and ScenarioError.
    """
    scenario = saved.scenario
    target = environment or scenario.environment
    exact = scenario.environment == SIMULATION and target == SIMULATION
    if exact:
        return Replay(scenario, saved.steps, saved.operations, exact, ())
    changes: dict[str, Any] = {"environment": target, "schedule_file": None, "operations_file": None}
    if target != scenario.environment:
        changes["environment_options"] = {}
    scenario = msgspec.structs.replace(scenario, **changes)
    lacking = unavailable_steps(scenario, saved.steps)
    if lacking and not skip_unavailable:
        raise FaultUnavailable(
            f"{len(lacking)} of {len(saved.steps)} fault steps of {saved.folder.id} cannot be injected in "
            f"{target}: {'; '.join(why for _, why in lacking)}. --skip-unavailable repeats it without them"
        )
    left_out = {step.id for step, _ in lacking}
    steps = tuple(step for step in saved.steps if step.id not in left_out)
    faults = nemesis_of((step.fault for step in steps), scenario.nemesis)
    return Replay(
        msgspec.structs.replace(scenario, nemesis=faults),
        steps,
        saved.recorded(),
        exact,
        tuple(why for _, why in lacking),
    )


def unavailable_steps(scenario: Scenario, steps: Sequence[Step]) -> list[tuple[Step, str]]:
    """The steps that cannot be injected in the scenario's environment, each with the reason."""
    seeds = Seeds(scenario.seed)
    environment = make_environment(scenario.environment, seeds)
    capabilities = environment.capabilities(make_system(scenario, seeds))
    _, packages = make_nemesis(scenario.nemesis)
    found = []
    for step in steps:
        request = Request(step.fault, step.shape)
        try:
            choose((request,), packages, capabilities, scenario.node_names)
        except FaultUnavailable as error:
            reason = str(error).split(" Available:")[0].removesuffix(".")
            found.append((step, f"step {step.id} ({step.describe()}): {reason}"))
    return found


# Comparing histories


@dataclass(frozen=True)
class Comparison:
    """Whether two histories are the same file."""

    events: int
    """How many events they have in common from the beginning."""
    before: int
    """How many events the old one has."""
    now: int
    """How many events the new one has."""
    same: bool
    old: str | None = None
    """The first event of the old one that is not in the new one, in words."""
    new: str | None = None

    def describe(self) -> str:
        """In one sentence."""
        if self.same:
            return f"the same history, byte for byte ({self.events} events)"
        if self.events == self.before:
            return f"the same {self.events} events, and {self.now - self.events} more, which the old record lacks"
        if self.events == self.now:
            return f"the same {self.events} events, but the old history has {self.before - self.events} more"
        return (
            f"the histories differ from event {self.events} on ({self.before} events then, {self.now} now): "
            f"then {self.old}; now {self.new}"
        )


def compare_histories(old: bytes, new: bytes) -> Comparison:
    """Compares two histories as files, line by line."""
    before, now = old.splitlines(), new.splitlines()
    if old == new:
        return Comparison(len(before), len(before), len(now), True)
    common = next(
        (at for at, (left, right) in enumerate(zip(before, now, strict=False)) if left != right),
        min(len(before), len(now)),
    )
    return Comparison(
        common,
        len(before),
        len(now),
        False,
        _in_words(before[common]) if common < len(before) else None,
        _in_words(now[common]) if common < len(now) else None,
    )


def _in_words(line: bytes) -> str:
    try:
        event: Operation = decode_line(line)
    except (msgspec.MsgspecError, ValueError):
        return f"a damaged line of {len(line)} bytes"
    return (
        f"process {event.process} {event.type} {event.f} {event.value!r:.120}"
        f"{f' {event.error!r:.120}' if event.error is not None else ''} at {event.time / 1e9:.6f} s"
    )
