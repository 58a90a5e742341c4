"""With --shrink a run that found a defect is made smaller, and the score says by how much, or that it was not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from harness.cli.hunting import shrink_one, shrunk_line
from harness.explore.defects import HuntResult
from harness.explore.shrink import Budget
from results.run_folder import RunFolder
from tests.harness.explore import made_up_runs

MADE_UP: Any = made_up_runs


class MadeUpPool:
    """Runs what shrinking tries by a rule."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule

    def submit(self, _function: Any, request: Any, scratch: str, name: str) -> Any:
        return MADE_UP.MadeUpRuns(Path(scratch), self.rule)(request, name)


@pytest.fixture
def found(tmp_path: Path) -> HuntResult:
    """A hunt whose run lies in a folder."""
    path = tmp_path / "late-prewrite-white-box-7"
    path.mkdir()
    MADE_UP.write_run(RunFolder(path), MADE_UP.case(), True, (0,))
    return HuntResult(
        defect="late-prewrite", mode="white-box", found=True, by="linearizability", seed=7, folder=str(path)
    )


def test_what_it_takes_stays_and_the_rest_goes(found: HuntResult, tmp_path: Path) -> None:
    def rule(of: Any) -> tuple[int, ...] | None:
        """It takes the kill."""
        return (0,) if any(step.fault == "kill" for step in of.steps) else None

    shrunk = shrink_one(found, cast(Any, MadeUpPool(rule)), tmp_path, Budget(runs=300), jobs=1)
    assert shrunk.seen_again
    assert shrunk.fault_steps == (4, 1)
    assert shrunk.operations[1] < shrunk.operations[0] == 60
    assert shrunk.folder is not None
    assert RunFolder.open(shrunk.folder).read_verdict() is not None
    assert "4 -> 1 fault steps, 60 -> " in shrunk_line(found, shrunk)


def test_what_does_not_show_again_is_told(found: HuntResult, tmp_path: Path) -> None:
    shrunk = shrink_one(found, cast(Any, MadeUpPool(lambda of: None)), tmp_path, Budget(runs=50), jobs=1)
    assert not shrunk.seen_again
    assert "did not show" in shrunk_line(found, shrunk)
