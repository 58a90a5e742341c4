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
        raise ScenarioError(str(error)) from error
