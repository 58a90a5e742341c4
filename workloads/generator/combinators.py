"""Every way to build a generator from others: choose, restrict, count, pace, order, observe.

Each function takes anything that `core.generator` accepts. Durations are in seconds. Random streams are passed in. The
classes behind the functions are values.

Edge cases that many combinators share, so that they are said once:

- `Pending` passes through, with the earliest time at which asking again is worth it.
- An invocation is *late* if it should have started before now. Where several generators have something to do, the one
  that should have started first goes first.
- The number of threads is known only from the context, so an arrangement of threads that does not fit is an error of
  the first `next`, a ValueError.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from results.operation import INVOKE, OK, Operation
from workloads.generator.core import (
    LOG,
    NOTHING,
    PENDING,
    SLEEP,
    Answer,
    Context,
    Generator,
    Invocation,
    Nothing,
    Pending,
    Sequential,
    Source,
    generator,
    thread_mask,
    threads_in,
)

Random = random_module.Random

NANOSECONDS = 1_000_000_000


class GeneratorError(Exception):
    """A generator broke its contract, or raised; the text says which, when, and in which context."""


def nanoseconds(seconds: float) -> int:
    """Seconds as whole nanoseconds. Raises ValueError for a negative duration."""
    if seconds < 0:
        raise ValueError(f"{seconds} s: a duration cannot be negative")
    return round(seconds * NANOSECONDS)


def operation(f: str, value: Any = None, process: int | str | None = None) -> Invocation:
    """A template: this function with this value, by whichever process is free (or by the one named), now."""
    return Invocation(f, value, process)


# Watching and guarding


def validate(source: Source) -> Generator:
    """Checks every answer; raises GeneratorError with all that is wrong with it: its shape, a process that is not
    free, a missing time, a negative sleep."""
    inner = generator(source)
    return Validate(inner, inner.listens)


class Validate(Generator, frozen=True):
    inner: Generator
    listens: bool

    def next(self, context: Context) -> Answer:
        inner = self.inner
        answer = inner.next(context)
        if answer is None:
            return None
        if type(answer) is tuple and len(answer) == 2:
            what, following = answer
            # The common case in one condition; `answer_problems` finds the words when it does not hold.
            if (
                type(what) is Invocation
                and what.type == INVOKE
                and type(what.time) is int
                and what.time <= context.time
                and type(what.f) is str
                and what.process is not None
                and context.is_free(what.process)
                and isinstance(following, Generator)
            ):
                return what, self if following is inner else Validate(following, following.listens)
            problems = answer_problems(what, following, context)
            if not problems:
                return what, self if following is inner else Validate(following, following.listens)
        else:
            problems = ["it must be None or a pair of an Invocation or Pending and a Generator"]
        raise GeneratorError(
            f"a generator gave an answer that cannot be carried out: {'; '.join(problems)}\n"
            f"  answer: {answer!r:.2000}\n  generator: {inner!r:.2000}\n  context: {describe(context)}"
        )

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Validate(inner, inner.listens)


def answer_problems(what: Any, following: Any, context: Context) -> list[str]:
    """Everything that is wrong with an answer of `next`, in words."""
    problems = []
    if not isinstance(following, Generator):
        problems.append(f"what follows must be a Generator, got {following!r:.200}")
    if isinstance(what, Pending):
        return problems
    if not isinstance(what, Invocation):
        problems.append(f"it must be an Invocation or Pending, got {what!r:.200}")
        return problems
    if what.type not in (INVOKE, SLEEP, LOG):
        problems.append(f"type {what.type!r} must be one of {INVOKE}, {SLEEP}, {LOG}")
    if not isinstance(what.f, str):
        problems.append(f"f {what.f!r} must be text")
    if not isinstance(what.time, int):
        problems.append(f"time {what.time!r} must be a number of nanoseconds (use `fill`)")
    elif what.time > context.time:
        problems.append(f"time {what.time} lies ahead: answer Pending({what.time}) instead")
    if what.type == SLEEP and not (isinstance(what.value, int) and what.value >= 0):
        problems.append(f"a sleep lasts a number of nanoseconds >= 0, got {what.value!r}")
    if what.process is None:
        problems.append("it has no process (use `fill`)")
    elif what.process not in context.process_set():
        problems.append(f"process {what.process!r} is none of {sorted(context.process_set(), key=str)}")
    elif not context.is_free(what.process):
        problems.append(f"process {what.process!r} is busy")
    return problems


def describe(context: Context) -> str:
    """The context in words."""
    return (
        f"time {context.time} ns, free threads {threads_in(context.free)} of {threads_in(context.threads)}, "
        f"processes {list(context.processes)}"
    )


def friendly_exceptions(source: Source) -> Generator:
    """Whatever the generator raises becomes a GeneratorError that shows the generator and the context (the cause is
    kept). A GeneratorError passes unchanged."""
    return FriendlyExceptions(generator(source))


class FriendlyExceptions(Generator, frozen=True):
    inner: Generator

    def next(self, context: Context) -> Answer:
        inner = self.inner
        try:
            answer = inner.next(context)
        except GeneratorError:
            raise
        except Exception as error:
            raise GeneratorError(
                f"a generator raised {type(error).__name__}: {error}\n  when asked what comes next\n"
                f"  generator: {inner!r:.2000}\n  context: {describe(context)}"
            ) from error
        if answer is None:
            return None
        what, following = answer
        return what, self if following is inner else FriendlyExceptions(following)

    def update(self, context: Context, event: Operation) -> Generator:
        try:
            inner = self.inner.update(context, event)
        except GeneratorError:
            raise
        except Exception as error:
            raise GeneratorError(
                f"a generator raised {type(error).__name__}: {error}\n  when told of {event!r:.500}\n"
                f"  generator: {self.inner!r:.2000}\n  context: {describe(context)}"
            ) from error
        return self if inner is self.inner else FriendlyExceptions(inner)


def trace(name: str, source: Source, sink: Callable[[str], None]) -> Generator:
    """Tells `sink` in one line of every question and every event; for finding out why a generator does what it does.
    Questions whose answer was thrown away by whoever asked are told too."""
    return Trace(name, sink, generator(source))


class Trace(Generator, frozen=True):
    name: str
    sink: Callable[[str], None]
    inner: Generator

    def next(self, context: Context) -> Answer:
        answer = self.inner.next(context)
        if answer is None:
            self.sink(f"{self.name}: next at {context.time} -> exhausted")
            return None
        what, following = answer
        self.sink(f"{self.name}: next at {context.time} -> {what!r}")
        return what, Trace(self.name, self.sink, following)

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner.update(context, event)
        self.sink(
            f"{self.name}: update at {context.time} with {event.type} {event.f} of {event.process} -> "
            f"{'unchanged' if inner is self.inner else 'changed'}"
        )
        return self if inner is self.inner else Trace(self.name, self.sink, inner)


# Changing what others say


def mapped(
    function: Callable[[Invocation, Context], Invocation], source: Source, only_invocations: bool = True
) -> Generator:
    """Every invocation passes through `function(invocation, context)`; sleeps and logs too if so asked. Events go to
    the inner generator as they are in the history, that is, as the function made them."""
    return Mapped(function, only_invocations, generator(source))


class Mapped(Generator, frozen=True):
    function: Callable[[Invocation, Context], Invocation]
    only_invocations: bool
    inner: Generator

    def next(self, context: Context) -> Answer:
        inner = self.inner
        answer = inner.next(context)
        if answer is None:
            return None
        what, following = answer
        if type(what) is Invocation and (what.type == INVOKE or not self.only_invocations):
            what = self.function(what, context)
        return what, self if following is inner else Mapped(self.function, self.only_invocations, following)

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Mapped(self.function, self.only_invocations, inner)


def f_map(names: dict[str, str], source: Source) -> Generator:
    """Renames functions: f becomes `names[f]`, or stays what it is where `names` does not know it."""
    renamed = dict(names)

    def rename(invocation: Invocation, context: Context) -> Invocation:
        return msgspec.structs.replace(invocation, f=renamed.get(invocation.f, invocation.f))

    return mapped(rename, source)


def filtered(predicate: Callable[[Invocation], bool], source: Source) -> Generator:
    """Drops the invocations for which the predicate is false, and asks on. A generator without end of which nothing
    passes would be asked forever: after 100,000 refusals in a row a GeneratorError says so."""
    return Filtered(predicate, generator(source))


class Filtered(Generator, frozen=True):
    predicate: Callable[[Invocation], bool]
    inner: Generator

    def next(self, context: Context) -> Answer:
        inner = self.inner
        for _ in range(100_000):
            answer = inner.next(context)
            if answer is None:
                return None
            what, following = answer
            if type(what) is not Invocation or self.predicate(what):
                return what, self if following is self.inner else Filtered(self.predicate, following)
            inner = following
        raise GeneratorError(
            f"100000 invocations in a row did not pass the predicate {self.predicate!r}, the last was {what!r}"
        )

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Filtered(self.predicate, inner)


def ignore_updates(source: Source) -> Generator:
    """The inner generator hears of no events."""
    return IgnoreUpdates(generator(source))


class IgnoreUpdates(Generator, frozen=True):
    inner: Generator

    def next(self, context: Context) -> Answer:
        answer = self.inner.next(context)
        if answer is None:
            return None
        what, following = answer
        return what, self if following is self.inner else IgnoreUpdates(following)

    @property
    def listens(self) -> bool:
        return False


def on_update(function: Callable[[Generator, Context, Operation], Source], source: Source) -> Generator:
    """For every event, the generator becomes `function(generator, context, event)`. The function decides whether the
    generator hears of the event: it may answer `generator.update(context, event)`, another one, or None to end."""
    return OnUpdate(function, generator(source))


class OnUpdate(Generator, frozen=True):
    function: Callable[[Generator, Context, Operation], Source]
    inner: Generator

    def next(self, context: Context) -> Answer:
        answer = self.inner.next(context)
        if answer is None:
            return None
        what, following = answer
        return what, self if following is self.inner else OnUpdate(self.function, following)

    def update(self, context: Context, event: Operation) -> Generator:
        inner = generator(self.function(self.inner, context, event))
        return self if inner is self.inner else OnUpdate(self.function, inner)


# Restricting to threads


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


# Choosing


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
        following = _moved(parts, answers, position)
        draw = self.draw if position is None or self.random is None else self.random.random()
        if draw == self.draw and _same(following, parts):
            return what, self
        return what, self._with(following, draw)

    def update(self, context: Context, event: Operation) -> Generator:
        parts = tuple([part.update(context, event) for part in self.parts])
        return self if _same(parts, self.parts) else self._with(parts, self.draw)

    def _with(self, parts: tuple[Generator, ...], draw: float) -> AnyOf:
        return AnyOf(parts, self.random, self.weights, draw, self.ends_with_first)


def _same(left: Sequence[object], right: Sequence[object]) -> bool:
    """Whether these are the very same objects; comparing the values would cost too much."""
    return all(a is b for a, b in zip(left, right, strict=True))


def _moved(
    parts: tuple[Generator, ...], answers: Sequence[Answer], position: int | None
) -> tuple[Generator, ...]:
    """The parts after a question whose answer comes from `position`: that one goes on, and so do the pending ones (a
    clock may have started at the first question); invocations of others are thrown away; the exhausted stay so."""
    return tuple(
        [
            NOTHING
            if answer is None
            else answer[1]
            if index == position or type(answer[0]) is Pending
            else part
            for index, (part, answer) in enumerate(zip(parts, answers, strict=True))
        ]
    )


def pick_soonest(
    answers: Sequence[Answer], weights: Sequence[float] | None, draw: float
) -> tuple[int | None, Invocation | Pending] | None:
    """Which of several answers to give: `(position, invocation)`, or `(None, pending)`; None if all are exhausted.

    The invocation that should have started first wins; among equals `draw`, in [0, 1), decides by weight.
    """
    best_time: int | None = None
    ties: list[int] = []
    wake: int | None = None
    alive = False
    for position, answer in enumerate(answers):
        if answer is None:
            continue
        alive = True
        what = answer[0]
        if type(what) is Pending:
            wake = _earlier(wake, what)
            continue
        time: int = what.time  # type: ignore[union-attr, assignment]
        if best_time is None or time < best_time:
            best_time, ties = time, [position]
        elif time == best_time:
            ties.append(position)
    if not alive:
        return None
    if best_time is None:
        return None, PENDING if wake is None else Pending(wake)
    chosen = ties[0]
    if len(ties) > 1:
        shares = [1.0 if weights is None else weights[position] for position in ties]
        left = draw * sum(shares)
        for position, share in zip(ties, shares, strict=True):
            chosen = position
            left -= share
            if left < 0:
                break
    answer = answers[chosen]
    assert answer is not None
    return chosen, answer[0]


def _earlier(wake: int | None, pending: Pending) -> int | None:
    """The earlier of two times to wake, where None is never."""
    other = pending.wake_ns
    return wake if other is None else other if wake is None else min(wake, other)


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
        moved = _moved(parts, answers, None)
        if _same(moved, parts):
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
        if _same(parts, self.parts):
            return self
        return Mix(parts, self.random, self.weights, self.chosen, _any_listens(parts))


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
        moved = _moved(parts, answers, position)
        draw = self.draw if position is None or self.random is None else self.random.random()
        if draw == self.draw and _same(moved, parts):
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
            wake = _earlier(wake, what)  # type: ignore[arg-type]
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


# Counting


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


# Pacing


def time_limit(seconds: float, source: Source) -> Generator:
    """Exhausted `seconds` after it was first asked; what should have started before but did not is never started.

    Until the cutoff comes, a generator whose next invocation lies beyond it is *pending*, not exhausted: it may have
    something earlier after the next event (all clients are busy now, say, and only the nemesis has a plan, far ahead).
    """
    inner = generator(source)
    return TimeLimit(nanoseconds(seconds), None, inner, inner.listens)


class TimeLimit(Generator, frozen=True):
    limit_ns: int
    cutoff: int | None
    """None until first asked."""
    inner: Generator
    listens: bool

    def next(self, context: Context) -> Answer:
        cutoff = self.cutoff
        now = context.time
        if cutoff is None:
            cutoff = now + self.limit_ns
        if now >= cutoff:
            return None
        inner = self.inner
        answer = inner.next(context)
        if answer is None:
            return None
        what, following = answer
        if type(what) is Pending and (what.wake_ns is None or what.wake_ns > cutoff):
            what = Pending(cutoff)
        if following is inner and cutoff == self.cutoff:
            return what, self
        return what, TimeLimit(self.limit_ns, cutoff, following, following.listens)

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner
        following = inner.update(context, event)
        if following is inner:
            return self
        return TimeLimit(self.limit_ns, self.cutoff, following, following.listens)


def stagger(seconds: float, source: Source, *, random: Random, catch_up: bool = True) -> Generator:
    """Invocations on average `seconds` apart, of all processes together: the gaps are uniform in 0 .. 2 * seconds.

    The plan goes on whatever the clients do (open loop). If all are busy when an invocation should start, it starts
    late, with the `time` at which it should have; so a stall shows in the history instead of hiding the operations
    that it kept from starting (coordinated omission). `catch_up=False` lets the plan wait for the clients instead.
    The generator is asked only when an invocation is due, so that it learns of its end only then.
    """
    inner = generator(source)
    return Paced(nanoseconds(seconds), random, catch_up, None, inner, inner.listens)


def delay(seconds: float, source: Source) -> Generator:
    """Invocations exactly `seconds` apart, of all processes together; one that is late does not move the others. Else
    as `stagger`."""
    inner = generator(source)
    return Paced(nanoseconds(seconds), None, True, None, inner, inner.listens)


class Paced(Generator, frozen=True):
    interval_ns: int
    random: Random | None
    """Draws the gaps; without it they are all `interval_ns`."""
    catch_up: bool
    due: int | None
    """When the next invocation should start; None: when first asked."""
    inner: Generator
    listens: bool

    def next(self, context: Context) -> Answer:
        now = context.time
        due = self.due
        if due is None:
            due = now
        elif due > now:
            return Pending(due), self
        inner = self.inner
        answer = inner.next(context)
        if answer is None:
            return None
        what, following = answer
        random = self.random
        if type(what) is Invocation:
            time: int = what.time  # type: ignore[assignment]
            if not self.catch_up or due < time < now:
                due = time
            gap = self.interval_ns if random is None else int(random.random() * (self.interval_ns * 2))
            return (
                Invocation(what.f, what.value, what.process, due, what.type),
                Paced(self.interval_ns, random, self.catch_up, due + gap, following, following.listens),
            )
        if following is inner and due == self.due:
            return what, self
        return what, Paced(self.interval_ns, random, self.catch_up, due, following, following.listens)

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner
        following = inner.update(context, event)
        if following is inner:
            return self
        return Paced(self.interval_ns, self.random, self.catch_up, self.due, following, following.listens)


def sleep(seconds: float) -> Generator:
    """One process does nothing for so long. Not in the history; no event tells of it."""
    return generator(Invocation("sleep", nanoseconds(seconds), type=SLEEP))


def log(message: str) -> Generator:
    """Tells the user something when its turn comes. Not in the history; needs a free process, but takes no time."""
    return generator(Invocation("log", message, type=LOG))


def cycle_times(*turns: tuple[float, Source]) -> Generator:
    """Rotates by the clock: `cycle_times((5, a), (10, b))` is a for five seconds, b for ten, a for five, from when it
    is first asked. Each goes on where it was; all hear of all events. A turn of an exhausted generator is
    silence; exhausted when all are."""
    if not turns or any(seconds <= 0 for seconds, _ in turns):
        raise ValueError(f"turns of {[seconds for seconds, _ in turns]} s: there must be some, each above 0")
    return CycleTimes(
        tuple(nanoseconds(seconds) for seconds, _ in turns),
        tuple(generator(source) for _, source in turns),
        None,
    )


class CycleTimes(Generator, frozen=True):
    lengths: tuple[int, ...]
    parts: tuple[Generator, ...]
    start: int | None

    def next(self, context: Context) -> Answer:
        now = context.time
        start = now if self.start is None else self.start
        at = (now - start) % sum(self.lengths)
        position = 0
        while at >= self.lengths[position]:
            at -= self.lengths[position]
            position += 1
        turn_end = now + self.lengths[position] - at
        answer = self.parts[position].next(context)
        if answer is None:
            parts = (*self.parts[:position], NOTHING, *self.parts[position + 1 :])
            if all(type(part) is Nothing for part in parts):
                return None
            return Pending(turn_end), CycleTimes(self.lengths, parts, start)
        what, following = answer
        if type(what) is Pending and (what.wake_ns is None or what.wake_ns > turn_end):
            what = Pending(turn_end)
        parts = (*self.parts[:position], following, *self.parts[position + 1 :])
        return what, CycleTimes(self.lengths, parts, start)

    def update(self, context: Context, event: Operation) -> Generator:
        parts = tuple([part.update(context, event) for part in self.parts])
        return self if _same(parts, self.parts) else CycleTimes(self.lengths, parts, self.start)


def cache(seconds: float, source: Source) -> Generator:
    """Remembers the answer of a generator that is expensive to ask, until it is used, an event changes the generator,
    its process is no longer free, or `seconds` have passed. Equal to the generator but for that delay."""
    return Cache(nanoseconds(seconds), generator(source), [])


class Cache(Generator, frozen=True):
    keep_ns: int
    inner: Generator
    memory: list[tuple[int, Answer]]
    """At most one answer with the time at which it was given. The only state outside the values: it is never seen,
    except by how old an answer may be."""

    def next(self, context: Context) -> Answer:
        memory = self.memory
        if memory:
            asked, answer = memory[0]
            if asked <= context.time < asked + self.keep_ns and self._may_use(answer, context):
                return self._wrap(answer)
        answer = self.inner.next(context)
        memory[:] = [(context.time, answer)]
        return self._wrap(answer)

    @staticmethod
    def _may_use(answer: Answer, context: Context) -> bool:
        if answer is None:
            return True
        what = answer[0]
        if isinstance(what, Pending):
            return what.wake_ns is None or context.time < what.wake_ns
        return what.process is not None and context.is_free(what.process)

    def _wrap(self, answer: Answer) -> Answer:
        if answer is None:
            return None
        what, following = answer
        if following is self.inner and type(what) is Pending:
            return what, self
        return what, Cache(self.keep_ns, following, [])

    def update(self, context: Context, event: Operation) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Cache(self.keep_ns, inner, [])


# Bounding


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


# Ordering


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
    return UntilOk(0, generator(source))


class UntilOk(Generator, frozen=True):
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
        return what, UntilOk(in_flight, following)

    def update(self, context: Context, event: Operation) -> Generator:
        in_flight = self.in_flight
        thread = context.thread_of(event.process)
        if event.type != INVOKE and in_flight >> thread & 1:
            if event.type == OK:
                return NOTHING
            in_flight &= ~(1 << thread)
        inner = self.inner.update(context, event)
        if inner is self.inner and in_flight == self.in_flight:
            return self
        return UntilOk(in_flight, inner)


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


# Independent keys

Keys = Sequence[Any] | Callable[[int], Any]
"""The keys to work on: a sequence, or a function from 0, 1, 2 ... to a key; None after the last."""


def key_at(keys: Keys, position: int) -> Any | None:
    """The key at a position; None if there is none."""
    if callable(keys):
        return keys(position)
    return keys[position] if position < len(keys) else None


def sequential_keys(keys: Keys, make: Callable[[Any], Source]) -> Generator:
    """Works on one key after the other: `make(key)` is the generator of a key, and the value v of its invocations
    becomes `[key, v]`. No barrier between the keys."""
    return SequentialKeys(keys, make, 0, None)


class SequentialKeys(Generator, frozen=True):
    keys: Keys
    make: Callable[[Any], Source]
    position: int
    lane: Generator | None
    """Works on the key at `position`; None if it was not begun."""

    def next(self, context: Context) -> Answer:
        position, lane = self.position, self.lane
        while True:
            key = key_at(self.keys, position)
            if key is None:
                return None
            if lane is None:
                lane = generator(self.make(key))
            answer = lane.next(context)
            if answer is not None:
                what, following = answer
                return keyed(key, what), SequentialKeys(self.keys, self.make, position, following)
            position, lane = position + 1, None

    def update(self, context: Context, event: Operation) -> Generator:
        if self.lane is None:
            return self
        unkeyed = without_key(key_at(self.keys, self.position), event)
        if unkeyed is None:
            return self
        lane = self.lane.update(context, unkeyed)
        return self if lane is self.lane else SequentialKeys(self.keys, self.make, self.position, lane)


def keyed(key: Any, what: Invocation | Pending) -> Invocation | Pending:
    """The invocation for this key: its value v becomes `[key, v]`. Pending, sleeps and logs stay what they are."""
    if type(what) is Invocation and what.type == INVOKE:
        return Invocation(what.f, [key, what.value], what.process, what.time, what.type)
    return what


def without_key(key: Any, event: Operation) -> Operation | None:
    """The event as the generator of this key knows it; None if it is about another key."""
    value = event.value
    if not (isinstance(value, list | tuple) and len(value) == 2 and value[0] == key):
        return None
    return msgspec.structs.replace(event, value=value[1])


def concurrent_keys(group: int, keys: Keys, make: Callable[[Any], Source]) -> Generator:
    """Works on several keys at once: the client threads form groups of `group`, each works on one key until
    `make(key)` is exhausted, then takes the next. Values become `[key, v]`. A group's generator sees only its threads,
    and hears only of its key. Raises ValueError, when first asked, if the client threads do not divide into groups."""
    if group < 1:
        raise ValueError(f"groups of {group} threads: there must be at least one in each")
    return ConcurrentKeys(group, keys, make, 0, ())


class Lane(msgspec.Struct, frozen=True):
    """What a group of threads is working on; no key means that there are no more for it."""

    key: Any
    plan: Generator


class ConcurrentKeys(Generator, frozen=True):
    group: int
    keys: Keys
    make: Callable[[Any], Source]
    position: int
    """Of the next key that nobody works on."""
    lanes: tuple[Lane, ...]
    """One for each group; empty until first asked."""

    def _masks(self, context: Context) -> list[int]:
        threads = threads_in(context.client_threads)
        if not threads or len(threads) % self.group:
            raise ValueError(
                f"{len(threads)} client threads do not divide into groups of {self.group}: choose a concurrency "
                f"that is a multiple of {self.group}"
            )
        return [
            thread_mask(threads[start : start + self.group]) for start in range(0, len(threads), self.group)
        ]

    def next(self, context: Context) -> Answer:
        masks = self._masks(context)
        position = self.position
        lanes = list(self.lanes)
        while len(lanes) < len(masks):
            lane, position = self._begin(position)
            lanes.append(lane)
        cursor = min(context.cursor, len(context.processes) - 2) // self.group % len(masks)
        wake: int | None = None
        alive = False
        for step in range(len(masks)):
            number = (cursor + step) % len(masks)
            inside = context.only(masks[number])
            answer = lanes[number].plan.next(inside)
            while answer is None and lanes[number].key is not None:
                lanes[number], position = self._begin(position)
                answer = lanes[number].plan.next(inside)
            if answer is None:
                continue
            alive = True
            what, following = answer
            key = lanes[number].key
            lanes[number] = Lane(key, following)
            if type(what) is Invocation:
                after = ConcurrentKeys(self.group, self.keys, self.make, position, tuple(lanes))
                return keyed(key, what), after
            wake = _earlier(wake, what)  # type: ignore[arg-type]
        if not alive:
            return None
        after = ConcurrentKeys(self.group, self.keys, self.make, position, tuple(lanes))
        return PENDING if wake is None else Pending(wake), after

    def _begin(self, position: int) -> tuple[Lane, int]:
        key = key_at(self.keys, position)
        if key is None:
            return Lane(None, NOTHING), position
        return Lane(key, generator(self.make(key))), position + 1

    def update(self, context: Context, event: Operation) -> Generator:
        if not isinstance(event.process, int):
            return self
        thread = context.thread_of(event.process)
        for number, (lane, mask) in enumerate(zip(self.lanes, self._masks(context), strict=False)):
            if mask >> thread & 1:
                unkeyed = without_key(lane.key, event)
                if unkeyed is None:
                    return self  # About a key that this group has left.
                plan = lane.plan.update(context.only(mask), unkeyed)
                if plan is lane.plan:
                    return self
                lanes = (*self.lanes[:number], Lane(lane.key, plan), *self.lanes[number + 1 :])
                return ConcurrentKeys(self.group, self.keys, self.make, self.position, lanes)
        return self
