"""Who does it: some threads only, the clients, the nemesis; threads of one's own, a copy for each."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from results.operation import Operation
from workloads.generator.combinators.choosing import any_of
from workloads.generator.combinators.soonest import after_question, are_same, earlier, pick_soonest
from workloads.generator.core import (
    NOTHING,
    PENDING,
    Answer,
    Context,
    Generator,
    Invocation,
    Nothing,
    Pending,
    Source,
    generator,
    thread_mask,
    threads_in,
)


def on_threads(threads: Iterable[int], source: Source) -> Generator:
    """Only these threads do what the generator says, and only their events reach it. Thread numbers that do not exist
    are passed over; with none that exists, nothing ever happens: pending as long as the generator is not exhausted."""
    return OnThreads(thread_mask(threads), generator(source))


class OnThreads(Generator, frozen=True):
    threads: int
    inner: Generator

    def next(self, context: Context) -> Answer:
        inner = self.inner
        answer = inner.next(context.only(self.threads))
        if answer is None:
            return None
        what, following = answer
        return what, self if following is inner else OnThreads(self.threads, following)

    def update(self, context: Context, event: Operation) -> Generator:
        if not self.threads >> context.thread_of(event.process) & 1:
            return self
        inner = self.inner.update(context.only(self.threads), event)
        return self if inner is self.inner else OnThreads(self.threads, inner)


def clients(source: Source, nemesis_source: Source = None, *, random: Random | None = None) -> Generator:
    """Only clients' threads do what the generator says. With a second generator: that one for the nemesis's thread
    beside it, whichever is sooner (`random` breaks ties)."""
    inner = generator(source)
    alone = Clients(inner, inner.listens)
    if nemesis_source is None:
        return alone
    return any_of(alone, nemesis(nemesis_source), random=random)


class Clients(Generator, frozen=True):
    inner: Generator
    listens: bool

    def next(self, context: Context) -> Answer:
        inner = self.inner
        processes = context.processes
        threads = (1 << len(processes) - 1) - 1
        free = context.free & threads
        if not free and context.threads & threads:
            # Nobody could take an invocation, and a free client makes an event. Whether `inner` is exhausted
            # becomes known then.
            return PENDING, self
        answer = inner.next(Context(context.time, free, context.threads & threads, processes, context.cursor))
        if answer is None:
            return None
        what, following = answer
        return what, self if following is inner else Clients(following, following.listens)

    def update(self, context: Context, event: Operation) -> Generator:
        if type(event.process) is not int:
            return self
        inner = self.inner
        following = inner.update(context.only((1 << len(context.processes) - 1) - 1), event)
        return self if following is inner else Clients(following, following.listens)


def nemesis(source: Source) -> Generator:
    """Only the nemesis's thread does what the generator says. It does one thing at a time; faults that shall overlap
    belong in the schedule instead."""
    return OnNemesis(generator(source))


class OnNemesis(Generator, frozen=True):
    inner: Generator

    def next(self, context: Context) -> Answer:
        answer = self.inner.next(context.only(1 << (len(context.processes) - 1)))
        if answer is None:
            return None
        what, following = answer
        return what, self if following is self.inner else OnNemesis(following)

    def update(self, context: Context, event: Operation) -> Generator:
        if isinstance(event.process, int):
            return self
        inner = self.inner.update(context.only(1 << (len(context.processes) - 1)), event)
        return self if inner is self.inner else OnNemesis(inner)


def reserve(*ranges: tuple[int, Source], default: Source = None, random: Random | None = None) -> Generator:
    """Dedicated threads: `reserve((5, a), (2, b), default=c)` gives the first five client threads to a, the next two
    to b, all others to c. Each hears only of its own threads' events. Ties are broken by the number of threads.
    Raises ValueError, when first asked, if there are fewer client threads than reserved."""
    for count, source in ranges:
        if count < 1:
            raise ValueError(f"{count} threads reserved for {source!r:.100}: it takes at least one")
    return Reserve(
        tuple(count for count, _ in ranges),
        (*(generator(source) for _, source in ranges), generator(default)),
        random,
        random.random() if random else 0.0,
    )


class Reserve(Generator, frozen=True):
    counts: tuple[int, ...]
    parts: tuple[Generator, ...]
    """One for each count, and the default."""
    random: Random | None
    draw: float

    def _masks(self, context: Context) -> list[int]:
        available = threads_in(context.client_threads)
        if sum(self.counts) > len(available):
            raise ValueError(
                f"{sum(self.counts)} client threads are reserved ({list(self.counts)}), but there are only "
                f"{len(available)}: reserve fewer, or raise the concurrency"
            )
        masks, start = [], 0
        for count in self.counts:
            masks.append(thread_mask(available[start : start + count]))
            start += count
        masks.append(context.threads & ~sum(masks))
        return masks

    def next(self, context: Context) -> Answer:
        masks = self._masks(context)
        parts = self.parts
        answers = [part.next(context.only(mask)) for part, mask in zip(parts, masks, strict=True)]
        soonest = pick_soonest(answers, [mask.bit_count() for mask in masks], self.draw)
        if soonest is None:
            return None
        position, what = soonest
        moved = after_question(parts, answers, position)
        draw = self.draw if position is None or self.random is None else self.random.random()
        if draw == self.draw and are_same(moved, parts):
            return what, self
        return what, Reserve(self.counts, moved, self.random, draw)

    def update(self, context: Context, event: Operation) -> Generator:
        thread = context.thread_of(event.process)
        for position, mask in enumerate(self._masks(context)):
            if mask >> thread & 1:
                part = self.parts[position]
                following = part.update(context.only(mask), event)
                if following is part:
                    return self
                parts = (*self.parts[:position], following, *self.parts[position + 1 :])
                return Reserve(self.counts, parts, self.random, self.draw)
        return self


def each_thread(source: Source) -> Generator:
    """A copy of the generator for each thread, unaware of the others: it sees one thread, and hears of its events
    only. Exhausted when all copies are. Combine with `clients` to leave out the nemesis's thread."""
    return Each(generator(source), (), False)


