"""`harness gate` over simulated runs: a good database passes, a wrong one shuts the gate, files are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from junitparser import JUnitXml

from harness.cli.app import run

PLAN = """
baseline = "baseline.json"
[scenario]
environment = "simulation"
system = "in-memory"
time_limit = 3
concurrency = "4"
nemesis = "none"
[matrix]
workload = ["register"]
"""
STALE = """
[[include]]
workload = "register"
system_options = { misbehave = "stale-reads" }
seeds = "3"
"""


@pytest.mark.slow
def test_a_good_and_a_bad_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    words = ["gate", str(plan), "--jobs", "1", "--runs-dir", str(tmp_path / "runs")]
    assert run([*words, "--write-baseline"]) == 0
    before = json.loads((tmp_path / "baseline.json").read_text())
    assert before["cells"]["register"]["throughput"] > 0
    before["cells"]["register"]["throughput"] *= 2
    (tmp_path / "baseline.json").write_text(json.dumps(before))
    assert run([*words, "--write-baseline"]) == 1
    assert json.loads((tmp_path / "baseline.json").read_text()) == before
    (tmp_path / "baseline.json").unlink()
    plan.write_text(PLAN + STALE)
    capsys.readouterr()
    assert run([*words, "--github"]) == 1
    told = capsys.readouterr().out
    assert "::error title=register/misbehave=stale-reads%2C seed 3%3A invalid::" in told
    folder = sorted((tmp_path / "runs").glob("gate-*"))[-1]
    assert JUnitXml.fromfile(str(folder / "junit.xml")).failures == 1  # type: ignore[no-untyped-call]
    (found,) = [
        one for one in json.loads((folder / "gate.json").read_text())["runs"] if one["outcome"] == "invalid"
    ]
    report = Path(found["attempts"][0]["folder"], "report.html")
    assert report.parent.parent == folder
    assert report.is_file()
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "gate.json",
        "gate.sarif",
        "junit.xml",
        "summary.md",
    }


def test_wrong_names_are_found_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[matrix]\nworkload = ["bank", "bnak"]\nnemesis = ["none", "partitoin"]\n')
    assert run(["gate", str(plan), "--runs-dir", str(tmp_path / "runs")]) == 2
    told = capsys.readouterr().err
    assert "bnak" in told
    assert "partitoin" in told
    assert not (tmp_path / "runs").exists()


def test_a_baseline_needs_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[matrix]\nworkload = ["bank"]\n')
    assert run(["gate", str(plan), "--write-baseline"]) == 2
    assert 'add baseline = "gate-baseline.json"' in capsys.readouterr().err
