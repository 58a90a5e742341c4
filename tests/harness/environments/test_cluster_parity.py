"""What a cluster does, it does in every environment: the same stories on simulated hosts and on real processes.

The nodes are echo nodes that ping each other all the time; what they hear tells from outside who is cut off. The
simulated ones run the same program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from harness.environments.environment import Address, EnvironmentCluster, EnvironmentFailed
from harness.environments.local.environment import LocalEnvironment
from harness.environments.netns import hub
from harness.environments.netns.environment import NetnsEnvironment
from harness.environments.simulation.cluster import HARNESS_HOST, SimulatedCluster
from harness.environments.simulation.environment import SimulationEnvironment
from nemesis.cluster import FaultFailed, HealReport
from tests.harness.environments.echo_system import (
    PATIENCE_S,
    SOON_S,
    EchoSystem,
    TestFolder,
    ask,
    until,
)
from tests.support.requirements import skip_unless_required

Story = Callable[[EnvironmentCluster], Awaitable[None]]
Tell = Callable[..., None]


ENVIRONMENTS: dict[str, Callable[[], Any]] = {
    "simulation": lambda: SimulationEnvironment(seed=7),
    "local": LocalEnvironment,
    "netns": NetnsEnvironment,
}


@pytest.fixture(
    params=["simulation", *(pytest.param(name, marks=pytest.mark.slow) for name in ("local", "netns"))]
)
def tell(request: pytest.FixtureRequest, tmp_path: Path) -> Tell:
    """Tells a story of a cluster of echo nodes in one environment."""
    if request.param == "netns" and hub.objection() is not None:
        skip_unless_required("netns", str(hub.objection()))

    def run(story: Story, size: int = 2, system: EchoSystem | None = None) -> None:
        environment = ENVIRONMENTS[request.param]()
        names = [f"n{number}" for number in range(1, size + 1)]

        async def whole() -> None:
            cluster = await environment.create_cluster(
                system or EchoSystem(), names, TestFolder(tmp_path), {}
            )
            try:
                await cluster.start_all()
                await cluster.wait_ready(90)
                await story(cluster)
            finally:
                await cluster.destroy()

        environment.run(whole())

    return run


def on_host(cluster: EnvironmentCluster, host: str, question: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
    """Asks from where the harness or the clients are, which in a simulated world are different hosts."""
    context = cluster.world.host(host).context() if isinstance(cluster, SimulatedCluster) else None
    return asyncio.get_running_loop().create_task(question, context=context)


async def answer(
    cluster: EnvironmentCluster, node: str, timeout_s: float = PATIENCE_S
) -> dict[str, Any] | None:
    address: Address = cluster.direct_address(node)["client"]
    found: dict[str, Any] | None = await on_host(cluster, HARNESS_HOST, ask(address, timeout_s))
    return found


async def status(cluster: EnvironmentCluster, node: str) -> dict[str, Any]:
    found = await answer(cluster, node)
    assert found is not None, f"{node} does not answer"
    return found


async def serves_clients(cluster: EnvironmentCluster, node: str) -> bool:
    return await on_host(cluster, "client", ask(cluster.client_address(node)["client"], 0.2)) is not None


async def heard(cluster: EnvironmentCluster, node: str, other: str) -> int:
    return int((await status(cluster, node))["heard"].get(other, 0))


async def hears(cluster: EnvironmentCluster, node: str, other: str, for_s: float = 0.15) -> bool:
    """Whether pings of `other` reach `node` now. A ping is due each 10 ms."""
    before = await heard(cluster, node, other)
    await asyncio.sleep(for_s)
    return await heard(cluster, node, other) > before


async def is_deaf(cluster: EnvironmentCluster, node: str, other: str) -> bool:
    return not await hears(cluster, node, other)


def test_every_node_answers_the_harness_and_the_clients(tell: Tell) -> None:
    async def story(cluster: EnvironmentCluster) -> None:
        assert cluster.nodes == ("n1", "n2", "n3")
        for node in cluster.nodes:
            assert cluster.state(node) == "up"
            assert (await status(cluster, node))["node"] == node
            await until(lambda node=node: serves_clients(cluster, node))
        assert await cluster.leaders() == {"r1": "n1"}
        assert cluster.findings() == ()
        first = cluster.clock_ns()
        await asyncio.sleep(0.05)
        assert 0.04 < (cluster.clock_ns() - first) / 1e9 < 60
        logs = await cluster.collect_logs()
        assert sorted(logs) == ["n1", "n2", "n3"]
        assert all("listens" in path.read_text() for path in logs.values())

    tell(story, 3)


def test_links_are_cut_in_one_direction_and_mended(tell: Tell) -> None:
    async def story(cluster: EnvironmentCluster) -> None:
        await until(lambda: hears(cluster, "n2", "n1", 0.05))
        await until(lambda: hears(cluster, "n1", "n2", 0.05))

        evidence = await cluster.cut([("n1", "n2")])
        assert evidence.took_effect, evidence
        await until(lambda: is_deaf(cluster, "n2", "n1"))
        await until(lambda: serves_clients(cluster, "n1"))
        assert (await cluster.cut([("n1", "n2")])).took_effect, "cutting twice is cutting once"

        evidence = await cluster.mend([("n1", "n2")])
        assert evidence.took_effect, evidence
        await until(lambda: hears(cluster, "n2", "n1", 0.05))
        await until(lambda: hears(cluster, "n1", "n2", 0.05))

        evidence = await cluster.cut([("client", "n2")])
        assert evidence.took_effect, evidence
        assert not await serves_clients(cluster, "n2")
        await until(lambda: serves_clients(cluster, "n1"))
        await until(lambda: hears(cluster, "n2", "n1", 0.05))
        report = await cluster.heal_all()
        assert report == HealReport(("mended client -> n2",), ())
        await until(lambda: serves_clients(cluster, "n2"))

    tell(story)


def test_links_are_slowed_throttled_reset_and_halved_with_proof(tell: Tell) -> None:
    async def story(cluster: EnvironmentCluster) -> None:
        link = [("n1", "n2")]
        await until(lambda: hears(cluster, "n2", "n1", 0.05))
        for act in (
            lambda: cluster.slow(link, 60, 5),
            lambda: cluster.slow(link, 0),
            lambda: cluster.throttle(link, 20_000),
            lambda: cluster.throttle(link, None),
            lambda: cluster.reset(link),
            lambda: cluster.half_open(link),
            lambda: cluster.mend(link),
        ):
            evidence = await act()
            assert evidence.took_effect, evidence
        await until(lambda: hears(cluster, "n2", "n1", 0.05))
        await cluster.slow(link, 60, 5)
        report = await cluster.heal_all()
        assert report == HealReport(("restored the speed of n1 -> n2",), ())

    tell(story)


def test_programs_are_killed_ended_and_started(tell: Tell) -> None:
    async def story(cluster: EnvironmentCluster) -> None:
        evidence = await cluster.kill("n1")
        assert evidence.took_effect, evidence
        assert cluster.state("n1") == "down"
        assert await answer(cluster, "n1", SOON_S) is None
        assert not await serves_clients(cluster, "n1")
        assert (await cluster.kill("n1")).took_effect, "killing twice is killing once"
        assert (await cluster.resume("n1")).took_effect, "a node that is down needs no resuming"
        with pytest.raises(FaultFailed, match="cannot pause n1: it is down"):
            await cluster.pause("n1")

        evidence = await cluster.start("n1")
        assert evidence.took_effect, evidence
        assert cluster.state("n1") == "up"
        await until(lambda: hears(cluster, "n2", "n1", 0.05))

        evidence = await cluster.terminate("n1")
        assert evidence.took_effect, evidence
        assert cluster.state("n1") == "down"
        assert cluster.crashes() == (), "what we ended did not crash"
        report = await cluster.heal_all()
        assert report == HealReport(("started n1",), ())
        log = (await cluster.collect_logs())["n1"].read_text()
        assert log.count("n1 listens") == 3, "logs go on over restarts"

    tell(story)


def test_programs_are_paused_and_go_on(tell: Tell) -> None:
    async def story(cluster: EnvironmentCluster) -> None:
        await until(lambda: hears(cluster, "n2", "n1", 0.05))
        evidence = await cluster.pause("n1")
        assert evidence.took_effect, evidence
        assert cluster.state("n1") == "paused"
        assert await answer(cluster, "n1", SOON_S) is None
        await until(lambda: is_deaf(cluster, "n2", "n1"))
        assert (await cluster.pause("n1")).took_effect, "pausing twice is pausing once"
        assert (await cluster.resume("n1")).took_effect
        assert cluster.state("n1") == "up"
        await until(lambda: hears(cluster, "n2", "n1", 0.05))

        await cluster.pause("n1")
        assert (await cluster.kill("n1")).took_effect, "a paused program is killed as well"
        await cluster.pause("n2")
        report = await cluster.heal_all()
        assert sorted(report.healed) == ["resumed n2", "started n1"]
        assert report.failed == ()

    tell(story)


def test_clocks_jump_drift_and_are_put_right(tell: Tell) -> None:
    """The clock of a node is its own: it moves by what was asked for, and the others' do not."""

    async def story(cluster: EnvironmentCluster) -> None:
        async def ahead_ms() -> tuple[float, float]:
            """The least and the most that n1 can be ahead of n2: the one is asked between two answers of the other."""
            first, ours, last = [(await status(cluster, node))["clock_ns"] for node in ("n2", "n1", "n2")]
            return (ours - last) / 1e6 - 5, (ours - first) / 1e6 + 5

        async def is_ahead(wanted_ms: float) -> bool:
            least, most = await ahead_ms()
            return least <= wanted_ms <= most

        assert await is_ahead(0)
        evidence = await cluster.set_clock("n1", 5_000)
        assert evidence.took_effect, evidence
        assert await is_ahead(5_000)
        assert (await cluster.set_clock("n1", -3_000)).took_effect
        assert await is_ahead(-3_000)
        await cluster.strobe_clock("n1", 700)
        assert await is_ahead(700)
        assert (await cluster.set_clock("n1", 0, 200_000)).took_effect, "drift is seen as well"
        began, before, middle = cluster.clock_ns(), await ahead_ms(), cluster.clock_ns()
        await asyncio.sleep(0.5)
        late, after, ended = cluster.clock_ns(), await ahead_ms(), cluster.clock_ns()
        assert after[0] - before[1] <= (ended - began) / 1e6 / 5
        assert after[1] - before[0] >= (late - middle) / 1e6 / 5
        assert (await cluster.reset_clock("n1")).took_effect
        assert await is_ahead(0)
        await cluster.set_clock("n2", 1_000)
        await cluster.kill("n2")
        report = await cluster.heal_all()
        assert report == HealReport(("started n2", "reset the clock of n2"), ())

    tell(story)


