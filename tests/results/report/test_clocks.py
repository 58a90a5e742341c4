"""How far clocks were ahead: from settings, from readings, or from evidence, as lines to draw."""

import pytest

from results.history import HistoryBuilder
from results.report import clocks
from results.report.clocks import clock_lines

SECOND = 1_000_000_000
NODES = ["n1", "n2", "n10"]


def history(*events):
    builder = HistoryBuilder()
    for at_s, process, f, value in events:
        builder.event(process, "info", f, value, time=int(at_s * SECOND))
    return builder.done()


def lines(*events, nodes=NODES):
    return {one["node"]: one["lines"] for one in clock_lines(history(*events), nodes, 10 * SECOND)}


def test_nothing_is_drawn_where_nobody_looked():
    assert lines((1, "harness", "heal", {}), (2, "harness", "clocks", {"set": []})) == {}


def test_a_clock_that_is_set_jumps_then_drifts_and_one_that_is_not_was_right():
    settings = [
        {"time_ns": 2 * SECOND, "node": "n2", "ahead_ms": 500.0, "gains_ppm": 1000.0},
        {"time_ns": 6 * SECOND, "node": "n2", "ahead_ms": 0.0},
        {"node": "n1"},
    ]
    found = lines((9, "harness", "clocks", {"set": settings}))
    assert list(found) == ["n1", "n2", "n10"]
    assert found["n1"] == [[0, 0.0, 10_000_000, 0.0]]
    jump, fall = [2_000_000, 0.0, 2_000_000, 500.0], [6_000_000, 504.0, 6_000_000, 0.0]
    assert found["n2"] == [[0, 0.0, *jump, *fall, 10_000_000, 0.0]]


def test_readings_make_lines_that_break_where_a_node_was_silent():
    events = [(at, "harness", "clocks", {"ahead_ms": {"n1": at * 1.0}}) for at in (1, 2, 7, 8)]
    assert lines(*events) == {"n1": [[1_000_000, 1.0, 2_000_000, 2.0], [7_000_000, 7.0, 8_000_000, 8.0]]}


def test_without_either_the_evidence_of_the_faults_tells():
    def probe(before, after):
        what = "clock of n2, ms ahead of real time"
        return {"evidence": {"probes": [{"what": what, "before": before, "after": after}, "nonsense"]}}

    found = lines((1, "nemesis", "start", probe(0.1, 250.0)), (4, "nemesis", "stop", probe(250.0, None)))
    assert found == {"n2": [[1_000_000, 0.1, 1_000_000, 250.0, 4_000_000, 250.0]]}


@pytest.mark.parametrize("most", [1, 3])
def test_there_are_never_more_points_than_a_page_can_hold(monkeypatch, most):
    monkeypatch.setattr(clocks, "MOST_POINTS", most)
    events = [(at, "harness", "clocks", {"ahead_ms": {"n1": 0.0, "n2": 0.0}}) for at in range(1, 4)]
    found = lines(*events)
    assert sum(len(line) // 2 for of_node in found.values() for line in of_node) == most
