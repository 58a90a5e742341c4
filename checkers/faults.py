"""Whether every kind of fault that was asked for took effect; if not, the run proves less than it says.

A partition that cut nothing, or a kill whose target was down already, leaves a valid history and no proof. So a kind
without a single step that took effect, shown by its evidence, makes the verdict unknown.

That a step took effect is not taken on its word: its probes must say so. A step that claims an effect which its own
probes deny, or which nothing was measured of, makes the verdict unknown whatever the other steps did: the record
contradicts itself, and nobody knows what else in it is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from checkers.checker import Limits
from checkers.fault_coverage import Coverage, by_class, coverage
from checkers.words import count
from results.history import FaultInterval, History
from results.operation import OK
from results.verdict import UNKNOWN, VALID, Verdict


@dataclass
class FaultsTookEffectChecker:
    """Unknown unless each of `requested` has a step that took effect; never invalid.

    A request may carry a shape and a target, as on the command line (`partition:bridge@leader`); the shape then has
    to have taken effect, whatever the target was.
    """

    requested: Iterable[str] = ()
    name: str = field(default="faults", kw_only=True)

    def __post_init__(self) -> None:
        self.requested = tuple(dict.fromkeys(self.requested))

    def check(self, history: History, limits: Limits) -> Verdict:
        intervals = history.fault_intervals()
        doubtful = [
            f"step {interval.step} ({_named(interval)}) {why}"
            for interval in intervals
            if interval.took_effect and (why := _contradiction(interval)) is not None
        ]
        missing = []
        proved = []
        for request in self.requested:
            steps = [interval for interval in intervals if _fits(interval, request)]
            effective = [interval for interval in steps if _is_proven(interval)]
            if effective:
                proved.append(f"{request} {count(len(effective), 'time')}")
            else:
                missing.append(f"{request}: {_why_not(steps)}")
        answers = sorted(
            pair.completion.time
            for pair in history.pairs()
            if pair.type == OK and pair.completion is not None
        )
        covered = coverage(intervals, answers)
        details = {
            "coverage": [asdict(one) for one in covered],
            "requested": list(self.requested),
            "steps": [
                {
                    "step": interval.step,
                    "fault": interval.fault,
                    "shape": interval.shape,
                    "targets": list(interval.targets),
                    "took_effect": interval.took_effect,
                    "proven": _is_proven(interval),
                    "healed": interval.end_ns is not None,
                    "skipped": interval.skipped,
                    "evidence": interval.evidence,
                }
                for interval in intervals
            ],
        }
        problems = []
        if missing:
            problems.append(f"requested faults that never took effect: {'; '.join(missing)}")
        if doubtful:
            problems.append(f"effects that the evidence does not bear out: {'; '.join(doubtful)}")
        if problems:
            sentence = "; ".join(problems)
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        if not proved:
            return Verdict(VALID, self.name, "no fault was requested", details=details)
        sentence = (
            f"every requested fault took effect: {', '.join(proved)}{_told(covered) if answers else ''}"
        )
        return Verdict(VALID, self.name, sentence, details=details)


def _told(covered: Sequence[Coverage]) -> str:
    """Under which classes of faults operations succeeded, and under which none did."""
    classes = by_class(covered)
    under = ", ".join(f"{name} ({answered})" for name, answered in classes.items() if answered)
    idle = ", ".join(name for name, answered in classes.items() if not answered)
    return (f"; while operations succeeded: {under}" if under else "") + (
        f"; while none did: {idle}" if idle else ""
    )


def _fits(interval: FaultInterval, request: str) -> bool:
    fault, _, shape = re.split("@", request, maxsplit=1)[0].partition(":")
    return interval.fault == fault and (not shape or interval.shape == shape)


def _named(interval: FaultInterval) -> str:
    return f"{interval.fault}:{interval.shape}" if interval.shape else interval.fault


def _is_proven(interval: FaultInterval) -> bool:
    return interval.took_effect and _contradiction(interval) is None


def _contradiction(interval: FaultInterval) -> str | None:
    """Why its probes do not bear out that the step took effect; None if they do.

    `proves` is true, false, or null for what could not be measured (a link with a stopped end).
    """
    probes = interval.evidence.get("probes")
    if not isinstance(probes, list) or not probes:
        return "claims an effect without a single probe"
    for probe in probes:
        proves = probe.get("proves", False) if isinstance(probe, Mapping) else False
        if proves is not None and proves is not True:
            what = probe.get("what", "one without a name") if isinstance(probe, Mapping) else repr(probe)
            return f"claims an effect that its probe denies: {what}"
    if all(probe["proves"] is None for probe in probes):
        return "claims an effect of which nothing could be measured"
    return None


def _why_not(steps: Sequence[FaultInterval]) -> str:
    if not steps:
        return "no step of it was carried out"
    reasons = list(dict.fromkeys(interval.skipped for interval in steps if interval.skipped))
    without = sum(interval.skipped is None and not interval.took_effect for interval in steps)
    unproven = sum(interval.took_effect for interval in steps)
    parts = [f"{count(without, 'step')} without effect"] if without else []
    if unproven:
        parts.append(f"{count(unproven, 'step')} without proof of the effect")
    if reasons:
        parts.append(f"skipped ({'; '.join(reasons)})")
    return ", ".join(parts)