def test_a_node_that_ignores_or_hides_its_clock_proves_nothing(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.environments import clocks

    monkeypatch.setattr(clocks, "PROOF_S", 0.3)

    async def story(cluster: EnvironmentCluster) -> None:
        system: Any = cluster.system  # type: ignore[attr-defined]
        honest = system.read_clock

        async def of_another(_address: Any) -> int:
            shown: int = await honest(cluster.direct_address("n2"))
            return shown

        async def silent(_address: Any) -> None:
            return None

        system.read_clock = of_another
        assert not (await cluster.set_clock("n1", 5_000)).took_effect
        system.read_clock = silent
        assert not (await cluster.set_clock("n1", 5_000)).took_effect

    tell(story)


def test_a_node_that_dies_by_itself_is_a_crash_with_its_last_words(tell: Tell) -> None:
    async def story(cluster: EnvironmentCluster) -> None:
        async def crash() -> None:
            _, writer = await asyncio.open_connection(*cluster.direct_address("n1")["client"])
            writer.write(b"crash\n")
            await writer.drain()

        began = cluster.clock_ns()
        await on_host(cluster, HARNESS_HOST, crash())
        await until(lambda: cluster.state("n1") == "down")
        (end,) = cluster.crashes()
        assert (end.node, end.status) == ("n1", "exit code 3")
        assert end.last_lines, "what it printed last is kept"
        assert end.ended_ns is not None
        assert began <= end.ended_ns <= cluster.clock_ns()

    tell(story)


def test_a_node_that_never_gets_ready_says_why(tell: Tell) -> None:
    async def story(_cluster: EnvironmentCluster) -> None:
        raise AssertionError("it was never ready")

    with pytest.raises(EnvironmentFailed) as raised:
        tell(story, system=EchoSystem(fail={"n2": "no disk today"}))
    text = str(raised.value)
    assert "n2 ended before it was ready: exit code 3" in text
    assert "this node was told to fail: no disk today" in text


def test_a_name_that_is_no_node_is_refused(tell: Tell) -> None:
    async def story(cluster: EnvironmentCluster) -> None:
        with pytest.raises(ValueError, match="unknown node 'n9'; nodes: n1, n2"):
            await cluster.kill("n9")
        with pytest.raises(ValueError, match=r"n1 (->|to) n9"):
            await cluster.cut([("n1", "n9")])

    tell(story)
