"""Each seed draws a scenario: the same one always, a valid one always, and over many seeds everything there is."""

from __future__ import annotations

import shlex
from collections import Counter
from random import Random
from typing import Any

import pytest

from harness import catalog
from harness.cli.test import command as single_run
from harness.cli.test import scenario_of
from harness.explore.swarm import choose_some, draw_scenario
from harness.scenario import Scenario, ScenarioError
from nemesis.cluster import FaultUnavailable
from tests.harness.explore.fakes import FakeEnvironment

SEEDS = range(1, 601)


@pytest.fixture(autouse=True)
def _fake_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.ENVIRONMENTS, "simulation", "tests.harness.explore.fakes:FakeEnvironment")


def drawn(**given: Any) -> list[Scenario]:
    return [draw_scenario(seed, {"workload": "bank", **given}) for seed in SEEDS]


def test_the_same_seed_draws_the_same_and_another_seed_another() -> None:
    first, again = drawn(), drawn()
    assert first == again
    assert len({scenario.to_toml() for scenario in first}) == len(SEEDS)


def test_over_many_seeds_every_knob_reaches_its_whole_range() -> None:
    scenarios = drawn()
    assert {one.nodes for one in scenarios} == {3, 4, 5, 6, 7}
    assert {one.replication for one in scenarios} == {3, 4, 5, 7}
    assert {one.ranges for one in scenarios} == set(range(1, 17))
    assert {one.processes for one in scenarios} == set(range(4, 21))
    for name, low, high in (
        ("rate", 20, 200),
        ("operation_timeout", 1, 6),
        ("intensity", 0.5, 3),
    ):
        values = [getattr(one, name) for one in scenarios]
        assert low <= min(values) < 1.1 * low, name
        assert 0.9 * high < max(values) <= high, name
    odd = sum(one.nodes % 2 for one in scenarios)
    assert odd > 0.8 * len(scenarios)
    assert all(3 <= one.replication <= one.nodes for one in scenarios)
    assert {one.environment for one in scenarios} == {"simulation"}
    assert {one.time_limit for one in scenarios} == {20.0}


def test_the_fault_mixes_are_subsets_of_what_may_be_had() -> None:
    mixes = [one.nemesis for one in drawn()]
    names = Counter(name for mix in mixes for name in mix.split(","))
    possible = set(names) - {"none"}
    assert {"partition", "kill", "pause", "restart", "clock"} <= possible
    need_a_spare_node = {"membership", "move"}
    for name in possible - need_a_spare_node:
        assert 0.35 * len(mixes) < names[name] < 0.65 * len(mixes), names
    for name in need_a_spare_node:
        assert 0.1 * len(mixes) < names[name] < 0.5 * len(mixes), names
    assert 0.01 * len(mixes) < names["none"] < 0.08 * len(mixes), names
    assert {len(mix.split(",")) for mix in mixes} >= set(range(1, len(possible - need_a_spare_node)))


def test_faults_that_are_asked_for_by_name_bound_the_mix() -> None:
    mixes = Counter(one.nemesis for one in drawn(nemesis="partition:bridge,kill@leader"))
    assert set(mixes) == {"partition:bridge", "kill@leader", "partition:bridge,kill@leader", "none"}
    assert {one.nemesis for one in drawn(nemesis="kill")} == {"kill"}
    assert {one.nemesis for one in drawn(nemesis="none")} == {"none"}


def test_what_is_given_stays_and_changes_no_other_knob() -> None:
    free = drawn()
    fixed = drawn(rate=50.0, ranges=3, workload_options={"accounts": 5})
    for one, other in zip(free, fixed, strict=True):
        assert (other.rate, other.ranges, other.workload_options) == (50.0, 3, {"accounts": 5})
        for name in ("nodes", "replication", "concurrency", "nemesis", "intensity", "environment_options"):
            assert getattr(one, name) == getattr(other, name), name


def test_nodes_and_replicas_fit_each_other_whichever_is_given() -> None:
    assert all(one.nodes >= 5 for one in drawn(replication=5))
    assert {one.nodes for one in drawn(replication=5)} == {5, 6, 7}
    assert {one.replication for one in drawn(nodes=3)} == {3}
    assert {one.replication for one in drawn(nodes=2)} == {2}
    assert {one.replication for one in drawn(nodes=1)} == {1}
    assert {one.nodes for one in drawn(replication=9)} == {9}
    with pytest.raises(ScenarioError, match="replication 5"):
        draw_scenario(1, {"workload": "bank", "nodes": 3, "replication": 5})


