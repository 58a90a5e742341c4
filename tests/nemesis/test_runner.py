"""The runner: overlapping steps, slow and failing verbs, skipped steps, and that nobody heals another's work."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from nemesis.runner import MOST_ATTEMPTS, NemesisRunner
from nemesis.schedule import Schedule, Step, draw, parse_nemesis
from tests.nemesis import virtual_time
from tests.nemesis.fake_cluster import FakeCluster
from tests.nemesis.test_schedule import PACKAGES

TENTH = 100_000_000
"""A tenth of a second, the unit of the stories below."""


class Run:
    """A schedule on a fake cluster, with the events that were recorded and the loop time of each."""

    def __init__(self, *steps: Step, size: int = 3) -> None:
        self.cluster = FakeCluster(size)
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.states_at: list[dict[str, str]] = []
        self.runner = NemesisRunner(self.cluster, Schedule.of(steps), PACKAGES, self.record)

    def record(self, type_: str, f: str, value: dict[str, Any]) -> None:
        self.events.append((type_, f, value))
        self.states_at.append(dict(self.cluster.states))

    def of(self, step: int) -> list[tuple[str, str]]:
        return [(type_, f) for type_, f, value in self.events if value["step"] == step]

    def event(self, step: int, type_: str, f: str) -> dict[str, Any]:
        return next(v for t, g, v in self.events if v["step"] == step and (t, g) == (type_, f))

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.cluster.calls]


WHOLE = [("invoke", "start"), ("info", "start"), ("invoke", "stop"), ("info", "stop")]


def kill(number: int, at: int, lasts: int, target: str) -> Step:
    return Step(number, at * TENTH, "kill", None, target, lasts * TENTH, {"draw": number})


def pause(number: int, at: int, lasts: int, target: str) -> Step:
    return Step(number, at * TENTH, "pause", None, target, lasts * TENTH, {"draw": number})


def partition(number: int, at: int, lasts: int, target: str) -> Step:
    return Step(number, at * TENTH, "partition", "one", target, lasts * TENTH, {"draw": number})


def test_targets_are_on_record_before_anything_is_done() -> None:
    run = Run(kill(1, 0, 10, "n2"))
    virtual_time.run(run.runner.follow())
    assert run.of(1) == WHOLE
    before = run.event(1, "invoke", "start")
    assert before["plan"]["targets"] == ["n2"]
    assert run.states_at[0]["n2"] == "up", "recorded before the act"
    started = run.event(1, "info", "start")
    assert started["targets"] == ["n2"]
    assert started["took_effect"] is True
    assert started["skipped"] is None
    assert started["evidence"]["probes"][0]["what"] == "n2 is down"
    assert run.states_at[1]["n2"] == "down"
    assert run.event(1, "info", "stop")["healed"] is True
    assert run.cluster.states["n2"] == "up"


def test_a_slow_step_delays_nobody_elses_heal() -> None:
    """Step 1 hangs while it starts; step 2 begins later, and is healed while step 1 still hangs."""
    run = Run(kill(1, 0, 20, "n1"), partition(2, 5, 10, "n2"))
    run.cluster.delays["kill"] = 20.0

    async def story() -> None:
        following = asyncio.create_task(run.runner.follow())
        await virtual_time.until(lambda: ("info", "stop") in run.of(2))
        assert run.of(1) == [("invoke", "start")], "step 1 still hangs"
        await following

    virtual_time.run(story())
    assert run.of(1) == WHOLE


def test_a_node_that_is_down_is_not_hit_again_and_the_step_is_skipped() -> None:
    run = Run(pause(9, 0, 1, "n3"), kill(1, 0, 60, "n1"), kill(2, 5, 10, "n1"), pause(3, 5, 10, "n1"))
    virtual_time.run(run.runner.follow())
    for step in (2, 3):
        assert run.of(step) == [("invoke", "start"), ("info", "start")]
        assert run.event(step, "info", "start")["took_effect"] is False
        assert "n1 cannot be hit now" in run.event(step, "info", "start")["skipped"]
    assert run.verbs().count("kill") == run.verbs().count("start") == 1


def test_a_step_without_anybody_to_hit_waits_for_somebody() -> None:
    """The only node is down when a pause is due. The first pause waits until it is up, later ones not so long."""
    run = Run(kill(1, 0, 50, "one"), pause(2, 5, 10, "one"), size=1)
    virtual_time.run(run.runner.follow())
    assert run.of(2) == WHOLE
    assert run.event(2, "info", "start")["took_effect"] is True

    run = Run(
        pause(1, 0, 5, "one"),
        kill(2, 20, 50, "one"),
        pause(3, 30, 10, "one"),
        pause(4, 60, 40, "one"),
        size=1,
    )
    virtual_time.run(run.runner.follow())
    assert run.event(3, "info", "start")["skipped"] is not None
    assert run.event(4, "info", "start")["took_effect"] is True, "n1 is up again before half of it is over"


def test_a_step_that_waits_in_vain_is_skipped_when_the_run_ends() -> None:
    run = Run(kill(1, 0, 600_000, "one"), pause(2, 5, 10, "one"), size=1)

    async def story() -> None:
        following = asyncio.create_task(run.runner.follow())
        await asyncio.sleep(60)
        assert run.of(2) == []
        await run.runner.heal_all()
        await following

    virtual_time.run(story())
    assert run.event(2, "info", "start")["skipped"] is not None


def test_a_kill_ends_a_pause_and_only_the_killer_starts() -> None:
    """1. n1 is paused. 2. It is killed. 3. The pause ends: nothing to resume. 4. The kill ends: n1 is started."""
    run = Run(pause(1, 0, 30, "n1"), kill(2, 10, 50, "n1"))
    virtual_time.run(run.runner.follow())
    assert run.verbs() == ["pause", "kill", "start"]
    assert run.event(1, "info", "stop")["healed"] is True
    assert "was killed while it was paused" in run.event(1, "info", "stop")["evidence"]["probes"][0]["what"]
    assert run.cluster.states["n1"] == "up"


def test_a_node_is_not_resumed_by_the_step_whose_pause_a_kill_ended() -> None:
    """1. n1 is paused by step 1. 2. Killed and started by step 2. 3. Paused by step 3. 4. Step 1 ends: still paused."""
    run = Run(pause(1, 0, 60, "n1"), kill(2, 10, 10, "n1"), pause(3, 40, 60, "n1"))
    virtual_time.run(run.runner.follow())
    assert run.verbs() == ["pause", "kill", "start", "pause", "resume"]
    after_first = next(
        i for i, (t, f, v) in enumerate(run.events) if (t, f, v["step"]) == ("info", "stop", 1)
    )
    assert run.states_at[after_first]["n1"] == "paused"


def test_links_of_overlapping_partitions_are_mended_by_the_last() -> None:
    run = Run(partition(1, 0, 20, "n1"), partition(2, 5, 60, "n2"))

    async def story() -> None:
        following = asyncio.create_task(run.runner.follow())
        await virtual_time.until(lambda: ("info", "stop") in run.of(1))
        assert run.cluster.cut_links == {("n1", "n2"), ("n2", "n1"), ("n2", "n3"), ("n3", "n2")}
        await following

    virtual_time.run(story())
    assert run.cluster.cut_links == set()


def test_two_steps_due_at_once_do_not_choose_the_same_node() -> None:
    for draws in range(20):
        steps = (Step(1, 0, "kill", None, "one", 10 * TENTH, {"draw": draws}),
                 Step(2, 0, "pause", None, "one", 10 * TENTH, {"draw": draws}))  # fmt: skip
        run = Run(*steps)
        run.cluster.delays["kill"] = 0.3
        virtual_time.run(run.runner.follow())
        targets = [run.event(step, "info", "start")["targets"] for step in (1, 2)]
        assert targets[0] != targets[1]


def test_drawn_sizes_leave_room_for_what_others_have_stopped() -> None:
    """Of five nodes two may fail: while two are down, another step that drew a minority takes one more at most."""
    for draws in range(20):
        late = Step(2, 5 * TENTH, "pause", None, "minority", 10 * TENTH, {"draw": draws})
        run = Run(kill(1, 0, 40, "n1+n2"), late, size=5)
        virtual_time.run(run.runner.follow())
        assert len(run.event(2, "info", "start")["targets"]) == 1


def test_half_of_the_steps_that_meet_a_partition_spare_the_majority() -> None:
    hit: list[str] = []
    for draws in range(40):
        late = Step(2, 5 * TENTH, "kill", None, "one", 10 * TENTH, {"draw": draws})
        run = Run(partition(1, 0, 40, "n2"), late)
        virtual_time.run(run.runner.follow())
        hit += run.event(2, "info", "start")["targets"]
    assert 20 <= hit.count("n2") <= 36, "half of them, and a third of the rest"
    assert {"n1", "n3"} <= set(hit)


def test_a_fault_that_silently_did_nothing_did_not_take_effect() -> None:
    run = Run(kill(1, 0, 10, "n1"))
    run.cluster.idle.add("kill")
    virtual_time.run(run.runner.follow())
    assert run.event(1, "info", "start")["took_effect"] is False
    assert run.event(1, "info", "start")["skipped"] is None
    assert run.of(1) == MOST_ATTEMPTS * WHOLE, "begun anew, but not for ever"


def test_a_step_without_effect_begins_anew_until_its_class_has_taken_effect() -> None:
    """The second kill does not: the class is owed nothing any more."""
    run = Run(kill(1, 0, 10, "n1"), kill(2, 40, 10, "n2"))
    run.cluster.idle.add("kill")

    async def story() -> None:
        following = asyncio.create_task(run.runner.follow())
        await asyncio.sleep(1.2)  # The first attempt is over, the second is half a second later.
        run.cluster.idle.clear()
        await asyncio.sleep(1.8)
        run.cluster.idle.add("kill")
        await following

    virtual_time.run(story())
    assert run.of(1) == 2 * WHOLE
    assert run.of(2) == WHOLE
    effects = [value["took_effect"] for type_, f, value in run.events if (type_, f) == ("info", "start")]
    assert effects == [False, True, False]
    assert run.cluster.states == {"n1": "up", "n2": "up", "n3": "up"}


def test_a_step_that_begins_anew_may_hit_somebody_else() -> None:
    """Whom it met first may be one where it never can take effect."""
    run = Run(kill(1, 0, 10, "one"))
    run.cluster.idle.add("kill")
    virtual_time.run(run.runner.follow())
    targets = [value["targets"] for type_, f, value in run.events if (type_, f) == ("invoke", "stop")]
    assert len(targets) == MOST_ATTEMPTS
    assert len({name for (name,) in targets}) > 1


def test_a_step_of_a_shape_that_was_asked_for_waits_as_long_as_it_takes() -> None:
    """A drift is owed still, though the class has taken effect by a bump."""
    bump = Step(1, 0, "clock", "bump", "one", 5 * TENTH, {"draw": 1, "offset_ms": 900.0})
    drift = Step(3, 30 * TENTH, "clock", "drift", "one", 10 * TENTH, {"draw": 1, "rate_ppm": 1e5})
    for requested, waits in ((("clock", "kill"), False), (("clock:drift", "kill"), True)):
        run = Run(bump, kill(2, 20, 60, "one"), drift, size=1)
        run.runner.schedule = Schedule.of(run.runner.schedule, requested)
        virtual_time.run(run.runner.follow())
        assert run.event(3, "info", "start")["took_effect"] is waits


def test_the_shape_on_record_is_the_one_that_was_cut() -> None:
    """Nobody is known to lead, so the partition of the leader is one of any node, and says so."""
    step = Step(1, 0, "partition", "leader", "leader", 10 * TENTH, {"draw": 1})
    run = Run(step)
    run.cluster.leading.clear()
    virtual_time.run(run.runner.follow())
    assert {value["shape"] for _, _, value in run.events} == {"one"}
    run = Run(step)
    virtual_time.run(run.runner.follow())
    assert {value["shape"] for _, _, value in run.events} == {"leader"}


def test_a_step_for_another_cluster_is_skipped_with_the_name_of_what_is_missing() -> None:
    run = Run(kill(1, 0, 10, "n9"), Step(2, 0, "partition", "ring", "one", 10 * TENTH), size=2)
    virtual_time.run(run.runner.follow())
    assert "'n9' is neither one of" in run.event(1, "info", "start")["skipped"]
    assert "ring needs at least 3 nodes" in run.event(2, "info", "start")["skipped"]
    assert run.verbs() == []


def test_a_verb_that_fails_is_recorded_and_the_others_go_on() -> None:
    run = Run(kill(1, 0, 10, "n1"), partition(2, 2, 10, "n2"))
    run.cluster.failing.add("kill")
    virtual_time.run(run.runner.follow())
    assert run.event(1, "info", "start")["error"] == "FaultFailed: kill n1: told to fail"
    assert run.event(1, "info", "start")["took_effect"] is False
    assert run.of(2) == WHOLE
    assert "told to fail" in run.runner.problems[0]


def test_leaders_that_cannot_be_asked_do_not_stop_a_step() -> None:
    run = Run(kill(1, 0, 40, "leader"))
    run.cluster.delays["leaders"] = 60.0
    virtual_time.run(run.runner.follow())
    assert run.event(1, "info", "start")["took_effect"] is True
    assert "no leader is known" in run.event(1, "invoke", "start")["plan"]["how"]


def test_stop_ends_every_step_at_once_and_begins_no_more() -> None:
    run = Run(kill(1, 0, 60_000, "n1"), partition(2, 0, 60_000, "n2"), pause(3, 30_000, 10, "n3"))

    async def story() -> None:
        following = asyncio.create_task(run.runner.follow())
        await virtual_time.until(lambda: len(run.runner.active) == 2 and ("info", "start") in run.of(2))
        assert [targets for _, targets in run.runner.active] == [("n1",), ("n2",)]
        report = await asyncio.wait_for(run.runner.heal_all(), 5)
        assert report.failed == ()
        await asyncio.wait_for(following, 5)

    virtual_time.run(story())
    assert run.of(1) == run.of(2) == WHOLE
    assert run.of(3) == []
    assert run.cluster.states["n1"] == "up"
    assert run.cluster.cut_links == set()
    assert run.runner.active == ()


def test_a_heal_that_fails_is_left_to_the_final_one_and_reported() -> None:
    run = Run(kill(1, 0, 60_000, "n1"))
    run.cluster.failing.add("start")

    async def story() -> None:
        run.runner.begin(run.runner.schedule.steps[0])
        await virtual_time.until(lambda: ("info", "start") in run.of(1))
        report = await run.runner.heal_all()
        assert report.healed == ("started or resumed n1",)

    virtual_time.run(story())
    assert run.event(1, "info", "stop")["healed"] is False
    assert run.event(1, "info", "stop")["error"].startswith("FaultFailed: start n1")


def test_a_rolling_restart_takes_one_node_after_the_other() -> None:
    step = Step(1, 0, "restart", None, "all", 60 * TENTH, {"draw": 1, "down_ms": 0})
    run = Run(step)
    virtual_time.run(run.runner.follow())
    assert [call for call in run.cluster.calls if call[0] != "leaders"] == [
        (verb, node) for node in ("n1", "n2", "n3") for verb in ("terminate", "start")
    ]
    assert run.event(1, "info", "stop")["healed"] is True


def test_nodes_whose_turn_has_not_come_are_anybodys_and_one_that_is_down_is_passed_over() -> None:
    """While n1 restarts, n2 is killed; n2's turn comes while it is down, and goes to n3."""
    rolling = Step(1, 0, "restart", None, "all", 100 * TENTH, {"draw": 1, "down_ms": 1000})
    run = Run(rolling, kill(2, 5, 90, "n2"))
    virtual_time.run(run.runner.follow())
    assert run.event(2, "info", "start")["took_effect"] is True
    assert [call for call in run.cluster.calls if call[0] == "terminate"] == [
        ("terminate", "n1"),
        ("terminate", "n3"),
    ]
    assert set(run.cluster.states.values()) == {"up"}


