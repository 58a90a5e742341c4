"""Identifiers are unique: no two requests are ever given the same one.

Operations: `generate`, answered with an identifier of any shape. A request of unknown outcome may have used up an
identifier that nobody saw, which harms nobody. Nothing else is promised: identifiers need not grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from checkers.checker import Limits
from checkers.conclusion import anomaly, conclude
from checkers.operations import Operations
from checkers.values import number_all
from checkers.words import count, interval, none_of, shown
from results.history import History
from results.verdict import UNKNOWN, Verdict

DUPLICATE = "duplicate identifier"


@dataclass
class UniqueIdsChecker:
    """Judges the answers of `generate`."""

    name: str = field(default="unique-ids", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        tried = Operations.of(history, "generate")
        given = tried.where(tried.ok)
        if not len(given):
            sentence = (
                f"{none_of(len(tried), 'request', 'was given an identifier')}; two that are could collide"
            )
            return Verdict(UNKNOWN, self.name, sentence)
        answers = given.answers()
        empty = sum(answer is None for answer in answers)
        numbers, identifiers = number_all(answers)
        times = np.bincount(numbers, minlength=len(identifiers))
        again = np.flatnonzero(times > 1)
        again = again[[identifiers[number] is not None for number in again.tolist()]]
        told = []
        if len(again):
            worst = again[np.argsort(-times[again], kind="stable")][:20]
            for number in worst.tolist():
                who = [given.pair(position) for position in np.flatnonzero(numbers == number)[:20].tolist()]
                first, second = who[0], who[1]
                told.append(
                    (
                        f"{shown(identifiers[number])} was given {times[number]} times: to process {first.process} "
                        f"({interval(first)}) and to process {second.process} ({interval(second)})",
                        who,
                    )
                )
        anomalies = []
        if told:
            anomalies.append(anomaly(DUPLICATE, told, len(again), key=identifiers[int(again[0])]))
        doubts = [f"{count(empty, 'answer')} had no identifier in it"] if empty else []
        if len(given) - empty == 1:
            doubts.append(
                "only 1 identifier was given, which could collide with no other; a second one would tell"
            )
        details = {"requests": len(tried), "given": len(given), "duplicates": len(again)}
        valid = f"all {count(len(given), 'identifier')} differ"
        return conclude(self.name, anomalies, doubts, valid, details)
