"""Defects of the transaction layer are found in short simulated runs; the same runs without them are valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.catalog import defect_sheets
from harness.explore.defects import BLACK_BOX, WHITE_BOX, Hunt, detectors
from harness.explore.trial import TrialRequest, TrialResult, run_trial

SHORT: dict[str, tuple[str, dict[str, Any]]] = {
    "read-skips-locks": ("bank", {"time_limit": 1.5}),
    "si-as-serializable": ("bank", {"time_limit": 1.5}),
    "lock-released-early": ("bank", {"time_limit": 1.5}),
    "partial-commit-early-ack": ("findings", {"time_limit": 6.0}),
    "snap-no-locks": ("findings", {"time_limit": 4.0}),
    "late-prewrite": ("bank", {"time_limit": 2.0}),
    "early-commit-timestamp": ("bank", {"time_limit": 1.5}),
    "validation-skipped": ("write-skew", {"time_limit": 1.5}),
    "rollback-unprotected": ("findings", {"time_limit": 4.0}),
}
"""Defect -> a detector that must speak, and what is shorter than in a hunt."""

SEEDS = range(1, 17)
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
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("blind-retry", BLACK_BOX),
        ("leader-local-read", BLACK_BOX),
        ("merge-forgets-locks", BLACK_BOX),
        ("nondeterministic-apply", WHITE_BOX),
        ("vote-volatile", WHITE_BOX),
    ],
)
def test_a_hunt_of_a_few_seeds_finds_it(name: str, mode: str, tmp_path: Path) -> None:
    """The known seeds come first; `harness defects` begins with them too."""
    sheet = defect_sheets()[name]
    seeds = dict.fromkeys((*sheet.seeds, *range(1, 13)))
    assert any(
        detectors(run_of(name, seed, tmp_path, mode=mode, clean=False, given={}), mode) for seed in seeds
    ), f"none of the seeds {list(seeds)} shows {name} by {mode} means"
