"""A database that answers garbage breaks a promise: nonsense reaches the checkers, and they refute it."""

import random

import pytest

from checkers.checker import Limits
from results.history import History
from results.operation import FINAL_PHASE, INVOKE, OK, Operation
from results.verdict import INVALID, VALID
from workloads.bank import Bank
from workloads.register import Register
from workloads.set import Set
from workloads.workload import WorkloadOptions

OPTIONS = {"concurrency": 4, "nodes": ("n1", "n2"), "rate": 10.0, "time_limit_s": 1.0}
BALANCES = {f"a{number}": 13 if number < 4 else 12 for number in range(8)}


def history(*events):
    return History(
        [
            Operation(index, index, process, type_, f, value, phase=phase if type_ == INVOKE else None)
            for index, (process, type_, f, value, phase) in enumerate(events)
        ]
    )


def operation(process, f, asked, answered, phase=None):
    return [(process, INVOKE, f, asked, phase), (process, OK, f, answered, None)]


WRITTEN = {
    Register: operation(0, "write", [1, 7], [1, 7]),
    Bank: [],
    Set: operation(0, "add", 7, 7),
}


@pytest.mark.parametrize(
    ("kind", "asked", "right", "nonsense"),
    [
        (Register, [1, None], [1, 7], [1, "corrupted"]),
        (Register, [1, None], [1, 7], [1, [7]]),
        (Register, [1, None], [1, 7], [1, {"seven": 7}]),
        (Register, [1, None], [1, 7], [1, True]),
        (Bank, None, BALANCES, {**BALANCES, "a3": None}),
        (Bank, None, BALANCES, {**BALANCES, "a3": "13"}),
        (Bank, None, BALANCES, {**BALANCES, "a3": {}}),
        (Set, None, [7], [7, "corrupted"]),
        (Set, None, [7], [7, [8]]),
        (Set, None, [7], [7, {"eight": 8}]),
    ],
)
def test_an_answer_that_no_client_can_have_written_is_an_anomaly(kind, asked, right, nonsense):
    workload = kind(WorkloadOptions(random=random.Random(1), **OPTIONS))
    for answer, outcome in ((right, VALID), (nonsense, INVALID)):
        events = [*WRITTEN[kind], *operation(1, "read", asked, answer, FINAL_PHASE)]
        invocation = Operation(0, 0, 1, INVOKE, "read", asked)
        assert workload.problems(invocation, answer) == []
        verdict = workload.checker.check(history(*events), Limits())
        assert verdict.outcome == outcome, verdict
