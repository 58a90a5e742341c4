"""The lattice of models and anomalies: it has no loops and no unknown names, and says what the papers say."""

import pytest

from checkers.checker import Limits
from checkers.isolation.lattice import (
    ALIASES,
    IMPLIED_ANOMALIES,
    MODELS,
    boundary,
    canonical,
    implied_anomalies,
    implied_models,
    proscribed,
    ruled_out,
    stronger_models,
    strongest,
    weakest,
)
from checkers.isolation.list_append import ListAppendChecker
from results.transaction_columns import transactions_of
from results.verdict import UNKNOWN, VALID
from tests.checkers.isolation.play import play
from tests.checkers.synthetic import axioms


def test_every_name_is_known_and_nothing_implies_itself():
    for name, model in MODELS.items():
        assert set(model.implies) <= MODELS.keys(), name
        assert set(model.proscribes) <= IMPLIED_ANOMALIES.keys(), name
        assert name not in implied_models(model.implies), f"{name} implies itself in the end"
        assert model.source, name
    for name, others in IMPLIED_ANOMALIES.items():
        assert set(others) <= IMPLIED_ANOMALIES.keys(), name
        assert name not in implied_anomalies(others), f"{name} implies itself in the end"
    assert set(ALIASES.values()) <= MODELS.keys()


def test_no_implication_is_said_twice():
    for name, model in MODELS.items():
        for one in model.implies:
            others = implied_models(other for other in model.implies if other != one)
            assert one not in others, f"{name} implies {one} through another model already"


def test_no_anomaly_is_proscribed_twice():
    for name, model in MODELS.items():
        of_weaker = {one for weaker in implied_models(model.implies) for one in MODELS[weaker].proscribes}
        for one in model.proscribes:
            others = of_weaker | set(model.proscribes) - {one}
            assert not implied_anomalies([one]) & others, f"{name} proscribes {one} in another way already"


@pytest.mark.parametrize("variant", ["", "-process", "-realtime"])
@pytest.mark.parametrize(
    ("cycle", "others"),
    [
        ("G0", {"G1c"}),
        ("G1c", {"G1"}),
        ("G-single-item", {"G-single", "G-nonadjacent-item"}),
        ("G-single", {"G-nonadjacent"}),
        ("G-nonadjacent-item", {"G-nonadjacent", "G2-item"}),
        ("G-nonadjacent", {"G2"}),
        ("G2-item", {"G2"}),
    ],
)
def test_a_cycle_is_one_of_each_weaker_kind(cycle, others, variant):
    assert {other + variant for other in others} <= implied_anomalies([cycle + variant])


MAP = """
    strict-serializable > strong-session-serializable strong-snapshot-isolation linearizable
    strong-session-serializable > serializable strong-session-snapshot-isolation sequential
    serializable > repeatable-read update-serializable snapshot-isolation view-serializable
    snapshot-isolation > forward-consistent-view monotonic-snapshot-read parallel-snapshot-isolation prefix
    update-serializable > forward-consistent-view
    forward-consistent-view > consistent-view
    consistent-view > cursor-stability monotonic-view
    parallel-snapshot-isolation > causal-cerone rola consistent-view
    rola > read-atomic
    causal > causal-cerone writes-follow-reads PRAM strong-session-read-committed
    read-atomic > monotonic-atomic-view
    repeatable-read > cursor-stability monotonic-atomic-view
    cursor-stability > read-committed
    monotonic-view > read-committed
    monotonic-snapshot-read > read-committed
    monotonic-atomic-view > read-committed
    read-committed > read-uncommitted
    strong-snapshot-isolation > strong-session-snapshot-isolation strong-read-committed
    strong-session-snapshot-isolation > snapshot-isolation causal
    strong-read-committed > strong-session-read-committed strong-read-uncommitted
    strong-read-uncommitted > strong-session-read-uncommitted
    strong-session-read-committed > read-committed strong-session-read-uncommitted
    strong-session-read-uncommitted > read-uncommitted
    linearizable > sequential
    sequential > writes-follow-reads PRAM
    PRAM > monotonic-reads monotonic-writes read-your-writes
"""
"""The maps of Adya, Bailis, Cerone and Elle drawn once more, so that no arrow gets lost."""


@pytest.mark.parametrize("arrows", MAP.strip().splitlines())
def test_every_arrow_of_the_map_is_there(arrows):
    stronger, _, weaker = arrows.strip().partition(" > ")
    assert set(weaker.split()) <= implied_models([stronger])


def test_every_model_holds_for_a_history_without_anomalies():
    assert ruled_out([]) == frozenset()
    assert boundary([]).strongest_left == ["strict-serializable"]


