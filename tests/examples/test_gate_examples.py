"""The gate's examples are what they say: a plan that makes sense, and CI files that call it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from harness.cli.gate import command
from harness.gate.plan import load_plan

EXAMPLES = Path(__file__).parents[2] / "examples" / "gate"


def test_the_plan_can_be_run_as_it_is() -> None:
    plan = load_plan(EXAMPLES / "plan.toml")
    assert plan.runs == 9 * 2 + 1
    told = CliRunner().invoke(command, [str(EXAMPLES / "plan.toml"), "--dry-run"], standalone_mode=False)
    assert told.exception is None
    assert told.output.count("./run test") == plan.runs


@pytest.mark.parametrize("file", ["github-workflow.yml", "gitlab-ci.yml"])
def test_the_ci_files_call_a_plan_that_is_there_and_keep_what_it_writes(file: str) -> None:
    text = (EXAMPLES / file).read_text()
    jobs = yaml.safe_load(text)
    job = jobs["jobs"]["gate"] if "jobs" in jobs else jobs["harness-gate"]
    commands = [step.get("run", "") for step in job["steps"]] if "steps" in job else job["script"]
    (called,) = [one for one in commands if one.startswith("./run gate ")]
    words = called.split()
    assert (EXAMPLES.parents[1] / words[2]).is_file()
    kept = words[words.index("--runs-dir") + 1]
    assert text.count(kept) >= 3
