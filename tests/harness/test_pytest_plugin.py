"""The pytest plug-in: only a valid verdict passes, and a failure says what was found and where."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from harness.pytest_plugin import flags

RIGHT = """workload = "set"
system = "in-memory"
environment = "simulation"
nemesis = "none"
time_limit = 2.0
"""


def run_pytest(folder: Path, *words: str) -> tuple[int, str, dict[str, ElementTree.Element]]:
    """Exit code, output, and the cases of the JUnit file by name."""
    command = [sys.executable, "-m", "pytest", "-p", "harness.pytest_plugin", "-p", "no:cacheprovider", "-rA"]
    done = subprocess.run(
        [*command, "--junit-xml=junit.xml", "--harness-runs-dir", "kept", *words],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    cases = ElementTree.parse(folder / "junit.xml").iter("testcase")
    return done.returncode, done.stdout, {case.attrib["name"]: case for case in cases}


@pytest.mark.slow
def test_only_what_is_valid_passes_and_a_failure_says_why(tmp_path: Path):
    (tmp_path / "right.scenario.toml").write_text(RIGHT)
    (tmp_path / "wrong.scenario.toml").write_text(RIGHT + '[system_options]\nmisbehave = "lost-writes"\n')
    few = RIGHT.replace('"set"', '"bank"').replace("2.0", "0.1")
    (tmp_path / "vacuous.scenario.toml").write_text(few + "rate = 1.0\n")
    (tmp_path / "nonsense.scenario.toml").write_text(RIGHT.replace('"set"', '"sit"'))
    (tmp_path / "not_a_scenario.toml").write_text("x = 1")
    (tmp_path / "test_fixture.py").write_text(
        "def test_lost(harness):\n"
        "    run = harness.test(scenario='wrong.scenario.toml', seed=3, time_limit=2)\n"
        "    assert run.outcome == 'invalid' and run.anomalies[0]['type'] == 'lost element'\n"
    )
    code, out, cases = run_pytest(tmp_path, "--harness-seed", "3")
    assert code == 1
    failed = {name for name, case in cases.items() if case.find("failure") is not None}
    assert (failed, set(cases) - failed) == ({"wrong", "vacuous", "nonsense"}, {"right", "test_lost"})
    assert "verdict: invalid" in out
    assert "lost element" in out
    assert "verdict: unknown" in out
    assert "'sit'" in out
    assert "repeat with: harness replay kept/" in out
    kept = {item.attrib["name"]: item.attrib["value"] for item in cases["right"].iter("property")}
    assert (kept["harness.verdict"], kept["harness.seed"]) == ("valid", "3")
    assert (tmp_path / kept["harness.run"] / "verdict.json").is_file()


def test_fields_become_flags():
    given = {"workload": "bank", "time_limit": 2.5, "fail_fast": True, "invariants": False, "defect": None}
    assert flags(given) == ["--workload", "bank", "--time-limit", "2.5", "--fail-fast", "--no-invariants"]
    assert flags({"workload_options": {"keys": 3}, "system_options": {"a": "b"}}) == [
        "--workload-option",
        "keys=3",
        "--system-option",
        "a=b",
    ]


def test_the_example_is_a_scenario():
    from harness.scenario import Scenario

    folder = Path(__file__).parents[2] / "examples" / "pytest_suite"
    assert Scenario.load(folder / "bank.scenario.toml").workload == "bank"
