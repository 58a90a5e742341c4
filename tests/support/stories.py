"""Histories for tests of checkers: told step by step, or drawn by Hypothesis and run against a sequential object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from checkers.checker import Checker, Limits
from results.history import History, HistoryBuilder
from results.verdict import Verdict


class Story(HistoryBuilder):
    """Grows a history of whole operations; `begin` and `HistoryBuilder`'s own verbs make those that overlap."""

    def did(self, process: int, f: str, asked: Any = None, answer: Any = None) -> Story:
        """An operation that nobody overlaps, and that succeeds; without an answer it is what was asked."""
        self.invoke(process, f, asked)
        self.event(process, "ok", f, asked if answer is None else answer)
        return self

    def failed(self, process: int, f: str, asked: Any = None, error: Any = "refused") -> Story:
        self.invoke(process, f, asked)
        self.fail(process, error)
        return self

    def crashed(self, process: int, f: str, asked: Any = None) -> Story:
        """An operation whose outcome nobody learns; the process is not heard of again."""
        self.invoke(process, f, asked)
        self.info(process, "timeout")
        return self

    def judged(self, checker: Checker, limits: Limits | None = None) -> Verdict:
        return checker.check(self.done(), limits or Limits())


def kinds(verdict: Verdict) -> list[str]:
    """The types of its anomalies, in order."""
    return [anomaly.type for anomaly in verdict.anomalies]


def random_history(
    draw: Callable[[int, int], int],
    operations: Sequence[tuple[str, Any]],
    answer: Callable[[str, Any], Any],
    *,
    processes: int = 3,
    reads: frozenset[str] = frozenset({"read"}),
) -> History:
    """The operations, begun in this order by as many processes as are free, with overlaps, failures and crashes as
    `draw(least, most)` has them. `answer` gives what an operation that succeeds is answered."""
    builder = HistoryBuilder()
    free = list(range(processes))
    open_: list[tuple[int, str, Any]] = []
    next_process = processes
    remaining = list(operations)
    while remaining or open_:
        if remaining and free and (not open_ or draw(0, 1)):
            f, asked = remaining.pop(0)
            process = free.pop(0)
            builder.invoke(process, f, asked)
            open_.append((process, f, asked))
            continue
        process, f, asked = open_.pop(draw(0, len(open_) - 1))
        outcome = draw(0, 9)
        if outcome == 0 and f not in reads:
            builder.info(process, "timeout")
            process = next_process
            next_process += 1
        elif outcome == 1:
            builder.fail(process, "refused")
        else:
            builder.event(process, "ok", f, answer(f, asked))
        free.append(process)
    return builder.done()


def some_order(history: History, initial: Any, step: Callable[[Any, Any], Any], functions: set[str]) -> bool:
    """Brute force: whether the operations can be put in an order that keeps real time and that `step` allows.

    `step(state, pair)` is the state after an operation, or None where the operation cannot happen; operations of
    unknown outcome may be left out. For histories of a few operations.
    """
    pairs = [pair for pair in history.pairs() if pair.type != "fail" and pair.f in functions]
    ends = [
        10**9 if pair.completion is None or pair.type == "info" else pair.completion.index for pair in pairs
    ]
    seen: set[tuple[int, Any]] = set()

    def search(done: int, state: Any) -> bool:
        if all(done >> number & 1 or pair.type == "info" for number, pair in enumerate(pairs)):
            return True
        if (done, state) in seen:
            return False
        seen.add((done, state))
        first_end = min(end for number, end in enumerate(ends) if not done >> number & 1)
        for number, pair in enumerate(pairs):
            if done >> number & 1 or pair.index > first_end:
                continue
            after = step(state, pair)
            if after is not None and search(done | 1 << number, after):
                return True
        return False

    return search(0, initial)
