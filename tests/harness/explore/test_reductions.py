"""What is smaller, one kind at a time: aims, times, clients, clusters; and what a run says about its anomaly."""

import msgspec
import pytest

from harness.explore.delta import drive
from harness.explore.reductions import (
    ANY_TYPE,
    Target,
    anomalies,
    around_it,
    close_gaps,
    fewer_clients,
    fewer_nodes,
    narrower_steps,
    on_lowest_threads,
    recorded_operations,
    see,
    shorter_run,
    simpler_aims,
)
from nemesis.schedule import Step
from results.run_folder import RunFolder
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict, merge
from tests.harness.explore.made_up_runs import SECOND, STEPS, case, write_run
from workloads.generator.recorded import RecordedOperation

STALE = Target("linearizability", "stale read")


def seen_of(tmp_path, of, proving):
    folder = RunFolder(tmp_path)
    write_run(folder, of, True, proving)
    return see(folder.read_history(), folder.read_verdict(), STALE, of.scenario.processes)


def first_where(holds, tried=None):
    """Answers the first proposal for which `holds` is true."""

    def answer(proposals):
        if tried is not None:
            tried.extend(proposals)
        return next((at for at, one in enumerate(proposals) if holds(one)), None)

    return answer


def test_the_anomalies_of_a_verdict_are_those_of_parts_that_are_invalid():
    stale = Anomaly("stale read", "s", [1])
    verdict = merge(
        "run",
        [
            Verdict(INVALID, "linearizability", "s", [stale, stale]),
            Verdict(VALID, "availability", "s", [Anomaly("gap", "s", [])]),
            Verdict(UNKNOWN, "stats", "s", [Anomaly("few", "s", [])]),
            Verdict(INVALID, "silent", "says only that"),
        ],
    )
    assert [target for target, _ in anomalies(verdict)] == [STALE, STALE, Target("silent", ANY_TYPE)]
    assert STALE.find(verdict) is stale
    assert Target("linearizability", "lost write").find(verdict) is None
    assert str(STALE) == "linearizability: stale read"


def test_a_run_tells_when_its_anomaly_was_there_and_which_operations_prove_it(tmp_path):
    of = case()
    seen = seen_of(tmp_path, of, (6, 9))
    write, read = of.operations[6], of.operations[9]
    assert seen.proving == {(write.thread, 1), (read.thread, 1)}
    assert seen.end_ns == read.at_ns + 1000
    assert seen.hit == {step.id: ("n2",) for step in STEPS}
    assert seen.recorded == of.operations


def test_what_proves_it_is_tried_first_then_the_key_then_the_time(tmp_path):
    of = case()
    seen = seen_of(tmp_path, of, (6, 9))
    tried = []
    assert drive(recorded_operations(of, seen), first_where(lambda one: False, tried)) == of
    assert tried[0].operations == (of.operations[6], of.operations[9])
    assert tried[0].scenario.time_limit == pytest.approx(4.7)
    keys = {one.value[0] for one in tried[2].operations}
    assert keys == {0}
    assert len(tried[-1].operations) > len(tried[2].operations)


def test_a_run_that_ends_earlier_has_only_what_began_before():
    shorter = case().cut(10 * SECOND)
    assert shorter.scenario.time_limit == 10
    assert [step.id for step in shorter.steps] == [1, 2, 3]
    assert shorter.steps[2].end_ns == 10 * SECOND
    assert max(one.at_ns for one in shorter.operations) < 10 * SECOND
    assert shorter.scenario.nemesis == "kill,partition,pause"
    assert case().cut(60 * SECOND) == case()


def test_the_end_of_the_anomaly_is_the_first_end_that_is_tried(tmp_path):
    of = case()
    seen = seen_of(tmp_path, of, (6, 9))
    tried = []
    ends = drive(shorter_run(of, seen), first_where(lambda one: one.scenario.time_limit >= 4.4, tried))
    assert tried[0].scenario.time_limit == pytest.approx(4.7)
    assert ends.scenario.time_limit == pytest.approx(4.6, abs=0.4)


def test_only_the_time_around_the_anomaly_is_kept(tmp_path):
    """The run may begin just before the last step that began before it; what lasts longer is still there."""
    of = case()
    seen = seen_of(
        tmp_path, of, (20, 22)
    )  # At 10 and 11 s: the pause of 9 s was the last step that began before.
    tried = []
    around = drive(around_it(of, seen), first_where(lambda one: len(one.operations) > 20, tried))
    assert [(step.id, step.at_ns, step.end_ns) for step in around.steps] == [
        (2, 0, 3.5 * SECOND),
        (3, 0.5 * SECOND, 3.5 * SECOND),
        (4, 11.5 * SECOND, 15.5 * SECOND),
    ]
    assert around.scenario.time_limit == 21.5
    assert around.operations[0] == msgspec.structs.replace(of.operations[17], at_ns=0)
    assert len(tried[0].operations) < len(around.operations)  # Only those on the key came first.


