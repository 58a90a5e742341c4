"""The environment `netns`: what its links do to packets; the host is not touched; nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import heal, read_ledger
from harness.environments.netns import hub
from harness.environments.netns.cluster import NetnsCluster
from harness.environments.netns.environment import NetnsEnvironment
from harness.environments.processes import processes_with_token
from tests.harness.environments.echo_system import PATIENCE_S, EchoSystem, TestFolder, ask
from tests.support.processes import command_lines, wait_for_end_of_run
from tests.support.requirements import skip_unless_required

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = Path(__file__).parent / "abandoned_harness.py"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _needs_namespaces() -> None:
    reason = hub.objection()
    if reason is not None:
        skip_unless_required("netns", reason)


def tell(path: Path, story: Callable[[NetnsCluster], Awaitable[None]]) -> str:
    """Tells a story of two echo nodes; answers the token of the run."""
    environment = NetnsEnvironment()

    async def whole() -> str:
        cluster = await environment.create_cluster(EchoSystem(), ["n1", "n2"], TestFolder(path), {})
        try:
            await cluster.start_all()
            await cluster.wait_ready(90)
            await story(cluster)
        finally:
            await cluster.destroy()
        return cluster.ledger.header.token

    return environment.run(whole())


def host_network() -> tuple[str, str]:
    """What a run must not change: the host's namespace and interfaces, but for those of containers, which come and go
    with whoever else uses the engine."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    lasting = [line for line in links.splitlines() if not re.match(r"\d+: (veth|br-|docker)", line)]
    return os.readlink("/proc/self/ns/net"), "\n".join(lasting)


def test_the_host_is_not_touched_and_nothing_is_left(tmp_path: Path) -> None:
    before = host_network()

    async def story(cluster: NetnsCluster) -> None:
        assert os.readlink("/proc/thread-self/ns/net") != before[0], "the harness is in the hub"
        assert await ask(cluster.client_address("n1")["client"]) is not None

    token = tell(tmp_path, story)
    assert host_network() == before
    assert processes_with_token(token) == []
    assert not (tmp_path / "iptables.lock").exists()


def test_names_fail_to_resolve_or_lead_to_others_until_they_are_mended(tmp_path: Path) -> None:
    """Over a restart too; heal_all mends what a step has left. The host's own file of hosts is never touched."""
    own = Path("/etc/hosts").read_bytes()
    nodes = ["n1", "n2", "n3"]
    options = {"names": True}
    environment = NetnsEnvironment().with_options(options)
    assert environment.capabilities(EchoSystem())["names"].available
    assert "names=true" in str(NetnsEnvironment().capabilities(EchoSystem())["names"].reason)

    async def whole() -> None:
        cluster = await environment.create_cluster(EchoSystem(), nodes, TestFolder(tmp_path), options)
        try:
            await cluster.start_all()
            await cluster.wait_ready(90)
            assert cluster.plan("n1").reach["n2"]["peer"][0] == "n2"
            failed = await cluster.break_names("n1", wrong=False)
            assert failed.took_effect, failed
            shown = {probe["what"]: (probe["before"], probe["after"]) for probe in failed.probes}
            assert shown["n2 looked up at n1"] == (hub.data_address(1), "no such name")
            misled = await cluster.break_names("n2", wrong=True)
            assert misled.took_effect, misled
            assert misled.probes[0]["after"] == hub.data_address(2)  # n1 leads to n3.
            await cluster.kill("n2")
            await cluster.start("n2")
            again = await cluster.break_names("n2", wrong=True)
            assert again.probes[0]["before"] == hub.data_address(2)
            assert (await cluster.mend_names("n1")).took_effect
            noted = read_ledger(tmp_path / "ledger.jsonl").open_entries
            assert [one.undo for one in noted if one.kind == "names"] == [{"node": "n2"}]
            report = await cluster.heal_all()
            assert report.failed == ()
            assert "mended the names at n2" in report.healed
        finally:
            await cluster.destroy()

    environment.run(whole())
    assert read_ledger(tmp_path / "ledger.jsonl").open_entries == []
    assert Path("/etc/hosts").read_bytes() == own


def test_a_lossy_link_loses_and_heals(tmp_path: Path) -> None:
    async def story(cluster: NetnsCluster) -> None:
        links = [("n1", "n2"), ("client", "n2"), ("n2", "client")]
        evidence = await cluster.lose(links, 0.3)
        assert evidence.took_effect, evidence
        assert [probe["proves"] for probe in evidence.probes] == [True] * 3
        assert await ask(cluster.direct_address("n2")["client"]) is not None, (
            "the harness's own way is never lossy"
        )
        report = await cluster.heal_all()
        assert report.failed == ()
        assert report.healed == ("restored the speed of n1 -> n2, client -> n2, n2 -> client",)

    tell(tmp_path, story)


def test_packets_are_repeated_overtaken_and_damaged_and_connections_live_on(tmp_path: Path) -> None:
    """TCP sorts all of it out: what arrives is right, only later."""

    async def story(cluster: NetnsCluster) -> None:
        link = [("client", "n1")]
        assert (await cluster.slow(link, 4, 3)).took_effect
        evidence = await cluster.shaping.disturb(link, duplicate=0.3, reorder=0.3, corrupt=0.1)
        assert evidence.took_effect, evidence
        answers = [await ask(cluster.client_address("n1")["client"], 60.0) for _ in range(20)]
        assert all(answer is not None and answer["node"] == "n1" for answer in answers)
        (row,) = [row for row in await cluster.packet_counters() if row["seen"]]
        assert min(row["duplicated"], row["reordered"], row["corrupted"]) > 0, row

    tell(tmp_path, story)


