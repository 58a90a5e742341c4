"""Hunting for planted defects: which seed shows one, what sees it first, and is the clean database left in peace?

A *hunt* looks for one defect in one mode, seed after seed, until a detector of that mode speaks or the processor time
is used up. Black-box hunts have histories only: what any database would show. White-box hunts also have the
invariants after every step and the audits at the end. The same runs are then repeated without the defect: whatever is
found there is a false alarm. Defects that a whole database cannot be led into bring a directed story of their own.

Rules that live here:
- Found is found by a detector that the mode allows; a run that is unknown, or in which the harness itself failed, finds
  nothing and is counted.
- Seeds count in their order, whoever of the workers was quicker: the score depends on the code alone.
- A hunt is only begun where something should be found: see `is_expected`.
- The clean runs are those of the hunts: the same scenarios but for the defect, each once, with the invariants on.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.catalog import directed_story
from harness.explore.swarm import draw_scenario
from harness.explore.trial import (
    CPU_LIMIT_S,
    FAILED,
    INVALID,
    UNKNOWN,
    VALID,
    TrialRequest,
    TrialResult,
    run_trial,
)
from harness.explore.witnessed import judge_story
from harness.scenario import Scenario, ScenarioError
from harness.systems.system import DefectSheet

BLACK_BOX, WHITE_BOX = "black-box", "white-box"
MODES = (WHITE_BOX, BLACK_BOX)

DIRECTED = "directed story"
"""The detector of defects that were found by a story of their own."""

WITNESSED = "directed history"
"""The same, where the story's clients kept a history and a checker judged it alone."""

HISTORY: Final = "H"

ROUTE_OF_CHECKER: Mapping[str, str] = {
    "findings": "I",
    "convergence": "A",
    "recovery": "L",
    "availability": "L",
    "stats": "L",
    "crashes": "D",
    "log patterns": "D",
}
"""Checker -> the route of `DefectSheet.routes` that it stands for; D is the database's own assertions, and every other
checker is the workload's, which reads histories (H)."""

ROUTES_OF_MODE: Mapping[str, frozenset[str]] = {
    BLACK_BOX: frozenset("HL"),
    WHITE_BOX: frozenset("HLIAD"),
}

ANY_WORKLOAD = ("register", "bank")
"""What is tried, one after the other, for a defect that doesn't say which workload should find it."""

TIME_LIMIT_S = 20.0
"""Length of the main phase of a run of a hunt, unless somebody says otherwise."""

PLAIN: Mapping[str, Any] = {"ranges": 3, "rate": 100.0, "concurrency": "10"}
"""The plain case: few ranges, a steady load."""


# What to look for


