"""A run that was cut short, or that nobody answered at the end, proves less than was asked for."""

from checkers.checker import Limits
from checkers.completeness import CompletenessChecker
from results.history import History
from results.operation import FAIL, HARNESS, INFO, INVOKE, OK, Operation
from results.verdict import UNKNOWN, VALID


def drive(phase, stopped=None, nonsense=0):
    value = {
        "phase": phase,
        "start_ns": 0,
        "end_ns": 2_100_000_000,
        "stopped": stopped,
        "invalid_completions": nonsense,
    }
    return (HARNESS, INFO, "drive", value, None, None)


def read(process, node, type_):
    return [(process, INVOKE, "read", None, node, "final"), (process, type_, "read", None, None, None)]


def judge(*events):
    flat = []
    for event in events:
        flat += event if isinstance(event, list) else [event]
    operations = [
        Operation(index, index, process, type_, f, value, node=node, phase=phase)
        for index, (process, type_, f, value, node, phase) in enumerate(flat)
    ]
    return CompletenessChecker().check(History(operations), Limits())


SERVED = [*read(0, "n1", OK), *read(1, "n2", FAIL), *read(1, "n2", OK)]


def test_a_whole_run_is_fine():
    verdict = judge(SERVED, drive("main"), drive("final"))
    assert verdict.outcome == VALID
    assert verdict.sentence == "both phases ran to their end; final reads succeeded through n1, n2"


def test_a_node_that_answers_no_final_read_leaves_the_end_unknown():
    verdict = judge(SERVED, read(2, "n3", FAIL), drive("main"), drive("final"))
    assert verdict.outcome == UNKNOWN
    assert "not one final operation succeeded through n3" in verdict.sentence


def test_a_record_without_its_end_is_unknown():
    assert "before the final phase was over" in judge(SERVED, drive("main")).sentence
    assert judge().outcome == UNKNOWN


def test_ctrl_c_asks_for_a_judgement_of_what_was_done_and_says_so():
    by_hand = (HARNESS, INFO, "stopped", {"by": "SIGINT"}, None, None)
    verdict = judge(SERVED, drive("main", "interrupted"), drive("final"), by_hand)
    assert verdict.outcome == VALID
    assert "the main phase was ended by hand after 2.1 s" in verdict.sentence


def test_a_run_that_a_violation_was_to_end_is_as_whole_as_one_ended_by_hand():
    by_alarm = (HARNESS, INFO, "stopped", {"by": "alarm"}, None, None)
    verdict = judge(SERVED, drive("main", "alarm"), drive("final"), by_alarm)
    assert verdict.outcome == VALID
    assert "the main phase was ended by a violation after 2.1 s" in verdict.sentence


def test_only_the_final_phase_says_who_serves_again():
    down = [(5, INVOKE, "read", None, "n9", "main"), (5, FAIL, "read", None, None, None)]
    nowhere = [(6, INVOKE, "read", None, None, "final"), (6, FAIL, "read", None, None, None)]
    verdict = judge(down, nowhere, drive("main"), drive("final"))
    assert (verdict.outcome, verdict.sentence) == (VALID, "both phases ran to their end")


def test_whatever_else_cuts_a_run_short_leaves_it_unknown():
    by_others = (HARNESS, INFO, "stopped", {"by": "SIGTERM"}, None, None)
    assert judge(SERVED, drive("main", "interrupted"), drive("final"), by_others).outcome == UNKNOWN
    watchdog = judge(SERVED, drive("main", "the watchdog ended it"), drive("final"))
    assert (watchdog.outcome, "the watchdog ended it" in watchdog.sentence) == (UNKNOWN, True)


def test_answers_that_made_no_sense_are_not_passed_over():
    verdict = judge(SERVED, drive("main", nonsense=3), drive("final"))
    assert verdict.outcome == UNKNOWN
    assert "3 answers in the main phase made no sense" in verdict.sentence
    unsaid = (HARNESS, INFO, "drive", {"phase": "main", "stopped": None}, None, None)
    assert judge(SERVED, unsaid, drive("final")).outcome == VALID
