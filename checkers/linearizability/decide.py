"""Which objects of a history are linearizable: the fast paths where they are open, else the searches; within limits.

The objects take turns: each search gets a budget of work, and who is not done goes on in the next round with ten times
as much. So a hopeless object never keeps an easy one from being found wrong. What is left undecided when time or
memory runs out says so, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from checkers.checker import Deadline, Limits
from checkers.linearizability import races
from checkers.linearizability.calls import Call
from checkers.linearizability.columns import CallColumns
from checkers.linearizability.crowded import has_obvious_order, impossible_answer
from checkers.linearizability.elements import KINDS, Judgement, judge_elements
from checkers.linearizability.footprints import Footprints, footprints_of
from checkers.linearizability.locks import LOCKS, judge_lock
from checkers.linearizability.models import AppendMap, GrowSet, Model, NoFunctionError
from checkers.linearizability.readable import narrowed
from checkers.linearizability.search import Search, SearchResult
from checkers.linearizability.sets import judge_set
from checkers.linearizability.shapes import ANY_KEY, understood
from checkers.linearizability.short import SHORT, ShortRegister
from checkers.linearizability.versions import Versions, versions_of
from checkers.linearizability.zone_columns import find_zones
from checkers.linearizability.zones import check_zones
from checkers.words import allowance

FIRST_BUDGET: Final = 200
BUDGET_GROWTH: Final = 10
CHUNK: Final = 20_000
"""Configurations that a compiled search looks at between two looks at the clock."""
CHUNK_OF_MODEL: Final = 1_000
"""The same where the model is asked, whose steps may be slow."""
CONFIGURATION_BYTES: Final = 160
"""What one configuration of the plain search takes in memory, about: an int, its places in a set and a list."""

ZONES: Final = "zones"
VERSIONS: Final = "versions"
"""Zones, after the appends of a map have been put in order."""
ELEMENTS: Final = "elements"
"""Intervals of elements that are put in once."""
SETS: Final = "sets"
"""The order of the reads of a growing set."""
HOLDS: Final = "holds"
"""Intervals in which a lock or permits are held."""
SEARCH: Final = "search"


class Contest(Protocol):
    """A search that can be paused: `races.Race`, or the plain search."""

    looked_at: int
    held_bytes: int
    result: SearchResult | None
    is_full: bool

    def run(self, budget: int) -> SearchResult | None:
        """Goes on until it is decided, or it has looked at `budget` configurations in all."""
        ...


@dataclass
class ObjectState:
    """What is known about one object."""

    number: int
    """Its position in `columns.keys`."""
    key: Any
    """As it stands in the history; None if there is only one object."""
    columns: CallColumns = field(repr=False)
    """The calls of all objects that matter to the model."""
    rows: NDArray[np.int64] = field(repr=False)
    """Where this object's are, in the order of invocation."""
    way: str = SEARCH
    """How it was decided, or was to be."""
    wrong: bool = False
    suspects: NDArray[np.int64] | None = field(default=None, repr=False)
    """Where zones decided: the calls with the contradictions."""
    contradiction: list[Call] = field(default_factory=list, repr=False)
    """Where another fast path decided: a few calls that are wrong by themselves."""
    versions: Versions | None = field(default=None, repr=False)
    """Where versions decided: those of all keys."""
    result: SearchResult | None = None
    """What the search found, if there was one that ended."""
    register: ShortRegister | None = field(default=None, repr=False)
    """The same calls, ready to be searched for evidence, if they were judged so."""
    looked_at: int = 0
    """Configurations that the search looked at."""
    undecided: str | None = None
    """Why it could not be decided."""

    def calls(self) -> list[Call]:
        """Its calls, as objects."""
        return self.columns.calls(self.rows.tolist())


