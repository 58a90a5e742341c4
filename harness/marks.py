"""Interesting situations that a run reached, and how often.

A mark is a name for a situation that tests should get into now and then ("a process was replaced while its fault
lasted"). Whoever meets it says `reached`; over many runs, a mark that was never reached says that the runs prove less
than they seem to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Marks:
    """Counts by name. Passed to those who may reach a mark; there is no global one."""

    __slots__ = ("_counts",)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts: dict[str, int] = dict(counts or {})

    def reached(self, name: str, times: int = 1) -> None:
        """This situation was met."""
        self._counts[name] = self._counts.get(name, 0) + times

    def sometimes(self, name: str, condition: bool) -> bool:
        """Counts the mark if the condition holds; a mark that was asked for but never held is listed with 0. Answers
        the condition, so that it can stand in an `if`."""
        self._counts[name] = self._counts.get(name, 0) + bool(condition)
        return condition

    def count(self, name: str) -> int:
        """How often it was reached."""
        return self._counts.get(name, 0)

    def counts(self) -> dict[str, int]:
        """All counts, sorted by name."""
        return dict(sorted(self._counts.items()))

    def missing(self, required: Iterable[str]) -> list[str]:
        """Which of the required marks were never reached, sorted."""
        return sorted(name for name in set(required) if not self._counts.get(name))

    def merge(self, other: Marks) -> Marks:
        """The marks of two runs together."""
        merged = Marks(self._counts)
        for name, times in other._counts.items():
            merged.reached(name, times)
        return merged
