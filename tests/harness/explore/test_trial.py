"""A trial always has a result: a verdict, or what went wrong in the harness; and keeps its folder when it should."""

from __future__ import annotations

import asyncio
import pickle
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from harness.explore import trial
from harness.explore.trial import FAILED, TrialRequest, TrialResult, run_trial
from harness.scenario import Scenario
from results.operation import HARNESS, INFO, INVOKE, LOG, OK
from results.run_folder import RunFolder
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

SCENARIO = Scenario(seed=7, workload="bank", environment="local")


class Stage:
    """What a fake run does: it writes a history, on a loop with steps, and is judged as the test says."""

    def __init__(self) -> None:
        self.verdict = Verdict(VALID, "run", "all hold")
        self.error: BaseException | None = None
        self.asked: dict[str, Any] = {}
        self.busy = False

    def make_parts(self, scenario: Scenario, **more: Any) -> Any:
        self.asked = more
        return SimpleNamespace(scenario=scenario, schedule=[1, 2, 3], environment=self)

    def run(self, main: Any) -> None:
        asyncio.run(main)

    async def execute(self, parts: Any, folder: RunFolder, *_: Any) -> None:
        folder.write_scenario(parts.scenario.to_toml())
        folder.write_schedule([])
        with folder.journal() as journal:
            journal.record_fields(0, 0, 0, INVOKE, "read")
            journal.record_fields(1, 5, 0, OK, "read")
            journal.record_fields(2, 6, LOG, INFO, "finding", {"step": 41, "time_ns": 9, "name": "x"})
            journal.record_fields(3, 7, HARNESS, INFO, "marks", {"a lock was pushed": 2})
        while self.busy:
            pass
        if self.error is not None:
            raise self.error

    def judge(self, _parts: Any, _history: Any) -> Verdict:
        return self.verdict


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    monkeypatch.setattr(trial, "make_parts", stage.make_parts)
    monkeypatch.setattr(trial, "execute", stage.execute)
    monkeypatch.setattr(trial, "judge", stage.judge)
    monkeypatch.setattr(
        trial, "write_report", lambda folder: (folder.path / "report.html").write_text("page")
    )
    return stage


def tried(folder: Path, *arguments: Any, **options: Any) -> TrialResult:
    return run_trial(TrialRequest(scenario=SCENARIO), folder, *arguments, **options)


def test_a_valid_run_is_counted_and_leaves_nothing(stage: Stage, tmp_path: Path) -> None:
    result = tried(tmp_path, name="seed-7")
    assert (result.seed, result.outcome, result.exit_code) == (7, VALID, 0)
    assert (result.operations, result.fault_steps) == (1, 3)
    assert result.marks == {"a lock was pushed": 2}
    assert (result.finding_step, result.finding_time_ns) == (41, 9)
    assert result.command == SCENARIO.command("./run")
    assert result.folder is None
    assert list(tmp_path.iterdir()) == []
    assert not result.is_failure


def test_an_invalid_run_keeps_its_folder_with_verdict_and_report(stage: Stage, tmp_path: Path) -> None:
    bank = Verdict(INVALID, "bank", "money is gone", [Anomaly("wrong total", "99 of 100", [1])])
    parts = [Verdict(VALID, "stats", "fine"), bank, Verdict(UNKNOWN, "faults", "none took effect")]
    stage.verdict = Verdict(INVALID, "run", "bank: money is gone", parts=parts)
    result = tried(tmp_path, name="seed-7")
    assert (result.outcome, result.exit_code, result.is_failure) == (INVALID, 1, True)
    assert result.failed_checkers == ["bank", "faults"]
    assert result.invalid_checkers == ["bank"]
    assert result.anomaly_types == ["wrong total"]
    assert result.sentence == "bank: money is gone"
    assert result.folder == str(tmp_path / "seed-7")
    kept = RunFolder.open(result.folder)
    assert kept.read_verdict() == stage.verdict
    assert kept.report_path.exists()


