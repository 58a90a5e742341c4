"""What shrinking leaves behind: the run folder of the small run, and in it how it came of the large one."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from harness.explore.reductions import Case, Size
from harness.explore.replay import own_files
from harness.explore.saved_run import SavedRun
from harness.explore.shrink import Best, Gain, Shrinking
from harness.explore.shrink_page import render_shrink_page
from results.report import write_report
from results.run_folder import RunFolder, RunFolderError
from workloads.generator.recorded import encode_operations

FORMAT = 1
SCRATCH = ".shrink-"
"""Begin of the names of the folders, beside the runs, in which smaller runs are tried."""


class Side(msgspec.Struct, frozen=True):
    """The run before or after."""

    run: str
    folder: str
    size: Size
    sentence: str
    """The anomaly, in words."""
    commands: list[str]
    """Each repeats it."""


class ShrinkRecord(msgspec.Struct, frozen=True):
    """`shrink.json`: how a run came of a larger one."""

    format: int
    checker: str
    type: str
    before: Side
    after: Side
    runs: int
    """How many runs were tried."""
    seconds: float
    confirm: str
    ended: str
    """Why the search ended."""
    gains: list[Gain]
    """What held, one after the other."""


@contextmanager
def scratch_folder(runs_dir: Path) -> Iterator[Path]:
    """A folder for runs that are tried, gone when the block is over. It says whose it is, so that what a killed search
    has left can be told from what a running one needs.

    Raises RunFolderError where it cannot be made."""
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=runs_dir, ignore_cleanup_errors=True)
    except OSError as error:
        raise RunFolderError(
            f"cannot try runs in {runs_dir}: {error.strerror}; choose another place for the runs"
        ) from error
    with scratch as path:
        RunFolder(Path(path)).claim()
        yield Path(path)


def dead_scratches(runs_dir: Path) -> list[Path]:
    """The folders of searches that were killed."""
    found = [path for path in sorted(runs_dir.glob(f"{SCRATCH}*")) if path.is_dir()]
    return [path for path in found if RunFolder(path).running() is None]


def clear_scratch(path: Path) -> None:
    """Removes the folder of a search that was killed; heal its runs before."""
    shutil.rmtree(path, ignore_errors=True)


def keep_shrunk(saved: SavedRun, shrinking: Shrinking, ended: str, runs_dir: Path) -> RunFolder:
    """Makes the best case's run a run folder like any other, with `shrink.json` and `shrink.html` in it."""
    best = shrinking.best
    assert best is not None, "what was never seen cannot be kept"
    folder = RunFolder.create(runs_dir, best.case.scenario.workload)
    _adopt(best, folder)
    record = ShrinkRecord(
        format=FORMAT,
        checker=shrinking.target.checker,
        type=shrinking.target.type,
        before=_before(saved, shrinking),
        after=_after(best, folder),
        runs=shrinking.runs,
        seconds=round(shrinking.elapsed_s, 1),
        confirm=str(shrinking.confirm),
        ended=ended,
        gains=shrinking.gains,
    )
    page = render_shrink_page(record, saved, folder, best)
    folder.write_shrink(msgspec.json.format(msgspec.json.encode(record)) + b"\n", page)
    return folder


def _adopt(best: Best, folder: RunFolder) -> None:
    """The best run's files in their place. Its scenario names the folder's own files from now on, which changes nothing
    about what was run."""
    shutil.copytree(best.folder, folder.path, dirs_exist_ok=True)
    case = best.case
    scenario = own_files(case.scenario, folder, schedule=True, operations=case.operations is not None)
    folder.write_scenario(scenario.to_toml())
    if case.operations is not None:
        folder.write_operations(encode_operations(case.operations))
    folder.write_environment({**folder.read_environment(), "command": scenario.command("./run")})
    write_report(folder)


def _before(saved: SavedRun, shrinking: Shrinking) -> Side:
    anomaly = shrinking.target.find(saved.verdict) if saved.verdict is not None else None
    return Side(
        run=saved.folder.id,
        folder=str(saved.folder.path),
        size=Case(saved.scenario, saved.steps, saved.recorded()).size(),
        sentence=anomaly.sentence if anomaly is not None else "",
        commands=[saved.scenario.command("./run"), replay_command(saved.folder)],
    )


def _after(best: Best, folder: RunFolder) -> Side:
    scenario = own_files(
        best.case.scenario, folder, schedule=True, operations=best.case.operations is not None
    )
    return Side(
        run=folder.id,
        folder=str(folder.path),
        size=best.case.size(),
        sentence=best.seen.anomaly.sentence,
        commands=[scenario.command("./run"), replay_command(folder)],
    )


def replay_command(folder: RunFolder) -> str:
    """Repeats the run of a folder."""
    return shlex.join(["./run", "replay", str(folder.path)])
