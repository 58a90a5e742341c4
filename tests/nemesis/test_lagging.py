"""A lagging follower: the order of things, and what counts as evidence. On a cluster that only takes notes."""

import asyncio
from typing import Any

import pytest

from nemesis.cluster import Evidence, Reshaping
from nemesis.holds import Holds
from nemesis.lagging import Lagging
from nemesis.package import Situation
from nemesis.partition import isolate
from nemesis.schedule import Step
from tests.nemesis.fake_cluster import FakeCluster
from tests.reference_db.virtual_loop import run_virtually

NODES = ("n1", "n2", "n3")
STEP = Step(3, 0, "lagging", None, "n2", 1_000_000_000, {"draw": 5})


class Cluster(FakeCluster):
    """Its logs reach back to the node for some attempts, and it sends a snapshot once the links are mended, or not."""

    def __init__(self, *, attempts: int = 0, sends: bool = True) -> None:
        super().__init__(len(NODES))
        self.attempts = attempts
        self.sends = sends
        self.sent = 4

    async def reshape(self, kind: Reshaping, node: str, draw: int) -> Evidence:
        self.calls.append((kind, node))
        if kind == "compact":
            self.attempts -= 1
            return self._evidence("compacted", self.attempts < 0)
        assert kind == "snapshots"
        more = self.sends and not self.cut_links
        return Evidence(True, [{"what": "snapshots", "after": self.sent + more, "proves": True}])


def tell(cluster: Cluster) -> tuple[Evidence, Evidence, list[Any]]:
    """A whole step; the evidence of its start and of its end, and the verbs in their order."""
    holds = Holds()

    async def story() -> tuple[Evidence, Evidence]:
        package = Lagging()
        situation = Situation(NODES, dict.fromkeys(NODES, "up"), {"1": "n1"})
        plan = package.plan(STEP, situation, holds)
        started = await package.start(STEP, plan, cluster, holds)
        assert cluster.cut_links == set(isolate(NODES, "n2"))
        await package.hold(STEP, plan, cluster, holds, asyncio.Event())
        return started, await package.stop(STEP, plan, cluster, holds)

    return *run_virtually(story()), [verb for verb, _ in cluster.calls]


def test_logs_are_cut_before_the_links_are_mended_and_a_snapshot_is_waited_for() -> None:
    started, ended, verbs = tell(Cluster(attempts=2))
    assert started.took_effect
    assert ended.took_effect
    assert verbs == ["cut", "compact", "compact", "compact", "snapshots", "mend", "snapshots"]
    assert ended.probes[-1] == {**ended.probes[-1], "before": 4, "after": 5, "proves": True}


def test_a_snapshot_that_nobody_sent_is_shown_and_leaves_nothing_cut() -> None:
    cluster = Cluster(sends=False)
    started, ended, _ = tell(cluster)
    assert started.took_effect
    assert ended.probes[-1]["proves"] is None
    assert not cluster.cut_links


def test_a_node_that_lacks_nothing_has_not_lagged_and_its_links_are_mended_all_the_same() -> None:
    cluster = Cluster(attempts=1000)
    started, ended, _ = tell(cluster)
    assert not started.took_effect
    assert ended.took_effect
    assert not cluster.cut_links


def test_it_takes_three_nodes_and_one_that_lags() -> None:
    package = Lagging()
    assert "takes 3 nodes, not 2" in str(package.objection(None, None, NODES[:2]))
    assert "one node lags" in str(package.objection(None, "all", NODES))
    with pytest.raises(ValueError, match="one node lags"):
        package.plan(
            Step(1, 0, "lagging", None, "all"), Situation(NODES, dict.fromkeys(NODES, "up"), {}), Holds()
        )


def test_who_lags_is_one_that_certainly_holds_something() -> None:
    """On many nodes with few ranges some hold no replica: to cut these off shows nothing."""
    for draw in range(20):
        step = Step(3, 0, "lagging", None, "one", 1_000_000_000, {"draw": draw})
        plan = Lagging().plan(step, Situation(NODES, dict.fromkeys(NODES, "up"), {"1": "n3"}), Holds())
        assert plan.targets == ("n3",)
    hit = set()
    for draw in range(20):
        step = Step(3, 0, "lagging", None, "one", 1_000_000_000, {"draw": draw})
        hit.update(Lagging().plan(step, Situation(NODES, dict.fromkeys(NODES, "up"), {}), Holds()).targets)
    assert hit == set(NODES), "where nobody is known to lead, anybody"
