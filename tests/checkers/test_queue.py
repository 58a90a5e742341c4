"""Queues: lost, duplicated, unexpected and overtaken elements, beside innocent twins, and brute force."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.queue import QueueChecker
from results.history import History
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.stories import Story, kinds, random_history, some_order

FIFO = QueueChecker()
ANY_ORDER = QueueChecker(ordered=False)


class Queue(Story):
    def put(self, value: Any, process: int = 0) -> Queue:
        self.did(process, "enqueue", value)
        return self

    def take(self, value: Any, process: int = 1) -> Queue:
        self.did(process, "dequeue", None, value)
        return self

    def empty(self, process: int = 1) -> Queue:
        self.failed(process, "dequeue", error="empty")
        return self

    def drain(self, *values: Any, process: int = 1) -> Queue:
        self.invoke(process, "drain")
        self.event(process, "ok", "drain", list(values))
        return self


def test_first_in_first_out() -> None:
    assert Queue().put(1).put(2).take(1).take(2).empty().judged(FIFO).outcome == VALID
    verdict = Queue().put(1).put(2).take(2).take(1).judged(FIFO)
    assert kinds(verdict) == ["element overtaken"]
    assert "1 was enqueued by process 0 (0.000–0.001 s) before 2" in verdict.sentence
    assert verdict.anomalies[0].operations == [0, 1, 2, 3, 4, 5, 6, 7]
    assert Queue().put(1).put(2).take(2).take(1).judged(ANY_ORDER).outcome == VALID


def test_a_valid_queue_is_told_as_such() -> None:
    verdict = Queue().put(1).put(2).take(1).take(2).judged(FIFO)
    came_out = "2 elements of 2 acknowledged enqueues came out, none twice and none unasked"
    assert verdict.sentence == f"{came_out}, in order"
    assert Queue().put(1).put(2).take(1).take(2).judged(ANY_ORDER).sentence == came_out
    assert "explained_by_crashed_dequeues" not in verdict.details
    assert verdict.details["recovered"] == 0
    crashed = Queue().put(1).take(1)
    crashed.crashed(7, "enqueue", 2)
    crashed.crashed(8, "enqueue", 3)
    assert crashed.take(2).judged(FIFO).details["recovered"] == 1
    twice = Queue().put(1)
    twice.crashed(7, "enqueue", 1)
    assert twice.take(1).judged(ANY_ORDER).details["recovered"] == 0


def test_enqueues_that_overlap_may_leave_in_either_order() -> None:
    story = Queue()
    story.invoke(0, "enqueue", 1)
    story.invoke(2, "enqueue", 2)
    story.ok(0)
    story.ok(2)
    assert story.take(2).take(1).judged(FIFO).outcome == VALID


def test_one_that_was_overtaken_and_never_left() -> None:
    verdict = Queue().put(1).put(2).take(2).judged(FIFO)
    assert kinds(verdict) == ["element overtaken"]
    assert "and 1 never was" in verdict.sentence
    assert Queue().put(1).put(2).take(1).judged(FIFO).outcome == UNKNOWN
    crashed = Queue().put(1).put(2)
    crashed.crashed(7, "dequeue")
    assert crashed.take(2).drain().judged(FIFO).outcome == VALID, "the crashed dequeue took 1"
    too_late = Queue().put(1).put(2).take(2)
    too_late.crashed(7, "dequeue")
    verdict = too_late.drain().judged(FIFO)
    assert kinds(verdict) == ["element overtaken"]
    assert "while 1 was still inside: no dequeue that might have taken it had begun" in verdict.sentence
    other = Queue()
    other.crashed(7, "dequeue")
    verdict = other.put(1).put(2).take(2).take(1).judged(FIFO)
    assert kinds(verdict) == ["element overtaken"], "what came out was taken by nobody else"


def test_drains_keep_the_order_too() -> None:
    assert Queue().put(1).put(2).put(3).drain(1, 2, 3).judged(FIFO).outcome == VALID
    assert kinds(Queue().put(1).put(2).drain(2, 1).judged(FIFO)) == ["element overtaken"]
    verdict = Queue().put(1).put(2).put(3).drain(3, 2, 1).judged(FIFO)
    assert verdict.anomalies[0].evidence["count"] == 2
    verdict = Queue().put(1).put(2).put(3).drain(1, 3, 2).judged(FIFO)
    assert kinds(verdict) == ["element overtaken"]
    assert "2 was enqueued by process 0 (0.002–0.003 s) before 3" in verdict.sentence
    assert "drained it later" in verdict.sentence


def test_lost_elements_need_a_queue_that_was_seen_empty() -> None:
    for checker in (FIFO, ANY_ORDER):
        assert kinds(Queue().put(1).drain().judged(checker))[0] == "lost element"
        assert "lost element" in kinds(Queue().put(1).empty().judged(checker))
        gone = Queue().put(1)
        gone.failed(1, "dequeue", error="Exhausted")
        assert "lost element" in kinds(gone.judged(checker))
        assert Queue().put(1).put(2).take(1).judged(checker).outcome == UNKNOWN
        assert Queue().put(1).drain(1).put(2).judged(checker).outcome == UNKNOWN
    other = Queue().put(1).put(2).take(1)
    other.failed(1, "dequeue", error="connection refused")
    assert other.judged(FIFO).outcome == UNKNOWN


def test_a_crashed_dequeue_may_have_taken_what_is_missing() -> None:
    story = Queue().put(1).put(2)
    story.crashed(7, "dequeue")
    verdict = story.take(2).drain().judged(ANY_ORDER)
    assert verdict.outcome == VALID
    assert verdict.details["explained_by_crashed_dequeues"] == 1
    worse = Queue().put(1).put(2)
    worse.crashed(7, "dequeue")
    verdict = worse.drain().judged(ANY_ORDER)
    assert kinds(verdict) == ["lost element"]
    assert verdict.anomalies[0].evidence["count"] == 1
    drained = Queue().put(1).put(2)
    drained.crashed(7, "drain")
    assert drained.drain().judged(ANY_ORDER).outcome == UNKNOWN
    one_of_two = Queue().put(1).put(2).take(1)
    one_of_two.crashed(7, "drain")
    assert one_of_two.drain().judged(ANY_ORDER).outcome == UNKNOWN


def test_elements_that_nobody_put_in_or_more_often_than_that() -> None:
    verdict = Queue().take(9).judged(ANY_ORDER)
    assert kinds(verdict) == ["unexpected element"]
    assert "process 1 took out 9 (0.000–0.001 s), which nobody had enqueued" in verdict.sentence
    refused = Queue()
    refused.failed(0, "enqueue", 9)
    verdict = refused.take(9).judged(ANY_ORDER)
    assert kinds(verdict) == ["element of a failed enqueue"]
    assert "but its enqueue by process 0 (0.000–0.001 s) had failed" in verdict.sentence
    assert verdict.anomalies[0].operations == [0, 1, 2, 3]
    untouched = Queue().put(1).take(1)
    untouched.failed(0, "enqueue", 9)
    assert untouched.judged(FIFO).outcome == VALID
    verdict = Queue().put(2).put(1).take(1).take(1).judged(ANY_ORDER)
    assert kinds(verdict) == ["duplicated element"]
    assert "1 came out 2 times, but went in 1: process 1 took it (0.004–0.005 s)" in verdict.sentence
    assert verdict.anomalies[0].operations == [2, 3, 4, 5, 6, 7]
    assert Queue().put(1).put(1).take(1).take(1).empty().judged(ANY_ORDER).outcome == VALID
    maybe = Queue().put(1)
    maybe.crashed(7, "enqueue", 1)
    assert maybe.take(1).take(1).judged(ANY_ORDER).outcome == VALID
    assert "element before its enqueue" in kinds(Queue().take(1).put(1).judged(ANY_ORDER))


def test_a_queue_that_said_it_was_empty() -> None:
    verdict = Queue().put(1).empty().take(1).judged(FIFO)
    assert kinds(verdict) == ["empty answer of a queue that was not"]
    assert "at each moment of that one of 1 was inside" in verdict.sentence
    again = Queue().put(1).take(1).put(2).empty().take(2).judged(FIFO)
    assert kinds(again) == ["empty answer of a queue that was not"]
    assert "one of 2 was inside" in again.sentence
    relay = Queue().put(1)
    relay.invoke(5, "dequeue")
    relay.put(2).take(1)
    relay.fail(5, "empty")
    assert kinds(relay.take(2).judged(FIFO)) == ["empty answer of a queue that was not"]
    gap = Queue().put(1)
    gap.invoke(5, "dequeue")
    gap.take(1).put(2)
    gap.fail(5, "empty")
    assert gap.take(2).judged(FIFO).outcome == VALID


def test_a_drain_that_left_something_behind() -> None:
    verdict = Queue().put(1).drain().take(1).judged(FIFO)
    assert kinds(verdict) == ["empty answer of a queue that was not"]
    assert "process 1 drained the queue (0.002–0.003 s), but at each moment at which" in verdict.sentence
    assert "one of 1 was inside" in verdict.sentence
    assert Queue().put(1).drain(1).drain().judged(FIFO).outcome == VALID
    assert kinds(Queue().put(2).put(1).drain(2).take(1).judged(FIFO)) == [
        "empty answer of a queue that was not"
    ]
    assert Queue().put(2).drain(2).put(1).take(1).judged(FIFO).outcome == VALID
    for first, outcome in ((1, INVALID), (2, VALID)):
        during = Queue()
        during.invoke(5, "drain")
        during.put(first).put(3 - first)
        during.event(5, "ok", "drain", [2])
        assert during.take(1).judged(FIFO).outcome == outcome, "what it took had gone in last, or first"
    open_ = Queue()
    open_.invoke(5, "dequeue")
    open_.put(5, process=2).drain()
    open_.fail(5, "empty")
    open_.empty()
    open_.crashed(6, "dequeue")
    assert "empty answer of a queue that was not" in kinds(open_.judged(FIFO))


def test_nil_means_empty_where_nobody_enqueues_nil() -> None:
    story = Queue().put(1).take(1)
    story.did(1, "dequeue")
    assert story.judged(FIFO).outcome == VALID
    assert kinds(Queue().put(1).did(1, "dequeue").judged(FIFO)) == [
        "lost element",
        "empty answer of a queue that was not",
    ]


def test_what_comes_after_nil_counts() -> None:
    told = Queue().take(None).put(1).take(1).take(None)
    assert told.judged(FIFO).outcome == VALID
    assert told.take(1).judged(FIFO).outcome == INVALID


def test_nil_may_be_an_element_where_somebody_enqueues_it() -> None:
    for checker in (FIFO, ANY_ORDER):
        assert Queue().put(None).take(None).judged(checker).outcome == VALID
        once = Queue().put(None).take(None).take(None)
        assert once.judged(checker).outcome == VALID, "one took it, and one found the queue empty"
        assert kinds(Queue().put(None).drain(None, None).judged(checker)) == ["duplicated element"]
        crashed = Queue()
        crashed.crashed(7, "enqueue", None)
        assert crashed.take(None).take(None).judged(checker).outcome == VALID
        early = Queue().take(None).put(None)
        assert early.judged(checker).outcome == UNKNOWN, "it was empty, and nobody looked afterwards"
        assert kinds(early.empty().judged(checker))[0] == "lost element"
    stays = Queue().put(1).put(None).take(None).take(None).take(1)
    assert stays.judged(FIFO).outcome == UNKNOWN
    assert "null, which 2 dequeues answered, may be an element" in stays.judged(FIFO).sentence
    assert stays.judged(ANY_ORDER).outcome == VALID
    many = Queue().put(None).put(None).take(None).take(None)
    assert "the order of 1 value that went in" in many.judged(FIFO).sentence, "the doubt is another one"
    left = Queue().put(None).take(None).take(None).drain(None)
    assert kinds(left.judged(FIFO)) == ["empty answer of a queue that was not"], "the drain took it"
    assert left.judged(ANY_ORDER).outcome == VALID


def test_nil_whose_enqueue_failed_is_the_answer_of_an_empty_queue() -> None:
    for checker in (FIFO, ANY_ORDER):
        refused = Queue()
        refused.failed(0, "enqueue", None)
        assert refused.take(None).judged(checker).outcome == VALID
        assert kinds(refused.put(1).take(None).judged(checker))[0] == "lost element"
        drained = Queue()
        drained.failed(0, "enqueue", None)
        assert kinds(drained.drain(None).judged(checker)) == ["element of a failed enqueue"]


def test_what_cannot_be_judged() -> None:
    assert Queue().put(1).judged(FIFO).outcome == UNKNOWN
    assert Queue().judged(FIFO).outcome == UNKNOWN
    strange = Queue().put(1).take(1)
    strange.did(0, "drain", None, 5)
    assert strange.judged(FIFO).outcome == UNKNOWN
    lists = Queue().put([1]).put({"a": 1}).put(None).take([1]).take({"a": 1})
    lists.did(1, "dequeue")
    assert lists.empty().judged(FIFO).outcome == VALID


def step(state: tuple[int, ...], pair: Any) -> tuple[int, ...] | None:
    if pair.f == "enqueue":
        return (*state, pair.invocation.value)
    if pair.completion.value is None:
        return None if state else state
    return state[1:] if state and state[0] == pair.completion.value else None


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Unique values, no crashes; a dequeue of nothing is told as a failure."""
    number = draw(st.integers(1, 4))
    puts = [("enqueue", value) for value in range(number)]
    takes = [("dequeue", None)] * draw(st.integers(1, 4))
    operations = draw(st.permutations(puts + takes))
    return random_history(
        lambda least, most: draw(st.integers(least, most)) if (least, most) != (0, 9) else 5,
        operations,
        lambda f, asked: asked if f == "enqueue" else draw(st.sampled_from([None, *range(number)])),
    )


