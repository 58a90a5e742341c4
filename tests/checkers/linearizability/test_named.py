"""Small histories of registers with their names: each mistake at its smallest, beside its innocent twin."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.checker import Limits
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.models import CasRegister, Register, model_named
from results.history import History, HistoryBuilder
from results.verdict import INVALID, UNKNOWN, VALID, Verdict

EVENTS = {"write": "w", "read": "r", "cas": "c"}


def story(*lines: str) -> History:
    """A history from lines such as `0 write 1` (invoked), `0 ok`, `1 read`, `1 ok 1`, `2 cas 1 2`, `2 info`, `2 fail`.

    A line `0 write 1 ok` is an operation that nothing happens during; of a read, `1 read 7 ok` has its answer. A line
    `0 write 1 info` is one that crashed.
    """
    builder = HistoryBuilder()
    for line in lines:
        process, what, *rest = line.split()
        values = [None if word == "null" else int(word) for word in rest if word not in ("ok", "info")]
        if what in EVENTS:
            argument: Any = values if what == "cas" else values[0] if what == "write" else None
            builder.invoke(int(process), what, argument)
            if rest[-1:] == ["ok"]:
                end(builder, int(process), what, values)
            elif rest[-1:] == ["info"]:
                builder.info(int(process), "timeout")
        elif what == "ok":
            end(builder, int(process), "read" if values else "", values)
        elif what == "info":
            builder.info(int(process), "timeout")
        else:
            builder.fail(int(process), "refused")
    return builder.done()


def end(builder: HistoryBuilder, process: int, f: str, values: list[Any]) -> None:
    if f == "read":
        builder.event(process, "ok", "read", values[0])
    else:
        builder.ok(process)


def judge(history: History, *, zones: bool = True) -> Verdict:
    return LinearizabilityChecker(CasRegister(), split_by_key=False, zones=zones).check(history, Limits())


def kind(history: History) -> str:
    """The kind of anomaly that both ways agree on."""
    verdicts = [judge(history), judge(history, zones=False)]
    assert [verdict.outcome for verdict in verdicts] == [INVALID, INVALID]
    for verdict in verdicts:
        assert 1 <= len(verdict.anomalies[0].evidence["minimal_history"]) <= 6
        indices = {event.index for event in history.operations}
        assert set(verdict.anomalies[0].operations) <= indices
    kinds = {verdict.anomalies[0].type for verdict in verdicts}
    assert len(kinds) == 1, kinds
    return kinds.pop()


def is_valid(history: History) -> bool:
    outcomes = {judge(history).outcome, judge(history, zones=False).outcome}
    assert len(outcomes) == 1
    return outcomes == {VALID}


def test_a_stale_read() -> None:
    history = story("0 write 7 ok", "1 write 9 ok", "2 read 9 ok", "3 read 7 ok")
    assert kind(history) == "stale read"
    sentence = judge(history).sentence
    assert "process 3 read 7 (0.006–0.007 s), after process 1 wrote 9 (completed at 0.003 s)" in sentence
    assert (
        "7 had been written by process 0, completed at 0.001 s, before that write began at 0.002 s"
        in sentence
    )
    assert sentence.endswith("So 7 was no longer the value: a stale read")
    assert judge(history).anomalies[0].operations == [0, 1, 2, 3, 6, 7]


def test_a_read_during_the_write_may_see_the_value_before() -> None:
    assert is_valid(story("0 write 7 ok", "1 write 9", "3 read 7 ok", "1 ok", "2 read 9 ok"))


def test_a_read_that_goes_back() -> None:
    """Neither read is late for the write, which is still going on, but the second is late for the first."""
    history = story("0 write 1 ok", "1 write 2", "2 read 2 ok", "3 read 1 ok", "1 ok")
    assert kind(history) == "stale read"
    assert (
        "process 3 read 1 (0.005–0.006 s), after process 2 read 2 (completed at 0.004 s)"
        in judge(history).sentence
    )
    assert "also, process 1 wrote 2 (0.002–0.007 s). So 1 was no longer the value" in judge(history).sentence


def test_reads_that_disagree_about_two_writes_at_once() -> None:
    """Nothing is late by itself: 1 may come before 2 or after it, but not both."""
    history = story("0 write 1", "1 write 2", "2 read 1 ok", "2 read 2 ok", "3 read 1 ok", "0 ok", "1 ok")
    assert kind(history) == "stale read"
    assert "No order of these 5 operations that keeps to their times" in judge(history).sentence
    assert is_valid(
        story("0 write 1", "1 write 2", "2 read 1 ok", "2 read 2 ok", "3 read 2 ok", "0 ok", "1 ok")
    )


def test_reads_of_two_processes_that_go_forward() -> None:
    assert is_valid(story("0 write 1 ok", "1 write 2", "3 read 1 ok", "2 read 2 ok", "1 ok"))


def test_a_lost_write() -> None:
    history = story("0 write 7 ok", "1 write 9 ok", "2 read 7 ok")
    assert kind(history) == "lost write"
    assert "the write of 9 was acknowledged, and nobody ever saw it: a lost write" in judge(history).sentence


def test_an_unseen_write_that_another_has_replaced_is_not_called_lost() -> None:
    """Somebody who reads late shows that the read is stale; the write of 9 may well have been there until 11 came."""
    history = story("0 write 7 ok", "1 write 9 ok", "2 read 7 ok", "1 write 11 ok", "2 read 11 ok")
    assert kind(history) == "stale read"


def test_a_crashed_write_may_be_lost() -> None:
    assert is_valid(story("0 write 7 ok", "1 write 9", "1 info", "2 read 7 ok"))


def test_a_crashed_write_may_show_up_late() -> None:
    assert is_valid(
        story("0 write 7 ok", "1 write 9", "1 info", "2 read 7 ok", "3 write 8 ok", "2 read 9 ok")
    )


def test_a_crashed_write_shows_up_only_once() -> None:
    history = story(
        "0 write 7 ok", "1 write 9", "1 info", "2 read 9 ok", "2 write 8 ok", "3 read 8 ok", "2 read 9 ok"
    )
    assert kind(history) == "stale read"


def test_the_initial_value_does_not_come_back() -> None:
    assert is_valid(story("0 read null ok", "0 write 1 ok"))
    history = story("0 write 1 ok", "1 read 1 ok", "0 read null ok")
    assert kind(history) == "stale read"
    assert "null was the initial value and was never written" in judge(history).sentence


def test_an_initial_value_may_be_given() -> None:
    checker = LinearizabilityChecker(Register(0), split_by_key=False)
    assert checker.check(story("0 read 0 ok"), Limits()).outcome == VALID
    assert checker.check(story("0 read null ok"), Limits()).outcome == INVALID


def test_a_value_that_nobody_wrote() -> None:
    history = story("0 write 1 ok", "1 read 5 ok")
    assert kind(history) == "value never written"
    assert judge(history).sentence.endswith(
        "process 1 read 5 (0.002–0.003 s), but nothing ever wrote 5 there"
    )


def test_a_value_whose_write_failed() -> None:
    history = story("0 write 1 ok", "2 write 5", "2 fail", "1 read 5 ok")
    assert kind(history) == "value of a failed write"
    assert "process 2's write (0.002–0.003 s), had failed" in judge(history).sentence
    assert is_valid(story("0 write 1 ok", "2 write 5", "2 info", "1 read 5 ok"))


def test_a_value_before_its_write() -> None:
    history = story("0 write 1 ok", "1 read 2 ok", "2 write 2 ok")
    assert kind(history) == "value before its write"
    assert "the only call that wrote 2, by process 2, began after that, at 0.004 s" in judge(history).sentence
    assert is_valid(story("0 write 1 ok", "2 write 2", "1 read 2 ok", "2 ok"))


def test_two_cas_from_the_same_value() -> None:
    history = story("0 write 1 ok", "1 cas 1 2 ok", "2 cas 1 3 ok")
    assert kind(history) == "cas inconsistency"
    assert "1 was there once only" in judge(history).sentence
    assert is_valid(story("0 write 1 ok", "1 cas 1 2 ok", "2 cas 2 3 ok", "0 read 3 ok"))


def test_a_cas_from_a_value_that_was_replaced() -> None:
    history = story("0 write 1 ok", "0 write 2 ok", "2 read 2 ok", "1 cas 1 3 ok")
    assert kind(history) == "cas inconsistency"
    assert "1 was no longer the value, so the cas must have failed" in judge(history).sentence


def test_a_cas_that_was_over_before_its_value_was_written() -> None:
    """That a read of the value began even earlier does not matter: it was answered late."""
    assert not is_valid(story("0 read", "1 cas 1 2 ok", "2 write 1 ok", "0 ok 1"))
    assert is_valid(story("0 read", "2 write 1 ok", "1 cas 1 2 ok", "0 ok 1"))


def test_a_failed_cas_did_not_happen_and_says_nothing_more() -> None:
    history = story("0 write 1 ok", "1 cas 1 2", "1 fail", "2 read 1 ok")
    assert is_valid(history)
    observing = LinearizabilityChecker(CasRegister(failed_cas_observes=True), split_by_key=False)
    verdict = observing.check(history, Limits())
    assert verdict.outcome == INVALID
    other = story("0 write 1 ok", "1 cas 5 2", "1 fail", "2 read 1 ok")
    assert observing.check(other, Limits()).outcome == VALID


def test_a_write_in_the_middle_of_a_chain_of_cas() -> None:
    """1 -> 2 by cas leaves no room for the 9 between them, which was read before the 1."""
    history = story(
        "0 write 1", "1 write 9", "2 read 1 ok", "2 read 9 ok", "3 cas 1 2 ok", "0 ok", "1 ok", "2 read 2 ok"
    )
    assert judge(history).outcome == INVALID
    assert judge(history, zones=False).outcome == INVALID
    assert is_valid(
        story(
            "0 write 1",
            "1 write 9",
            "2 read 9 ok",
            "2 read 1 ok",
            "3 cas 1 2 ok",
            "0 ok",
            "1 ok",
            "2 read 2 ok",
        )
    )


def test_cas_that_only_lead_to_each_other_have_no_origin() -> None:
    history = story("0 cas 1 2", "1 cas 2 1", "0 ok", "1 ok")
    assert judge(history).outcome == INVALID
    assert judge(history, zones=False).outcome == INVALID


def test_cas_that_lead_to_each_other_and_to_a_third_have_no_origin_either() -> None:
    history = story("2 cas 3 1", "0 cas 1 2 ok", "1 cas 1 3", "1 info", "2 ok")
    assert judge(history).outcome == INVALID
    assert judge(history, zones=False).outcome == INVALID


def test_a_crashed_cas_that_was_seen_must_have_found_its_value() -> None:
    assert is_valid(story("0 write 1 ok", "1 cas 1 2", "1 info", "2 read 1 ok", "2 read 2 ok"))
    assert not is_valid(story("0 write 1 ok", "1 cas 3 2", "1 info", "2 read 2 ok"))


def test_events_at_the_same_time_keep_their_order() -> None:
    """All clocks show 0; the index alone says that the write was over when the read began."""
    builder = HistoryBuilder()
    builder.invoke(0, "write", 1, time=0)
    builder.ok(0, time=0)
    builder.invoke(1, "read", time=0)
    builder.event(1, "ok", "read", None, time=0)
    assert judge(builder.done()).outcome == INVALID


def test_repeated_values_need_the_search_and_give_a_short_proof() -> None:
    """A value comes back by a second write; what is wrong lies far behind that."""
    lines = []
    for value in [1, 2, 3] * 40:
        lines += [f"0 write {value} ok", f"1 read {value} ok"]
    assert is_valid(story(*lines))
    history = story(*lines, "2 read 2 ok")
    verdict = judge(history)
    assert verdict.outcome == INVALID
    assert verdict.details["decided_by_zones"] == 0
    (anomaly,) = verdict.anomalies
    assert anomaly.type == "stale read"
    assert len(anomaly.evidence["minimal_history"]) <= 3
    assert "2 had last been written by process 0" in anomaly.sentence


def test_the_empty_history_is_valid() -> None:
    assert is_valid(History([]))
    assert is_valid(story("0 read"))


def keyed(*lines: tuple[int, str, str, Any]) -> History:
    builder = HistoryBuilder()
    for process, f, key, value in lines:
        builder.invoke(process, f, [key, None if f == "read" else value])
        builder.event(process, "ok", f, [key, value])
    return builder.done()


def test_keys_are_objects_of_their_own() -> None:
    checker = LinearizabilityChecker(CasRegister())
    good = keyed((0, "write", "x", 1), (0, "write", "y", 1), (1, "read", "y", 1), (1, "cas", "x", [1, 2]))
    verdict = checker.check(good, Limits())
    assert verdict.outcome == VALID
    assert verdict.details["keys"] == 2
    bad = keyed((0, "write", "x", 1), (0, "write", "y", 2), (1, "read", "y", 1))
    verdict = checker.check(bad, Limits())
    assert verdict.outcome == INVALID
    assert verdict.details["wrong_keys"] == ["y"]
    assert verdict.anomalies[0].key == "y"
    assert "1 of 2 keys is not linearizable: process 1 read 1 of key 'y'" in verdict.sentence


def test_of_many_wrong_keys_ten_are_explained_and_all_are_named() -> None:
    rows = [(0, f, f"k{key}", value) for key in range(12) for f, value in (("write", 1), ("read", 2))]
    verdict = LinearizabilityChecker(CasRegister()).check(keyed(*rows), Limits())
    assert verdict.sentence.startswith("12 of 12 keys are not linearizable: process 0 read 2 of key 'k0'")
    assert verdict.sentence.endswith("(and 11 more)")
    assert [anomaly.key for anomaly in verdict.anomalies] == [f"k{key}" for key in range(10)]
    assert len(verdict.details["wrong_keys"]) == 12
    assert verdict.details["further_conflicts"] == 2
    assert (
        "further_conflicts"
        not in LinearizabilityChecker(CasRegister()).check(keyed(*rows[:2]), Limits()).details
    )


@pytest.mark.parametrize(("key", "kind"), [("x", "value of a failed write"), ("y", "value never written")])
def test_a_write_to_another_key_that_failed_has_nothing_to_do_with_it(key: str, kind: str) -> None:
    builder = HistoryBuilder()
    for number, other in enumerate(["x", "y"]):
        builder.invoke(0, "write", [other, number])
        builder.ok(0, [other, number])
    builder.invoke(0, "write", [key, 5])
    builder.fail(0)
    builder.invoke(1, "read", ["x", None])
    builder.ok(1, ["x", 5])
    verdict = LinearizabilityChecker(CasRegister()).check(builder.done(), Limits())
    assert [anomaly.type for anomaly in verdict.anomalies] == [kind]


def test_values_without_a_key_prove_nothing_where_keys_are_expected() -> None:
    verdict = LinearizabilityChecker(CasRegister()).check(story("0 write 1 ok"), Limits())
    assert verdict.outcome == UNKNOWN
    assert "values are [key, value]" in verdict.sentence


def test_an_answer_about_another_key_proves_nothing() -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "read", ["x", None])
    builder.event(0, "ok", "read", ["y", 1])
    verdict = LinearizabilityChecker(CasRegister()).check(builder.done(), Limits())
    assert verdict.outcome == UNKNOWN
    assert "not [the same key, value]" in verdict.sentence


def test_functions_of_other_checkers_may_be_passed_over() -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "scan", None)
    builder.ok(0, [])
    with pytest.raises(ValueError, match="has no function 'scan'"):
        LinearizabilityChecker(CasRegister(), False).check(builder.done(), Limits())
    checker = LinearizabilityChecker(CasRegister(), False, functions=frozenset({"read", "write", "cas"}))
    assert checker.check(builder.done(), Limits()).outcome == VALID


def test_numbers_and_truth_are_different_values() -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "write", 1)
    builder.ok(0)
    builder.invoke(0, "read")
    builder.ok(0, True)
    assert judge(builder.done()).outcome == INVALID


# What other objects than registers are told by


def of_model(name: str, *steps: tuple[str, Any, Any], **options: Any) -> Verdict:
    """The verdict on operations one after the other, of one process: `(f, asked, answered)`."""
    builder = HistoryBuilder()
    for f, asked, answered in steps:
        builder.invoke(0, f, asked)
        builder.event(0, "ok", f, answered)
    return LinearizabilityChecker(model_named(name, **options), split_by_key=False).check(
        builder.done(), Limits()
    )


HOLD = [("acquire", None, None), ("release", None, None)]


@pytest.mark.parametrize("name", ["mutex", "owned-mutex"])
def test_a_second_holder_is_told_by_the_two_acquires_alone(name: str) -> None:
    verdict = of_model(name, *HOLD * 20, HOLD[0], HOLD[0], HOLD[1])
    assert len(verdict.anomalies[0].evidence["minimal_history"]) == 2
    assert verdict.anomalies[0].type == "not linearizable", "a lock holds no value that could be stale"
    assert "process 0 acquired the lock (0.082–0.083 s). No order of these 2 operations" in verdict.sentence
    assert "holds the lock at a time" in verdict.sentence
    assert of_model(name, *HOLD * 20, HOLD[0]).outcome == VALID


def test_too_many_permits_are_told_with_how_many_there_are() -> None:
    verdict = of_model("semaphore", ("acquire", 4, 4), permits=3)
    assert (
        "acquired 4 permits (0.000–0.001 s). Nothing explains that, as there are 3 permits"
        in verdict.sentence
    )
    assert of_model("semaphore", ("acquire", 3, 3), permits=3).outcome == VALID


def test_transactions_that_do_not_matter_are_left_out() -> None:
    """Ten of two registers, each read; then one is old and the other new."""

    def both(kind: str, x: int, y: int) -> tuple[str, Any, Any]:
        rows = [[kind, "x", x], [kind, "y", y]]
        return "txn", [[kind, key, None if kind == "r" else value] for kind, key, value in rows], rows

    steps = [step for value in range(10) for step in (both("w", value, value), both("r", value, value))]
    verdict = of_model("multi-register", *steps, both("r", 3, 9))
    assert verdict.outcome == INVALID
    assert len(verdict.anomalies[0].evidence["minimal_history"]) == 3
    assert of_model("multi-register", *steps, both("r", 9, 9)).outcome == VALID


def test_old_values_of_a_map_are_told_by_three_operations() -> None:
    """Numbers are no texts that could be taken apart, so the search decides."""
    steps = [("put", number, number) for number in range(8)]
    verdict = of_model("kv", *steps, ("get", None, 2))
    assert len(verdict.anomalies[0].evidence["minimal_history"]) == 3


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        ([1, [None, True]], "[1, [null, true]]"),
        ({"a": 1, "b": [False]}, "{'a': 1, 'b': [false]}"),
        (float("nan"), "nan"),
        ("x", "'x'"),
        ([], "[]"),
    ],
)
def test_values_are_told_as_they_stand_in_the_history(value: Any, words: str) -> None:
    verdict = of_model("register", ("write", 7, 7), ("read", None, value))
    assert f"process 0 read {words} (" in verdict.sentence
