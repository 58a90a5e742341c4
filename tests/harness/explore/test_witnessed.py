"""Directed stories with clients: their histories alone show the defect, and blame nobody in the clean twin."""

from __future__ import annotations

import pytest

from harness.explore import defects
from harness.explore.defects import BLACK_BOX, WHITE_BOX, WITNESSED, Hunt, directed_hunt, is_expected
from harness.explore.witnessed import judge_story
from harness.systems.reference_db import defect_sheets
from results.verdict import INVALID, UNKNOWN, VALID, Verdict

SHEETS = {name: sheet for name, sheet in defect_sheets().items() if sheet.witnessed is not None}
ANOMALIES = {
    "vote-volatile": ("lost element", "1"),
    "vote-nonatomic": ("lost element", "1"),
    "conflict-not-truncated": ("element of a failed add", "2"),
    "nonvoting-leader-self": ("lost element", "1"),
    "readindex-ctx-reuse": ("stale read", "1"),
    "lease-kept-on-transfer": ("stale read", "1"),
    "lease-promise-forgotten": ("stale read", "1"),
    "lease-wallclock": ("stale read", "1"),
}


def hunt(name: str, mode: str = BLACK_BOX) -> Hunt:
    return Hunt(sheet=SHEETS[name], mode=mode, seeds=(1,), cpu_limit_s=9.0)


def test_these_are_the_stories_with_clients() -> None:
    assert SHEETS.keys() == ANOMALIES.keys()


@pytest.mark.parametrize("name", SHEETS)
def test_the_history_shows_the_defect_and_its_clean_twin_is_valid(name: str) -> None:
    told = judge_story(SHEETS[name], planted=True)
    type_, element = ANOMALIES[name]
    assert told.outcome == INVALID
    assert type_ in {anomaly.type for _, anomaly in told.every_anomaly()}, told.sentence
    assert element in told.sentence
    assert judge_story(SHEETS[name], planted=False).outcome == VALID


@pytest.mark.parametrize("name", SHEETS)
def test_by_histories_alone_the_story_is_told_and_otherwise_runs_are_tried(name: str) -> None:
    assert hunt(name).is_story
    assert hunt(name, WHITE_BOX).is_story is not SHEETS[name].reachable
    assert is_expected(SHEETS[name], BLACK_BOX)
    found = directed_hunt(hunt(name))
    assert (found.found, found.by, found.route, found.failed) == (True, WITNESSED, "H", 0)


@pytest.mark.parametrize("outcome", [INVALID, UNKNOWN])
def test_a_story_whose_clean_twin_is_not_valid_finds_nothing(
    outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(_sheet: object, *, planted: bool) -> Verdict:
        return Verdict(INVALID if planted else outcome, "set", "told")

    monkeypatch.setattr(defects, "judge_story", judged)
    found = directed_hunt(hunt("vote-volatile"))
    assert (found.found, found.by, found.failed) == (False, None, 1)
    assert "blames the clean code" in found.sentence
