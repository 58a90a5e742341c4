"""Names that fail to resolve: whose, how, and never those of a node that could not look them up anyway."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from nemesis.dns import NAMES, Dns
from nemesis.holds import Holds
from nemesis.package import Situation, choose
from nemesis.schedule import Request, Step, parse_nemesis
from tests.nemesis.fake_cluster import EVERYTHING, FakeCluster

NODES = ("n1", "n2", "n3")


def test_a_step_takes_the_names_of_its_nodes_away_and_gives_them_back() -> None:
    cluster, holds, package = FakeCluster(), Holds(), Dns()
    step = Step(4, 0, "dns", "wrong", "n2+n3", 1_000_000_000, {"draw": 1})

    async def story() -> None:
        plan = package.plan(step, Situation(NODES, dict(cluster.states), {}), holds)
        assert plan.targets == ("n2", "n3")
        assert (await package.start(step, plan, cluster, holds)).took_effect
        assert cluster.lacks_names == {"n2": True, "n3": True}
        again = package.plan(
            Step(5, 0, "dns", "fail", "n2"), Situation(NODES, dict(cluster.states), {}), holds
        )
        assert "lacks its names already" in str(again.skipped)
        assert (await package.stop(step, plan, cluster, holds)).took_effect
        assert cluster.lacks_names == {}
        assert holds.holders(NAMES, "n2") == ()

    asyncio.run(story())


def test_a_node_that_is_stopped_is_left_alone() -> None:
    situation = Situation(NODES, {"n1": "down", "n2": "paused", "n3": "up"}, {})
    for draw in range(20):
        plan = Dns().plan(Step(1, 0, "dns", "fail", "one", 0, {"draw": draw}), situation, Holds())
        assert plan.targets == ("n3",)


def test_shapes_that_so_few_nodes_cannot_have() -> None:
    """Of two nodes, the other's name could only lead to oneself; of one there is no other name."""
    package = Dns()
    for seed in range(30):
        assert package.draw(Request("dns"), Random(seed), ("n1", "n2"), True).shape == "fail"
    packages = {"dns": package}
    with pytest.raises(ValueError, match="wrong takes 3 nodes or more"):
        choose(parse_nemesis("dns:wrong"), packages, EVERYTHING, ("n1", "n2"))
    with pytest.raises(ValueError, match="takes 2 nodes or more"):
        choose(parse_nemesis("dns"), packages, EVERYTHING, ("n1",))
