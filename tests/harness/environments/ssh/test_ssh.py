"""The environment `ssh` against real SSH servers: every fault proven, hosts verified, nothing left on them."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Any, cast

import pytest

from harness.environments.disks.disks import why_no_layers
from harness.environments.disks.mounts import TABLE, mount_points
from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import heal, read_ledger
from harness.environments.linux import vdso
from harness.environments.processes import TOKEN_VARIABLE, process_state, processes_with_token
from harness.environments.ssh.agent import Agent
from harness.environments.ssh.cluster import SshCluster, clean_host, tags_of
from harness.environments.ssh.environment import SshEnvironment
from harness.environments.ssh.hosts import Destination, Host, Login, parse_destination
from harness.environments.ssh.shipping import send_program
from nemesis.cluster import CLIENT
from tests.harness.environments.disks.disk_story import tell
from tests.harness.environments.echo_system import EchoSystem, TestFolder, ask
from tests.support.processes import wait_for_end_of_run, wait_until
from tests.support.requirements import skip_unless_required
from tests.support.ssh_hosts import Hosts, ssh_hosts, why_none

ROOT = Path(__file__).resolve().parents[4]
slow = pytest.mark.slow


@pytest.fixture
def hosts() -> Any:
    reason = why_none()
    if reason is not None:
        skip_unless_required("sshd", reason)
    with ssh_hosts(2) as made:
        yield made


def run(
    hosts: Hosts, path: Path, story: Callable[[SshCluster], Awaitable[None]], **options: Any
) -> SshCluster:
    """A story of two echo nodes on two hosts."""

    async def whole() -> SshCluster:
        cluster = await SshEnvironment().create_cluster(
            EchoSystem(), ["n1", "n2"], TestFolder(path), {**hosts.options(), **options}
        )
        try:
            await cluster.start_all()
            await cluster.wait_ready(90)
            await story(cluster)
        finally:
            await cluster.destroy()
        return cluster

    return SshEnvironment().run(whole())


def rules_of(cluster: SshCluster, node: str) -> str:
    """What iptables shows of a host; asked by a process of ours that is in its namespace."""
    pid = cluster.pid(node)
    return subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "--", "iptables-save"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@slow
def test_every_fault_on_hosts_that_are_reached_by_ssh(hosts: Hosts, tmp_path: Path) -> None:
    """Also when all clients are cut off, the harness still reaches its hosts."""

    async def story(cluster: SshCluster) -> None:
        links = [("n1", "n2"), (CLIENT, "n2"), ("n2", CLIENT)]
        cut = await cluster.cut(links)
        assert cut.took_effect, cut
        assert "MRH-" in rules_of(cluster, "n2")
        assert await ask(cluster.direct_address("n2")["client"]) is not None
        assert await ask(cluster.client_address("n2")["client"], 0.3) is None
        assert (await cluster.mend(links)).took_effect
        assert await ask(cluster.client_address("n2")["client"]) is not None
        for evidence in (
            await cluster.slow(links, 20, 5),
            await cluster.throttle(links, 50_000),
            await cluster.lose(links, 0.2, 3),
            await cluster.disturb(links, 0.3, 0.0, 0.1),
            await cluster.shaping.restore(links),
            await cluster.set_clock("n1", 5000, 100_000),
            await cluster.reset_clock("n1"),
            await cluster.pause("n1"),
            await cluster.resume("n1"),
            await cluster.kill("n1"),
            await cluster.start("n1"),
            await cluster.terminate("n2"),
        ):
            assert evidence.took_effect, evidence
        assert cluster.state("n2") == "down"
        await cluster.cut([("n1", "n2")])
        report = await cluster.heal_all()
        assert report.failed == ()
        assert cluster.crashes() == ()

    cluster = run(hosts, tmp_path, story)
    assert processes_with_token(cluster.ledger.header.token) == []
    assert read_ledger(tmp_path / "ledger.jsonl").open_entries == []
    assert not (hosts.folder / "work").exists()
    assert (tmp_path / "nodes" / "n1" / "node.log").read_text() != ""
    assert (tmp_path / "nodes" / "n1" / "data").is_dir()


@slow
def test_leaving_a_host_ends_nothing_of_another_on_the_same_machine(hosts: Hosts, tmp_path: Path) -> None:
    """Here they are namespaces, which share their processes: a layer of a disk that is killed cannot unmount itself."""

    async def story(cluster: SshCluster) -> None:
        first, second = (cluster.pid(node) or 0 for node in cluster.nodes)
        host = Host(
            parse_destination(f"root@{hosts.addresses[0]}"),
            Login(hosts.known_hosts, hosts.key, marker=str(hosts.marker)),
        )
        await host.open()
        token = cluster.ledger.header.token
        done = await clean_host(host, str(tmp_path / "no such folder"), token[:8], tags_of(token, "n1"))
        host.close()
        assert any(word.startswith("ended process") for word in done)
        wait_until(lambda: process_state(first) in (None, "Z"), 5, "the process of n1 has ended")
        assert process_state(second) not in (None, "Z")
        assert await ask(cluster.direct_address("n2")["client"]) is not None

    cluster = run(hosts, tmp_path, story)
    assert processes_with_token(cluster.ledger.header.token) == []


KILLED = """
import asyncio, json, sys
from pathlib import Path
from harness.environments.ssh.environment import SshEnvironment
from tests.harness.environments.disks.disk_story import tell
from tests.harness.environments.echo_system import EchoSystem, TestFolder

