"""The bank checker: each mistake at its smallest, beside an innocent twin."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.bank import BankChecker
from checkers.checker import Limits
from results.history import History, HistoryBuilder
from results.verdict import INVALID, UNKNOWN, VALID, Verdict


def reads(*answers: Any) -> History:
    builder = HistoryBuilder()
    for answer in answers:
        builder.invoke(0, "read")
        builder.ok(0, answer)
    return builder.done()


def judge(history: History, **options: Any) -> Verdict:
    return BankChecker(["a", "b"], 20, **options).check(history, Limits())


def test_the_same_total_in_every_read_is_valid() -> None:
    verdict = judge(reads({"a": 10, "b": 10}, {"a": 3, "b": 17}, {"a": 0, "b": 20}))
    assert verdict.outcome == VALID
    assert "all 3 reads saw 20 in 2 accounts" in verdict.sentence


def test_a_wrong_total_names_the_first_and_the_worst_read() -> None:
    verdict = judge(reads({"a": 10, "b": 10}, {"a": 9, "b": 10}, {"a": 1, "b": 4}, {"a": 10, "b": 9}))
    assert verdict.outcome == INVALID
    (anomaly,) = verdict.anomalies
    assert anomaly.type == "wrong total"
    assert anomaly.operations == [2, 3, 4, 5, 6, 7]
    assert anomaly.evidence["count"] == 3
    assert anomaly.evidence["worst"]["index"] == 4
    assert "process 0 (0.002–0.003 s) saw 19 instead of 20" in anomaly.sentence
    assert "the worst: the read by process 0 (0.004–0.005 s) saw 5 instead of 20" in anomaly.sentence


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"a": -1, "b": 21}, "negative balance"),
        ({"a": 20}, "missing account"),
        ({"a": 10, "b": 10, "c": 0}, "unexpected account"),
        ({"a": 10, "b": 10, "c": 5}, "unexpected account"),
        ({"a": 20, "b": None}, "account without a balance"),
        ({"a": 20, "b": float("nan")}, "account without a balance"),
        ({}, "missing account"),
        (None, "missing account"),
    ],
)
def test_each_mistake_in_a_read_has_its_name(answer: Any, kind: str) -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "read")
    builder.event(0, "ok", "read", answer)
    verdict = judge(builder.done())
    assert verdict.outcome == INVALID
    assert [anomaly.type for anomaly in verdict.anomalies] == [kind]


def test_decimals_are_added_up_as_they_are_written() -> None:
    """As binary fractions 0.1 and 0.2 come to 0.30000000000000004, and 0 and 0.3 to something else."""
    for total in (None, 0.3):
        checker = BankChecker(total=total)
        right = reads({"a": 0.1, "b": 0.2}, {"a": 0.0, "b": 0.3}, {"a": 0.3, "b": 0})
        assert checker.check(right, Limits()).outcome == VALID
        wrong = checker.check(reads({"a": 0.1, "b": 0.2}, {"a": 0.1, "b": 0.3}), Limits())
        assert "saw 0.4 instead of 0.3" in wrong.sentence
    assert BankChecker().check(reads({"a": 0.5, "b": 0.5}, {"a": 1, "b": 0}), Limits()).outcome == VALID


def test_debts_may_be_allowed() -> None:
    assert judge(reads({"a": -1, "b": 21}), allow_negative=True).outcome == VALID


def test_transfers_of_unknown_outcome_do_not_matter() -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "transfer", {"from": "a", "to": "b", "amount": 5})
    builder.info(0, "timeout")
    builder.invoke(1, "read")
    builder.ok(1, {"a": 5, "b": 15})
    builder.invoke(1, "read")
    builder.ok(1, {"a": 10, "b": 10})
    assert judge(builder.done()).outcome == VALID


def test_without_a_read_nothing_is_known() -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "read")
    builder.fail(0, "unreachable")
    verdict = judge(builder.done())
    assert verdict.outcome == UNKNOWN
    assert "none of 1 read showed a balance" in verdict.sentence


def test_numbered_accounts_survive_their_way_through_json() -> None:
    """JSON turns the keys of a mapping into text; in memory they are still numbers."""
    checker = BankChecker([1, 2], 20)
    assert checker.check(reads({1: 10, 2: 10}), Limits()).outcome == VALID
    assert checker.check(reads({"1": 10, "2": 10}), Limits()).outcome == VALID


def test_accounts_are_what_they_are() -> None:
    for one, other in ((1, "1"), (None, "null"), (True, "true"), ((1,), "[1]")):
        for checker in (BankChecker(total=20), BankChecker([one, other], 20)):
            assert checker.check(reads({one: 15, other: 5}), Limits()).outcome == VALID
            strange = checker.check(reads({one: 15, other: 5}, {one: 15, "x": 5}), Limits())
            assert {anomaly.type for anomaly in strange.anomalies} == {
                "missing account",
                "unexpected account",
            }


def test_a_bank_without_accounts_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one account"):
        BankChecker([], 0)


def test_accounts_and_total_are_taken_from_the_history() -> None:
    checker = BankChecker()
    assert checker.check(reads({"a": 10, "b": 10}, {"a": 3, "b": 17}), Limits()).outcome == VALID
    verdict = checker.check(reads({"a": 10, "b": 10}, {"a": 3, "b": 18}), Limits())
    assert "saw 21 instead of 20" in verdict.sentence
    strange = checker.check(reads({"a": 20}, {"a": 10, "b": 10}, {"a": 10, "b": 10}), Limits())
    assert [anomaly.type for anomaly in strange.anomalies] == ["missing account"]
    first = BankChecker(["a", "b"]).check(reads(5, {"a": 1, "c": 1}, {"a": 10, "b": 10}), Limits())
    assert {anomaly.type for anomaly in first.anomalies} == {"missing account", "unexpected account"}
    assert checker.check(reads({"a": None, "b": 10}), Limits()).outcome == INVALID
    assert checker.check(reads(), Limits()).outcome == UNKNOWN


def test_balances_that_are_no_small_whole_numbers() -> None:
    huge = 10**30
    assert BankChecker(["a", "b"], huge).check(reads({"a": huge - 1, "b": 1}), Limits()).outcome == VALID
    assert BankChecker(["a", "b"], huge).check(reads({"a": huge, "b": 1}), Limits()).outcome == INVALID
    assert judge(reads({"a": -huge, "b": 20}), allow_negative=True).outcome == INVALID
    assert judge(reads({"a": 10.5, "b": 9.5})).outcome == VALID
    assert judge(reads({"a": True, "b": 19})).outcome == INVALID


def transferring() -> HistoryBuilder:
    builder = HistoryBuilder()
    builder.invoke(0, "transfer", {"from": "a", "to": "b", "amount": 5})
    return builder


def read(builder: HistoryBuilder, answer: Any) -> HistoryBuilder:
    builder.invoke(1, "read")
    builder.ok(1, answer)
    return builder


def test_reads_that_are_no_snapshot_may_find_a_transfer_half_done() -> None:
    half = read(transferring(), {"a": 5, "b": 10})
    half.ok(0)
    assert judge(half.done()).outcome == INVALID
    assert judge(half.done(), snapshot=False).outcome == UNKNOWN
    assert judge(read(half, {"a": 5, "b": 15}).done(), snapshot=False).outcome == VALID
    verdict = judge(read(half, {"a": 5, "b": 10}).done(), snapshot=False)
    assert [anomaly.type for anomaly in verdict.anomalies] == ["wrong total"]


def test_a_total_that_is_not_given_is_not_taken_from_a_read_that_a_transfer_may_have_touched() -> None:
    """The first read finds the transfer half done; what is right is known from the next one."""
    half = read(transferring(), {"a": 5, "b": 10})
    half.ok(0)
    checker = BankChecker(snapshot=False)
    assert checker.check(half.done(), Limits()).outcome == UNKNOWN
    right = read(half, {"a": 5, "b": 15})
    assert checker.check(right.done(), Limits()).outcome == VALID
    assert "saw 16 instead of 20" in checker.check(read(right, {"a": 5, "b": 11}).done(), Limits()).sentence
    crashed = transferring()
    crashed.info(0, "timeout")
    read(read(crashed, {"a": 5, "b": 10}), {"a": 10, "b": 15})
    verdict = checker.check(crashed.done(), Limits())
    assert verdict.outcome == UNKNOWN, "15 and 25 are both 20, if the transfer of 5 was half done twice"
    assert "of unknown outcome, so their total is not known" in verdict.sentence


def test_a_crashed_transfer_is_under_way_for_ever() -> None:
    builder = transferring()
    builder.info(0, "timeout")
    for balances, outcome in (
        ({"a": 5, "b": 10}, VALID),
        ({"a": 10, "b": 15}, VALID),
        ({"a": 9, "b": 10}, INVALID),
    ):
        story = transferring()
        story.info(0, "timeout")
        assert judge(read(story, balances).done(), snapshot=False).outcome == outcome, balances
    debt = read(builder, {"a": -1, "b": 21})
    assert judge(debt.done(), snapshot=False).outcome == INVALID


def test_each_of_several_crashed_transfers_may_be_half_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5 and of 3: either amount may be missing or there twice."""

    def told(difference: int) -> str:
        builder = transferring()
        builder.info(0, "timeout")
        builder.invoke(2, "transfer", {"from": "b", "to": "a", "amount": 3})
        builder.info(2, "timeout")
        return judge(read(builder, {"a": 10 + difference, "b": 10}).done(), snapshot=False).outcome

    valid = [difference for difference in range(-10, 11) if told(difference) == VALID]
    assert valid == [-8, -5, -3, -2, 0, 2, 3, 5, 8]
    monkeypatch.setattr("checkers.bank._MOST_BITS", 7)
    assert [told(-9), told(-7), told(1), told(8)] == [INVALID, VALID, VALID, VALID], (
        "too many to be told apart"
    )


