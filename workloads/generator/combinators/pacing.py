"""When: until a time, so far apart, by turns of the clock; a pause, a word, an answer remembered."""

from __future__ import annotations

from random import Random

from results.operation import Operation
from workloads.generator.combinators.soonest import are_same
from workloads.generator.core import (
    LOG,
    NOTHING,
    SLEEP,
    Answer,
    Context,
    Generator,
    Invocation,
    Nothing,
    Pending,
    Source,
    generator,
)

NANOSECONDS = 1_000_000_000


def nanoseconds(seconds: float) -> int:
    """Seconds as whole nanoseconds. Raises ValueError for a negative duration."""
    if seconds < 0:
        raise ValueError(f"{seconds} s: a duration cannot be negative")
    return round(seconds * NANOSECONDS)


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
        return self if are_same(parts, self.parts) else CycleTimes(self.lengths, parts, self.start)


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
