"""What a gate writes is read by the programs that it is for."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from junitparser import Error, Failure, JUnitXml

from harness.explore.trial import TrialResult
from harness.gate.gate import CellResult, GateResult, GateRun
from harness.gate.outputs import github_commands, junit, sarif, summary
from harness.gate.plan import Known

HOSTILE = "lost <script>alert(1)</script> & \x00\x1b[31m \ud800 ]]> | `x` :: %0A\nnext line"
KNOWN = Known(cell="set", anomaly="*", reason="ticket 7, see <there>", expires="2027-01-31")  # type: ignore[arg-type]


def attempt(outcome: str, kinds: list[str], sentence: str = "the sum was 99") -> TrialResult:
    return TrialResult(
        seed=1,
        outcome=outcome,
        exit_code=1,
        sentence=sentence,
        command="./run test --seed 1",
        folder="/somewhere/runs/gate-1/bank-none-1-seed-1",
        anomaly_types=kinds,
        wall_s=1.5,
    )


def gate_run(cell: str, outcome: str, *attempts: TrialResult, **more: Any) -> GateRun:
    return GateRun(
        cell=cell, seed=1, command="./run test --seed 1", outcome=outcome, attempts=list(attempts), **more
    )


@pytest.fixture
def result() -> GateResult:
    return GateResult(
        name="every change",
        code="c0de",
        runs=[
            gate_run("bank", "valid", attempt("valid", [])),
            gate_run("register", "invalid", attempt("invalid", ["stale read", "lost write"], HOSTILE)),
            gate_run("set", "known", attempt("invalid", ["lost element"]), known=[KNOWN]),
            gate_run("queue", "unknown", attempt("unknown", [])),
            gate_run("log", "left out"),
            gate_run("watch", "failed", attempt("failed", [])),
        ],
        cells=[
            CellResult(cell="bank", throughput=50.0, ratio_to_baseline=0.5, regression="throughput is 50%"),
            *(CellResult(cell=cell) for cell in ("register", "set", "queue", "log", "watch")),
        ],
        unused=[KNOWN],
    )


def test_junit_is_read_by_others_and_nothing_undecided_passes(result: GateResult) -> None:
    suites = JUnitXml.fromfile(io.BytesIO(junit(result)))  # type: ignore[no-untyped-call]
    found = {}
    for suite in suites:
        for case in suite:
            kinds = {type(one) for one in case.result}
            found[f"{suite.name} {case.name}"] = (
                "failure" if Failure in kinds else "error" if Error in kinds else "passed"
            )
    assert found == {
        "bank seed 1": "passed",
        "bank throughput against the baseline": "failure",
        "register seed 1": "failure",
        "set seed 1": "passed",
        "queue seed 1": "error",
        "log seed 1": "error",
        "watch seed 1": "error",
    }
    assert (suites.tests, suites.failures, suites.errors) == (7, 2, 3)
    assert b"known: the sum was 99; known until 2027-01-31: ticket 7, see &lt;there&gt;" in junit(result)


def test_sarif_is_valid_and_known_failures_are_suppressed(result: GateResult) -> None:
    sarif_pydantic = pytest.importorskip("sarif_pydantic")
    text = sarif(result)
    sarif_pydantic.Sarif.model_validate_json(text)
    (found,) = json.loads(text)["runs"]
    by_rule = {one["ruleId"]: one for one in found["results"]}
    assert set(by_rule) == {
        "stale read",
        "lost write",
        "lost element",
        "unknown",
        "left out",
        "failed",
        "regression",
    }
    assert by_rule["lost element"]["level"] == "warning"
    assert by_rule["lost element"]["suppressions"][0]["justification"].startswith("ticket 7")
    assert "suppressions" not in by_rule["stale read"]
    place = by_rule["stale read"]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "bank-none-1-seed-1/report.html"
    assert all(
        one["locations"][0]["physicalLocation"]["region"]["startLine"] == 1 for one in found["results"]
    )
    assert all("name" not in rule for rule in found["tool"]["driver"]["rules"]), (
        "a name that is the id says nothing"
    )
    assert {rule["id"] for rule in found["tool"]["driver"]["rules"]} == set(by_rule)


def test_github_gets_one_line_for_each_thing_to_look_at(result: GateResult) -> None:
    lines = list(github_commands(result))
    assert [line.split(" ")[0] for line in lines] == [
        "::error",
        "::warning",
        "::error",
        "::error",
        "::error",
        "::error",
        "::notice",
    ]
    assert all("\n" not in line for line in lines)
    assert "%0ARepeat with" in lines[0]


def test_the_summary_has_a_row_a_cell_and_takes_no_markup_from_a_database(result: GateResult) -> None:
    text = summary(result)
    assert "| bank | 1 |  |  |  |  |  | 50.0 | **50%** |" in text
    assert "<script>" not in text
    assert text.startswith("# Gate `every change`: failed: a promise was broken")


def test_a_gate_of_which_nothing_is_bad_has_nothing_to_look_at() -> None:
    good = GateResult(
        name="g",
        code="",
        runs=[gate_run("bank", "valid", attempt("valid", []))],
        cells=[CellResult(cell="bank")],
    )
    assert list(github_commands(good)) == []
    assert json.loads(sarif(good))["runs"][0]["results"] == []
    assert "Look at" not in summary(good)
