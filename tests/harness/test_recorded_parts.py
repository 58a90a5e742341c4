"""A scenario may be made of recorded steps and operations: given as values, or as files that it names."""

import re

import pytest

from harness.catalog import make_parts
from harness.scenario import Scenario, ScenarioError
from nemesis.schedule import Schedule, Step
from workloads.generator.core import first_context
from workloads.generator.recorded import RecordedOperation, encode_operations, operations_to_dicts

STREAM = (RecordedOperation(0, 0, "write", [0, 1]), RecordedOperation(5, 10, "read", [0, None]))
STEPS = Schedule.of((Step(1, 5, "kill", None, "n1", 5), Step(2, 6, "partition", "one", "n2", 5))).to_dicts()


def scenario(**changes):
    return Scenario(**{"seed": 1, "workload": "register", "nodes": 3, "nemesis": "kill", **changes})


def first_invocation(parts):
    what, _ = parts.workload.generator.next(first_context(parts.scenario.processes))
    return what.f, what.value, what.process


def test_a_stream_that_is_given_takes_the_place_of_what_the_workload_generates():
    parts = make_parts(scenario(), operations=operations_to_dicts(STREAM))
    assert parts.operations == STREAM
    assert first_invocation(parts) == ("write", [0, 1], 0)
    assert make_parts(scenario()).operations is None


def test_the_last_reads_stay_those_of_the_workload():
    generated, recorded = make_parts(scenario()), make_parts(scenario(), operations=[])
    plans = [re.sub(r"0x[0-9a-f]+", "", repr(one.workload.final_generator)) for one in (generated, recorded)]
    assert plans[0] == plans[1]


def test_a_stream_in_a_file_is_the_same_and_one_that_is_given_comes_first(tmp_path):
    path = tmp_path / "operations.jsonl"
    path.write_bytes(encode_operations(STREAM))
    named = scenario(operations_file=str(path))
    assert make_parts(named).operations == STREAM
    assert make_parts(named, operations=[]).operations == ()
    assert Scenario.from_toml(named.to_toml()) == named
    assert f"--operations-file {path}" in named.command()


@pytest.mark.parametrize(
    ("changes", "given", "said"),
    [
        ({"operations_file": "nowhere.jsonl"}, {}, "cannot read the operations nowhere.jsonl"),
        ({"concurrency": "2"}, {"operations": operations_to_dicts(STREAM)}, "--concurrency 6"),
        ({}, {"operations": [{"f": "read"}]}, "not a stream of operations"),
        ({}, {"schedule": [{"id": 1, "at_ns": 0, "fault": "magic"}]}, "no package injects magic"),
        ({}, {"schedule": [{"id": 1, "at_ns": 0, "fault": "kill", "target": "n9"}]}, "unknown target 'n9'"),
    ],
)
def test_what_cannot_be_repeated_is_wrong_usage(changes, given, said):
    with pytest.raises(ScenarioError, match=said):
        make_parts(scenario(**changes), **given)


def test_steps_that_are_given_are_what_has_to_take_effect():
    """What was asked for and is no longer there was taken out; what is there has to be seen."""
    parts = make_parts(scenario(nemesis="kill,pause,partition:one"), schedule=STEPS)
    assert [step.id for step in parts.schedule] == [1, 2]
    assert parts.schedule.requested == ("kill", "partition:one")
    assert make_parts(scenario(nemesis="none"), schedule=[]).schedule.requested == ()
