"""Every fault in real containers, proven from outside of the code that injects it; and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from harness.environments.disks.disks import why_no_layers
from harness.environments.disks.mounts import TABLE, mount_points
from harness.environments.docker.cluster import DockerCluster
from harness.environments.docker.engine import Engine
from harness.environments.docker.environment import DockerEnvironment
from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import heal, read_ledger
from harness.environments.linux.cgroups import why_no_groups
from harness.environments.processes import processes_with_token
from nemesis.cluster import CLIENT, FaultFailed, FaultUnavailable
from tests.harness.environments.disks.disk_story import tell
from tests.support.requirements import skip_unless_required

pytestmark = [pytest.mark.docker, pytest.mark.slow]

FIVE = ["n1", "n2", "n3", "n4", "n5"]


@asynccontextmanager
async def running(system: Any, folder: Any, nodes: list[str], **options: Any) -> AsyncIterator[DockerCluster]:
    """A cluster that is ready; destroyed at the end."""
    cluster = await DockerEnvironment().create_cluster(system, nodes, folder, options)
    try:
        await cluster.start_all()
        await cluster.wait_ready(90)
        yield cluster
    finally:
        await cluster.destroy()


async def connects(system: Any, cluster: DockerCluster, source: str, target: str) -> bool:
    """Whether a program *inside* the source's container gets an answer from the target over TCP."""
    host, port = cluster.client_address(target)["peer"]
    reply = await system.ask(cluster.direct_address(source)["client"], f"connect {host} {port}")
    assert reply in ("hello", "TimeoutError", "ConnectionRefusedError"), reply
    return bool(reply == "hello")


async def connects_soon(system: Any, cluster: DockerCluster, source: str, target: str) -> bool:
    """The same, asked again where a busy machine is slow to answer."""
    for _ in range(20):
        if await connects(system, cluster, source, target):
            return True
    return False


async def client_reaches(system: Any, cluster: DockerCluster, node: str) -> bool:
    """Whether a client of this host gets an answer."""
    try:
        return bool(
            await system.ask(cluster.client_address(node)["client"], "hello", timeout_s=0.5) == "hello"
        )
    except (OSError, TimeoutError):
        return False


async def client_reaches_soon(system: Any, cluster: DockerCluster, node: str) -> bool:
    """The same, asked again where a busy machine is slow to answer."""
    for _ in range(20):
        if await client_reaches(system, cluster, node):
            return True
        await asyncio.sleep(0.1)
    return False


STANDING = {"container", "network", "process"}
"""What a ledger holds without a fault: containers, their network, and the packet engine that waits for work."""


def container_of(engine: Any, run_folder: Path, node: str) -> dict[str, Any]:
    """What the engine says about a node's container."""
    labels = [f"multiraft-harness.folder={run_folder.resolve()}", f"multiraft-harness.node={node}"]
    found = engine.api.containers(all=True, filters={"label": labels})
    assert len(found) == 1, f"{node} has {len(found)} containers"
    seen: dict[str, Any] = engine.api.inspect_container(found[0]["Id"])
    return seen


def execute(
    engine: Any, container: dict[str, Any], command: list[str], user: str = "", detach: bool = False
) -> str:
    made = engine.api.exec_create(container["Id"], command, user=user)
    output = engine.api.exec_start(made["Id"], detach=detach)
    return "" if detach else bytes(output).decode()


def test_five_containers_have_what_they_should_and_no_more(echo, folder, engine, leftovers):
    """The nodes reach each other and are reached; they have no privileges, limits, labels, and no way out."""

    async def story() -> None:
        async with running(echo, folder, FIVE, memory_mb=256, processes=64) as cluster:
            assert cluster.nodes == tuple(FIVE)
            assert await connects_soon(echo, cluster, "n1", "n5")
            assert await client_reaches_soon(echo, cluster, "n3")
            for node in FIVE:
                seen = container_of(engine, folder.path, node)
                host = seen["HostConfig"]
                assert not host["Privileged"]
                assert host["CapDrop"] == ["ALL"]
                assert "NET_ADMIN" not in (host["CapAdd"] or []) or os.geteuid() != 0
                assert (host["Memory"], host["PidsLimit"]) == (256 * 1024 * 1024, 64)
            status = execute(engine, container_of(engine, folder.path, "n1"), ["cat", "/proc/1/status"])
            effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
            assert os.geteuid() != 0 or int(effective, 16) == 0, "a container has capabilities"
            # Neither the rest of the world nor a peer's second network is in reach.
            for address in ("192.0.2.1 80", " ".join(map(str, cluster.direct_address("n2")["client"]))):
                reply = await echo.ask(cluster.direct_address("n1")["client"], f"connect {address}")
                assert reply in ("OSError", "TimeoutError"), reply
            logs = await cluster.collect_logs()
            assert {path.read_text() for path in logs.values()} == {f"serving as user {os.getuid()}\n"}
            assert leftovers(folder.path), "the way in which this test finds leftovers finds nothing"

    asyncio.run(story())
    assert leftovers(folder.path) == []
    assert read_ledger(folder.ledger_path).open_entries == []


