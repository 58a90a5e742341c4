"""Containers of somebody else, here of the test itself: broken, healed, and given back as they were."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.environments.docker.attached import AttachedCluster, AttachedEnvironment
from harness.environments.docker.engine import Engine, connect
from harness.environments.docker.environment import DockerEnvironment
from harness.environments.docker.image import default_base
from harness.environments.environment import EnvironmentFailed, OptionedEnvironment
from harness.environments.ledger import heal
from harness.environments.linux import vdso
from harness.environments.linux.namespace import may_enter_namespaces
from nemesis.cluster import CLIENT, FaultUnavailable
from tests.harness.environments.docker.conftest import SERVER, EchoSystem
from tests.support.processes import wait_until
from tests.support.requirements import skip_unless_required

NODES = ["n1", "n2", "n3"]
PROJECT = f"somebody-elses-{os.getpid()}"
LISTEN = json.dumps([["0.0.0.0", 7100], ["0.0.0.0", 7101]])
PORTS = "peer=7100,client=7101"


def test_what_cannot_be_attached_to_is_refused_before_anything_is_asked() -> None:
    chosen = DockerEnvironment()
    assert isinstance(chosen, OptionedEnvironment)
    assert isinstance(chosen.with_options({"memory_mb": 64}), DockerEnvironment)
    attached = chosen.with_options({"attach": "a,b"})
    assert isinstance(attached, AttachedEnvironment)
    attached.check_options({"attach": "a,b", "ports": PORTS}, NODES[:2])
    attached.check_options({"attach": "compose:shop", "control": False}, NODES)
    wrong = {"attach": "a,a", "control": "perhaps", "ports": "client:80", "image": "x"}
    said = (
        "unknown option 'image' of environment docker with attach .*; attach names 1 containers, and there are 3 "
        "nodes: .*; control 'perhaps': must be true or false; ports 'client:80': must be NAME=PORT"
    )
    with pytest.raises(ValueError, match=said):
        attached.check_options(wrong, NODES)


def test_without_control_nothing_ends_or_stops_a_container(echo: Any) -> None:
    free, bound = AttachedEnvironment(True).capabilities(echo), AttachedEnvironment(False).capabilities(echo)
    assert {name for name in free if free[name].available and not bound[name].available} <= {
        "kill",
        "terminate",
        "pause",
        "exhaust_memory",
    }
    assert (free["kill"].available, bound["kill"].available) == (True, False)
    assert "control=false" in str(bound["pause"].reason)
    assert "their own" in str(free["power_loss"].reason)


class Theirs(EchoSystem):
    """A server that reads no clock file, as its image knows nothing of us."""

    def __init__(self) -> None:
        super().__init__(SERVER.replace("time.time_ns() + shift_ns()", "time.time_ns()"))


@pytest.fixture(scope="module")
def theirs() -> Iterator[list[str]]:
    """Three running containers of a Compose project; the test's own to remove, as nobody else does."""
    try:
        connect().close()
    except EnvironmentFailed as error:
        skip_unless_required("docker", str(error))
    if not may_enter_namespaces():
        skip_unless_required("docker", "attaching needs root, nsenter and iptables")
    names = [f"{PROJECT}-db-{number}" for number in (1, 2, 3)]
    subprocess.run(["docker", "network", "create", PROJECT], check=True, stdout=subprocess.DEVNULL)
    try:
        label = "com.docker.compose"
        # fmt: off
        starting = [
            subprocess.Popen(
                [
                    "docker", "run", "--detach", "--name", name, "--network", PROJECT,
                    "--label", f"{label}.project={PROJECT}", "--label", f"{label}.service=db",
                    "--label", f"{label}.container-number={number}",
                    default_base(), "python3", "-c", Theirs().server, LISTEN, "none",
                ],
                stdout=subprocess.DEVNULL,
            )
            for number, name in enumerate(names, 1)
        ]
        # fmt: on
        assert [one.wait() for one in starting] == [0, 0, 0]
        yield names
    finally:
        subprocess.run(["docker", "rm", "--force", *names], check=False, stdout=subprocess.DEVNULL)
        # The engine frees the places of containers in a network after it has said that they are gone.
        removal = ["docker", "network", "rm", PROJECT]
        wait_until(
            lambda: subprocess.run(removal, check=False, capture_output=True).returncode == 0,
            30,
            f"network {PROJECT} is removed",
        )


