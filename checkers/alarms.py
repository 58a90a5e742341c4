"""What was seen while the run went on, beside what the whole history says: an alarm must be confirmed.

During a run, online checkers (`checkers.online`) raise alarms, which are events of the process `harness`:

- `alarm`: `{"checker": ..., "type": ..., "sentence": ..., "operations": [...], "ended": whether it ended the run}`;
- `alarm-broke`: `{"checker": ..., "traceback": ...}`, an online checker that raised; nobody asked it any more.

The verdict is the full checker's. One that says *valid* after an alarm contradicts it: then the harness is wrong, not
the database, whichever of the two checkers it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from checkers.words import count
from results.history import History
from results.operation import HARNESS
from results.verdict import INVALID, UNKNOWN, VALID, Verdict

ALARM: Final = "alarm"
BROKE: Final = "alarm-broke"
NAME: Final = "online"
CONTRADICTION: Final = "contradiction"
"""Key in the details of this verdict: the sentence that says that the harness contradicts itself."""


def judge_alarms(history: History, workload: Verdict) -> Verdict:
    """What the alarms of a history come to beside the verdict of its workload's checker."""
    events = [event for event in history.observed(HARNESS) if isinstance(event.value, Mapping)]
    alarms = [event.value for event in events if event.f == ALARM]
    broken = [event.value for event in events if event.f == BROKE]
    details: dict[str, Any] = {"alarms": alarms, "broken": broken}
    if alarms:
        first = next(event for event in events if event.f == ALARM)
        told = str(first.value.get("sentence"))
        ended = "; it ended the main phase" if first.value.get("ended") else ""
        sentence = f"seen while the run went on, at {first.time / 1e9:.1f} s: {told}{ended}"
        if workload.outcome == VALID:
            contradiction = (
                f"the harness contradicts itself: the checker of the whole history says {workload.outcome} "
                f"({workload.sentence}), but {sentence}. One of the two is wrong; please report it with the run folder"
            )
            return Verdict(UNKNOWN, NAME, contradiction, details={**details, CONTRADICTION: contradiction})
        if workload.outcome != INVALID:
            return Verdict(UNKNOWN, NAME, f"{sentence}; the whole history was not decided", details=details)
        return Verdict(VALID, NAME, f"{sentence}; the whole history confirms it", details=details)
    if broken:
        sentence = f"{count(len(broken), 'online checker')} broke down; the traceback is in the details"
        return Verdict(UNKNOWN, NAME, sentence, details=details)
    return Verdict(VALID, NAME, "nothing was seen while the run went on", details=details)


def contradiction(verdict: Verdict) -> str | None:
    """The sentence, if a run's verdict has a part that says that the harness contradicts itself."""
    for part in verdict.parts:
        if CONTRADICTION in part.details:
            return str(part.details[CONTRADICTION])
    return None
