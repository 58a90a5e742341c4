"""Whether the run went all the way: both phases to their end, every answer made sense, every node served again.

A history that stops in the middle, or whose final reads all failed, may be consistent and proves little. What the
harness records for this, as events of process `harness`:

- `drive`, one a phase, when the run is over: the phase's name, `stopped` (why it ended before its generator did, or
  None), `invalid_completions` and more;
- `stopped`, where somebody ended the run early: `{"by": "SIGINT" | "SIGTERM" | "SIGHUP"}`, or `"alarm"` for a violation
  that was seen (`--fail-fast`). A person who presses Ctrl-C asks for a judgement of what was done so far, and so does
  one who wants the first violation; anything else that cuts a run short proves less than was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.checker import Limits
from checkers.words import count, listing
from results.history import History
from results.operation import FINAL_PHASE, HARNESS, MAIN_PHASE, OK
from results.verdict import UNKNOWN, VALID, Verdict

BY_HAND = "SIGINT"
"""Ctrl-C."""
BY_ALARM = "alarm"
"""A violation that was seen while the run went on, where that was to end it."""


@dataclass
class CompletenessChecker:
    """Unknown if something is missing; never invalid."""

    name: str = field(default="completeness", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        """Looks at the events of the harness and at the operations of the final phase."""
        events = [event for event in history.observed(HARNESS) if isinstance(event.value, Mapping)]
        drives: dict[str, Mapping[str, Any]] = {e.value["phase"]: e.value for e in events if e.f == "drive"}
        stopped_by = next((str(event.value.get("by")) for event in events if event.f == "stopped"), None)
        missing = [phase for phase in (MAIN_PHASE, FINAL_PHASE) if phase not in drives]
        if missing:
            return Verdict(
                UNKNOWN,
                self.name,
                f"the record ends before the {' and the '.join(missing)} phase was over: its harness was killed "
                "or failed",
            )
        problems, notes = [], []
        for phase, drive in drives.items():
            reason = drive.get("stopped")
            if reason and stopped_by == BY_ALARM:
                notes.append(f"the {phase} phase was ended by a violation after {_seconds(drive)}")
            elif reason and stopped_by == BY_HAND:
                notes.append(f"the {phase} phase was ended by hand after {_seconds(drive)}")
            elif reason:
                problems.append(
                    f"the {phase} phase ended early, after {_seconds(drive)}: {stopped_by or reason}"
                )
            nonsense = int(drive.get("invalid_completions", 0))
            if nonsense:
                problems.append(
                    f"{count(nonsense, 'answer')} in the {phase} phase made no sense and was taken for unknown "
                    "(look for invalid-completion among the errors)"
                )
        silent, served = _final_nodes(history)
        if silent:
            problems.append(
                f"after healing, not one final operation succeeded through {listing(silent)}, so it is not known "
                "whether what was written is still there"
            )
        if problems:
            return Verdict(UNKNOWN, self.name, "; ".join([*problems, *notes]))
        if notes:
            return Verdict(
                VALID, self.name, "; ".join(notes) + "; the verdict is about what was done until then"
            )
        final = f"; final reads succeeded through {listing(served)}" if served else ""
        return Verdict(VALID, self.name, f"both phases ran to their end{final}")


def _seconds(drive: Mapping[str, Any]) -> str:
    return f"{(int(drive.get('end_ns', 0)) - int(drive.get('start_ns', 0))) / 1e9:.1f} s"


def _final_nodes(history: History) -> tuple[list[str], list[str]]:
    """The nodes through which final operations were tried, and none, or at least one, succeeded."""
    tried: Counter[str] = Counter()
    succeeded: Counter[str] = Counter()
    for pair in history.pairs():
        if pair.phase == FINAL_PHASE and pair.invocation.node is not None:
            tried[pair.invocation.node] += 1
            succeeded[pair.invocation.node] += pair.type == OK
    silent = sorted(node for node in tried if not succeeded[node])
    return silent, sorted(node for node in tried if succeeded[node])
