"""Whether every kind of fault that was asked for took effect; if not, the run proves less than it says.

A partition that cut nothing, or a kill whose target was down already, leaves a valid history and no proof. So a kind
without a single step that took effect, shown by its evidence, makes the verdict unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from checkers.checker import Limits
from checkers.words import count
from results.history import FaultInterval, History
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
        missing = []
        proved = []
        for request in self.requested:
            steps = [interval for interval in intervals if _fits(interval, request)]
            effective = [interval for interval in steps if interval.took_effect]
            if effective:
                proved.append(f"{request} {count(len(effective), 'time')}")
            else:
                missing.append(f"{request}: {_why_not(steps)}")
        details = {
            "requested": list(self.requested),
            "steps": [
                {
                    "step": interval.step,
                    "fault": interval.fault,
                    "shape": interval.shape,
                    "targets": list(interval.targets),
                    "took_effect": interval.took_effect,
                    "healed": interval.end_ns is not None,
                    "skipped": interval.skipped,
                    "evidence": interval.evidence,
                }
                for interval in intervals
            ],
        }
        if missing:
            sentence = f"requested faults that never took effect: {'; '.join(missing)}"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        if not proved:
            return Verdict(VALID, self.name, "no fault was requested", details=details)
        sentence = f"every requested fault took effect: {', '.join(proved)}"
        return Verdict(VALID, self.name, sentence, details=details)


def _fits(interval: FaultInterval, request: str) -> bool:
    fault, _, shape = re.split("@", request, maxsplit=1)[0].partition(":")
    return interval.fault == fault and (not shape or interval.shape == shape)


def _why_not(steps: Sequence[FaultInterval]) -> str:
    if not steps:
        return "no step of it was carried out"
    reasons = list(dict.fromkeys(interval.skipped for interval in steps if interval.skipped))
    without = len(steps) - sum(interval.skipped is not None for interval in steps)
    parts = [f"{count(without, 'step')} without effect"] if without else []
    if reasons:
        parts.append(f"skipped ({'; '.join(reasons)})")
    return ", ".join(parts)
