"""What a sweep found, in words: outcomes, failures with the shortest first, unknown seeds, marks reached and missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.explore.sweep import COMPLETE, STOPPED, STOPPED_AT_ONCE, Tally
from harness.explore.trial import FAILED, TrialResult
from results.verdict import INVALID, UNKNOWN, VALID

FAILURES_SHOWN = 10
UNKNOWNS_SHOWN = 5
HEAD_SHOWN = 200
TAIL_SHOWN = 120
"""Of a long sentence; the last words of a node are at its end."""

NAMES_OF_OUTCOMES = {
    VALID: "valid",
    INVALID: "invalid",
    UNKNOWN: "unknown",
    FAILED: "where the harness failed",
}


@dataclass(frozen=True)
class Effort:
    """What this part of a sweep cost. A sweep that was gone on with has several parts; these are the last one's."""

    wall_s: float
    """From the first seed to the last."""
    seeds_wall_s: float
    """Of all seeds together."""
    cpu_s: float
    """Of all seeds together."""
    virtual_s: float
    jobs: int

    def __str__(self) -> str:
        if self.wall_s <= 0:
            return "no time was spent"
        had = self.wall_s * self.jobs
        return (
            f"{self.virtual_s:.0f} virtual s in {self.wall_s:.0f} s ({self.virtual_s / self.wall_s:.1f} to 1); "
            f"{self.jobs} worker{'s' * (self.jobs != 1)}, at work on seeds {100 * self.seeds_wall_s / had:.0f} % of "
            f"the time, with {100 * self.cpu_s / had:.0f} % of a processor each"
        )


def outcome_counts(tally: Tally) -> str:
    """`497 valid, 1 invalid, 2 unknown`: what there is; valid always."""
    counts = [
        f"{tally.outcomes[outcome]} {words}"
        for outcome, words in NAMES_OF_OUTCOMES.items()
        if tally.outcomes[outcome] or outcome == VALID
    ]
    return ", ".join(counts)


def failure_lines(result: TrialResult) -> list[str]:
    """One seed that is not valid: what, where, and how to have it again."""
    size = f"{result.fault_steps} fault steps, {result.operations} operations, {result.events} events"
    lines = [f"seed {result.seed}: {result.outcome} ({size})", f"  {_shortened(result.sentence)}"]
    if result.anomaly_types:
        lines.append(f"  anomalies: {', '.join(result.anomaly_types)}")
    if result.finding_step is not None:
        lines.append(f"  first seen inside the nodes at step {result.finding_step}")
    if result.command:
        lines.append(f"  repeat with: {result.command}")
    if result.folder is not None and Path(result.folder).exists():
        lines.append(f"  run folder: {result.folder}")
    elif result.folder is not None:
        lines.append("  run folder: not kept, since there are enough that are shorter")
    return lines


def mark_lines(tally: Tally, known: Mapping[str, str]) -> list[str]:
    """Every mark with the seeds that reached it, and those that none did with what they mean."""
    reached = sorted(name for name, seeds in tally.seeds_by_mark.items() if seeds)
    missed = sorted((set(known) | set(tally.times_by_mark)) - set(reached))
    if not reached and not missed:
        return ["marks: the nodes of this environment tell of none"]
    lines = [f"marks reached: {len(reached)} of {len(reached) + len(missed)}"]
    lines += [
        f"  {name}: {tally.times_by_mark[name]} times, in {tally.seeds_by_mark[name]} of {tally.done} seeds"
        for name in reached
    ]
    if missed:
        lines.append(f"marks never reached: {len(missed)}; the sweep proves nothing about")
        lines += [f"  {name}" + (f": {known[name]}" if known.get(name) else "") for name in missed]
    return lines


def summary_lines(
    tally: Tally, end: str, effort: Effort, known_marks: Mapping[str, str], *, asked: int | None
) -> list[str]:
    """The whole summary. `asked` is the number of seeds that were asked for; None if there is no end to them."""
    total = "" if asked is None or asked == tally.done else f" of {asked}"
    lines = [f"{tally.done}{total} seeds ({end}): {outcome_counts(tally)}", f"  {effort}"]
    for title, results, shown in (
        ("failures, the shortest first:", tally.failures(), FAILURES_SHOWN),
        ("unknown, the shortest first:", tally.unknowns(), UNKNOWNS_SHOWN),
    ):
        if results:
            lines += ["", title]
            for result in results[:shown]:
                lines += [f"  {line}" for line in failure_lines(result)]
            if len(results) > shown:
                more = " ".join(str(one.seed) for one in results[shown:])
                lines.append(f"  and {len(results) - shown} more; the seeds: {more}")
    lines += ["", *mark_lines(tally, known_marks)]
    return lines


def verdict_line(tally: Tally, end: str) -> str:
    """The last line of a sweep: what its exit code says, in words."""
    if not tally.done:
        return "verdict: unknown (no seed was run)"
    for outcome in (INVALID, FAILED, UNKNOWN):
        if tally.outcomes[outcome]:
            seeds = tally.outcomes[outcome]
            return f"verdict: {outcome} ({seeds} of {tally.done} seeds)"
    if end in (STOPPED, STOPPED_AT_ONCE):
        return f"verdict: unknown ({end} before the last seed; the {tally.done} that ran are valid)"
    return f"verdict: valid ({tally.done} seeds{'' if end == COMPLETE else ', ' + end})"


def _shortened(sentence: str) -> str:
    words = " ".join(sentence.split())
    if len(words) <= HEAD_SHOWN + TAIL_SHOWN:
        return words
    return f"{words[:HEAD_SHOWN]} … {words[-TAIL_SHOWN:]}"


def marks_known(marks: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """The marks that a system says it has, with what each means; an empty text where it does not say."""
    if isinstance(marks, Mapping):
        return dict(sorted(marks.items()))
    return dict.fromkeys(sorted(marks or ()), "")
