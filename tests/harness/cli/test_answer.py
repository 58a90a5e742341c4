"""`--json` for every command: one document on stdout, words on stderr, and nothing changes without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from harness.cli import app as command_line
from harness.cli.answer import collected, tell

IN_MEMORY = ["--system", "in-memory", "--environment", "simulation", "--nemesis", "none", "--seed", "3"]


def answer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], str]:
    code = command_line.run(arguments)
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_every_command_that_answers_has_the_flag():
    context = click.Context(command_line.app)
    for name in command_line.COMMANDS:
        command = command_line.app.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group) or name in command_line.WITHOUT_JSON:
            continue
        flags = [parameter.opts for parameter in command.params]
        assert sum("--json" in opts for opts in flags) == 1, name


def test_a_run_answers_with_its_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["test", "--workload", "set", *IN_MEMORY, "--time-limit", "1", "--runs-dir", str(tmp_path)]
    code, document, err = answer([*arguments, "--json"], capsys)
    assert (code, document["exit_code"], document["outcome"]) == (0, 0, "valid")
    assert document["command"] == "test"
    assert document["seed"] == 3
    assert document["anomalies"] == []
    assert Path(document["report"]).is_file()
    assert Path(document["run"]).parent == tmp_path
    assert "verdict: valid" in err
    code, again, _ = answer(["report", document["run"], "--json"], capsys)
    assert (code, again["report"]) == (0, document["report"])
    code, again, _ = answer(["export", document["run"], "--to", "edn", "--json"], capsys)
    assert (code, again["notation"]) == (0, "edn")
    assert Path(again["file"]).is_file()


def test_an_invalid_run_says_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    wrong = ["--system-option", "misbehave=lost-writes", "--time-limit", "2", "--runs-dir", str(tmp_path)]
    code, document, _ = answer(["test", "--workload", "set", *IN_MEMORY, *wrong, "--json"], capsys)
    assert (code, document["exit_code"], document["outcome"]) == (1, 1, "invalid")
    assert document["anomalies"][0]["type"] == "lost element"


def test_a_plan_answers_with_its_scenario_and_steps(capsys: pytest.CaptureFixture[str]):
    code, document, err = answer(
        ["test", "--workload", "bank", "--seed", "7", "--nemesis", "kill", "--dry-run", "--json"], capsys
    )
    assert code == 0
    assert document["scenario"]["workload"] == "bank"
    assert document["schedule"]
    assert "schedule of faults:" in err


def test_a_sweep_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["sweep", "--workload", "set", "--system", "in-memory", "--seeds", "1-2", "--time-limit", "2"]
    code, document, err = answer([*arguments, "--jobs", "1", "--runs-dir", str(tmp_path), "--json"], capsys)
    assert code == document["exit_code"]
    assert (document["seeds"], sum(document["outcomes"].values())) == (2, 2)
    assert document["failures"] == []
    assert "sweep folder:" in err


def test_the_list_names_what_there_is(capsys: pytest.CaptureFixture[str]):
    code, document, _ = answer(["list", "--json"], capsys)
    assert code == 0
    assert "transactions" in document["workloads"]["bank"]["needs"]
    assert document["environments"]["simulation"]["reference-db"]["disk"]["available"]


def test_healing_nothing_is_an_answer_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, document, _ = answer(["heal", "--runs-dir", str(tmp_path), "--json"], capsys)
    assert (code, document["healed"], document["failed"], document["runs"]) == (0, [], [], 0)


def test_without_the_flag_nothing_is_collected_and_words_are_on_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert command_line.run(["heal", "--runs-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "nothing to heal in 0 runs\n"


def test_wrong_usage_leaves_stdout_empty(capsys: pytest.CaptureFixture[str]):
    assert command_line.run(["test", "--workload", "nonsense", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "nonsense" in err


def test_answers_do_not_mix():
    tell(lost=1)
    with collected() as outer:
        tell(a=1)
        with collected() as inner:
            tell(b=2)
        tell(c=3)
    assert (outer, inner) == ({"a": 1, "c": 3}, {"b": 2})
