"""Several generators at once: whichever is sooner, or one at random."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from results.operation import Operation
from workloads.generator.combinators.soonest import after_question, are_same, pick_soonest
from workloads.generator.core import (
    NOTHING,
    PENDING,
    Answer,
    Context,
    Generator,
    Invocation,
    Source,
    generator,
)


def any_of(
    *sources: Source, random: Random | None = None, weights: Sequence[float] | None = None
) -> Generator:
    """Whichever generator has something to do; all run side by side, and all hear of all events. Of several, the one
    that should have started first; ties are broken at random, by weight (1 each by default), or without a stream in
    favour of the first. Exhausted when all are."""
    return AnyOf(
        tuple(generator(source) for source in sources),
        random,
        None if weights is None else tuple(weights),
        random.random() if random else 0.0,
        False,
    )


def shortest_any(*sources: Source, random: Random | None = None) -> Generator:
    """As `any_of`, but exhausted as soon as any of them is."""
    return AnyOf(
        tuple(generator(source) for source in sources),
        random,
        None,
        random.random() if random else 0.0,
        True,
    )


class AnyOf(Generator, frozen=True):
    parts: tuple[Generator, ...]
    random: Random | None
    weights: tuple[float, ...] | None
    draw: float
    """Decides the next tie; in [0, 1)."""
    ends_with_first: bool

    def next(self, context: Context) -> Answer:
        parts = self.parts
        answers = [part.next(context) for part in parts]
        if self.ends_with_first and None in answers:
            return None
        soonest = pick_soonest(answers, self.weights, self.draw)
        if soonest is None:
            return None
        position, what = soonest
        following = after_question(parts, answers, position)
        draw = self.draw if position is None or self.random is None else self.random.random()
        if draw == self.draw and are_same(following, parts):
            return what, self
        return what, self._with(following, draw)

    def update(self, context: Context, event: Operation) -> Generator:
        parts = tuple([part.update(context, event) for part in self.parts])
        return self if are_same(parts, self.parts) else self._with(parts, self.draw)

    def _with(self, parts: tuple[Generator, ...], draw: float) -> AnyOf:
        return AnyOf(parts, self.random, self.weights, draw, self.ends_with_first)


def mix(*sources: Source, random: Random, weights: Sequence[float] | None = None) -> Generator:
    """One of them at random for each invocation, uniformly or by weight; the exhausted ones drop out.

    If the chosen one is pending, the others are asked in turn and the first that has something to do serves, so that
    one generator that waits does not stop the rest.
    """
    parts = tuple(generator(source) for source in sources)
    if weights is not None and (len(weights) != len(parts) or any(weight < 0 for weight in weights)):
        raise ValueError(f"{len(parts)} generators with weights {list(weights)}: one weight >= 0 for each")
    return _mix(parts, random, None if weights is None else tuple(weights))


def _mix(parts: tuple[Generator, ...], random: Random, weights: tuple[float, ...] | None) -> Generator:
    if not parts:
        return NOTHING
    return Mix(parts, random, weights, _choose(len(parts), random, weights), _any_listens(parts))


def _any_listens(parts: Sequence[Generator]) -> bool:
    return any([part.listens for part in parts])


def _choose(count: int, random: Random, weights: tuple[float, ...] | None) -> int:
    if weights is None:
        return int(random.random() * count)
    left = random.random() * sum(weights)
    for position, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return position
    return count - 1


class Mix(Generator, frozen=True):
    parts: tuple[Generator, ...]
    random: Random
    weights: tuple[float, ...] | None
    chosen: int
    listens: bool

    def next(self, context: Context) -> Answer:
        parts = self.parts
        chosen = self.chosen
        part = parts[chosen]
        answer = part.next(context)
        if answer is None:
            weights = self.weights
            return _mix(
                parts[:chosen] + parts[chosen + 1 :],
                self.random,
                None if weights is None else weights[:chosen] + weights[chosen + 1 :],
            ).next(context)
        what, following = answer
        if type(what) is Invocation:
            return what, self._after(chosen, following)
        if not context.free:
            return PENDING, self
        answers: list[Answer] = [None] * len(parts)
        answers[chosen] = answer
        for step in range(1, len(parts)):
            position = (chosen + step) % len(parts)
            other = answers[position] = parts[position].next(context)
            if other is not None and type(other[0]) is Invocation:
                return other[0], self._after(position, other[1])
        soonest = pick_soonest(answers, None, 0.0)
        assert soonest is not None, "the chosen generator is not exhausted"
        moved = after_question(parts, answers, None)
        if are_same(moved, parts):
            return soonest[1], self
        return soonest[1], Mix(moved, self.random, self.weights, chosen, _any_listens(moved))

    def _after(self, position: int, following: Generator) -> Generator:
        parts = self.parts
        random = self.random
        weights = self.weights
        listens = self.listens
        if following is not parts[position]:
            parts = (*parts[:position], following, *parts[position + 1 :])
            listens = _any_listens(parts)
        count = len(parts)
        chosen = int(random.random() * count) if weights is None else _choose(count, random, weights)
        if parts is self.parts and chosen == self.chosen:
            return self
        return Mix(parts, random, weights, chosen, listens)

    def update(self, context: Context, event: Operation) -> Generator:
        parts = tuple([part.update(context, event) for part in self.parts])
        if are_same(parts, self.parts):
            return self
        return Mix(parts, self.random, self.weights, self.chosen, _any_listens(parts))
