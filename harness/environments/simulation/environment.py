"""The environment `simulation` itself: one world for a run, on virtual time, and which faults it has.

All that happens in it follows from one seed. What must not decide anything is kept out: the garbage collector runs at
set moments of virtual time, since what it frees may still do something (a task's `finally` block).
"""

from __future__ import annotations

import contextlib
import contextvars
import gc
import math
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from random import Random
from types import FrameType
from typing import Any, TypeVar

from harness.environments import replacing
from harness.environments.environment import (
    EnvironmentFailed,
    Folder,
    Progress,
    SimulatedSystem,
    SystemUnderTest,
    name_problems,
)
from harness.environments.lacking import (
    NO_NAMES,
    NO_PACKETS,
    NO_RESOURCES,
    NO_TRUNCATION,
    all_but,
    system_lacks,
)
from harness.environments.simulation.cluster import HARNESS_HOST, SimulatedCluster
from harness.environments.simulation.loop import SimulationHung
from harness.environments.simulation.options import OPTIONS, SimulationOptions
from harness.environments.simulation.world import World
from nemesis.cluster import CAPABILITIES, Capability

T = TypeVar("T")

NETWORK = "the simulated network"
DISK = "the simulated disk"
HOST = "the simulated host"
_MECHANISMS = {
    "cut": NETWORK,
    "cut_client": NETWORK,
    "slow": NETWORK,
    "throttle": NETWORK,
    "lose": NETWORK,
    "reset": NETWORK,
    "half_open": NETWORK,
    "kill": HOST,
    "terminate": HOST,
    "pause": HOST,
    "clock": "the clock of the simulated host",
    "power_loss": DISK,
    "disk_error": DISK,
    "disk_full": DISK,
    "disk_stall": DISK,
    "disk_slow": DISK,
    "flip_bits": DISK,
    "lose_file": DISK,
    "wipe": DISK,
    "replace": replacing.MECHANISM,
    "leaders": "the system's own status",
    "ranges": "the system's own clients",
    "members": "the system's own clients",
}

_OF_DISKS = tuple(fault for fault, mechanism in _MECHANISMS.items() if mechanism == DISK)

COLLECT_EVERY_S = 20.0
"""Virtual seconds between two collections of garbage."""