def test_a_one_way_cut_loses_the_bytes_of_that_direction_only(echo, folder, engine, leftovers):
    """Seen by programs inside the containers: no connection either way, but datagrams still travel the other way."""
    receive = (
        "import socket; s = socket.socket(2, 2); s.bind(('', 5555)); s.settimeout(20); "
        "open('/node/data/' + s.recv(99).decode(), 'w').close()"
    )

    async def story() -> None:
        async with running(echo, folder, FIVE) as cluster:
            evidence = await cluster.cut([("n1", "n2")])
            assert evidence.took_effect, evidence
            assert not await connects(echo, cluster, "n1", "n2")
            assert not await connects(echo, cluster, "n2", "n1")
            assert await connects_soon(echo, cluster, "n1", "n3")
            for node in ("n1", "n2"):
                execute(
                    engine, container_of(engine, folder.path, node), ["python3", "-c", receive], detach=True
                )
            for attempt in range(200):  # A receiver takes a moment until it listens.
                for source, target in (("n1", "n2"), ("n2", "n1")):
                    host = cluster.client_address(target)["peer"][0]
                    send = f"import socket; socket.socket(2, 2).sendto(b'from-{source}', ({host!r}, 5555))"
                    execute(engine, container_of(engine, folder.path, source), ["python3", "-c", send])
                if (folder.path / "nodes/n1/data/from-n2").exists():
                    break
                assert attempt < 199, "nothing arrived from n2 at n1, which is not cut"
            assert not (folder.path / "nodes/n2/data/from-n1").exists(), (
                "a datagram crossed a link that is cut"
            )
            healed = await cluster.mend([("n1", "n2")])
            assert healed.took_effect, healed
            assert await connects_soon(echo, cluster, "n1", "n2")
            assert await connects_soon(echo, cluster, "n2", "n1")

    asyncio.run(story())
    assert leftovers(folder.path) == []


def test_a_cut_outlives_the_restart_of_its_node(echo, folder, leftovers):
    """1. n1 cannot send to n2. 2. n2 is killed and started, in a new namespace. 3. The link is still cut, from the
    first instruction on. 4. A link that is cut while n2 is down is cut when it comes back. 5. Mended means mended."""

    async def story() -> None:
        async with running(echo, folder, FIVE) as cluster:
            assert (await cluster.cut([("n1", "n2")])).took_effect
            assert (await cluster.kill("n2")).took_effect
            while_down = await cluster.cut([("n3", "n2"), ("n3", "n4")])
            assert while_down.took_effect, "the link between running nodes is proven"
            assert [probe["proves"] for probe in while_down.probes] == [True, None]
            assert not (await cluster.cut([("n5", "n2")])).took_effect, "nothing at all could be proven"
            assert (await cluster.start("n2")).took_effect
            assert not any([await connects(echo, cluster, name, "n2") for name in ("n1", "n3", "n5")])
            assert await connects_soon(echo, cluster, "n4", "n2")
            again = await cluster.cut([("n1", "n2"), ("n3", "n2"), ("n5", "n2")])
            assert again.took_effect, "cutting what is cut proves that it is"
            report = await cluster.heal_all()
            assert report.failed == ()
            assert [await connects_soon(echo, cluster, name, "n2") for name in ("n1", "n3", "n5")] == [
                True
            ] * 3

    asyncio.run(story())
    assert leftovers(folder.path) == []


