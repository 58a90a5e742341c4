"""The main job on real processes: a cluster is started, broken and judged, and nothing is left behind."""

import os
import signal
from pathlib import Path

import pytest

from harness.environments.ledger import read_ledger
from results.run_folder import RunFolder
from tests.support.commands import call, start
from tests.support.processes import mentioning, wait_until

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for leftover processes in /proc"),
]


@pytest.mark.parametrize("workload", ["bank", "register", "set"])
def test_a_correct_database_is_found_valid_while_it_is_broken(tmp_path, workload):
    code, output = call(
        tmp_path,
        "test",
        "--workload",
        workload,
        "--time-limit",
        "8",
        "--nemesis",
        "partition,kill,pause,clock",
        "--seed",
        "2",
    )
    assert code == 0, output
    assert output.startswith("seed ")
    folder = RunFolder.open("latest", root=tmp_path / "runs")
    intervals = folder.read_history().fault_intervals()
    proved = {interval.fault for interval in intervals if interval.took_effect}
    assert proved == {"partition", "kill", "pause", "clock"}
    assert folder.read_verdict().outcome == "valid"
    assert folder.report_path.exists()
    assert not mentioning(str(tmp_path)), "processes were left behind"


def test_a_planted_defect_is_found_and_explained(tmp_path):
    """A leader that answers reads without asking anybody serves stale ones while it is cut off."""
    words = (
        "test",
        "--workload",
        "register",
        "--nemesis",
        "partition@leader",
        "--defect",
        "leader-local-read",
        "--fail-fast",
    )
    outcomes = []
    for seed in ("1", "2", "3"):
        code, output = call(tmp_path, *words, "--time-limit", "30", "--seed", seed)
        outcomes.append((code, output))
        if code == 1:
            assert "stale" in output
            return
    pytest.fail(f"not found with three seeds: {outcomes}")


def test_a_killed_harness_leaves_a_history_to_judge_and_nothing_running(tmp_path):
    process = start(
        tmp_path, "test", "--workload", "register", "--time-limit", "25", "--nemesis", "pause,partition"
    )
    history = tmp_path / "runs" / "latest" / "history.jsonl"
    wait_until(
        lambda: history.exists() and b'"took_effect":true' in history.read_bytes(), 90, "a fault took effect"
    )
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(
        lambda: not mentioning(str(tmp_path)), 60, f"all processes gone; left: {mentioning(str(tmp_path))}"
    )

    code, output = call(tmp_path, "check", "runs/latest")
    assert code == 3, output  # It ended before anybody saw the cluster recover.
    assert "register" in output
    assert "harness heal" in output
    code, output = call(tmp_path, "heal")
    assert code == 0, output
    assert call(tmp_path, "heal") == (0, "nothing to heal in 1 run\n")


@pytest.mark.parametrize("victim", ["proxy", "supervisor"])
def test_a_run_ends_at_once_when_what_carries_the_cluster_dies(tmp_path, victim):
    process = start(tmp_path, "test", "--workload", "set", "--time-limit", "60", "--nemesis", "partition")
    run = tmp_path / "runs" / "latest"
    history = run / "history.jsonl"
    wait_until(lambda: history.exists() and b'"type":"ok"' in history.read_bytes(), 90, "operations succeed")
    (pid,) = (
        entry.undo["pid"]
        for entry in read_ledger(run / "ledger.jsonl").open_entries
        if entry.undo.get("name") == victim
    )
    os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 4, output
    assert f"the {victim} (process {pid}) has ended by itself" in output
    assert "Traceback" not in output
    assert not mentioning(str(tmp_path)), "processes were left behind"
    assert read_ledger(run / "ledger.jsonl").open_entries == []

    code, output = call(tmp_path, "check", "runs/latest")
    assert code == 3, "a record without an end proves nothing: " + output


def test_interrupted_once_a_run_heals_saves_and_judges(tmp_path):
    process = start(tmp_path, "test", "--workload", "set", "--time-limit", "25", "--nemesis", "kill")
    history = tmp_path / "runs" / "latest" / "history.jsonl"
    wait_until(
        lambda: history.exists() and b'"took_effect":true' in history.read_bytes(), 90, "a fault took effect"
    )
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    folder = RunFolder.open("latest", root=tmp_path / "runs")
    assert folder.read_verdict().outcome == "valid"
    assert not mentioning(str(tmp_path)), "processes were left behind"


def test_interrupted_twice_a_run_stops_at_once(tmp_path):
    process = start(tmp_path, "test", "--workload", "set", "--time-limit", "60", "--nemesis", "none")
    history = tmp_path / "runs" / "latest" / "history.jsonl"
    wait_until(lambda: history.exists() and b'"type":"ok"' in history.read_bytes(), 90, "operations succeed")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: b'"heal"' in history.read_bytes() or process.poll() is not None, 90, "healing begins")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode in (0, 3), output
    assert not mentioning(str(tmp_path)), "processes were left behind"
