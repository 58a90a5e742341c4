"""Many small problems instead of one big one: a generator for each key, one after the other or side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from results.operation import INVOKE, Operation
from workloads.generator.combinators.soonest import earlier
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
    thread_mask,
    threads_in,
)

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
            wake = earlier(wake, what)  # type: ignore[arg-type]
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