@given(histories())
def test_agrees_with_brute_force(history: History) -> None:
    """Complete without crashes: the queue violates an axiom, or there is an order."""
    import msgspec

    expected = some_order(history, (), step, {"enqueue", "dequeue"})
    told = History(
        msgspec.structs.replace(event, type="fail", error="empty")
        if event.f == "dequeue" and event.type == "ok" and event.value is None
        else event
        for event in history.operations
    )
    verdict = FIFO.check(told, Limits())
    assert (verdict.outcome == INVALID) == (not expected), verdict.sentence


def test_a_crashed_dequeue_that_began_after_the_queue_was_empty_excuses_nothing() -> None:
    def story(late: bool) -> Queue:
        told = Queue().put(1)
        if late:
            told.drain()
        told.invoke(2, "dequeue")
        told.info(2)
        if not late:
            told.drain()
        return told

    for checker in (FIFO, ANY_ORDER):
        assert kinds(story(late=True).judged(checker))[0] == "lost element"
        assert story(late=False).judged(checker).outcome == VALID, "this one may have taken it"


def test_of_several_that_found_the_queue_empty_each_counts() -> None:
    """The dequeue of unknown outcome began after the first empty answer, and excuses nothing of what was lost then."""
    for checker in (FIFO, ANY_ORDER):
        for seen_empty, outcome in ((True, INVALID), (False, VALID)):
            for crash in ("dequeue", "drain"):
                told = Queue().put(1)
                if seen_empty:
                    told.empty()
                told.crashed(2, crash)
                expected = UNKNOWN if crash == "drain" and not seen_empty else outcome
                assert told.empty().judged(checker).outcome == expected
    more = Queue().put(1).put(2).empty()
    more.crashed(2, "dequeue")
    verdict = more.put(3).empty().judged(ANY_ORDER)
    assert verdict.anomalies[0].evidence["count"] == 2
    assert "though process 1 found the queue empty afterwards (0.004–0.005 s)" in verdict.sentence
    kept = Queue().put(1)
    kept.crashed(2, "dequeue")
    kept.empty().put(2)
    kept.crashed(3, "drain")
    verdict = kept.empty().judged(ANY_ORDER)
    assert "1 acknowledged element never came out, which a drain of unknown outcome" in verdict.sentence


