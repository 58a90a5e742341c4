"""`harness defects` as people type it: nonsense, a score that is whole or not, defects of one's own, exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.cli import hunting
from harness.explore.trial import TrialResult
from harness.scenario import ScenarioError
from tests.harness.cli.conftest import Call
from tests.harness.explore.fakes import result
from tests.harness.explore.test_defects import Pool, blamed


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    """Workers that do nothing but what is said."""
    made = Pool()

    @contextmanager
    def make(_jobs: int) -> Iterator[Pool]:
        yield made

    monkeypatch.setattr(hunting, "process_pool", make)
    return made


def score_in(folder: Path) -> tuple[dict[str, Any], str]:
    """The only score that was kept: as data and as a page."""
    (kept,) = folder.glob("runs/defects-*")
    return json.loads((kept / "score.json").read_text()), (kept / "score.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "no-such"), "unknown defect 'no-such'; the defects are ack-before-fsync"),
        (("--only", ""), "--only names no defect"),
        (("--only", "no.such.module:plant"), "must be importable from where you are"),
        (("--only", "json:no_such"), "json has no function 'no_such' that takes a node"),
        (("--only", ":"), "module:function must be importable"),
        (("--seeds", "5-1"), "'5-1' ends before it begins"),
        (("--seeds", "x"), "'x' is neither a seed"),
        (("--seeds", "1-1000000"), "a hunt takes at most 100000"),
        (("--cpu", "0"), "must be above 0 processor seconds"),
        (("--cpu", "nan"), "must be above 0 processor seconds"),
        (("--jobs", "0"), "0 is not in the range"),
        (("--mode", "grey-box"), "'grey-box' is not one of"),
        (("--workload", "cake"), "unknown workload 'cake'"),
        (("--nemesis", "cake"), "cake"),
        (("--time-limit", "-1"), "time limit -1 s: must be above 0"),
        (("--shrink", "--shrink-budget", "much"), "must be a time such as 90s"),
        (("--only", "append-aba", "--mode", "black-box"), "no history shows append-aba; --mode white-box"),
    ],
)
def test_nonsense_is_2_with_the_way_out(
    words: tuple[str, ...], said: str, harness: Call, pool: Pool, tmp_path: Path
) -> None:
    code, _, err = harness("defects", *words)
    assert code == 2
    assert said in err
    assert not (tmp_path / "runs").exists(), "nothing was begun"


def test_all_found_is_0_and_the_score_is_kept(harness: Call, pool: Pool, tmp_path: Path) -> None:
    pool.outcomes = {
        ("late-prewrite", 1): blamed(1, "bank"),
        ("blind-retry", 1): blamed(1, "linearizability"),
    }
    code, out, _ = harness("defects", "--only", "late-prewrite,blind-retry", "--fresh", "--jobs", "2")
    assert code == 0
    assert "2 defects, 4 hunts, 2 runs at a time" in out
    assert "found  late-prewrite (black-box): by bank [H], seed 1, 1 run, 10 steps" in out
    assert "- black-box: 2 of 2 found" in out
    assert "false alarms" in out
    score, page = score_in(tmp_path)
    assert [one["found"] for one in score["hunts"]] == [True] * 4
    assert (score["fresh"], score["ended"], score["planned"]) == (True, "", 4)
    assert score["command"] == (
        "./run defects --only late-prewrite,blind-retry --seeds 1-60 --cpu 120 --fresh"
    )
    assert score["command"] in page


def test_one_that_is_missed_is_1(harness: Call, pool: Pool) -> None:
    words = ("--only", "late-prewrite", "--mode", "white-box", "--seeds", "1-2", "--fresh", "--no-clean")
    code, out, _ = harness("defects", *words, "--cpu", "30")
    assert code == 1
    assert pool.limits_s == {30.0}, "no run takes longer than its hunt may"
    assert "MISSED late-prewrite (white-box): not found in 2 runs; the last one: seed 2 is valid" in out
    assert "0 of 1 found; missed: late-prewrite" in out
    assert "clean database: not run" in out


def test_a_false_alarm_is_1_and_told_at_once(harness: Call, pool: Pool) -> None:
    pool.outcomes, pool.clean = {("late-prewrite", 1): blamed(1, "bank")}, {1: blamed(1, "bank")}
    words = ("--only", "late-prewrite", "--mode", "white-box", "--seeds", "1", "--fresh")
    code, out, _ = harness("defects", *words)
    assert code == 1
    assert "FALSE ALARM on the clean database: seed 1 is invalid\n  ./run test --seed 1" in out


def test_a_harness_that_fails_is_4(harness: Call, pool: Pool) -> None:
    failed: TrialResult = result(1, "failed", problem="Traceback\nOSError: no")
    pool.outcomes = {("late-prewrite", 1): failed, ("late-prewrite", 2): blamed(2, "bank")}
    words = ("--only", "late-prewrite", "--mode", "white-box", "--seeds", "1-2", "--fresh", "--no-clean")
    assert harness("defects", *words)[0] == 4


def test_ctrl_c_keeps_what_is_known_and_is_3(harness: Call, pool: Pool, tmp_path: Path) -> None:
    pool.outcomes, pool.interrupt_at = {("blind-retry", 1): blamed(1, "linearizability")}, 2
    words = ("--only", "late-prewrite,blind-retry", "--mode", "white-box", "--fresh", "--jobs", "1")
    code, out, _ = harness("defects", *words)
    assert code == 3
    assert "not whole: it was stopped; 1 of 2 hunts came to an end" in out
    score, page = score_in(tmp_path)
    assert [one["defect"] for one in score["hunts"]] == ["blind-retry"]
    assert "**Not whole: it was stopped" in page


def test_a_defect_of_ones_own_is_hunted_with_what_the_command_line_says(
    harness: Call, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_defect.py").write_text('"""It forgets."""\n\ndef plant(node):\n    pass\n')
    monkeypatch.syspath_prepend(tmp_path)
    pool.outcomes = {("my_defect:plant", seed): blamed(seed, "bank") for seed in (2, 3)}
    words = ("--only", "my_defect:plant", "--mode", "white-box", "--seeds", "1-9", "--no-clean")
    code, out, _ = harness("defects", *words, "--workload", "bank", "--nemesis", "kill,pause")
    assert code == 0
    assert "found  my_defect:plant (white-box): by bank [H], seed 2, 2 runs" in out
    score, page = score_in(tmp_path)
    assert (score["hunts"][0]["workload"], score["hunts"][0]["nemesis"]) == ("bank", "kill,pause")
    assert "my_defect:plant" in page


def test_what_is_known_is_kept_when_making_smaller_fails(
    harness: Call, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ScenarioError("the run has no anomaly 'registers'")

    monkeypatch.setattr(hunting, "shrink_one", fails)
    pool.outcomes = {("late-prewrite", 1): blamed(1, "bank", folder=str(tmp_path / "run"))}
    words = ("--only", "late-prewrite", "--mode", "white-box", "--fresh", "--no-clean", "--shrink")
    code, _, err = harness("defects", *words)
    assert code == 4
    assert "no anomaly 'registers'" in err
    score, page = score_in(tmp_path)
    assert [one["found"] for one in score["hunts"]] == [True]
    assert "no anomaly 'registers'" in page


def test_the_defects_are_listed(harness: Call) -> None:
    code, out, _ = harness("defects", "--list")
    assert code == 0
    assert "late-prewrite" in out
    assert "A leader does not remember whom it aborted" in out
