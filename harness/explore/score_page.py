"""A score as Markdown: what was found and by what, the matrix of defect by detector, and what nobody needed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from harness.explore.defects import (
    DIRECTED,
    MODES,
    WITNESSED,
    HuntResult,
    Score,
    Shrunk,
    needed_checkers,
    why_not_expected,
)
from harness.systems.system import DefectSheet

NEVER_MISSED = ("convergence", "findings")
"""Detectors that see inside; one that finds nothing is worth a line."""


def render_score(score: Score, sheets: Mapping[str, DefectSheet], modes: Sequence[str] = MODES) -> str:
    """The page. `sheets`: every defect that was hunted for, by name."""
    lines = ["# Planted defects: what was found, how soon, and by what", ""]
    if score.ended:
        lines += [
            f"**Not whole: {score.ended}; {len(score.hunts)} of {score.planned} hunts came to an end.**",
            "",
        ]
    lines += [*totals(score), ""]
    if score.command:
        lines += [f"Kept by `{score.command}` (code {score.code}) in {score.wall_s:.0f} s.", ""]
    lines += [*_table(score, sheets), ""]
    lines += _not_expected(sheets.values(), modes)
    lines += _matrix(score.hunts)
    lines += _needed(score.hunts)
    lines += _alarms(score)
    return "\n".join(lines).rstrip() + "\n"


def totals(score: Score) -> list[str]:
    """The score in a few lines."""
    lines = []
    for mode in sorted({one.mode for one in score.hunts}):
        mine = [one for one in score.hunts if one.mode == mode]
        found = [one for one in mine if one.found]
        rest = "".join(
            f"; {'the harness failed' if one.never_ran else 'missed'}: {one.defect}"
            for one in mine
            if not one.found
        )
        lines.append(f"- {mode}: {len(found)} of {len(mine)} found{_medians(found)}{rest}")
    lines.append(_clean_line(score))
    shrunk = [one.shrunk for one in score.hunts if one.shrunk is not None]
    kept = [one for one in shrunk if one.seen_again]
    if shrunk:
        lines.append(
            f"- shrinking: the anomaly stayed in {len(kept)} of {len(shrunk)} runs" + _shrunk_medians(kept)
        )
    return lines


def _clean_line(score: Score) -> str:
    clean = score.clean
    if not clean.runs:
        return "- clean database: not run"
    runs = f"{clean.runs} runs" if clean.runs == clean.planned else f"{clean.runs} of {clean.planned} runs"
    return (
        f"- clean database, the same {runs}: {len(clean.false_alarms)} false alarms, {clean.unknown} unknown, "
        f"{clean.failed} in which the harness failed"
    )


def _medians(found: Sequence[HuntResult]) -> str:
    runs = [one for one in found if one.by not in (DIRECTED, WITNESSED)]
    if not runs:
        return ""
    return (
        f" (median {statistics.median(one.cpu_s for one in runs):.1f} s CPU, "
        f"{statistics.median(one.steps for one in runs):,.0f} steps)"
    )


def _shrunk_medians(kept: Sequence[Shrunk]) -> str:
    if not kept:
        return ""

    def medians(pairs: Sequence[tuple[int, int]]) -> str:
        before, after = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        return f"{before:g} -> {after:g}"

    steps, operations = [one.fault_steps for one in kept], [one.operations for one in kept]
    return f"; median fault steps {medians(steps)}, operations {medians(operations)}"


def _table(score: Score, sheets: Mapping[str, DefectSheet]) -> list[str]:
    with_shrunk = any(one.shrunk is not None for one in score.hunts)
    heads = [
        "defect",
        "layer",
        "routes",
        "mode",
        "found by",
        "workload",
        "nemesis",
        "seed",
        "runs",
        "steps",
        "CPU s",
    ]
    heads += ["shrunk to"] * with_shrunk
    lines = [_row(heads), "|---" * len(heads) + "|"]
    for one in sorted(score.hunts, key=lambda one: (one.defect, one.mode)):
        sheet = sheets[one.defect]
        cells = [
            one.defect,
            sheet.layer,
            "".join(sheet.routes),
            one.mode,
            _found_by(one),
            one.workload,
            one.nemesis,
            "" if one.seed is None else str(one.seed),
            str(len(one.seeds_tried)) if one.seeds_tried else "",
            f"{one.steps:,}" if one.steps else "",
            f"{one.cpu_s:.1f}",
        ]
        lines.append(_row([*cells, _shrunk_to(one)] if with_shrunk else cells))
    return lines


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _found_by(one: HuntResult) -> str:
    if not one.found:
        return "**the harness failed**" if one.never_ran else "**missed**"
    more = f"; also {', '.join(one.all_by[1:])}" if one.all_by[1:] else ""
    return f"{one.by} ({one.route}){more}"


def _shrunk_to(one: HuntResult) -> str:
    if one.shrunk is None:
        return ""
    if not one.shrunk.seen_again:
        return "not seen again"
    steps, operations = one.shrunk.fault_steps, one.shrunk.operations
    return f"{steps[0]} -> {steps[1]} fault steps, {operations[0]} -> {operations[1]} operations"


def _not_expected(sheets: Iterable[DefectSheet], modes: Sequence[str]) -> list[str]:
    lines = [
        f"- {sheet.name} ({mode}): {why}"
        for mode in modes
        for sheet in sheets
        if (why := why_not_expected(sheet, mode)) is not None
    ]
    return ["Not hunted for:", "", *lines, ""] if lines else []


def _matrix(hunts: Sequence[HuntResult]) -> list[str]:
    """Defect by detector: 1 found it first, + as well in the same run."""
    found = [one for one in sorted(hunts, key=lambda one: (one.defect, one.mode)) if one.found]
    checkers = sorted({checker for one in found for checker in one.all_by})
    if not found:
        return []
    lines = ["## Defect by detector", "", "1: spoke first in the verdict; +: as well, in the same run.", ""]
    lines += [_row(["defect", "mode", *checkers]), "|---" * (2 + len(checkers)) + "|"]
    for one in found:
        marks = ["1" if checker == one.by else "+" if checker in one.all_by else "" for checker in checkers]
        lines.append(_row([one.defect, one.mode, *marks]))
    return [*lines, ""]


def _needed(hunts: Sequence[HuntResult]) -> list[str]:
    if not hunts:
        return []
    alone = needed_checkers(hunts)
    lines = ["What each detector alone has found:", ""]
    lines += [
        f"- {checker}: {', '.join(names) or 'nothing that no other has'}" for checker, names in alone.items()
    ]
    lines += [
        f"- {checker}: was never among those that found something"
        for checker in NEVER_MISSED
        if checker not in alone
    ]
    return [*lines, ""]


def _alarms(score: Score) -> list[str]:
    alarms = score.clean.false_alarms
    if not alarms:
        return []
    lines = ["## False alarms on the clean database", ""]
    lines += [f"- {one.sentence}\n  `{one.command}`" for one in alarms]
    return [*lines, ""]