def test_what_a_drain_took_tells_since_when_the_queue_can_have_been_empty() -> None:
    for first, outcome in ((1, INVALID), (2, UNKNOWN)):
        told = Queue()
        told.invoke(5, "drain")
        told.put(first).put(3 - first)
        told.event(5, "ok", "drain", [2])
        for checker in (FIFO, ANY_ORDER):
            assert told.judged(checker).outcome == outcome


def test_a_drain_that_cannot_be_read_may_have_taken_what_is_missing() -> None:
    for checker in (FIFO, ANY_ORDER):
        told = Queue().put(1).put(2)
        told.did(5, "drain", None, 7)
        assert told.take(2).empty().judged(checker).outcome == UNKNOWN
        assert kinds(told.take(2).judged(checker)) == ["duplicated element"]


def test_of_several_that_found_the_queue_empty_the_last_to_begin_counts() -> None:
    """The first to begin is also the last to end, after a dequeue of unknown outcome; but 1 was gone before that."""
    for seen_empty, outcome in ((True, INVALID), (False, VALID)):
        told = Queue().put(1)
        told.invoke(5, "dequeue")
        if seen_empty:
            told.empty(process=6)
        told.crashed(2, "dequeue")
        told.fail(5, "empty")
        assert told.judged(FIFO).outcome == outcome


