"""A gate decides: what shuts it, what it lets through with a warning, and what it makes of lost throughput."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from harness.explore.sweep import Stop
from harness.explore.trial import TrialRequest, TrialResult
from harness.gate import outputs
from harness.gate.gate import Gate, GateResult, Task, baseline_of, read_baseline, write_baseline
from harness.gate.plan import GatePlan, load_plan, read_plan
from harness.scenario import Scenario, ScenarioError

TODAY = date(2026, 11, 28)
PLAN = """
seeds = "1-2"
[scenario]
environment = "simulation"
[matrix]
workload = ["bank", "register"]
nemesis = ["none", "kill"]
"""
CODES = {"valid": 0, "invalid": 1, "unknown": 3, "failed": 4}
Fate = Callable[[Scenario], str | tuple[str, float] | tuple[str, float, list[str]]]


class Quiet:
    """Nobody watches; keeps the order in which runs ended."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def took(self, task: Task, result: TrialResult, attempt: int) -> None:
        self.order.append(f"{task.label} {result.outcome} {attempt}")


def run(
    plan: GatePlan,
    fate: Fate,
    *,
    baseline: object = None,
    virtual: bool = True,
    stop: Stop | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    watcher: Quiet | None = None,
) -> GateResult:
    """The gate over runs whose outcome (and throughput, and kinds of anomalies) `fate` decides."""

    def trial(request: TrialRequest, name: str) -> TrialResult:
        decided = fate(request.scenario)
        outcome, rate, kinds = (decided, 100.0, None) if isinstance(decided, str) else (*decided, None)[:3]
        if kinds is None:
            kinds = ["lost update"] if outcome == "invalid" else []
        return TrialResult(
            seed=request.scenario.seed,
            outcome=outcome,
            exit_code=CODES[outcome],
            sentence=f"the run is {outcome}",
            command="./run test",
            folder=f"runs/{name}",
            anomaly_types=kinds,
            measures={"answers_per_s": rate},
        )

    keeper = Gate(
        plan, code="c0de", today=TODAY, baseline=baseline, is_virtual=lambda _: virtual, clock=clock
    )  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool:
        return keeper.run(pool if virtual else None, 1, trial, stop or Stop(), watcher or Quiet())


def only(workload: str, outcome: str) -> Fate:
    return lambda scenario: outcome if scenario.workload == workload and scenario.seed == 2 else "valid"


# The plan.


def test_a_matrix_is_the_product_of_its_lists_with_cells_added_and_taken_away() -> None:
    plan = read_plan(
        PLAN
        + """
[[exclude]]
workload = "bank"
nemesis = "none"
[[include]]
workload = "set"
seeds = "7-9"
"""
    )
    assert [(cell.name, [one.seed for one in cell.scenarios]) for cell in plan.cells] == [
        ("bank/kill", [1, 2]),
        ("register/none", [1, 2]),
        ("register/kill", [1, 2]),
        ("set", [7, 8, 9]),
    ]
    assert plan.cells[0].scenarios[0].environment == "simulation"
    assert plan.runs == 9


def test_everything_that_is_wrong_with_a_plan_is_said_at_once() -> None:
    wrong = """
seeds = "3-1"
budget = "soon"
retries = 99
[matrix]
workload = ["bank", "bank"]
nodes = [3, 900]
[[known]]
cell = "*"
anomaly = "*"
reason = " "
expires = 2027-01-01
"""
    with pytest.raises(ScenarioError) as refused:
        read_plan(wrong)
    for part in ("did you mean 1-3", "budget 'soon'", "retries 99", "a reason must be given"):
        assert part in str(refused.value)
    with pytest.raises(ScenarioError, match="nodes 900: must be between 1 and 64"):
        read_plan('[matrix]\nworkload = ["bank"]\nnodes = [900]')
    with pytest.raises(ScenarioError, match="two cells are called 'bank'"):
        read_plan('[matrix]\nworkload = ["bank", "bank"]')
    with pytest.raises(ScenarioError, match="no cell is left"):
        read_plan("")
    with pytest.raises(ScenarioError, match="unknown field `mattrix`"):
        read_plan("[mattrix]")


