"""Logs: lost, duplicated, reordered and skipped messages, each at its smallest beside an innocent twin."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.log import LogChecker
from results.verdict import UNKNOWN, VALID
from tests.support.stories import Story, kinds

CHECKER = LogChecker()


class Log(Story):
    def send(self, value: Any, offset: int | None, process: int = 0, key: str = "k") -> Log:
        self.did(process, "send", [key, value], [key, value if offset is None else [offset, value]])
        return self

    def poll(self, *messages: tuple[int, Any], process: int = 1, key: str = "k") -> Log:
        self.did(process, "poll", None, {key: [list(message) for message in messages]} if messages else {})
        return self

    def assign(self, where: str | None = None, process: int = 1, f: str = "assign") -> Log:
        self.did(process, f, ["k"] if where is None else {"keys": ["k"], "from": where})
        return self


def two() -> Log:
    return Log().send("a", 0).send("b", 1)


def test_a_log_read_in_order() -> None:
    verdict = two().assign("beginning").poll((0, "a")).poll((1, "b")).poll().judged(CHECKER)
    assert verdict.outcome == VALID, verdict.sentence
    assert two().poll((0, "a"), (1, "b")).judged(CHECKER).outcome == VALID


def test_messages_that_nobody_came_to_are_unseen_and_no_error() -> None:
    verdict = two().poll((0, "a")).judged(CHECKER)
    assert verdict.outcome == VALID
    assert verdict.details["unseen"] == {"k": 1}
    assert "1 message of k had not been polled by the end" in verdict.sentence


def test_lost_means_that_somebody_went_past() -> None:
    verdict = two().send("c", 2).poll((0, "a")).poll((2, "c")).judged(CHECKER)
    assert kinds(verdict) == ["lost message"]
    assert "process 0 sent 'b' to offset 1 of key 'k' (0.002–0.003 s), acknowledged" in verdict.sentence
    assert kinds(two().send("c", 2).poll((0, "a"), (2, "c")).judged(CHECKER)) == ["lost message"]
    assert two().send("c", 2).poll((2, "c")).judged(CHECKER).outcome == VALID
    assert kinds(two().assign("beginning").poll((1, "b")).judged(CHECKER)) == ["lost message"]
    assert kinds(two().poll((1, "b")).judged(LogChecker(start="beginning"))) == ["lost message"]
    assert two().assign("latest").poll((1, "b")).judged(LogChecker(start="beginning")).outcome == VALID
    assert two().assign("beginning", f="subscribe").poll((1, "b")).judged(CHECKER).outcome == VALID


def test_each_key_has_offsets_of_its_own() -> None:
    """Where j is polled from the middle, only a consumer that was to begin with it has lost something."""
    story = two().send("c", 0, key="j").send("d", 1, key="j")
    both = {"k": [[0, "a"], [1, "b"]], "j": [[1, "d"]]}
    assert story.assign("beginning").did(1, "poll", None, both).judged(CHECKER).outcome == VALID
    assert kinds(story.did(2, "poll", None, both).judged(LogChecker(start="beginning"))) == ["lost message"]
    story.poll((0, "c"), process=3, key="j").poll((1, "d"), process=3, key="j")
    assert kinds(story.judged(LogChecker(start="beginning"))) == ["skipped messages"]
    verdict = Log().send("a", 5).send("b", 3, key="j").poll((5, "a")).judged(CHECKER)
    assert verdict.outcome == VALID
    assert verdict.details["unseen"] == {"j": 1}


def test_a_consumer_from_the_beginning_that_passed_over_what_others_found() -> None:
    verdict = two().poll((0, "a"), (1, "b"), process=2).assign("beginning").poll((1, "b")).judged(CHECKER)
    assert kinds(verdict) == ["skipped messages"]
    assert "was to poll key 'k' from the beginning, but its first was offset 1" in verdict.sentence
    assert verdict.anomalies[0].operations == [0, 1, 8, 9]


def test_what_comes_after_a_gap_is_not_lost() -> None:
    """b and d are passed over; nobody came as far as f."""
    story = two()
    for offset, value in enumerate("cdef", 2):
        story.send(value, offset)
    story.poll((0, "a"), process=1).poll((2, "c"), process=1)
    verdict = story.poll((0, "a"), process=2).poll((4, "e"), process=2).judged(CHECKER)
    assert kinds(verdict) == ["skipped messages", "lost message"]
    lost = verdict.anomalies[1]
    assert (lost.evidence["count"], lost.key) == (2, "k")
    assert verdict.details["unseen"] == {"k": 1}


def test_one_gap_with_a_message_that_others_found_and_one_that_nobody_found() -> None:
    story = two().send("c", 2).send("d", 3).poll((2, "c"), process=2)
    verdict = story.poll((0, "a")).poll((3, "d")).judged(CHECKER)
    assert kinds(verdict) == ["skipped messages", "lost message"]
    assert "past 2, where others found messages" in verdict.sentence
    unplaced = Log().send("a", 0).send("b", None).send("c", 2).poll((0, "a")).poll((2, "c"))
    assert unplaced.judged(CHECKER).outcome == VALID  # Nobody knows that b was to be between them.
    assert unplaced.judged(CHECKER).details["unseen"] == {"k": 1}


def test_skipped_by_one_and_seen_by_another() -> None:
    story = two().send("c", 2).poll((0, "a"), (1, "b"), (2, "c"), process=2)
    verdict = story.poll((0, "a")).poll((2, "c")).judged(CHECKER)
    assert kinds(verdict) == ["skipped messages"]
    assert "past 1, where others found messages" in verdict.sentence
    story = two().send("c", 2).poll((0, "a"), (1, "b"), (2, "c"), process=2)
    assert kinds(story.poll((0, "a"), (2, "c")).judged(CHECKER)) == ["internally skipped messages"]
    story = two().send("c", 2).poll((0, "a"), (1, "b"), (2, "c"), process=2)
    assert story.poll((0, "a")).assign().poll((2, "c")).judged(CHECKER).outcome == VALID


def test_offsets_that_nobody_saw_are_gaps() -> None:
    assert Log().send("a", 0).send("b", 7).poll((0, "a")).poll((7, "b")).judged(CHECKER).outcome == VALID
    story = Log().send("a", 0).send("b", 7)
    story.crashed(9, "send", ["k", "x"])
    assert story.poll((0, "a"), (7, "b")).judged(CHECKER).outcome == VALID


def test_polls_that_go_back() -> None:
    assert kinds(two().poll((0, "a"), (1, "b")).poll((0, "a")).judged(CHECKER)) == ["non-monotonic poll"]
    assert kinds(two().poll((0, "a")).poll((0, "a")).judged(CHECKER)) == ["non-monotonic poll"]
    assert kinds(two().poll((1, "b"), (0, "a")).judged(CHECKER)) == ["internal non-monotonic poll"]
    assert two().poll((1, "b")).assign("beginning").poll((0, "a")).judged(CHECKER).outcome == VALID
    grouped = two().assign(f="subscribe").poll((1, "b")).poll((0, "a"))
    assert grouped.judged(CHECKER).outcome == VALID
    failed = two().poll((1, "b"))
    failed.failed(1, "poll")
    assert failed.poll((0, "a")).judged(CHECKER).outcome == VALID


def test_what_sets_a_consumers_positions_anew() -> None:
    def then(f: str, asked: Any, fails: bool = True) -> list[str]:
        story = two().assign(f="subscribe").assign().poll((1, "b"))
        if fails:
            story.failed(1, f, asked)
        else:
            story.did(1, f, asked)
        return kinds(story.poll((0, "a")).judged(CHECKER))

    assert then("txn", [["send", "k", "c"], ["poll"]]) == []
    assert then("txn", [["poll", ["k"]]]) == []
    assert then("poll", None) == []
    assert then("assign", ["k"], fails=False) == []
    assert then("txn", [["send", "k", "c"]]) == ["non-monotonic poll"]
    assert then("send", ["k", "c"]) == ["non-monotonic poll"]
    assert then("assign", ["k"]) == ["non-monotonic poll"]
    refused = two().poll((0, "a"))
    refused.failed(1, "assign", ["k"])
    assert refused.poll((1, "b")).judged(CHECKER).outcome == VALID


def test_sends_out_of_order() -> None:
    verdict = Log().send("a", 1).send("b", 0).poll((0, "b"), (1, "a")).judged(CHECKER)
    assert kinds(verdict) == ["non-monotonic send"]
    told = "process 0 sent 'a' to offset 1 of key 'k' (0.000–0.001 s), and then process 0 'b' to offset 0"
    assert told in verdict.sentence
    three = Log().send("a", 0, process=5).send("b", 5, process=6).send("c", 3, process=7)
    assert kinds(three.judged(CHECKER)) == ["reordered sends"]
    same = Log().send("a", 0).send("b", 0)
    assert kinds(same.judged(CHECKER)) == ["inconsistent offset", "non-monotonic send"]
    other = Log().send("a", 1).send("b", 0, process=5).poll((0, "b"), (1, "a"))
    assert kinds(other.judged(CHECKER)) == ["reordered sends"]
    assert other.judged(LogChecker(real_time=False)).outcome == VALID
    overlap = Log()
    overlap.invoke(5, "send", ["k", "b"])
    overlap.send("a", 1)
    overlap.event(5, "ok", "send", ["k", [0, "b"]])
    assert overlap.poll((0, "b"), (1, "a")).judged(CHECKER).outcome == VALID


def test_inconsistent_and_duplicated() -> None:
    verdict = two().poll((0, "a"), (1, "x")).judged(CHECKER)
    assert "inconsistent offset" in kinds(verdict)
    assert "message never sent" in kinds(verdict)
    told = "offset 1 of key 'k' holds 'b', sent by process 0 (0.002–0.003 s); and 'x', polled by process 1"
    assert told in verdict.sentence
    assert "process 1 polled 'x' from key 'k' (0.004–0.005 s), which nobody sent" in verdict.sentence
    verdict = Log().send("a", 0).send("b", 1).poll((0, "a"), (1, "b"), (3, "a")).judged(CHECKER)
    assert kinds(verdict) == ["duplicated message"]
    assert "'a' was sent to key 'k' 1 time, but is there at offsets 0, 3" in verdict.sentence
    retried = Log().send("a", 0)
    retried.crashed(9, "send", ["k", "a"])
    assert retried.poll((0, "a"), (3, "a")).judged(CHECKER).outcome == VALID
    refused = Log().send("a", 0)
    refused.failed(9, "send", ["k", "a"])
    assert kinds(refused.poll((0, "a"), (3, "a")).judged(CHECKER)) == ["duplicated message"]
    assert Log().send("a", 0).send("a", 0, key="j").poll((0, "a")).judged(CHECKER).outcome == VALID


def test_messages_from_nowhere() -> None:
    failed = two()
    failed.failed(3, "send", ["k", "c"])
    verdict = failed.poll((2, "c")).judged(CHECKER)
    assert kinds(verdict) == ["aborted message (G1a)"]
    assert "but process 3's send of it (0.004–0.005 s) had failed" in verdict.sentence
    early = Log().poll((0, "a")).send("a", 0)
    assert kinds(early.judged(CHECKER)) == ["message before its send"]
    assert "before process 0 began to send it (0.002–0.003 s)" in early.judged(CHECKER).sentence
    again = Log()
    again.failed(3, "send", ["k", "a"])
    assert kinds(again.poll((0, "a")).send("a", 0).judged(CHECKER)) == ["message before its send"]
    crashed = two()
    crashed.crashed(3, "send", ["k", "c"])
    assert crashed.poll((0, "a"), (1, "b"), (2, "c")).judged(CHECKER).outcome == VALID


def test_transactions() -> None:
    story = Log()
    story.did(0, "txn", [["send", "k", "a"], ["poll"]], [["send", "k", [0, "a"]], ["poll", {}]])
    story.did(1, "txn", [["poll"]], [["poll", {"k": [[0, "a"]]}]])
    assert story.judged(CHECKER).outcome == VALID
    own = Log()
    own.did(0, "txn", [["send", "k", "a"], ["poll"]], [["send", "k", [0, "a"]], ["poll", {"k": [[0, "a"]]}]])
    assert kinds(own.judged(CHECKER)) == ["precommitted message"]
    aborted = Log()
    aborted.failed(0, "txn", [["send", "k", "a"], ["poll"]])
    assert kinds(aborted.poll((0, "a")).judged(CHECKER)) == ["aborted message (G1a)"]
    within = Log()
    within.did(
        0, "txn", [["send", "k", "a"], ["send", "k", "b"]], [["send", "k", [4, "a"]], ["send", "k", [3, "b"]]]
    )
    assert kinds(within.poll((3, "b")).judged(CHECKER)) == ["non-monotonic send"]


def test_a_send_may_not_know_its_offset() -> None:
    assert (
        Log().send("a", None).send([1, "b"], None).poll((0, "a"), (1, [1, "b"])).judged(CHECKER).outcome
        == VALID
    )


def test_keys_are_told_by_their_text() -> None:
    """JSON knows no other keys of mappings: key 1 is sent to, and polled as "1"."""
    story = Log()
    story.did(0, "send", [1, "a"], [1, [0, "a"]])
    story.did(1, "poll", None, {"1": [[0.0, "a"]]})
    assert story.judged(CHECKER).outcome == VALID


def test_what_cannot_be_judged() -> None:
    assert two().judged(CHECKER).outcome == UNKNOWN
    assert two().poll().judged(CHECKER).outcome == UNKNOWN
    sends: list[Any] = ["x", "xy", 5]
    polls: list[Any] = [
        [1],
        *(
            {"k": messages}
            for messages in (7, [5], [[0, "a"], 5], [[0, "a", 1]], [[-1, "a"]], [[1 << 40, "a"]])
        ),
        *({"k": [[0, "a"], [offset, "b"]]} for offset in (-1, 1 << 40, 0.5)),
    ]
    transactions: list[Any] = [[["r", "k", None]], 5, [["poll"], 5], [[]]]
    strange = two().poll((0, "a")).did(0, "send", ["k", "c"], "c").did(1, "assign", "k")
    for asked in sends:
        strange.did(0, "send", asked)
    for answer in polls:
        strange.did(1, "poll", None, answer)
    for asked in transactions:
        strange.did(0, "txn", asked)
    strange.did(0, "txn", [["poll"]], []).did(0, "txn", [["poll"]], [["poll", 7]])
    strange.did(3, "crash")
    verdict = strange.judged(CHECKER)
    assert verdict.outcome == UNKNOWN
    assert f"{4 + len(sends) + len(polls) + len(transactions)} values are not" in verdict.sentence


def test_sends_contradict_each_other_whether_or_not_anybody_polls() -> None:
    assert kinds(Log().send("a", 0).send("b", 0, process=2).judged(CHECKER)) == [
        "inconsistent offset",
        "reordered sends",
    ]
    assert kinds(Log().send("a", 1).send("b", 0).judged(CHECKER)) == ["non-monotonic send"]
    verdict = two().poll().judged(CHECKER)
    assert verdict.outcome == UNKNOWN
    assert "none of 1 poll returned a message" in verdict.sentence


@pytest.mark.parametrize("other", ["1", True, [1], 1.5, None], ids=str)
def test_keys_are_what_they_are(other: Any) -> None:
    """Two logs whose keys look alike: the same offsets hold different messages."""
    sends = Story().did(0, "send", [1, "a"], [1, [0, "a"]]).did(0, "send", [other, "b"], [other, [0, "b"]])
    assert sends.judged(CHECKER).outcome == UNKNOWN
    keys = tuple(other) if isinstance(other, list) else other
    if other is not True:  # Which is 1 to a mapping of Python.
        both = sends.did(1, "poll", None, {1: [[0, "a"]], keys: [[0, "b"]]})
        assert both.judged(CHECKER).outcome == VALID


def test_a_text_of_json_means_the_number_unless_the_text_is_a_key_too() -> None:
    sends = Story().did(0, "send", [1, "a"], [1, [0, "a"]]).did(0, "send", [2, "c"], [2, [0, "c"]])
    assert kinds(sends.did(1, "poll", None, {"1": [[0, "x"]]}).judged(CHECKER)) == [
        "inconsistent offset",
        "message never sent",
    ]
    both = Story().did(0, "send", [1, "a"], [1, [0, "a"]]).did(0, "send", ["1", "b"], ["1", [0, "b"]])
    verdict = both.did(1, "poll", None, {"1": [[0, "b"]]}).judged(CHECKER)
    assert verdict.outcome == UNKNOWN
    assert "the keys '1' of polled messages are each the text of several keys" in verdict.sentence


def test_a_consumer_may_be_anywhere_after_a_poll_that_cannot_be_read() -> None:
    def story() -> Log:
        return two().send("c", 2).poll((0, "a"), (1, "b"), (2, "c"), process=2).poll((0, "a"))

    torn = story()
    torn.did(1, "poll", None, {"k": [[1, "b"]], "other": "nonsense"})
    assert torn.poll((2, "c")).judged(CHECKER).outcome == UNKNOWN
    torn = story()
    torn.did(1, "txn", [["poll"], ["poll"]], [["poll", "nonsense"], ["poll", {"k": [[2, "c"]]}]])
    assert torn.judged(CHECKER).outcome == UNKNOWN
    torn = story()
    torn.did(1, "txn", [["poll"]], [["poll"]])
    assert torn.poll((2, "c")).judged(CHECKER).outcome == VALID


def test_a_send_that_cannot_be_read_may_be_of_any_message() -> None:
    for asked, answer in (["k", "a"], 7), ({"k": "a"}, None):
        story = Story().did(0, "send", asked, answer)
        assert story.did(1, "poll", None, {"k": [[0, "a"]]}).judged(CHECKER).outcome == UNKNOWN
    story = Story().did(0, "txn", [["send", "k", "a"]], "nonsense").did(0, "txn", [["send", "k"]])
    assert story.did(1, "poll", None, {"k": [[0, "a"], [1, "b"]]}).judged(CHECKER).outcome == UNKNOWN


def test_a_message_is_there_twice_only_if_all_that_was_sent_is_known() -> None:
    twice: Any = {"k": [[0, "a"], [1, "a"]]}
    assert "duplicated message" in kinds(Log().send("a", 0).did(1, "poll", None, twice).judged(CHECKER))
    for f, asked in (("send", 5), ("txn", 5), ("txn", [["send", "k"]])):
        known = Log().send("a", 0).failed(2, f, asked).did(1, "poll", None, twice)
        assert "duplicated message" in kinds(known.judged(CHECKER)), "it has sent nothing"
        story = Log().send("a", 0).did(2, f, asked).did(1, "poll", None, twice)
        verdict = story.judged(CHECKER)
        assert (verdict.outcome, kinds(verdict)) == (UNKNOWN, []), "it may have sent it again"


def test_a_key_that_may_be_two_hides_nothing_of_others() -> None:
    both = Log().send("a", 0).send("b", 1).did(0, "send", [1, "c"], [1, [0, "c"]])
    both.did(0, "send", ["1", "d"], ["1", [0, "d"]]).did(1, "poll", None, {"1": [[0, "d"]], "k": [[0, "a"]]})
    verdict = both.poll((1, "b")).judged(CHECKER)
    assert (verdict.outcome, kinds(verdict)) == (UNKNOWN, [])
    assert kinds(both.poll((0, "a")).judged(CHECKER)) == ["non-monotonic poll"]


@pytest.mark.parametrize("keys", [[1], {"keys": [1], "from": "beginning"}])
def test_a_key_that_was_assigned_is_named_too(keys: Any) -> None:
    story = Story().did(0, "send", ["1", "a"], ["1", [0, "a"]]).did(1, "assign", keys)
    verdict = story.did(1, "poll", None, {"1": [[0, "x"]]}).judged(CHECKER)
    assert (verdict.outcome, kinds(verdict)) == (UNKNOWN, []), "it may be of the other log"


@pytest.mark.parametrize(
    ("failed", "moves"),
    [
        ([["poll"]], True),
        ([["poll", None]], True),
        ([["send", "k", "x"], ["poll"]], True),
        ([["send", "k", "x"]], False),
    ],
)
def test_a_failed_transaction_may_have_moved_whoever_polls_in_it(failed: Any, moves: bool) -> None:
    story = two().send("c", 2).poll((0, "a"), (1, "b"), (2, "c"), process=2).poll((0, "a"))
    verdict = story.failed(1, "txn", failed).poll((2, "c")).judged(CHECKER)
    assert (verdict.outcome == VALID) is moves, verdict.sentence


def test_transactions_that_poll_one_after_the_other_go_on() -> None:
    story = two()
    for messages in ([[0, "a"], [1, "b"]], [[0, "a"]]):
        assert "non-monotonic poll" not in kinds(story.judged(CHECKER))
        story.did(1, "txn", [["poll"]], [["poll", {"k": messages}]])
    assert kinds(story.judged(CHECKER)) == ["non-monotonic poll"]
