"""Real processes: they serve, survive kill -9, refuse clearly, sync what they promise, and tell nothing stale."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reference_db.client import Client, ClientError, DirectClient
from tests.reference_db.server.processes import ROOT, Processes

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    try:
        processes.start_all()
        yield processes
    finally:
        processes.stop()


async def eventually_put(client: Client, key: str, value: object, timeout_s: float = 60.0) -> float:
    """Put until it succeeds; returns how many seconds that took."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while True:
        try:
            await client.put(key, value)
            return loop.time() - begin
        except ClientError:
            assert loop.time() - begin < timeout_s, f"no put succeeded within {timeout_s} s"
            await asyncio.sleep(0.05)


def test_a_cluster_of_processes_serves_every_operation(cluster: Processes) -> None:
    async def story() -> None:
        await cluster.wait_ready()
        async with Client(cluster.clients["n1"]) as one, Client(cluster.clients["n2"]) as two:
            await one.put("a", {"deep": [1, None, "x"]})
            assert await two.get("a") == {"deep": [1, None, "x"]}
            assert await two.compare_and_set("z", None, 1)
            assert not await one.compare_and_set("z", None, 2)
            async with two.transaction() as transaction:
                await transaction.put("z", await transaction.get("z") + 1)
                await transaction.delete("a")
                assert await transaction.scan() == [("z", 2)]
                assert await transaction.get_many(["z", "a"]) == [2, None]
            assert await one.get_many(["a", "z"]) == [None, 2]
            assert await one.scan("", "") == [("z", 2)]
            with pytest.raises(ZeroDivisionError):
                async with one.transaction() as transaction:
                    await transaction.put("z", 1 // 0)
            assert await two.get("z") == 2
            status = await one.status()
            assert {one["leader"] for one in status["ranges"]} <= {"n1", "n2", "n3"}

    asyncio.run(story())


def test_acknowledged_writes_survive_kill_9_of_the_leader_and_of_everybody(cluster: Processes) -> None:
    async def story() -> None:
        await cluster.wait_ready()
        async with Client(cluster.clients["n1"]) as client:
            for number in range(30):
                await client.put(f"{number:02}", number)
            leaders = {one["id"]: one["leader"] for one in (await client.status())["ranges"]}
        victim = leaders[2]
        cluster.kill(victim)
        survivor = next(name for name in cluster.names if name != victim)
        async with Client(cluster.clients[survivor]) as client:
            await eventually_put(client, "9zz", "after")
        cluster.start_all()
        await cluster.wait_ready()
        for name in cluster.names:
            cluster.kill(name)
        cluster.start_all()
        await cluster.wait_ready()
        async with Client(cluster.clients[victim]) as client:
            assert dict(await client.scan()) == {f"{number:02}": number for number in range(30)} | {
                "9zz": "after"
            }

    asyncio.run(story())


def test_a_node_that_was_paused_does_not_answer_with_what_it_knew(cluster: Processes) -> None:
    async def story() -> None:
        await cluster.wait_ready()
        async with Client(cluster.clients["n1"]) as client:
            await client.put("0", "old")
            leader = (await client.status())["ranges"][0]["leader"]
        other = next(name for name in cluster.names if name != leader)
        async with Client(cluster.clients[leader]) as stale, Client(cluster.clients[other]) as client:
            cluster.signal(leader, signal.SIGSTOP)
            try:
                await eventually_put(client, "0", "new")
                question = asyncio.create_task(stale.get("0"))
                await asyncio.sleep(0)
            finally:
                cluster.signal(leader, signal.SIGCONT)
            answer = (await asyncio.gather(question, return_exceptions=True))[0]
            assert answer == "new" or isinstance(answer, ClientError), f"a paused leader answered {answer!r}"

    asyncio.run(story())


def test_a_write_is_synced_on_every_node_of_its_quorum(cluster: Processes) -> None:
    """One client, one write at a time: each write needs a sync on at least two of three nodes before it is
    acknowledged (not always the same two), and no node syncs more often than it writes batches."""

    async def counters() -> list[dict[str, int]]:
        found = []
        for name in cluster.names:
            async with Client(cluster.clients[name]) as client:
                found.append((await client.status())["counters"])
        return found

    async def story() -> None:
        await cluster.wait_ready()
        async with Client(cluster.clients["n1"]) as client:
            before = await counters()
            for number in range(50):
                await client.put("0", number)
            after = await counters()
        syncs = [now["syncs"] - then["syncs"] for now, then in zip(after, before, strict=True)]
        assert sum(syncs) >= 2 * 50, f"three nodes synced {syncs} times for 50 writes of a quorum of two"
        for now in after:
            assert now["syncs"] <= now["batches"] <= now["turns"] + 1

    asyncio.run(story())


def test_direct_clients_find_the_leaders(cluster: Processes) -> None:
    async def story() -> None:
        await cluster.wait_ready()
        client = DirectClient(cluster.clients)
        await client.connect()
        for key in ("0", "9", "i", "z"):
            await client.put(key, key)
            assert await client.get(key) == key
            assert await client.compare_and_set(key, key, "changed")
        client.close_now()

    asyncio.run(story())


def test_sigterm_ends_a_node_gracefully(cluster: Processes) -> None:
    async def story() -> None:
        await cluster.wait_ready()

    asyncio.run(story())
    cluster.signal("n2", signal.SIGTERM)
    assert cluster.running.pop("n2").wait(60) == 0
    assert "n2 stops" in cluster.log("n2")
    assert "Traceback" not in cluster.log("n2")


def run_server(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reference_db.server", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )


def test_a_node_that_cannot_start_says_why(cluster: Processes) -> None:
    async def story() -> None:
        await cluster.wait_ready()

    asyncio.run(story())
    # The data folder is in use; so are the ports.
    ended = run_server(cluster.folder / "n1.json")
    assert ended.returncode == 1
    assert "n1 cannot start: cannot open the data folder" in ended.stderr
    ended = run_server(cluster.folder / "missing.json")
    assert ended.returncode == 2
    assert "cannot read the configuration" in ended.stderr
    (cluster.folder / "bad.json").write_text("{}")
    assert run_server(cluster.folder / "bad.json").returncode == 2
