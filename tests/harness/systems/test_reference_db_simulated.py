"""The reference database on simulated hosts: the same node as in a process, on a simulated disk, clock and network."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.environments.simulation.cluster import SimulatedCluster
from harness.environments.simulation.disk import SimulatedFile
from harness.environments.simulation.environment import SimulationEnvironment
from harness.systems.reference_db import ReferenceDatabase, ReferenceSession
from nemesis.cluster import HealReport
from nemesis.coordinator import Coordinator
from nemesis.schedule import Step
from reference_db.client import Client, RangeSeen, RetryError
from reference_db.invariants.disk_image import RangeImage
from reference_db.ranges.replica import Replica
from reference_db.storage.file_engine import FileEngine
from reference_db.storage.raft_log import RaftLog
from tests.harness.environments.echo_system import TestFolder, until
from workloads.session import SessionError

NAMES = ["n1", "n2", "n3"]


def run(
    tmp_path: Path,
    story: Callable[[SimulatedCluster], Awaitable[None]],
    nodes: Sequence[str] = NAMES,
    **options: Any,
) -> None:
    environment = SimulationEnvironment(seed=9)

    async def whole() -> None:
        cluster = await environment.create_cluster(
            ReferenceDatabase(ranges=4, **options), nodes, TestFolder(tmp_path), {}
        )
        try:
            await cluster.start_all()
            await cluster.wait_ready(90)
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


def test_lives_that_were_followed_by_others_keep_no_memory(tmp_path: Path) -> None:
    """Else an hour of kills would take gigabytes: each life held all the data."""

    def alive(kind: type) -> int:
        return sum(isinstance(one, kind) for one in gc.get_objects())

    async def story(cluster: SimulatedCluster) -> None:
        client = await session(cluster, "n1")
        for number in range(20):
            await client.put(f"k{number}", "v" * 1000)
        await client.close()
        gc.collect()
        before = {kind: alive(kind) for kind in (Replica, RangeImage, RaftLog, SimulatedFile)}
        data = alive_bytes()
        for _ in range(10):
            await cluster.kill("n2")
            await cluster.start("n2")
            await asyncio.sleep(2)
        gc.collect()
        assert {kind: alive(kind) for kind in before} == before
        # The last of the dead may still hold what it had; nine have nothing.
        assert alive_bytes() < 2 * data

    def alive_bytes() -> int:
        engines = (one for one in gc.get_objects() if isinstance(one, FileEngine))
        return sum(len(value) for one in engines for value in one._values.values())

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


def test_the_placement_leader_is_named_beside_the_leaders_of_ranges(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await asyncio.sleep(5)
        before = await cluster.leaders()
        assert before["placement"] == before["1"]
        await cluster.kill(before["1"])
        await asyncio.sleep(14)
        after = await cluster.leaders()
        assert after["placement"] == after["1"] != before["1"]

    run(tmp_path, story, options={"placement": "on"})


def test_a_node_that_joins_later_is_down_until_it_is_started_and_then_a_member(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        assert cluster.state("n4") == "down"
        client = await session(cluster, "n1")
        await client.put("k", 1)
        assert not (await cluster.reshape("joined", "n4", 1)).took_effect
        assert (await cluster.start("n4")).took_effect
        (joined,) = (await cluster.reshape("joined", "n4", 1)).probes
        assert joined["after"] in ("joining", "active")
        assert await (await session(cluster, "n4")).get("k") == 1
        await asyncio.sleep(10)
        (going,) = (await cluster.reshape("decommission", "n2", 1)).probes
        assert (going["before"], going["after"]) == ("active", "draining")
        await asyncio.sleep(40)
        (gone,) = (await cluster.reshape("recommission", "n2", 1)).probes
        assert (gone["before"], gone["after"]) == ("decommissioned", "decommissioned")
        assert (await cluster.kill("n4")).took_effect
        assert (await cluster.start("n4")).took_effect, "it was named once, and remembers"
        assert await (await session(cluster, "n2")).get("k") == 1, "who has left still passes requests on"

    run(
        tmp_path,
        story,
        nodes=["n1", "n2", "n3", "n4"],
        options={"placement": "on", "joiners": 1, "placement_moves": 4},
    )


def test_too_many_nodes_that_join_later_are_refused(tmp_path: Path) -> None:
    system = ReferenceDatabase(options={"placement": "on", "joiners": 2})
    with pytest.raises(ValueError, match="of 4 nodes only 2 would begin, and each range has 3 replicas"):
        system.late_nodes(["n1", "n2", "n3", "n4"])
    with pytest.raises(ValueError, match="nodes join only with placement=on"):
        ReferenceDatabase(options={"joiners": 1})


def test_a_node_of_two_cores_is_two_stores_that_move_end_and_are_asked_together(tmp_path: Path) -> None:
    """Both of each node are started, asked, and gone with their node; a replica moves to a node that has none."""

    async def story(cluster: SimulatedCluster) -> None:
        client = await session(cluster, "n1")
        for number in range(20):
            await client.put(f"k{number}", number)
        leaders = await cluster.leaders()
        assert set(leaders) == {"1", "2", "3", "4"}
        assert set(leaders.values()) <= set(cluster.nodes)
        (moved,) = (await cluster.reshape("move", "n2", 7)).probes
        assert moved["proves"]
        on = [store.rpartition(".")[0] for store in moved["after"]]
        assert len(set(on)) == 3, "no two on one node"
        (cut,) = (await cluster.reshape("split", "n1", 3)).probes
        assert cut["proves"]
        drained = (await cluster.reshape("drain", "n3", 5)).probes
        assert drained
        assert not any(store.startswith("n3.") for one in drained for store in one["after"])
        for name in ("n1", "n2"):
            assert (await cluster.kill(name)).took_effect
            assert (await cluster.start(name)).took_effect
        client = await session(cluster, "n1")
        assert [await client.get(f"k{number}") for number in range(20)] == list(range(20))
        addresses = {name: cluster.direct_address(name) for name in cluster.nodes}
        states, silent = await cluster.system.final_states(addresses, digests=False)  # type: ignore[attr-defined]
        assert silent == []
        held = [(state.node.rpartition(".")[0], state.range) for state in states]
        assert len(held) == len(set(held)) == 15
        assert {state.node.rpartition(".")[2] for state in states} == {"1", "2"}

    run(tmp_path, story, nodes=["n1", "n2", "n3", "n4"], options={"cores": 2})


def test_a_range_that_cannot_be_moved_now_does_not_keep_a_node_from_being_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first refusal ended the whole step, and what had been moved before it was no evidence of anything."""
    original, asked = Client.move, []

    async def move(self: Client, range_id: int, source: str, target: str) -> RangeSeen:
        asked.append(range_id)
        if range_id == asked[0]:
            raise RetryError(True, "unavailable", f"range {range_id} is being moved already")
        return await original(self, range_id, source, target)

    async def story(cluster: SimulatedCluster) -> None:
        monkeypatch.setattr(Client, "move", move)
        evidence = await cluster.reshape("drain", "n3", 5)
        assert len(asked) > 1
        assert len(evidence.probes) == len(asked) - 1
        assert evidence.took_effect
        left = await cluster.system.final_states(  # type: ignore[attr-defined]
            {"n3": cluster.direct_address("n3")}, digests=False
        )
        assert [state.range for state in left[0]] == [str(asked[0])]
        evidence = await cluster.reshape("drain", "n3", 5)
        assert not evidence.took_effect
        assert "being moved already" in str(evidence.probes)

    run(tmp_path, story, nodes=["n1", "n2", "n3", "n4"])


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


def test_a_coordinator_that_is_to_die_anywhere_dies_at_a_step_that_is_come_to(tmp_path: Path) -> None:
    """All that is written lies in one range, so two steps of twelve are."""

    async def story(cluster: SimulatedCluster) -> None:
        client = await session(cluster, "n1")

        async def writes() -> None:
            for number in range(1000):
                with suppress(SessionError, TimeoutError):
                    async with asyncio.timeout(0.2), client.transaction() as transaction:
                        await transaction.put("a", number)

        writing = asyncio.get_running_loop().create_task(writes(), context=cluster.client_context())
        await asyncio.sleep(0.5)
        steps = Coordinator()
        step = Step(1, 0, "coordinator", None, "one", 0, {"draw": 5})
        died = set()
        for draw in range(6):
            evidence = await cluster.reshape("forsake", "n1", steps.drawn(step, random.Random(draw)))
            assert evidence.took_effect
            died.add(evidence.probes[0]["what"])
        assert died == {
            f"coordinators of n1 died at commit{which}" for which in ("-at-once-sent", "ted-at-once")
        }
        writing.cancel()

    run(tmp_path, story)
