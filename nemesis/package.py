"""A family of faults: how to draw it, aim it, start it, keep it up, stop it; and which families a run can have.

A package is a small object without state of its own. `draw` and `plan` are pure; `start`, `hold` and `stop` call
the verbs of a cluster. What a step holds is kept in `Holds`, so packages heal their own work and nobody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, Protocol

import msgspec

from nemesis.cluster import CAPABILITIES, Capability, Cluster, Evidence, FaultUnavailable, Link, NodeState
from nemesis.holds import Holds
from nemesis.schedule import ALL, BY_NAME_ONLY, NAMES, Request, Schedule, Step
from nemesis.targets import TARGETS, check_target


class Aim(NamedTuple):
    """What `draw` decides about a step: everything but when and how long."""

    shape: str | None
    target: str | None
    parameters: dict[str, Any]


class Situation(msgspec.Struct, frozen=True):
    """What is known of the cluster at the moment a step is due."""

    nodes: tuple[str, ...]
    states: dict[str, NodeState]
    leaders: dict[str, str]
    available: frozenset[str] = frozenset(CAPABILITIES)
    """Names of the capabilities that the cluster has."""


class Plan(msgspec.Struct, frozen=True):
    """A step with its targets resolved. `skipped` says why there is nothing to do."""

    targets: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    details: dict[str, Any] = {}
    skipped: str | None = None


class Package(Protocol):
    """One family of faults. `name` is the name on the command line."""

    @property
    def name(self) -> str:
        """One of `schedule.NAMES`."""

    @property
    def shapes(self) -> tuple[str, ...]:
        """The shapes that may be asked for. Empty: this family has none."""

    def needs(self, shape: str | None) -> tuple[str, ...]:
        """Names of the capabilities that a shape (None: the least of any) cannot do without."""

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        """Why this shape of ours cannot be had, or not on this target, among these nodes; None if it can.

        None for shape or target: it is to be drawn. The target is known to be one of these nodes or symbolic.
        """

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        """Decide shape, target and parameters. `first`: the first step of its class, which must take effect."""

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        """Resolve the targets, and take the holds, in one go without a pause in between."""

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        """Inject the fault."""

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        """Keep it up until `ended` is set, for families that must keep acting. Most return at once."""

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        """Heal what this step did, and only that; release its holds. Evidence: proof that it is healed."""


class LeftOut(NamedTuple):
    """A family that `all` would have had, and why not."""

    name: str
    reason: str


class Choice(NamedTuple):
    """The requests of a run, one per class and aim, and what `all` left out."""

    requests: tuple[Request, ...]
    left_out: tuple[LeftOut, ...]


def choose(
    requests: Sequence[Request],
    packages: Mapping[str, Package],
    capabilities: Mapping[str, Capability],
    nodes: Sequence[str],
) -> Choice:
    """Check what was asked for against what there is.

    Raises ValueError (exit 2) for a shape or target that does not exist or that so few nodes cannot have,
    FaultUnavailable (exit 4) for a fault that was asked for by name and cannot be injected here. `all` becomes one
    request for each family there is and that so many nodes can have.
    """
    chosen: list[Request] = []
    left_out: list[LeftOut] = []
    for request in requests:
        if request == ALL:
            for name in NAMES:
                if name in BY_NAME_ONLY:
                    left_out.append(LeftOut(name, f"only by name: --nemesis all,{name}"))
                    continue
                reason = why_not(Request(name), packages, capabilities, nodes)
                if reason is None:
                    reason = packages[name].objection(None, None, nodes)
                if reason is not None:
                    left_out.append(LeftOut(name, reason))
                elif all(other.name != name for other in chosen):
                    chosen.append(Request(name))
            continue
        package = packages.get(request.name)
        reason = None
        if package is not None:
            problem = _misnamed(package, request.shape, request.target, nodes)
            if problem is None:
                reason = _lacking(package, request.shape, capabilities)
                problem = package.objection(request.shape, request.target, nodes) if reason is None else None
            if problem is not None:
                raise ValueError(f"nemesis {str(request)!r}: {problem}")
        reason = reason or why_not(request, packages, capabilities, nodes)
        if reason is not None:
            usable = [name for name in NAMES if why_not(Request(name), packages, capabilities, nodes) is None]
            raise FaultUnavailable(
                f"nemesis {str(request)!r} is not available here: {reason}."
                f" Available: {', '.join(usable) or 'nothing'}; use one of these, or --nemesis all"
            )
        if request not in chosen:
            chosen.append(request)
    return Choice(tuple(chosen), tuple(left_out))


def check_schedule(schedule: Schedule, packages: Mapping[str, Package], nodes: Sequence[str]) -> None:
    """Raises ValueError with every step that nobody can carry out on a cluster of these nodes, and why.

    For schedules that were written or edited by hand, or drawn for another cluster, before anything is started.
    """
    problems = []
    for step in schedule:
        package = packages.get(step.fault)
        if package is None:
            problem: str | None = f"no package injects {step.fault}; there are {', '.join(sorted(packages))}"
        else:
            problem = _problem(package, step.shape, step.target, nodes)
        if problem is not None:
            problems.append(f"step {step.id} ({step.describe()}): {problem}")
    if problems:
        raise ValueError("; ".join(problems))


def _problem(package: Package, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
    """Why this family cannot have that shape and that target on these nodes; None if it can."""
    return _misnamed(package, shape, target, nodes) or package.objection(shape, target, nodes)


def _misnamed(package: Package, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
    """Which of the two is nothing that this family and these nodes know; None if they know both."""
    if shape is not None and shape not in package.shapes:
        known = f"known: {', '.join(package.shapes)}" if package.shapes else "it has none"
        return f"unknown shape {shape!r} of nemesis {package.name!r}; {known}"
    if target is not None:
        try:
            check_target(target, nodes)
        except ValueError as error:
            return str(error)
    return None


def why_not(
    request: Request,
    packages: Mapping[str, Package],
    capabilities: Mapping[str, Capability],
    nodes: Sequence[str],
) -> str | None:
    """Why a request that is no wrong usage cannot be injected here; None if it can."""
    package = packages.get(request.name)
    if package is None:
        return f"no environment injects {request.name} faults in this version"
    possible = [shape for shape in package.shapes if package.objection(shape, None, nodes) is None]
    if package.shapes and not possible and request.shape is None:
        return (
            _lacking(package, None, capabilities)
            or package.objection(None, None, nodes)
            or package.objection(package.shapes[0], None, nodes)
        )
    return _lacking(
        package, possible[0] if request.shape is None and len(possible) == 1 else request.shape, capabilities
    )


def _lacking(package: Package, shape: str | None, capabilities: Mapping[str, Capability]) -> str | None:
    """Why the environment or the system has not what this family needs, on any number of nodes; None if it has."""
    for name in package.needs(shape):
        capability = capabilities.get(name)
        if capability is None:
            return f"this environment has no mechanism for {name!r}"
        if not capability.available:
            return capability.reason or f"{name!r} is not available"
    return None


__all__ = [
    "ALL",
    "TARGETS",
    "Aim",
    "Choice",
    "LeftOut",
    "Package",
    "Plan",
    "Situation",
    "check_schedule",
    "choose",
    "why_not",
]