async def main():
    cluster = await SshEnvironment().create_cluster(
        EchoSystem(), ["n1", "n2"], TestFolder(Path(sys.argv[1])), json.loads(sys.argv[2])
    )
    await cluster.start_all()
    await cluster.wait_ready(90)
    await cluster.cut([("n1", "n2"), ("client", "n1")])
    await cluster.pause("n2")
    print(cluster.ledger.header.token, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@slow
def test_disks_of_hosts_fail_and_lose_only_what_was_not_synced(hosts: Hosts, tmp_path: Path) -> None:
    if why_no_layers() is not None:
        skip_unless_required("fuse", str(why_no_layers()))

    async def whole() -> str:
        cluster = await SshEnvironment().create_cluster(
            EchoSystem(), ["n1", "n2"], TestFolder(tmp_path), hosts.options()
        )
        try:
            await cluster.expect({"disk"})
            await cluster.start_all()
            await cluster.wait_ready(90)
            await tell(cluster, cluster.plan("n1").data_dir)
        finally:
            await cluster.destroy()
        return cluster.ledger.header.token

    token = SshEnvironment().run(whole())
    assert processes_with_token(token) == []
    assert read_ledger(tmp_path / "ledger.jsonl").open_entries == []
    assert not [point for point in mount_points(TABLE.read_text()) if point.startswith(str(hosts.folder))]
    assert (tmp_path / "nodes" / "n1" / "data" / "config.json").exists()


@slow
def test_a_killed_harness_leaves_no_process_and_no_rule_and_heal_removes_the_rest(
    hosts: Hosts, tmp_path: Path
) -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), json.dumps(hosts.options())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout is not None
    token = harness.stdout.readline().strip()
    assert processes_with_token(token)
    harness.kill()
    harness.wait(60)
    harness.stdout.close()
    wait_for_end_of_run(tmp_path)
    for pid in hosts.pids:
        saved = subprocess.run(
            ["nsenter", f"--net=/proc/{pid}/ns/net", "--", "iptables-save"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "MRH-" not in saved.stdout
    report = heal(tmp_path)
    assert report.failed == ()
    assert len(report.healed) == 2
    assert not (hosts.folder / "work").exists()
    assert heal(tmp_path).healed == ()


@slow
def test_a_host_is_refused_that_is_not_who_it_was_or_may_not_be_broken(hosts: Hosts, tmp_path: Path) -> None:
    """Its key has changed; it is unknown; we may not log in; it has no marker."""

    async def nothing(cluster: SshCluster) -> None:
        raise AssertionError("it must not begin")

    known = hosts.known_hosts.read_text()
    other = (hosts.folder / "user_key.pub").read_text().split()[1]
    changed = hosts.folder / "changed"
    changed.write_text(known.replace(known.split()[2], other))
    empty = hosts.folder / "empty"
    empty.touch()
    stranger = hosts.folder / "host_key"
    for number, (options, said) in enumerate(
        (
            ({"known_hosts": str(changed)}, "either the host was made anew, or somebody is in between"),
            ({"known_hosts": str(empty)}, "ssh-keyscan -p 22"),
            ({"key": str(stranger)}, "does not let us in"),
            ({"marker": "/nowhere/marker"}, "does not carry the marker /nowhere/marker"),
        )
    ):
        path = tmp_path / str(number)
        path.mkdir()
        with pytest.raises(EnvironmentFailed, match=said):
            run(hosts, path, nothing, **options)
        assert heal(path).failed == ()


@slow
def test_a_host_behind_another_is_reached_with_a_key_of_the_agent_and_by_sudo(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be reached through the one in between names both."""
    first, second = (parse_destination(f"root@{address}") for address in hosts.addresses)
    with subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(hosts.folder / "agent")], stdout=subprocess.DEVNULL
    ) as agent:
        try:
            wait_until((hosts.folder / "agent").exists, 10, "the agent listens")
            monkeypatch.setenv("SSH_AUTH_SOCK", str(hosts.folder / "agent"))
            monkeypatch.setenv("HOME", str(hosts.folder))  # No usual files are there.
            subprocess.run(["ssh-add", "-q", str(hosts.key)], check=True)
            login = Login(hosts.known_hosts, None, first, True, str(hosts.marker))

            async def story() -> None:
                host = Host(second, login)
                await host.open()
                assert host.local_address == first.address, "it sees the one in between"
                assert await host.run("id -u") == (0, "0\n")
                host.close()
                nobody = Host(Destination("root", second.address, 23), login)
                with pytest.raises(
                    EnvironmentFailed, match=f"{second.address}:23 through root@{first.address}"
                ):
                    await nobody.open()
                nobody.close()

            asyncio.run(story())
            assert "sh -c id -u" in (hosts.folder / "sudo.log").read_text()
        finally:
            agent.kill()


class OtherHost:
    """Answers as a host that has these programs."""

    destination = "root@other"

    def __init__(self, **programs: bytes) -> None:
        self.programs = programs
        self.received: list[tuple[str, bytes]] = []

    async def run(self, words: str, content: bytes = b"") -> tuple[int, str]:
        if words.startswith("sha256sum"):
            name = Path(words.split()[1]).name
            there = self.programs.get(name)
            return 0, "" if there is None else f"{hashlib.sha256(there).hexdigest()}  {name}"
        self.received.append((words, gzip.decompress(content)))
        return 0, ""


def test_a_program_is_sent_unless_the_host_has_the_very_same(tmp_path: Path) -> None:
    program = tmp_path / "acme"
    program.write_bytes(b"acme 2")
    home = PurePosixPath("/srv/run/n1")

    def sent_to(host: OtherHost) -> str:
        return asyncio.run(send_program(cast(Host, host), program, home))

    assert sent_to(OtherHost(acme=b"acme 2")) == str(program)
    for other in (OtherHost(), OtherHost(acme=b"acme 1")):
        assert sent_to(other) == "/srv/run/n1/programs/acme"
        ((words, content),) = other.received
        assert content == b"acme 2"
        assert words.endswith("chmod 755 /srv/run/n1/programs/acme")


class ThisHost:
    """Looks for processes here, by programs that are counted; of all else nothing is done."""

    destination = Destination("root", "here", 22)

    def __init__(self, folder: Path) -> None:
        self.calls = folder / "calls"
        for name in ("grep", "tr"):
            (folder / name).write_text(f'#!/bin/sh\necho {name} >>{self.calls}\nexec /usr/bin/{name} "$@"\n')
            (folder / name).chmod(0o755)
        self._variables = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    async def run(self, words: str, content: bytes = b"") -> tuple[int, str]:
        if "/proc/" not in words:
            return 1, ""
        done = subprocess.run(
            ["sh", "-c", words], env=self._variables, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc")
def test_the_processes_of_a_host_are_looked_for_by_few_programs(tmp_path: Path) -> None:
    """A host that is busy starts some ten programs a second, and has hundreds of processes."""
    tags = tags_of(uuid.uuid4().hex, "n1")
    others = (tags_of(tags[TOKEN_VARIABLE], "n10"), {TOKEN_VARIABLE: tags[TOKEN_VARIABLE]})
    with contextlib.ExitStack() as stack:
        ours, *spared = (
            stack.enter_context(subprocess.Popen(["sleep", "60"], env={**os.environ, **variables}))
            for variables in (tags, *others)
        )
        try:
            host = ThisHost(tmp_path)
            done = asyncio.run(clean_host(cast(Host, host), str(tmp_path / "none"), "key", tags))
            assert done == [f"ended process {ours.pid} on {host.destination}"]
            assert ours.wait(10) == -signal.SIGKILL
            assert [process.poll() for process in spared] == [None, None]
            assert len(host.calls.read_text().split()) <= 6
        finally:
            for process in (ours, *spared):
                process.kill()


def test_an_agent_tells_processes_the_time() -> None:
    """Of its own host; what it cannot do travels as an error."""
    if (why := vdso.why_not()) is not None:
        pytest.skip(why)
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen(["sleep", "60"]) as child:
        agent = Agent(theirs)
        try:
            told = {"offset_ns": 60 * 10**9, "rate_ppb": 0, "age_ns": 0, "paused": False}
            agent._do({"verb": "process_clock", "pid": child.pid, **told})
            before = time.time_ns()
            (shown,) = agent._do({"verb": "shown_by", "pid": child.pid})
            assert before - 10**9 < shown - 60 * 10**9 < time.time_ns() + 10**9
            with pytest.raises(ValueError, match="cannot be read"):
                agent._do({"verb": "process_clock", "pid": 2**22 + 1, **told})
            assert agent._do({"verb": "why_no_process_clocks"}) is None
        finally:
            child.kill()


def test_destinations_are_read_as_people_write_them() -> None:
    assert parse_destination("root@10.0.0.1:2222") == Destination("root", "10.0.0.1", 2222)
    assert parse_destination("db1.example") == Destination("root", "db1.example", 22)
    for wrong in ("", "a@b@c", "host:port", "host:0", "host:70000"):
        with pytest.raises(ValueError, match="user@host:port"):
            parse_destination(wrong)


def test_options_that_make_no_sense_are_refused_together() -> None:
    with pytest.raises(ValueError, match=r"unknown option 'speed'.*names 1 hosts, and there are 2 nodes"):
        SshEnvironment().check_options({"speed": 1, "hosts": "root@a"}, ["n1", "n2"])
    with pytest.raises(ValueError, match="one of them is named twice"):
        SshEnvironment().check_options({"hosts": "a,a"}, ["n1", "n2"])