@pytest.mark.parametrize(
    ("anomaly", "weakest_ruled_out", "held"),
    [
        ("G0", "read-uncommitted", "monotonic-writes"),
        ("G0-process", "strong-session-read-uncommitted", "read-committed"),
        ("G0-realtime", "strong-read-uncommitted", "strong-session-read-committed"),
        ("duplicate-elements", "read-uncommitted", "monotonic-writes"),
        ("G1a", "read-committed", "read-uncommitted"),
        ("G1b", "read-committed", "read-uncommitted"),
        ("garbage-read", "read-committed", "read-uncommitted"),
        ("dirty-update", "read-committed", "read-uncommitted"),
        ("incompatible-order", "read-committed", "read-uncommitted"),
        ("future-read", "read-committed", "read-uncommitted"),
        ("cyclic-versions", "read-committed", "read-uncommitted"),
        ("G1c-process", "strong-session-read-committed", "serializable"),
        ("G-cursor", "cursor-stability", "monotonic-atomic-view"),
        ("G-monotonic", "monotonic-view", "cursor-stability"),
        ("G-MSR", "monotonic-snapshot-read", "repeatable-read"),
        ("G-SIb", "forward-consistent-view", "consistent-view"),
        ("G-SI", "snapshot-isolation", "forward-consistent-view"),
        ("G-update", "update-serializable", "snapshot-isolation"),
        ("lost-update", "rola", "read-atomic"),
        ("G2-item", "repeatable-read", "snapshot-isolation"),
        ("G-nonadjacent-item-process", "strong-session-snapshot-isolation", "serializable"),
        ("G-nonadjacent-item-realtime", "strong-snapshot-isolation", "strong-session-serializable"),
        ("predicate-read-miss", "serializable", "snapshot-isolation"),
        ("G1c", "read-committed", "read-uncommitted"),
        ("internal", "read-atomic", "read-committed"),
        # In every history of Adya's a transaction sees what it wrote; the weakest levels are told so leniently by Elle.
        ("internal", "repeatable-read", "cursor-stability"),
        ("fractured-read", "read-atomic", "cursor-stability"),
        ("lost-update", "cursor-stability", "monotonic-atomic-view"),
        ("G-single-item", "consistent-view", "cursor-stability"),
        ("G-nonadjacent-item", "snapshot-isolation", "parallel-snapshot-isolation"),
        ("write-skew", "repeatable-read", "snapshot-isolation"),
        ("G2", "serializable", "repeatable-read"),
        ("G2-item-process", "strong-session-serializable", "serializable"),
        ("G2-item-realtime", "strict-serializable", "strong-session-serializable"),
        ("G-single-item-realtime", "strong-snapshot-isolation", "strong-session-serializable"),
        ("G1c-realtime", "strong-read-committed", "strong-session-serializable"),
        ("causality-violation", "causal", "serializable"),
    ],
)
def test_an_anomaly_rules_out_the_models_that_proscribe_it_and_no_weaker_ones(
    anomaly, weakest_ruled_out, held
):
    found = boundary([anomaly])
    assert weakest_ruled_out in found.weakest_ruled_out
    assert held not in ruled_out([anomaly])
    assert "strict-serializable" in ruled_out([anomaly])
    assert anomaly in proscribed(weakest_ruled_out)
    assert anomaly not in proscribed(held)


def test_what_is_proscribed_and_what_is_ruled_out_are_two_sides_of_one_thing():
    for anomaly in IMPLIED_ANOMALIES:
        for model in MODELS:
            assert (anomaly in proscribed(model)) == (model in ruled_out([anomaly])), (anomaly, model)


def test_a_cycle_that_needs_no_session_and_no_clock_is_one_that_may_use_them():
    assert {"G0-process", "G0-realtime", "G1c-process", "G1-realtime"} <= implied_anomalies(["G0"])
    assert "G-single-item-process" in implied_anomalies(["lost-update"])
    assert implied_anomalies(["G2-realtime"]) == {"G2-realtime"}


def test_snapshot_isolation_and_repeatable_read_do_not_imply_each_other():
    assert "repeatable-read" not in implied_models(["snapshot-isolation"])
    assert "snapshot-isolation" not in implied_models(["repeatable-read"])
    assert {"repeatable-read", "snapshot-isolation"} <= implied_models(["serializable"])
    assert weakest(["serializable", "snapshot-isolation", "prefix"]) == ["prefix"]
    assert strongest(["serializable", "snapshot-isolation", "prefix"]) == ["serializable"]
    assert stronger_models(["strong-serializable"]) == {"strict-serializable"}


WITNESSES = {
    "write skew": "rx ay1 | ry ax1",
    "a long fork": "ax1 | ay1 | rx1 ry | rx ry1",
    "a lost update": "rx ax1 | rx ax2 | rx12",
    "a session that does not see its own append": "0: ax1 \n 0: rx",
    "an append that somebody else does not see later": "ax1 \n rx",
    "somebody who sees what followed from an append, but not that": "ax1 | rx1 ay1 | ry1 rx",
}
"""Enough to tell every two levels apart that the axioms define."""


def test_what_implies_what_is_what_the_axioms_say_of_witnesses():
    """One level implies another in the lattice exactly if every witness that keeps the one keeps the other."""
    kept = {
        level: {
            name
            for name, text in WITNESSES.items()
            if axioms.holds(transactions_of(play(text), of_registers=False), level)
        }
        for level in axioms.LEVELS
    }
    for level in axioms.LEVELS:
        by_witnesses = {other for other in axioms.LEVELS if kept[level] <= kept[other]}
        assert implied_models([level]).intersection(axioms.LEVELS) == by_witnesses, level


UNDECIDED = {
    *("monotonic-view", "monotonic-snapshot-read", "monotonic-atomic-view", "cursor-stability", "rola"),
    *("forward-consistent-view", "update-serializable", "view-serializable", "causal-cerone"),
    *("linearizable", "sequential", "PRAM", "writes-follow-reads"),
    *("monotonic-reads", "monotonic-writes", "read-your-writes"),
}
"""Models of which a history of lists only shows some violations."""


@pytest.mark.parametrize("model", MODELS)
def test_an_innocent_history_is_valid_where_a_level_can_be_decided_and_nowhere_else(model):
    outcome = ListAppendChecker(model).check(play("ax1 \n rx1"), Limits()).outcome
    assert outcome == (UNKNOWN if model in UNDECIDED else VALID)


def test_unknown_names_are_refused_with_those_that_exist():
    assert canonical("PL-3") == "serializable"
    with pytest.raises(ValueError, match=r"'seriable' is no consistency model .*strict-serializable"):
        canonical("seriable")
    with pytest.raises(ValueError, match="'G17' is no anomaly"):
        ruled_out(["G17"])
