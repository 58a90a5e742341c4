"""Several answers at once: which of them to give, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.generator.core import NOTHING, PENDING, Answer, Generator, Invocation, Pending


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
            wake = earlier(wake, what)
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


def earlier(wake: int | None, pending: Pending) -> int | None:
    """The earlier of two times to wake, where None is never."""
    other = pending.wake_ns
    return wake if other is None else other if wake is None else min(wake, other)


def after_question(
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


def are_same(left: Sequence[object], right: Sequence[object]) -> bool:
    """Whether these are the very same objects; comparing the values would cost too much."""
    return all(a is b for a, b in zip(left, right, strict=True))
