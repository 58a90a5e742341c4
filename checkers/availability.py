"""How much of what was asked was answered, overall and under each fault, and the longest time without an answer.

Being unavailable is not being wrong: without thresholds the verdict is valid, and the figures are in its details.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from checkers.checker import Limits
from checkers.fault_effects import SECOND, Effect, effects_of, normal_rate
from checkers.words import count, seconds
from results.history import FaultInterval, History, Pair
from results.operation import INFO, MAIN_PHASE, OK
from results.verdict import INVALID, VALID, Anomaly, Verdict


@dataclass
class AvailabilityChecker:
    """Measures; invalid only where a threshold is given and broken.

    `least_ok_fraction` is of all operations of the main phase, 0 to 1; `longest_outage_s` is the longest time in it
    that may pass without an ok; `longest_recovery_s` is how long after the healing of a fault the service may take to
    be back to normal (`fault_effects`). A failed operation counts as not answered.
    """

    least_ok_fraction: float | None = None
    longest_outage_s: float | None = None
    longest_recovery_s: float | None = None
    name: str = field(default="availability", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        pairs = [pair for pair in history.pairs() if pair.phase == MAIN_PHASE]
        if not pairs:
            return Verdict(VALID, self.name, "no operation was invoked in the main phase")
        answered = [pair for pair in pairs if pair.type == OK]
        fraction = len(answered) / len(pairs)
        end = _main_end(history, pairs)
        outage = _longest_outage(pairs, answered, end)
        faults = history.fault_intervals()
        answers = sorted(pair.completion.time for pair in answered if pair.completion is not None)
        effects = {effect.fault.step: effect for effect in effects_of(answers, faults, pairs[0].start, end)}
        details: dict[str, Any] = {
            "operations": len(pairs),
            "ok": len(answered),
            "ok_fraction": round(fraction, 4),
            "answers_per_s": round(len(answered) * SECOND / max(end - pairs[0].start, 1), 3),
            "longest_outage": outage,
            "normal_rate": normal_rate(answers, faults, pairs[0].start, end),
            "faults": [
                _under(fault, pairs, end) | (effects[fault.step].details() if fault.step in effects else {})
                for fault in faults
            ],
        }
        longest_s = (outage["end_ns"] - outage["start_ns"]) / 1e9
        sentence = (
            f"{fraction:.1%} of {count(len(pairs), 'operation')} were answered; the longest time without an answer "
            f"was {longest_s:.3f} s, from {seconds(outage['start_ns'])}"
        )
        recoveries = [effect.recovery_ns for effect in effects.values() if effect.recovery_ns is not None]
        if recoveries:
            sentence += f"; back to normal at most {max(recoveries) / SECOND:.1f} s after a fault was healed"
        anomalies = []
        if self.least_ok_fraction is not None and fraction < self.least_ok_fraction:
            anomalies.append(
                Anomaly(
                    "too few answers",
                    f"{fraction:.1%} of {count(len(pairs), 'operation')} were answered, which is less than the "
                    f"{self.least_ok_fraction:.1%} demanded",
                    [],
                )
            )
        if self.longest_outage_s is not None and longest_s > self.longest_outage_s:
            anomalies.append(
                Anomaly(
                    "too long without an answer",
                    f"nothing was answered for {longest_s:.3f} s from {seconds(outage['start_ns'])}, which is longer "
                    f"than the {self.longest_outage_s:g} s allowed",
                    [index for index in (outage["after"], outage["before"]) if index is not None],
                )
            )
        if self.longest_recovery_s is not None:
            anomalies += self._slow_recoveries(list(effects.values()), end)
        if anomalies:
            told = "; ".join(anomaly.sentence for anomaly in anomalies)
            return Verdict(INVALID, self.name, told, anomalies, details)
        return Verdict(VALID, self.name, sentence, details=details)

    def _slow_recoveries(self, effects: Sequence[Effect], end: int) -> list[Anomaly]:
        """A fault after which the service took too long to be back to normal, or never was though it had the time."""
        allowed = self.longest_recovery_s
        assert allowed is not None
        found = []
        for effect in effects:
            waited = end - (effect.fault.end_ns or end)
            taken = effect.recovery_ns
            if taken is None and effect.never_recovered and waited > allowed * SECOND:
                what = f"was not back to normal {waited / SECOND:.1f} s"
            elif taken is not None and taken > allowed * SECOND:
                what = f"was back to normal only {taken / SECOND:.1f} s"
            else:
                continue
            name = effect.fault.fault + (f":{effect.fault.shape}" if effect.fault.shape else "")
            sentence = (
                f"the service {what} after the fault {name} of step {effect.fault.step} was healed at "
                f"{seconds(effect.fault.end_ns or end)}, {allowed:g} s are allowed"
            )
            found.append(Anomaly("too slow a recovery", sentence, []))
        return found


def _main_end(history: History, pairs: Sequence[Pair]) -> int:
    """When the main phase ended: at the mark of the next one, else at the last event of its operations."""
    after = [time for name, time in history.phases() if name != MAIN_PHASE]
    return min(after) if after else max(pair.end if pair.end is not None else pair.start for pair in pairs)


def _longest_outage(pairs: Sequence[Pair], answered: Sequence[Pair], end: int) -> dict[str, Any]:
    """The longest time in the main phase without an ok, and the events around it."""
    moments: list[tuple[int, int | None]] = [(pairs[0].start, None)]
    for pair in answered:
        assert pair.completion is not None, f"the ok operation of event {pair.index} has no completion"
        moments.append((pair.completion.time, pair.completion.index))
    moments.sort(key=lambda moment: moment[0])
    if end > moments[-1][0]:
        moments.append((end, None))
    best = {"start_ns": moments[0][0], "end_ns": moments[0][0], "after": None, "before": None}
    for (start, after), (stop, before) in pairwise(moments):
        if stop - start > int(best["end_ns"] or 0) - int(best["start_ns"] or 0):
            best = {"start_ns": start, "end_ns": stop, "after": after, "before": before}
    return best


def _under(fault: FaultInterval, pairs: Sequence[Pair], end: int) -> dict[str, Any]:
    """What became of the operations that were invoked while a fault was in effect."""
    start = fault.effective_ns if fault.effective_ns is not None else fault.start_ns
    stop = fault.end_ns if fault.end_ns is not None else end
    starts = [pair.start for pair in pairs]
    inside = pairs[bisect_left(starts, start) : bisect_left(starts, stop)]
    ok = sum(pair.type == OK for pair in inside)
    return {
        "step": fault.step,
        "fault": fault.fault,
        "shape": fault.shape,
        "start_ns": start,
        "end_ns": stop,
        "took_effect": fault.took_effect,
        "operations": len(inside),
        "ok": ok,
        "info": sum(pair.type == INFO for pair in inside),
        "ok_fraction": round(ok / len(inside), 4) if inside else None,
    }
