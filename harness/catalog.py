"""Each name on the command line -> its object; the only page that knows concrete workloads, systems, environments.

Rules that live here:
- Modules are imported when one of their names is used, so that `harness list` and `--help` stay quick.
- An unknown name is wrong usage (`ScenarioError`), and the error lists the names there are.
- Nothing here decides anything about a run; `run.py` gets the objects and knows no names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from harness.scenario import Scenario, ScenarioError
from harness.seeds import Seeds

if TYPE_CHECKING:
    from harness.environments.environment import Environment
    from harness.run import Parts
    from harness.systems.system import DefectSheet, System
    from nemesis.package import Package
    from nemesis.schedule import Request, Schedule
    from results.run_folder import RunFolder
    from workloads.generator.core import Generator
    from workloads.generator.recorded import RecordedOperation
    from workloads.workload import Workload

WORKLOADS: dict[str, str] = {
    "bank": "workloads.bank:Bank",
    "register": "workloads.register:Register",
    "set": "workloads.set:Set",
    "rw-register": "workloads.rw_register:RwRegister",
    "watch": "workloads.watch:WatchWorkload",
    "log": "workloads.log:LogWorkload",
    "long-fork": "workloads.long_fork:LongFork",
    "queue": "workloads.queue:QueueWorkload",
    "list-append": "workloads.list_append:ListAppend",
    "write-skew": "workloads.write_skew:WriteSkew",
    "causal-reverse": "workloads.causal_reverse:CausalReverse",
    "monotonic": "workloads.monotonic:Monotonic",
    "unique-ids": "workloads.unique_ids:UniqueIdsWorkload",
    "counter": "workloads.counter:CounterWorkload",
    "append": "workloads.append:Append",
    "lock": "workloads.lock:LockWorkload",
    "stale": "workloads.stale:Stale",
}
"""Name -> class that takes `WorkloadOptions`."""

SYSTEMS: dict[str, str] = {
    "reference-db": "harness.systems.reference_db:ReferenceDatabase",
    "in-memory": "harness.systems.in_memory.system:InMemorySystem",
}
"""Name -> class that takes replication, ranges, seed, defect and options by name."""

CAPTIONS: dict[str, str] = {
    "reference-db": "the reference Multi-Raft database of this project",
    "in-memory": "nodes before one shared store in memory, right or wrong on request; to try the harness itself",
    "local": "nodes are processes on loopback, with a proxy per directed link; Linux and macOS",
    "netns": "nodes are processes in network namespaces of their own; Linux, as root or in a user namespace",
    "docker": "nodes are containers on a private network; needs a Docker engine and Linux",
    "simulation": "nodes are simulated hosts on virtual time in this process; the seed decides everything",
}
"""System or environment -> what it is."""

ENVIRONMENTS: dict[str, str] = {
    "local": "harness.environments.local.environment:LocalEnvironment",
    "netns": "harness.environments.netns.environment:NetnsEnvironment",
    "docker": "harness.environments.docker.environment:DockerEnvironment",
    "simulation": "harness.environments.simulation.environment:SimulationEnvironment",
}
"""Name -> class that takes the seed of what it draws."""

PACKAGES: dict[str, str] = {
    "partition": "nemesis.partition:Partition",
    "packet": "nemesis.packet:Packet",
    "kill": "nemesis.process:Kill",
    "pause": "nemesis.process:Pause",
    "restart": "nemesis.process:Restart",
    "clock": "nemesis.clock:Clock",
    "disk": "nemesis.disk:Disk",
    "split": "nemesis.ranges:Split",
    "merge": "nemesis.ranges:Merge",
}
"""Name -> class that takes nothing."""


def make_workload(scenario: Scenario, seeds: Seeds) -> Workload:
    """The workload of a scenario; its options are checked."""
    from workloads.workload import OptionError, WorkloadOptions

    factory = _find("workload", scenario.workload, WORKLOADS)
    options = WorkloadOptions(
        random=seeds.stream("workload"),
        concurrency=scenario.processes,
        nodes=tuple(scenario.node_names),
        rate=scenario.rate,
        time_limit_s=scenario.time_limit,
        final_time_limit_s=scenario.recovery_timeout,
        extra=scenario.workload_options,
        isolation=scenario.isolation,
        consistency=scenario.consistency,
    )
    for kind, given, levels in (
        ("isolation", scenario.isolation, factory.isolations),
        ("consistency", scenario.consistency, factory.consistencies),
    ):
        if given is not None and not levels:
            raise ScenarioError(
                f"--{kind} {given}: workload {scenario.workload} has one demand only; leave it out"
            )
    try:
        workload: Workload = factory(options)
    except OptionError as error:
        raise ScenarioError(str(error)) from error
    return workload


def make_system(scenario: Scenario, seeds: Seeds) -> System:
    """The system under test of a scenario; its options and the defect are checked."""
    try:
        system: System = _find("system", scenario.system, SYSTEMS)(
            replication=scenario.replication,
            ranges=scenario.ranges,
            seed=seeds.number("system") % 2**48,
            defect=scenario.defect,
            options=scenario.system_options,
            # Only a system that can be watched from inside takes this.
            **({} if scenario.invariants else {"invariants": False}),
        )
    except ValueError as error:
        raise ScenarioError(str(error)) from error
    return system


def make_environment(name: str, seeds: Seeds | None = None) -> Environment:
    """The environment of this name. `seeds` are those of the run; without them it is only asked what it can do."""
    seed = 0 if seeds is None else seeds.number("simulation")
    environment: Environment = _find("environment", name, ENVIRONMENTS)(seed)
    return environment


def defect_sheets() -> dict[str, DefectSheet]:
    """The planted defects of the reference database by name."""
    sheets: dict[str, DefectSheet] = import_module("harness.systems.reference_db").defect_sheets()
    return sheets


def own_defect_sheet(name: str) -> DefectSheet:
    """What is known of a defect from elsewhere, `module:function`. Raises ScenarioError if there is none."""
    try:
        sheet: DefectSheet = import_module("harness.systems.reference_db").own_defect_sheet(name)
    except ValueError as error:
        raise ScenarioError(str(error)) from error
    return sheet


def directed_story(sheet: DefectSheet, *, planted: bool) -> list[str]:
    """What the directed story of a defect shows that must never be; see `harness.systems.reference_db`."""
    module = import_module("harness.systems.reference_db")
    shown: list[str] = module.directed_story(sheet.directed, planted=planted)
    return shown


def make_packages() -> dict[str, Package]:
    """Every nemesis package by name."""
    return {name: _load(reference)() for name, reference in PACKAGES.items()}


def make_parts(
    scenario: Scenario,
    saved: RunFolder | None = None,
    *,
    schedule: Sequence[Mapping[str, Any]] | None = None,
    operations: Sequence[Mapping[str, Any]] | None = None,
) -> Parts:
    """What the scenario's names stand for, with the schedule drawn from its seed (or read from a saved run's folder).

    `schedule` are steps to execute instead (`Schedule.to_dicts`), `operations` a recorded stream to invoke instead of
    what the workload generates (`workloads.generator.recorded`); both count before the files that the scenario names.

    Raises ScenarioError for wrong usage, FaultUnavailable for a fault that cannot be injected here.
    """
    from harness.run import Parts
    from nemesis.package import Choice, choose
    from nemesis.schedule import draw, parse_nemesis
    from workloads.workload import WorkloadUnavailable

    seeds = Seeds(scenario.seed)
    workload = make_workload(scenario, seeds)
    system = make_system(scenario, seeds)
    try:
        workload.require(system.interfaces, system.name)
    except WorkloadUnavailable as error:
        raise ScenarioError(str(error)) from error
    if system.environments is not None and scenario.environment not in system.environments:
        raise ScenarioError(
            f"{system.name} cannot run in the environment {scenario.environment}, only in "
            f"{', '.join(sorted(system.environments))}; give --environment {min(system.environments)}"
        )
    environment = make_environment(scenario.environment, seeds)
    packages = make_packages()
    try:
        requests = parse_nemesis(scenario.nemesis)
        if saved is not None:
            plan = _requesting(_saved_schedule(saved), requests)
            choice = Choice(tuple(requests), ())
        else:
            environment.check_options(scenario.environment_options, scenario.node_names)
            system.require_defect()
            choice = choose(requests, packages, environment.capabilities(system), scenario.node_names)
            if schedule is not None:
                plan = _given_schedule(schedule, choice.requests, packages, scenario.node_names)
            elif scenario.schedule_file is not None:
                plan = _fitting_schedule(scenario.schedule_file, packages, scenario.node_names)
                lacking = sorted({request.name for request in choice.requests} - set(plan.faults()))
                if lacking and scenario.nemesis != "all":
                    raise ScenarioError(
                        f"--nemesis asks for {', '.join(lacking)}, of which {scenario.schedule_file} has no step; "
                        f"it has {', '.join(plan.faults()) or 'none at all'}. Leave --nemesis out to take what "
                        "is there"
                    )
                plan = _requesting(plan, choice.requests)
            else:
                plan = draw(
                    choice.requests,
                    seeds.stream("nemesis"),
                    round(scenario.time_limit * 1e9),
                    scenario.node_names,
                    packages,
                    scenario.intensity,
                )
    except ValueError as error:
        raise ScenarioError(str(error)) from error
    stream = None if saved is not None else _stream(scenario, operations)
    if stream is not None:
        workload.generator = _recorded(stream, scenario)
    return Parts(scenario, seeds, workload, system, environment, packages, choice, plan, stream)


def _stream(
    scenario: Scenario, operations: Sequence[Mapping[str, Any]] | None
) -> tuple[RecordedOperation, ...] | None:
    """The recorded stream to invoke; None if the workload generates its own."""
    from pathlib import Path

    from workloads.generator.recorded import RecordingError, load_operations, operations_from_dicts

    try:
        if operations is not None:
            return operations_from_dicts(operations)
        return None if scenario.operations_file is None else load_operations(Path(scenario.operations_file))
    except RecordingError as error:
        raise ScenarioError(str(error)) from error


def _recorded(stream: Sequence[RecordedOperation], scenario: Scenario) -> Generator:
    """The generator of a recorded stream, guarded as those of workloads are."""
    from workloads.generator import combinators as combine
    from workloads.generator.recorded import RecordingError, recorded

    try:
        return combine.validate(recorded(stream, scenario.processes, scenario.time_limit))
    except RecordingError as error:
        raise ScenarioError(str(error)) from error


def _requesting(schedule: Schedule, requests: Iterable[Request]) -> Schedule:
    """What was asked for by name (and shape) must have taken effect, also where its steps are not in the schedule."""
    from nemesis.schedule import requested_classes

    wanted = set(requested_classes(requests)) | set(schedule.requested)
    return msgspec.structs.replace(schedule, requested=tuple(sorted(wanted)))


def _given_schedule(
    steps: Sequence[Mapping[str, Any]],
    requests: Iterable[Request],
    packages: Mapping[str, Package],
    nodes: Sequence[str],
) -> Schedule:
    """A schedule of these steps, all of which this cluster can have. What they are is what must take effect; what
    was asked for beyond that was taken out, and is not."""
    from nemesis.package import check_schedule
    from nemesis.schedule import Schedule, requested_classes

    try:
        schedule = Schedule.from_dicts([dict(step) for step in steps])
        check_schedule(schedule, packages, nodes)
    except (ValueError, msgspec.MsgspecError) as error:
        raise ScenarioError(f"the schedule: {error}") from error
    asked = {one for one in requested_classes(requests) if one.partition(":")[0] in schedule.faults()}
    unasked = set(schedule.faults()) - {one.partition(":")[0] for one in asked}
    return msgspec.structs.replace(schedule, requested=tuple(sorted(asked | unasked)))


def _saved_schedule(saved: RunFolder) -> Schedule:
    from nemesis.schedule import Schedule

    try:
        return Schedule.from_dicts(saved.read_schedule())
    except (ValueError, msgspec.MsgspecError) as error:
        raise ScenarioError(f"{saved.schedule_path}: {error}") from error


def load_schedule(path: str) -> Schedule:
    """The schedule of a file that a person named; raises ScenarioError, with the file's name, if there is none."""
    from pathlib import Path

    from nemesis.schedule import Schedule

    try:
        return Schedule.load(Path(path))
    except OSError as error:
        raise ScenarioError(f"cannot read the schedule {path}: {error.strerror}") from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise ScenarioError(str(error) if path in str(error) else f"{path}: {error}") from error


def _fitting_schedule(path: str, packages: Mapping[str, Package], nodes: Sequence[str]) -> Schedule:
    """The schedule of a file, all of whose steps this cluster can have."""
    from nemesis.package import check_schedule

    schedule = load_schedule(path)
    try:
        check_schedule(schedule, packages, nodes)
    except ValueError as error:
        raise ScenarioError(f"{path}: {error}") from error
    return schedule


def _find(kind: str, name: str, names: Mapping[str, str]) -> Any:
    if name not in names:
        raise ScenarioError(f"unknown {kind} {name!r}; the {kind}s are {', '.join(names)}")
    return _load(names[name])


def _load(reference: str) -> Any:
    """The object at `module:name`."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
