"""A shell completes commands, flags, names of what there is, and saved runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from harness.cli import app as command_line
from harness.cli.completion import SHELLS
from results.run_folder import RunFolder


def complete(*words: str) -> list[str]:
    """What could stand in the place of the last word."""
    engine = ShellComplete(command_line.app, {}, "harness", "_HARNESS_COMPLETE")
    return [item.value for item in engine.get_completions(list(words[:-1]), words[-1])]


def test_commands_and_flags():
    assert complete("sw") == ["sweep"]
    assert "--nemesis" in complete("test", "--ne")
    assert complete("test", "--js") == ["--json"]


def test_names_of_what_there_is():
    assert complete("test", "--workload", "ba") == ["bank"]
    assert complete("sweep", "--system", "in") == ["in-memory"]
    assert complete("test", "--environment", "sim") == ["simulation"]
    assert complete("test", "--defect", "leader-l") == ["leader-local-read"]
    assert complete("export", "--to", "p") == ["porcupine", "perfetto", "parquet"]


def test_a_list_of_nemeses_goes_on_behind_the_comma_and_has_shapes():
    assert complete("test", "--nemesis", "kill,pau") == ["kill,pause"]
    assert "kill,partition:ring" in complete("test", "--nemesis", "kill,partition:r")
    assert "none" in complete("test", "--nemesis", "n")


def test_saved_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert "latest" in complete("report", "")
    folder = RunFolder.create(Path("runs"), "bank")
    folder.release()
    assert str(folder.path) in complete("report", "runs/")
    assert str(folder.path) in complete("compare", "latest", "runs/")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_each_shell(shell: str, capsys: pytest.CaptureFixture[str]):
    assert command_line.run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_HARNESS_COMPLETE" in script
    if shutil.which(shell) is not None:
        done = subprocess.run(
            [shell, "-n"], input=script, text=True, capture_output=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stderr


def test_fish_gets_a_list_of_nemeses_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A fake harness answers as the real one does for `--nemesis kill,par`."""
    assert command_line.run(["completion", "fish"]) == 0
    script = capsys.readouterr().out
    assert """string split --max 1 "," $completion""" in script
    if shutil.which("fish") is None:
        return
    fake = tmp_path / "harness"
    fake.write_text("#!/bin/sh\necho plain,kill,partition\n")
    fake.chmod(0o755)
    (tmp_path / "completion.fish").write_text(script)
    words = "harness test --nemesis kill,par"
    asked = f"set PATH {tmp_path} $PATH; source {tmp_path}/completion.fish; complete -C '{words}'"
    done = subprocess.run(["fish", "-c", asked], text=True, capture_output=True, check=True, timeout=30)
    assert done.stdout == "kill,partition\n"


def test_an_unknown_shell_is_wrong_usage(capsys: pytest.CaptureFixture[str]):
    assert command_line.run(["completion", "tcsh"]) == 2
    assert "tcsh" in capsys.readouterr().err


def test_names_of_parameters_that_complete_are_parameters():
    context = click.Context(command_line.app)
    test = command_line.app.get_command(context, "test")
    assert test is not None
    from harness.cli.names import OF_SCENARIOS

    assert set(OF_SCENARIOS) <= {parameter.name for parameter in test.params}
