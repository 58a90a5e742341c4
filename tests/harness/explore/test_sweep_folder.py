"""A sweep on disk: what was asked comes back, results outlive a kill in the middle of a line, one writer at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.explore.sweep_folder import SweepFolder, SweepPlan, scenario_of
from harness.scenario import ScenarioError
from results.run_folder import RunFolderError
from tests.harness.explore.fakes import result

GIVEN: dict[str, Any] = {
    "workload": "bank",
    "nemesis": 'partition:bridge,kill@leader "quoted"',
    "rate": 50.0,
    "nodes": 5,
    "system_options": {"tick_ms": 50, "reads": "lease", "odd key": True},
}


def plan(**fields: Any) -> SweepPlan:
    return SweepPlan(**{"seeds": "1-10", "given": GIVEN, "code": "0123456789abcdef", **fields})


def test_what_was_asked_comes_back() -> None:
    for one in (plan(), plan(draw=False, until_failure=True, seeds="7,9-12")):
        assert SweepPlan.from_toml(one.to_toml()) == one


def test_a_plan_with_nonsense_is_refused() -> None:
    with pytest.raises(ScenarioError, match="'x' is neither"):
        plan(seeds="x")
    with pytest.raises(ScenarioError, match="seeds"):
        SweepPlan.from_toml("code = 'a'\n[given]\n")


def test_folders_of_the_same_second_are_told_apart(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with (
        SweepFolder.create(tmp_path, plan(), now=now) as one,
        SweepFolder.create(tmp_path, plan(), now=now) as two,
    ):
        assert one.path.name == "sweep-20260101T120000Z-bank"
        assert two.path.name == "sweep-20260101T120000Z-bank-2"


def test_results_come_back_without_the_line_that_was_cut_off(tmp_path: Path) -> None:
    with SweepFolder.create(tmp_path, plan()) as folder:
        for seed in (3, 1, 2):
            folder.append(result(seed, marks={"a mark": seed}))
    path = folder.results_path
    path.write_bytes(path.read_bytes() + b'{"seed":4,"outc')
    with SweepFolder.open(folder.path, tmp_path) as again:
        assert again.plan == plan()
        assert list(again.results()) == [result(seed, marks={"a mark": seed}) for seed in (3, 1, 2)]
        again.append(result(4))
        assert [one.seed for one in again.results()] == [3, 1, 2, 4]


def test_a_result_that_was_written_twice_counts_once(tmp_path: Path) -> None:
    with SweepFolder.create(tmp_path, plan()) as folder:
        folder.append(result(1))
        folder.append(result(1, "invalid"))
        assert [(one.seed, one.outcome) for one in folder.results()] == [(1, "valid")]


def test_a_damaged_line_in_the_middle_is_told_with_its_number(tmp_path: Path) -> None:
    with SweepFolder.create(tmp_path, plan()) as folder:
        folder.append(result(1))
        folder.results_path.write_bytes(b"nonsense\n" + folder.results_path.read_bytes())
        with pytest.raises(RunFolderError, match="line 1"):
            list(folder.results())


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = SweepFolder.create(tmp_path, plan())
    with pytest.raises(ScenarioError, match="in progress in another process"):
        SweepFolder.open(folder.path, tmp_path)
    folder.close()
    with SweepFolder.open(folder.path, tmp_path):
        pass


def test_latest_is_the_newest_sweep(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there is no sweep"):
        SweepFolder.open("latest", tmp_path)
    for hour in (12, 14, 13):
        SweepFolder.create(tmp_path, plan(), now=datetime(2026, 1, 1, hour, tzinfo=UTC)).close()
    with SweepFolder.open("latest", tmp_path) as found:
        assert "T14" in found.path.name


def test_what_is_no_sweep_is_said(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"cannot read its sweep\.toml"):
        SweepFolder.open(tmp_path / "nowhere", tmp_path)
    (tmp_path / "sweep.toml").write_text("seeds = 3")
    with pytest.raises(ScenarioError, match=r"sweep\.toml"):
        SweepFolder.open(tmp_path, tmp_path)
    (tmp_path / "sweep.toml").write_bytes(b'code = "\xe9"')
    with pytest.raises(ScenarioError, match=r"sweep\.toml is no text"):
        SweepFolder.open(tmp_path, tmp_path)


def test_runs_cannot_be_kept_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="it is a file"):
        SweepFolder.create(tmp_path / "file", plan())


def test_without_drawing_only_the_seed_differs() -> None:
    given = {"workload": "bank", "environment": "local"}
    one, two = (scenario_of(plan(given=given, draw=False), seed) for seed in (1, 2))
    assert (one.seed, two.seed) == (1, 2)
    assert one.to_toml().replace("seed = 1", "seed = 2") == two.to_toml()
