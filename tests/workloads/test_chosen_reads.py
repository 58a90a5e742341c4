"""Reads that promise less, against the reference database in simulation: valid as what they promise, and no more."""

from pathlib import Path
from typing import Any

import pytest

from harness.explore.trial import TrialRequest, TrialResult, run_trial
from harness.scenario import Scenario
from tests.harness.engine import options
from workloads.register import Register
from workloads.session import CHOSEN_READS
from workloads.stale import Stale
from workloads.workload import OptionError


def run(folder: Path, workload: str, **fields: Any) -> TrialResult:
    """A few virtual seconds."""
    values: dict[str, Any] = {"seed": 3, "nemesis": "none", "time_limit": 4.0, "ranges": 3, **fields}
    scenario = Scenario(workload=workload, system="reference-db", environment="simulation", **values)
    return run_trial(TrialRequest(scenario=scenario), folder, keep="never")


def test_stale_reads_are_refuted_as_linearizable_ones_and_valid_as_what_they_are(tmp_path: Path) -> None:
    stale = {"workload_options": {"reads": "stale"}}
    refuted = run(tmp_path, "register", consistency="linearizable", **stale)
    assert refuted.outcome == "invalid"
    assert refuted.invalid_checkers == ["linearizability"]
    assert any("stale read" in kind for kind in refuted.anomaly_types)
    assert run(tmp_path, "register", **stale).outcome == "valid"


@pytest.mark.parametrize("reads", ["linearizable", "lease", "bounded", "stale"])
@pytest.mark.parametrize("workload", ["register", "stale"])
def test_reads_keep_what_they_promise_whatever_breaks(tmp_path: Path, workload: str, reads: str) -> None:
    result = run(
        tmp_path, workload, nemesis="partition,pause,clock", time_limit=8.0, workload_options={"reads": reads}
    )
    assert result.outcome == "valid", result.sentence


def test_bounded_reads_are_refuted_as_linearizable_ones(tmp_path: Path) -> None:
    bounded = {"workload_options": {"reads": "bounded"}}
    assert run(tmp_path, "stale", consistency="linearizable", **bounded).outcome == "invalid"


def test_what_is_asked_for_decides_what_is_demanded() -> None:
    def checker(kind: type[Register] | type[Stale], reads: str, consistency: str | None = None) -> str:
        workload = kind(options(extra={"reads": reads}, consistency=consistency))
        return workload.checker.name

    assert checker(Register, "linearizable") == checker(Register, "lease") == "linearizability"
    assert checker(Register, "bounded") == checker(Register, "stale") == "registers"
    assert checker(Register, "stale", "linearizable") == checker(Stale, "bounded", "linearizable")
    assert CHOSEN_READS in Register(options(extra={"reads": "lease"})).needs
    assert CHOSEN_READS not in Register(options()).needs
    with pytest.raises(OptionError, match="reads='quick' must be one of linearizable, lease, bounded, stale"):
        Register(options(extra={"reads": "quick"}))
