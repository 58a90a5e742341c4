"""`harness replay` and `harness shrink` as people type them: what is refused and why, and what comes out in the end."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from harness.cli.replay import _compare
from results.run_folder import RunFolder
from results.verdict import UNKNOWN, VALID, Verdict
from tests.harness.explore.made_up_runs import case, write_run
from tests.support.commands import call, start
from tests.support.processes import mentioning, wait_until

ROOT = Path(__file__).resolve().parents[3]
INVALID, WRONG_USAGE, UNDECIDED, FAILED = 1, 2, 3, 4


@pytest.fixture
def saved(harness):
    """A run that never was, in `runs/latest`: simulated, invalid."""
    folder = RunFolder.create("runs", "register")
    write_run(folder, case(), True, (6, 9))
    return folder


def runs():
    return [path.name for path in Path("runs").iterdir() if path.name != "latest"]


@pytest.mark.parametrize("command", ["replay", "shrink"])
def test_there_must_be_a_run(harness, command):
    code, _, err = harness(command)
    assert code == WRONG_USAGE
    assert "there is no run yet" in err


@pytest.mark.parametrize("command", ["replay", "shrink"])
def test_the_folder_of_a_sweep_is_no_run_and_the_error_says_where_the_runs_are(harness, saved, command):
    sweep = Path("runs/sweep-1")
    sweep.mkdir()
    (sweep / "sweep.toml").write_text("")
    code, _, err = harness(command, str(sweep))
    assert code == WRONG_USAGE
    assert "is not a run folder" in err
    assert "the folder of a sweep, which kept no run folder" in err
    for seed in (17, 4):
        (sweep / f"seed-{seed}").mkdir()
        (sweep / f"seed-{seed}" / "scenario.toml").write_text("")
    code, _, err = harness(command, str(sweep))
    assert code == WRONG_USAGE
    assert f"whose run folders are in it: {sweep}/seed-4 and 1 more" in err


def test_where_no_runs_can_be_kept_shrinking_says_so(harness, saved):
    Path("a-file").write_text("")
    code, _, err = harness("shrink", str(saved.path), "--runs-dir", "a-file")
    assert code == FAILED
    assert "cannot try runs in a-file" in err
    assert "Traceback" not in err


def twin(of, name, events):
    """A copy of a run with another history."""
    folder = RunFolder(Path("runs") / name)
    shutil.copytree(of.path, folder.path)
    folder.history_path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return folder


WRITE = {"process": 0, "type": "invoke", "f": "write", "value": [1, 2], "time": 0}
DRIVE = {"process": "harness", "type": "info", "f": "drive", "time": 9}
STOPPED = {"process": "harness", "type": "info", "f": "stopped", "time": 9}


@pytest.mark.parametrize(
    ("other_code", "outside", "last", "said"),
    [
        (None, None, [DRIVE], "please report it"),
        (None, None, [DRIVE, STOPPED], "the new run was stopped before its end"),
        (None, None, [], "the new run was stopped before its end"),
        (None, "mine:plant", [DRIVE], "the defect mine:plant is from a module outside"),
        ("it ran on version 0", None, [DRIVE], None),
    ],
)
def test_a_history_that_differs_is_blamed_on_what_explains_it(
    harness, saved, capsys, other_code, outside, last, said
):
    def numbered(events):
        return [{"index": index, **event} for index, event in enumerate(events)]

    old = twin(saved, "old", numbered([WRITE, DRIVE]))
    new = twin(saved, "new", numbered([{**WRITE, "value": [1, 3]}, *last]))
    _compare(old, new, other_code, outside)
    printed = capsys.readouterr()
    assert "the histories differ from event 0 on" in printed.out
    assert said in printed.err if said is not None else not printed.err


@pytest.mark.parametrize("command", ["replay", "shrink"])
def test_a_damaged_run_is_refused_and_nothing_is_started(harness, saved, command):
    saved.schedule_path.write_text("{")
    code, _, err = harness(command, "latest")
    assert code == WRONG_USAGE
    assert "schedule.jsonl: not a schedule" in err
    assert runs() == [saved.id]


def test_a_replay_where_a_fault_is_not_to_be_had_ends_with_4_before_it_starts(harness, saved):
    lines = saved.schedule_path.read_text().replace('"fault":"pause"', '"fault":"packet","shape":"duplicate"')
    saved.schedule_path.write_text(lines)
    code, _, err = harness("replay", "--environment", "local")
    assert code == FAILED
    assert "1 of 4 fault steps" in err
    assert "--skip-unavailable" in err
    assert runs() == [saved.id]


def test_a_replay_in_an_unknown_environment_is_wrong_usage(harness, saved):
    code, _, err = harness("replay", "--environment", "moon")
    assert code == WRONG_USAGE
    assert "unknown environment 'moon'; the environments are" in err


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (
            Verdict(VALID, "run", "all holds"),
            "is valid: nothing went wrong in it; there is nothing to shrink",
        ),
        (Verdict(UNKNOWN, "run", "a limit was reached"), "is unknown: a limit was reached"),
    ],
)
def test_only_a_run_that_is_invalid_can_be_shrunk(harness, saved, verdict, said):
    saved.write_verdict(verdict)
    code, _, err = harness("shrink", "latest")
    assert code == WRONG_USAGE
    assert said in err


def test_a_run_that_was_never_judged_is_to_be_judged_first(harness, saved):
    saved.verdict_path.unlink()
    code, _, err = harness("shrink", "latest")
    assert code == WRONG_USAGE
    assert "was not judged; `harness check" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--anomaly", "dirty read"), "no anomaly 'dirty read'; it has linearizability: stale read"),
        (("--budget", "soon"), "--budget 'soon': must be a time"),
        (("--confirm", "3/2"), "--confirm '3/2': must be N/M"),
        (("--jobs", "0"), "0 is not in the range"),
    ],
)
def test_options_that_make_no_sense_are_refused(harness, saved, words, said):
    code, _, err = harness("shrink", "latest", *words)
    assert code == WRONG_USAGE
    assert said in err
    assert runs() == [saved.id]


# For real, in simulation

DEFECT = ("--environment", "simulation", "--workload", "register", "--nemesis", "partition@leader")
DEFECT += ("--defect", "leader-local-read", "--rate", "100", "--time-limit", "8")


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """A simulated run in which a leader that was cut off served an old value."""
    folder = tmp_path_factory.mktemp("failing")
    for seed in range(1, 30):
        code, output = call(folder, "test", *DEFECT, "--seed", str(seed))
        assert code in (0, INVALID), output
        if code == INVALID:
            return folder, RunFolder.open("latest", root=folder / "runs")
    pytest.fail("the defect was not found with 29 seeds")


@pytest.mark.slow
def test_a_simulated_run_is_repeated_byte_for_byte(failing):
    folder, saved = failing
    code, output = call(folder, "replay", str(saved.path))
    assert code == INVALID, output
    assert "the same history, byte for byte" in output
    assert "then: invalid" in output
    assert "now:  invalid" in output
    new = RunFolder.open("latest", root=folder / "runs")
    assert new.id != saved.id
    assert new.history_path.read_bytes() == saved.history_path.read_bytes()
    assert new.scenario_path.read_text() == saved.scenario_path.read_text()


@pytest.mark.slow
def test_a_failing_run_becomes_small_and_the_small_one_is_repeated_byte_for_byte(failing):
    folder, saved = failing
    code, output = call(folder, "shrink", str(saved.path), "--budget", "50runs")
    assert code == INVALID, output
    small = RunFolder.open("latest", root=folder / "runs")
    record = json.loads(small.shrink_path.read_text())
    assert record["before"]["run"] == saved.id
    assert record["type"] == "stale read"
    assert record["after"]["size"]["steps"] <= 2
    assert record["after"]["size"]["operations"] <= 20
    assert small.shrink_page_path.exists()
    assert not list((folder / "runs").glob(".shrink-*")), "what was tried is left behind"

    code, output = call(folder, "replay", str(small.path))
    assert code == INVALID, output
    assert "the same history, byte for byte" in output
    words = record["after"]["commands"][0].split()[1:]
    code, output = call(folder, *words)
    assert code == INVALID, output
    again = RunFolder.open("latest", root=folder / "runs")
    assert again.history_path.read_bytes() == small.history_path.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for leftover processes in /proc")
def test_interrupted_it_keeps_the_best_so_far(failing):
    folder, saved = failing
    before = {path.name for path in (folder / "runs").iterdir()}
    shrinking = start(folder, "shrink", str(saved.path), "--budget", "10m", "--jobs", "2")
    seen = []
    wait_until(lambda: seen.append(shrinking.stdout.readline()) or "fewer" in seen[-1], 120, "it got smaller")
    os.kill(shrinking.pid, signal.SIGINT)
    output, _ = shrinking.communicate(timeout=180)
    assert shrinking.returncode == INVALID, output
    assert "it was interrupted" in output
    (new,) = {path.name for path in (folder / "runs").iterdir()} - before
    small = RunFolder(folder / "runs" / new)
    record = json.loads(small.shrink_path.read_text())
    assert record["ended"] == "it was interrupted"
    assert record["after"]["size"]["operations"] < record["before"]["size"]["operations"]
    assert not mentioning(str(folder)), "processes were left behind"


@pytest.mark.slow
def test_what_was_found_in_simulation_is_tried_on_real_nodes(failing):
    """By its recorded faults and operations; the outcome is whatever it is there."""
    folder, saved = failing
    code, output = call(folder, "replay", str(saved.path), "--environment", "local")
    assert code in (0, INVALID, UNDECIDED), output
    assert "timing differs, so the outcome may differ too" in output
    new = RunFolder.open("latest", root=folder / "runs")
    old_steps = [one["fault"] for one in saved.read_schedule()]
    assert [one["fault"] for one in new.read_schedule()] == old_steps
    recorded = new.operations_path.read_bytes().splitlines()
    invoked = [pair for pair in new.read_history().pairs() if pair.phase == "main"]
    # A client that waits for a node that is cut off may not get to the end of its line.
    assert len(recorded) / 2 < len(invoked) <= len(recorded)


def test_what_a_killed_search_has_left_is_cleared_by_heal_and_a_running_one_is_left_alone(harness, tmp_path):
    dead, alive = tmp_path / "runs" / ".shrink-dead", tmp_path / "runs" / ".shrink-alive"
    for scratch in (dead, alive):
        (scratch / "try-1").mkdir(parents=True)
        write_run(RunFolder(scratch / "try-1"), case(), True, (6, 9))
    RunFolder(alive).claim()
    code, out, err = harness("heal")
    assert code == 0, err
    assert ".shrink-dead: what an interrupted `harness shrink` had tried is removed" in out
    assert not dead.exists()
    assert alive.exists()