def test_a_value_that_came_out_twice_before_it_went_in_again() -> None:
    verdict = Queue().put(1).take(1).take(1).put(1).judged(ANY_ORDER)
    assert kinds(verdict) == ["element before its enqueue"]
    assert "took out 1 again" in verdict.sentence
    other = Queue().put(1).take(1).take(2).put(2).judged(ANY_ORDER)
    assert kinds(other) == ["element before its enqueue"]
    assert Queue().put(1).take(1).put(1).take(1).judged(ANY_ORDER).outcome == VALID


def test_where_nothing_is_known_to_have_gone_in_order_says_nothing() -> None:
    story = Queue()
    story.invoke(0, "enqueue", 1)
    story.info(0)
    assert story.take(1).judged(FIFO).outcome == VALID


def test_the_order_of_equal_values_is_not_judged_and_that_is_said() -> None:
    verdict = Queue().put(1).put(1).put(2).take(2).take(1).take(1).judged(FIFO)
    assert verdict.outcome == UNKNOWN
    assert "the order of 1 value" in verdict.sentence
    between = Queue().put(1).put(2).put(1).take(1).take(2).take(1)
    assert between.judged(FIFO).outcome == UNKNOWN
    inside = Queue().put(1).put(2).put(1).take(1)
    assert inside.judged(FIFO).outcome == UNKNOWN