def test_a_plan_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"cannot read the plan .*plan.toml: No such file"):
        load_plan(tmp_path / "plan.toml")


# The verdict.


@pytest.mark.parametrize(("outcome", "code"), [("valid", 0), ("invalid", 1), ("unknown", 3), ("failed", 4)])
def test_one_run_of_eight_decides(outcome: str, code: int) -> None:
    result = run(read_plan(PLAN), only("register", outcome))
    assert result.exit_code == code
    assert sum(one.outcome != "valid" for one in result.runs) == (2 if outcome != "valid" else 0)


def test_a_retry_that_passes_makes_no_pass() -> None:
    attempts: dict[tuple[str, str, int], int] = {}

    def flaky(scenario: Scenario) -> str:
        key = (scenario.workload, scenario.nemesis, scenario.seed)
        attempts[key] = attempts.get(key, 0) + 1
        return "invalid" if key == ("bank", "kill", 1) and attempts[key] == 1 else "valid"

    result = run(read_plan("retries = 2\n" + PLAN), flaky)
    assert result.exit_code == 1
    bad = next(one for one in result.runs if one.outcome == "invalid")
    assert [one.outcome for one in bad.attempts] == ["invalid", "valid", "valid"]
    assert "(attempts: invalid, valid, valid)" in outputs.describe(bad)
    assert sum(len(one.attempts) for one in result.runs) == 8 + 2


def known(anomaly: str, expires: str) -> str:
    return f'\n[[known]]\ncell = "bank/*"\nanomaly = "{anomaly}"\nreason = "ticket 7"\nexpires = {expires}\n'


def test_a_known_failure_is_a_warning_until_it_expires_and_a_failure_after() -> None:
    before = run(read_plan(PLAN + known("lost *", "2026-11-29")), only("bank", "invalid"))
    assert (before.exit_code, {one.outcome for one in before.runs}) == (0, {"valid", "known"})
    after = run(read_plan(PLAN + known("lost *", "2026-11-28")), only("bank", "invalid"))
    assert after.exit_code == 1
    assert "was known as 'ticket 7' until 2026-11-28, which is over" in outputs.describe(
        next(one for one in after.runs if one.outcome == "invalid")
    )


def test_a_known_failure_hides_no_other() -> None:
    plan = read_plan(PLAN + known("lost update", "2027-01-01"))
    assert run(plan, only("register", "invalid")).exit_code == 1
    both = run(plan, lambda _: ("invalid", 100.0, ["lost update", "G1c"]))
    assert both.exit_code == 1
    nameless = run(plan, lambda _: ("invalid", 100.0, []))
    assert nameless.exit_code == 1


@pytest.mark.parametrize(
    ("attempts", "code"),
    [
        (["invalid", "valid"], 0),
        (["unknown", "invalid"], 3),
        (["invalid", "unknown"], 3),
        (["invalid", "failed"], 1),
    ],
)
def test_an_attempt_that_was_not_decided_is_no_pass_beside_a_known_failure(
    attempts: list[str], code: int
) -> None:
    plan = read_plan("retries = 1\n" + PLAN + known("lost update", "2027-01-01"))
    seen = plan.cells[0].scenarios[0]
    ends = iter(attempts)

    def fate(scenario: Scenario) -> str:
        return next(ends) if scenario == seen else "valid"

    assert run(plan, fate).exit_code == code


def test_a_known_failure_that_is_not_seen_is_told() -> None:
    result = run(read_plan(PLAN + known("lost update", "2027-01-01")), lambda _: "valid")
    assert result.exit_code == 0
    assert [one.reason for one in result.unused] == ["ticket 7"]