@pytest.mark.parametrize(
    ("step", "hit", "aims"),
    [
        (Step(1, 0, "kill", None, "minority", 1), ("n2",), [(None, "n2")]),
        (Step(1, 0, "kill", None, "all", 1), ("n1", "n2", "n3"),
         [(None, "n1"), (None, "n2"), (None, "n3"), (None, "n1+n2"), (None, "n1+n3"), (None, "n2+n3")]),
        (Step(1, 0, "kill", None, "leader", 1), ("n2",), []),
        (Step(1, 0, "partition", "leader", "leader", 1), ("n2",), []),
        (Step(1, 0, "partition", "ring", "one", 1), ("n3",), [("one", "n3"), ("ring", "n3")]),
        (Step(1, 0, "partition", "one-way", "leader", 1), ("n3",), [("leader", "leader")]),
        (Step(1, 0, "partition", "one", "n3", 1), ("n3",), []),
        (Step(1, 0, "pause", None, "n1+n3", 1), ("n1", "n3"), [(None, "n1"), (None, "n3")]),
        (Step(1, 0, "clock", "bump", "one", 1), (), []),
    ],
)  # fmt: skip
def test_a_step_becomes_narrower_and_who_leads_stays_symbolic(step, hit, aims):
    assert [(one.shape, one.target) for one in simpler_aims(step, hit)] == aims


def test_each_step_is_narrowed_by_itself(tmp_path):
    of = case()
    seen = seen_of(tmp_path, of, (6,))
    narrow = drive(narrower_steps(of, seen), first_where(lambda one: one.steps[3].target == "all"))
    assert [(one.shape, one.target) for one in narrow.steps] == [
        (None, "n2"),
        ("one", "n2"),
        (None, "leader"),
        ("bump", "all"),
    ]


def test_gaps_are_closed_and_everything_stays_in_order():
    stream = (
        RecordedOperation(0, 5 * SECOND, "write"),
        RecordedOperation(1, 12 * SECOND, "read"),
    )
    of = msgspec.structs.replace(
        case(), steps=(Step(1, 8 * SECOND, "kill", None, "n1", 10 * SECOND),), operations=stream
    )
    closed = close_gaps(of, SECOND)
    # 0, write 5, kill 8 .. 18, read 12, end 30: each second apart now.
    assert [one.at_ns // SECOND for one in closed.operations] == [1, 3]
    (step,) = closed.steps
    assert (step.at_ns, step.end_ns) == (2 * SECOND, 4 * SECOND)
    assert closed.scenario.time_limit == 5
    assert close_gaps(closed, SECOND) == closed


def test_clients_move_to_the_lowest_threads(tmp_path):
    stream = tuple(RecordedOperation(thread, thread, "read", [0, None]) for thread in (1, 4, 5))
    of = msgspec.structs.replace(case(), operations=stream)
    dense = on_lowest_threads(of, 3, at_their_nodes=False)
    assert [one.thread for one in dense.operations] == [0, 1, 2]
    assert dense.scenario.concurrency == "3"
    kept = on_lowest_threads(of, 3, at_their_nodes=True)
    assert [one.thread % 3 for one in kept.operations] == [1, 1, 2]
    assert kept.scenario.concurrency == "5"

    seen = seen_of(tmp_path, of, (1,))
    fewer = drive(
        fewer_clients(of, seen), first_where(lambda one: 4 in {two.at_ns for two in one.operations})
    )
    assert [one.at_ns for one in fewer.operations] == [4]
    assert fewer.scenario.concurrency == "1"


def test_a_cluster_gets_smaller_unless_a_step_names_a_node_that_would_be_gone(tmp_path):
    of = case(nodes=5, replication=5)
    seen = seen_of(tmp_path, of, (6,))
    tried = []
    small = drive(fewer_nodes(of, seen), first_where(lambda one: one.scenario.nodes >= 3, tried))
    assert (small.scenario.nodes, small.scenario.replication) == (3, 3)
    named = of.with_step(0, msgspec.structs.replace(of.steps[0], target="n4"))
    tried.clear()
    drive(fewer_nodes(named, seen), first_where(lambda one: False, tried))
    assert {one.scenario.nodes for one in tried} == {4}
