"""A cluster that did not come back proves nothing; a node that fell over by itself broke a promise."""

import pytest

from checkers.checker import Limits
from checkers.crashes import CrashChecker
from checkers.recovery import RecoveryChecker
from results.history import History
from results.operation import HARNESS, INFO, LOG, Operation
from results.verdict import INVALID, UNKNOWN, VALID


def history(*events):
    return History(
        [Operation(index, index, process, INFO, f, value) for index, (process, f, value) in enumerate(events)]
    )


HEALED = (HARNESS, "heal", {"healed": ["n1 started"], "failed": [], "problems": []})
RECOVERED = (HARNESS, "recovery", {"recovered": True, "after_ns": 2_500_000_000, "problem": None})


def test_a_cluster_that_came_back_is_fine():
    verdict = RecoveryChecker().check(history(HEALED, RECOVERED), Limits())
    assert (verdict.outcome, verdict.sentence) == (VALID, "whole again 2.5 s after healing began")


def test_a_cluster_that_did_not_come_back_proves_nothing():
    stuck = (
        HARNESS,
        "recovery",
        {"recovered": False, "after_ns": 60_000_000_000, "problem": "n2 is not ready"},
    )
    verdict = RecoveryChecker().check(history(HEALED, stuck), Limits())
    assert verdict.outcome == UNKNOWN
    assert "n2 is not ready" in verdict.sentence


def test_a_fault_that_could_not_be_healed_proves_nothing():
    unhealed = (HARNESS, "heal", {"healed": [], "failed": ["n1 does not resume"], "problems": []})
    verdict = RecoveryChecker().check(history(unhealed, RECOVERED), Limits())
    assert verdict.outcome == UNKNOWN
    assert "n1 does not resume" in verdict.sentence


def test_a_run_whose_harness_was_killed_was_never_seen_to_recover():
    assert RecoveryChecker().check(history(), Limits()).outcome == UNKNOWN


def test_a_node_that_ended_by_itself_is_an_anomaly_with_its_last_words():
    end = (
        LOG,
        "crash",
        {"node": "n2", "status": "exit code 3", "text": "AssertionError: applied 7 > committed 6"},
    )
    verdict = CrashChecker().check(history(HEALED, end), Limits())
    assert verdict.outcome == INVALID
    assert "applied 7 > committed 6" in verdict.anomalies[0].sentence
    assert verdict.anomalies[0].operations == [1]


def ended(node, status):
    return (LOG, "crash", {"node": node, "status": status, "text": "served range 3"})


@pytest.mark.parametrize("status", ["signal SIGKILL", "out of memory (exit code 137)"])
def test_a_node_that_somebody_else_killed_proves_nothing(status):
    """SIGKILL that the harness did not send came from outside: the kernel short of memory, or a person."""
    verdict = CrashChecker().check(history(HEALED, ended("n2", status)), Limits())
    assert verdict.outcome == UNKNOWN
    assert f"n2 ({status}): killed from outside, and not by the harness" in verdict.sentence
    assert verdict.anomalies == []


@pytest.mark.parametrize(
    "status", ["exit code 0", "exit code 137", "signal SIGABRT", "signal SIGSEGV", "signal SIGTERM"]
)
def test_any_other_end_that_nobody_asked_for_is_the_databases_own(status):
    verdict = CrashChecker().check(
        history(HEALED, ended("n2", status), ended("n3", "signal SIGKILL")), Limits()
    )
    assert verdict.outcome == INVALID
    assert verdict.sentence == "1 process ended unasked, of n2"
    assert [end["node"] for end in verdict.details["killed_from_outside"]] == ["n3"]


def test_without_such_an_end_nothing_is_wrong():
    line = (LOG, "log", {"node": "n2", "line": 3, "text": "12:00:03 ERROR range 3: lost"})
    assert CrashChecker().check(history(HEALED, line, RECOVERED), Limits()).outcome == VALID