def test_a_crashed_transfer_of_an_unknown_amount_may_have_done_anything() -> None:
    for asked in (None, {"from": "a", "to": "b"}, {"amount": "much"}):
        builder = HistoryBuilder()
        builder.invoke(0, "transfer", asked)
        builder.info(0, "timeout")
        wrong = read(builder, {"a": 1, "b": 1}).done()
        assert judge(wrong).outcome == INVALID
        assert judge(wrong, snapshot=False).outcome == UNKNOWN


OPENING = {"a": 10, "b": 10}


def books(*events: tuple[str, Any], first: Any = OPENING, last: tuple[Any, ...]) -> Verdict:
    """A read, transfers by process 1 (`outcome, (from, to, amount)`) and reads (`"read", answer`), and reads at the
    end."""
    builder = HistoryBuilder()
    builder.invoke(0, "read")
    builder.ok(0, first)
    for outcome, asked in events:
        if outcome == "read":
            builder.invoke(0, "read")
            builder.ok(0, asked)
            continue
        source, target, amount = asked
        value = {"from": source, "to": target, "amount": amount}
        builder.invoke(1, "transfer", value)
        builder.event(1, outcome, "transfer", value)
    for answer in last:
        builder.invoke(0, "read")
        builder.ok(0, answer)
    return judge(builder.done(), opening=OPENING)