def test_conditions_of_a_link_add_up_and_end_one_by_one(tmp_path: Path) -> None:
    async def story(cluster: NetnsCluster) -> None:
        link = [("n1", "n2")]
        assert (await cluster.slow(link, 20)).took_effect
        assert (await cluster.throttle(link, 20_000)).took_effect
        assert (await cluster.slow(link, 0)).took_effect
        assert cluster.shaping.shaped == (("n1", "n2"),)
        assert (await cluster.throttle(link, None)).took_effect
        assert cluster.shaping.shaped == ()

    tell(tmp_path, story)


def test_a_link_that_is_cut_proves_nothing_and_is_shaped_when_mended(tmp_path: Path) -> None:
    async def story(cluster: NetnsCluster) -> None:
        link = [("n1", "n2")]
        await cluster.cut(link)
        evidence = await cluster.slow(link, 50)
        assert not evidence.took_effect
        assert "it is cut" in evidence.probes[0]["what"]
        await cluster.mend(link)
        again = await cluster.slow(link, 50)
        assert again.took_effect
        with pytest.raises(ValueError, match="jitter <= delay"):
            await cluster.slow(link, 5, 10)
        with pytest.raises(ValueError, match=r"share 1\.5"):
            await cluster.lose(link, 1.5)
        with pytest.raises(ValueError, match="at least 1000"):
            await cluster.throttle(link, 10)

    tell(tmp_path, story)


def test_a_packet_engine_that_dies_is_a_failure_of_the_environment(tmp_path: Path) -> None:
    async def story(cluster: NetnsCluster) -> None:
        failure = asyncio.ensure_future(cluster.wait_for_failure())
        (engine,) = [
            process
            for process in processes_with_token(cluster.ledger.header.token)
            if b"linux.packets" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        ]
        os.kill(engine.pid, signal.SIGKILL)
        why = await asyncio.wait_for(failure, PATIENCE_S)
        assert why.startswith(f"the packet engine (process {engine.pid}) has ended by itself: signal SIGKILL")
        assert cluster.crashes() == ()

    tell(tmp_path, story)


def run_abandoned(
    path: Path, *words: str, before: tuple[str, ...] = (), python: str = sys.executable
) -> subprocess.Popen[str]:
    libraries = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    return subprocess.Popen(
        [*before, python, str(PROGRAM), str(path), *words],
        cwd=path,
        env={**os.environ, "PYTHONPATH": libraries, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def spaces_of(pids: Iterable[int]) -> set[str]:
    """The network namespaces in which these processes are, those that are gone left out."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
    return found


def test_a_killed_harness_leaves_no_namespace(tmp_path: Path) -> None:
    harness = run_abandoned(tmp_path, "wait")
    assert harness.stdout is not None
    told = json.loads(harness.stdout.readline())
    spaces = spaces_of(told["pids"])
    assert len(spaces) == 2
    harness.kill()
    harness.wait(60)
    harness.stdout.close()
    assert harness.stderr is not None
    harness.stderr.close()
    wait_for_end_of_run(tmp_path)
    assert heal(tmp_path).failed == ()
    assert not spaces_of(command_lines()) & spaces


def test_an_ordinary_user_has_namespaces_of_his_own(tmp_path: Path) -> None:
    """Root inside a user namespace: the same faults, with the same proofs."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, with setpriv")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
    if subprocess.run([*nobody, "unshare", "-Urn", "true"], capture_output=True, check=False).returncode != 0:
        skip_unless_required("netns", "this kernel makes no user namespaces for ordinary users")
    python = _python_for_others()
    if python is None:
        pytest.skip("another user may not read this checkout, or any Python that is like this one")
    path = tmp_path / "run"
    path.mkdir()
    shutil.chown(path, 65534, 65534)
    for folder in [tmp_path, *tmp_path.parents][:4]:
        if folder.stat().st_uid == os.getuid() and str(folder) not in ("/", "/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    harness = run_abandoned(path, before=nobody, python=python)
    out, errors = harness.communicate(timeout=180)
    assert harness.returncode == 0, errors
    told = json.loads(out)
    assert told["proven"] == dict.fromkeys(("cut", "mend", "slow", "reset"), True)


def _python_for_others() -> str | None:
    """A Python that every user may run, of the version that our libraries were built for."""
    if not _readable_by_others(ROOT):
        return None
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        if Path(candidate).exists() and _readable_by_others(Path(candidate).resolve()):
            return candidate
    return None


def _readable_by_others(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in [path, *path.parents])


def test_where_there_are_no_namespaces_a_run_ends_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "objection", lambda: "the program ip is not installed")

    async def nothing() -> None:
        raise AssertionError("it must not begin")

    with pytest.raises(
        EnvironmentFailed, match="netns is not available here: the program ip is not installed"
    ):
        NetnsEnvironment().run(nothing())


def test_wrong_options_and_names_are_told_before_anything_is_made() -> None:
    with pytest.raises(ValueError, match="unknown option 'speed' of environment netns"):
        NetnsEnvironment().check_options({"speed": 1}, ["n1"])
    with pytest.raises(ValueError, match="must be unique names"):
        NetnsEnvironment().check_options({}, ["n1", "n1"])
