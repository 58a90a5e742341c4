"""The set checker: lost, stale, duplicated, unexpected, each beside an innocent twin."""

from __future__ import annotations

import time
from typing import Any

from checkers.checker import Limits
from checkers.set_full import SetFullChecker
from results.history import History, HistoryBuilder
from results.verdict import UNKNOWN, VALID, Verdict


def judge(history: History, **options: Any) -> Verdict:
    return SetFullChecker(**options).check(history, Limits())


def kinds(verdict: Verdict) -> list[str]:
    return [anomaly.type for anomaly in verdict.anomalies]


class Story(HistoryBuilder):
    def add(self, element: Any, process: int = 0) -> None:
        self.invoke(process, "add", element)
        self.ok(process)

    def read(self, *elements: Any, process: int = 1) -> None:
        self.invoke(process, "read")
        self.ok(process, list(elements))


def test_all_elements_in_the_final_read_are_valid() -> None:
    story = Story()
    story.add(1)
    story.add(2)
    story.read(2, 1)
    verdict = judge(story.done())
    assert verdict.outcome == VALID
    assert "all 2 acknowledged elements stayed" in verdict.sentence


def test_an_acknowledged_element_missing_from_the_last_read_is_lost() -> None:
    story = Story()
    story.add(1)
    story.add(2)
    story.read(2)
    verdict = judge(story.done())
    assert kinds(verdict) == ["lost element"]
    assert verdict.anomalies[0].operations == [0, 1, 4, 5]
    assert (
        "1 was added by process 0 (completed at 0.001 s), and is missing from the last read"
        in verdict.sentence
    )


def test_an_element_once_seen_and_then_gone_is_lost_though_its_add_was_never_acknowledged() -> None:
    story = Story()
    story.invoke(0, "add", 1)
    story.info(0, "timeout")
    story.read(1)
    story.read()
    verdict = judge(story.done())
    assert kinds(verdict) == ["lost element"]
    assert "was seen by process 1" in verdict.sentence


def test_an_unacknowledged_element_may_be_absent_or_appear_at_any_time() -> None:
    story = Story()
    story.invoke(0, "add", 1)
    story.info(0, "timeout")
    story.invoke(2, "add", 2)
    story.info(2, "timeout")
    story.read()
    story.read(2)
    verdict = judge(story.done())
    assert verdict.outcome == VALID
    assert verdict.details["recovered"] == 1


def test_an_element_that_a_later_read_lacks_for_a_while_is_stale() -> None:
    story = Story()
    story.add(1)
    story.read()
    story.read(1)
    verdict = judge(story.done())
    assert kinds(verdict) == ["stale read"]
    assert "is missing from the read by process 1 (0.002–0.003 s), and there again" in verdict.sentence
    relaxed = judge(story.done(), linearizable=False)
    assert relaxed.outcome == VALID
    assert relaxed.details["stale"] == 1
    assert "went missing for a while, which is allowed" in relaxed.sentence


def test_a_read_that_overlaps_the_add_may_lack_it() -> None:
    story = Story()
    story.invoke(0, "add", 1)
    story.invoke(1, "read")
    story.ok(0)
    story.ok(1, [])
    story.read(1)
    assert judge(story.done()).outcome == VALID


def test_a_slow_read_that_shows_an_element_does_not_make_another_a_loss() -> None:
    """Two reads overlap; the one that began later lacks the element. Stale, but nothing is lost."""
    story = Story()
    story.add(1)
    story.invoke(1, "read")
    story.invoke(2, "read")
    story.ok(2, [])
    story.ok(1, [1])
    assert kinds(judge(story.done())) == ["stale read"]
    assert judge(story.done(), linearizable=False).outcome == VALID


def test_an_element_that_nobody_added() -> None:
    story = Story()
    story.add(1)
    story.read(1, 7)
    verdict = judge(story.done())
    assert kinds(verdict) == ["element never added"]
    assert "process 1 read 7" in verdict.sentence


def test_an_element_whose_add_failed_must_not_show() -> None:
    story = Story()
    story.invoke(0, "add", 1)
    story.fail(0, "refused")
    story.read()
    assert judge(story.done()).outcome == VALID
    story.read(1)
    assert kinds(judge(story.done())) == ["element of a failed add"]


def test_an_element_seen_before_its_add_began() -> None:
    story = Story()
    story.read(1)
    story.add(1)
    story.read(1)
    verdict = judge(story.done())
    assert kinds(verdict) == ["element before its add"]
    assert verdict.anomalies[0].operations == [0, 1, 2, 3]


def test_an_element_seen_twice_in_one_read() -> None:
    story = Story()
    story.add(1)
    story.read(1, 1)
    verdict = judge(story.done())
    assert kinds(verdict) == ["duplicated element"]
    assert "saw 1 2 times" in verdict.sentence


def test_elements_may_be_lists() -> None:
    story = Story()
    story.add([0, 1])
    story.read([0, 1])
    assert judge(story.done()).outcome == VALID


def test_true_is_not_one() -> None:
    story = Story()
    story.add(1)
    story.read(True)
    assert set(kinds(judge(story.done()))) == {"lost element", "element never added"}


def test_without_a_read_after_the_last_add_nothing_is_known_about_it() -> None:
    story = Story()
    story.add(1)
    story.read(1)
    story.add(2)
    verdict = judge(story.done())
    assert verdict.outcome == UNKNOWN
    assert "1 acknowledged element (2) cannot be judged" in verdict.sentence
    story.read(1, 2)
    assert judge(story.done()).outcome == VALID


def test_without_any_read_nothing_is_known() -> None:
    story = Story()
    story.add(1)
    assert judge(story.done()).outcome == UNKNOWN


def test_twenty_thousand_adds_and_a_hundred_reads_take_a_moment() -> None:
    story = Story()
    for element in range(20_000):
        story.add(element)
        if element % 200 == 199:
            story.read(*range(element + 1))
    history = story.done()
    started = time.process_time()
    assert judge(history).outcome == VALID
    assert time.process_time() - started < 5
