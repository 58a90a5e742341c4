"""Several checkers as one: a broken one is unknown, and never hides what another found."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from checkers.checker import Limits, compose
from results.history import History
from results.verdict import INVALID, UNKNOWN, VALID, Verdict


@dataclass
class Fixed:
    outcome: str
    name: str = "fixed"

    def check(self, history: History, limits: Limits) -> Verdict:
        return Verdict(self.outcome, self.name, f"it is {self.outcome}")


class Broken:
    name = "broken"

    def check(self, history: History, limits: Limits) -> Verdict:
        raise KeyError("lost my way")


class Recording:
    name = "recording"

    def __init__(self) -> None:
        self.time_s = -1.0

    def check(self, history: History, limits: Limits) -> Verdict:
        self.time_s = limits.time_s
        limits.clock()
        return Verdict(VALID, self.name, "")


def test_a_checker_that_raises_is_unknown_with_its_traceback() -> None:
    verdict = compose("all", [Fixed(VALID), Broken()]).check(History([]), Limits())
    assert verdict.outcome == UNKNOWN
    assert "broken: the checker broke down: KeyError: 'lost my way'" in verdict.sentence
    assert "raise KeyError" in verdict.parts[1].details["traceback"]


def test_what_another_checker_found_still_counts() -> None:
    verdict = compose("all", {"first": Broken(), "second": Fixed(INVALID)}).check(History([]), Limits())
    assert verdict.outcome == INVALID
    assert [part.checker for part in verdict.parts] == ["first", "fixed"]


def test_all_share_the_time_and_each_gets_at_least_a_second() -> None:
    ticks = itertools.count(step=4.0)
    first, second, third = Recording(), Recording(), Recording()
    limits = Limits(time_s=10, clock=lambda: next(ticks))
    compose("all", [first, second, third]).check(History([]), limits)
    assert first.time_s == 6.0
    assert second.time_s == 1.0
    assert third.time_s == 1.0


def test_a_deadline_counts_from_its_making() -> None:
    now = 100.0
    deadline = Limits(time_s=5, clock=lambda: now).deadline()
    assert (deadline.expired(), deadline.remaining()) == (False, 5.0)
    now = 105.0
    assert (deadline.expired(), deadline.remaining()) == (True, 0.0)
    now = 106.0
    assert (deadline.expired(), deadline.remaining()) == (True, 0.0)
