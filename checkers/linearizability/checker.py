"""Is a history linearizable? Split by key, the quick way where there is one, else the search; within limits.

The keys take turns: each search gets a budget of work, and who is not done goes on in the next round with ten times
as much. So a hopeless key never keeps an easy one from being found wrong. What is left undecided when time or memory
runs out makes the verdict unknown (unless another key is wrong), with the reason.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkers.checker import Deadline, Limits
from checkers.linearizability.calls import Call, calls_of, split_by_key
from checkers.linearizability.explain import (
    Evidence,
    Values,
    evidence_of_conflict,
    evidence_of_search,
    explain,
)
from checkers.linearizability.models import Model, show
from checkers.linearizability.search import Search, SearchResult
from checkers.linearizability.zones import ZonesResult, check_zones
from results.history import History, Pair
from results.operation import FAIL
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

FIRST_BUDGET = 200
BUDGET_GROWTH = 10
CONFIGURATION_BYTES = 160
"""What one configuration takes in memory, about: an int, its places in a set and a list."""
EXPLAINED = 10
"""Wrong keys that are explained in full; further ones are named. Conflicts of one key: see `zones.MOST`."""
PATIENCE_S = 10.0
"""Seconds spent on the evidence of one key, at most; after that it is as small as it got."""
FOR_EXPLAINING = 0.25
"""The share of the time that is kept for the evidence."""


@dataclass
class _Key:
    """What is known about one object."""

    key: Any
    """As it stands in the history; None if there is only one object."""
    calls: Sequence[Call]
    failed: Sequence[Pair]
    zones: ZonesResult | None = None
    search: Search | None = None
    steps: Generator[None, None, SearchResult] | None = field(default=None, repr=False)
    undecided: str | None = None
    """Why it could not be decided."""

    @property
    def is_wrong(self) -> bool:
        if self.zones is not None:
            return self.zones.found > 0
        result = None if self.search is None else self.search.result
        return result is not None and not result.legal


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
        pairs = history.pairs()
        if self._functions is not None:
            pairs = [pair for pair in pairs if pair.f in self._functions]
        keys = self._keys(pairs)
        searched = []
        for key in keys:
            if deadline.expired():
                key.undecided = _out_of_time(limits)
            else:
                key.zones = check_zones(key.calls, self.model) if self._zones else None
                if key.zones is None:
                    key.search = Search(key.calls, self.model)
                    searched.append(key)
        wrong_already = any(key.is_wrong for key in keys)
        self._take_turns(searched, limits, deadline, wrong_already)
        anomalies, more = self._explain([key for key in keys if key.is_wrong], deadline)
        return self._verdict(keys, anomalies, more)

    def _keys(self, pairs: Sequence[Pair]) -> list[_Key]:
        groups: dict[Hashable, list[Pair]]
        groups = split_by_key(pairs) if self.split_by_key else {None: list(pairs)}
        keys = []
        for group in groups.values():
            calls = calls_of(
                group, reads=self.model.reads, failures=self.model.failures, keyed=self.split_by_key
            )
            failed = [pair for pair in group if pair.type == FAIL]
            name = group[0].invocation.value[0] if self.split_by_key else None
            keys.append(_Key(name, calls, failed))
        return keys

    def _take_turns(self, keys: list[_Key], limits: Limits, deadline: Deadline, wrong_already: bool) -> None:
        """Runs the searches of all keys side by side until each is decided, or a limit is reached."""
        searching_s = limits.time_s * (1 - FOR_EXPLAINING)
        most_held = limits.memory_mb * 1_000_000 // CONFIGURATION_BYTES
        started = limits.clock()
        stop_at = started + min(searching_s, deadline.remaining())
        budget = FIRST_BUDGET
        active = list(keys)
        found_wrong = wrong_already
        reason = _out_of_time(limits)
        while active:
            waiting: list[_Key] = []
            for position, key in enumerate(active):
                search = key.search
                assert search is not None, "only keys with a search take turns"
                steps = key.steps = key.steps or search.steps()
                while True:
                    if next(steps, search) is search:
                        break
                    if limits.clock() >= stop_at:
                        for late in [key, *active[position + 1 :], *waiting]:
                            late.undecided = reason
                            late.steps = None
                        return
                    if sum(other.search.held for other in active if other.search) > most_held:
                        key.undecided = (
                            f"its {search.held} configurations, with those of other keys, need more than the "
                            f"{limits.memory_mb} MB allowed; allow more memory, or use more keys or fewer processes"
                        )
                        search.held = 0
                        key.steps = None
                        break
                    if search.looked_at >= budget:
                        waiting.append(key)
                        break
                if key.is_wrong and not found_wrong:
                    # The verdict is certain; the others may take as long again, for completeness.
                    found_wrong = True
                    now = limits.clock()
                    soon = now + max(2.0, 2 * (now - started))
                    if soon < stop_at:
                        stop_at = soon
                        reason = "another key is wrong already, so it was given up early"
            active = waiting
            budget *= BUDGET_GROWTH

    def _explain(self, wrong: list[_Key], deadline: Deadline) -> tuple[list[Anomaly], int]:
        """The anomalies, and how many more there are."""
        anomalies: list[Anomaly] = []
        more = 0
        for number, key in enumerate(wrong):
            patience = Deadline(min(deadline.at, deadline.clock() + PATIENCE_S), deadline.clock)
            if number >= EXPLAINED:
                more += key.zones.found if key.zones is not None else 1
                continue
            if key.zones is not None:
                each: list[Evidence] = []
                for conflict in key.zones.conflicts:
                    if each and patience.expired():
                        break
                    each.append(evidence_of_conflict(conflict, self.model, patience.expired))
                more += key.zones.found - len(each)
            else:
                assert key.search is not None, f"{key.key!r} has neither zones nor a search"
                assert key.search.result is not None, f"the search of {key.key!r} is not over"
                stuck = key.search.result.stuck
                assert stuck is not None, "an illegal history got stuck somewhere"
                each = [evidence_of_search(key.calls, stuck, self.model, patience.expired)]
            seen: set[tuple[int, ...]] = set()
            values = Values(key.calls, key.failed, self.model, keyed=self.split_by_key)
            for evidence in each:
                anomaly = explain(evidence, values, self.model, key.key)
                if tuple(anomaly.operations) not in seen:
                    seen.add(tuple(anomaly.operations))
                    anomalies.append(anomaly)
        return anomalies, more

    def _verdict(self, keys: list[_Key], anomalies: list[Anomaly], more: int) -> Verdict:
        wrong = [key for key in keys if key.is_wrong]
        undecided = [key for key in keys if key.undecided is not None]
        operations = sum(len(key.calls) for key in keys)
        details: dict[str, Any] = {
            "model": self.model.name,
            "keys": len(keys),
            "operations": operations,
            "decided_by_zones": sum(key.zones is not None for key in keys),
            "decided_by_search": sum(
                key.search is not None and key.search.result is not None for key in keys
            ),
            "configurations": sum(key.search.looked_at for key in keys if key.search is not None),
            "wrong_keys": [key.key for key in wrong] if self.split_by_key else [],
            "undecided": [
                {"key": key.key, "operations": len(key.calls), "reason": key.undecided} for key in undecided
            ],
        }
        if more:
            details["further_conflicts"] = more
        scope = f"{len(keys)} {'key' if len(keys) == 1 else 'keys'}, {operations} operations"
        if wrong:
            where = f"{len(wrong)} of {len(keys)} keys" if self.split_by_key else "the history"
            further = len(anomalies) - 1 + more
            others = f" (and {further} more)" if further else ""
            sentence = f"{where} not linearizable: {anomalies[0].sentence}{others}"
            return Verdict(INVALID, self.name, sentence, anomalies, details)
        if undecided:
            first = undecided[0]
            what = f"key {show(first.key)}" if self.split_by_key else "the history"
            others = f" (and {len(undecided) - 1} more keys)" if len(undecided) > 1 else ""
            sentence = f"{what}{others} could not be decided: {first.undecided}"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        return Verdict(
            VALID, self.name, f"linearizable: one order fits all that was seen ({scope})", details=details
        )


def _out_of_time(limits: Limits) -> str:
    return f"the time allowed ({limits.time_s:g} s) ran out; allow more, or use more keys or fewer processes"