def test_a_restart_that_ends_early_starts_what_it_stopped() -> None:
    step = Step(1, 0, "restart", None, "all", 10 * TENTH, {"draw": 1, "down_ms": 60_000})
    run = Run(step)
    virtual_time.run(run.runner.follow())
    assert set(run.cluster.states.values()) == {"up"}
    assert [verb for verb in run.verbs() if verb == "terminate"] == ["terminate"]


def test_a_stop_takes_all_its_nodes_at_once_and_starts_them_at_the_end() -> None:
    step = Step(1, 0, "restart", "stop", "n1+n2", 10 * TENTH, {"draw": 1})
    run = Run(step)
    virtual_time.run(run.runner.follow())
    assert [call for call in run.cluster.calls if call[0] != "leaders"] == [
        ("terminate", "n1"),
        ("terminate", "n2"),
        ("start", "n1"),
        ("start", "n2"),
    ]
    assert run.event(1, "info", "start")["took_effect"]


def test_a_crash_loop_kills_whoever_is_ready_again_and_leaves_it_up_at_the_end() -> None:
    step = Step(1, 0, "restart", "crash-loop", "n1", 20 * TENTH, {"draw": 1, "down_ms": 100})
    run = Run(step)
    virtual_time.run(run.runner.follow())
    acts = [verb for verb, what in run.cluster.calls if what == "n1"]
    assert acts.count("kill") > 3
    assert acts == ["kill", "start"] * (len(acts) // 2)
    assert run.cluster.states["n1"] == "up"
    assert run.event(1, "info", "stop")["healed"]


def test_a_frozen_clock_stands_still_for_as_long_as_the_step_lasts() -> None:
    aim = PACKAGES["clock"].draw(parse_nemesis("clock:freeze@n1")[0], Random(1), ("n1", "n2", "n3"), True)
    run = Run(Step(1, 0, "clock", aim.shape, aim.target, 10 * TENTH, aim.parameters))
    seen: list[Any] = []
    run.runner.record = lambda type_, f, value: seen.append((f, dict(run.cluster.clocks)))
    virtual_time.run(run.runner.follow())
    assert ("start", {"n1": (0.0, -1_000_000.0)}) in seen
    assert run.cluster.clocks == {}


def test_a_strobe_jumps_to_and_fro_and_the_clock_is_right_at_the_end() -> None:
    parameters = {"draw": 1, "offset_ms": 500.0, "period_ms": 2.0}
    run = Run(Step(1, 0, "clock", "strobe", "n1", 60 * TENTH, parameters))
    virtual_time.run(run.runner.follow())
    jumps = [what for verb, what in run.cluster.calls if verb == "strobe_clock"]
    assert jumps[:3] == [("n1", 0.0), ("n1", 500.0), ("n1", 0.0)]
    assert len(jumps) >= 5
    assert run.verbs()[-1] == "reset_clock"
    assert run.cluster.clocks == {}


def bump(number: int, at: int, lasts: int, target: str) -> Step:
    return Step(number, at * TENTH, "clock", "bump", target, lasts * TENTH, {"draw": 1, "offset_ms": 900.0})


@pytest.mark.parametrize("stopped", ["n1", "n3"])
def test_whoever_stopped_for_a_clock_is_started_when_that_is_right_again(stopped: str) -> None:
    run = Run(bump(1, 0, 10, "n1"), bump(2, 20, 10, "n2"))
    run.cluster.stops_when_set = {"n1": stopped}
    virtual_time.run(run.runner.follow())
    assert run.states_at[2][stopped] == "down", (
        "it stopped itself, and stayed down as long as the clock was wrong"
    )
    assert [what for verb, what in run.cluster.calls if verb == "start"] == [stopped]
    assert run.verbs()[:3] == ["set_clock", "reset_clock", "start"]
    assert run.event(1, "info", "stop")["healed"]


@pytest.mark.parametrize(("other", "starter"), [
    (kill(2, 5, 20, "n3"), "the kill"),
    (Step(2, 5 * TENTH, "disk", "full", "n3", 20 * TENTH, {"draw": 2}), "the disk"),
])  # fmt: skip
def test_whom_another_step_has_stopped_or_will_start_is_left_to_it(other: Step, starter: str) -> None:
    run = Run(bump(1, 0, 10, "n1"), other)
    run.cluster.ends_on = {"full": 0.1}
    virtual_time.run(run.runner.follow())
    at_the_end_of_the_clock = run.events.index(("info", "stop", run.event(1, "info", "stop")))
    assert run.states_at[at_the_end_of_the_clock]["n3"] == "down"
    assert run.verbs().count("start") == 1, starter
    assert set(run.cluster.states.values()) == {"up"}


@pytest.mark.parametrize("before", [pause(1, 0, 5, "n3"), kill(1, 0, 5, "n3")])
def test_whoever_stops_when_it_goes_on_is_started_as_well(before: Step) -> None:
    """Stopped by another step when the clock was set, it saw how far its own was when it was back."""
    run = Run(before, bump(2, 1, 20, "n1"))
    run.cluster.stops_when_going_on = {"n3"}
    virtual_time.run(run.runner.follow())
    assert run.verbs()[-2:] == ["reset_clock", "start"]
    assert run.cluster.states["n3"] == "up"


def test_whoever_stops_under_two_clock_steps_is_started_by_the_second() -> None:
    """The first starts it, too: with the clock of the second it stops again, and is not there when that begins."""
    run = Run(bump(1, 0, 20, "n1"), bump(2, 10, 30, "n2"))
    run.cluster.stops_when_set = {"n1": "n3"}
    run.cluster.stops_when_going_on = {"n3"}
    virtual_time.run(run.runner.follow())
    assert [what for verb, what in run.cluster.calls if verb == "start"] == ["n3", "n3"]
    assert run.cluster.states["n3"] == "up"


def test_a_node_that_was_never_started_is_not_started_by_a_clock() -> None:
    run = Run(bump(1, 0, 10, "n1"))
    run.cluster.states["n3"] = "down"
    virtual_time.run(run.runner.follow())
    assert run.verbs() == ["set_clock", "reset_clock"]


def test_two_clock_steps_do_not_share_a_node() -> None:
    steps = (Step(1, 0, "clock", "bump", "n1", 40 * TENTH, {"draw": 1, "offset_ms": 50.0}),
             Step(2, 5 * TENTH, "clock", "drift", "n1", 10 * TENTH, {"draw": 1, "rate_ppm": 1e5}))  # fmt: skip
    run = Run(*steps)
    virtual_time.run(run.runner.follow())
    assert run.event(2, "info", "start")["skipped"] is not None
    assert run.of(1) == WHOLE


def test_a_step_runs_once() -> None:
    step = kill(1, 0, 10, "n1")
    run = Run(step)

    async def story() -> None:
        run.runner.begin(step)
        with pytest.raises(ValueError, match="step 1 was begun before"):
            run.runner.begin(step)
        await run.runner.heal_all()
        run.runner.begin(kill(2, 0, 10, "n2"))
        assert run.of(2) == [], "nothing begins after the end"

    virtual_time.run(story())


def test_a_schedule_needs_its_packages() -> None:
    with pytest.raises(ValueError, match="no package for kill"):
        NemesisRunner(FakeCluster(), Schedule.of([kill(1, 0, 1, "n1")]), {})


def test_drawn_schedules_leave_a_healthy_cluster_whatever_overlaps() -> None:
    """After many random schedules everything is up, mended, and on time."""

    async def story(seed: int) -> None:
        requests = parse_nemesis("partition,kill,pause,restart,clock")
        drawn = draw(requests, Random(seed), 1000 * TENTH, [f"n{i}" for i in range(1, 6)], PACKAGES)
        run = Run(*drawn, size=5)
        run.cluster.delays = {"kill": 0.2, "start": 1.5, "pause": 0.1, "mend": 0.3}
        await run.runner.follow()
        assert set(run.cluster.states.values()) == {"up"}
        assert run.cluster.cut_links == set()
        assert run.cluster.clocks == {}
        assert run.runner.problems == []
        for step in drawn:
            assert run.of(step.id) in (WHOLE, WHOLE[:2])

    for seed in range(15):
        virtual_time.run(story(seed))
