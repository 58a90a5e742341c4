"""The role of a checker, and how several become one.

A checker reads a finished history and gives a verdict. It knows no files, no network and no time of day; the one
clock it may look at is the one in its limits, to stop in time. A checker that raises has proved nothing: composed,
it becomes *unknown*, with its traceback kept.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import msgspec

from results.history import History, HistoryError
from results.verdict import UNKNOWN, Verdict, merge

UNSAID: Final[Any] = msgspec.UNSET
"""For an option that was not given, where None is a value like any other."""


@dataclass(frozen=True)
class Deadline:
    """A moment on a monotonic clock, in seconds."""

    at: float
    clock: Callable[[], float]

    def expired(self) -> bool:
        return self.clock() >= self.at

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.clock())


@dataclass(frozen=True)
class Limits:
    """How much a check may cost. A checker that reaches a limit says unknown, and which limit it was."""

    time_s: float = 60.0
    memory_mb: int = 2048
    jobs: int = 1
    """Processes that a check may use."""
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    def deadline(self) -> Deadline:
        """The moment at which a check that starts now has to be over."""
        return Deadline(self.clock() + self.time_s, self.clock)


class Checker(Protocol):
    """Judges histories of one kind of workload."""

    @property
    def name(self) -> str: ...

    def check(self, history: History, limits: Limits) -> Verdict:
        """The verdict on a finished history, reached within the limits."""
        ...


@dataclass(frozen=True)
class ComposedChecker:
    """Runs all its checkers on the same history; what each says becomes a part of the verdict."""

    name: str
    checkers: tuple[tuple[str, Checker], ...]

    def check(self, history: History, limits: Limits) -> Verdict:
        """All get a share of the same time: one that takes long leaves less to those after it, but never
        less than a second."""
        deadline = limits.deadline()
        parts = []
        for name, checker in self.checkers:
            remaining = replace(limits, time_s=min(limits.time_s, max(1.0, deadline.remaining())))
            parts.append(check_safely(name, checker, history, remaining))
        return merge(self.name, parts)


def check_safely(name: str, checker: Checker, history: History, limits: Limits) -> Verdict:
    """The checker's verdict; unknown, with the traceback in the details, if it raises."""
    try:
        return checker.check(history, limits)
    except HistoryError as error:
        return Verdict(UNKNOWN, name, f"the history cannot be judged: {error}")
    except Exception as error:  # noqa: BLE001 - whatever broke, the verdict is unknown and says so.
        summary = f"the checker broke down: {type(error).__name__}: {error}"
        return Verdict(UNKNOWN, name, summary, details={"traceback": traceback.format_exc()})


def compose(name: str, checkers: Mapping[str, Checker] | Sequence[Checker]) -> Checker:
    """One checker of several. From a mapping, the keys name them where they break down."""
    if isinstance(checkers, Mapping):
        return ComposedChecker(name, tuple(checkers.items()))
    return ComposedChecker(name, tuple((checker.name, checker) for checker in checkers))
