"""What a fault did to the service: answers a second before, during and after it, the longest silence, the recovery.

*Normal* is the median number of answers a second over the whole seconds of the main phase in which no fault was in
effect and none had ended within the last second, or over those of them before the first fault, if that is more (a
service that stays away must not become normal). Without three such seconds recovery is not judged.

A fault is *recovered from* at the end of the first second after its healing in which there were at least
`RECOVERED_SHARE` of the normal number of answers. If another fault took effect before that, nobody can say whose doing
the slowness was: the recovery is then not judged either.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Final

from results.history import FaultInterval

SECOND: Final = 1_000_000_000
RECOVERED_SHARE: Final = 0.7
BEFORE_AND_AFTER_NS: Final = 5 * SECOND
"""How far before and after a fault its effect is compared with."""
STEP_NS: Final = SECOND // 10
"""How finely the moment of recovery is looked for."""


@dataclass(frozen=True)
class Effect:
    """One fault's effect; times in nanoseconds of the run, rates in answers a second."""

    fault: FaultInterval
    start_ns: int
    end_ns: int
    rate_before: float | None
    rate_during: float | None
    rate_after: float | None
    """None where there was less than half a second to count in."""
    longest_silence_ns: int
    """The longest time without an answer that reaches into the fault, counted from its start at the earliest."""
    recovery_ns: int | None
    """From healing until the service was back to normal; None if it was not, or it cannot be said."""
    why_no_recovery: str | None
    never_recovered: bool
    """Nothing else went wrong after healing, and until the end the service was not back to normal."""

    def details(self) -> dict[str, Any]:
        """For the verdict."""
        return {
            "rate_before": _rounded(self.rate_before),
            "rate_during": _rounded(self.rate_during),
            "rate_after": _rounded(self.rate_after),
            "longest_silence_s": round(self.longest_silence_ns / SECOND, 3),
            "recovery_s": None if self.recovery_ns is None else round(self.recovery_ns / SECOND, 3),
            "why_no_recovery": self.why_no_recovery,
        }


def normal_rate(
    answers: Sequence[int], faults: Sequence[FaultInterval], start_ns: int, end_ns: int
) -> float | None:
    """Answers in a normal second; `answers` are their sorted times, the main phase is `[start_ns, end_ns)`."""
    disturbed = [
        (fault.start_ns, (fault.end_ns if fault.end_ns is not None else end_ns) + SECOND) for fault in faults
    ]
    counts = [
        _between(answers, second, second + SECOND)
        for second in range(start_ns, end_ns - SECOND + 1, SECOND)
        if not any(begin < second + SECOND and second < end for begin, end in disturbed)
    ]
    if len(counts) < 3:
        return None
    first = min((begin for begin, _ in disturbed), default=end_ns)
    before = counts[: (first - start_ns) // SECOND]
    return float(max(median(counts), median(before) if len(before) >= 3 else 0))


def effects_of(
    answers: Sequence[int], faults: Sequence[FaultInterval], start_ns: int, end_ns: int
) -> list[Effect]:
    """The effect of each fault that took effect within the main phase, in order; arguments as in `normal_rate`."""
    effective = [fault for fault in faults if fault.effective_ns is not None and fault.effective_ns < end_ns]
    normal = normal_rate(answers, effective, start_ns, end_ns)
    return [_effect(fault, answers, effective, normal, start_ns, end_ns) for fault in effective]


def _effect(
    fault: FaultInterval,
    answers: Sequence[int],
    faults: Sequence[FaultInterval],
    normal: float | None,
    phase_start: int,
    phase_end: int,
) -> Effect:
    start = max(fault.effective_ns or fault.start_ns, phase_start)
    healed = fault.end_ns is not None and fault.end_ns < phase_end
    end = min(fault.end_ns, phase_end) if fault.end_ns is not None else phase_end
    recovery, why, never = _recovery(fault, answers, faults, normal, phase_end)
    return Effect(
        fault=fault,
        start_ns=start,
        end_ns=end,
        rate_before=_rate(answers, max(phase_start, start - BEFORE_AND_AFTER_NS), start),
        rate_during=_rate(answers, start, end),
        rate_after=_rate(answers, end, min(phase_end, end + BEFORE_AND_AFTER_NS)) if healed else None,
        longest_silence_ns=_longest_silence(answers, start, end, phase_end),
        recovery_ns=recovery,
        why_no_recovery=why,
        never_recovered=never,
    )


def _recovery(
    fault: FaultInterval,
    answers: Sequence[int],
    faults: Sequence[FaultInterval],
    normal: float | None,
    phase_end: int,
) -> tuple[int | None, str | None, bool]:
    """How long after healing the service was back to normal; or else why that is not known, and whether it certainly
    was not."""
    if fault.end_ns is None or fault.end_ns + SECOND > phase_end:
        return None, "the main phase ended before it was healed, or within a second of that", False
    if not normal:
        return None, "no time without faults was long enough to say what is normal", False
    healed = fault.end_ns
    others = [
        (other.effective_ns, other.end_ns)
        for other in faults
        if other is not fault and other.effective_ns is not None
    ]
    if any(begin <= healed and (end is None or end > healed) for begin, end in others):
        return None, "another fault was in effect when it was healed", False
    next_fault = min((begin for begin, _ in others if begin > healed), default=phase_end)
    limit = min(next_fault, phase_end)
    for second in range(healed, limit - SECOND + 1, STEP_NS):
        if _between(answers, second, second + SECOND) >= RECOVERED_SHARE * normal:
            return second - healed, None, False
    if next_fault < phase_end:
        return None, "another fault took effect before the service was back to normal", False
    waited = f"{(limit - healed) / SECOND:.1f} s later"
    return None, f"the service was not back to normal when the main phase ended, {waited}", True


def _between(answers: Sequence[int], start: int, end: int) -> int:
    return bisect_left(answers, end) - bisect_left(answers, start)


def _rate(answers: Sequence[int], start: int, end: int) -> float | None:
    if end - start < SECOND // 2:
        return None
    return _between(answers, start, end) * SECOND / (end - start)


def _longest_silence(answers: Sequence[int], start: int, end: int, phase_end: int) -> int:
    """The longest gap that begins within the fault; one that goes on after its healing counts in full."""
    first = bisect_right(answers, start)
    last = bisect_right(answers, end)
    moments = [start, *answers[first:last]]
    moments.append(answers[last] if last < len(answers) else phase_end)
    return max((after - before for before, after in pairwise(moments)), default=0)


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)