def test_clients_are_cut_off_in_either_direction_while_the_harness_still_sees_the_node(echo, folder):
    async def story() -> None:
        async with running(echo, folder, ["n1", "n2"]) as cluster:
            for link in ((CLIENT, "n1"), ("n1", CLIENT)):
                assert (await cluster.cut([link])).took_effect
                assert not await client_reaches(echo, cluster, "n1")
                assert await client_reaches_soon(echo, cluster, "n2")
                assert await connects_soon(echo, cluster, "n2", "n1"), "only clients are cut off"
                assert await echo.is_ready(cluster.direct_address("n1")), "the harness asks by another way"
                assert (await cluster.mend([link])).took_effect
                assert await client_reaches_soon(echo, cluster, "n1")

    asyncio.run(story())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to look into a container's namespace from outside")
def test_rules_that_are_not_ours_stay(echo, folder, engine):
    """Somebody else's rules in a node's namespace, and the host's own, are there before, during and after."""

    def rules_in(node: str) -> str:
        pid = container_of(engine, folder.path, node)["State"]["Pid"]
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", "iptables-save", "-t", "filter"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    async def story() -> None:
        async with running(echo, folder, ["n1", "n2"]) as cluster:
            pid = container_of(engine, folder.path, "n1")["State"]["Pid"]
            enter = ["nsenter", f"--net=/proc/{pid}/ns/net"]
            foreign = ["-s", "203.0.113.7/32", "-j", "DROP"]
            subprocess.run([*enter, "iptables", "-A", "INPUT", *foreign], check=True)
            assert (await cluster.cut([("n2", "n1")])).took_effect
            assert (await cluster.mend([("n2", "n1")])).took_effect
            await cluster.heal_all()
            saved = rules_in("n1")
            assert "-A INPUT -s 203.0.113.7/32 -j DROP" in saved
            assert [line for line in saved.splitlines() if "-A MRH" in line] == [], (
                "one of our own rules stayed"
            )

    asyncio.run(story())


def test_killed_nodes_are_gone_and_come_back_with_their_data(echo, folder, engine):
    async def story() -> None:
        async with running(echo, folder, FIVE) as cluster:
            (folder.path / "nodes/n1/data/kept").write_text("a row")
            pid = container_of(engine, folder.path, "n1")["State"]["Pid"]
            assert (await cluster.kill("n1")).took_effect
            assert cluster.state("n1") == "down"
            assert not Path(f"/proc/{pid}").exists()
            seen = container_of(engine, folder.path, "n1")["State"]
            assert (seen["Running"], seen["ExitCode"]) == (False, 137)
            assert not await client_reaches(echo, cluster, "n1")
            assert (await cluster.kill("n1")).took_effect, "killing what is dead is no error"
            assert (await cluster.start("n1")).took_effect
            assert (folder.path / "nodes/n1/data/kept").read_text() == "a row"
            assert await client_reaches_soon(echo, cluster, "n1")
            assert cluster.crashes() == (), "what was asked for is no crash"

            assert (await cluster.terminate("n1")).took_effect
            assert "ended as asked" in (folder.path / "nodes/n1/node.log").read_text()
            assert container_of(engine, folder.path, "n1")["State"]["ExitCode"] == 0

    asyncio.run(story())