def test_a_transfer_that_was_acknowledged_and_never_happened_is_missed_by_no_total() -> None:
    """Every read sees 20; but a gave 3 to b, which nobody sees."""
    verdict = books(("ok", ("a", "b", 3)), last=({"a": 10, "b": 10}, {"a": 10, "b": 10}))
    assert verdict.outcome == INVALID
    (anomaly,) = verdict.anomalies
    assert anomaly.type == "transfers do not add up"
    assert "a holds 10 instead of 7" in anomaly.sentence
    assert anomaly.evidence["accounts"]["b"] == {"balance": 10, "least": 13, "most": 13}
    assert {2, 3} <= set(anomaly.operations), "the transfer is named"
    assert books(("ok", ("a", "b", 3)), last=({"a": 7, "b": 13},)).outcome == VALID


def test_a_transfer_that_happened_twice_does_not_add_up() -> None:
    assert books(("ok", ("a", "b", 3)), last=({"a": 4, "b": 16},)).outcome == INVALID


def test_a_refused_transfer_moves_nothing() -> None:
    assert books(("ok", ("a", "b", 1)), ("fail", ("a", "b", 3)), last=({"a": 6, "b": 14},)).outcome == INVALID
    assert books(("ok", ("a", "b", 1)), ("fail", ("a", "b", 3)), last=({"a": 9, "b": 11},)).outcome == VALID


