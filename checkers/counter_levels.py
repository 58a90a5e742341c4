"""A counter that only grows, by amounts of any size: is there one order of all adds and reads?

Since it only grows, the reads come in the order of their values: they are *levels*, and between one level and the next
the adds of a *step* take effect, which come to the difference. A step to a level takes place before any read that saw
that level or a higher one had ended, so its adds had begun by then; and an add that had ended before some read of that
level or a lower one began belongs to this step or an earlier one. An order is right exactly if besides no add comes in
an earlier step than another one that had ended before it began. So the steps are gone through with all choices that
are possible so far: which of the adds that had begun are still pending.

Two rules keep the choices few. Of pending adds of equal amount that may go, the one that ends first does: if another
one took its place, the two could change places. And crashed adds, which may always wait, are only counted for each
amount.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from checkers.operations import FOREVER

MOST = 20_000
"""Choices that are followed at a time, or looked at in one step."""
PATIENCE = 4
"""Choices looked at for each level, on average, before all are followed at a time."""

Choice = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]
"""What is pending: ok adds in the order of their ends; and how many crashed adds of each amount were used."""


@dataclass(frozen=True)
class Adds:
    """Adds of positive amounts, in the order of their invocations."""

    start: list[int]
    end: list[int]
    """`FOREVER` for crashed ones."""
    amount: list[int]


@dataclass
class Levels:
    """The distinct values that were read, ascending, and what the reads say about when the counter had them."""

    value: list[int]
    first_end: list[int]
    """The first end of a read that saw this value or more."""
    last_start: list[int]
    """The last start of a read that saw this value or less."""

    @classmethod
    def of(cls, start: NDArray[np.int64], end: NDArray[np.int64], values: NDArray[np.int64]) -> Levels:
        levels, place = np.unique(values, return_inverse=True)
        last_start = np.full(len(levels), -1, dtype=np.int64)
        np.maximum.at(last_start, place, start)
        first_end = np.full(len(levels), FOREVER, dtype=np.int64)
        np.minimum.at(first_end, place, end)
        return cls(
            levels.tolist(),
            np.minimum.accumulate(first_end[::-1])[::-1].tolist(),
            np.maximum.accumulate(last_start).tolist(),
        )


@dataclass
class Climb:
    """What going through the steps found."""

    stuck: int | None = None
    """The level that cannot be reached; None if all can."""
    pending: list[int] = field(default_factory=list)
    """The adds that were pending then, in some choice or other."""
    gave_up: str | None = None
    """Why it is not known."""


def climb(adds: Adds, levels: Levels, expired: Callable[[], bool]) -> Climb:
    """Goes from nothing to the last level: one choice after the other, going back where none is left, as long as that
    leads somewhere; else with all choices at a time, where `MOST` do. The reads must not contradict each other."""
    steps = _steps(adds, levels)
    found = _follow_one(steps, expired)
    return _follow_all(steps, expired) if found is None else found


def _steps(adds: Adds, levels: Levels) -> list[_Step]:
    by_start = sorted(range(len(adds.start)), key=adds.start.__getitem__)
    starts_of_crashed: dict[int, list[int]] = {}
    for add in by_start:
        if adds.end[add] == FOREVER:
            starts_of_crashed.setdefault(adds.amount[add], []).append(adds.start[add])
    steps = []
    value = arrived = 0
    for wanted, until, due in zip(levels.value, levels.first_end, levels.last_start, strict=True):
        fresh = []
        while arrived < len(by_start) and adds.start[by_start[arrived]] < until:
            if adds.end[by_start[arrived]] < FOREVER:
                fresh.append(by_start[arrived])
            arrived += 1
        steps.append(_Step(adds, starts_of_crashed, fresh, until, due, wanted - value))
        value = wanted
    return steps


def _follow_one(steps: list[_Step], expired: Callable[[], bool]) -> Climb | None:
    """What following one choice at a time finds; None if that goes back too often."""
    path: list[Iterator[Choice]] = []
    budget = PATIENCE * len(steps) + 1_000
    dead: set[tuple[int, Choice]] = set()
    entered: list[Choice] = [((), ())]
    deepest = 0
    pending: list[int] = []
    while len(path) < len(steps):
        if len(entered) > len(path):
            here = steps[len(path)].arrive(entered[-1][0])
            if len(path) > deepest or not pending:
                deepest, pending = len(path), here
            path.append(steps[len(path)].choices(here, entered[-1][1]))
        while path:
            budget -= 1
            if budget < 0 or (budget & 255 == 0 and expired()):
                return None
            choice = next(path[-1], None)
            if choice is None:
                path.pop()
                dead.add((len(path), entered.pop()))
                if not entered:
                    return Climb(stuck=deepest, pending=pending)
            elif (len(path), choice) not in dead:
                entered.append(choice)
                break
        if any(step.is_cut_short for step in steps[max(0, len(path) - 1) : len(path)]):
            return None
    return Climb()


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

    adds: Adds
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
        return sorted((*pending, *self.fresh), key=self.adds.end.__getitem__) if self.fresh else list(pending)

    def choices(self, here: list[int], used: tuple[tuple[int, int], ...]) -> Iterator[Choice]:
        """What may be pending after it; first those that leave what ends late.

        Who waits is told apart by the first of them to end: all that end before go in this step, and nobody does that
        began after that end. An add of the same amount does not go either; it would do so in that one's place.
        """
        adds = self.adds
        lefts = [self.left]
        for add in here:
            left = lefts[-1] - adds.amount[add]
            if left < 0:
                break
            lefts.append(left)
        for first in range(len(lefts) - 1, -1, -1):
            if first < len(here) and adds.end[here[first]] < self.due:
                return
            yield from self._with_first(here, first, lefts[first], used)

    def _with_first(
        self, here: list[int], first: int, left: int, used: tuple[tuple[int, int], ...]
    ) -> Iterator[Choice]:
        adds = self.adds
        until, own = FOREVER, 0
        if first < len(here):
            until, own = adds.end[here[first]], adds.amount[here[first]]
        if any(adds.start[add] > until for add in here[:first]):
            return
        if left == 0:
            yield tuple(here[first:]), used
            return
        spent = dict(used)
        of_amount: dict[int, list[int]] = {}
        for add in here[first + 1 :]:
            if adds.start[add] < until and adds.amount[add] <= left and adds.amount[add] != own:
                of_amount.setdefault(adds.amount[add], []).append(add)
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
