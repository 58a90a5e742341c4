"""Whatever any family draws is a schedule that a cluster can have, that repeats, and that leaves the cluster whole."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest

from harness.catalog import make_packages
from nemesis.cluster import CAPABILITIES, DiskMode
from nemesis.disk import DAMAGE
from nemesis.holds import Holds
from nemesis.package import Situation, check_schedule, choose
from nemesis.packet import (
    LEAST_BYTES_PER_S,
    LEAST_DELAY_MS,
    LEAST_PERIOD_MS,
    LEAST_SHARE,
    MOST_BYTES_PER_S,
    MOST_DELAY_MS,
    MOST_DELAY_OF_MANY_MS,
    MOST_PERIOD_MS,
    MOST_SHARE,
)
from nemesis.runner import NemesisRunner
from nemesis.schedule import ALL, BY_NAME_ONLY, LAST_END, NAMES, Request, Schedule, Step, draw
from tests.nemesis import virtual_time
from tests.nemesis.fake_cluster import EVERYTHING, FakeCluster

SECOND = 1_000_000_000
PACKAGES = make_packages()
SIZES = (1, 2, 3, 4, 5, 7)
SEEDS_OF_A_SIZE = 400
BOUNDS: dict[str, tuple[float, float]] = {
    "delay_ms": (1.9, MOST_DELAY_MS + 0.1),
    "jitter_ms": (0, MOST_DELAY_MS),
    "share": (0.009, 1.0),
    "bytes_per_s": (LEAST_BYTES_PER_S, MOST_BYTES_PER_S),
    "period_ms": (9.9, MOST_PERIOD_MS + 0.1),
    "offset_ms": (-60_000.1, 60_000.1),
    "rate_ppm": (-500_000.1, 500_000.1),
    "down_ms": (0, 1000),
    "draw": (0, 2**32),
}


def names_of(size: int) -> tuple[str, ...]:
    return tuple(f"n{number}" for number in range(1, size + 1))


def drawn(seed: int, size: int, intensity: float = 1.0) -> tuple[Schedule, int]:
    """A schedule of `--nemesis all` and the length of its run in ns, which is drawn as well."""
    random = Random(seed * 31 + size)
    nodes = names_of(size)
    duration_ns = random.choice((10, 15, 20, 25, 60, 120)) * SECOND
    requests = choose([ALL], PACKAGES, EVERYTHING, nodes).requests
    return draw(requests, random, duration_ns, nodes, PACKAGES, intensity), duration_ns


def test_every_name_of_a_nemesis_is_one_that_is_injected() -> None:
    assert set(PACKAGES) == set(NAMES)


@pytest.mark.parametrize("size", SIZES)
def test_thousands_of_schedules_are_valid_and_repeat_and_end_in_time(size: int) -> None:
    nodes = names_of(size)
    wanted = {request.name for request in choose([ALL], PACKAGES, EVERYTHING, nodes).requests}
    # Replicas move only where there are nodes without one, and one lags only behind a majority of others.
    assert wanted | {"move", "membership", "lagging", "dns"} >= set(PACKAGES) - BY_NAME_ONLY
    for seed in range(SEEDS_OF_A_SIZE):
        intensity = (0.5, 1.0, 3.0)[seed % 3]
        schedule, duration_ns = drawn(seed, size, intensity)
        assert drawn(seed, size, intensity)[0] == schedule, seed
        check_schedule(schedule, PACKAGES, nodes)
        assert set(schedule.faults()) == wanted, seed
        assert Schedule.from_dicts(schedule.to_dicts(), schedule.requested) == schedule
        for step in schedule:
            assert step.at_ns >= 0
            assert step.end_ns <= duration_ns, (seed, step)
            assert step.end_ns <= duration_ns * LAST_END or step is _first(schedule, step), (seed, step)
            assert msgspec.json.decode(msgspec.json.encode(step), type=Step) == step
            for name, value in step.parameters.items():
                if name in BOUNDS:
                    low, high = BOUNDS[name]
                    assert low <= value <= high, (seed, step)


def _first(schedule: Schedule, step: Step) -> Step:
    return next(one for one in schedule if one.fault == step.fault)


def test_the_strength_of_bad_links_leaves_operations_some_success() -> None:
    """Gentler where it lies on many: an answer then waits for several links in turn."""
    seen: Counter[tuple[str, str]] = Counter()
    for seed in range(3000):
        nodes = names_of(SIZES[seed % len(SIZES)])
        aim = PACKAGES["packet"].draw(Request("packet"), Random(seed), nodes, first=seed % 2 == 0)
        most = MOST_DELAY_OF_MANY_MS if aim.target in ("all", "majority") else MOST_DELAY_MS
        assert LEAST_DELAY_MS <= aim.parameters["delay_ms"] <= most
        assert 0 <= aim.parameters["jitter_ms"] <= 0.76 * aim.parameters["delay_ms"]
        assert LEAST_SHARE <= aim.parameters.get("share", LEAST_SHARE) <= MOST_SHARE
        assert aim.parameters.get("period_ms", LEAST_PERIOD_MS) >= LEAST_PERIOD_MS
        for shape in {str(aim.shape), aim.parameters.get("instead", str(aim.shape))}:
            seen[shape, aim.parameters["reach"]] += 1
            seen[shape, aim.parameters["direction"]] += 1
    assert {shape for shape, _ in seen} == set(PACKAGES["packet"].shapes)
    for shape in PACKAGES["packet"].shapes:
        for way in ("nodes", "pair", "clients", "everybody", "both", "out", "in"):
            assert seen[shape, way] > 0, (shape, way)


def test_damage_that_nobody_can_heal_is_in_no_drawn_schedule() -> None:
    for size in SIZES:
        for seed in range(50):
            assert not [
                step for step in drawn(seed, size)[0] if step.fault == "disk" and step.shape in DAMAGE
            ]


def test_every_step_can_be_planned_whatever_the_cluster_looks_like_by_then() -> None:
    """A plan hits nodes of the cluster, over links of the cluster, or says why it hits nobody."""
    hit = 0
    for seed in range(600):
        random = Random(seed)
        nodes = names_of(random.choice(SIZES))
        schedule, _ = drawn(seed, len(nodes))
        holds = Holds()
        for step in schedule:
            states: Any = {name: random.choice(("up", "up", "up", "down", "paused")) for name in nodes}
            leaders = {f"r{number}": random.choice(nodes) for number in range(random.randint(0, 3))}
            there = frozenset(name for name in CAPABILITIES if random.random() < 0.8)
            plan = PACKAGES[step.fault].plan(step, Situation(nodes, states, leaders, there), holds)
            assert set(plan.targets) <= set(nodes)
            assert bool(plan.targets) == (plan.skipped is None), (seed, step, plan)
            assert {end for link in plan.links for end in link} <= {*nodes, "client"}
            assert all(source != target for source, target in plan.links)
            hit += plan.skipped is None
    assert hit > 600


@pytest.mark.parametrize("size", SIZES)
def test_whole_runs_leave_every_node_up_and_nothing_broken(size: int) -> None:
    """All families at once, verbs that take a while, and processes that end by themselves on broken disks."""
    skipped = steps = 0
    for seed in range(12):
        schedule, _ = drawn(seed, size)
        random = Random(seed)
        cluster = FakeCluster(size)
        cluster.delays = {
            verb: random.choice((0.0, 0.05, 0.7))
            for verb in (
                "cut",
                "mend",
                "slow",
                "throttle",
                "kill",
                "start",
                "fail_disk",
                "heal_disk",
                "reset",
            )
        }
        modes: tuple[DiskMode, ...] = ("eio-sync", "eio-write", "full")
        cluster.ends_on = {mode: random.choice((0.0, 0.1, 1.0)) for mode in modes if random.random() < 0.5}
        cluster.ends_on["stall"] = 0.1
        events: list[tuple[str, str, dict[str, Any]]] = []

        def record(type_: str, f: str, value: dict[str, Any], to: Any = events) -> None:
            to.append((type_, f, value))

        runner = NemesisRunner(cluster, schedule, PACKAGES, record)

        async def story(runner: NemesisRunner = runner, cluster: FakeCluster = cluster) -> None:
            try:
                await asyncio.wait_for(runner.follow(), 600)
            except TimeoutError:
                raise AssertionError(f"a step waits for ever: {cluster.states}, {runner.active}") from None

        virtual_time.run(story())
        assert runner.problems == [], seed
        assert set(cluster.states.values()) == {"up"}, (seed, cluster.states)
        assert cluster.broken() == [], seed
        starts = [value for type_, f, value in events if (type_, f) == ("info", "start")]
        assert len(starts) == len(schedule)
        steps += len(starts)
        skipped += sum(value["skipped"] is not None for value in starts)
        stops = [value for type_, f, value in events if (type_, f) == ("info", "stop")]
        assert all(value["healed"] for value in stops), (seed, [v for v in stops if not v["healed"]])
    assert skipped < steps / 2, (skipped, steps)
