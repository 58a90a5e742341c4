"""Changing what a generator says and hears: mapped, renamed, filtered, deaf, replaced at an event."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from results.operation import INVOKE, Operation
from workloads.generator.core import Answer, Context, Generator, GeneratorError, Invocation, Source, generator


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
