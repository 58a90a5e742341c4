"""The reference database on simulated hosts: the same node as in a process, on a simulated disk, clock and network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from harness.environments.simulation.cluster import SimulatedCluster
from harness.environments.simulation.environment import SimulationEnvironment
from harness.systems.reference_db import ReferenceDatabase, ReferenceSession
from nemesis.cluster import HealReport
from tests.harness.environments.echo_system import TestFolder, until

NAMES = ["n1", "n2", "n3"]


def run(tmp_path: Path, story: Callable[[SimulatedCluster], Awaitable[None]], **options: Any) -> None:
    environment = SimulationEnvironment(seed=9)

    async def whole() -> None:
        cluster = await environment.create_cluster(
            ReferenceDatabase(ranges=4, **options), NAMES, TestFolder(tmp_path), {}
        )
        try:
            await cluster.start_all()
            await cluster.wait_ready(20)
            await story(cluster)
            assert cluster.findings() == ()
        finally:
            await cluster.destroy()

    environment.run(whole())


async def session(cluster: SimulatedCluster, node: str) -> ReferenceSession:
    """A session of a client, whose connection belongs to the clients' host."""
    opening = cluster.system.open_session(cluster.client_address(node), node)  # type: ignore[attr-defined]
    opened: ReferenceSession = await asyncio.get_running_loop().create_task(
        opening, context=cluster.client_context()
    )
    return opened


def test_what_was_acknowledged_outlives_kills_and_a_power_loss_of_all(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        client = await session(cluster, "n1")
        for number in range(50):
            await client.put(f"k{number}", number)
        await client.close()
        await cluster.kill("n2")
        await asyncio.gather(*(cluster.power_loss(name) for name in NAMES))
        assert [cluster.state(name) for name in NAMES] == ["down"] * 3
        assert (await cluster.heal_all()).failed == ()
        client = await session(cluster, "n3")
        assert [await client.get(f"k{number}") for number in range(50)] == list(range(50))
        assert cluster.crashes() == ()
        assert cluster.marks()["a node started with what an earlier life left"] >= 3

    run(tmp_path, story)


def test_a_node_whose_sync_fails_ends_itself_and_comes_back_when_the_disk_works(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.fail_disk("n2", "eio-sync")
        client = await session(cluster, "n1")
        await client.put("k", 1)
        await until(lambda: cluster.state("n2") == "down")
        (crash,) = cluster.crashes()
        assert (crash.node, crash.status) == ("n2", "exit code 70")
        assert "CRITICAL server: stopping at once" in "\n".join(crash.last_lines)
        await client.put("k", 2)
        report = await cluster.heal_all()
        assert report == HealReport(("healed the disk of n2", "started n2"), ())
        client = await session(cluster, "n2")
        assert await client.get("k") == 2

    run(tmp_path, story)


def test_a_node_that_cannot_open_its_data_says_so_and_stays_down(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        client = await session(cluster, "n1")
        await client.put("k", 1)
        await cluster.kill("n2")
        assert (await cluster.lose_file("n2")).took_effect
        report = await cluster.heal_all()
        assert report.healed == ()
        assert "n2 ended before it was ready: exit code 1" in report.failed[0]
        assert "n2 cannot start: cannot open the data on the disk" in report.failed[0]
        assert await client.get("k") == 1

    run(tmp_path, story)


def test_a_node_hands_over_what_it_leads_before_it_ends_in_order(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        before = await cluster.leaders()
        leader = before["1"]
        evidence = await cluster.terminate(leader)
        assert evidence.took_effect, evidence
        assert evidence.probes[0]["after"] == "down (exit code 0)"
        after = await cluster.leaders()
        assert after["1"] != leader, "nobody had to wait for an election"
        assert cluster.crashes() == ()

    run(tmp_path, story)


def test_the_same_seed_takes_the_same_steps(tmp_path: Path) -> None:
    def steps(folder: Path) -> tuple[int, int]:
        seen: list[tuple[int, int]] = []

        async def story(cluster: SimulatedCluster) -> None:
            client = await session(cluster, "n1")
            for number in range(20):
                await client.put(f"k{number}", number)
            await cluster.kill("n1")
            await asyncio.sleep(3)
            seen.append((cluster.world.loop.events, cluster.world.loop.digest))

        run(folder, story)
        return seen[0]

    assert steps(tmp_path / "a") == steps(tmp_path / "b")
