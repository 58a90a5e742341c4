"""Is a history linearizable? What `decide.py` finds, explained, as a verdict."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from checkers.checker import Deadline, Limits
from checkers.linearizability.columns import FAIL_CODE, CallColumns
from checkers.linearizability.decide import ELEMENTS, HOLDS, SETS, VERSIONS, ZONES, ObjectState, decide
from checkers.linearizability.explain import (
    Evidence,
    Values,
    ValuesOfCalls,
    evidence_of_calls,
    evidence_of_conflict,
    evidence_of_search,
    explain,
)
from checkers.linearizability.models import Model, show
from checkers.linearizability.shapes import ANY_KEY
from checkers.linearizability.short import ShortRegister, ValuesOfRegister
from checkers.linearizability.zones import check_zones
from checkers.words import count
from results.history import History
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

EXPLAINED = 10
"""Wrong keys that are explained in full; further ones are named. Conflicts of one key: see `zones.MOST`."""
PATIENCE_S = 10.0
"""Seconds spent on the evidence of one key, at most; after that it is as small as it got."""
FOR_EXPLAINING = 0.25
"""The share of the time that is kept for the evidence."""


class LinearizabilityChecker:
    """Judges whether every operation took effect at one moment between its invocation and its completion.

    With `split_by_key`, values are `[key, value]` and each key is an object of its own, which is sound because
    linearizability is local (Herlihy and Wing 1990). `zones=False` leaves the quick way out, for comparisons.
    Operations of functions that are not in `functions` (if given) are passed over.
    """

    def __init__(
        self,
        model: Model,
        split_by_key: bool = True,
        *,
        zones: bool = True,
        functions: frozenset[str] | None = None,
        name: str = "linearizability",
    ) -> None:
        self.model = model
        self.split_by_key = split_by_key
        self.name = name
        self._zones = zones
        self._functions = functions

    def check(self, history: History, limits: Limits) -> Verdict:
        deadline = limits.deadline()
        columns = CallColumns.of(history, keyed=self.split_by_key, functions=self._functions)
        verdict = self.check_columns(columns, limits, deadline)
        if verdict.outcome == INVALID and self.model.by_process and history.renamed:
            sentence = (
                f"a {self.model.name} is about who calls, and in this record a process went on after an operation of "
                f"unknown outcome, perhaps with what it held: {verdict.sentence} - if it is another one from there on"
            )
            return msgspec.structs.replace(verdict, outcome=UNKNOWN, sentence=sentence, anomalies=[])
        return verdict

    def check_columns(
        self, columns: CallColumns, limits: Limits, deadline: Deadline | None = None
    ) -> Verdict:
        """The verdict on calls that are columns already."""
        deadline = limits.deadline() if deadline is None else deadline
        searching_s = min(deadline.remaining(), limits.time_s) * (1 - FOR_EXPLAINING)
        objects = decide(columns, self.model, limits, zones=self._zones, search_s=searching_s)
        anomalies, more = self._explain([item for item in objects if item.wrong], columns, deadline)
        return self._verdict(objects, anomalies, more)

    def _explain(
        self, wrong: list[ObjectState], columns: CallColumns, deadline: Deadline
    ) -> tuple[list[Anomaly], int]:
        """The anomalies, and how many more there are."""
        anomalies: list[Anomaly] = []
        more = 0
        for number, item in enumerate(wrong):
            patience = Deadline(min(deadline.at, deadline.clock() + PATIENCE_S), deadline.clock)
            if number >= EXPLAINED:
                more += 1
                continue
            each: list[Evidence] = []
            model = self.model
            register = item.register or ShortRegister.of(item.columns, model, item.rows)
            if item.contradiction:
                each = [evidence_of_calls(item.contradiction, model, patience.expired)]
            elif item.suspects is not None:
                if item.versions is not None:
                    model = item.versions.model_of(item.number, item.columns, item.rows.tolist())
                zones = check_zones(item.columns.calls(item.suspects.tolist()), model)
                assert zones is not None, f"the suspects of {item.key!r} are not for zones, the whole was"
                assert zones.found, f"the suspects of {item.key!r} are no conflict by themselves"
                for conflict in zones.conflicts:
                    if each and patience.expired():
                        break
                    each.append(evidence_of_conflict(conflict, model, patience.expired))
                more += zones.found - len(each)
            else:
                assert item.result is not None, f"the search of {item.key!r} is not over"
                stuck = item.result.stuck
                assert stuck is not None, "an illegal history got stuck somewhere"
                found = None if register is None else register.evidence(stuck, patience.expired)
                if found is None:
                    found = evidence_of_search(item.calls(), stuck, model, patience.expired)
                each = [found]
            seen: set[tuple[int, ...]] = set()
            failed = functools.partial(_failed, item, columns)
            values: Values = (
                ValuesOfCalls(item.calls(), failed, model)
                if register is None
                else ValuesOfRegister(register, each, failed)
            )
            for evidence in each:
                anomaly = explain(evidence, values, model, item.key)
                if tuple(anomaly.operations) not in seen:
                    seen.add(tuple(anomaly.operations))
                    anomalies.append(anomaly)
        return anomalies, more

    def _verdict(self, objects: Sequence[ObjectState], anomalies: list[Anomaly], more: int) -> Verdict:
        wrong = [item for item in objects if item.wrong]
        undecided = [item for item in objects if item.undecided is not None]
        operations = sum(len(item.rows) for item in objects)
        keys = sum(item.number != ANY_KEY for item in objects)
        details: dict[str, Any] = {
            "model": self.model.name,
            "keys": keys,
            "operations": operations,
            "decided_by_zones": sum(item.way == ZONES for item in objects),
            "decided_by_versions": sum(item.way == VERSIONS for item in objects),
            "decided_by_elements": sum(item.way in (ELEMENTS, HOLDS, SETS) for item in objects),
            "decided_by_search": sum(item.result is not None for item in objects),
            "configurations": sum(item.looked_at for item in objects),
            "wrong_keys": [item.key for item in wrong] if self.split_by_key else [],
            "undecided": [
                {"key": item.key, "operations": len(item.rows), "reason": item.undecided}
                for item in undecided
            ],
        }
        if more:
            details["further_conflicts"] = more
        scope = f"{count(keys, 'key')}, {count(operations, 'operation')}"
        if wrong:
            where = f"{len(wrong)} of {count(keys, 'key')}" if self.split_by_key else "the history"
            where += " are" if len(wrong) > 1 else " is"
            further = len(anomalies) - 1 + more
            others = f" (and {further} more)" if further else ""
            sentence = f"{where} not linearizable: {anomalies[0].sentence}{others}"
            return Verdict(INVALID, self.name, sentence, anomalies, details)
        if undecided:
            first = undecided[0]
            what = (
                f"key {show(first.key)}" if self.split_by_key and first.number != ANY_KEY else "the history"
            )
            others = f" (and {len(undecided) - 1} more keys)" if len(undecided) > 1 else ""
            sentence = f"{what}{others} could not be decided: {first.undecided}"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        return Verdict(
            VALID, self.name, f"linearizable: one order fits all that was seen ({scope})", details=details
        )


def _failed(item: ObjectState, columns: CallColumns) -> list[Any]:
    """The failed calls of an object."""
    failed = columns.type == FAIL_CODE
    if len(columns.keys) > 1:
        failed &= columns.key == item.number
    return columns.calls(np.flatnonzero(failed).tolist())