def test_a_paused_node_stands_still_and_goes_on_where_it_stood(echo, folder, engine):
    async def story() -> None:
        async with running(echo, folder, ["n1", "n2", "n3"]) as cluster:
            reader, writer = await asyncio.open_connection(*cluster.client_address("n1")["client"])
            assert (await cluster.pause("n1")).took_effect
            assert cluster.state("n1") == "paused"
            assert container_of(engine, folder.path, "n1")["State"]["Paused"]
            writer.write(b"are you there\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readline(), 0.3)
            # Faults overlap: a link of a paused node can be cut and mended.
            assert (await cluster.cut([("n2", "n1")])).took_effect
            assert (await cluster.mend([("n2", "n1")])).took_effect
            assert (await cluster.resume("n1")).took_effect
            assert await asyncio.wait_for(reader.readline(), 60) == b"are you there\n"
            writer.close()

            assert (await cluster.pause("n2")).took_effect
            assert (await cluster.kill("n2")).took_effect
            assert cluster.state("n2") == "down"
            assert (await cluster.start("n2")).took_effect
            assert await client_reaches_soon(echo, cluster, "n2")
            await cluster.kill("n2")
            with pytest.raises(FaultFailed, match="n2: it is down"):
                await cluster.pause("n2")
            kinds = {entry.kind for entry in read_ledger(folder.ledger_path).open_entries}
            assert kinds == STANDING, "a pause stayed open"

    asyncio.run(story())


def test_clocks_are_wrong_for_one_node_only_and_right_again(echo, folder):
    async def is_ahead(cluster: DockerCluster, node: str, offset_ms: int) -> bool:
        before = time.time_ns()
        shown = await echo.read_clock(cluster.client_address(node)) - offset_ms * 1_000_000
        return before - 50_000_000 <= shown <= time.time_ns() + 50_000_000

    async def ahead_ms(cluster: DockerCluster, node: str) -> float:
        return (await echo.read_clock(cluster.client_address(node)) - time.time_ns()) / 1e6

    async def story() -> None:
        async with running(echo, folder, ["n1", "n2"]) as cluster:
            before = time.time_ns() - time.monotonic_ns()
            assert (await cluster.set_clock("n1", 60_000)).took_effect
            assert await is_ahead(cluster, "n1", 60_000)
            assert await is_ahead(cluster, "n2", 0)
            assert (await cluster.set_clock("n1", 0, rate_ppm=-200_000)).took_effect
            first = await ahead_ms(cluster, "n1")
            deadline = time.monotonic() + 60
            while await ahead_ms(cluster, "n1") > first - 50:
                assert time.monotonic() < deadline, (
                    "a clock that should lose a fifth of every second does not"
                )
            await cluster.strobe_clock("n1", -5_000)
            assert await is_ahead(cluster, "n1", -5_000)
            assert (await cluster.reset_clock("n1")).took_effect
            assert await is_ahead(cluster, "n1", 0)
            assert abs(time.time_ns() - time.monotonic_ns() - before) < 1e9, (
                "the host's own clock was touched"
            )

    asyncio.run(story())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_heal_all_undoes_everything_at_once(echo, folder, run):
    """On both event loops: they differ in sockets, child processes and file descriptors, which faults are made of."""

    async def story() -> None:
        async with running(echo, folder, FIVE) as cluster:
            everybody = [(a, b) for a in FIVE for b in FIVE if a != b]
            assert (await cluster.cut([*everybody, (CLIENT, "n4")])).took_effect
            await asyncio.gather(
                cluster.kill("n1"),
                cluster.terminate("n2"),
                cluster.pause("n3"),
                cluster.set_clock("n4", -9_000),
            )
            report = await cluster.heal_all()
            assert report.failed == ()
            assert len(report.healed) >= 5
            assert [cluster.state(node) for node in FIVE] == ["up"] * 5
            for link in everybody:
                assert await connects_soon(echo, cluster, *link), link
            assert await client_reaches_soon(echo, cluster, "n4")
            kinds = {entry.kind for entry in read_ledger(folder.ledger_path).open_entries}
            assert kinds == STANDING, "a fault is open in the ledger after healing"

    run(story())


def test_a_program_that_dies_by_itself_is_reported_as_a_crash(echo, folder):
    async def story() -> None:
        async with running(echo, folder, ["n1", "n2"]) as cluster:
            inside = "import os, signal; [os.kill(int(p), signal.SIGSEGV) for p in os.listdir('/proc') " + (
                "if p.isdigit() and p not in ('1', str(os.getpid()))]"
            )
            container = cluster._nodes["n2"].container
            api = cluster._engine.api
            api.exec_start(api.exec_create(container, ["python3", "-c", inside], user=f"{os.getuid()}")["Id"])
            deadline = time.monotonic() + 60
            while not cluster.crashes():
                assert time.monotonic() < deadline, "the crash was never noticed"
                await asyncio.sleep(0.01)
            (crash,) = cluster.crashes()
            assert (crash.node, crash.status) == ("n2", "signal SIGSEGV")
            assert crash.last_lines[0].startswith("serving as user")
            assert cluster.state("n2") == "down"
            assert (await cluster.start("n2")).took_effect

    asyncio.run(story())


def test_an_engine_that_is_gone_is_a_failure_of_the_environment_and_no_crash(echo, folder, monkeypatch):
    """An engine that ends takes its containers along, and can no longer say how they ended."""

    async def story() -> None:
        async with running(echo, folder, ["n1"]) as cluster:
            with monkeypatch.context() as patch:

                async def silent(node):
                    raise EnvironmentFailed("the Docker engine no longer answers")

                patch.setattr(cluster, "_inspect", silent)
                cluster._engine.api.kill(cluster._nodes["n1"].container)
                why = await asyncio.wait_for(cluster.wait_for_failure(), 60)
            assert why.startswith("the end of n1 (process ")
            assert why.endswith("cannot be explained: the Docker engine no longer answers")
            assert cluster.crashes() == ()

    asyncio.run(story())


def test_injection_that_does_nothing_is_not_taken_for_a_fault(echo, folder, monkeypatch):
    """The tester tested: rules that are not put in place, a pause that does not pause, a clock that nobody reads."""
    deaf = type(echo)(echo.server.replace("+ shift_ns()", ""))

    async def story() -> None:
        async with running(deaf, folder, ["n1", "n2"]) as cluster:
            with monkeypatch.context() as patch:

                async def want(self, wanted):
                    self.current = wanted

                patch.setattr("harness.environments.linux.namespace.NodeNamespace.want", want)
                evidence = await cluster.cut([("n1", "n2")])
                assert not evidence.took_effect
                assert evidence.probes[0]["after"] == {"arrived": True, "dropped": None}
                await cluster.mend([("n1", "n2")])
            with monkeypatch.context() as patch:
                patch.setattr(cluster._engine.api, "pause", lambda container: None)
                assert not (await cluster.pause("n1")).took_effect
                patch.setattr(cluster._engine.api, "unpause", lambda container: None)
                await cluster.resume("n1")
            evidence = await cluster.set_clock("n1", 60_000)
            assert not evidence.took_effect
            assert abs(evidence.probes[0]["after"]) < 500
            assert not (await cluster.set_clock("n1", 0, rate_ppm=100_000)).took_effect
            assert (await cluster.cut([("n1", "n2")])).took_effect, "and the innocent twin is proven"

    asyncio.run(story())


def test_without_leave_to_enter_namespaces_the_engine_does_the_same(echo, folder):
    """As an ordinary user of the engine: rules by exec in the container, proven by their counters."""

    async def story() -> None:
        async with running(echo, folder, ["n1", "n2", "n3"], enter_namespaces=False) as cluster:
            assert "exec" in cluster.capabilities()["cut"].mechanism
            links = [("n1", "n2"), (CLIENT, "n3"), ("n3", CLIENT)]
            evidence = await cluster.cut(links)
            assert evidence.took_effect, evidence
            assert not await connects(echo, cluster, "n1", "n2")
            assert not await client_reaches(echo, cluster, "n3")
            assert await connects_soon(echo, cluster, "n1", "n3")
            await cluster.kill("n2")
            await cluster.start("n2")
            assert not await connects(echo, cluster, "n1", "n2")
            assert (await cluster.mend(links)).took_effect
            assert await connects_soon(echo, cluster, "n1", "n2")
            assert await client_reaches_soon(echo, cluster, "n3")

    asyncio.run(story())


def test_two_runs_side_by_side_do_not_meet(echo, folder, tmp_path, leftovers):
    first, second = type(folder)(tmp_path / "first"), type(folder)(tmp_path / "second")

    async def story() -> None:
        async with running(echo, first, ["n1", "n2"]) as one, running(echo, second, ["n1", "n2"]) as other:
            assert (await one.cut([("n1", "n2")])).took_effect
            assert not await connects(echo, one, "n1", "n2")
            assert await connects_soon(echo, other, "n1", "n2")
            await one.destroy()
            assert leftovers(first.path) == []
            assert await connects_soon(echo, other, "n1", "n2")

    asyncio.run(story())
    assert leftovers(second.path) == []


@pytest.mark.parametrize("moment", [1, 2, 3, 5, 8])
def test_a_run_that_is_cancelled_while_it_is_made_leaves_nothing(
    echo, folder, leftovers, monkeypatch, moment
):
    """Ctrl-C while the engine is making a container: the call goes on, and what it makes is removed all the same."""
    calls = 0
    interrupted: list[asyncio.Task[Any]] = []
    genuine = Engine.call

    async def call(self, doing, function, *arguments, **options):
        nonlocal calls
        if doing.startswith(("creating", "connecting")):
            calls += 1
            if calls == moment:
                asyncio.get_running_loop().call_soon(interrupted[0].cancel)
        return await genuine(self, doing, function, *arguments, **options)

    async def story() -> None:
        interrupted.append(
            asyncio.ensure_future(DockerEnvironment().create_cluster(echo, ["n1", "n2", "n3"], folder, {}))
        )
        await interrupted[0]

    monkeypatch.setattr(Engine, "call", call)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(story())
    assert leftovers(folder.path) == []
    assert read_ledger(folder.ledger_path).open_entries == []


def test_what_docker_cannot_do_is_said_with_the_way_out(echo, folder):
    async def story() -> None:
        cluster = await DockerEnvironment().create_cluster(
            echo, ["n1", "n2"], folder, {"enter_namespaces": False}
        )
        try:
            with pytest.raises(FaultUnavailable, match="--environment local"):
                await cluster.slow([("n1", "n2")], 10)
            with pytest.raises(ValueError, match="no node n9"):
                await cluster.cut([("n1", "n9")])
        finally:
            await cluster.destroy()
            await cluster.destroy()

    asyncio.run(story())


def test_a_program_that_ends_at_once_is_quoted_and_nothing_stays(echo, folder, leftovers):
    broken = type(echo)("print('no such configuration'); raise SystemExit(3)")

    async def story() -> None:
        async with running(broken, folder, ["n1", "n2"]):
            pass

    # Where the machine is busy, a program does not come to its end at once.
    ended = r"(?s)n[12] ended (at once|before it was ready):.*no such configuration"
    with pytest.raises(EnvironmentFailed, match=ended):
        asyncio.run(story())
    assert leftovers(folder.path) == []


def test_a_node_that_never_gets_ready_is_named(echo, folder, leftovers):
    mute = type(echo)("print('thinking', flush=True)\nimport time\ntime.sleep(600)")

    async def story() -> None:
        cluster = await DockerEnvironment().create_cluster(mute, ["n1"], folder, {})
        try:
            await cluster.start_all()
            await cluster.wait_ready(0.5)
        finally:
            await cluster.destroy()

    with pytest.raises(
        EnvironmentFailed, match=r"(?s)n1 did not get ready in time: is_ready raised Conn.*thinking"
    ):
        asyncio.run(story())
    assert leftovers(folder.path) == []


def test_an_image_whose_base_is_out_of_reach_says_the_way_out(echo, folder, leftovers):
    async def story() -> None:
        await DockerEnvironment().create_cluster(
            echo, ["n1"], folder, {"base_image": "localhost:1/no-such-base"}
        )

    with pytest.raises(EnvironmentFailed, match=r"(?s)localhost:1/no-such-base.*HARNESS_DOCKER_BASE"):
        asyncio.run(story())
    assert leftovers(folder.path) == []


def test_an_image_that_cannot_be_built_leaves_no_layers(
    echo, folder, tmp_path, engine, leftovers, monkeypatch
):
    """The last step fails, because a package cannot be imported: its words are quoted, its layers go."""
    package = tmp_path / "sources" / "breaks_when_imported"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise RuntimeError('broken on purpose, {time.time_ns()}')")
    monkeypatch.syspath_prepend(str(tmp_path / "sources"))
    echo.python_sources = ("breaks_when_imported",)
    dangling = {"dangling": True, "label": "multiraft-harness.image=1"}

    async def story() -> None:
        await DockerEnvironment().create_cluster(echo, ["n1"], folder, {})

    before = {image["Id"] for image in engine.api.images(filters=dangling)}
    with pytest.raises(EnvironmentFailed, match=r"(?s)cannot be built.*broken on purpose"):
        asyncio.run(story())
    deadline = time.monotonic() + 30  # Another build that is under way just now may have layers for a moment.
    while not {image["Id"] for image in engine.api.images(filters=dangling)} <= before:
        assert time.monotonic() < deadline, "a failed build left layers behind"
    assert leftovers(folder.path) == []


HARNESS_THAT_IS_KILLED = """
import asyncio, sys
from pathlib import Path
from harness.environments.docker.environment import DockerEnvironment
from tests.harness.environments.docker.conftest import EchoSystem, PlainFolder

async def main():
    folder = PlainFolder(Path(sys.argv[1]))
    cluster = await DockerEnvironment().create_cluster(EchoSystem(), ["n1", "n2", "n3"], folder, {})
    await cluster.start_all()
    await cluster.cut([("n1", "n2")])
    await cluster.pause("n3")
    await cluster.set_clock("n1", 60_000)
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_heal_after_kill_9_of_the_harness_removes_everything(folder, leftovers):
    """While the harness lives, nobody else heals its run; when it is gone, everything goes, and twice is harmless."""
    root = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, "-c", HARNESS_THAT_IS_KILLED, str(folder.path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=root,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(EnvironmentFailed, match="in progress"):
            heal(folder.path)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert len(leftovers(folder.path)) == 5, "three containers and two networks outlive a killed harness"
    report = heal(folder.path)
    assert report.failed == ()
    assert leftovers(folder.path) == []
    assert read_ledger(folder.ledger_path).open_entries == []
    assert heal(folder.path).healed == ()


def test_a_detached_cluster_stays_until_it_is_healed(echo, folder, leftovers):
    async def story() -> str:
        cluster = await DockerEnvironment().create_cluster(echo, ["n1", "n2"], folder, {})
        await cluster.start_all()
        await cluster.wait_ready(90)
        farewell = await cluster.detach()
        await cluster.destroy()
        assert await client_reaches_soon(echo, cluster, "n1"), "a detached cluster goes on"
        return farewell

    farewell = asyncio.run(story())
    assert f"harness heal {folder.path}" in farewell
    assert len(leftovers(folder.path)) == 4
    assert heal(folder.path).failed == ()
    assert leftovers(folder.path) == []


def test_packets_of_a_container_are_late_lost_and_disturbed_also_after_a_restart(echo, folder, leftovers):
    """The engine shapes the new network namespace as it did the old one; healing leaves nothing of it."""

    async def story() -> None:
        async with running(echo, folder, ["n1", "n2"]) as cluster:
            both = [("n1", "n2"), (CLIENT, "n2")]
            for evidence in (
                # First, since a link that loses packets loses resets as well.
                await cluster.reset(both),
                await cluster.slow(both, 20, 5),
                await cluster.lose(both, 0.1, 5),
                await cluster.disturb(both, 0.2, 0.2, 0.05),
                await cluster.kill("n2"),
                await cluster.start("n2"),
                await cluster.slow(both, 30, 5),
            ):
                assert evidence.took_effect, evidence
            report = await cluster.heal_all()
            assert report.failed == ()
            assert report.healed == ("restored the speed of n1 -> n2, client -> n2",)

    uvloop.run(story())
    assert leftovers(folder.path) == []
    content = read_ledger(folder.ledger_path)
    assert content.open_entries == []
    assert processes_with_token(content.header.token) == []


def test_the_disk_below_a_container_fails_and_loses_only_what_was_not_synced(echo, folder, leftovers):
    reason = why_no_layers()
    if reason is not None:
        skip_unless_required("fuse", reason)

    async def story() -> None:
        cluster = await DockerEnvironment().create_cluster(echo, ["n1", "n2"], folder, {})
        try:
            await cluster.expect({"disk"})
            await cluster.start_all()
            await cluster.wait_ready(90)
            await tell(cluster, cluster.data_folders()["n1"])
        finally:
            await cluster.destroy()

    uvloop.run(story())
    assert leftovers(folder.path) == []
    assert read_ledger(folder.ledger_path).open_entries == []
    assert not [point for point in mount_points(TABLE.read_text()) if point.startswith(str(folder.path))]


def test_a_container_is_slowed_down_and_runs_out_of_memory(echo, folder, leftovers):
    reason = why_no_groups()
    if reason is not None:
        skip_unless_required("cgroups", reason)

    async def story() -> None:
        async with running(echo, folder, ["n1"]) as cluster:
            for evidence in (
                await cluster.limit_cpu("n1", 0.05),
                await cluster.limit_cpu("n1", None),
                await cluster.exhaust_memory("n1"),
            ):
                assert evidence.took_effect, evidence
            assert (await cluster.heal_all()).failed == ()
            assert cluster.crashes() == ()

    uvloop.run(story())
    assert leftovers(folder.path) == []
