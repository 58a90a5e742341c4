"""The environment `local` on real processes. Each fault is shown from outside, past our own evidence.

The nodes are echo nodes (`echo_node.py`) that ping each other all the time, so what they hear tells who is cut off.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.environments import clocks
from harness.environments.clock_file import REAL_TIME, read_clock
from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import heal, read_ledger
from harness.environments.linux import vdso
from harness.environments.local.cluster import LocalCluster
from harness.environments.local.environment import LocalEnvironment
from nemesis.cluster import HealReport
from tests.harness.environments.echo_system import PATIENCE_S, ROOT, EchoSystem, TestFolder, ask, until
from tests.support.processes import alive, processes_with, wait_for_end_of_run, wait_until

pytestmark = pytest.mark.slow


@asynccontextmanager
async def running(
    path: Path, size: int = 2, system: EchoSystem | None = None, **options: Any
) -> AsyncIterator[LocalCluster]:
    names = [f"n{number}" for number in range(1, size + 1)]
    cluster = await LocalEnvironment().create_cluster(
        system or EchoSystem(), names, TestFolder(path), options
    )
    try:
        await cluster.start_all()
        await cluster.wait_ready(90)
        yield cluster
    finally:
        await cluster.destroy()


async def status(cluster: LocalCluster, node: str) -> dict[str, Any]:
    answer = await ask(cluster.direct_address(node)["client"])
    assert answer is not None, f"{node} does not answer"
    return answer


async def is_ahead(cluster: LocalCluster, node: str, offset_ms: int) -> bool:
    """Whether the clock of a node differs from ours by so much, however long the answer takes."""
    before = time.time_ns()
    shown = (await status(cluster, node))["clock_ns"] - offset_ms * 1_000_000
    return bool(before - 50_000_000 <= shown <= time.time_ns() + 50_000_000)


async def hears(cluster: LocalCluster, node: str, other: str, for_s: float = 0.15) -> bool:
    """Whether pings of `other` reach `node` now. A ping is due each 10 ms."""
    before = (await status(cluster, node))["heard"].get(other, 0)
    await asyncio.sleep(for_s)
    return bool((await status(cluster, node))["heard"].get(other, 0) > before)


async def is_deaf(cluster: LocalCluster, node: str, other: str) -> bool:
    return not await hears(cluster, node, other)


def wake_ups(pid: int) -> int:
    """How often a process has waited for something and got it."""
    (line,) = re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(line)


def pid_in_ledger(folder: Path, name: str) -> int:
    """The process that this cluster started under a name."""
    entries = read_ledger(folder / "ledger.jsonl").open_entries
    (pid,) = (entry.undo["pid"] for entry in entries if entry.undo.get("name") == name)
    return int(pid)


def stat_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_links_are_cut_in_one_direction_and_mended(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as cluster:
            await until(lambda: hears(cluster, "n2", "n1", 0.05))
            await until(lambda: hears(cluster, "n1", "n2", 0.05))

            evidence = await cluster.cut([("n1", "n2")])
            assert evidence.took_effect, evidence
            await until(lambda: is_deaf(cluster, "n2", "n1"))
            await until(lambda: hears(cluster, "n1", "n2", 0.05))
            rows = {(row["source"], row["target"]): row for row in await cluster.link_counters()}
            assert rows["n1", "n2"]["held"] > 0
            assert await ask(cluster.client_address("n1")["client"]) is not None, "clients are not cut"

            evidence = await cluster.mend([("n1", "n2")])
            assert evidence.took_effect, evidence
            await until(lambda: hears(cluster, "n2", "n1", 0.05))
            await until(lambda: hears(cluster, "n1", "n2", 0.05))

            evidence = await cluster.cut([("client", "n2")])
            assert evidence.took_effect, evidence
            assert await ask(cluster.client_address("n2")["client"], 0.2) is None
            assert await ask(cluster.client_address("n1")["client"]) is not None
            await until(lambda: hears(cluster, "n2", "n1", 0.05))
            report = await cluster.heal_all()
            assert report == HealReport(("mended client -> n2",), ())
            assert await ask(cluster.client_address("n2")["client"]) is not None

    asyncio.run(story())


def test_evidence_of_links_tells_a_fault_from_one_that_silently_did_nothing(tmp_path: Path) -> None:
    """Every verb of the proxy is asked for twice: honestly, and with a proxy that says yes and does nothing."""

    async def story() -> None:
        async with running(tmp_path) as cluster:
            link = [("n1", "n2")]
            honest = cluster._ask_proxy

            async def lying(verb: str, **arguments: Any) -> Any:
                return await honest(verb, **arguments) if verb in ("ping", "counters") else None

            async def attempts() -> dict[str, bool]:
                results = {
                    "slow": await cluster.slow(link, 60, 5),
                    "throttle": await cluster.throttle(link, 20_000),
                }
                await cluster.slow(link, 0)
                await cluster.throttle(link, None)
                results["reset"] = await cluster.reset(link)
                results["half_open"] = await cluster.half_open(link)
                results["cut"] = await cluster.cut(link)
                results["mend"] = await cluster.mend(link)
                return {verb: evidence.took_effect for verb, evidence in results.items()}

            verbs = ("slow", "throttle", "reset", "half_open", "cut", "mend")
            assert await attempts() == dict.fromkeys(verbs, True)

            cluster._ask_proxy = lying  # type: ignore[method-assign]
            assert await attempts() == {**dict.fromkeys(verbs, False), "mend": True}
            cluster._ask_proxy = honest  # type: ignore[method-assign]
            assert (await cluster.cut(link)).took_effect
            cluster._ask_proxy = lying  # type: ignore[method-assign]
            assert not (await cluster.mend(link)).took_effect, "a mend that did nothing is no heal"
            report = await cluster.heal_all()
            assert report.failed == (), "it was never told that the link is still cut"

    asyncio.run(story())


def test_processes_are_killed_paused_ended_and_started(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as cluster:
            first = cluster.pid("n1")
            assert first is not None

            evidence = await cluster.pause("n1")
            assert evidence.took_effect, evidence
            assert cluster.state("n1") == "paused"
            assert stat_state(first) == "T"
            assert await ask(cluster.direct_address("n1")["client"], 0.2) is None
            assert (await cluster.resume("n1")).took_effect
            assert stat_state(first) != "T"
            await until(lambda: hears(cluster, "n2", "n1", 0.05))

            await cluster.pause("n1")
            evidence = await cluster.kill("n1")
            assert evidence.took_effect, evidence
            assert not alive(first), "a stopped process is killed as well"
            assert cluster.state("n1") == "down"
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*cluster.direct_address("n1")["client"])
            assert (await cluster.kill("n1")).took_effect, "killing twice is killing once"
            assert (await cluster.resume("n1")).took_effect, "a node that is down needs no resuming"

            evidence = await cluster.start("n1")
            assert evidence.took_effect, evidence
            second = cluster.pid("n1")
            assert second not in (None, first)
            assert cluster.state("n1") == "up"
            await until(lambda: hears(cluster, "n2", "n1", 0.05))

            evidence = await cluster.terminate("n1")
            assert evidence.took_effect, evidence
            assert second is not None
            assert not alive(second)
            assert "signal SIGTERM" in evidence.probes[0]["after"]
            assert cluster.crashes() == (), "what we ended did not crash"

            await cluster.pause("n2")
            report = await cluster.heal_all()
            assert report == HealReport(("resumed n2", "started n1"), ()) or set(report.healed) == {
                "resumed n2",
                "started n1",
            }
            log = (await cluster.collect_logs())["n1"].read_text()
            assert log.count("n1 listens") == 3, "logs go on over restarts"

    asyncio.run(story())


def test_evidence_of_processes_and_clocks_tells_when_nothing_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "PROOF_S", 0.3)

    async def story() -> None:
        async with running(tmp_path) as cluster:
            honest = cluster._ask_supervisor

            async def lying(verb: str, **arguments: Any) -> Any:
                return None if verb == "signal" else await honest(verb, **arguments)

            cluster._ask_supervisor = lying  # type: ignore[method-assign]
            assert not (await cluster.pause("n1")).took_effect
            assert cluster.state("n1") == "up"
            cluster._ask_supervisor = honest  # type: ignore[method-assign]

            evidence = await cluster.set_clock("n1", 5_000)
            assert evidence.took_effect, evidence
            assert await is_ahead(cluster, "n1", 5_000)
            assert await is_ahead(cluster, "n2", 0), "the clock of n2 is its own"
            assert (await cluster.set_clock("n1", 0, 200_000)).took_effect, "drift is seen as well"
            assert (await cluster.reset_clock("n1")).took_effect
            assert await is_ahead(cluster, "n1", 0)

            # A node that ignores its clock file: nothing but the file has changed, and that proves nothing.
            async def real_time(address: Any) -> int:
                return time.time_ns()

            cluster.system.read_clock = real_time  # type: ignore[method-assign]
            assert not (await cluster.set_clock("n1", 5_000)).took_effect

            async def silent(address: Any) -> None:
                return None

            cluster.system.read_clock = silent  # type: ignore[method-assign]
            assert not (await cluster.set_clock("n2", 5_000)).took_effect
            report = await cluster.heal_all()
            assert set(report.healed) == {"reset the clock of n1", "reset the clock of n2"}
            clock_file = cluster.plan("n1").clock_file
            assert clock_file is not None
            assert read_clock(clock_file) == REAL_TIME

    asyncio.run(story())


def test_a_node_that_dies_by_itself_is_a_crash_with_its_last_words(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as cluster:
            pid = cluster.pid("n1")
            assert pid is not None
            os.kill(pid, signal.SIGSEGV)
            await until(lambda: cluster.state("n1") == "down")
            (crash,) = cluster.crashes()
            assert (crash.node, crash.pid, crash.status) == ("n1", pid, "signal SIGSEGV")
            assert crash.last_lines[-1] == "n1 listens"

    asyncio.run(story())


def test_a_node_that_never_gets_ready_says_why_and_everything_is_gone(tmp_path: Path) -> None:
    system = EchoSystem(fail={"n2": "no disk today"})

    async def story() -> None:
        with pytest.raises(EnvironmentFailed) as raised:
            async with running(tmp_path, system=system):
                pass
        text = str(raised.value)
        assert "n2 ended before it was ready: exit code 3" in text
        assert "this node was told to fail: no disk today" in text

    asyncio.run(story())
    content = read_ledger(tmp_path / "ledger.jsonl")
    assert content.open_entries == []
    assert processes_with(content.header.token) == []


def test_a_port_in_use_and_a_program_that_is_missing_are_clear(tmp_path: Path) -> None:
    async def story() -> None:
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.listen()
            port = stranger.getsockname()[1]
            with pytest.raises(
                EnvironmentFailed, match=f"port {port} of 127.0.0.1, meant for n1 .peer., is in use"
            ):
                async with running(tmp_path / "one", base_port=port):
                    pass
        system = EchoSystem()
        system.launch = lambda plan, nodes: type(
            "Launch", (), {"argv": ["/no/such/db"], "env": {}, "files": {}}
        )()  # type: ignore[method-assign,assignment,return-value]
        with pytest.raises(EnvironmentFailed, match=r"cannot start n1 \(/no/such/db\): .*No such file"):
            async with running(tmp_path / "two", system=system):
                pass

    asyncio.run(story())


def test_after_a_run_nothing_is_left(tmp_path: Path) -> None:
    async def story() -> tuple[str, list[int]]:
        async with running(tmp_path) as cluster:
            token = cluster.ledger.header.token
            assert len(processes_with(token)) >= 4, "supervisor, proxy, two nodes"
            return token, [address[1] for address in cluster.client_address("n1").values()]

    token, ports = asyncio.run(story())
    assert processes_with(token) == []
    assert_closed(ports)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["ledger.jsonl", "nodes"]
    assert heal(tmp_path) == HealReport()


def assert_closed(ports: list[int]) -> None:
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} still listens"


def abandoned(path: Path, *words: str) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    program = ROOT / "tests/harness/environments/abandoned_harness.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(program), str(path), *words], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the harness ended without a word"
    return process, json.loads(line)


def test_kill_9_of_the_harness_leaves_no_process_and_heal_is_idempotent(tmp_path: Path) -> None:
    """n1 is paused, n1 -> n2 is cut, the clock of n2 is wrong, when the harness dies without a word."""
    harness, told = abandoned(tmp_path)
    assert stat_state(told["pids"]["n1"]) == "T"
    with pytest.raises(EnvironmentFailed, match="is in progress"):
        heal(tmp_path)

    harness.kill()
    harness.wait()

    wait_for_end_of_run(tmp_path)
    assert not any(alive(pid) for pid in told["pids"].values())
    assert_closed(told["ports"])
    assert read_ledger(tmp_path / "ledger.jsonl").open_entries != []
    report = heal(tmp_path)
    assert report.failed == ()
    assert report.healed == (f"{tmp_path}/nodes/n2/clock shows real time again",)
    assert heal(tmp_path) == HealReport()


def test_kill_9_of_the_supervisor_leaves_no_process_either(tmp_path: Path) -> None:
    async def story() -> str:
        async with running(tmp_path) as cluster:
            await cluster.pause("n1")
            supervisor = cluster._supervisor_process
            assert supervisor is not None
            os.kill(supervisor.pid, signal.SIGKILL)
            why = await asyncio.wait_for(cluster.wait_for_failure(), PATIENCE_S)
            assert why.startswith(f"the supervisor (process {supervisor.pid}) has ended by itself")
            await until(lambda: not processes_with(cluster.ledger.header.token))
            with pytest.raises(EnvironmentFailed, match=r"the (proxy|supervisor) has ended"):
                await cluster.cut([("n1", "n2")])
            report = await cluster.heal_all()
            assert report.failed != ()
            return cluster.ledger.header.token

    assert processes_with(asyncio.run(story())) == []


def test_a_proxy_that_dies_is_a_failure_of_the_environment_and_no_crash(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as cluster:
            failure = asyncio.ensure_future(cluster.wait_for_failure())
            await cluster.kill("n1")
            await cluster.start("n1")
            assert not failure.done(), "a node that ends is no failure of the environment"

            proxy = pid_in_ledger(tmp_path, "proxy")
            os.kill(proxy, signal.SIGKILL)
            why = await asyncio.wait_for(failure, PATIENCE_S)
            assert why.startswith(f"the proxy (process {proxy}) has ended by itself: signal SIGKILL")
            assert cluster.crashes() == ()

    asyncio.run(story())
    assert heal(tmp_path) == HealReport()


def test_a_cluster_that_was_left_running_is_ended_by_heal(tmp_path: Path) -> None:
    harness, told = abandoned(tmp_path, "detach")
    assert harness.wait(PATIENCE_S) == 0
    assert told["sentence"].endswith(f"harness heal {tmp_path}")
    supervisor = pid_in_ledger(tmp_path, "supervisor")
    before = wake_ups(supervisor)
    wait_until(lambda: wake_ups(supervisor) >= before + 2, PATIENCE_S, "the supervisor looks for its parent")
    assert all(alive(pid) for pid in told["pids"].values())

    async def through_the_proxy() -> None:
        for port in told["ports"]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"n0 status\n")
            assert await asyncio.wait_for(reader.readline(), PATIENCE_S)
            writer.close()

    asyncio.run(through_the_proxy())
    report = heal(tmp_path)
    assert report.failed == ()
    assert len(report.healed) >= 3
    wait_for_end_of_run(tmp_path)
    assert heal(tmp_path) == HealReport()


def test_clocks_of_a_database_that_reads_no_clock_file(tmp_path: Path) -> None:
    """Its processes are told, and told again when they are started anew; the node's own word is the proof."""
    if (why := vdso.why_not()) is not None:
        pytest.skip(why)

    async def story() -> None:
        async with running(tmp_path, system=EchoSystem(clock_port=False)) as cluster:
            assert "vDSO" in cluster.capabilities()["clock"].mechanism
            await cluster.expect(["clock"])

            assert (await cluster.set_clock("n1", 60_000)).took_effect
            assert await is_ahead(cluster, "n1", 60_000)
            assert await is_ahead(cluster, "n2", 0)
            assert (await cluster.clock_offsets())["n1"] == pytest.approx(60_000, abs=5_000)
            await cluster.kill("n1")
            await cluster.start("n1")
            assert await is_ahead(cluster, "n1", 60_000), "its new process is told as the old one was"
            found = await cluster.set_clock("n1", 0, -1_000_000)
            assert found.took_effect, found
            await cluster.strobe_clock("n1", -90_000)
            assert await is_ahead(cluster, "n1", -90_000)
            report = await cluster.heal_all()
            assert report.failed == ()
            assert await is_ahead(cluster, "n1", 0)

    asyncio.run(story())
