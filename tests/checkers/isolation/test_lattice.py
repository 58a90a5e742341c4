"""The lattice of models and anomalies: it has no loops and no unknown names, and says what the papers say."""

import pytest

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


def test_every_model_holds_for_a_history_without_anomalies():
    assert ruled_out([]) == frozenset()
    assert boundary([]).strongest_left == ["strict-serializable"]


@pytest.mark.parametrize(
    ("anomaly", "weakest_ruled_out", "held"),
    [
        ("G0", "read-uncommitted", "monotonic-writes"),
        ("G1a", "read-committed", "read-uncommitted"),
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


def test_snapshot_isolation_and_repeatable_read_do_not_imply_each_other():
    assert "repeatable-read" not in implied_models(["snapshot-isolation"])
    assert "snapshot-isolation" not in implied_models(["repeatable-read"])
    assert {"repeatable-read", "snapshot-isolation"} <= implied_models(["serializable"])
    assert weakest(["serializable", "snapshot-isolation", "prefix"]) == ["prefix"]
    assert strongest(["serializable", "snapshot-isolation", "prefix"]) == ["serializable"]
    assert stronger_models(["strong-serializable"]) == {"strict-serializable"}


def test_unknown_names_are_refused_with_those_that_exist():
    assert canonical("PL-3") == "serializable"
    with pytest.raises(ValueError, match=r"'seriable' is no consistency model .*strict-serializable"):
        canonical("seriable")
    with pytest.raises(ValueError, match="'G17' is no anomaly"):
        ruled_out(["G17"])