def test_what_the_budget_left_out_is_no_pass_unless_the_plan_says_so() -> None:
    ticks = iter(range(1000))
    result = run(read_plan('budget = "3s"\n' + PLAN), lambda _: "valid", clock=lambda: float(next(ticks)))
    left_out = [one for one in result.runs if one.outcome == "left out"]
    assert left_out
    assert result.exit_code == 3
    ticks = iter(range(1000))
    allowed = run(
        read_plan('budget = "3s"\nmay_leave_out = true\n' + PLAN),
        lambda _: "valid",
        clock=lambda: float(next(ticks)),
    )
    assert allowed.exit_code == 0
    nothing = run(
        read_plan('budget = "1s"\nmay_leave_out = true\n' + PLAN),
        lambda _: "valid",
        clock=iter([0.0] + [5.0] * 100).__next__,
    )
    assert nothing.exit_code == 3


def test_a_gate_that_was_stopped_is_no_pass() -> None:
    stop = Stop()
    stop.request()
    result = run(read_plan("may_leave_out = true\n" + PLAN), lambda _: "valid", stop=stop)
    assert result.exit_code == 3


# The baseline.


def at_rate(rates: dict[str, float]) -> Fate:
    return lambda scenario: ("valid", rates.get(scenario.workload, 100.0))


def test_halved_throughput_shuts_the_gate_and_a_tenth_less_does_not(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    path = tmp_path / "baseline.json"
    write_baseline(path, baseline_of(run(plan, at_rate({}))))
    baseline = read_baseline(path)
    assert run(plan, at_rate({"bank": 90.0}), baseline=baseline).exit_code == 0
    halved = run(plan, at_rate({"bank": 50.0}), baseline=baseline)
    assert halved.exit_code == 1
    told = [cell.regression for cell in halved.cells if cell.regression]
    assert len(told) == 2
    assert "throughput is 50% of the baseline's, at least 80% is demanded" in str(told[0])


CONTROLLED = PLAN + '\n[control]\nworkload = "set"\nnemesis = "none"\n'


def test_on_real_clusters_a_slower_machine_is_no_slower_database() -> None:
    plan = read_plan(CONTROLLED)
    baseline = baseline_of(run(plan, at_rate({"set": 400.0}), virtual=False))
    slow_machine = at_rate({"bank": 50.0, "register": 50.0, "set": 200.0})
    assert run(plan, slow_machine, baseline=baseline, virtual=False).exit_code == 0
    slow_bank = at_rate({"bank": 25.0, "register": 50.0, "set": 200.0})
    found = run(plan, slow_bank, baseline=baseline, virtual=False)
    assert found.exit_code == 1
    assert {cell.cell for cell in found.cells if cell.regression} == {"bank/none", "bank/kill"}


def test_real_clusters_without_a_control_are_compared_with_a_warning() -> None:
    plan = read_plan(PLAN)
    baseline = baseline_of(run(plan, at_rate({}), virtual=False))
    result = run(plan, at_rate({"bank": 50.0}), baseline=baseline, virtual=False)
    assert result.exit_code == 1
    assert any("without a [control]" in note for note in result.notes)


def test_what_failed_last_time_runs_first_and_then_what_is_new() -> None:
    plan = read_plan(PLAN)
    baseline = baseline_of(run(plan, only("register", "invalid")))
    del baseline.cells["bank/kill"]
    watcher = Quiet()
    run(plan, lambda _: "valid", baseline=baseline, watcher=watcher)
    cells = list(dict.fromkeys(line.split(" seed")[0] for line in watcher.order))
    assert cells == ["register/none", "register/kill", "bank/kill", "bank/none"]


def test_a_baseline_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    assert read_baseline(path) is None
    path.write_text("[]")
    with pytest.raises(ScenarioError, match="--write-baseline writes it anew"):
        read_baseline(path)


def test_the_control_runs_in_between() -> None:
    watcher = Quiet()
    run(read_plan(CONTROLLED), lambda _: "valid", virtual=False, watcher=watcher)
    places = [place for place, line in enumerate(watcher.order) if line.startswith("control")]
    assert len(places) == 2
    assert places[1] - places[0] >= 3
