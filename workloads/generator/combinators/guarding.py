"""Watching a generator: its answers checked, its exceptions explained, its conversation told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from results.operation import INVOKE, Operation
from workloads.generator.core import (
    LOG,
    SLEEP,
    Answer,
    Context,
    Generator,
    GeneratorError,
    Invocation,
    Pending,
    Source,
    generator,
    threads_in,
)


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