@pytest.mark.parametrize(("held", "outcome"), [(9, VALID), (6, VALID), (5, INVALID), (10, INVALID)])
def test_a_transfer_of_unknown_outcome_may_have_happened(held: int, outcome: str) -> None:
    """Acknowledged is one of 1; one of 3 may have happened."""
    verdict = books(("ok", ("a", "b", 1)), ("info", ("a", "b", 3)), last=({"a": held, "b": 20 - held},))
    assert verdict.outcome == outcome


def test_a_read_before_the_last_transfer_excuses_nobody() -> None:
    one, other = ("ok", ("a", "b", 3)), ("ok", ("a", "b", 1))
    seen = ("read", {"a": 7, "b": 13})
    assert books(one, seen, other, last=({"a": 6, "b": 14},)).outcome == VALID
    assert books(one, seen, other, last=({"a": 7, "b": 13},)).outcome == INVALID


@pytest.mark.parametrize(
    "strange", [("a", "z", 3), ("z", "a", 3), ("a", "b", "3"), ("a", "b", -3), ("a", "b", 1 << 40)], ids=str
)
def test_among_transfers_that_are_none_nothing_adds_up(strange: tuple[Any, Any, Any]) -> None:
    lost = ("ok", ("a", "b", 3))
    assert books(lost, ("ok", strange), last=(OPENING,)).outcome == VALID
    assert books(lost, ("fail", strange), last=(OPENING,)).outcome == INVALID
    assert books(lost, ("ok", ("a", "b", 0)), last=(OPENING,)).outcome == INVALID


def test_where_no_transfer_was_acknowledged_or_one_cannot_be_read_the_books_say_nothing() -> None:
    assert books(("fail", ("a", "b", 3)), last=(OPENING,)).outcome == VALID
    builder = HistoryBuilder()
    for asked in ({"from": "a", "to": "b", "amount": 3}, "3 from a to b"):
        builder.invoke(1, "transfer", asked)
        builder.ok(1)
    assert judge(read(builder, OPENING).done(), opening=OPENING).outcome == VALID


@pytest.mark.parametrize("answer", [5, {"a": 10}, {"a": 10, "b": None}])
def test_what_is_wrong_with_an_answer_is_told_once(answer: Any) -> None:
    verdict = books(("ok", ("a", "b", 3)), last=(answer,))
    assert [anomaly.type for anomaly in verdict.anomalies] == [
        "account without a balance" if answer == {"a": 10, "b": None} else "missing account"
    ]


def test_the_transfers_of_the_accounts_that_do_not_add_up_are_named() -> None:
    builder = HistoryBuilder()
    held = {"a": 10, "b": 10, "c": 10, "d": 10}
    builder.invoke(0, "read")
    builder.ok(0, held)
    for outcome, source, target in (("ok", "a", "b"), ("ok", "c", "d"), ("fail", "a", "b")):
        value = {"from": source, "to": target, "amount": 3}
        builder.invoke(1, "transfer", value)
        builder.event(1, outcome, "transfer", value)
    builder.invoke(0, "read")
    builder.ok(0, {**held, "c": 7, "d": 13})
    (anomaly,) = BankChecker(list(held), 40, opening=held).check(builder.done(), Limits()).anomalies
    assert anomaly.operations == [2, 3, 8, 9]


def test_one_late_read_of_an_older_state_is_no_loss() -> None:
    """Nothing is promised of real time here, and the other read shows that the transfer is there."""
    assert books(("ok", ("a", "b", 3)), last=({"a": 10, "b": 10}, {"a": 7, "b": 13})).outcome == VALID


def test_accounts_that_are_older_than_the_history_are_not_judged() -> None:
    assert books(("ok", ("a", "b", 3)), first={"a": 1, "b": 19}, last=({"a": 1, "b": 19},)).outcome == VALID


def test_without_a_read_after_the_last_transfer_nothing_is_judged() -> None:
    assert books(("ok", ("a", "b", 3)), last=()).outcome == VALID
