"""Verdicts: how several become one, and how they go to disk."""

from __future__ import annotations

import itertools

import pytest

from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict, decode, encode, exit_code, merge


def part(outcome: str, name: str = "part") -> Verdict:
    return Verdict(outcome, name, f"it is {outcome}")


@pytest.mark.parametrize("outcomes", list(itertools.product([VALID, INVALID, UNKNOWN], repeat=3)))
def test_invalid_beats_unknown_beats_valid(outcomes: tuple[str, ...]) -> None:
    merged = merge("all", [part(outcome) for outcome in outcomes])
    assert merged.outcome == next(outcome for outcome in (INVALID, UNKNOWN, VALID) if outcome in outcomes)


def test_the_sentence_says_who_decided() -> None:
    merged = merge("all", [part(VALID, "stats"), part(INVALID, "bank"), part(UNKNOWN, "set")])
    assert merged.sentence == "bank: it is invalid"
    assert (
        merge("all", [part(VALID, "stats"), part(VALID, "bank")]).sentence == "all 2 parts hold: stats, bank"
    )


def test_of_nothing_nothing_is_known() -> None:
    assert merge("all", []).outcome == UNKNOWN


def test_exit_codes() -> None:
    assert [exit_code(part(outcome)) for outcome in (VALID, INVALID, UNKNOWN)] == [0, 1, 3]


def test_an_outcome_must_be_one_of_three() -> None:
    with pytest.raises(ValueError, match="'fine' is no verdict"):
        part("fine")


def test_anomalies_are_found_in_all_parts() -> None:
    inner = Verdict(INVALID, "bank", "", [Anomaly("wrong total", "", [1])])
    outer = Verdict(INVALID, "all", "", [Anomaly("crash", "", [2])], parts=[inner])
    assert [(name, anomaly.type) for name, anomaly in outer.every_anomaly()] == [
        ("all", "crash"),
        ("bank", "wrong total"),
    ]


def test_a_verdict_comes_back_from_disk() -> None:
    anomaly = Anomaly("stale read", "why", [1, 2], key="x", evidence={"values": [1, None]})
    verdict = Verdict(INVALID, "all", "s", parts=[Verdict(INVALID, "inner", "t", [anomaly], {"keys": 3})])
    assert decode(encode(verdict)) == verdict


def test_what_json_cannot_carry_is_kept_as_text() -> None:
    verdict = Verdict(VALID, "c", "s", details={"by key": {1: 2, (1, 2): 3}, "odd": object})
    details = decode(encode(verdict)).details
    assert details["by key"] == {"1": 2, "(1, 2)": 3}
    assert "object" in details["odd"]


def test_a_number_and_its_text_stay_two_keys():
    """A key 1 and a key "1" are two accounts, and one may be right while the other is not."""
    verdict = Verdict(VALID, "bank", "", details={"balances": {1: 10, "1": -3, "x": 0}, "alone": {1: 1}})
    assert decode(encode(verdict)).details == {
        "balances": {"1": 10, "'1'": -3, "'x'": 0},
        "alone": {"1": 1},
    }
