"""Bad links: which ones, how bad, and what becomes of them where several steps lie on one."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemesis.cluster import CLIENT, NodeState
from nemesis.holds import Holds
from nemesis.package import Plan, Situation
from nemesis.packet import SHAPES, Packet, links_of, worst
from nemesis.schedule import Request, Step
from tests.nemesis import virtual_time
from tests.nemesis.fake_cluster import EVERYTHING, FakeCluster
from tests.nemesis.test_runner import TENTH, WHOLE, Run, partition

NODES = ("n1", "n2", "n3")
UP = Situation(NODES, dict.fromkeys(NODES, "up"), {}, frozenset(EVERYTHING))
PACKET = Packet()


def packet(number: int, at: int, lasts: int, shape: str, target: str = "n1", **parameters: Any) -> Step:
    given = {"draw": number, "reach": "nodes", "direction": "out", **parameters}
    return Step(number, at * TENTH, "packet", shape, target, lasts * TENTH, given)


def test_the_links_of_a_node() -> None:
    draw = Random(1)
    assert links_of(["n1"], NODES, "nodes", "out", draw) == (("n1", "n2"), ("n1", "n3"))
    assert links_of(["n1"], NODES, "nodes", "in", draw) == (("n2", "n1"), ("n3", "n1"))
    assert links_of(["n1"], NODES, "clients", "both", draw) == ((CLIENT, "n1"), ("n1", CLIENT))
    assert len(links_of(["n1"], NODES, "everybody", "both", draw)) == 6
    assert len(links_of(NODES, NODES, "nodes", "both", draw)) == 6
    one = links_of(["n1"], NODES, "pair", "both", draw)
    assert len(one) == 2
    assert set(one[0]) == set(one[1])
    with pytest.raises(ValueError, match="reach 'moon', direction 'both'"):
        links_of(["n1"], NODES, "moon", "both", draw)
    assert links_of(["n1"], ("n1",), "clients", "in", draw) == ((CLIENT, "n1"),), (
        "a single node has its clients"
    )


def test_several_steps_on_one_link_are_as_bad_as_the_worst() -> None:
    assert worst("slow", [(100.0, 5.0), (20.0, 15.0)]) == (100.0, 15.0)
    assert worst("slow", []) == (0.0, 0.0)
    assert worst("lose", [(0.1, 8.0), (0.3, 1.0)]) == (0.3, 8.0)
    assert worst("lose", []) == (0.0, 1.0)
    assert worst("disturb", [(0.1, 0.0, 0.0), (0.05, 0.0, 0.2)]) == (0.1, 0.0, 0.2)
    assert worst("throttle", [64_000, 32_000]) == 32_000
    assert worst("throttle", []) is None


def test_one_step_ends_and_leaves_the_other() -> None:
    """1. Step 1 delays by 100 ms. 2. Step 2 by 20 ms on the same links. 3. Step 1 ends. 4. Step 2 ends."""
    run = Run(
        packet(1, 0, 30, "slow", delay_ms=100.0, jitter_ms=1.0),
        packet(2, 10, 60, "jitter", delay_ms=20.0, jitter_ms=10.0),
    )
    seen: list[Any] = []

    def record(type_: str, f: str, value: dict[str, Any]) -> None:
        run.events.append((type_, f, value))
        if type_ == "info":
            seen.append((value["step"], f, run.cluster.delays_ms.get(("n1", "n2"))))

    run.runner.record = record
    virtual_time.run(run.runner.follow())
    assert seen == [
        (1, "start", (100.0, 1.0)),
        (2, "start", (100.0, 10.0)),
        (1, "stop", (20.0, 10.0)),
        (2, "stop", None),
    ]
    assert run.event(1, "info", "stop")["healed"] is True


def test_connections_are_reset_again_and_again_until_the_end() -> None:
    run = Run(packet(1, 0, 55, "reset", direction="both", period_ms=1000.0))
    virtual_time.run(run.runner.follow())
    assert run.of(1) == WHOLE
    resets = [links for verb, links in run.cluster.calls if verb == "reset"]
    assert len(resets) == 6
    assert resets[0] == (("n1", "n2"), ("n1", "n3")), "both directions share their connections"


def test_what_is_cut_as_well_is_mended_with_the_cut() -> None:
    """Step 1 makes links half-open; step 2 cuts them; step 1 ends: its mend would have mended the cut."""
    run = Run(packet(1, 0, 20, "half-open"), partition(2, 10, 40, "n1"))
    still_cut: list[bool] = []

    def record(type_: str, f: str, value: dict[str, Any]) -> None:
        run.events.append((type_, f, value))
        if (value["step"], type_, f) == (1, "info", "stop"):
            still_cut.append(("n1", "n2") in run.cluster.cut_links)

    run.runner.record = record
    virtual_time.run(run.runner.follow())
    assert still_cut == [True]
    assert run.cluster.halved == run.cluster.cut_links == set()


def test_nothing_is_laid_on_a_link_that_is_cut() -> None:
    holds = Holds()
    for link in (("n1", "n2"), ("n3", "n1")):
        holds.take("cut", link, 9)
    plan = PACKET.plan(packet(1, 0, 10, "slow", delay_ms=50.0), UP, holds)
    assert plan.links == ()
    assert "every link of it is cut by another step" in str(plan.skipped)
    holds.release("cut", ("n3", "n1"), 9)
    assert PACKET.plan(packet(1, 0, 10, "slow", delay_ms=50.0), UP, holds).links == (("n1", "n3"),)


def test_where_no_link_has_both_ends_running_the_step_waits() -> None:
    """Its effect could not be shown there; on one link that works it can."""
    step = packet(1, 0, 10, "slow", delay_ms=50.0)
    states: dict[str, NodeState] = dict.fromkeys(NODES, "down")
    for running, is_skipped in ((NODES[:1], True), (NODES, False)):
        states.update(dict.fromkeys(running, "up"))
        plan = PACKET.plan(step, Situation(NODES, states, {}, frozenset(EVERYTHING)), Holds())
        assert (plan.skipped is not None) is is_skipped
        if is_skipped:
            assert "no link of it has both ends running" in str(plan.skipped)


def test_what_an_environment_lacks_is_replaced_by_what_it_has() -> None:
    there = frozenset(EVERYTHING) - {"lose"}
    situation = Situation(NODES, dict.fromkeys(NODES, "up"), {}, there)
    lossy = PACKET.plan(packet(1, 0, 10, "loss", share=0.2, delay_ms=40.0), situation, Holds())
    assert lossy.details["shape"] == "slow"
    assert lossy.details["conditions"] == {"slow": (40.0, 0.0)}
    flaky = PACKET.plan(packet(1, 0, 10, "flaky", share=0.2, delay_ms=40.0), situation, Holds())
    assert flaky.details["shape"] == "flaky"
    assert list(flaky.details["conditions"]) == ["slow"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_shape_takes_effect_and_leaves_nothing(shape: str, size: int) -> None:
    nodes = [f"n{number}" for number in range(1, size + 1)]
    for seed in range(10):
        aim = PACKET.draw(Request("packet", shape), Random(seed), nodes, first=seed % 2 == 0)
        step = Step(1, 0, "packet", aim.shape, aim.target, 20 * TENTH, aim.parameters)
        run = Run(step, size=size)
        virtual_time.run(run.runner.follow())
        assert run.event(1, "info", "start")["took_effect"], (shape, seed)
        assert run.event(1, "info", "stop")["healed"]
        assert run.cluster.broken() == [], (shape, seed)


class Link(FakeCluster):
    """Verbs take a moment each, of different lengths, so that they would pass each other if they could."""

    async def slow(self, links: Any, delay_ms: float, jitter_ms: float = 0.0) -> Any:
        self.delays["slow"] = (delay_ms * 7919) % 1.0
        return await super().slow(links, delay_ms, jitter_ms)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.integers(1, 30),
        st.sampled_from(SHAPES),
        st.sampled_from(["n1", "n2", "all"]),
        st.sampled_from(["both", "out", "in"]),
        st.integers(5, 300),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_overlaps_each_link_is_as_bad_as_the_worst_that_lies_on_it(rows: list[Any]) -> None:
    """Against the obvious model: whenever nothing is under way, a link is as bad as the worst of its open steps."""
    steps = [
        packet(
            number, at, lasts, shape, target,
            direction=direction, delay_ms=float(size), jitter_ms=size / 10, share=size / 1000,
            bytes_per_s=size * 1000, period_ms=700.0,
        )
        for number, (at, lasts, shape, target, direction, size) in enumerate(rows, 1)
    ]  # fmt: skip
    run = Run(*steps)
    cluster = run.runner.cluster = run.cluster = Link()
    open_steps: dict[int, tuple[Step, Plan]] = {}
    under_way: set[int] = set()

    def record(type_: str, f: str, value: dict[str, Any]) -> None:
        number = value["step"]
        if type_ == "invoke":
            under_way.add(number)
            return
        under_way.discard(number)
        if f == "start":
            open_steps[number] = run.runner._active[number]
        else:
            del open_steps[number]
        if under_way:
            return
        wanted: dict[Any, list[Any]] = {}
        for _, plan in open_steps.values():
            for kind, strength in plan.details["conditions"].items():
                for link in plan.links:
                    wanted.setdefault((kind, link), []).append(strength)
        assert cluster.delays_ms == {k[1]: worst("slow", v) for k, v in wanted.items() if k[0] == "slow"}
        assert cluster.losses == {k[1]: worst("lose", v) for k, v in wanted.items() if k[0] == "lose"}
        assert cluster.limits == {k[1]: worst("throttle", v) for k, v in wanted.items() if k[0] == "throttle"}
        assert cluster.disturbed == {
            k[1]: worst("disturb", v) for k, v in wanted.items() if k[0] == "disturb"
        }

    run.runner.record = record
    virtual_time.run(run.runner.follow())
    assert open_steps == {}
    assert run.runner.problems == []
    assert cluster.broken() == []
