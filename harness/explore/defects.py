"""The score: does the harness find the bugs that were planted, how soon, and by what? And does it blame the innocent?

A *hunt* looks for one defect in one mode, seed after seed, until a detector of that mode speaks or the processor time
is used up. Black-box hunts have histories only: what any database would show. White-box hunts also have the
invariants after every step and the audits at the end. The same runs are then repeated without the defect: whatever is
found there is a false alarm. Defects that random search cannot reach bring a directed story of their own.

Rules that live here:
- Found is found by a detector that the mode allows; a run that is unknown, or in which the harness itself failed, finds
  nothing and is counted.
- A hunt is one task of an executor, so that it can stop at its first success; hunts run beside each other.
- The clean runs are those of the hunts: the same scenarios but for the defect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Any

import msgspec

from harness.catalog import directed_story
from harness.explore.swarm import draw_scenario
from harness.explore.trial import FAILED, INVALID, UNKNOWN, TrialRequest, TrialResult, run_trial
from harness.scenario import Scenario, ScenarioError
from harness.systems.system import DefectSheet

BLACK_BOX, WHITE_BOX = "black-box", "white-box"
MODES = (BLACK_BOX, WHITE_BOX)

DIRECTED = "directed story"
"""The detector of defects that were found by a story of their own."""

ROUTE_OF_CHECKER: Mapping[str, str] = {
    "findings": "I",
    "convergence": "A",
    "recovery": "L",
    "availability": "L",
    "stats": "L",
    "crashes": "D",
    "logs": "D",
}
"""Checker -> the route of `DefectSheet.routes` that it stands for; D is the database's own assertions, and every other
checker is the workload's, which reads histories (H)."""

ROUTES_OF_MODE: Mapping[str, frozenset[str]] = {
    BLACK_BOX: frozenset("HL"),
    WHITE_BOX: frozenset("HLIAD"),
}

Report = Callable[["HuntResult"], None]
"""Hears of every hunt that has ended."""


