"""Ranges under a schedule: asked again until the database does it, once or often, and never after the step is over."""

from __future__ import annotations

import pytest

from nemesis.cluster import CAPABILITIES, Capability, FaultUnavailable, NodeState
from nemesis.holds import Holds
from nemesis.package import Situation, choose, why_not
from nemesis.process import DOWN
from nemesis.ranges import MOST_OF_A_STEP, Membership, Move, NeedsSpareNode, Split, Transfer
from nemesis.runner import NemesisRunner
from nemesis.schedule import ALL, Request, Schedule, Step
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


FIVE = ("n1", "n2", "n3", "n4", "n5")


def test_a_node_that_was_emptied_is_given_something_back() -> None:
    cluster = FakeCluster()
    steps = (Step(1, 0, "membership", "drain", "n2", 5 * SECOND, {"draw": 7}),)
    runner = NemesisRunner(
        cluster,  # type: ignore[arg-type]
        Schedule.of(steps, ("membership",)),
        {"membership": Membership()},
        lambda *_: None,
    )
    virtual_time.run(runner.follow())
    assert runner.problems == []
    assert cluster.calls == [("drain", "n2"), ("refill", "n2")]


def membership(cluster: FakeCluster, shape: str, target: str) -> list[tuple[str, object]]:
    """What a step of this shape tells: start or stop, and whether it took effect, or is healed."""
    steps = (Step(1, 0, "membership", shape, target, 5 * SECOND, {"draw": 7}),)
    told: list[tuple[str, object]] = []

    def tell(type_: str, f: str, value: dict[str, object]) -> None:
        if type_ == "info":
            told.append((f, value.get("took_effect", value.get("healed"))))

    runner = NemesisRunner(
        cluster,  # type: ignore[arg-type]
        Schedule.of(steps, ("membership",)),
        {"membership": Membership()},
        tell,
    )
    virtual_time.run(runner.follow())
    assert runner.problems == []
    return told


def test_a_node_that_is_to_go_is_asked_to_stay_when_the_step_ends() -> None:
    cluster = FakeCluster()
    assert membership(cluster, "decommission", "n2") == [("start", True), ("stop", True)]
    assert cluster.calls == [("decommission", "n2"), ("recommission", "n2")]


def test_who_was_never_started_joins_and_who_was_stopped_does_not() -> None:
    step = Step(1, 0, "membership", "join", "one", 5 * SECOND, {"draw": 7})
    holds = Holds()
    holds.take(DOWN, "n2", 9)
    stopped: dict[str, NodeState] = {"n1": "up", "n2": "down", "n3": "up"}
    plan = Membership().plan(step, Situation(("n1", "n2", "n3"), stopped, {}), holds)
    assert "every node is in the cluster already" in (plan.skipped or "")
    cluster = FakeCluster()
    cluster.states["n3"] = "down"
    assert membership(cluster, "join", "one") == [("start", True), ("stop", True)]
    assert cluster.calls[1:] == [("start", "n3"), ("joined", "n3"), ("joined", "n3")]
    assert cluster.states["n3"] == "up"


def test_members_come_and_go_only_where_the_system_has_commands_for_it() -> None:
    capabilities = {name: Capability(name, True, "by test") for name in CAPABILITIES}
    capabilities["members"] = Capability("members", False, "none", "placement is off")
    packages = {"membership": Membership()}
    assert choose([Request("membership")], packages, capabilities, FIVE).requests  # type: ignore[arg-type]
    for shape in ("join", "decommission"):
        with pytest.raises(FaultUnavailable, match="placement is off"):
            choose([Request("membership", shape)], packages, capabilities, FIVE)  # type: ignore[arg-type]


@pytest.mark.parametrize("package", [Move(), Membership()])
def test_replicas_need_a_node_to_go_to(package: NeedsSpareNode) -> None:
    assert package.objection(None, None, FIVE) is None
    assert package.objection(None, None, FIVE[:3]) == (
        "each range has 3 replicas, one on each of 3 nodes, and none can go anywhere; give --nodes 4 or more, or a "
        "smaller --replication"
    )
    packages = {package.name: package, "transfer": Transfer()}
    capabilities = {name: Capability(name, True, "by test") for name in CAPABILITIES}
    assert [one.name for one in choose([ALL], packages, capabilities, FIVE).requests] == [  # type: ignore[arg-type]
        *sorted((package.name, "transfer")),
    ]
    alone = choose([ALL], packages, capabilities, FIVE[:3])  # type: ignore[arg-type]
    assert [one.name for one in alone.requests] == ["transfer"]
    with pytest.raises(ValueError, match="give --nodes 4 or more"):
        choose([Request(package.name)], packages, capabilities, FIVE[:3])  # type: ignore[arg-type]


@pytest.mark.parametrize("package", [Move(), Membership()])
def test_more_nodes_are_not_asked_for_where_the_system_has_no_ranges(package: NeedsSpareNode) -> None:
    capabilities = {name: Capability(name, True, "by test") for name in CAPABILITIES}
    capabilities["ranges"] = Capability("ranges", False, "none", "etcd has no ranges")
    packages = {package.name: package}
    request = Request(package.name)
    assert why_not(request, packages, capabilities, FIVE[:3]) == "etcd has no ranges"  # type: ignore[arg-type]
    with pytest.raises(FaultUnavailable, match="etcd has no ranges"):
        choose([request], packages, capabilities, FIVE[:3])  # type: ignore[arg-type]
