"""Directed stories whose clients keep a history: what histories alone show of a defect that random search hardly meets.

The story is told step by step, but what is found is not: nobody looks into the members. The clients of the story add
to a set and read it, and the checker of the workload `set` judges what they were told, as it judges any run.
"""

from __future__ import annotations

from checkers.checker import Limits
from checkers.set_full import SetFullChecker
from harness.catalog import witnessed_story
from harness.systems.system import DefectSheet
from results.history import History
from results.operation import Operation
from results.verdict import Verdict

STEP_NS = 1_000_000
"""Between two events of a story, which knows no time."""


def judge_story(sheet: DefectSheet, *, planted: bool) -> Verdict:
    """The verdict on the history of a defect's story."""
    events = witnessed_story(sheet, planted=planted)
    return SetFullChecker(linearizable=True).check(history_of(events), Limits())


def history_of(events: list[tuple[int, str, str, object]]) -> History:
    """The events in their order. Raises HistoryError for what is no history."""
    return History(
        [
            Operation(index, index * STEP_NS, process, type_, function, value)
            for index, (process, type_, function, value) in enumerate(events)
        ]
    )