class Hunt(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for, and how long."""

    sheet: DefectSheet
    mode: str
    seeds: tuple[int, ...]
    cpu_limit_s: float
    given: dict[str, Any] = {}
    """Fields of the scenario that the user fixed; they win over the sheet's."""

    def scenario(self, seed: int, *, clean: bool = False) -> Scenario:
        """What is run with this seed. Odd seeds draw all that the sheet leaves open; even ones keep to a plain case,
        few nodes and ranges: a bug is found where its story is likely, and where that is differs."""
        sheet = self.sheet
        values: dict[str, Any] = {
            "environment": "simulation",
            "workload": sheet.workload,
            "nemesis": sheet.nemesis or "none",
            "invariants": self.mode == WHITE_BOX,
            "time_limit": 20.0,
            **sheet.scenario,
            **self.given,
        }
        if not clean:
            values["defect"] = sheet.name
        if seed % 2 == 0:
            values = {"ranges": 3, "rate": 100.0, "concurrency": "10", "nodes": sheet.nodes, **values}
        elif sheet.nodes > 3:
            values.setdefault("nodes", sheet.nodes)
        values["system_options"] = {**sheet.system_options, **values.get("system_options", {})}
        drawn = draw_scenario(seed, values)
        # The mix of faults is the sheet's, whole: leaving one out would only make the hunt longer.
        return msgspec.structs.replace(drawn, nemesis=values["nemesis"])


class HuntResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a hunt."""

    defect: str
    mode: str
    found: bool
    by: str | None = None
    """The checker that found it first, `directed story`, or None."""
    route: str | None = None
    """H, I, A, L or D; see `ROUTE_OF_CHECKER`."""
    all_by: list[str] = []
    """Every checker that said invalid in that run."""
    anomaly_types: list[str] = []
    seed: int | None = None
    seeds_tried: list[int] = []
    steps: int = 0
    """Callbacks of the simulated world until the end of the run that found it, those of the runs before included."""
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    unknown: int = 0
    """Runs on the way that decided nothing."""
    failed: int = 0
    """Runs on the way in which the harness failed."""
    sentence: str = ""
    command: str | None = None
    folder: str | None = None


class CleanResult(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of the hunts, without their defects."""

    runs: int
    unknown: int
    failed: int
    false_alarms: list[TrialResult] = []


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """All hunts, and the clean runs."""

    hunts: list[HuntResult]
    clean: CleanResult
    wall_s: float

    def missed(self, sheets: Iterable[DefectSheet]) -> list[HuntResult]:
        """Hunts that should have found something and have not."""
        by_name = {sheet.name: sheet for sheet in sheets}
        return [one for one in self.hunts if not one.found and is_expected(by_name[one.defect], one.mode)]

    @property
    def blames_nobody_else(self) -> bool:
        """Whether the clean database was left in peace, and the harness kept running."""
        return not self.clean.false_alarms and not self.clean.failed


def is_expected(sheet: DefectSheet, mode: str) -> bool:
    """Whether a defect should be found in this mode: by histories alone only where a history can show it, and a
    database can be led into it."""
    return mode == WHITE_BOX or ("H" in sheet.routes and sheet.reachable)


def detectors(result: TrialResult, mode: str) -> list[tuple[str, str]]:
    """The checkers that said invalid and count in this mode, with their routes, in the order of the verdict."""
    found = []
    for checker in result.invalid_checkers:
        route = ROUTE_OF_CHECKER.get(checker, "H")
        if route in ROUTES_OF_MODE[mode]:
            found.append((checker, route))
    return found


def hunt(task: Hunt, runs_dir: Path) -> HuntResult:
    """Looks for one defect."""
    sheet = task.sheet
    if not sheet.reachable:
        return _directed_hunt(task)
    tried: list[int] = []
    steps, virtual_s, cpu_s, unknown, failed = 0, 0.0, 0.0, 0, 0
    last = ""
    for seed in task.seeds:
        if cpu_s >= task.cpu_limit_s:
            break
        folder = f"{sheet.name}-{task.mode}-{seed}"
        result = run_trial(TrialRequest(scenario=task.scenario(seed)), runs_dir, "failures", name=folder)
        tried.append(seed)
        steps += result.events
        virtual_s += result.virtual_s
        cpu_s += result.cpu_s
        unknown += result.outcome == UNKNOWN
        failed += result.outcome == FAILED
        last = result.problem or result.sentence
        found = detectors(result, task.mode)
        if found:
            return HuntResult(
                defect=sheet.name,
                mode=task.mode,
                found=True,
                by=found[0][0],
                route=found[0][1],
                all_by=[checker for checker, _ in found],
                anomaly_types=result.anomaly_types,
                seed=seed,
                seeds_tried=tried,
                steps=steps,
                virtual_s=virtual_s,
                cpu_s=round(cpu_s, 3),
                unknown=unknown,
                failed=failed,
                sentence=result.sentence,
                command=result.command,
                folder=result.folder,
            )
    return HuntResult(
        defect=sheet.name,
        mode=task.mode,
        found=False,
        seeds_tried=tried,
        steps=steps,
        virtual_s=virtual_s,
        cpu_s=round(cpu_s, 3),
        unknown=unknown,
        failed=failed,
        sentence=f"not found in {len(tried)} seeds; the last run: {last}",
    )


def _directed_hunt(task: Hunt) -> HuntResult:
    """Tells the story twice: with the defect something must be found, without it nothing may be."""
    sheet = task.sheet
    began = time.process_time()
    found, blamed = directed_story(sheet, planted=True), directed_story(sheet, planted=False)
    if blamed:
        sentence = f"the story {sheet.directed} blames the clean code: {blamed[0]}"
    else:
        sentence = found[0] if found else f"the story {sheet.directed} showed nothing"
    return HuntResult(
        defect=sheet.name,
        mode=task.mode,
        found=bool(found) and not blamed,
        by=DIRECTED if found and not blamed else None,
        route="I" if found and not blamed else None,
        all_by=[DIRECTED] if found and not blamed else [],
        cpu_s=round(time.process_time() - began, 3),
        failed=bool(blamed),
        sentence=sentence,
    )


def clean_run(scenario: Scenario, runs_dir: Path) -> TrialResult:
    """A run of a hunt without its defect; its folder stays if it is blamed for something."""
    return run_trial(TrialRequest(scenario=scenario), runs_dir, "failures", name=None)


def clean_scenarios(hunts: Sequence[Hunt], results: Sequence[HuntResult]) -> list[Scenario]:
    """What the hunts have run, without the defects, each scenario once, with the invariants on."""
    by_key = {(one.sheet.name, one.mode): one for one in hunts}
    scenarios: dict[bytes, Scenario] = {}
    for result in results:
        task = by_key[(result.defect, result.mode)]
        for seed in result.seeds_tried:
            scenario = msgspec.structs.replace(task.scenario(seed, clean=True), invariants=True)
            scenarios.setdefault(msgspec.json.encode(scenario), scenario)
    return list(scenarios.values())


def keep_score(
    hunts: Sequence[Hunt],
    executor: Executor,
    runs_dir: Path,
    heard: Report,
    heard_clean: Callable[[TrialResult], None],
) -> Score:
    """Runs all hunts, then the clean runs. `heard` and `heard_clean` are called as results come in."""
    began = time.monotonic()
    results: dict[int, HuntResult] = {}
    futures = {executor.submit(hunt, task, runs_dir): position for position, task in enumerate(hunts)}
    for future in as_completed(futures):
        result = results[futures[future]] = future.result()
        heard(result)
    ordered = [results[position] for position in sorted(results)]
    runs = [executor.submit(clean_run, one, runs_dir) for one in clean_scenarios(hunts, ordered)]
    clean: list[TrialResult] = []
    for run in as_completed(runs):
        clean.append(run.result())
        heard_clean(clean[-1])
    return Score(
        hunts=ordered,
        clean=CleanResult(
            runs=len(clean),
            unknown=sum(one.outcome == UNKNOWN for one in clean),
            failed=sum(one.outcome == FAILED for one in clean),
            false_alarms=sorted((one for one in clean if one.outcome == INVALID), key=lambda one: one.seed),
        ),
        wall_s=time.monotonic() - began,
    )


def chosen_sheets(sheets: Mapping[str, DefectSheet], only: Sequence[str]) -> list[DefectSheet]:
    """The sheets of these names, or all. Raises ScenarioError for a name that is not there."""
    unknown = sorted(set(only) - set(sheets))
    if unknown:
        raise ScenarioError(
            f"unknown defect{'s' * (len(unknown) > 1)} {', '.join(unknown)}; the defects are "
            f"{', '.join(sorted(sheets))}"
        )
    return [sheets[name] for name in sorted(sheets) if not only or name in only]


def needed_checkers(results: Sequence[HuntResult]) -> dict[str, list[str]]:
    """Checker -> the defects that it alone has found (in either mode). One without any is a candidate for deletion, or
    for a new defect."""
    alone: dict[str, set[str]] = {}
    for result in results:
        for checker in result.all_by:
            alone.setdefault(checker, set())
        if len(result.all_by) == 1:
            alone[result.all_by[0]].add(result.defect)
    return {checker: sorted(names) for checker, names in sorted(alone.items())}
