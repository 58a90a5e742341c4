"""Violations that are seen while a run goes on: they end it if asked to, and must be confirmed by the full checker."""

from pathlib import Path
from typing import Any

import pytest

from harness.alarms import Alarm, WatchedJournal
from harness.explore.trial import TrialRequest, TrialResult, run_trial
from harness.scenario import Scenario
from results.operation import HARNESS, INVOKE, OK, Operation
from results.run_folder import RunFolder
from results.verdict import Anomaly
from tests.harness.engine import ListJournal
from workloads.bank import Bank

WRONG = {"misbehave": "torn-reads", "share": 0.02}


class Watcher:
    """Notes what it is shown, and acts at one event."""

    name = "bank"

    def __init__(self, at: int, act: str = "alarm") -> None:
        self.at = at
        self.act = act
        self.shown: list[int] = []

    def observe(self, event: Operation) -> Anomaly | None:
        self.shown.append(event.index)
        if event.index < self.at:
            return None
        if self.act == "break":
            raise RuntimeError("it broke")
        return Anomaly("made up", "made up: nothing is wrong", [event.index])


def run(folder: Path, **fields: Any) -> tuple[TrialResult, RunFolder]:
    values: dict[str, Any] = {"seed": 5, "nemesis": "partition", "time_limit": 10.0, **fields}
    scenario = Scenario(workload="bank", system="in-memory", environment="simulation", **values)
    result = run_trial(TrialRequest(scenario=scenario), folder, keep="always", name="it")
    return result, RunFolder(folder / "it")


def part(folder: RunFolder, name: str) -> Any:
    return next(one for one in folder.read_verdict().parts if one.checker == name)


def test_what_is_recorded_is_shown_until_an_alarm() -> None:
    told: list[Alarm] = []
    journal, watcher, other = ListJournal(), Watcher(at=2), Watcher(at=99)
    watched = WatchedJournal(journal, [watcher, other], told.append)
    watched.record(Operation(0, 0, 0, INVOKE, "read"))
    watched.record(Operation(1, 1, HARNESS, "info", "phase"))
    watched.record(Operation(2, 2, 0, OK, "read", {}))
    watched.record(Operation(3, 3, 0, INVOKE, "read"))
    watched.commit()
    assert len(journal.operations) == journal.committed == 4
    assert watcher.shown == [0, 2], "only clients' events, and none after the alarm"
    assert other.shown == [0, 2, 3]
    assert [(one.checker, one.anomaly is not None) for one in told] == [("bank", True)]


def test_without_anybody_to_show_it_to_the_journal_is_used_as_it_is() -> None:
    journal = ListJournal()
    assert WatchedJournal(journal, [], print).record == journal.record


def test_an_online_checker_that_breaks_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bank, "online_checkers", lambda self: (Watcher(50, "break"),))
    result, folder = run(tmp_path)
    assert result.outcome == "unknown"
    assert result.failed_checkers == ["online"]
    assert "it broke" in part(folder, "online").details["broken"][0]["traceback"]


def test_fail_fast_ends_the_main_phase_at_the_first_violation(tmp_path: Path) -> None:
    """1. A read shows a wrong total. 2. Nothing more is invoked. 3. Heal, final reads, and a verdict with evidence."""
    whole, _ = run(tmp_path / "whole", system_options=WRONG)
    short, folder = run(tmp_path / "short", system_options=WRONG, fail_fast=True)

    assert whole.outcome == short.outcome == "invalid"
    assert short.operations < whole.operations / 2
    assert "was ended by a violation" in part(folder, "completeness").sentence
    online = part(folder, "online")
    assert online.outcome == "valid"
    assert "it ended the main phase; the whole history confirms it" in online.sentence
    assert online.details["alarms"][0]["ended"] is True
    history = folder.read_history()
    assert folder.schedule_path.exists()
    assert [event.value["by"] for event in history.observed(HARNESS) if event.f == "stopped"] == ["alarm"]
    assert any(event.f == "recovery" for event in history.observed(HARNESS))


def test_without_fail_fast_the_run_goes_on_and_the_verdict_says_what_was_seen(tmp_path: Path) -> None:
    _, folder = run(tmp_path, system_options=WRONG)
    online = part(folder, "online")
    assert "; it ended" not in online.sentence
    assert online.details["alarms"][0]["ended"] is False
    assert "both phases ran to their end" in part(folder, "completeness").sentence


def test_a_right_run_is_the_same_whether_or_not_anybody_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, watched = run(tmp_path / "watched", fail_fast=True)
    assert part(watched, "online").sentence == "nothing was seen while the run went on"
    monkeypatch.setattr(Bank, "online_checkers", lambda self: ())
    _, alone = run(tmp_path / "alone", fail_fast=True)
    assert watched.history_path.read_bytes() == alone.history_path.read_bytes()


def test_an_alarm_that_is_not_confirmed_is_a_failure_of_the_harness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bank, "online_checkers", lambda self: (Watcher(50),))
    result, folder = run(tmp_path)
    assert result.outcome == "failed"
    assert result.sentence.startswith("HarnessContradiction: the harness contradicts itself: ")
    assert "made up: nothing is wrong" in result.sentence
    assert folder.read_verdict().outcome == "unknown", "and nobody takes it for a pass"
