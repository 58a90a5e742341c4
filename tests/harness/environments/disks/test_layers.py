"""Real disks that fail, below nodes that are processes: each fault proven, nothing synced lost or left mounted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.environments.disks.disks import why_no_layers
from harness.environments.disks.mounts import TABLE, mount_points, unmount
from harness.environments.ledger import heal, read_ledger
from harness.environments.local.environment import LocalEnvironment
from harness.environments.netns import hub
from harness.environments.netns.environment import NetnsEnvironment
from harness.environments.processes import processes_with_token
from nemesis.cluster import FaultFailed
from tests.harness.environments.disks.disk_story import tell
from tests.harness.environments.echo_system import EchoSystem, TestFolder
from tests.support.processes import wait_for_end_of_run
from tests.support.requirements import skip_unless_required

ROOT = Path(__file__).resolve().parents[4]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _needs_layers(tmp_path: Path) -> Iterator[None]:
    reason = why_no_layers()
    if reason is not None:
        skip_unless_required("fuse", reason)
    yield
    left = [point for point in mount_points(TABLE.read_text()) if point.startswith(str(tmp_path))]
    for point in left:
        unmount(Path(point))
    assert left == []


@pytest.mark.parametrize("environment", [LocalEnvironment, NetnsEnvironment])
def test_disks_fail_and_heal_and_lose_only_what_was_not_synced(environment: type, tmp_path: Path) -> None:
    if environment is NetnsEnvironment and hub.objection() is not None:
        skip_unless_required("netns", str(hub.objection()))
    made = environment()

    async def story() -> str:
        cluster = await made.create_cluster(EchoSystem(), ["n1", "n2"], TestFolder(tmp_path), {})
        try:
            await cluster.expect({"disk"})
            await cluster.start_all()
            await cluster.wait_ready(90)
            await tell(cluster, cluster.plan("n1").data_dir)
        finally:
            await cluster.destroy()
        return str(cluster.ledger.header.token)

    token = made.run(story())
    assert processes_with_token(token) == []
    assert read_ledger(tmp_path / "ledger.jsonl").open_entries == []
    assert (tmp_path / "nodes" / "n1" / "data").is_dir()


def test_a_cluster_whose_disk_stalls_is_ended_without_a_heal(tmp_path: Path) -> None:
    """The node waits in a sync that never ends, and could not even be killed."""

    async def story() -> None:
        cluster = await LocalEnvironment().create_cluster(EchoSystem(), ["n1"], TestFolder(tmp_path), {})
        try:
            await cluster.expect({"disk"})
            await cluster.start_all()
            await cluster.wait_ready(90)
            assert (await cluster.fail_disk("n1", "stall")).took_effect
        finally:
            await cluster.destroy()

    asyncio.run(story())
    assert read_ledger(tmp_path / "ledger.jsonl").open_entries == []


def test_a_run_without_disk_faults_pays_nothing_for_them(tmp_path: Path) -> None:
    async def story() -> None:
        cluster = await LocalEnvironment().create_cluster(EchoSystem(), ["n1"], TestFolder(tmp_path), {})
        try:
            await cluster.expect({"kill"})
            assert str(cluster.plan("n1").data_dir) not in mount_points(TABLE.read_text())
            with pytest.raises(FaultFailed, match="no step of the schedule"):
                await cluster.power_loss("n1")
        finally:
            await cluster.destroy()

    asyncio.run(story())


ABANDONED = """
import asyncio, sys
from pathlib import Path
from harness.environments.local.environment import LocalEnvironment
from harness.environments.processes import processes_with_token
from tests.harness.environments.echo_system import EchoSystem, TestFolder

async def main():
    cluster = await LocalEnvironment().create_cluster(EchoSystem(), ["n1"], TestFolder(Path(sys.argv[1])), {})
    await cluster.expect({"disk"})
    await cluster.start_all()
    await cluster.wait_ready(90)
    await cluster.fail_disk("n1", "stall")
    (layer,) = [
        process.pid
        for process in processes_with_token(cluster.ledger.header.token)
        if b"disks.layer" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    ]
    print(layer, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("layer_dies_too", [False, True])
def test_a_killed_harness_leaves_no_mount(layer_dies_too: bool, tmp_path: Path) -> None:
    """A layer whose harness is gone unmounts itself. One that is killed as well is unmounted by `harness heal`."""
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    harness = subprocess.Popen(
        [sys.executable, "-c", ABANDONED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout is not None
    layer = int(harness.stdout.readline())
    if layer_dies_too:
        os.kill(layer, signal.SIGKILL)
    harness.kill()
    harness.wait(60)
    harness.stdout.close()
    wait_for_end_of_run(tmp_path)
    folder = str(tmp_path / "nodes" / "n1" / "data")
    assert (folder in mount_points(TABLE.read_text())) is layer_dies_too
    report = heal(tmp_path)
    assert report.failed == ()
    assert (f"unmounted {folder}" in report.healed) is layer_dies_too
    assert heal(tmp_path).healed == ()
