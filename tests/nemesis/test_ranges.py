"""Ranges under a schedule: asked again until the database does it, once or often, and never after the step is over."""

from __future__ import annotations

from nemesis.ranges import MOST_OF_A_STEP, Split
from nemesis.runner import NemesisRunner
from nemesis.schedule import Schedule, Step
from tests.nemesis import virtual_time
from tests.nemesis.fake_cluster import FakeCluster

SECOND = 1_000_000_000


def ran(cluster: FakeCluster, shape: str) -> list[tuple[str, str, object]]:
    steps = (Step(1, 0, "split", shape, "one", 5 * SECOND, {"draw": 7}),)
    events: list[tuple[str, str, object]] = []
    runner = NemesisRunner(
        cluster,  # type: ignore[arg-type]
        Schedule.of(steps, ("split",)),
        {"split": Split()},
        lambda type_, f, value: events.append((type_, f, value.get("took_effect", value.get("healed")))),
    )
    virtual_time.run(runner.follow())
    assert runner.problems == []
    return events


def test_a_split_that_is_done_at_once_is_asked_for_once() -> None:
    cluster = FakeCluster()
    assert ran(cluster, "once") == [
        ("invoke", "start", None),
        ("info", "start", True),
        ("invoke", "stop", None),
        ("info", "stop", True),
    ]
    assert [verb for verb, _ in cluster.calls] == ["split"]


def test_one_that_is_refused_is_asked_for_again_and_proves_nothing_if_it_stays_so() -> None:
    cluster = FakeCluster()
    cluster.idle.add("split")
    assert ran(cluster, "once")[1] == ("info", "start", False)
    assert len(cluster.calls) > 30


def test_often_is_a_few_times_through_nodes_that_are_up() -> None:
    cluster = FakeCluster()
    cluster.states["n2"] = "down"
    ran(cluster, "often")
    assert 3 <= len(cluster.calls) <= MOST_OF_A_STEP
    assert {node for _, node in cluster.calls} <= {"n1", "n3"}
