"""Broken disks: who starts a node that ended by itself, and what a power loss, a kill and a disk do to each other."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from nemesis.disk import DAMAGE, DRAWN, SHAPES, Disk
from nemesis.holds import Holds
from nemesis.package import Situation
from nemesis.process import DISK, DOWN, PAUSE
from nemesis.schedule import Request, Step
from nemesis.targets import minority, most_hit
from tests.nemesis import virtual_time
from tests.nemesis.fake_cluster import EVERYTHING
from tests.nemesis.test_runner import TENTH, WHOLE, Run, kill, pause

NODES = ("n1", "n2", "n3", "n4", "n5")
UP = Situation(NODES, dict.fromkeys(NODES, "up"), {}, frozenset(EVERYTHING))
PACKAGE = Disk()


def disk(number: int, at: int, lasts: int, shape: str, target: str = "n1", **parameters: Any) -> Step:
    return Step(number, at * TENTH, "disk", shape, target, lasts * TENTH, {"draw": number, **parameters})


def restart(number: int, at: int, lasts: int, target: str) -> Step:
    return Step(number, at * TENTH, "restart", None, target, lasts * TENTH, {"draw": number, "down_ms": 300})


def starts(run: Run) -> list[object]:
    return [node for verb, node in run.cluster.calls if verb == "start"]


def test_power_fails_everywhere_at_once_and_everybody_is_started_again() -> None:
    run = Run(disk(1, 0, 20, "power-loss", "all"))
    virtual_time.run(run.runner.follow())
    assert run.of(1) == WHOLE
    assert run.states_at[1] == {"n1": "down", "n2": "down", "n3": "down"}
    assert set(run.cluster.states.values()) == {"up"}
    assert run.verbs()[:3] == ["power_loss"] * 3


def test_a_node_that_ended_by_itself_is_started_when_its_disk_is_healed() -> None:
    run = Run(disk(1, 0, 20, "eio", operation="sync", share=0.5))
    run.cluster.ends_on = {"eio-sync": 0.4}
    virtual_time.run(run.runner.follow())
    assert run.of(1) == WHOLE
    assert ("fail_disk", ("n1", "eio-sync", 0.5, 0.0)) in run.cluster.calls
    assert run.states_at[2]["n1"] == "down", "it ended by itself, and stayed down"
    assert run.verbs() == ["fail_disk", "heal_disk", "start"]
    assert run.cluster.states["n1"] == "up"
    assert run.event(1, "info", "stop")["healed"] is True


def test_a_node_that_lives_through_it_is_not_started() -> None:
    run = Run(
        disk(1, 0, 20, "slow", delay_ms=30.0),
        disk(2, 30, 20, "full"),
        disk(3, 60, 20, "eio", operation="write"),
    )
    virtual_time.run(run.runner.follow())
    assert run.verbs() == ["fail_disk", "heal_disk"] * 3
    modes = [what for verb, what in run.cluster.calls if verb == "fail_disk"]
    assert modes == [("n1", "slow", 1.0, 30.0), ("n1", "full", 1.0, 0.0), ("n1", "eio-write", 1.0, 0.0)]


def test_a_node_that_ends_right_after_the_heal_is_started_as_well() -> None:
    """What stood still comes to an end with the heal, and the process does not like what it hears."""
    run = Run(disk(1, 0, 20, "stall"))
    run.cluster.ends_on = {"stall": 0.1}
    virtual_time.run(run.runner.follow())
    assert run.verbs() == ["fail_disk", "heal_disk", "start"]
    assert run.cluster.states["n1"] == "up"


def test_who_kills_a_node_with_a_broken_disk_leaves_its_start_to_the_disk() -> None:
    """1. The disk of n1 fails. 2. n1 is killed. 3. The kill ends: no start. 4. The disk is healed, and n1 started."""
    run = Run(disk(1, 0, 60, "full"), kill(2, 10, 20, "n1"))
    virtual_time.run(run.runner.follow())
    assert run.verbs() == ["fail_disk", "kill", "heal_disk", "start"]
    assert "step 1 starts it" in run.event(2, "info", "stop")["evidence"]["probes"][0]["what"]
    assert run.cluster.states["n1"] == "up"
    assert run.runner.problems == []


def test_a_disk_that_is_healed_while_its_node_is_killed_leaves_the_start_to_the_kill() -> None:
    run = Run(disk(1, 0, 30, "full"), kill(2, 10, 60, "n1"))
    virtual_time.run(run.runner.follow())
    assert run.verbs() == ["fail_disk", "kill", "heal_disk", "start"]
    assert run.of(1)[-1] == ("info", "stop")
    assert run.cluster.states["n1"] == "up"
    assert run.runner.problems == []


@pytest.mark.parametrize(
    "other", [restart(2, 10, 20, "all"), disk(2, 10, 20, "power-loss", "n1"), pause(2, 10, 90, "n1")]
)
def test_whatever_else_stops_the_node_it_is_up_in_the_end(other: Step) -> None:
    for ends_after_s in (None, 0.5, 1.2):
        run = Run(disk(1, 0, 60, "eio", operation="sync"), other)
        run.cluster.ends_on = {} if ends_after_s is None else {"eio-sync": ends_after_s}
        virtual_time.run(run.runner.follow())
        assert set(run.cluster.states.values()) == {"up"}, ends_after_s
        assert run.runner.problems == []
        assert run.cluster.broken() == []


def test_a_pause_waits_until_the_disk_is_whole() -> None:
    run = Run(disk(1, 0, 20, "stall"), pause(2, 10, 60, "n1"))
    virtual_time.run(run.runner.follow())
    assert run.verbs() == ["fail_disk", "heal_disk", "pause", "resume"]


def test_a_disk_is_broken_by_one_step_and_never_that_of_a_stopped_node() -> None:
    holds = Holds()
    holds.take(DOWN, "n1", 8)
    holds.take(PAUSE, "n2", 8)
    holds.take(DISK, "n3", 9)
    plan = PACKAGE.plan(disk(1, 0, 10, "slow", "all"), UP, holds)
    assert plan.targets == ("n4", "n5")
    skipped = PACKAGE.plan(disk(2, 0, 10, "full", "n3"), UP, holds)
    assert "every candidate is stopped or its disk already fails" in str(skipped.skipped)


def test_drawn_sizes_leave_a_majority_that_can_go_on() -> None:
    """Of five nodes the disk of one fails and one is down: a drawn kill and a drawn disk take one more at most."""
    for draw in range(50):
        holds = Holds()
        holds.take(DISK, "n1", 8)
        kept = PACKAGE.plan(disk(draw, 0, 10, "eio", "minority", operation="sync"), UP, holds)
        assert len(kept.targets) == 1
        assert len(PACKAGE.plan(disk(draw, 0, 10, "power-loss", "minority"), UP, holds).targets) == 1


def test_the_steps_of_a_run_damage_a_minority_together() -> None:
    """Of three nodes one: had each step its own, no node would be left that has everything."""
    run = Run(
        disk(9, 0, 5, "slow"), *(disk(number, 30 * number, 10, "bit-flip", "one") for number in range(1, 9))
    )
    virtual_time.run(run.runner.follow())
    assert len(run.cluster.damaged) == 1
    holds = Holds()
    damaged = set()
    for draw in range(40):
        step = disk(draw, 0, 10, "lost-file", ("one", "minority", "leader")[draw % 3])
        plan = PACKAGE.plan(step, UP, holds)
        damaged |= set(plan.targets)
        for name in plan.targets:
            holds.release(DOWN, name, step.id)
    assert len(damaged) == 2, "a minority of five"


def test_a_quorum_is_damaged_only_where_somebody_asks_for_it() -> None:
    assert len(PACKAGE.plan(disk(1, 0, 10, "truncate", "majority"), UP, Holds()).targets) == 3
    assert len(PACKAGE.plan(disk(1, 0, 10, "bit-flip", "n1+n2+n3+n4"), UP, Holds()).targets) == 4
    for draw in range(20):
        step = disk(draw, 0, 10, "truncate", ("one", "leader", "minority")[draw % 3])
        assert len(PACKAGE.plan(step, UP, Holds()).targets) <= 2


@pytest.mark.parametrize("shape", DAMAGE)
def test_what_is_damaged_is_at_rest(shape: str) -> None:
    run = Run(disk(1, 0, 20, shape))
    virtual_time.run(run.runner.follow())
    assert run.of(1) == WHOLE
    assert run.cluster.damaged == {"n1"}
    assert run.cluster.states["n1"] == "up"


def test_a_damaged_node_that_refuses_to_start_is_said_to_be_unhealed() -> None:
    run = Run(disk(1, 0, 20, "bit-flip"))
    run.cluster.failing = {"start"}
    virtual_time.run(run.runner.follow())
    stop = run.event(1, "info", "stop")
    assert stop["healed"] is False
    assert "start n1" in stop["error"]


def test_damage_is_never_drawn_and_disks_that_fail_are_a_minority() -> None:
    seen = set()
    for seed in range(600):
        for size in (1, 2, 3, 5, 7):
            nodes = [f"n{number}" for number in range(1, size + 1)]
            aim = PACKAGE.draw(Request("disk"), Random(seed), nodes, first=seed % 3 == 0)
            assert aim.shape in DRAWN
            assert aim.target is not None
            seen.add((aim.shape, aim.target))
            if aim.shape != "power-loss":
                assert most_hit(aim.target, size) <= minority(size)
    assert {shape for shape, _ in seen} == set(DRAWN)
    assert {target for shape, target in seen if shape == "power-loss"} == {
        "one", "leader", "minority", "majority", "all",
    }  # fmt: skip


def test_what_an_environment_lacks_is_replaced_by_what_it_has() -> None:
    there = frozenset(EVERYTHING) - {"power_loss", "flip_bits"}
    situation = Situation(NODES, dict.fromkeys(NODES, "up"), {}, there)
    assert PACKAGE.plan(disk(1, 0, 10, "power-loss"), situation, Holds()).details["shape"] == "eio"
    assert "cannot be injected here" in str(
        PACKAGE.plan(disk(1, 0, 10, "bit-flip"), situation, Holds()).skipped
    )
    nothing = Situation(NODES, dict.fromkeys(NODES, "up"), {}, frozenset())
    assert PACKAGE.plan(disk(1, 0, 10, "eio"), nothing, Holds()).skipped is not None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_shape_takes_effect_and_leaves_every_node_up(shape: str, size: int) -> None:
    nodes = [f"n{number}" for number in range(1, size + 1)]
    for seed in range(10):
        aim = PACKAGE.draw(Request("disk", shape), Random(seed), nodes, first=seed % 2 == 0)
        run = Run(Step(1, 0, "disk", aim.shape, aim.target, 20 * TENTH, aim.parameters), size=size)
        virtual_time.run(run.runner.follow())
        assert run.event(1, "info", "start")["took_effect"], (shape, seed)
        assert run.event(1, "info", "stop")["healed"], (shape, seed)
        assert set(run.cluster.states.values()) == {"up"}
        assert run.cluster.broken() == []
