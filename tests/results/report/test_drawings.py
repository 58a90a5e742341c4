"""Evidence as drawings: what is told in a drawing is what the evidence says, and hostile texts stay texts."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from results.history import HistoryBuilder
from results.report.drawings import draw
from results.report.measures import OperationTable, tabulate
from results.report.svg import Box, cut
from results.verdict import Anomaly

ROW = {
    "index": 0,
    "process": 0,
    "f": "write",
    "value": [0, 1],
    "type": "ok",
    "start_ns": 1000,
    "end_ns": 2000,
}


def table() -> OperationTable:
    builder = HistoryBuilder()
    builder.invoke(0, "enqueue", "first")
    builder.invoke(1, "dequeue", None)
    builder.ok(0)
    builder.event(1, "ok", "dequeue", "second")
    return tabulate(builder.done())


def drawn(evidence: dict[str, Any], rows: tuple[int, ...] = ()) -> str:
    html = draw(Anomaly(type="t", sentence="s", operations=[], key=None, evidence=evidence), rows, table())
    if html:
        ElementTree.fromstring(f"<div>{html}</div>")  # Raises where a tag is not closed.
    return html


def texts(html: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", html)


def test_operations_stand_in_order_by_process_and_the_one_that_fits_nowhere_is_marked():
    read = {**ROW, "index": 4, "process": 1, "f": "read", "start_ns": 5000, "end_ns": 9_000_000_000}
    orders = [{"start": "null", "steps": [{"index": 0, "state": "1"}], "blocked": [{"index": 4}]}]
    html = drawn({"minimal_history": [ROW, read], "orders": orders, "all_orders_tried": True})
    assert "process 0" in texts(html)
    assert "✗ read [0, 1]" in texts(html)
    assert html.count('class="bar ok"') == 1
    assert html.count('class="bar blocked"') == 1
    assert "9.000000 s" in texts(html)
    assert '<span class="state">null</span>' in html
    assert "The longest orders that keep" in html


def test_only_some_orders_tried_is_said():
    orders = [{"start": "0", "steps": [], "blocked": [{"index": 0}]}]
    assert "that were found" in drawn({"minimal_history": [ROW], "orders": orders, "all_orders_tried": False})


def test_a_crashed_operation_reaches_to_the_end():
    crashed = {**ROW, "type": "info", "end_ns": None}
    other = {**ROW, "index": 2, "process": 1, "start_ns": 3000, "end_ns": 4000}
    html = drawn({"minimal_history": [crashed, other]})
    [width] = re.findall(r'width="([\d.]+)" height="22.0" rx="3" class="bar info"', html)
    [usual] = re.findall(r'width="([\d.]+)" height="22.0" rx="3" class="bar ok"', html)
    assert float(width) > 2 * float(usual)


def test_a_cycle_has_an_arrow_and_a_reason_for_each_dependency():
    for count in (2, 3, 8):
        names = [f"T{number + 1}" for number in range(count)]
        transactions = [{"name": name, "process": 0, "micro_operations": [["r", 1, None]]} for name in names]
        cycle = [
            {
                "source": name,
                "target": names[(position + 1) % count],
                "kind": "rw",
                "key": 5,
                "reason": f"why {name}",
            }
            for position, name in enumerate(names)
        ]
        html = drawn({"cycle": cycle, "transactions": transactions})
        assert html.count("<polygon") == count
        assert [text for text in texts(html) if text in names] == names
        assert texts(html).count("rw, key 5") == count
        assert all(f"why {name}" in html for name in names)


def test_boxes_of_a_cycle_do_not_lie_on_each_other():
    transactions = [
        {"name": f"T{n}", "process": n, "micro_operations": [["append", n, n]] * 5} for n in range(7)
    ]
    html = drawn({"cycle": [{"source": "T0", "target": "T1"}], "transactions": transactions})
    found = re.findall(
        r'x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" rx="3" class="transaction"', html
    )
    boxes = [Box(*map(float, numbers)) for numbers in found]
    assert len(boxes) == 7
    for one in boxes:
        for other in boxes:
            apart = (
                abs(one.middle[0] - other.middle[0]) >= one.width
                or abs(one.middle[1] - other.middle[1]) >= one.height
            )
            assert one is other or apart, (one, other)


def test_a_lost_element_is_shown_from_its_acknowledgement_to_its_absence():
    html = drawn({"elements": [{"element": 6, "known_ns": 0, "last_seen_ns": None, "first_absent_ns": 10}]})
    assert any("never seen" in text and "✗ missing" in text for text in texts(html))


def test_a_balance_shows_each_account_and_what_should_have_been_there():
    html = drawn({"total": 100, "worst": {"saw": {"a0": 60, "a1": 31}}})
    assert "a0 60" in texts(html)
    assert "the read: 91" in texts(html)
    assert "should be 100" in texts(html)


def test_anything_else_is_drawn_from_the_operations():
    assert "enqueue first" in texts(drawn({"count": 2}, rows=(0, 1)))
    assert drawn({"count": 2}) == ""


def test_hostile_texts_are_texts():
    bad = "</text><script>alert(1)</script>\u202e"
    row = {**ROW, "process": bad, "f": bad, "value": bad}
    edge = {"source": "T1", "target": bad, "kind": bad, "reason": bad, "key": bad}
    for evidence in (
        {"minimal_history": [row], "orders": [{"start": bad, "steps": [], "blocked": [{"index": bad}]}]},
        {"cycle": [edge], "transactions": [{"name": bad, "process": bad, "micro_operations": [[bad, bad]]}]},
        {"elements": [{"element": bad, "known_ns": 1}]},
        {"worst": {"saw": {bad: 3}}},
    ):
        html = drawn(evidence)
        assert "<script" not in html
        assert "\u202e" not in html


def test_misshapen_evidence_draws_nothing_and_raises_nothing():
    for evidence in (
        {"cycle": 3, "transactions": "x"},
        {"minimal_history": [1, 2]},
        {"worst": 7},
        {"elements": [{}]},
    ):
        assert drawn(evidence) == ""


def test_text_is_cut_to_its_place():
    assert cut("short", 100) == "short"
    assert cut("a" * 100, 73.5) == "a" * 9 + "…"
