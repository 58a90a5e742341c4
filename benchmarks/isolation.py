"""Time and memory of the isolation checkers on a million transactions, from columns, on one core.

The histories come from a simulated store, by a seed: transactions of 1 to 4 micro-operations, half of them reads, on
10 hot keys that are replaced after 32 appends and a few more reads, by 10 clients that overlap. Each transaction is
invoked, takes its snapshot, commits and completes in steps of its own; who makes the next step is drawn.

    python -m benchmarks.isolation [--transactions N] [--runs R] [--interpreted] [--json]
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from random import Random
from typing import Any

SERIALIZABLE = "serializable"
SNAPSHOT = "snapshot"


@dataclass
class _Key:
    """One list or register in the store: what was written, and after how many commits."""

    number: int
    values: list[int] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    promised: int = 0
    """Writes that were begun."""
    last_reads: int = 12
    """Reads that a full key still sees."""


def columns(
    count: int,
    level: str,
    *,
    registers: bool = False,
    seed: int = 1,
    clients: int = 10,
    hot: int = 10,
    most: int = 32,
) -> Any:
    """Transactions of a store that is serializable, or snapshot isolated with the first committer winning."""
    import numpy as np

    from results.transactions import APPEND, FOREVER, READ, WRITE, Transactions

    random = Random(seed)
    draw = random.random
    keys = [_Key(number) for number in range(hot)]
    next_key, next_value = hot, 0
    commits = 0
    event = 0
    process: list[int] = []
    start: list[int] = []
    end: list[int] = []
    outcome: list[int] = []
    plans: list[list[Any]] = []
    answers: list[list[Any]] = []
    state: list[tuple[int, int, int]] = [(0, -1, 0)] * clients
    while len(start) < count or any(step for step, _, _ in state):
        client = int(draw() * clients)
        step, number, snapshot = state[client]
        if step == 0:
            if len(start) >= count:
                continue
            plan = []
            for _ in range(1 + int(draw() * 4)):
                place = int(draw() * hot)
                key = keys[place]
                is_read = draw() < 0.5
                if key.promised >= most:
                    is_read = True
                    key.last_reads -= 1
                if is_read:
                    plan.append((READ, key, -1))
                else:
                    key.promised += 1
                    plan.append(
                        (WRITE if registers else APPEND, key, next_value if registers else key.promised)
                    )
                    next_value += 1
                if key.last_reads <= 0:
                    keys[place] = _Key(next_key)
                    next_key += 1
            state[client] = (1, len(start), 0)
            process.append(client)
            start.append(event)
            end.append(FOREVER)
            outcome.append(3)
            plans.append(plan)
            answers.append([])
            event += 1
        elif step == 1:
            state[client] = (2, number, commits)
        elif step == 2:
            if level == SERIALIZABLE:
                snapshot = commits
            plan, failed = plans[number], False
            own: dict[int, list[int]] = {}
            answer: list[Any] = []
            for kind, key, value in plan:
                mine = own.get(key.number)
                if kind == READ:
                    seen = key.values[: bisect_right(key.commits, snapshot)]
                    if mine:
                        seen = seen + mine
                    answer.append(seen[-1:] if registers else seen)
                else:
                    answer.append(None)
                    own.setdefault(key.number, []).append(value)
                    failed = failed or bool(key.commits and key.commits[-1] > snapshot)
            if not failed:
                commits += 1
                for kind, key, value in plan:
                    if kind != READ:
                        key.values.append(value)
                        key.commits.append(commits)
            answers[number] = [] if failed else answer
            outcome[number] = 2 if failed else 1
            state[client] = (3, number, 0)
        else:
            end[number] = event
            event += 1
            state[client] = (0, -1, 0)
    first = [0]
    kind_of: list[int] = []
    key_of: list[int] = []
    value_of: list[int] = []
    element_first = [0]
    elements: list[Any] = []
    known: list[bool] = []
    held = 0
    for plan, answer in zip(plans, answers, strict=True):
        for place, (kind, key, value) in enumerate(plan):
            kind_of.append(kind)
            key_of.append(key.number)
            value_of.append(value)
            known.append(kind != READ or bool(answer))
            if kind == READ and answer:
                elements.append(np.array(answer[place], np.int32))
                held += len(answer[place])
            element_first.append(held)
        first.append(len(kind_of))
    values = range(max(next_value, most + 1) + 1)
    return Transactions(
        process=np.array(process, np.int32),
        start=np.array(start, np.int64),
        end=np.array(end, np.int64),
        outcome=np.array(outcome, np.int8),
        first=np.array(first, np.int64),
        kind=np.array(kind_of, np.int8),
        key=np.array(key_of, np.int32),
        value=np.array(value_of, np.int32),
        known=np.array(known, np.bool_),
        element_first=np.array(element_first, np.int64),
        elements=np.concatenate(elements) if elements else np.empty(0, np.int32),
        keys=range(next_key),
        values=values,
        of_registers=registers,
    )
