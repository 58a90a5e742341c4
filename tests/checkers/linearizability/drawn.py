"""Drawn histories of registers: plausible ones from a simulated register that lies now and then, and wild ones."""

from __future__ import annotations

import random
from typing import Any

from results.history import History, HistoryBuilder


def register_history(
    source: random.Random,
    *,
    operations: int,
    processes: int,
    values: int | None = 5,
    crash: float = 0.0,
    lie: float = 0.0,
    fail: float = 0.0,
    functions: tuple[str, ...] = ("read", "read", "write", "cas"),
    keys: int = 0,
) -> History:
    """A history that a real register could give, unless it lies.

    Each operation takes effect at a random moment inside its interval (a crashed one perhaps never). `values` bounds
    the values written; with None each is written once. A lying read answers some value of the past. With `keys`,
    values are `[key, value]`.
    """
    builder = HistoryBuilder()
    count = max(1, keys)
    state: list[Any] = [None] * count
    past: list[list[Any]] = [[None] for _ in range(count)]
    fresh = 0
    numbers = list(range(processes))
    next_number = processes
    busy: dict[int, dict[str, Any]] = {}
    started = 0

    def effect(work: dict[str, Any]) -> None:
        work["done"] = True
        key, f, argument = work["key"], work["f"], work["argument"]
        if f == "read":
            work["answer"] = source.choice(past[key]) if source.random() < lie else state[key]
        elif f == "write":
            state[key] = argument
            past[key].append(argument)
        elif state[key] == argument[0]:
            state[key] = argument[1]
            past[key].append(argument[1])
        else:
            work["failed"] = True

    def shape(work: dict[str, Any], value: Any) -> Any:
        return [work["key"], value] if keys else value

    while started < operations or busy:
        idle = [number for number in numbers if number not in busy]
        if idle and started < operations and (not busy or source.random() < 0.5):
            process = source.choice(idle)
            key = source.randrange(count)
            f = source.choice(functions)
            argument: Any = None
            if f != "read":
                fresh += 1
                new = fresh if values is None else source.randrange(values)
                guess = state[key] if source.random() < 0.7 else source.choice(past[key])
                argument = new if f == "write" else [guess, new]
            work = {"key": key, "f": f, "argument": argument, "done": False, "failed": False, "answer": None}
            builder.invoke(process, f, shape(work, argument))
            busy[process] = work
            started += 1
            continue
        process = source.choice(sorted(busy))
        work = busy[process]
        if not work["done"] and source.random() < 0.6:
            effect(work)
            continue
        if source.random() < crash:
            if not work["done"] and source.random() < 0.5:
                effect(work)
            builder.info(process, "timeout")
            numbers[numbers.index(process)] = next_number
            next_number += 1
        else:
            if not work["done"] and work["f"] != "read" and source.random() < fail:
                builder.fail(process, "refused")
                del busy[process]
                continue
            if not work["done"]:
                effect(work)
            if work["failed"]:
                builder.fail(process, "compare failed")
            elif work["f"] == "read":
                answer = shape(work, work["answer"])
                builder.event(process, "ok", "read", answer)
            else:
                builder.ok(process)
        del busy[process]
    return builder.done()
