"""A saved run, read to be run again: its scenario, faults, operations, verdict, and what code it ran on.

Whatever is wrong with the folder is wrong usage (`ScenarioError`), told in one go: nothing can be repeated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

import harness
from harness.scenario import Scenario, ScenarioError
from nemesis.schedule import Schedule, Step
from results.history import HistoryError
from results.run_folder import RunFolder, RunFolderError
from results.verdict import Verdict
from workloads.generator.recorded import (
    RecordedOperation,
    RecordingError,
    load_operations,
    record_operations,
)


@dataclass(frozen=True)
class SavedRun:
    """What a run folder holds of a run that may be repeated."""

    folder: RunFolder
    scenario: Scenario
    steps: tuple[Step, ...]
    """The faults that were planned."""
    operations: tuple[RecordedOperation, ...] | None
    """The recorded stream that the run itself invoked; None if its workload generated its operations."""
    verdict: Verdict | None
    """None if it was never judged."""
    environment: dict[str, Any]
    """Its fingerprint; empty if there is none."""

    def recorded(self) -> tuple[RecordedOperation, ...]:
        """What its clients invoked in the main phase. Raises ScenarioError if there is no history to tell."""
        if self.operations is not None:
            return self.operations
        try:
            return record_operations(self.folder.read_history(), self.scenario.processes)
        except (RunFolderError, HistoryError) as error:
            raise ScenarioError(
                f"what the clients of {self.folder.id} did cannot be read: {error}"
            ) from error


def load_run(folder: RunFolder) -> SavedRun:
    """Reads a run. Raises ScenarioError if it is still going on, damaged, or of a version that this one cannot read."""
    running = folder.running()
    if running is not None:
        raise ScenarioError(
            f"the run {folder.id} is in progress (process {running.pid}); repeat it when it is over"
        )
    environment = _environment(folder)
    problems: list[str] = []
    scenario: Scenario | None = None
    steps: tuple[Step, ...] = ()
    operations: tuple[RecordedOperation, ...] | None = None
    verdict: Verdict | None = None
    try:
        scenario = Scenario.load(folder.scenario_path)
    except ScenarioError as error:
        problems.append(str(error))
    try:
        steps = Schedule.from_dicts(folder.read_schedule()).steps
    except (ValueError, msgspec.MsgspecError, RunFolderError) as error:
        text = str(error)
        problems.append(
            text if folder.schedule_path.name in text else f"{folder.schedule_path}: not a schedule: {text}"
        )
    if folder.operations_path.exists():
        try:
            operations = load_operations(folder.operations_path)
        except RecordingError as error:
            problems.append(str(error))
    try:
        verdict = folder.read_verdict()
    except (ValueError, msgspec.MsgspecError) as error:
        problems.append(f"{folder.verdict_path}: not a verdict: {error}; `harness check` writes it again")
    if problems or scenario is None:
        raise ScenarioError(
            f"the run {folder.id} cannot be repeated: {'; '.join(problems)}{_version_hint(environment)}"
        )
    return SavedRun(folder, scenario, steps, operations, verdict, environment)


def _environment(folder: RunFolder) -> dict[str, Any]:
    try:
        found: Any = folder.read_environment()
    except (RunFolderError, ValueError, msgspec.MsgspecError):
        return {}
    return found if isinstance(found, dict) else {}


def _version_hint(environment: dict[str, Any]) -> str:
    """Which version wrote it, if that was another one: a newer one may write what this one cannot read."""
    version = _harness(environment).get("version")
    if version is None or version == harness.__version__:
        return ""
    return f" (it was written by version {version} of the harness, this is {harness.__version__})"


def _harness(environment: dict[str, Any]) -> dict[str, Any]:
    part = environment.get("harness")
    return part if isinstance(part, dict) else {}


def code_difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """How the code of two runs differs, by their fingerprints; None if it is the same for all that is known."""
    old, new = _harness(before), _harness(now)
    if not old:
        return "the run does not say on which code it ran"
    if old.get("version") != new.get("version"):
        return f"it ran on version {old.get('version')}, this is {new.get('version')}"
    if old.get("commit") != new.get("commit"):
        return f"it ran on commit {_short(old.get('commit'))}, this is {_short(new.get('commit'))}"
    if old.get("code") is not None and new.get("code") is not None:
        if old["code"] == new["code"]:
            return None
        return (
            f"files differ from those that it ran on (commit {_short(new.get('commit'))}, "
            f"digest {old['code']} then, {new['code']} now)"
        )
    if old.get("modified") or new.get("modified"):
        return f"files differ from the commit {_short(new.get('commit'))}, then or now"
    return None


def _short(commit: Any) -> str:
    return str(commit)[:12] if commit else "unknown"
