"""The numbers in the page: how operations ended, how long they took, what clients got during a fault."""

import dataclasses

from results.history import HistoryBuilder
from results.operation import INFO, INVOKE
from results.report.faults import (
    effect_on,
    ends_of,
    evidence_text,
    fault_label,
    natural_key,
    nodes_of,
    target_text,
)
from results.report.measures import (
    faults_during,
    measure_availability,
    measure_fault,
    measure_functions,
    tabulate,
)
from results.report.page_data import anomaly_rows

SECOND = 1_000_000_000


def history_with_a_fault():
    """A read every second from 0 to 9 s, each 10 ms long; from 3 to 7 s n1 is killed and the reads fail."""
    builder = HistoryBuilder()
    for second in range(10):
        if second == 3:
            value = {"step": 0, "fault": "kill", "shape": None}
            builder.event("nemesis", INVOKE, "start", value, time=3 * SECOND - 20)
            done = {**value, "targets": ["n1"], "took_effect": True, "evidence": {"probe": "gone"}}
            builder.event("nemesis", INFO, "start", done, time=3 * SECOND - 10)
        if second == 7:
            builder.event("nemesis", INFO, "stop", done, time=7 * SECOND - 10)
        builder.invoke(0, "read", None, time=second * SECOND, node="n1", intended=second * SECOND - 5000)
        complete = builder.fail if 3 <= second < 7 else builder.ok
        complete(0, second, time=second * SECOND + 10_000_000)
    builder.event("harness", INFO, "phase", "heal", time=10 * SECOND)
    return builder.done()


def test_functions_are_counted_with_the_latency_of_those_with_ok():
    (measure,) = measure_functions(tabulate(history_with_a_fault()))
    assert (measure.function, measure.total, measure.ok, measure.fail, measure.info) == ("read", 10, 6, 4, 0)
    assert measure.quantiles_ms == (10.0, 10.0, 10.0, 10.0)


def test_availability_is_measured_over_the_run_and_during_the_fault():
    history = history_with_a_fault()
    table = tabulate(history)
    assert table.main_end_ns == 10 * SECOND
    whole = measure_availability(table, 0, table.main_end_ns)
    assert whole.ok == 6
    assert whole.longest_gap_s == 5.0
    (fault,) = history.fault_intervals()
    during = measure_fault(table, fault)
    assert during is not None
    assert (during.ok, round(during.seconds, 3), round(during.longest_gap_s, 3)) == (0, 4.0, 4.0)
    assert faults_during([fault], 0, 2 * SECOND) == []
    assert faults_during([fault], 0, 3 * SECOND) == [fault]


def test_an_empty_history_has_measures_too():
    table = tabulate(HistoryBuilder().done())
    assert [measure.total for measure in measure_functions(table)] == [0]
    assert measure_availability(table, 0, 0).longest_gap_s == 0


def test_anomalies_find_their_operations_from_either_event_and_skip_what_is_none():
    history = history_with_a_fault()
    table = tabulate(history)
    assert anomaly_rows(table, history, [1, 0, 2, 5, 6, 7, -1, 10_000]) == [0, 1, 2]
    nemesis_event = next(event.index for event in history.operations if event.process == "nemesis")
    assert anomaly_rows(table, history, [nemesis_event]) == []


def test_targets_are_nodes_or_links_however_they_were_written():
    assert ends_of("n1") == ["n1"]
    assert ends_of("n1->n2") == ends_of("['n1', 'n2']") == ["n1", "n2"]
    assert target_text("('n1', 'n2')") == "n1→n2"
    (fault,) = history_with_a_fault().fault_intervals()
    assert fault_label(fault) == "kill: n1"
    assert sorted(["n10", "n2", "a"], key=natural_key) == ["a", "n2", "n10"]


def test_a_partition_is_told_from_the_side_of_each_node():
    (fault,) = history_with_a_fault().fault_intervals()
    fault = dataclasses.replace(fault, fault="partition", shape="one-way", targets=("n1",))
    plan = {"links": [["n2", "n1"], ["n3", "n1"], ["n1", "n3"], ["client", "n1"]]}
    assert effect_on("n1", fault, plan) == "partition: cut from n3; hears nothing from client, n2"
    assert effect_on("n2", fault, plan) == "cannot reach n1"
    assert effect_on("n4", fault, plan) is None
    assert nodes_of(fault, plan) == ["n1", "n2", "n3"]


def test_evidence_reads_as_one_line_a_probe():
    probes = [
        {"what": "n2 to n1", "before": "echo in 0.3 ms", "after": "nothing in 500 ms", "proves": True},
        {"what": "log", "after": 3, "proves": False},
    ]
    assert evidence_text({"took_effect": True, "probes": probes}).splitlines() == [
        "n2 to n1: echo in 0.3 ms → nothing in 500 ms",
        "log: null → 3, which proves nothing",
    ]
    assert evidence_text({}) == ""
    assert evidence_text(["odd"]) == '["odd"]'
