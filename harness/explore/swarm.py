"""A whole scenario from one seed: swarm testing.

Many runs with the same settings look into the same corner again and again. Here each seed decides everything that
nobody has fixed: how many nodes, replicas and ranges, how many clients and how fast, which faults and how often, how
slow network and disks are, and the database's own timing. Leaving *out* faults matters as much as having them: a fault
that is always there hides what happens without it (Groce et al., "Swarm Testing", ISSTA 2012, section 2).

Rules that live here:
- The same seed and the same fixed values draw the same scenario, in any process.
- Each knob has a random stream of its own: fixing one leaves what the others draw as it was, as far as it fits.
- Draws stay within what a correct database can serve: election timeouts above round trips, replicas of which a
  minority can go, faults that leave a calm stretch. A run in which nothing succeeds proves nothing.
- What is drawn prints on a command line and reads back as the same scenario.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from harness.catalog import make_environment, make_nemesis, make_system
from harness.scenario import Option, Scenario, ScenarioError, node_names
from harness.seeds import Seeds
from nemesis.package import choose

T = TypeVar("T")

TIME_LIMIT_S = 20.0
"""Length of the main phase of a seed, unless somebody says otherwise."""

NODES: Mapping[int, float] = {3: 50, 5: 30, 7: 10, 4: 7, 6: 3}
"""Cluster size -> weight. Odd ones mostly; even ones because quorums of them are easily computed wrong."""
REPLICATION: Mapping[int, float] = {3: 70, 5: 20, 4: 6, 7: 4}
"""Replicas a range -> weight, among those that the cluster has nodes for. Fewer than three would leave no minority
that can be lost, and every fault would only stop the database."""
RANGES = (1, 16)
CONCURRENCY = (4, 20)
RATE = (20.0, 200.0)
OPERATION_TIMEOUT_S = (1.0, 6.0)
INTENSITY = (0.5, 3.0)
FAULT_SHARE = 0.5
"""Chance of each kind of fault to be in the mix."""
NO_FAULT_SHARE = 0.04
"""Share of the seeds without any fault, where more than one kind may be drawn."""


@runtime_checkable
class HasEnvironmentKnobs(Protocol):
    """An environment that has something to turn."""

    def draw_options(self, random: Random) -> dict[str, Option]:
        """Options of the environment, drawn: how slow its network and its disks are."""

    def round_trip_ms(self, options: Mapping[str, Option]) -> float:
        """The longest usual round trip between two nodes with these options, a sync included."""


@runtime_checkable
class HasSystemKnobs(Protocol):
    """A system that has something to turn."""

    def draw_options(self, random: Random, round_trip_ms: float) -> dict[str, Option]:
        """Options of the system, drawn: its timing. They must let it work where a round trip takes so long."""


def draw_scenario(seed: int, given: Mapping[str, Any]) -> Scenario:
    """The scenario of this seed. `given` holds fields of the scenario that are fixed; options are fixed one by one.

    Raises ScenarioError for given values that cannot be, FaultUnavailable for a fault that cannot be had here.
    """
    seeds = Seeds(seed).child("swarm")
    values: dict[str, Any] = {
        "environment": "simulation",
        "time_limit": TIME_LIMIT_S,
        "nemesis": "all",
        **given,
        "seed": seed,
    }

    def knob(name: str, drawn: Any) -> None:
        values.setdefault(name, drawn)

    fits = partial(_leaves_room, values["nemesis"])
    knob("nodes", _nodes(seeds.stream("nodes"), values.get("replication"), fits))
    knob("replication", _replication(seeds.stream("replication"), values["nodes"], fits))
    knob("ranges", round(_log_uniform(seeds.stream("ranges"), *RANGES)))
    knob("concurrency", str(round(_log_uniform(seeds.stream("concurrency"), *CONCURRENCY))))
    knob("rate", _rounded(_log_uniform(seeds.stream("rate"), *RATE)))
    knob("operation_timeout", _rounded(_log_uniform(seeds.stream("operation timeout"), *OPERATION_TIMEOUT_S)))
    knob("intensity", _rounded(_log_uniform(seeds.stream("intensity"), *INTENSITY)))

    scenario = Scenario.from_dict(values)
    environment = make_environment(scenario.environment)
    round_trip_ms = 1.0
    if isinstance(environment, HasEnvironmentKnobs):
        options = {**environment.draw_options(seeds.stream("environment")), **scenario.environment_options}
        round_trip_ms = environment.round_trip_ms(options)
        scenario = msgspec.structs.replace(scenario, environment_options=options)
    system = make_system(scenario, Seeds(seed))
    if isinstance(system, HasSystemKnobs):
        own = {name.replace("-", "_"): value for name, value in scenario.system_options.items()}
        options = {**system.draw_options(seeds.stream("system"), round_trip_ms), **own}
        scenario = msgspec.structs.replace(scenario, system_options=options)
        system = make_system(scenario, Seeds(seed))
    if scenario.schedule_file is not None:
        return scenario
    try:
        requests, packages = make_nemesis(scenario.nemesis, scenario.replication)
        choice = choose(requests, packages, environment.capabilities(system), scenario.node_names)
    except ValueError as error:
        raise ScenarioError(str(error)) from error
    mix = choose_some(choice.requests, seeds.stream("faults"))
    return msgspec.structs.replace(scenario, nemesis=",".join(map(str, mix)) or "none")


def choose_some(items: Sequence[T], random: Random) -> list[T]:
    """A part of the items, in their order: each with a chance of `FAULT_SHARE`, at least one, seldom none at all."""
    if len(items) > 1 and random.random() < NO_FAULT_SHARE:
        return []
    chosen = [item for item in items if random.random() < FAULT_SHARE]
    if not chosen and items:
        chosen = [random.choice(items)]
    return chosen


def _leaves_room(nemesis: Any, nodes: int, replication: int) -> bool:
    """Whether no fault that is asked for by name objects to so many nodes and replicas; `all` takes what there is."""
    try:
        requests, packages = make_nemesis(str(nemesis), replication)
    except ScenarioError:
        return True  # It will be refused whatever is drawn.
    names = node_names(nodes)
    named = [request for request in requests if request.name in packages]
    return all(packages[one.name].objection(one.shape, one.target, names) is None for one in named)


def _nodes(random: Random, replication: Any, fits: Callable[[int, int], bool]) -> int:
    """As many as the replicas that are asked for, at least, and as many as the faults take that are."""
    asked = isinstance(replication, int)
    least = replication if asked else 1
    possible = {nodes: weight for nodes, weight in NODES.items() if nodes >= least}
    roomy = {
        nodes: weight
        for nodes, weight in possible.items()
        if any(
            fits(nodes, copies) for copies in ((replication,) if asked else REPLICATION) if copies <= nodes
        )
    }
    return _weighted(random, roomy or possible or {max(1, least): 1.0})


def _replication(random: Random, nodes: Any, fits: Callable[[int, int], bool]) -> int:
    """As many replicas as there are nodes for, and as few as the faults take that are asked for."""
    most = nodes if isinstance(nodes, int) else 3
    possible = {replicas: weight for replicas, weight in REPLICATION.items() if replicas <= most}
    roomy = {replicas: weight for replicas, weight in possible.items() if fits(most, replicas)}
    return _weighted(random, roomy or possible or {max(1, most): 1.0})


def _weighted(random: Random, weights: Mapping[int, float]) -> int:
    return random.choices(list(weights), list(weights.values()))[0]


def _log_uniform(random: Random, low: float, high: float) -> float:
    """Each doubling as likely as the next, both ends reached after rounding."""
    return math.exp(random.uniform(math.log(low), math.log(high)))


def _rounded(value: float) -> float:
    """Three digits: what a command line prints is what was drawn."""
    return float(f"{value:.3g}")
