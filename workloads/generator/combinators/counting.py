"""How much of it: the first few, again and again, so many processes, so many at once."""

from __future__ import annotations

from results.operation import INVOKE, Operation
from workloads.generator.core import (
    NOTHING,
    PENDING,
    Answer,
    Context,
    Generator,
    Invocation,
    Pending,
    Source,
    generator,
)


def limit(count: int, source: Source) -> Generator:
    """The first `count` invocations (sleeps and logs count too)."""
    if count <= 0:
        return NOTHING
    inner = generator(source)
    return Limit(count, inner, inner.listens)


def once(source: Source) -> Generator:
    """The first invocation only."""
    return limit(1, source)


class Limit(Generator, frozen=True):
    left: int
    inner: Generator
    listens: bool

    def next(self, context: Context) -> Answer:
        if self.left <= 0:
            return None
        answer = self.inner.next(context)
        if answer is None:
            return None
        what, following = answer
        if type(what) is Pending:
            return what, self if following is self.inner else Limit(self.left, following, following.listens)
        return what, Limit(self.left - 1, following, following.listens)

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Limit(self.left, inner, inner.listens)


def repeat(source: Source, count: int | None = None) -> Generator:
    """The first invocation of the generator again and again (`count` times, or without end): what follows it is
    thrown away, so that `repeat(operation("read"))` reads forever. Exhausted when the generator is."""
    return Repeat(count, generator(source))


class Repeat(Generator, frozen=True):
    left: int | None
    inner: Generator

    def next(self, context: Context) -> Answer:
        left = self.left
        if left is not None and left <= 0:
            return None
        answer = self.inner.next(context)
        if answer is None:
            return None
        what, following = answer
        if type(what) is Pending:
            return what, self if following is self.inner else Repeat(left, following)
        return what, self if left is None else Repeat(left - 1, self.inner)

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Repeat(self.left, inner)


def cycle(source: Source, count: int | None = None) -> Generator:
    """The whole generator again and again (`count` times, or without end): when it is exhausted it begins anew, as it
    was at first. Exhausted at once if a fresh one has nothing."""
    original = generator(source)
    if count is not None and count <= 0:
        return NOTHING
    return Cycle(None if count is None else count - 1, original, original)


class Cycle(Generator, frozen=True):
    left: int | None
    original: Generator
    inner: Generator

    def next(self, context: Context) -> Answer:
        left = self.left
        answer = self.inner.next(context)
        if answer is None:
            if left is not None:
                if left <= 0:
                    return None
                left -= 1
            answer = self.original.next(context)
            if answer is None:
                return None
        what, following = answer
        return what, Cycle(left, self.original, following)

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Cycle(self.left, self.original, inner)


def process_limit(count: int, source: Source) -> Generator:
    """At most `count` different processes take part; since a crashed process is replaced by a new one, that bounds the
    operations whose outcome is unknown. Exhausted when the processes that could take part (now or before) are more
    than that. Raises ValueError, when first asked, if there are more threads than `count`."""
    if count < 1:
        raise ValueError(f"a limit of {count} processes: there must be at least one")
    return ProcessLimit(count, frozenset(), (), generator(source))


class ProcessLimit(Generator, frozen=True):
    count: int
    seen: frozenset[int | str]
    known: tuple[int | str, ...]
    """The context's processes when `seen` was brought up to date."""
    inner: Generator

    def next(self, context: Context) -> Answer:
        seen = self.seen
        if context.processes is not self.known:
            seen = seen | context.process_set()
            if len(seen) > self.count:
                if not self.seen:
                    raise ValueError(
                        f"a limit of {self.count} processes with {len(seen)} threads: it must be at least "
                        "the number of threads"
                    )
                return None
        inner = self.inner
        answer = inner.next(context)
        if answer is None:
            return None
        what, following = answer
        if following is inner and context.processes is self.known:
            return what, self
        return what, ProcessLimit(self.count, seen, context.processes, following)

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else ProcessLimit(self.count, self.seen, self.known, inner)


def concurrency_limit(count: int, source: Source) -> Generator:
    """At most `count` operations of this generator in flight. An operation is over when its completion comes, also
    with info (a sleep or log does not count)."""
    if count < 1:
        raise ValueError(f"a limit of {count} operations in flight: there must be at least one")
    return ConcurrencyLimit(count, 0, generator(source))


class ConcurrencyLimit(Generator, frozen=True):
    count: int
    in_flight: int
    """The threads that are busy with operations of this generator."""
    inner: Generator

    def next(self, context: Context) -> Answer:
        in_flight = self.in_flight
        if in_flight.bit_count() >= self.count:
            return PENDING, self
        answer = self.inner.next(context)
        if answer is None:
            return None
        what, following = answer
        if type(what) is Invocation and what.type == INVOKE and what.process is not None:
            in_flight |= 1 << context.thread_of(what.process)
        elif following is self.inner:
            return what, self
        return what, ConcurrencyLimit(self.count, in_flight, following)

    def update(self, context: Context, event: Operation) -> Generator:
        in_flight = self.in_flight
        if event.type != INVOKE:
            in_flight &= ~(1 << context.thread_of(event.process))
        inner = self.inner.update(context, event)
        if inner is self.inner and in_flight == self.in_flight:
            return self
        return ConcurrencyLimit(self.count, in_flight, inner)