def seen(engine: Engine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.api.inspect_container(name)
    return found


def inside(engine: Engine, name: str, *words: str) -> str:
    """The output of a program of this host in a container's network namespace."""
    pid = seen(engine, name)["State"]["Pid"]
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", *words], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def as_they_were(engine: Engine, names: list[str]) -> None:
    """Running, not paused, their own rule there and none of ours, and on real time."""
    for name in names:
        state = seen(engine, name)["State"]
        assert (state["Running"], state["Paused"]) == (True, False), (name, state)
        assert "MRH-" not in inside(engine, name, "iptables-save")
        shown = vdso.shown_by(state["Pid"])
        assert all(abs(one - time.time_ns()) < 5e9 for one in shown.values())


async def attached(folder: Any, where: str, **options: Any) -> AttachedCluster:
    environment = AttachedEnvironment(options.get("control", True))
    cluster = await environment.create_cluster(
        Theirs(), NODES, folder, {"attach": where, "ports": PORTS} | options
    )
    await cluster.expect(["partition", "clock"])
    await cluster.start_all()
    await cluster.wait_ready(90)
    return cluster


async def reaches(cluster: AttachedCluster, source: str, target: str) -> bool:
    """Whether a program in the source's container gets an answer of the target."""
    host, port = cluster.client_address(target)["peer"]
    reply = await Theirs().ask(cluster.client_address(source)["client"], f"connect {host} {port}")
    return reply == "hello"


async def ahead_s(cluster: AttachedCluster, node: str) -> int:
    shown_ns = await Theirs().read_clock(cluster.client_address(node))
    assert shown_ns is not None, f"{node} tells no time"
    return round((shown_ns - time.time_ns()) / 1e9)


@pytest.mark.docker
@pytest.mark.slow
def test_a_project_is_broken_and_given_back(folder: Any, engine: Engine, theirs: list[str]) -> None:
    inside(engine, theirs[0], "iptables", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP")
    before = inside(engine, theirs[0], "iptables-save", "-t", "filter")
    ids = [seen(engine, name)["Id"] for name in theirs]

    async def story() -> None:
        cluster = await attached(folder, f"compose:{PROJECT}")
        try:
            assert (await cluster.cut([("n1", "n2"), ("n2", "n1")])).took_effect
            assert [await reaches(cluster, "n1", other) for other in ("n2", "n3")] == [False, True]
            assert (await cluster.mend([("n1", "n2"), ("n2", "n1")])).took_effect
            assert await reaches(cluster, "n1", "n2")
            assert (await cluster.set_clock("n1", 3_600_000)).took_effect
            assert [await ahead_s(cluster, node) for node in ("n1", "n2")] == [3600, 0]
            assert (await cluster.pause("n2")).took_effect
            assert (await cluster.resume("n2")).took_effect
            assert (await cluster.kill("n3")).took_effect
            assert (await cluster.start("n3")).took_effect
            assert (await cluster.cut([(CLIENT, "n3")])).took_effect
            with pytest.raises(FaultUnavailable, match="data of attached containers"):
                await cluster.wipe("n1")
            assert cluster.crashes() == ()
            # It ends in the middle of it all: paused, killed, cut off, at another time.
            await cluster.pause("n2")
            await cluster.kill("n3")
        finally:
            await cluster.destroy()

    asyncio.run(story())
    as_they_were(engine, theirs)
    assert [seen(engine, name)["Id"] for name in theirs] == ids
    assert _rules(inside(engine, theirs[0], "iptables-save", "-t", "filter")) == _rules(before)


def _rules(saved: str) -> list[str]:
    """Of `iptables-save`, without counters and comments."""
    return [line.partition("[")[0] for line in saved.splitlines() if not line.startswith("#")]


@pytest.mark.docker
@pytest.mark.slow
def test_after_a_kill_of_the_harness_they_are_given_back_by_healing(
    folder: Any, engine: Engine, theirs: list[str], tmp_path: Path
) -> None:
    async def story() -> None:
        with pytest.raises(EnvironmentFailed, match="has no container nobody"):
            await attached(folder, f"{theirs[0]},{theirs[1]},nobody")
        cluster = await attached(folder, ",".join(theirs), control=False)
        for act in (cluster.pause, cluster.kill, cluster.exhaust_memory):
            with pytest.raises(FaultUnavailable, match="control=false"):
                await act("n1")
        assert (await cluster.cut([("n1", "n2")])).took_effect
        assert (await cluster.set_clock("n3", -500_000)).took_effect
        cluster.ledger.detach()  # As if nobody were there any more.

    asyncio.run(story())
    report = heal(folder.path)
    assert report.failed == (), report
    assert any("freed of our rules" in line for line in report.healed), report
    assert any("n3" in line and "shown real time" in line for line in report.healed), report
    as_they_were(engine, theirs)
    assert heal(folder.path).healed == ()