class SimulationEnvironment:
    """Hosts, network, disks and clocks of one simulated world. Runs one run."""

    name = "simulation"
    is_virtual = True

    def __init__(self, seed: int = 0) -> None:
        """`seed` decides everything that the world draws."""
        self.seed = seed
        self.world: World | None = None
        """The world of the run, from `run` on; its loop's counters can be read when the run is over."""
        self._handlers: dict[signal.Signals, Any] = {}

    # The loop

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """See the role; the run and its clients see virtual time only. An environment runs once."""
        assert self.world is None, (
            "an environment has one world, and a world is run once: make another environment"
        )
        world = self.world = World(self.seed)
        try:
            with _garbage_collected_by_virtual_time(world):
                return world.run(main)
        except _Stuck as stuck:
            raise SimulationHung(str(stuck)) from stuck
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def now_and_then(self, act: Callable[[], None]) -> Iterator[None]:
        """See the role. Changes nothing in the world, not even the number of its steps."""
        loop = self._world().loop
        loop.on_wall_tick = act
        try:
            yield
        finally:
            loop.on_wall_tick = None

    def on_signal(self, number: signal.Signals, act: Callable[[], None]) -> None:
        """See the role. The handler may interrupt anything, so it only puts the act into the queue. If not one step has
        been made since the signal came last, somebody's code never comes to an end and no step ever will be made: then
        it does interrupt, and `run` raises SimulationHung."""
        loop = self._world().loop
        step_of_last: list[int] = []

        def on_arrival(_number: int, frame: FrameType | None) -> None:
            if step_of_last == [loop.events]:
                raise _Stuck(f"step {loop.events} of the simulation does not come to an end: {_where(frame)}")
            step_of_last[:] = [loop.events]
            loop.call_soon_threadsafe(act, context=contextvars.Context())

        before = signal.signal(number, on_arrival)
        self._handlers.setdefault(number, before)

    def _world(self) -> World:
        assert self.world is not None, "there is a world while `run` runs"
        return self.world

    # The role

    def capabilities(self, system: SystemUnderTest) -> Mapping[str, Capability]:
        """Everything, for a system that can run here at all."""
        refusal = _refusal(system)
        missing = dict.fromkeys(CAPABILITIES, refusal) if refusal else {}
        if not refusal:
            missing |= dict.fromkeys(("lose_bursts", "disturb"), NO_PACKETS) | {"names": NO_NAMES}
            missing["truncate"] = NO_TRUNCATION
            missing |= dict.fromkeys(("limit_cpu", "exhaust_memory", "limit_memory"), NO_RESOURCES)
            missing |= system_lacks(system, None if system.clock_port else f"{system.name} looks at no clock")
        if "memory-only" in system.supports and not refusal:
            missing |= dict.fromkeys(_OF_DISKS, f"{system.name} keeps nothing on a disk")
        return all_but(missing, _MECHANISMS)

    def check_options(self, options: Mapping[str, Any], nodes: Sequence[str]) -> None:
        """See the role."""
        _checked(options, nodes)

    async def create_cluster(
        self,
        system: SystemUnderTest,
        nodes: Sequence[str],
        folder: Folder,
        options: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> SimulatedCluster:
        """See the role. Only while `run` runs."""
        chosen = _checked(options, nodes)
        refusal = _refusal(system)
        if refusal is not None:
            raise EnvironmentFailed(refusal)
        assert isinstance(system, SimulatedSystem), "else it was refused"
        return SimulatedCluster(self._world(), system, nodes, folder, self.capabilities(system), chosen)

    # What a sweep may turn

    def draw_options(self, random: Random) -> dict[str, str | int | float | bool]:
        """A network and disks as they are found: from one rack to two coasts, from NVMe to a slow volume."""
        latency_ms = _log_uniform(random, 0.05, 20.0)
        return {
            "latency_ms": _rounded(latency_ms),
            "jitter_ms": _rounded(latency_ms * random.choice((0.1, 0.5, 1.0, 3.0))),
            "sync_ms": _rounded(_log_uniform(random, 0.05, 15.0)),
        }

    def round_trip_ms(self, options: Mapping[str, Any]) -> float:
        """The longest usual round trip between two nodes, a sync included."""
        chosen = SimulationOptions.of(options)
        return 2 * (chosen.latency_ms + chosen.jitter_ms) + chosen.sync_ms


class _Stuck(KeyboardInterrupt):
    """Ends code that catches any other exception and goes on."""


def _where(frame: FrameType | None) -> str:
    """What is running now."""
    if frame is None:
        return "nobody knows where"
    return f"it is in {frame.f_code.co_name}, {frame.f_code.co_filename}:{frame.f_lineno}"


def _refusal(system: SystemUnderTest) -> str | None:
    if isinstance(system, SimulatedSystem):
        return None
    return (
        f"{system.name} cannot be simulated: it would have to run its own code on simulated hosts "
        "(run_on); use the environments local or docker"
    )


def _checked(options: Mapping[str, Any], nodes: Sequence[str]) -> SimulationOptions:
    """Raises ValueError with everything that is wrong."""
    problems = name_problems(nodes)
    if HARNESS_HOST in nodes:
        problems.append(
            f"a node named {HARNESS_HOST!r}: that is the host from which the harness asks; rename it"
        )
    problems += [
        f"unknown option {name!r} of environment simulation (known: {', '.join(OPTIONS)})"
        for name in sorted(set(options) - set(OPTIONS))
    ]
    chosen = SimulationOptions()
    try:
        chosen = SimulationOptions.of({name: value for name, value in options.items() if name in OPTIONS})
        problems += chosen.problems()
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return chosen


@contextlib.contextmanager
def _garbage_collected_by_virtual_time(world: World) -> Iterator[None]:
    """What is there when the world begins is not looked at again; from then on each collection has its moment."""
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()

    def collect() -> None:
        gc.collect()
        # If nothing else is to come, this shall not hide it: the loop says who waits.
        if not world.loop.is_idle:
            world.loop.call_later(COLLECT_EVERY_S, collect, context=contextvars.Context())

    world.loop.call_later(COLLECT_EVERY_S, collect, context=contextvars.Context())
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


def _log_uniform(random: Random, least: float, most: float) -> float:
    return math.exp(random.uniform(math.log(least), math.log(most)))


def _rounded(value: float) -> float:
    """To three digits that read back as the same number."""
    return float(f"{value:.3g}")
