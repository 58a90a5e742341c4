"""Saved runs, as they are named on the command line."""

from __future__ import annotations

from pathlib import Path

from harness.scenario import ScenarioError
from results.run_folder import RunFolder, RunFolderError


def open_run(run: str | Path, runs_dir: Path) -> RunFolder:
    """The run folder that a person named (a path, or `latest`); naming one that is not there is wrong usage."""
    try:
        return RunFolder.open(run, root=runs_dir)
    except RunFolderError as error:
        raise ScenarioError(f"{error}{_inside(Path(run))}") from error


def _inside(path: Path) -> str:
    """Where the runs are, if the folder is that of a sweep."""
    if not (path / "sweep.toml").is_file():
        return ""
    seeds = sorted(path.glob("seed-*/scenario.toml"), key=lambda found: (len(found.parent.name), found))
    if not seeds:
        return "; it is the folder of a sweep, which kept no run folder"
    more = f" and {len(seeds) - 1} more" if len(seeds) > 1 else ""
    return f"; it is the folder of a sweep, whose run folders are in it: {seeds[0].parent}{more}"