@dataclass
class _Plain:
    """The plain search as a contest of one."""

    search: Search
    expired: Callable[[], bool]
    looked_at: int = 0
    held_bytes: int = 0
    result: SearchResult | None = None
    is_full: bool = False

    def __post_init__(self) -> None:
        self._steps = self.search.steps()

    def run(self, budget: int) -> SearchResult | None:
        search = self.search
        while self.result is None and search.work < budget and not self.expired():
            if next(self._steps, self) is self:
                self.result = search.result
        self.looked_at = search.looked_at
        # Sets of calls beyond a machine word take as many bytes as they have bits, an eighth.
        self.held_bytes = search.held * (CONFIGURATION_BYTES + search.width // 8)
        return self.result


def decide(
    columns: CallColumns,
    model: Model,
    limits: Limits,
    *,
    zones: bool = True,
    search_s: float | None = None,
) -> list[ObjectState]:
    """Judges each object of a history; `columns` may hold all calls. `search_s` are the seconds for searching, if not
    all that the limits give. With `zones=False`, searches only.

    An object with a call that could not be understood is wrong or undecided (see `shapes`); if it is not known which
    object such a call is about, there is one more in the end, with the number `ANY_KEY`. Raises NoFunctionError, a
    ValueError, for functions that the model does not have.
    """
    columns, doubts = understood(columns, model)
    objects = _decide(columns, model, limits, zones, search_s)
    for item in objects:
        if not item.wrong and item.number in doubts:
            item.undecided = doubts[item.number]
    if ANY_KEY in doubts:
        nothing = np.empty(0, dtype=np.int64)
        objects.append(ObjectState(ANY_KEY, None, columns, nothing, undecided=doubts[ANY_KEY]))
    return objects


def _decide(
    columns: CallColumns, model: Model, limits: Limits, zones: bool, search_s: float | None
) -> list[ObjectState]:
    deadline = limits.deadline()
    if zones and len(columns.keys) == 1 and len(columns) <= SHORT and not deadline.expired():
        short = _judge_short(columns, model)
        if short is not None:
            return [short]
    columns = columns.that_matter_to(model)
    objects = _objects(columns)
    footprints = footprints_of(columns, model)
    if footprints is not None and zones and not deadline.expired():
        _judge_by_zones(objects, footprints, ZONES)
    if type(model) is AppendMap and zones and not deadline.expired():
        versions = versions_of(columns, model)
        _judge_by_zones(objects, versions.footprints, VERSIONS)
        for item in objects:
            item.versions = versions if item.way == VERSIONS else None
    if zones and type(model) in KINDS:
        for item in objects:
            if not deadline.expired():
                _take(item, judge_elements(item.columns.take(item.rows), model), ELEMENTS)
    if zones and type(model) in LOCKS:
        for item in objects:
            if not deadline.expired():
                _take(item, judge_lock(item.columns.take(item.rows), model), HOLDS)
    if zones and type(model) is GrowSet:
        for item in objects:
            if not deadline.expired():
                contradiction = judge_set(item.columns.take(item.rows), model)
                if contradiction is not None:
                    item.way, item.wrong = SETS, bool(contradiction)
                    item.contradiction = contradiction
    searched = [item for item in objects if item.way == SEARCH]
    if searched:
        stop_at = limits.clock() + min(limits.time_s if search_s is None else search_s, deadline.remaining())
        _Turns(model, footprints, limits, deadline, stop_at, zones).take(
            searched, any(item.wrong for item in objects)
        )
    return objects


def _objects(columns: CallColumns) -> list[ObjectState]:
    """One for each key, in the order of first use."""
    if not columns.keys:
        return []
    if len(columns.keys) == 1:
        return [ObjectState(0, columns.keys[0], columns, np.arange(len(columns)))]
    order = np.argsort(columns.key, kind="stable")
    bounds = np.searchsorted(columns.key[order], np.arange(1, len(columns.keys)))
    parts = np.split(order, bounds)
    return [
        ObjectState(number, key, columns, rows)
        for number, (key, rows) in enumerate(zip(columns.keys, parts, strict=True))
    ]


def _judge_short(columns: CallColumns, model: Model) -> ObjectState | None:
    """The only object, if it is a register of few calls, no case for zones, and soon decided."""
    register = ShortRegister.of(columns, model)
    if register is None or not register.is_ambiguous():
        return None
    verdict = register.judge()
    if verdict is None:
        return None
    legal, stuck = verdict
    item = ObjectState(0, columns.keys[0], columns, register.rows)
    item.result, item.wrong, item.looked_at = SearchResult(legal, stuck), not legal, register.looked_at
    item.register = register
    return item


def _judge_by_zones(objects: Sequence[ObjectState], footprints: Footprints, way: str) -> None:
    found = find_zones(footprints)
    suspects: dict[int, list[int]] = {}
    for row in found.suspects.tolist():
        suspects.setdefault(int(footprints.key[row]), []).append(row)
    decided, wrong = found.decided.tolist(), found.wrong.tolist()
    for number, item in enumerate(objects):
        if decided[number]:
            item.way = way
            item.wrong = wrong[number]
            if item.wrong:
                item.suspects = np.array(suspects[number])


def _take(item: ObjectState, found: Judgement | None, way: str) -> None:
    """What a fast path says of an object; nothing if it cannot tell."""
    if found is not None:
        item.way = way
        item.wrong = found.wrong
        item.contradiction = item.columns.calls(item.rows[list(found.rows)].tolist())


@dataclass
class _Turns:
    """Runs the searches of several objects side by side until each is decided, or a limit is reached."""

    model: Model
    footprints: Footprints | None
    limits: Limits
    deadline: Deadline
    stop_at: float
    zones: bool

    def take(self, objects: Sequence[ObjectState], found_wrong: bool) -> None:
        limits = self.limits
        most_bytes = limits.memory_mb * 1_000_000
        chunk = CHUNK if self.footprints is not None else CHUNK_OF_MODEL
        reason = out_of_time(limits)
        started = limits.clock()
        budget = FIRST_BUDGET
        contests: dict[int, Contest] = {}
        """By the position of the object; made at its first turn."""
        active = list(range(len(objects)))
        others_bytes = 0
        """What the contests that wait take."""
        while active:
            waiting: list[int] = []
            for turn, position in enumerate(active):
                item = objects[position]
                if limits.clock() >= self.stop_at:
                    for late in [*active[turn:], *waiting]:
                        objects[late].undecided = reason
                    return
                contest = contests.get(position)
                try:
                    if contest is None:
                        contest = self._contest(item, most_bytes)
                        if contest is None:
                            continue
                        contests[position] = contest
                    others_bytes -= contest.held_bytes
                    timed_out = self._turn(item, contest, budget, chunk, most_bytes, others_bytes)
                except NoFunctionError:
                    raise
                except ValueError as error:  # In some state the model does not understand a call.
                    item.undecided = str(error)
                    contests.pop(position, None)
                    continue
                if timed_out:
                    for late in [*active[turn:], *waiting]:
                        objects[late].undecided = reason
                    return
                if item.result is None and item.undecided is None:
                    waiting.append(position)
                    others_bytes += contest.held_bytes
                else:
                    del contests[position]
                if item.wrong and not found_wrong:
                    # The verdict is certain; the others may take as long again, for completeness.
                    found_wrong = True
                    now = limits.clock()
                    soon = now + max(2.0, 2 * (now - started))
                    if soon < self.stop_at:
                        self.stop_at = soon
                        reason = "another key is wrong already, so it was given up early"
            active = waiting
            budget *= BUDGET_GROWTH

    def _turn(
        self,
        item: ObjectState,
        contest: Contest,
        budget: int,
        chunk: int,
        most_bytes: int,
        others_bytes: int,
    ) -> bool:
        """One turn of a search; whether the time ran out in it."""
        target = min(budget, chunk)
        while True:
            result = contest.run(target)
            item.looked_at = contest.looked_at
            if result is not None:
                item.result = result
                item.wrong = not result.legal
                return False
            if contest.is_full or contest.held_bytes + others_bytes > most_bytes:
                item.undecided = (
                    f"its {contest.looked_at} configurations, with those of other keys, need more than the "
                    f"{self.limits.memory_mb} MB allowed; allow more memory, or use more keys or fewer processes"
                )
                return False
            if target >= budget:
                return False
            if self.limits.clock() >= self.stop_at:
                return True
            target = min(budget, target + chunk)

    def _contest(self, item: ObjectState, most_bytes: int) -> Contest | None:
        """The search for an object; None if it turned out to be decided without."""
        if self.footprints is None and self.zones:
            calls = item.calls()
            found = check_zones(calls, self.model)
            if found is not None:
                item.way, item.wrong = ZONES, found.found > 0
                item.suspects = item.rows
                return None
        if races.is_compiled():
            program = (
                races.program_of_footprints(self.footprints, item.rows)
                if self.footprints is not None
                else self._program_of_model(item)
            )
            if program is not None:
                columns = item.columns if self.footprints is not None else item.columns.take(item.rows)
                return races.Race(program, columns, most_bytes)
        if self.footprints is not None and self.zones:
            calls = item.calls()
            wrong = impossible_answer(calls, self.model)
            if wrong is not None:
                item.wrong, item.contradiction = True, [wrong]
                return None
            if has_obvious_order(calls, self.model):
                item.result = SearchResult(True)
                return None
        model = narrowed(self.model, item.columns.take(item.rows))
        return _Plain(Search(item.calls(), model), lambda: self.limits.clock() >= self.stop_at)

    def _program_of_model(self, item: ObjectState) -> races.Program | None:
        columns = item.columns.take(item.rows)
        return races.program_of_model(columns, narrowed(self.model, columns), None)


def out_of_time(limits: Limits) -> str:
    """Why something is undecided when the time is over."""
    return f"the time allowed ({allowance(limits.time_s)}) ran out; allow more, or use more keys or fewer processes"
