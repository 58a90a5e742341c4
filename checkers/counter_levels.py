"""A counter that only grows, by amounts of any size: is there one order of all adds and reads?

Since it only grows, the reads come in the order of their values: they are *levels*, and between one level and the next
the adds of a *step* take effect, which come to the difference. A step to a level takes place before any read that saw
that level or a higher one had ended, so its adds had begun by then; and an add that had ended before some read of that
level or a lower one began belongs to this step or an earlier one. An add that began and ended between two reads of one
level fits into no step, which is looked for first. An order is right exactly if besides no add comes in an earlier step
than another one that had ended before it began. So the steps are gone through with all choices that are possible so
far: which of the adds that had begun are still pending.

Two rules keep the choices few. Of pending adds of equal amount that may go, the one that ends first does: if another
one took its place, the two could change places. And crashed adds, which may always wait, are only counted for each
amount.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers import counter_levels_kernel
from checkers.isolation.arrays import Arrays
from checkers.operations import FOREVER

MOST = 20_000
"""Choices that are followed at a time, or looked at in one step."""
PATIENCE = 64
"""Choices and sums looked at for each level, on average, before all are followed at a time."""
LARGEST: Final = 1 << 60
"""Numbers below it are followed one choice at a time."""

Choice = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]
"""What is pending: ok adds in the order of their ends; and how many crashed adds of each amount were used."""


@dataclass(frozen=True)
class Adds:
    """Adds of positive amounts, in the order of their invocations."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    """`FOREVER` for crashed ones."""
    amount: NDArray[Any]


@dataclass
class Levels:
    """The distinct values that were read, ascending, and what the reads say about when the counter had them."""

    value: NDArray[Any]
    first_end: NDArray[np.int64]
    """The first end of a read that saw this value or more."""
    last_start: NDArray[np.int64]
    """The last start of a read that saw this value or less."""

    @classmethod
    def of(cls, start: NDArray[np.int64], end: NDArray[np.int64], values: NDArray[Any]) -> Levels:
        levels, place = np.unique(values, return_inverse=True)
        last_start = np.full(len(levels), -1, dtype=np.int64)
        np.maximum.at(last_start, place, start)
        first_end = np.full(len(levels), FOREVER, dtype=np.int64)
        np.minimum.at(first_end, place, end)
        return cls(
            levels,
            np.minimum.accumulate(first_end[::-1])[::-1],
            np.maximum.accumulate(last_start),
        )


@dataclass
class Climb:
    """What going through the steps found."""

    stuck: int | None = None
    """The level that cannot be reached; None if all can."""
    pending: list[int] = field(default_factory=list)
    """The adds that were pending then, in some choice or other."""
    is_passed_by: bool = False
    """Whether these began and ended between two reads of that level, so that no step can have them."""
    gave_up: str | None = None
    """Why it is not known."""

    @property
    def is_complete(self) -> bool:
        """Whether all levels can be reached, so that there is an order of all adds and reads."""
        return self.stuck is None and self.gave_up is None


def climb(adds: Adds, levels: Levels, expired: Callable[[], bool]) -> Climb:
    """Goes from nothing to the last level: one choice after the other, going back where none is left, as long as that
    leads somewhere; else with all choices at a time, where `MOST` do. The reads must not contradict each other."""
    found = _passed_by(adds, levels) or _follow_one(adds, levels, expired)
    return _follow_all(_steps(adds, levels), expired) if found is None else found


def _passed_by(adds: Adds, levels: Levels) -> Climb | None:
    """Tells the first level that adds began and ended between two reads of; None if there is none."""
    first_step = np.searchsorted(levels.first_end, adds.start)
    last_step = np.searchsorted(levels.last_start, adds.end)
    nowhere = last_step < first_step
    if not nowhere.any():
        return None
    level = int(last_step[nowhere].min())
    pending = np.flatnonzero(nowhere & (last_step == level)).tolist()
    return Climb(stuck=level, pending=pending, is_passed_by=True)


def _follow_one(adds: Adds, levels: Levels, expired: Callable[[], bool]) -> Climb | None:
    """What following one choice at a time finds; None if that goes back too often, or the numbers are too large."""
    if max(int(adds.amount.max(initial=0)), int(levels.value.max(initial=0))) >= LARGEST:
        return None
    rise = np.diff(levels.value, prepend=0).astype(np.int64)
    ok = np.flatnonzero(adds.end < FOREVER)
    ok = ok[np.argsort(adds.end[ok])]
    fresh = np.argsort(adds.start[ok])
    fresh_first = np.searchsorted(adds.start[ok][fresh], levels.first_end)
    amounts, kind = np.unique(adds.amount.astype(np.int64), return_inverse=True)
    crashed = np.flatnonzero(adds.end == FOREVER)
    crashed = crashed[np.lexsort((adds.start[crashed], kind[crashed]))]
    crashed_first = np.searchsorted(kind[crashed], np.arange(len(amounts) + 1))
    kinds, most = len(amounts), len(ok)
    kernel: Any = counter_levels_kernel
    arrays = Arrays(kernel)
    given, zeros = arrays.given, arrays.zeros
    path = kernel.Path(
        (given(adds.start[ok]), given(adds.end[ok]), given(kind[ok].astype(np.int32))),
        (
            given(amounts),
            given(crashed_first.astype(np.int32)),
            given(adds.start[crashed]),
            np.unique(kind[crashed]).tolist(),
        ),
        (
            given(fresh.astype(np.int32)),
            given(np.concatenate([[0], fresh_first])),
            given(levels.first_end),
            given(levels.last_start),
            given(rise),
        ),
        (
            *(zeros(kinds, dtype) for dtype in (np.int64, np.int64, np.int32, np.int64, np.int64, np.int32)),
            zeros(kinds + 1, np.int32),
            zeros(kinds + 1, np.int64),
            zeros(most + 1, np.int32),
            zeros(most + 1, np.int64),
            zeros(most + 1, np.int64),
            zeros(most + 1, np.int32),
            zeros(len(rise) + 2, np.int64),
        ),
        MOST,
    )
    budget = PATIENCE * len(rise) + 1_000
    outcome, level, pending = path.follow(len(rise), budget, expired, zeros(len(rise) + 1, np.int64))
    if outcome == kernel.GAVE_UP:
        return None
    if outcome == kernel.REACHED:
        return Climb()
    return Climb(stuck=level, pending=ok[pending].tolist())


def _steps(adds: Adds, levels: Levels) -> list[_Step]:
    start, end, amounts = adds.start.tolist(), adds.end.tolist(), adds.amount.tolist()
    by_start = sorted(range(len(start)), key=start.__getitem__)
    starts_of_crashed: dict[int, list[int]] = {}
    for add in by_start:
        if end[add] == FOREVER:
            starts_of_crashed.setdefault(amounts[add], []).append(start[add])
    steps = []
    value = arrived = 0
    bounds = zip(levels.value.tolist(), levels.first_end.tolist(), levels.last_start.tolist(), strict=True)
    for wanted, until, due in bounds:
        fresh = []
        while arrived < len(by_start) and start[by_start[arrived]] < until:
            if end[by_start[arrived]] < FOREVER:
                fresh.append(by_start[arrived])
            arrived += 1
        steps.append(_Step(start, end, amounts, starts_of_crashed, fresh, until, due, wanted - value))
        value = wanted
    return steps


def _follow_all(steps: list[_Step], expired: Callable[[], bool]) -> Climb:
    choices: set[Choice] = {((), ())}
    for level, step in enumerate(steps):
        if level & 15 == 15 and expired():
            return Climb(gave_up="the time allowed ran out; allow more")
        after: set[Choice] = set()
        here: list[int] = []
        for pending, used in choices:
            here = step.arrive(pending)
            for choice in step.choices(here, used):
                after.add(choice)
            if len(after) > MOST or step.is_cut_short:
                return Climb(gave_up="too many choices of adds are possible")
        if not after:
            return Climb(stuck=level, pending=here)
        choices = after
    return Climb()


@dataclass
class _Step:
    """One step to a level."""

    start: list[int]
    end: list[int]
    amount: list[int]
    """Of each add."""
    starts_of_crashed: dict[int, list[int]]
    """Of each amount, in order."""
    fresh: list[int]
    """The ok adds that may go in this step and in none before."""
    until: int
    """When the first read that saw the level was over: what begins later goes later."""
    due: int
    """When the last read of it began: what had ended by then cannot wait."""
    left: int
    """What the adds of this step come to."""
    is_cut_short: bool = False
    """Whether there were too many choices to look at all of them."""

    def arrive(self, pending: tuple[int, ...]) -> list[int]:
        """The ok adds that may go in this step, by their ends."""
        return sorted((*pending, *self.fresh), key=self.end.__getitem__) if self.fresh else list(pending)

    def choices(self, here: list[int], used: tuple[tuple[int, int], ...]) -> Iterator[Choice]:
        """What may be pending after it; first those that leave what ends late.

        Who waits is told apart by the first of them to end: all that end before go in this step, and nobody does that
        began after that end. An add of the same amount does not go either; it would do so in that one's place.
        """
        lefts = [self.left]
        for add in here:
            left = lefts[-1] - self.amount[add]
            if left < 0:
                break
            lefts.append(left)
        for first in range(len(lefts) - 1, -1, -1):
            if first < len(here) and self.end[here[first]] < self.due:
                return
            yield from self._with_first(here, first, lefts[first], used)

    def _with_first(
        self, here: list[int], first: int, left: int, used: tuple[tuple[int, int], ...]
    ) -> Iterator[Choice]:
        until, own = FOREVER, 0
        if first < len(here):
            until, own = self.end[here[first]], self.amount[here[first]]
        if left == 0:
            yield tuple(here[first:]), used
            return
        spent = dict(used)
        of_amount: dict[int, list[int]] = {}
        for add in here[first + 1 :]:
            if self.start[add] < until and self.amount[add] <= left and self.amount[add] != own:
                of_amount.setdefault(self.amount[add], []).append(add)
        spare = {}
        for amount, starts in self.starts_of_crashed.items():
            if amount <= left:
                possible = bisect_left(starts, min(until, self.until)) - spent.get(amount, 0)
                if possible > 0:
                    spare[amount] = possible
        amounts = sorted({*of_amount, *spare}, reverse=True)
        looked_at = [0]
        for counts in self._sums(amounts, 0, left, of_amount, spare, looked_at):
            taken: set[int] = set()
            crashed = dict(spent)
            for amount, of_ok, of_crashed in counts:
                taken.update(of_amount.get(amount, ())[:of_ok])
                if of_crashed:
                    crashed[amount] = crashed.get(amount, 0) + of_crashed
            yield tuple(add for add in here[first:] if add not in taken), tuple(sorted(crashed.items()))

    def _sums(
        self,
        amounts: list[int],
        at: int,
        left: int,
        of_amount: dict[int, list[int]],
        spare: dict[int, int],
        looked_at: list[int],
    ) -> Iterator[tuple[tuple[int, int, int], ...]]:
        """How many of each amount come to what is left: of those that end, and of those that crashed."""
        if left == 0:
            yield ()
            return
        looked_at[0] += 1
        self.is_cut_short = self.is_cut_short or looked_at[0] > MOST
        if at == len(amounts) or self.is_cut_short:
            return
        amount = amounts[at]
        of_ok, of_crashed = len(of_amount.get(amount, ())), spare.get(amount, 0)
        for number in range(min(left // amount, of_ok + of_crashed), -1, -1):
            if at == len(amounts) - 1 and number * amount != left:
                break
            for rest in self._sums(amounts, at + 1, left - number * amount, of_amount, spare, looked_at):
                for crashed in range(max(0, number - of_ok), min(number, of_crashed) + 1):
                    yield ((amount, number - crashed, crashed), *rest)