def test_an_unknown_run_is_kept_and_is_no_failure(stage: Stage, tmp_path: Path) -> None:
    stage.verdict = Verdict(UNKNOWN, "run", "stats: no read ever succeeded")
    result = tried(tmp_path, name="seed-7")
    assert (result.outcome, result.exit_code, result.is_failure) == (UNKNOWN, 3, False)
    assert (tmp_path / "seed-7" / "report.html").exists()


def test_keep_says_which_folders_stay(stage: Stage, tmp_path: Path) -> None:
    assert tried(tmp_path, "always", name="a").folder == str(tmp_path / "a")
    stage.verdict = Verdict(INVALID, "run", "broken")
    assert tried(tmp_path, "never", name="b").folder is None
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_without_a_name_the_folder_is_one_like_those_of_single_runs(stage: Stage, tmp_path: Path) -> None:
    stage.verdict = Verdict(INVALID, "run", "broken")
    result = tried(tmp_path)
    assert result.folder is not None
    assert Path(result.folder).name.endswith("-bank")


def test_a_harness_that_fails_is_a_result_with_its_traceback(stage: Stage, tmp_path: Path) -> None:
    stage.error = ZeroDivisionError("by zero")
    result = tried(tmp_path, name="seed-7")
    assert (result.outcome, result.exit_code, result.is_failure) == (FAILED, 4, True)
    assert result.sentence == "ZeroDivisionError: by zero"
    assert "in execute" in (result.problem or "")
    assert result.folder is not None, "what was recorded until then is evidence"
    assert result.fault_steps == 3


def test_a_verdict_stands_if_its_report_cannot_be_written(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_folder: RunFolder) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(trial, "write_report", full)
    stage.verdict = Verdict(INVALID, "run", "broken")
    result = tried(tmp_path, name="seed-7")
    assert (result.outcome, result.exit_code) == (INVALID, 1)
    assert "no space left" in (result.problem or "")
    assert result.folder is not None


def test_a_scenario_that_cannot_be_is_a_result_too(tmp_path: Path) -> None:
    scenario = Scenario(seed=1, workload="no such thing")
    result = run_trial(TrialRequest(scenario=scenario), tmp_path)
    assert result.outcome == FAILED
    assert "unknown workload 'no such thing'" in result.sentence
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_hangs_in_a_loop_is_given_up(stage: Stage, tmp_path: Path) -> None:
    stage.busy = True
    began = time.process_time()
    result = tried(tmp_path, name="seed-7", cpu_limit_s=0.2)
    assert result.outcome == FAILED
    assert "given up after 0.2 s of processor time" in result.sentence
    assert "in execute" in (result.problem or "")
    assert time.process_time() - began < 5
    stage.busy = False
    assert tried(tmp_path, name="seed-8", cpu_limit_s=0.2).outcome == VALID, (
        "the limit is over with its trial"
    )


def test_what_a_killed_sweep_left_is_replaced_and_a_judged_run_is_not(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "seed-7").mkdir()
    (tmp_path / "seed-7" / "history.jsonl").write_text("half")
    stage.verdict = Verdict(INVALID, "run", "broken")
    assert tried(tmp_path, name="seed-7").outcome == INVALID
    again = tried(tmp_path, name="seed-7")
    assert again.outcome == FAILED
    assert "another run" in again.sentence
    assert RunFolder(tmp_path / "seed-7").read_verdict() == stage.verdict


def test_schedule_and_operations_of_the_request_reach_the_run(stage: Stage, tmp_path: Path) -> None:
    request = TrialRequest(scenario=SCENARIO, schedule=[{"id": 1}], operations=[{"f": "read"}])
    run_trial(request, tmp_path)
    assert stage.asked == {"schedule": [{"id": 1}], "operations": [{"f": "read"}]}


def test_requests_and_results_travel(stage: Stage, tmp_path: Path) -> None:
    """Through pickle to another process, through JSON to `results.jsonl`."""
    request = TrialRequest(scenario=SCENARIO, schedule=[{"id": 1}])
    assert pickle.loads(pickle.dumps(request)) == request
    result = tried(tmp_path, name="seed-7")
    assert pickle.loads(pickle.dumps(result)) == result
    assert msgspec.json.decode(msgspec.json.encode(result), type=TrialResult) == result
