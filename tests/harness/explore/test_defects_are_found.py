"""Defects of the transaction layer are found in short simulated runs; the same runs without them are valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.catalog import defect_sheets
from harness.explore.defects import BLACK_BOX, WHITE_BOX, Hunt, detectors, is_expected
from harness.explore.trial import TrialRequest, TrialResult, run_trial

SHORT: dict[str, tuple[str, dict[str, Any]]] = {
    "read-skips-locks": ("bank", {"time_limit": 1.5}),
    "si-as-serializable": ("bank", {"time_limit": 1.5}),
    "lock-released-early": ("bank", {"time_limit": 1.5}),
    "partial-commit-early-ack": ("bank", {"time_limit": 2.0, "nemesis": "none"}),
    "snap-no-locks": ("findings", {}),
    "late-prewrite": ("bank", {}),
}
"""Defect -> a detector that must speak, and what is shorter than in a hunt."""

SEEDS = range(1, 9)
"""Any of these may show it: which does changes with every line of the database. For most it is the first."""


def run_of(
    name: str, seed: int, folder: Path, *, mode: str, clean: bool, given: dict[str, Any]
) -> TrialResult:
    task = Hunt(sheet=defect_sheets()[name], mode=mode, seeds=(seed,), cpu_limit_s=60.0, given=given)
    return run_trial(TrialRequest(scenario=task.scenario(seed, clean=clean)), folder, "never", name="run")


@pytest.mark.parametrize("name", SHORT)
def test_a_short_run_shows_it_and_its_twin_without_it_is_innocent(name: str, tmp_path: Path) -> None:
    detector, given = SHORT[name]
    for seed in SEEDS:
        planted = run_of(name, seed, tmp_path, mode=WHITE_BOX, clean=False, given=given)
        assert planted.problem is None
        if detector in planted.invalid_checkers:
            break
    else:
        pytest.fail(f"none of the seeds {SEEDS} shows {name}")
    twin = run_of(name, seed, tmp_path, mode=WHITE_BOX, clean=True, given=given)
    assert twin.invalid_checkers == [], twin.sentence
    assert twin.problem is None


@pytest.mark.slow
@pytest.mark.parametrize("mode", [WHITE_BOX, BLACK_BOX])
@pytest.mark.parametrize(
    "name", ["blind-retry", "leader-local-read", "nondeterministic-apply", "vote-volatile"]
)
def test_a_known_seed_finds_its_defect(name: str, mode: str, tmp_path: Path) -> None:
    """A handful; `harness defects` begins with all of them."""
    sheet = defect_sheets()[name]
    if not is_expected(sheet, mode):
        pytest.skip("no history shows it")
    found = [
        seed
        for seed in sheet.seeds
        if detectors(run_of(name, seed, tmp_path, mode=mode, clean=False, given={}), mode)
    ]
    assert found, f"none of the seeds {sheet.seeds} shows {name} by {mode} means any more"