def each_process(source: Source) -> Generator:
    """As `each_thread`, but a process that takes the place of a crashed one begins with a fresh copy. While a process
    is busy its place is not exhausted, since it may yet crash."""
    return Each(generator(source), (), True)


class Each(Generator, frozen=True):
    original: Generator
    copies: tuple[tuple[int | str | None, Generator] | None, ...]
    """For each thread, the process it was made for and the generator, once it differs from the original."""
    by_process: bool

    def _copy(self, thread: int, context: Context) -> Generator:
        copy = self.copies[thread] if thread < len(self.copies) else None
        if copy is None or (self.by_process and copy[0] != context.processes[thread]):
            return self.original
        return copy[1]

    def _with(self, thread: int, copy: Generator, context: Context) -> Each:
        copies = self.copies
        if len(copies) < len(context.processes):
            copies += (None,) * (len(context.processes) - len(copies))
        entry = (context.processes[thread], copy)
        return Each(self.original, (*copies[:thread], entry, *copies[thread + 1 :]), self.by_process)

    def next(self, context: Context) -> Answer:
        ahead = context.free >> context.cursor << context.cursor
        following: Each = self
        wake: int | None = None
        alive = False
        for thread in (*threads_in(ahead), *threads_in(context.free ^ ahead)):
            copy = following._copy(thread, context)
            if type(copy) is Nothing:
                continue
            answer = copy.next(context.only(1 << thread))
            if answer is None:
                following = following._with(thread, NOTHING, context)
                continue
            alive = True
            what, rest = answer
            if rest is not copy:
                following = following._with(thread, rest, context)
            if type(what) is Invocation:
                return what, following
            wake = earlier(wake, what)  # type: ignore[arg-type]
        if alive:
            return PENDING if wake is None else Pending(wake), following
        for thread in threads_in(context.threads & ~context.free):
            if self.by_process or type(following._copy(thread, context)) is not Nothing:
                return PENDING, following
        return None

    def update(self, context: Context, event: Operation) -> Generator:
        thread = context.thread_of(event.process)
        if not context.threads >> thread & 1:
            return self
        if self.by_process and context.processes[thread] != event.process:
            return self  # The process has ended; its successor's copy has nothing to learn from it.
        copy = self._copy(thread, context)
        following = copy.update(context.only(1 << thread), event)
        return self if following is copy else self._with(thread, following, context)
