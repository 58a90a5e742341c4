"""Nothing is left of a harness that is killed, whenever that is; and what is left on a machine is found."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from harness.environments import prune as page
from harness.environments.disks.disks import why_no_layers
from harness.environments.disks.mounts import TABLE, mount_points, mounts_of
from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import heal, read_ledger
from harness.environments.local.environment import LocalEnvironment
from harness.environments.netns import hub
from harness.environments.processes import processes_with_token
from harness.environments.prune import prune, run_folder
from tests.harness.environments.echo_system import EchoSystem, TestFolder
from tests.support.requirements import skip_unless_required

ROOT = Path(__file__).resolve().parents[3]


def run_until(environment: str, path: Path, moment: str) -> str:
    """Kills a harness with SIGKILL when it has said that; answers the token of its run, if it had one by then."""
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.harness.environments.broken_harness", environment, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    token = ""
    for line in program.stdout:
        token = line.split()[1] if line.startswith("created") else token
        if line.startswith(moment):
            break
    else:
        raise AssertionError(f"it ended before it said {moment!r}")
    program.kill()
    program.wait(60)
    program.stdout.close()
    return token


def require(environment: str) -> None:
    if why_no_layers() is not None:
        skip_unless_required("fuse", str(why_no_layers()))
    if environment == "netns" and hub.objection() is not None:
        skip_unless_required("netns", str(hub.objection()))
    if environment == "docker":
        from harness.environments.docker.engine import connect

        try:
            connect().close()
        except EnvironmentFailed as error:
            skip_unless_required("docker", str(error))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "moment"),
    [
        ("netns", "nothing yet"),
        ("netns", "disks"),
        ("netns", "cut and paused"),
        ("netns", "stalled"),
        ("local", "killed"),
        pytest.param("docker", "stalled", marks=pytest.mark.docker),
    ],
)
def test_heal_after_a_kill_at_any_moment_leaves_nothing(
    environment: str, moment: str, tmp_path: Path
) -> None:
    require(environment)
    token = run_until(environment, tmp_path, moment)
    report = heal(tmp_path)
    assert report.failed == ()
    if (tmp_path / "ledger.jsonl").exists():
        assert read_ledger(tmp_path / "ledger.jsonl").open_entries == []
    assert token == "" or processes_with_token(token) == []
    assert not [point for point in mount_points(TABLE.read_text()) if point.startswith(str(tmp_path))]
    if environment == "docker":
        from harness.environments.docker.engine import FOLDER_LABEL, connect

        engine = connect()
        try:
            having = {"label": f"{FOLDER_LABEL}={tmp_path.resolve()}"}
            assert engine.api.containers(all=True, filters=having) == []
            assert engine.api.networks(filters=having) == []
        finally:
            engine.close()
    assert heal(tmp_path).healed == ()


@pytest.mark.slow
def test_prune_finds_runs_by_what_they_left_and_spares_those_in_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. A cluster is kept running: it is told of, and left alone. 2. A run in progress is left alone as well. 3. The
    folder of the kept one is deleted by hand: nothing knows of it any more but its processes, and they are found.

    What others have on this machine is theirs, such as the runs of tests beside this one."""
    everything = page.find_leftovers

    def of_this_test() -> page.Leftovers:
        found = everything()
        for part in (found.processes, found.mounts, found.engine):
            for folder in [one for one in part if not one.is_relative_to(tmp_path)]:
                del part[folder]  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr(page, "find_leftovers", of_this_test)

    async def story() -> None:
        kept, living = tmp_path / "kept", tmp_path / "living"
        for path in (kept, living):
            path.mkdir()
        first = await LocalEnvironment().create_cluster(EchoSystem(), ["n1"], TestFolder(kept), {})
        await first.start_all()
        token = first.ledger.header.token
        await first.detach()
        second = await LocalEnvironment().create_cluster(EchoSystem(), ["n1"], TestFolder(living), {})
        try:
            await second.start_all()
            reports, left_alone = await asyncio.to_thread(prune)
            assert kept not in reports
            assert left_alone[kept] == "it was kept running on purpose"
            assert left_alone[living] == f"in progress (process {os.getpid()})"
            assert processes_with_token(token)
            shutil.rmtree(kept)
            reports, left_alone = await asyncio.to_thread(prune)
            assert reports[kept].failed == ()
            assert processes_with_token(token) == []
            assert second.state("n1") == "up"
        finally:
            await second.destroy()
        reports, left_alone = await asyncio.to_thread(prune)
        assert not {kept, living} & {*reports, *left_alone}

    asyncio.run(story())


def test_a_layer_names_the_run_that_it_belongs_to_here_and_on_a_host() -> None:
    """On a host the folder of a run is its token; in both, nobody looks below the mount, which may be dead."""
    assert run_folder(Path("/runs/bank/nodes/n1/data")) == Path("/runs/bank")
    assert run_folder(Path("/tmp/harness/fec46ee2c359/n2/data")) == Path("/tmp/harness/fec46ee2c359")
    assert run_folder(Path("/data")) == Path("/")


@pytest.mark.parametrize("in_progress", [True, False])
def test_layers_of_a_run_whose_harness_is_elsewhere_stay_while_it_is_in_progress(
    in_progress: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "fec46ee2c359" + "0" * 20
    point = tmp_path / token[:12] / "n2" / "data"
    living = page.ProcessIdentity(os.getpid(), "now")
    unmounted: list[Path] = []
    monkeypatch.setattr(page, "mounts_of", lambda _table, _system: [point])
    monkeypatch.setattr(
        page,
        "processes_with_variable",
        lambda name: [(living, token)] if in_progress and name == page.TOKEN_VARIABLE else [],
    )
    monkeypatch.setattr(page, "unmount", lambda folder: unmounted.append(folder) or True)
    reports, left_alone = prune()
    run = tmp_path / token[:12]
    if in_progress:
        assert left_alone[run] == "in progress, for a harness elsewhere"
        assert unmounted == []
    else:
        assert reports[run].healed == (f"unmounted {point}",)
        assert unmounted == [point]


def test_the_table_of_mounts_is_read_with_its_quoting() -> None:
    table = (
        "36 35 98:0 / /mnt/plain rw,noatime shared:1 - ext4 /dev/root rw\n"
        "37 35 0:52 / /runs/with\\040blank/nodes/n1/data rw - fuse multiraft-harness rw,user_id=0\n"
    )
    assert mount_points(table) == ["/mnt/plain", "/runs/with blank/nodes/n1/data"]
    assert mounts_of(table, "multiraft-harness") == [Path("/runs/with blank/nodes/n1/data")]
