"""`harness defects`: the score of the harness against the bugs that are planted in the reference database."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from harness.scenario import ScenarioError

if TYPE_CHECKING:
    from harness.explore.defects import HuntResult, Score
    from harness.explore.trial import TrialResult
    from harness.systems.system import DefectSheet

SEEDS = "1-60"
CPU_S = 120.0


@click.command(name="defects")
@click.option("--only", metavar="NAME,...", help="Hunt for these defects only.")
@click.option(
    "--mode",
    type=click.Choice(["black-box", "white-box", "both"]),
    default="both",
    show_default=True,
    help="Histories only, or also invariants and audits.",
)
@click.option(
    "--seeds", default=SEEDS, show_default=True, help="Seeds of each hunt, in order: 1-60, 7, 1-10,50."
)
@click.option(
    "--cpu",
    type=float,
    default=CPU_S,
    show_default=True,
    help="Processor seconds after which a hunt is given up.",
)
@click.option("--jobs", type=int, default=None, help="Hunts at a time; by default one for each core.")
@click.option(
    "--runs-dir", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True
)
def command(only: str | None, mode: str, seeds: str, cpu: float, jobs: int | None, runs_dir: Path) -> int:
    """Hunt for each planted defect: which seed and which checker found it first, and after how many steps. Then repeat
    the same runs without the defects, where nothing may be found.

    Exit code 0: every defect was found in each mode that should find it, and nobody else was blamed. 1: one was missed,
    or the clean database was blamed.
    """
    from harness import catalog
    from harness.explore.defects import MODES, Hunt, chosen_sheets, keep_score
    from harness.explore.seed_ranges import parse_seeds

    if not cpu > 0:
        raise ScenarioError(f"--cpu {cpu:g}: must be above 0 seconds")
    if jobs is not None and jobs < 1:
        raise ScenarioError(f"--jobs {jobs}: must be at least 1")
    names = [name.strip() for name in only.split(",")] if only is not None else []
    sheets = chosen_sheets(catalog.defect_sheets(), names)
    each = tuple(seed for one in parse_seeds(seeds) for seed in one)
    hunts = [
        Hunt(sheet=sheet, mode=one, seeds=tuple(dict.fromkeys((*sheet.seeds, *each))), cpu_limit_s=cpu)
        for one in (MODES if mode == "both" else (mode,))
        for sheet in sheets
    ]
    folder = _new_folder(runs_dir)
    workers = jobs or os.cpu_count() or 1
    click.echo(
        f"{len(sheets)} defects, {len(hunts)} hunts, {workers} at a time; failing runs stay in {folder}"
    )
    with _pool(workers) as executor:
        score = keep_score(hunts, executor, folder, _say_hunt, _Clean())
    (folder / "score.json").write_bytes(msgspec.json.format(msgspec.json.encode(score), indent=1))
    text = summary(score, {sheet.name: sheet for sheet in sheets})
    (folder / "score.md").write_text(text, encoding="utf-8")
    click.echo("\n" + text)
    click.echo(f"score: {folder / 'score.md'}")
    missed = score.missed(sheets)
    return 0 if not missed and score.blames_nobody_else else 1


def _new_folder(runs_dir: Path) -> Path:
    stem = f"defects-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    number = 1
    while True:
        folder = runs_dir / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    from harness.explore.workers import begin_worker

    executor = ProcessPoolExecutor(workers, get_context("spawn"), initializer=begin_worker)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


def _say_hunt(result: HuntResult) -> None:
    name = f"{result.defect} ({result.mode})"
    if result.found:
        where = f"seed {result.seed}, run {len(result.seeds_tried)}" if result.seed is not None else ""
        click.echo(
            f"found  {name}: by {result.by} [{result.route}] {where} after {result.steps:,} steps, "
            f"{result.virtual_s:.0f} virtual s, {result.cpu_s:.1f} s CPU"
        )
    else:
        click.secho(f"MISSED {name}: {result.sentence.splitlines()[-1][:200]}", fg="yellow")


class _Clean:
    """Says how far the clean runs are."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, result: TrialResult) -> None:
        self._count += 1
        if result.exit_code in (1, 4):
            click.secho(f"FALSE ALARM on the clean database: {result.sentence}\n  {result.command}", fg="red")
        elif self._count % 25 == 0:
            click.echo(f"clean runs: {self._count}")


def summary(score: Score, sheets: Mapping[str, DefectSheet]) -> str:
    """The score as Markdown."""
    from harness.explore.defects import is_expected, needed_checkers

    lines = ["# Planted defects: what was found, how soon, and by what", ""]
    lines += ["| defect | layer | routes | mode | found by | seed | runs | steps | CPU s |", "|---" * 9 + "|"]
    for one in sorted(score.hunts, key=lambda one: (one.defect, one.mode)):
        sheet = sheets[one.defect]
        if one.found:
            by = f"{one.by} ({one.route})" + (f"; also {', '.join(one.all_by[1:])}" if one.all_by[1:] else "")
        else:
            by = "**missed**" if is_expected(sheet, one.mode) else "not found, and not expected"
        lines.append(
            f"| {one.defect} | {sheet.layer} | {''.join(sheet.routes)} | {one.mode} | {by} "
            f"| {'' if one.seed is None else one.seed} | {len(one.seeds_tried)} | {one.steps} "
            f"| {one.cpu_s:.1f} |"
        )
    lines += ["", *_totals(score, sheets), ""]
    alone = needed_checkers(score.hunts)
    lines += ["What each detector alone has found:", ""]
    lines += [f"- {checker}: {', '.join(names) or 'nothing'}" for checker, names in alone.items()]
    unused = sorted({"findings", "convergence"} - set(alone)) if score.hunts else []
    lines += [f"- {checker}: was never among those that found something" for checker in unused]
    return "\n".join(lines) + "\n"


def _totals(score: Score, sheets: Mapping[str, DefectSheet]) -> list[str]:
    from harness.explore.defects import is_expected

    lines = []
    for mode in sorted({one.mode for one in score.hunts}):
        mine = [one for one in score.hunts if one.mode == mode]
        due = [one for one in mine if is_expected(sheets[one.defect], mode)]
        found = [one for one in due if one.found]
        lines.append(
            f"- {mode}: {len(found)} of {len(due)} found{_medians(found)}"
            + "".join(f"; missed: {one.defect}" for one in due if not one.found)
        )
    clean = score.clean
    lines.append(
        f"- clean database, the same {clean.runs} runs: {len(clean.false_alarms)} false alarms, "
        f"{clean.unknown} unknown, {clean.failed} in which the harness failed"
    )
    return lines


def _medians(found: Sequence[HuntResult]) -> str:
    if not found:
        return ""
    return (
        f" (median {statistics.median(one.cpu_s for one in found):.1f} s CPU, "
        f"{statistics.median(one.steps for one in found):,.0f} steps)"
    )