def test_faults_that_are_asked_for_find_the_nodes_that_they_take() -> None:
    """A move takes a node without a replica of the range."""
    for given in ({}, {"nodes": 5}, {"replication": 4}, {"nodes": 4, "replication": 3}):
        assert all(one.nodes > one.replication for one in drawn(nemesis="kill,move", **given))
    assert {(one.nodes, one.replication) for one in drawn(nemesis="all,move")} >= {(5, 3), (7, 5), (4, 3)}


def test_options_are_fixed_one_by_one() -> None:
    for one in drawn(environment_options={"latency_ms": 7.5}):
        assert one.environment_options["latency_ms"] == 7.5
        assert one.environment_options["sync_ms"] in (0.1, 5.0)
    for one in drawn(system_options={"tick-ms": 77}):
        assert one.system_options["tick_ms"] == 77


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"workload": "bank", "nemesis": "kil"}, ScenarioError, "unknown nemesis 'kil'"),
        ({"workload": "bank", "nemesis": "kill@n9", "nodes": 3}, ScenarioError, "n9"),
        ({"workload": "bank", "system": "oracle"}, ScenarioError, "unknown system 'oracle'"),
        ({"workload": "bank", "rate": -1.0}, ScenarioError, "rate -1"),
        ({"workload": "bank", "nemesis": "membership", "nodes": 3}, ScenarioError, "give --nodes 4 or more"),
        (
            {"workload": "bank", "environment": "local", "nemesis": "packet:burst"},
            FaultUnavailable,
            "packet:burst",
        ),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        draw_scenario(1, given)


def test_the_printed_command_of_a_seed_is_the_same_scenario() -> None:
    """What a sweep prints for a failure repeats exactly that run."""
    for scenario in drawn(workload_options={"accounts": 6})[:100]:
        words = shlex.split(scenario.command("harness"))
        assert words[:2] == ["harness", "test"]
        flags = single_run.make_context("test", words[2:]).params
        options = {
            f"{name}s": flags.pop(name) for name in ("system_option", "environment_option", "workload_option")
        }
        for name in ("scenario_file", "runs_dir", "dry_run", "keep_running"):
            flags.pop(name)
        assert scenario_of(None, options, flags) == scenario


def test_every_workload_takes_what_is_drawn() -> None:
    from harness.seeds import Seeds

    for workload in catalog.WORKLOADS:
        for seed in SEEDS[:40]:
            scenario = draw_scenario(seed, {"workload": workload})
            catalog.make_workload(scenario, Seeds(seed))


def test_the_databases_timing_fits_the_network_and_the_length_of_a_run() -> None:
    """An election takes ten round trips or more, and a leader that died is replaced well within a run."""
    timeouts = []
    for seed in SEEDS:
        scenario = draw_scenario(seed, {"workload": "bank"})
        options = scenario.system_options
        round_trip_ms = FakeEnvironment().round_trip_ms(scenario.environment_options)
        timeout_ms = float(options["tick_ms"]) * float(options["election_ticks"])
        assert 0.9 * 10 * round_trip_ms <= timeout_ms <= 3200, scenario
        assert float(options["election_ticks"]) >= 3 * float(options["heartbeat_ticks"])
        timeouts.append(timeout_ms)
    assert min(timeouts) < 300
    assert max(timeouts) > 2500


def test_now_and_then_nodes_are_overloaded() -> None:
    """What a node refuses for want of room is a path of its own, which no load that is drawn would reach."""
    most = [int(one.system_options["requests_most"]) for one in drawn()]
    overloaded = sum(value <= 10 for value in most)
    assert 0.02 * len(most) < overloaded < 0.3 * len(most), most


def test_a_part_is_chosen_in_order_and_seldom_nothing() -> None:
    parts = [choose_some("abcde", Random(seed)) for seed in range(2000)]
    assert all(part == sorted(part) for part in parts)
    empty = sum(not part for part in parts)
    assert 40 < empty < 140
    assert all(choose_some("a", Random(seed)) == ["a"] for seed in range(100))
    assert choose_some("", Random(1)) == []
