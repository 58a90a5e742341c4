"""What people type: each mistake gets a message with the value, the rule and the way out, and the right exit code."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.catalog import ENVIRONMENTS
from harness.cli.app import COMMANDS, explain
from results.operation import INFO, INVOKE, OK, Operation, encode_line
from results.run_folder import RunFolder
from tests.support.scenarios import scenario_text

WRONG_USAGE, FAILED = 2, 4


def test_help_names_every_command_and_the_exit_codes(harness):
    code, out, _ = harness("--help")
    assert code == 0
    for name in COMMANDS:
        assert name in out
    assert "3 unknown" in out


def test_no_command_shows_the_help(harness):
    code, out, err = harness()
    assert code == WRONG_USAGE
    assert "Commands" in out + err


def test_a_full_disk_is_told_as_what_it_is_and_a_mistake_of_ours_with_its_traceback(capsys):
    assert explain(OSError(errno.ENOSPC, "No space left on device", "runs/x/summary.md")) == FAILED
    err = capsys.readouterr().err
    assert "cannot write or read runs/x/summary.md: No space left on device; make room" in err
    assert "please report it" not in err
    assert explain(OSError(errno.EBADF, "Bad file descriptor")) == FAILED
    assert "an unexpected OSError in the harness (above); please report it" in capsys.readouterr().err


def test_who_wrote_a_plug_in_that_raises_is_told_where(tmp_path, capsys):
    """It is no failure of the harness, which says so; also where the plug-in passed something wrong to a library."""
    page = tmp_path / "their_page.py"
    page.write_text("import json\n\ndef launch(plan):\n    return json.loads(plan)\n")
    names = {"__name__": "their_page"}
    exec(compile(page.read_text(), str(page), "exec"), names)
    with pytest.raises(ValueError, match="Expecting value") as raised:
        names["launch"]("no JSON")
    assert explain(raised.value) == FAILED
    err = capsys.readouterr().err
    assert f"{page}, line 4, raised it, which is no part of the harness" in err
    assert "please report it" not in err


@pytest.mark.parametrize(("no_color", "color"), [("1", False), ("", None), (None, None)])
def test_who_asks_for_no_color_gets_none(harness, monkeypatch, no_color, color):
    if no_color is None:
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setenv("NO_COLOR", no_color)
    seen = []

    @click.command()
    def command():
        seen.append(click.get_current_context().color)

    monkeypatch.setattr("harness.cli.list.command", command)
    assert harness("list")[0] == 0
    assert seen == [color]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(harness, name):
    code, out, _ = harness(name, "--help")
    assert code == 0
    assert "Usage: harness " + name in out


@pytest.mark.parametrize("command", ["test", "replay"])
def test_the_help_names_every_environment(harness, command):
    _, out, _ = harness(command, "--help")
    assert set(ENVIRONMENTS) <= set(re.findall(r"\w+", out))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tset",), "no such command 'tset'"),
        (("test",), "which workload? Give --workload with one of bank, register, set"),
        (("test", "--workload", "bnak"), "unknown workload 'bnak'; the workloads are bank, register, set"),
        (("test", "--workload", "bank", "--system", "oracle"), "unknown system 'oracle'"),
        (("test", "--workload", "bank", "--environment", "moon"), "unknown environment 'moon'"),
        (("test", "--workload", "bank", "--nemesis", "kil"), "unknown nemesis 'kil'; known: partition"),
        (("test", "--workload", "bank", "--nemesis", "kill@n9"), "n9"),
        (("test", "--workload", "bank", "--nemesis", "partition:round"), "unknown shape 'round'"),
        (("test", "--workload", "bank", "--nodes", "0"), "nodes 0: must be between 1 and 64"),
        (("test", "--workload", "bank", "--nodes", "three"), "'three' is not a valid int"),
        (
            ("test", "--workload", "bank", "--replication", "5"),
            "replication 5: must be between 1 and the number of",
        ),
        (("test", "--workload", "bank", "--concurrency", "n2"), "concurrency 'n2'"),
        (("test", "--workload", "bank", "--defect", "no-such"), "unknown defect 'no-such'; the defects are"),
        (
            ("test", "--workload", "bank", "--defect", "nowhere:plant"),
            "MODULE:FUNCTION, with its folder on PYTHONPATH",
        ),
        (("test", "--workload", "bank", "--defect", "json:nothing"), "no attribute 'nothing'"),
        (("test", "--workload", "bank", "--defect", ":plant"), "no defect ':plant'"),
        (
            ("test", "--workload", "bank", "--defect", "json:__name__"),
            "is no function of Python that takes a node",
        ),
        (
            ("sweep", "--workload", "bank", "--defect", "nowhere:plant", "--seeds", "1-3"),
            "no defect 'nowhere:plant'",
        ),
        (("test", "--workload", "bank", "--system-option", "tick_ms=fast"), "tick_ms"),
        (("test", "--workload", "bank", "--system-option", "colour=red"), "colour"),
        (("test", "--workload", "bank", "--workload-option", "colour=red"), "colour"),
        (("test", "--workload", "bank", "--environment-option", "base_port=abc"), "base_port"),
        (("test", "--workload", "bank", "--environment-option", "colour=red"), "colour"),
        (
            ("test", "--workload", "bank", "--nodes", "1", "--nemesis", "partition:ring"),
            "ring needs at least 3 nodes",
        ),
        (("test", "--scenario", "nowhere.toml"), "nowhere.toml"),
        (("check", "runs/nowhere"), "runs/nowhere is not a run folder"),
        (("check",), "there is no run yet"),
        (("report", "nowhere"), "nowhere"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_started(harness, tmp_path, words, said):
    code, out, err = harness(*words)
    assert said in err, (out, err)
    assert code == WRONG_USAGE
    assert not (tmp_path / "runs").exists()


def test_a_fault_that_is_named_but_not_to_be_had_ends_with_4(harness, tmp_path):
    code, _, err = harness("test", "--workload", "bank", "--nemesis", "kill,packet:duplicate")
    assert code == FAILED
    assert "'packet:duplicate' is not available here" in err
    assert "use one of these, or --nemesis all" in err
    assert not (tmp_path / "runs").exists()


def test_the_plan_prints_the_seed_first_and_is_the_same_for_the_same_seed(harness):
    words = ("test", "--workload", "bank", "--seed", "42", "--dry-run")
    code, out, _ = harness(*words)
    assert code == 0
    assert out.splitlines()[0] == "seed 42"
    assert "./run test --seed 42 --workload bank" in out
    assert harness(*words)[1] == out
    assert "partition" in out
    assert "kill" in out
    assert "pause" in out


def test_two_nodes_are_allowed_with_a_warning(harness):
    code, out, err = harness("test", "--workload", "bank", "--nodes", "2", "--dry-run")
    assert code == 0
    assert "--replication 2" in out
    assert "warning: with 2 replicas of each range any fault stops some of them" in err


def test_all_faults_say_what_is_left_out_and_why(harness):
    code, out, _ = harness("test", "--workload", "bank", "--nemesis", "all", "--dry-run")
    assert code == 0
    assert "left out: membership: " in out


def test_list_shows_what_works_with_what(harness):
    code, out, _ = harness("list")
    assert code == 0
    for word in (
        "bank",
        "register",
        "set",
        "reference-db",
        "local",
        "docker",
        "leader-local-read",
        "transactions",
    ):
        assert word in out


def folder_with(events, torn=b"", **scenario):
    folder = RunFolder.create("runs", "register")
    folder.write_scenario(scenario_text(workload="register", nemesis="none", **scenario))
    folder.write_schedule([])
    lines = [
        encode_line(Operation(index, index * 1_000_000, process, type_, f, value))
        for index, (process, type_, f, value) in enumerate(events)
    ]
    folder.history_path.write_bytes(b"".join(lines) + torn)
    return folder


def drive(phase, stopped=None):
    return ("harness", INFO, "drive", {"phase": phase, "start_ns": 0, "end_ns": 10**9, "stopped": stopped})


HEALED = [
    ("harness", INFO, "heal", {"healed": [], "failed": [], "problems": []}),
    ("harness", INFO, "recovery", {"recovered": True, "after_ns": 1, "problem": None}),
    drive("main"),
    drive("final"),
]
READ_1 = [(1, INVOKE, "read", ["x", None]), (1, OK, "read", ["x", 1])]
WRITE_1 = [(0, INVOKE, "write", ["x", 1]), (0, OK, "write", ["x", 1])]
CAS = [(3, INVOKE, "cas", ["x", [1, 2]]), (3, OK, "cas", ["x", [1, 2]])]


def test_a_saved_history_is_judged_again_and_its_report_written(harness):
    folder = folder_with([*WRITE_1, *READ_1, *CAS, *HEALED])
    code, out, err = harness("check", "runs/latest")
    assert code == 0, out + err
    assert "verdict: valid" in out
    assert folder.report_path.exists()
    assert folder.read_verdict().outcome == "valid"


def test_a_stale_read_in_a_saved_history_is_invalid(harness):
    overwritten = [(2, INVOKE, "write", ["x", 2]), (2, OK, "write", ["x", 2])]
    folder_with([*WRITE_1, *overwritten, *READ_1, *CAS, *HEALED])
    code, out, _ = harness("check")
    assert code == 1
    assert "verdict: invalid" in out
    assert "stale" in out


def test_a_torn_last_line_is_said_and_its_operation_counts_as_info(harness):
    events = [*WRITE_1, *READ_1, *CAS, *HEALED, (4, INVOKE, "write", ["x", 9])]
    torn = b'{"index":11,"time":9000000,"process":4,"type":"o'
    folder = folder_with(events, torn=torn)
    code, out, err = harness("check")
    assert "torn" in err or "last line" in err, (out, err)
    assert code == 0, out + err
    assert folder.read_history().pairs()[-1].type == INFO


def test_of_several_runs_the_worst_decides(harness):
    good = folder_with([*WRITE_1, *READ_1, *CAS, *HEALED])
    undecided = folder_with([*WRITE_1, *READ_1])
    assert harness("check", str(good.path), str(undecided.path))[0] == 3
    overwritten = [(2, INVOKE, "write", ["x", 2]), (2, OK, "write", ["x", 2])]
    bad = folder_with([*WRITE_1, *overwritten, *READ_1, *CAS])
    assert harness("check", str(bad.path), str(good.path), str(undecided.path))[0] == 1


def test_healing_where_nothing_is_left_says_so(harness):
    folder_with([*WRITE_1])
    code, out, _ = harness("heal")
    assert (code, out) == (0, "nothing to heal in 1 run\n")


def test_a_run_that_is_not_there_hides_no_verdict_of_the_others(harness):
    overwritten = [(2, INVOKE, "write", ["x", 2]), (2, OK, "write", ["x", 2])]
    bad = folder_with([*WRITE_1, *overwritten, *READ_1, *CAS, *HEALED])
    code, out, err = harness("check", "nowhere", str(bad.path))
    assert code == 1
    assert "nowhere is not a run folder" in err
    assert "verdict: invalid" in out


def test_a_damaged_scenario_or_schedule_is_named(harness):
    folder = folder_with([*WRITE_1])
    folder.schedule_path.write_text('{"id": "one"}\n')
    code, _, err = harness("check")
    assert (code, "schedule.jsonl" in err) == (WRONG_USAGE, True)
    folder.scenario_path.write_text("seed = = 1")
    code, _, err = harness("check")
    assert (code, "scenario.toml: not TOML" in err) == (WRONG_USAGE, True)


@pytest.mark.parametrize(
    "lines", ["", '{"id":1,"at_ns":0,"fault":"pause","target":"one","duration_ns":1000000000}\n']
)
def test_a_schedule_file_decides_what_must_take_effect(harness, tmp_path, lines):
    path = tmp_path / "schedule.jsonl"
    path.write_text(lines)
    words = ("test", "--workload", "bank", "--dry-run", "--schedule-file", str(path))
    code, _, err = harness(*words, "--nemesis", "kill")
    assert code == WRONG_USAGE
    assert "asks for kill, of which" in err
    if not lines:
        code, _, err = harness(*words)
        assert (code, "has no step, so nothing would be broken" in err) == (WRONG_USAGE, True)
        words += ("--nemesis", "none")
    code, out, _ = harness(*words)
    assert code == 0
    assert f"faults: {'pause' if lines else 'none'}" in out


def test_a_step_for_a_node_that_there_is_not_is_refused(harness, tmp_path):
    path = tmp_path / "schedule.jsonl"
    path.write_text('{"id":1,"at_ns":0,"fault":"pause","target":"n9","duration_ns":1000000000}\n')
    code, _, err = harness("test", "--workload", "bank", "--dry-run", "--schedule-file", str(path))
    assert (code, "n9" in err, str(path) in err) == (WRONG_USAGE, True, True)


def test_healing_in_a_folder_that_is_not_there_is_wrong_usage(harness):
    code, _, err = harness("heal", "--runs-dir", "nowhere")
    assert (code, "there is no folder nowhere" in err) == (WRONG_USAGE, True)


def test_a_reader_that_goes_away_changes_no_exit_code(tmp_path):
    """`harness list | head -1` is fine, and never the 1 of a broken promise."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m harness list | head -1; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
