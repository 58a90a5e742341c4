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
    "causal-reverse": {"torn-reads": 0.2, "lost-writes": 0.05, "false-failures": 0.05},
    "counter": {"lost-adds": 0.02, "doubled-adds": 0.02, "stale-counts": 0.1, "false-failures": 0.05},
    "list-append": {
        "write-skew": 0.5, "lost-updates": 0.5, "read-committed": 0.5, "long-fork": 0.5, "dirty-reads": 0.5,
        "torn-reads": 0.2, "torn-transactions": 0.3, "lost-writes": 0.05, "false-failures": 0.05,
        "lying-timestamps": 0.3,
    },
    "lock": {"double-grants": 0.05, "repeated-tokens": 0.05, "false-failures": 0.05},
    "monotonic": {"stale-reads": 0.1, "lost-writes": 0.05, "lost-updates": 1.0, "read-committed": 1.0},
    "log": {
        "lost-entries": 0.02, "doubled-entries": 0.02, "reordered-entries": 0.02, "skipped-entries": 0.02,
        "moved-entries": 0.02, "false-failures": 0.05,
    },
    "long-fork": {"long-fork": 0.5, "torn-reads": 0.2, "false-failures": 0.05},
    "phantom": {
        "phantoms": 0.5, "overlooked-keys": 0.05, "write-skew": 0.5, "long-fork": 0.5, "false-failures": 0.05,
    },
    "queue": {
        "lost-elements": 0.01, "doubled-elements": 0.01, "reordered-elements": 0.05, "false-failures": 0.05,
    },
    "register": {"stale-reads": 0.1, "lost-writes": 0.1, "false-failures": 0.1},
    "rw-register": {
        "write-skew": 0.5, "lost-updates": 0.5, "read-committed": 0.5, "dirty-reads": 0.5, "torn-reads": 0.2,
        "lost-writes": 0.05, "false-failures": 0.05, "lying-timestamps": 0.3,
    },
    "set": {"lost-writes": 0.02, "stale-reads": 0.5, "torn-reads": 0.2, "false-failures": 0.05},
    "stale": {"false-failures": 0.1},
    "transact-write": {
        "forgotten-tokens": 0.1, "ignored-conditions": 0.5, "torn-transactions": 0.3, "lost-writes": 0.05,
        "false-failures": 0.1,
    },
    "unique-ids": {"repeated-ids": 0.01},
    "watch": {
        "skipped-events": 0.01, "doubled-events": 0.01, "reordered-events": 0.01, "late-start": 0.5,
        "foreign-events": 0.01, "wrong-previous": 0.01, "wrong-creates": 0.01, "early-progress": 0.1,
        "lost-writes": 0.05, "false-failures": 0.05,
    },
    "write-skew": {
        "write-skew": 0.5, "lost-updates": 0.5, "read-committed": 0.5, "dirty-reads": 0.5, "long-fork": 0.5,
        "false-failures": 0.05,
    },
}  # fmt: skip
"""Workload -> misbehaviour that it finds -> how often that shows."""
RARE = {("monotonic", "read-committed"), ("set", "stale-reads")}
"""What takes a longer run to be seen."""


def run(folder: Path, workload: str, **fields: Any) -> TrialResult:
    """Three virtual seconds, unless the fields say otherwise."""
    values: dict[str, Any] = {"seed": 7, "nemesis": "none", "time_limit": 3.0, "rate": 200.0, **fields}
    scenario = Scenario(workload=workload, system="in-memory", environment="simulation", **values)
    return run_trial(TrialRequest(scenario=scenario), folder, keep="never")


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
    time_limit = 6.0 if (workload, misbehaviour) in RARE else 3.0
    result = run(tmp_path, workload, system_options=options, time_limit=time_limit)
    assert result.outcome == "invalid", (result.sentence, result.problem)
    assert len(result.invalid_checkers) == 1, f"only the workload's own checker: {result.invalid_checkers}"


@pytest.mark.parametrize(
    ("misbehaviour", "isolation", "outcome"),
    [
        ("write-skew", "serializable", "invalid"),
        ("write-skew", "snapshot-isolation", "valid"),
        ("read-committed", "snapshot-isolation", "invalid"),
        ("dirty-reads", "read-committed", "invalid"),
    ],
)
def test_only_what_was_demanded_is_wrong(
    tmp_path: Path, misbehaviour: str, isolation: str, outcome: str
) -> None:
    """A database that promises less is right to show what a stricter one must not."""
    options = {"misbehave": misbehaviour, "share": 0.5}
    result = run(tmp_path, "list-append", system_options=options, isolation=isolation)
    assert result.outcome == outcome, (result.sentence, result.problem)


@pytest.mark.parametrize(
    ("misbehaviour", "isolation", "outcome"),
    [
        ("phantoms", "serializable", "invalid"),
        ("phantoms", "repeatable-read", "valid"),
        ("write-skew", "snapshot-isolation", "valid"),
        ("overlooked-keys", "snapshot-isolation", "invalid"),
    ],
)
def test_a_phantom_is_wrong_where_predicates_count(
    tmp_path: Path, misbehaviour: str, isolation: str, outcome: str
) -> None:
    """Repeatable read is about items only; a snapshot holds rows that a scan found and those that it did not."""
    options = {"misbehave": misbehaviour, "share": 0.5}
    result = run(tmp_path, "phantom", system_options=options, isolation=isolation)
    assert result.outcome == outcome, (result.sentence, result.problem)


def test_a_level_that_a_workload_cannot_demand_is_wrong_usage(tmp_path: Path) -> None:
    result = run(tmp_path, "list-append", isolation="perfect")
    assert result.outcome == "failed"
    assert "--isolation 'perfect': workload list-append can demand strict-serializable," in result.sentence
    result = run(tmp_path, "bank", consistency="linearizable")
    assert "--consistency linearizable: workload bank has one demand only" in result.sentence
