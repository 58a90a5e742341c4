"""What comes first: one after the other, with or without a barrier, until one is ok, by turns."""

from __future__ import annotations

from collections.abc import Callable

from results.operation import INVOKE, OK, Operation
from workloads.generator.core import (
    NOTHING,
    PENDING,
    Answer,
    Context,
    Generator,
    Invocation,
    Pending,
    Sequential,
    Source,
    generator,
)


def concat(*sources: Source) -> Generator:
    """One after the other, without a barrier; see `core.Sequential`."""
    return Sequential(tuple(generator(source) for source in sources))


def synchronize(source: Source) -> Generator:
    """Waits until all threads (of those it may use) are free, then begins."""
    return Synchronize(generator(source))


class Synchronize(Generator, frozen=True):
    inner: Generator

    def next(self, context: Context) -> Answer:
        # Once begun, the barrier has done its work and is gone.
        return self.inner.next(context) if context.free == context.threads else (PENDING, self)

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Synchronize(inner)


def phases(*sources: Source) -> Generator:
    """One after the other; each begins when all threads are free."""
    return Sequential(tuple(synchronize(source) for source in sources))


def then(first: Source, second: Source) -> Generator:
    """The first; when it is exhausted and all threads are free, the second."""
    return Sequential((generator(first), synchronize(second)))


def until_ok(source: Source) -> Generator:
    """What the generator says, until one of its operations ends in ok. It repeats nothing by itself: write
    `until_ok(repeat(...))`. Operations in flight at that moment are left to end; several may so be ok."""
    return until(_is_ok, source)


def until(is_last: Callable[[Operation], bool], source: Source) -> Generator:
    """As `until_ok`, until `is_last` is true of the completion of one of its operations."""
    return Until(is_last, 0, generator(source))


def _is_ok(event: Operation) -> bool:
    return event.type == OK


class Until(Generator, frozen=True):
    is_last: Callable[[Operation], bool]
    in_flight: int
    """The threads that are busy with operations of this generator."""
    inner: Generator

    def next(self, context: Context) -> Answer:
        answer = self.inner.next(context)
        if answer is None:
            return None
        what, following = answer
        in_flight = self.in_flight
        if type(what) is Invocation and what.type == INVOKE and what.process is not None:
            in_flight |= 1 << context.thread_of(what.process)
        return what, Until(self.is_last, in_flight, following)

    def update(self, context: Context, event: Operation) -> Generator:
        in_flight = self.in_flight
        thread = context.thread_of(event.process)
        if event.type != INVOKE and in_flight >> thread & 1:
            if self.is_last(event):
                return NOTHING
            in_flight &= ~(1 << thread)
        inner = self.inner.update(context, event)
        if inner is self.inner and in_flight == self.in_flight:
            return self
        return Until(self.is_last, in_flight, inner)


def flip_flop(first: Source, second: Source) -> Generator:
    """One of the first, one of the second, and so on, until the one whose turn it is is exhausted; both hear of all
    events. While the one whose turn it is waits, so does the other."""
    return FlipFlop(generator(first), generator(second))


class FlipFlop(Generator, frozen=True):
    current: Generator
    other: Generator

    def next(self, context: Context) -> Answer:
        answer = self.current.next(context)
        if answer is None:
            return None
        what, following = answer
        if type(what) is Pending:
            return what, FlipFlop(following, self.other)
        return what, FlipFlop(self.other, following)

    def update(self, context: Context, event: Operation) -> Generator:
        current = self.current.update(context, event)
        other = self.other.update(context, event)
        if current is self.current and other is self.other:
            return self
        return FlipFlop(current, other)
