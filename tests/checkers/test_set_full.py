"""The set checker: lost, stale, duplicated, unexpected, each beside an innocent twin."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.set_full import SetFullChecker
from results.history import History, HistoryBuilder
from results.verdict import UNKNOWN, VALID, Verdict
from tests.support.stories import random_history


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


def test_a_lost_element_is_told_with_who_saw_it_last() -> None:
    story = Story()
    story.add(1)
    for elements in ([1], [1], []):
        story.read(*elements)
    (anomaly,) = judge(story.done()).anomalies
    assert anomaly.type == "lost element"
    assert "was last seen by process 1 (0.004–0.005 s), and is missing from the last read" in anomaly.sentence
    assert anomaly.operations == [0, 1, 4, 5, 6, 7]


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


def test_the_first_read_that_lacks_an_element_is_told_and_not_one_that_shows_it() -> None:
    story = Story()
    story.read()
    story.add(1)
    for elements in ([1], [], [], [1]):
        story.read(*elements)
    (anomaly,) = judge(story.done()).anomalies
    assert "is missing from the read by process 1 (0.006–0.007 s)" in anomaly.sentence
    assert anomaly.evidence["elements"][0]["first_absent_ns"] == 6_000_000
    assert anomaly.evidence["elements"][0]["absent_from_reads"] == 2


def test_how_long_elements_were_invisible() -> None:
    """From the acknowledgement, 2 ms later for each, to the last read that lacks them."""
    story = Story()
    for element in (1, 2, 3, 4):
        story.add(element)
    for elements in ([], [1], [2], [], [1, 2, 3, 4]):
        story.read(*elements)
    verdict = judge(story.done(), linearizable=False)
    assert verdict.outcome == VALID
    assert verdict.details["stale_for_ms"] == {"median": 11.0, "longest": 13.0}


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
    story.read(1, 7, 8)
    assert judge(story.done()).sentence.startswith("2 elements never added: ")


def test_an_element_whose_add_failed_must_not_show() -> None:
    story = Story()
    story.invoke(0, "add", 1)
    story.fail(0, "refused")
    story.read()
    assert judge(story.done()).outcome == VALID
    story.read(1)
    assert kinds(judge(story.done())) == ["element of a failed add"]


def test_an_element_whose_add_failed_must_not_show_before_it_is_added_again() -> None:
    for linearizable in (True, False):
        for seen in (True, False):
            story = Story()
            story.invoke(0, "add", 1)
            story.fail(0, "refused")
            story.read(*([1] if seen else []))
            story.add(1)
            story.read(1)
            verdict = judge(story.done(), linearizable=linearizable)
            assert kinds(verdict) == (["element of a failed add"] if seen else [])
            if seen:
                assert "process 1 read 1 (0.002–0.003 s), but its add by process 0 (0.000" in verdict.sentence
                assert "no other had begun before the one by process 0, at 0.004 s" in verdict.sentence
                assert verdict.anomalies[0].operations == [0, 1, 2, 3, 4, 5]
    later = Story()
    later.read(1)
    later.invoke(0, "add", 1)
    later.fail(0, "refused")
    later.add(1)
    later.read(1)
    (anomaly,) = judge(later.done()).anomalies
    assert anomaly.type == "element before its add"
    assert "before process 0 began to add it, at 0.004 s" in anomaly.sentence
    crashed = Story()
    crashed.invoke(7, "add", 1)
    crashed.info(7, "timeout")
    crashed.invoke(0, "add", 1)
    crashed.fail(0, "refused")
    crashed.read(1)
    assert judge(crashed.done()).outcome == VALID


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


def test_an_answer_of_null_shows_nothing() -> None:
    story = Story()
    story.invoke(1, "read")
    story.ok(1, None)
    assert judge(story.done()).outcome == VALID
    story.add(1)
    story.invoke(1, "read")
    story.ok(1, None)
    assert kinds(judge(story.done())) == ["lost element"]


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


@st.composite
def histories(draw: st.DrawFn) -> History:
    adds = [("add", draw(st.integers(0, 3))) for _ in range(draw(st.integers(0, 4)))]
    operations = draw(st.permutations(adds + [("read", None)] * draw(st.integers(1, 4))))
    return random_history(
        lambda least, most: draw(st.integers(least, most)),
        operations,
        lambda f, asked: asked if f == "add" else draw(st.lists(st.integers(0, 4), max_size=4)),
    )


@given(histories())
def test_agrees_with_the_definitions(history: History) -> None:
    """The rules of the page, element by element and read by read."""
    verdict = judge(history)
    reads = [pair for pair in history.pairs() if pair.f == "read" and pair.type == "ok"]
    if not reads:
        assert verdict.outcome == UNKNOWN
        return
    found = {name: 0 for name in ("lost", "stale", "never_read", "recovered", "elements_seen")}
    wrong = set()
    for element in range(5):
        adds = [pair for pair in history.pairs() if pair.f == "add" and pair.invocation.value == element]
        seeing = [read for read in reads if element in read.value]
        known = min(
            [pair.indices[-1] for pair in adds if pair.type == "ok"] + [read.indices[-1] for read in seeing],
            default=None,
        )
        lacking = [
            read for read in reads if known is not None and read.index > known and element not in read.value
        ]
        found["elements_seen"] += bool(seeing)
        found["recovered"] += bool(seeing) and all(add.type == "info" for add in adds)
        if lacking:
            last = max(read.index for read in lacking)
            lost = all(read.indices[-1] < last for read in seeing)
            found["lost" if lost else "stale"] += 1
            wrong.add("lost element" if lost else "stale read")
        elif known is not None and not seeing and all(read.index < known for read in reads):
            found["never_read"] += 1
        if seeing and not adds:
            wrong.add("element never added")
        first = min((read.indices[-1] for read in seeing), default=None)
        possible = [add.index for add in adds if add.type != "fail"]
        if first is not None and adds and first < min(possible, default=first + 1):
            failed = not possible or any(add.type == "fail" and add.index < first for add in adds)
            wrong.add("element of a failed add" if failed else "element before its add")
        if any(read.value.count(element) > 1 for read in reads):
            wrong.add("duplicated element")
    assert set(kinds(verdict)) == wrong
    assert {name: verdict.details[name] for name in found} == found


def test_a_million_duplicate_reads_of_one_element() -> None:
    story = Story()
    story.add(1)
    story.read(*[1] * 100_000)
    verdict = judge(story.done())
    assert kinds(verdict) == ["duplicated element"]
    assert "saw 1 100000 times" in verdict.sentence


def test_answers_that_are_no_lists_are_told() -> None:
    story = Story()
    story.add(float("nan"))
    story.read(float("nan"))
    assert judge(story.done()).outcome == VALID
    story.invoke(1, "read")
    story.ok(1, 7)
    verdict = judge(story.done())
    assert verdict.outcome == UNKNOWN
    assert "1 value is not a list of elements" in verdict.sentence
