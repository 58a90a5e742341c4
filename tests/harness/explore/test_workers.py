"""Worker processes and Dask workers run seeds, survive Ctrl-C, are replaced when they die, and end with the sweep."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from harness.environments.environment import EnvironmentFailed
from harness.explore.sweep import COMPLETE, Delivered, Stop, Sweep, Tally
from harness.explore.sweep_folder import SweepFolder
from harness.explore.workers import clear_away, dask_workers, process_workers, unpack
from harness.fingerprint import code_digest
from harness.scenario import ScenarioError
from results.process_identity import identify
from results.run_folder import RunFolder
from tests.harness.explore import seeds_that
from tests.harness.explore.fakes import Kept
from tests.support.processes import wait_until
from tests.support.requirements import skip_unless_required


def needs_dask() -> None:
    if importlib.util.find_spec("distributed") is None:
        skip_unless_required("dask", "it is not installed")


ROOT = Path(__file__).resolve().parents[3]


def ended(pid: int) -> bool:
    return identify(pid) is None


@pytest.mark.slow
def test_processes_run_seeds_and_only_the_culprit_is_blamed() -> None:
    kept, tally = Kept(), Tally()
    with process_workers(seeds_that.work, 2) as workers:
        end = Sweep(workers, kept, iter(range(1, 31)), tally, command_of=str).run(Stop(), kept)
    assert end == COMPLETE
    assert sorted(one.seed for one in kept.results) == list(range(1, 31))
    failures = {one.seed: one.sentence for one in tally.failures()}
    assert set(failures) == {seeds_that.ENDS_ITS_PROCESS, seeds_that.RAISES}
    assert "ended suddenly" in failures[seeds_that.ENDS_ITS_PROCESS]
    assert "cannot be sent back" in failures[seeds_that.RAISES]
    processes = {one.sentence for one in kept.results if one.outcome == "valid"}
    assert f"process {os.getpid()}" not in processes
    assert all(ended(int(sentence.split()[1])) for sentence in processes)


@pytest.mark.slow
def test_ctrl_c_is_the_sweeps_affair_and_not_the_workers() -> None:
    kept, tally = Kept(), Tally()
    with process_workers(seeds_that.interrupted, 1) as workers:
        end = Sweep(workers, kept, iter(range(1, 5)), tally).run(Stop(), kept)
    assert (end, tally.done, tally.failures()) == (COMPLETE, 4, [])


@pytest.mark.slow
def test_stopping_at_once_ends_the_workers_whatever_they_do() -> None:
    stop, pids = Stop(), set()

    def at(done: Any) -> None:
        pids.add(int(done.sentence.split()[1]))
        stop.requests = 2 if tally.done > 3 else 0

    kept, tally = Kept(at), Tally()
    with process_workers(seeds_that.slow, 2) as workers:
        Sweep(workers, kept, count(100), tally).run(stop, kept)
        workers.end(at_once=True)
    assert pids
    assert all(ended(pid) for pid in pids)


@pytest.mark.slow
def test_a_sweep_that_is_killed_leaves_whole_results_and_no_process(tmp_path: Path) -> None:
    sweep = subprocess.Popen(
        [sys.executable, "-m", "tests.harness.explore.seeds_that", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert sweep.stdout is not None
        workers = {int(sweep.stdout.readline().split()[1]) for _ in range(2)}
        results = next(tmp_path.glob("sweep-*/results.jsonl"))
        wait_until(lambda: results.read_bytes().count(b"\n") > 10, 60, "ten seeds are done")
    finally:
        os.kill(sweep.pid, signal.SIGKILL)
        sweep.communicate(timeout=60)
    assert len(workers) == 2
    wait_until(lambda: all(ended(pid) for pid in workers), 60, "its workers end")
    with SweepFolder.open("latest", tmp_path) as folder:
        done = {one.seed for one in folder.results()}
    assert len(done) > 10
    assert min(done) == 100
    assert max(done) < 100 + len(done) + 4, "seeds are handed out in order"


def test_a_packed_run_folder_is_put_where_it_belongs(tmp_path: Path) -> None:
    delivered = seeds_that.brings_a_folder(5)
    (tmp_path / "seed-5").mkdir()
    (tmp_path / "seed-5" / "left over").write_text("from a sweep that was killed")
    result = unpack(delivered, tmp_path)
    assert result.folder == str(tmp_path / "seed-5")
    assert [path.name for path in (tmp_path / "seed-5").iterdir()] == ["history.jsonl"]
    plain = Delivered(delivered.result)
    assert unpack(plain, tmp_path) == plain.result


def test_what_a_killed_sweep_left_of_a_seed_is_cleared_away(tmp_path: Path) -> None:
    """Half a run, a whole one that was judged but not told, and nothing at all."""
    left_over = RunFolder(tmp_path / "seed-5")
    clear_away(left_over)
    for name in ("history.jsonl", "verdict.json"):
        left_over.path.mkdir()
        (left_over.path / name).write_text("{}")
        clear_away(left_over)
        assert not left_over.path.exists()


@pytest.mark.slow
def test_a_worker_that_has_not_seen_yet_that_its_sweep_is_gone_is_waited_for(tmp_path: Path) -> None:
    words = (
        "import sys; from pathlib import Path; from results.run_folder import RunFolder;"
        "RunFolder(Path(sys.argv[1])).claim(); print(1, flush=True); sys.stdin.read()"
    )
    left_over = RunFolder(tmp_path / "seed-5")
    left_over.path.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", words, str(left_over.path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as orphan:
        assert orphan.stdout is not None
        orphan.stdout.readline()
        assert left_over.running() is not None
        clearing = threading.Thread(target=clear_away, args=(left_over,))
        clearing.start()
        orphan.kill()
    clearing.join(timeout=60)
    assert not left_over.path.exists()


# Dask


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A Dask cluster on this machine: two worker processes of one thread each."""
    needs_dask()
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
def test_seeds_run_on_a_dask_cluster_and_their_folders_come_here(scheduler: str, tmp_path: Path) -> None:
    kept, tally = Kept(), Tally()
    with dask_workers(seeds_that.brings_a_folder, scheduler, code_digest()) as workers:
        assert workers.jobs == 2
        end = Sweep(
            workers, kept, iter(range(1, 9)), tally, unpack=lambda delivered: unpack(delivered, tmp_path)
        ).run(Stop(), kept)
    assert end == COMPLETE
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"seed-{seed}" for seed in range(1, 9)]
    assert (tmp_path / "seed-3" / "history.jsonl").read_text() == "the history of 3"
    assert tally.outcomes == {"invalid": 8}


@pytest.mark.slow
def test_workers_of_a_dask_cluster_with_other_code_are_refused(scheduler: str) -> None:
    with (
        pytest.raises(EnvironmentFailed, match=r"2 of 2 workers of .* run other code"),
        dask_workers(seeds_that.work, scheduler, "another"),
    ):
        pass


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.explore import workers

    monkeypatch.setattr(workers, "CONNECT_TIMEOUT_S", 0.5)
    with (
        pytest.raises(EnvironmentFailed, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        dask_workers(seeds_that.work, "tcp://127.0.0.1:9", "code"),
    ):
        pass


@pytest.mark.slow
def test_an_address_that_is_none_is_wrong_usage() -> None:
    needs_dask()
    with (
        pytest.raises(ScenarioError, match="pigeon://x"),
        dask_workers(seeds_that.work, "pigeon://x", "code"),
    ):
        pass


def test_without_the_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(EnvironmentFailed, match=r"multiraft-harness\[dask\]"),
        dask_workers(seeds_that.work, "tcp://127.0.0.1:8786", "code"),
    ):
        pass
