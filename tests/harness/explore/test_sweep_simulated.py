"""`harness sweep` for real: simulated runs in processes, a planted defect found and repeated, a kill survived."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from harness.explore.trial import TrialRequest, TrialResult, run_trial
from harness.scenario import Scenario
from results.run_folder import RunFolder
from tests.support.commands import call, start
from tests.support.processes import wait_until

ROOT = Path(__file__).resolve().parents[3]
SHORT = ("--time-limit", "4", "--nemesis", "partition,kill", "--nodes", "3", "--jobs", "2")

pytestmark = pytest.mark.slow


def results(folder: Path) -> list[TrialResult]:
    lines = next(folder.glob("runs/sweep-*/results.jsonl")).read_bytes().splitlines()
    return sorted(
        (msgspec.json.decode(line, type=TrialResult) for line in lines), key=lambda result: result.seed
    )


def without_effort(result: TrialResult) -> TrialResult:
    return msgspec.structs.replace(result, cpu_s=0.0, wall_s=0.0, folder=None)


def test_a_sweep_of_the_clean_database_is_valid_and_leaves_only_results(tmp_path: Path) -> None:
    code, output = call(tmp_path, "sweep", "--workload", "register", "--seeds", "1-4", *SHORT)
    assert code == 0, output
    found = results(tmp_path)
    assert [one.seed for one in found] == [1, 2, 3, 4]
    assert all(one.outcome == "valid" and one.events > 1000 and one.operations > 20 for one in found)
    assert all(one.marks["a leader was elected"] >= 1 for one in found)
    assert "a leader was elected" in output
    assert "never reached" in output
    names = sorted(path.name for path in next((tmp_path / "runs").iterdir()).iterdir())
    assert names == ["results.jsonl", "summary.md", "sweep.toml"]


def test_the_same_seeds_come_to_the_same_in_other_processes(tmp_path: Path) -> None:
    """Down to the number of events, whichever worker ran what before."""
    sweeps = []
    for name, jobs in (("one", "1"), ("two", "2")):
        (tmp_path / name).mkdir()
        words = ["sweep", "--workload", "bank", "--seeds", "11-13", *SHORT[:-1], jobs]
        call(tmp_path / name, *words)
        sweeps.append([without_effort(result) for result in results(tmp_path / name)])
    assert len(sweeps[0]) == 3
    assert sweeps[0] == sweeps[1]


def test_a_planted_defect_is_found_and_the_printed_command_repeats_it(tmp_path: Path) -> None:
    words = ("--defect", "leader-local-read", "--seeds", "1-40", "--until-failure")
    code, output = call(tmp_path, "sweep", "--workload", "register", *words, *SHORT)
    assert code == 1, output
    assert "first failure:" in output
    assert "(failure found)" in output
    failure = next(one for one in results(tmp_path) if one.outcome == "invalid")
    assert failure.folder is not None
    kept = tmp_path / failure.folder
    assert (kept / "report.html").exists()

    command = shlex.split(failure.command)
    assert command[0] == "./run"
    assert call(tmp_path, *command[1:])[0] == 1
    repeated = RunFolder.open(root=tmp_path / "runs")
    assert repeated.history_path.read_bytes() == (kept / "history.jsonl").read_bytes()

    scenario = Scenario.load(kept / "scenario.toml")
    tried = run_trial(TrialRequest(scenario=scenario), tmp_path / "tried", name="again")
    assert without_effort(tried) == without_effort(failure)


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A sweep that goes on, with at least one seed done."""
    sweep = start(folder, "sweep", *words, stderr=subprocess.PIPE)
    kept = "runs/sweep-*/results.jsonl"
    wait_until(
        lambda: sweep.poll() is not None or any(path.stat().st_size for path in folder.glob(kept)),
        120,
        "a seed is done",
    )
    assert sweep.poll() is None, "the sweep ended before it could be stopped"
    return sweep


def test_ctrl_c_finishes_the_seeds_that_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    sweep = begun(tmp_path, "--workload", "register", "--seeds", "1-10000", *SHORT)
    sweep.send_signal(signal.SIGINT)
    out, err = sweep.communicate(timeout=120)
    assert sweep.returncode == 3, out + err
    assert "stopping: no new seeds" in err
    assert "go on with: ./run sweep --resume runs/sweep-" in out
    assert "Traceback" not in out + err
    folder = next((tmp_path / "runs").iterdir())
    assert sorted(path.name for path in folder.iterdir()) == ["results.jsonl", "summary.md", "sweep.toml"]
    assert f"\n{len(results(tmp_path))} of 10000 seeds (stopped)" in "\n" + out


def test_ctrl_c_twice_ends_at_once_and_keeps_what_is_done(tmp_path: Path) -> None:
    sweep = begun(tmp_path, "--workload", "register", "--seeds", "1-10000", *SHORT)
    sweep.send_signal(signal.SIGINT)
    sweep.send_signal(signal.SIGTERM)
    out, err = sweep.communicate(timeout=120)
    assert sweep.returncode == 3, out + err
    assert "stopping at once" in err
    assert "Traceback" not in out + err
    assert results(tmp_path)


def test_a_sweep_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """`kill -9` in the middle; `--resume` runs the other seeds, each seed once, and judges all of them."""
    sweep = begun(tmp_path, "--workload", "register", "--seeds", "1-8", *SHORT)
    sweep.send_signal(signal.SIGKILL)
    sweep.communicate()
    before = [one.seed for one in results(tmp_path)]
    assert 1 <= len(before) < 8
    # Whoever edits the sources while the tests run has other code by now.
    code, output = call(tmp_path, "sweep", "--resume", "latest", "--jobs", "2", "--any-code")
    assert code == 0, output
    assert f"done before: {len(before)} seeds" in output
    assert [one.seed for one in results(tmp_path)] == list(range(1, 9))
    names = sorted(path.name for path in next((tmp_path / "runs").iterdir()).iterdir())
    assert names == ["results.jsonl", "summary.md", "sweep.toml"], "what the killed workers left is replaced"
