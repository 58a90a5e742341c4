"""Drawn histories of any object: what a real one could give, unless it lies now and then."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from results.history import History, HistoryBuilder

NOTHING = object()
"""The answer of an operation that fails."""


class Thing:
    """A real object, played sequentially."""

    def __init__(self, source: random.Random, processes: int, repeat: float = 0.0) -> None:
        self.source = source
        self.fresh = 0
        self.repeat = repeat
        """How often an element or text is used again."""
        self.answers: list[Any] = [None]
        """What lies are made of."""

    def new(self) -> int:
        if self.fresh and self.source.random() < self.repeat:
            return self.source.randint(1, self.fresh)
        self.fresh += 1
        return self.fresh

    def draw(self, process: int) -> tuple[str, Any]:
        raise NotImplementedError

    def play(self, process: int, f: str, asked: Any) -> Any:
        raise NotImplementedError


class Items(Thing):
    puts, takes = "enqueue", "dequeue"

    def __init__(self, *more: Any) -> None:
        super().__init__(*more)
        self.items: list[Any] = []
        self.answers = [1, 2]

    def draw(self, process: int) -> tuple[str, Any]:
        return (self.puts, self.new()) if self.source.random() < 0.55 else (self.takes, None)

    def play(self, process: int, f: str, asked: Any) -> Any:
        if f == self.puts:
            self.items.append(asked)
            self.answers.append(asked)
            return asked
        return self.items.pop(self.place()) if self.items else NOTHING

    def place(self) -> int:
        return 0


class BagThing(Items):
    def place(self) -> int:
        return self.source.randrange(len(self.items))


class StackThing(Items):
    puts, takes = "push", "pop"

    def place(self) -> int:
        return -1


class PriorityThing(Items):
    puts, takes = "insert", "delete-max"

    def draw(self, process: int) -> tuple[str, Any]:
        f, asked = super().draw(process)
        if asked is not None and not self.repeat:
            asked = asked * 7919 % 1009  # Unique, and in no order.
        return f, asked

    def place(self) -> int:
        return self.items.index(max(self.items))


class SetThing(Thing):
    def __init__(self, *more: Any) -> None:
        super().__init__(*more)
        self.items: set[int] = set()

    def draw(self, process: int) -> tuple[str, Any]:
        return ("add", self.new()) if self.source.random() < 0.6 else ("read", None)

    def play(self, process: int, f: str, asked: Any) -> Any:
        if f == "add":
            self.items.add(asked)
            return asked
        answer = list(self.items)
        self.answers.append(answer)
        return answer


class CounterThing(Thing):
    number = 0
    choices = (1,)

    def __init__(self, *more: Any) -> None:
        super().__init__(*more)
        self.answers = [0]  # Nothing is no answer of a counter, not even a wrong one: it is not understood.

    def draw(self, process: int) -> tuple[str, Any]:
        return ("add", self.source.choice(self.choices)) if self.source.random() < 0.6 else ("read", None)

    def play(self, process: int, f: str, asked: Any) -> Any:
        if f == "add":
            self.number += asked
            self.answers.append(self.number)
            return asked
        return self.number


class MixedCounterThing(CounterThing):
    choices = (1, 2, -1)


class MapThing(Thing):
    text = ""

    def draw(self, process: int) -> tuple[str, Any]:
        what = self.source.random()
        if what < 0.4:
            return "get", None
        return ("append" if what < 0.85 else "put"), f"<{self.new()}>"

    def play(self, process: int, f: str, asked: Any) -> Any:
        if f == "get":
            return self.text
        self.text = asked if f == "put" else self.text + asked
        self.answers.append(self.text)
        return asked


class LockThing(Thing):
    holder: int | None = None
    token = 0
    fenced = False

    def draw(self, process: int) -> tuple[str, Any]:
        if self.holder == process:
            return "release", self.token if self.fenced else None
        return "acquire", None

    def play(self, process: int, f: str, asked: Any) -> Any:
        if f == "release":
            if self.holder != process:
                return NOTHING
            self.holder = None
            return asked
        if self.holder is not None and self.source.random() < 0.97:
            return NOTHING
        self.holder = process
        self.token += self.source.randint(1, 2)
        self.answers.append(self.token)
        return self.token if self.fenced else None


class FencedThing(LockThing):
    fenced = True


class SemaphoreThing(Thing):
    """Three permits. Processes give back what they took, one or two at once, or now and then what they never had."""

    def __init__(self, *more: Any) -> None:
        super().__init__(*more)
        self.held: dict[int, int] = {}

    def draw(self, process: int) -> tuple[str, Any]:
        held = self.held.get(process, 0)
        if held > 0 and self.source.random() < 0.7:
            return "release", self.source.randint(1, held)
        if self.source.random() < 0.02:
            return "release", 1
        return "acquire", self.source.choice([None, 1, 2])

    def play(self, process: int, f: str, asked: Any) -> Any:
        number = asked or 1
        if f == "release":
            self.held[process] = self.held.get(process, 0) - number
            return asked
        if sum(self.held.values()) + number > 3 and self.source.random() < 0.8:
            return NOTHING
        self.held[process] = self.held.get(process, 0) + number
        return asked


THINGS: dict[str, Callable[..., Thing]] = {
    "queue": Items,
    "unordered-queue": BagThing,
    "stack": StackThing,
    "priority-queue": PriorityThing,
    "set": SetThing,
    "counter": CounterThing,
    "mixed-counter": MixedCounterThing,
    "kv": MapThing,
    "owned-mutex": LockThing,
    "fenced-lock": FencedThing,
    "semaphore": SemaphoreThing,
}
ANSWERING = {"dequeue", "pop", "delete-max", "read", "get", "acquire"}


def object_history(
    kind: str,
    source: random.Random,
    *,
    operations: int,
    processes: int,
    crash: float = 0.0,
    lie: float = 0.0,
    repeat: float = 0.0,
) -> History:
    """A history of one object of a kind in `THINGS`; answers are wrong now and then if it lies."""
    thing = THINGS[kind](source, processes, repeat)
    builder = HistoryBuilder()
    numbers = list(range(processes))
    next_number = processes
    busy: dict[int, list[Any]] = {}
    started = 0
    while started < operations or busy:
        idle = [number for number in numbers if number not in busy]
        if idle and started < operations and (not busy or source.random() < 0.5):
            process = source.choice(idle)
            f, asked = thing.draw(process)
            builder.invoke(process, f, asked)
            busy[process] = [f, asked, False, None]
            started += 1
            continue
        process = source.choice(sorted(busy))
        work = busy[process]
        if not work[2] and source.random() < 0.7:
            work[2], work[3] = True, thing.play(process, work[0], work[1])
            continue
        if source.random() < crash:
            builder.info(process, "timeout")
            numbers[numbers.index(process)] = next_number
            next_number += 1
            del busy[process]
            continue
        if not work[2]:
            work[3] = thing.play(process, work[0], work[1])
        answer = work[3]
        if work[0] in ANSWERING and source.random() < lie:
            answer = source.choice(thing.answers)
        if answer is NOTHING:
            builder.fail(process, "nothing there")
        else:
            builder.event(process, "ok", work[0], answer)
        del busy[process]
    return builder.done()