class Hunt(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for, and how long."""

    sheet: DefectSheet
    mode: str
    seeds: tuple[int, ...]
    cpu_limit_s: float
    given: dict[str, Any] = {}
    """Fields of the scenario that the user fixed; they win over the sheet's."""

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.sheet.name} ({self.mode})"

    @property
    def is_story(self) -> bool:
        """A directed story is told instead of runs."""
        return not self.sheet.reachable or (self.mode == BLACK_BOX and self.sheet.witnessed is not None)

    def scenario(self, seed: int, *, clean: bool = False) -> Scenario:
        """What is run with this seed. Odd seeds draw all that the sheet leaves open; even ones keep to a plain case,
        few nodes and ranges: a bug is found where its story is likely, and where that is differs."""
        sheet = self.sheet
        workloads = (sheet.workload,) if sheet.workload else ANY_WORKLOAD
        values: dict[str, Any] = {
            "environment": "simulation",
            # Two seeds for each: one that draws, and one that is plain.
            "workload": workloads[seed // 2 % len(workloads)],
            "nemesis": sheet.nemesis or "none",
            "invariants": self.mode == WHITE_BOX,
            "time_limit": TIME_LIMIT_S,
            **sheet.scenario,
            **self.given,
        }
        # What is drawn may depend on the defect, so a clean run is drawn with it, too.
        values["defect"] = sheet.name
        if seed % 2 == 0:
            values = {**PLAIN, "nodes": sheet.nodes, **values}
        elif sheet.nodes > 3:
            values.setdefault("nodes", sheet.nodes)
        values["system_options"] = {**sheet.system_options, **values.get("system_options", {})}
        drawn = draw_scenario(seed, values)
        if clean:
            drawn = msgspec.structs.replace(drawn, defect=None)
        if values["nemesis"] == "all":
            return drawn
        # The mix of faults is the sheet's, whole: leaving one out would only make the hunt longer.
        return msgspec.structs.replace(drawn, nemesis=values["nemesis"])

    def run_name(self, seed: int) -> str:
        """Of the run folder."""
        return f"{self.sheet.name.replace(':', '-')}-{self.mode}-{seed}"


def is_expected(sheet: DefectSheet, mode: str) -> bool:
    """Whether a defect should be found in this mode."""
    return why_not_expected(sheet, mode) is None


def why_not_expected(sheet: DefectSheet, mode: str) -> str | None:
    """Why nobody hunts for it in this mode: by histories alone only what a history can show is found, and only where
    a database can be led into it. None if it should be found."""
    if mode == WHITE_BOX:
        return None
    if HISTORY not in sheet.routes:
        return "no history shows it: clients see nothing wrong"
    if not sheet.reachable and sheet.witnessed is None:
        return "no database of this version can be led into it; its directed story is told in white-box mode"
    return None


def make_hunts(
    sheets: Iterable[DefectSheet],
    modes: Sequence[str],
    seeds: Sequence[int],
    cpu_limit_s: float,
    *,
    given: Mapping[str, Any] | None = None,
    fresh: bool = False,
) -> list[Hunt]:
    """The hunts for these defects in these modes, where something is to be expected. The seeds that are known to show
    a defect come first, unless it is to be found afresh."""
    return [
        Hunt(
            sheet=sheet,
            mode=mode,
            seeds=tuple(seeds) if fresh else tuple(dict.fromkeys((*sheet.seeds, *seeds))),
            cpu_limit_s=cpu_limit_s,
            given=dict(given or {}),
        )
        for mode in modes
        for sheet in sheets
        if is_expected(sheet, mode)
    ]


def chosen_names(names: Iterable[str], only: Sequence[str]) -> list[str]:
    """Those of the names that were asked for, and `module:name` as it is; all if nothing was asked for. Raises
    ScenarioError for one that is not there."""
    known = sorted(names)
    unknown = sorted({one for one in only if one not in known and ":" not in one})
    if unknown:
        raise ScenarioError(
            f"unknown defect{'s' * (len(unknown) > 1)} {', '.join(map(repr, unknown))}; the defects are "
            f"{', '.join(known)}; one of your own is module:name"
        )
    own = [one for one in dict.fromkeys(only) if ":" in one]
    return [name for name in known if not only or name in only] + own


# What came of it


class Shrunk(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run that was made smaller."""

    seen_again: bool
    """Whether the anomaly showed again at all."""
    fault_steps: tuple[int, int] = (0, 0)
    """Before and after."""
    operations: tuple[int, int] = (0, 0)
    runs: int = 0
    """How many runs were tried."""
    ended: str = ""
    """Why the search ended."""
    folder: str | None = None


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
    workload: str = ""
    nemesis: str = ""
    """Of the run that found it, or of the last one."""
    seed: int | None = None
    seeds_tried: list[int] = []
    steps: int = 0
    """Callbacks of the simulated world until the end of the run that found it, those of the runs before included."""
    operations: int = 0
    """Invoked by clients, counted in the same way."""
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    unknown: int = 0
    """Runs on the way that decided nothing."""
    failed: int = 0
    """Runs on the way in which the harness failed."""
    sentence: str = ""
    command: str | None = None
    """Repeats the run that found it."""
    folder: str | None = None
    """Its run folder."""
    shrunk: Shrunk | None = None
    """None: nobody has tried to."""

    @property
    def never_ran(self) -> bool:
        """Whether the harness failed in every run, so that nothing is known of the defect."""
        return not self.found and 0 < len(self.seeds_tried) == self.failed


class CleanResult(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of the hunts, without their defects."""

    planned: int = 0
    runs: int = 0
    unknown: int = 0
    failed: int = 0
    false_alarms: list[TrialResult] = []


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """All hunts, and the clean runs: `score.json`."""

    format: int = 1
    command: str = ""
    """Keeps this score again."""
    code: str = ""
    """Digest of the code that was run."""
    fresh: bool = False
    """Whether known seeds were left aside."""
    ended: str = ""
    """Why it is not whole; empty if it is."""
    planned: int = 0
    """Hunts; those that came to no end are not among `hunts`."""
    hunts: list[HuntResult] = []
    clean: CleanResult = CleanResult()
    wall_s: float = 0.0

    @property
    def missed(self) -> list[HuntResult]:
        """Hunts that came to their end and have found nothing."""
        return [one for one in self.hunts if not one.found and not one.never_ran]

    def exit_code(self) -> int:
        """1: a defect was missed, or the clean database was blamed. 4: the harness failed in a run. 3: stopped. 0."""
        if self.missed or self.clean.false_alarms:
            return 1
        if self.clean.failed or any(one.failed for one in self.hunts):
            return 4
        return 3 if self.ended else 0


def detectors(result: TrialResult, mode: str) -> list[tuple[str, str]]:
    """The checkers that said invalid and count in this mode, with their routes, in the order of the verdict."""
    found = []
    for checker in result.invalid_checkers:
        route = ROUTE_OF_CHECKER.get(checker, HISTORY)
        if route in ROUTES_OF_MODE[mode]:
            found.append((checker, route))
    return found


class Hunting:
    """One hunt under way: which seed is next, and what the results so far come to."""

    def __init__(self, task: Hunt) -> None:
        self.task = task
        self.result: HuntResult | None = None
        self.under_way = 0
        self.handed_out = 0
        self.counted: list[TrialResult] = []
        """In the order of the seeds."""
        self._early: dict[int, TrialResult] = {}
        self.cpu_s = 0.0

    @property
    def is_over(self) -> bool:
        return self.result is not None

    @property
    def wants_run(self) -> bool:
        """Whether another seed may be handed out."""
        return not self.is_over and self.handed_out < len(self.task.seeds)

    def hand_out(self) -> tuple[int, TrialRequest]:
        """The next seed: its position, and what to run. Raises ScenarioError for what cannot be."""
        assert self.wants_run, f"the hunt {self.task.title} wants no more runs"
        position = self.handed_out
        request = TrialRequest(scenario=self.task.scenario(self.task.seeds[position]))
        self.handed_out += 1
        self.under_way += 1
        return position, request

    def take(self, position: int, result: TrialResult) -> None:
        """What came of a seed; those before it may still be out."""
        self.under_way -= 1
        self._early[position] = result
        while not self.is_over and len(self.counted) in self._early:
            self._count(self._early.pop(len(self.counted)))
        if self.is_over:
            for left_over in self._early.values():
                _discard(left_over)
            self._early.clear()

    def _count(self, result: TrialResult) -> None:
        self.counted.append(result)
        self.cpu_s += result.cpu_s
        found = detectors(result, self.task.mode)
        if found:
            self.result = self._ended(found)
            return
        if result.outcome != FAILED:
            _discard(result)
        if self.cpu_s >= self.task.cpu_limit_s or len(self.counted) == len(self.task.seeds):
            self.result = self._ended([])

    def _ended(self, found: Sequence[tuple[str, str]]) -> HuntResult:
        task, last = self.task, self.counted[-1]
        seeds = list(task.seeds[: len(self.counted)])
        scenario = task.scenario(seeds[-1])
        result = HuntResult(
            defect=task.sheet.name,
            mode=task.mode,
            found=bool(found),
            workload=scenario.workload,
            nemesis=scenario.nemesis,
            seeds_tried=seeds,
            steps=sum(one.events for one in self.counted),
            operations=sum(one.operations for one in self.counted),
            virtual_s=round(sum(one.virtual_s for one in self.counted), 3),
            cpu_s=round(self.cpu_s, 3),
            unknown=sum(one.outcome == UNKNOWN for one in self.counted),
            failed=sum(one.outcome == FAILED for one in self.counted),
        )
        if not found:
            problem = next((one for one in self.counted if one.outcome == FAILED), last)
            said = (problem.problem or problem.sentence).strip().splitlines()
            runs = f"{len(seeds)} run{'s' * (len(seeds) != 1)}"
            word = "nothing was tried" if result.never_ran else "not found"
            return msgspec.structs.replace(
                result, sentence=f"{word} in {runs}; the last one: {said[-1].strip() if said else 'nothing'}"
            )
        return msgspec.structs.replace(
            result,
            by=found[0][0],
            route=found[0][1],
            all_by=[checker for checker, _ in found],
            anomaly_types=last.anomaly_types,
            seed=last.seed,
            sentence=last.sentence,
            command=last.command,
            folder=last.folder,
        )


def _discard(result: TrialResult) -> None:
    """A run that found nothing leaves nothing; its command repeats it."""
    if result.folder is not None:
        shutil.rmtree(result.folder, ignore_errors=True)


# In a worker


def hunting_run(request: TrialRequest, runs_dir: str, name: str, cpu_limit_s: float) -> TrialResult:
    """A run of a hunt; its folder stays if anybody said something.

    It may take as much processor time as the whole hunt, and no more: a defect may keep a cluster busy without an end.
    """
    limit_s = min(cpu_limit_s, CPU_LIMIT_S)
    return run_trial(request, Path(runs_dir), "failures", name=name, cpu_limit_s=limit_s)


def clean_run(scenario: Scenario, runs_dir: str, name: str) -> TrialResult:
    """A run of a hunt without its defect; its folder stays if it is blamed for something."""
    result = run_trial(TrialRequest(scenario=scenario), Path(runs_dir), "failures", name=name)
    if result.outcome not in (INVALID, FAILED):
        _discard(result)
    return result


def directed_hunt(task: Hunt) -> HuntResult:
    """Tells the story twice: with the defect something must be found, without it nothing may be."""
    sheet = task.sheet
    if task.mode == BLACK_BOX:
        return _witnessed_hunt(task)
    began = time.process_time()
    found, blamed = directed_story(sheet, planted=True), directed_story(sheet, planted=False)
    if blamed:
        sentence = f"the story {sheet.directed} blames the clean code: {blamed[0]}"
    else:
        sentence = found[0] if found else f"the story {sheet.directed} showed nothing"
    is_found = bool(found) and not blamed
    return HuntResult(
        defect=sheet.name,
        mode=task.mode,
        found=is_found,
        by=DIRECTED if is_found else None,
        route="I" if is_found else None,
        all_by=[DIRECTED] if is_found else [],
        cpu_s=round(time.process_time() - began, 3),
        failed=int(bool(blamed)),
        sentence=sentence,
    )


def _witnessed_hunt(task: Hunt) -> HuntResult:
    """The same by the history that the clients of a story keep, and nothing else."""
    sheet = task.sheet
    began = time.process_time()
    with_defect, without = judge_story(sheet, planted=True), judge_story(sheet, planted=False)
    is_found = with_defect.outcome == INVALID and without.outcome == VALID
    if without.outcome != VALID:
        sentence = f"the history of the story {sheet.witnessed} blames the clean code: {without.sentence}"
    else:
        sentence = with_defect.sentence
    return HuntResult(
        defect=sheet.name,
        mode=task.mode,
        found=is_found,
        by=WITNESSED if is_found else None,
        route=HISTORY if is_found else None,
        all_by=[WITNESSED] if is_found else [],
        anomaly_types=sorted({anomaly.type for _, anomaly in with_defect.every_anomaly()}),
        cpu_s=round(time.process_time() - began, 3),
        failed=int(without.outcome != VALID),
        sentence=sentence,
    )


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


def needed_checkers(results: Sequence[HuntResult]) -> dict[str, list[str]]:
    """Checker -> the defects that it alone has found in some mode. One without any is a candidate for deletion, or
    for a new defect."""
    alone: dict[str, set[str]] = {}
    for result in results:
        for checker in result.all_by:
            alone.setdefault(checker, set())
        if len(result.all_by) == 1:
            alone[result.all_by[0]].add(result.defect)
    return {checker: sorted(names) for checker, names in sorted(alone.items())}
