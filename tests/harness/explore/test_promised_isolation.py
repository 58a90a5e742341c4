"""Workloads demand what the database is set to promise: snapshots pass as such, and are refuted as more."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import make_parts
from harness.explore.trial import TrialRequest, TrialResult, run_trial
from harness.scenario import Scenario
from tests.support.sizes import FULL
from workloads.transactions import ISOLATIONS, strongest_within

WAYS: dict[str, dict[str, Any]] = {
    "record": {"protocol": "record"},
    "record-parallel": {"protocol": "record", "parallel_commit": True, "one_range_commit": False},
    "primary-lock": {"protocol": "primary-lock"},
    "primary-lock-async": {"protocol": "primary-lock", "async_commit": True},
    "two-phase": {"protocol": "two-phase"},
}
"""How transactions become one commit, as options of the database."""
WORKLOADS: dict[str, dict[str, Any]] = {
    "bank": {},
    "causal-reverse": {},
    "counter": {"retries": "token"},
    "list-append": {},
    "long-fork": {},
    "phantom": {},
    "rw-register": {},
    "transact-write": {},
    "write-skew": {},
}
"""Those that are about transactions, with their options."""


def scenario(workload: str, time_limit: float = 0.7, **given: Any) -> Scenario:
    return Scenario(
        workload=workload,
        seed=1,
        environment="simulation",
        nemesis="none",
        time_limit=time_limit,
        rate=300.0,
        invariants=False,
        concurrency="20",
        **given,
    )


def run(folder: Path, workload: str, **given: Any) -> TrialResult:
    return run_trial(TrialRequest(scenario=scenario(workload, **given)), folder, "never", name="run")


@pytest.mark.parametrize(
    ("workload", "protocol"), [("list-append", "primary-lock"), ("write-skew", "record")]
)
def test_a_snapshot_passes_as_one_and_is_refuted_as_serializable(
    workload: str, protocol: str, tmp_path: Path
) -> None:
    options = {"protocol": protocol, "isolation": "snapshot"}
    promised = run(tmp_path, workload, system_options=options)
    assert promised.invalid_checkers == [], promised.sentence
    assert promised.problem is None
    claimed = run(tmp_path, workload, system_options=options, isolation="serializable")
    assert claimed.invalid_checkers == [workload], claimed.sentence
    options["isolation"] = "serializable"
    kept = run(tmp_path, workload, system_options=options)
    assert kept.invalid_checkers == [], kept.sentence


@pytest.mark.parametrize(
    ("protocol", "isolation", "workload"),
    [
        ("primary-lock", "snapshot", "long-fork"),
        ("primary-lock", "snapshot", "rw-register"),
        ("primary-lock", "snapshot", "counter"),
        ("primary-lock", "serializable", "write-skew"),
        ("primary-lock", "serializable", "causal-reverse"),
        ("two-phase", "snapshot", "long-fork"),
        ("two-phase", "serializable", "rw-register"),
        ("two-phase", "serializable", "counter"),
    ],
)
def test_a_workload_finds_what_protocol_and_isolation_promise(
    protocol: str, isolation: str, workload: str, tmp_path: Path
) -> None:
    """Nor do collections change that: versions go after a few milliseconds, while others still read."""
    options: dict[str, Any] = {"protocol": protocol, "isolation": isolation, "gc_ttl_ms": 20}
    if protocol == "primary-lock":
        options["async_commit"] = True
    retries = {"retries": "token"} if workload == "counter" else {}
    kept = run(tmp_path, workload, system_options=options, workload_options=retries)
    assert kept.invalid_checkers == [], kept.sentence
    assert kept.problem is None


@pytest.mark.parametrize(
    ("protocol", "workload"), [("primary-lock", "rw-register"), ("two-phase", "write-skew")]
)
def test_a_snapshot_of_any_protocol_is_refuted_where_serializability_is_claimed(
    protocol: str, workload: str, tmp_path: Path
) -> None:
    options = {"protocol": protocol, "isolation": "snapshot"}
    claimed = run(tmp_path, workload, system_options=options, isolation="serializable")
    assert claimed.invalid_checkers == [workload], claimed.sentence


def squares(*sides: Iterable[str]) -> list[tuple[str, ...]]:
    """All combinations; at the usual size every other one, as the black squares of a board."""
    places = product(*map(enumerate, sides))
    return [
        tuple(name for _, name in at) for at in places if FULL or sum(number for number, _ in at) % 2 == 0
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workload", "way", "isolation"), squares(WORKLOADS, WAYS, ["serializable", "snapshot"])
)
def test_every_workload_finds_what_every_way_promises(
    workload: str, way: str, isolation: str, tmp_path: Path
) -> None:
    kept = run(
        tmp_path,
        workload,
        system_options={**WAYS[way], "isolation": isolation},
        workload_options=WORKLOADS[workload],
    )
    assert kept.invalid_checkers == [], kept.sentence
    assert kept.problem is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workload", "way"), squares(["list-append", "phantom", "rw-register", "write-skew"], WAYS)
)
def test_every_snapshot_is_refuted_where_serializability_is_claimed(
    workload: str, way: str, tmp_path: Path
) -> None:
    """Blind writes tell little of an order, so some take longer."""
    claimed = run(
        tmp_path,
        workload,
        time_limit=3.0,
        system_options={**WAYS[way], "isolation": "snapshot"},
        isolation="serializable",
    )
    checker = "rw-register" if workload == "phantom" else workload
    assert claimed.invalid_checkers == [checker], claimed.sentence


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({}, "strict-serializable"),
        ({"isolation": "snapshot"}, "strong-snapshot-isolation"),
        ({"protocol": "primary-lock"}, "strong-snapshot-isolation"),
        ({"protocol": "primary-lock", "isolation": "serializable"}, "strict-serializable"),
        ({"protocol": "two-phase"}, "strict-serializable"),
    ],
)
def test_what_is_demanded_follows_the_options(options: dict[str, Any], level: str) -> None:
    workload: Any = make_parts(scenario("list-append", system_options=options)).workload
    assert workload.isolation == level


def test_the_strongest_level_that_a_workload_knows_within_a_promise() -> None:
    assert strongest_within("strict-serializable", ("serializable", "snapshot-isolation")) == "serializable"
    assert strongest_within("strong-snapshot-isolation", ("serializable", "snapshot-isolation")) == (
        "snapshot-isolation"
    )
    assert strongest_within("read-committed", ("serializable",)) is None
    assert strongest_within("causal", ISOLATIONS) == "causal"
