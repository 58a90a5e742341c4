"""Replicas that differ, or never come to rest, break a promise; so does what was seen inside the nodes."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.checker import Limits
from checkers.convergence import ConvergenceChecker
from checkers.findings import FindingsChecker
from results.history import History
from results.operation import HARNESS, INFO, LOG, Operation
from results.verdict import INVALID, UNKNOWN, VALID, Verdict

HEALED = (HARNESS, "heal", {"healed": ["n1 started"], "failed": [], "problems": []})
UNHEALED = (HARNESS, "heal", {"healed": [], "failed": ["n1 does not resume"], "problems": []})


def history(*events: tuple[str, str, Any]) -> History:
    return History(
        [Operation(index, index, process, INFO, f, value) for index, (process, f, value) in enumerate(events)]
    )


def replica(node: str, range_id: str = "1", **changes: Any) -> dict[str, Any]:
    whole = {
        "node": node,
        "range": range_id,
        "replicas": ["n1", "n2", "n3"],
        "term": 3,
        "applied": 9,
        "locks": 0,
        "records": 0,
        "digest": "aa",
    }
    return whole | changes


def judged(*replicas: dict[str, Any], silent: tuple[str, ...] = (), heal: Any = HEALED) -> Verdict:
    value = {
        "asked": True,
        "settled": False,
        "after_ns": 60_000_000_000,
        "silent": list(silent),
        "replicas": list(replicas),
    }
    return ConvergenceChecker().check(history(heal, (HARNESS, "final-state", value)), Limits())


def three(**changes: Any) -> list[dict[str, Any]]:
    """Three replicas of range 1, the third of them changed; and three of range 2."""
    others = [replica(node, "2", digest="bb", applied=4) for node in ("n1", "n2", "n3")]
    return [replica("n1"), replica("n2"), replica("n3", **changes), *others]


@pytest.mark.parametrize("digest", ["", None])
def test_a_replica_that_does_not_say_what_it_holds_differs_from_none(digest: str | None) -> None:
    assert judged(*three(digest=digest)).outcome == VALID


def test_replicas_that_agree_are_fine() -> None:
    verdict = judged(*three())
    assert verdict.outcome == VALID
    assert verdict.sentence == (
        "all 6 replicas of 2 ranges hold the same data, no lock and no record is left, 60.0 s after the final reads"
    )


def test_other_bytes_at_the_same_index_are_a_divergence() -> None:
    verdict = judged(*three(digest="cc"))
    assert verdict.outcome == INVALID
    (anomaly,) = verdict.anomalies
    assert anomaly.type == "replica-divergence"
    assert anomaly.sentence == (
        "replicas of range 1 hold different data after the same 9 entries: n1, n2 aa; n3 cc"
    )
    assert anomaly.operations == [1]


def test_other_bytes_at_another_index_are_only_a_replica_that_lags() -> None:
    assert [one.type for one in judged(*three(digest="cc", applied=8)).anomalies] == ["not-converged"]


def test_replicas_that_differ_are_invalid_even_if_nodes_are_silent_or_unhealed() -> None:
    assert judged(*three(digest="cc"), silent=("n4",), heal=UNHEALED).outcome == INVALID


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        (
            {"applied": 7},
            "not-converged",
            "stand at different entries 60.0 s after the final reads: n1 9, n2 9, n3 7",
        ),
        ({"locks": 2}, "leftover-lock", "range 1 still holds locks of transactions"),
        ({"records": 1}, "leftover-record", "range 1 still holds records of transactions"),
        ({"replicas": ["n1", "n2", "n3", "n4"]}, "not-converged", "n4 should hold range 1, and does not"),
    ],
)
def test_a_cluster_that_does_not_come_to_rest_is_a_liveness_failure(
    changes: dict[str, Any], kind: str, words: str
) -> None:
    verdict = judged(*three(**changes))
    assert verdict.outcome == INVALID
    assert verdict.sentence.startswith("liveness: the cluster was not at rest 60.0 s after the final reads")
    assert [anomaly.type for anomaly in verdict.anomalies] == [kind]
    assert words in verdict.anomalies[0].sentence
    # The same where rest was not due.
    assert judged(*three(**changes), heal=UNHEALED).outcome == UNKNOWN
    assert judged(*three(**changes), silent=("n4",)).outcome == UNKNOWN


def test_nobody_answered() -> None:
    verdict = judged(silent=("n1", "n2", "n3"))
    assert (verdict.outcome, verdict.sentence) == (UNKNOWN, "no node answered what it holds (n1, n2, n3)")
    assert judged(*three(), silent=("n4",)).outcome == UNKNOWN


def test_a_system_that_cannot_be_asked_says_so_and_counts_as_nothing() -> None:
    value = {"asked": False, "why": "the nodes of etcd cannot be asked what they hold"}
    verdict = ConvergenceChecker().check(history(HEALED, (HARNESS, "final-state", value)), Limits())
    assert verdict.outcome == VALID
    assert verdict.sentence.endswith("was not compared: the nodes of etcd cannot be asked what they hold")
    assert ConvergenceChecker().check(history(HEALED), Limits()).outcome == VALID


def test_a_finding_is_invalid_with_its_name_and_its_text() -> None:
    found = {
        "kind": "invariant",
        "name": "log matching",
        "text": "n2 has another entry",
        "node": "n2",
        "range_id": 1,
        "step": 4711,
        "time_ns": 5,
    }
    verdict = FindingsChecker().check(
        history(HEALED, (LOG, "finding", found), (LOG, "log", {"text": "-"})), Limits()
    )
    assert verdict.outcome == INVALID
    assert verdict.sentence == "1 broken rule seen inside the nodes: log matching"
    (anomaly,) = verdict.anomalies
    assert (anomaly.type, anomaly.operations) == ("log matching", [1])
    assert anomaly.sentence == "invariant broken at step 4711, on n2: n2 has another entry"


def test_without_findings_all_is_well() -> None:
    assert FindingsChecker().check(history(HEALED, (LOG, "log", {"text": "-"})), Limits()).outcome == VALID
