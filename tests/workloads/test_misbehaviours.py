"""The matrix: each workload, played in simulation against the database in memory, right and wrong in each way.

The right one is valid whatever breaks around it; each listed misbehaviour is found. What is listed is what the
workload can see; `docs/workloads.md` says the same in words.
"""

from pathlib import Path
from typing import Any

import pytest

from harness.catalog import WORKLOADS
from harness.explore.trial import TrialRequest, TrialResult, run_trial
from harness.scenario import Scenario
from harness.systems.in_memory.misbehaviour import MISBEHAVIOURS

FINDS: dict[str, dict[str, float]] = {
    "append": {"stale-reads": 0.05, "lost-writes": 0.05, "lost-updates": 0.5, "false-failures": 0.05},
    "bank": {"lost-updates": 1.0, "read-committed": 1.0, "torn-reads": 0.1, "torn-transactions": 0.5},
    "counter": {"lost-adds": 0.02, "doubled-adds": 0.02, "stale-counts": 0.1, "false-failures": 0.05},
    "lock": {"double-grants": 0.05, "repeated-tokens": 0.05, "false-failures": 0.05},
    "register": {"stale-reads": 0.1, "lost-writes": 0.1, "false-failures": 0.1},
    "set": {"lost-writes": 0.02, "stale-reads": 0.5, "torn-reads": 0.2, "false-failures": 0.05},
    "unique-ids": {"repeated-ids": 0.01},
}
"""Workload -> misbehaviour that it finds -> how often that shows."""


def run(folder: Path, workload: str, **fields: Any) -> TrialResult:
    """Five virtual seconds."""
    values: dict[str, Any] = {"seed": 7, "nemesis": "none", "time_limit": 5.0, "rate": 200.0, **fields}
    scenario = Scenario(workload=workload, system="in-memory", environment="simulation", **values)
    return run_trial(TrialRequest(scenario=scenario), folder, keep="none")


def test_every_workload_and_every_misbehaviour_is_in_the_matrix() -> None:
    assert set(FINDS) == set(WORKLOADS)
    found = set().union(*FINDS.values())
    assert found <= set(MISBEHAVIOURS)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_right_database_is_valid_whatever_breaks_around_it(tmp_path: Path, workload: str) -> None:
    result = run(tmp_path, workload, nemesis="partition,packet,kill,pause", time_limit=8.0, intensity=2.0)
    assert result.outcome == "valid", (result.sentence, result.problem)


@pytest.mark.parametrize(
    ("workload", "misbehaviour"), [(workload, one) for workload, found in FINDS.items() for one in found]
)
def test_a_misbehaviour_is_found(tmp_path: Path, workload: str, misbehaviour: str) -> None:
    options = {"misbehave": misbehaviour, "share": FINDS[workload][misbehaviour]}
    result = run(tmp_path, workload, system_options=options)
    assert result.outcome == "invalid", (result.sentence, result.problem)
    assert len(result.invalid_checkers) == 1, f"only the workload's own checker: {result.invalid_checkers}"
