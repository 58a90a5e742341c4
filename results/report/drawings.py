"""The evidence of an anomaly, drawn: operations beside each other, a cycle of transactions, a balance, a lost element.

What is drawn depends on what the evidence holds, not on who found it, so a checker of one's own gets the same drawings
if it uses the same names:

| the evidence holds | drawn is |
|---|---|
| `cycle`, `transactions` | transactions as boxes, dependencies as arrows, and the reason of each in words |
| `minimal_history`, maybe `orders` | the operations by process; how far each longest order gets, state by state |
| `elements` with `known_ns` | when each element was there, last seen, and missing |
| `worst` with `saw` | what stood where in the worst read, beside what should have been there together |
| none of these | the first operations of the anomaly by process |
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.operation import INFO, OK
from results.report.escape import html_text, shortened, value_text
from results.report.measures import OPEN_CODE, OperationTable
from results.report.svg import LETTER, Box, Drawing, cut
from results.verdict import Anomaly

MOST_BARS = 14
MOST_TRANSACTIONS = 9
MOST_MICRO = 5
MOST_ELEMENTS = 10
MOST_PARTS = 40
DRAWN = frozenset({"cycle", "transactions", "minimal_history", "orders", "all_orders_tried"})
"""Fields of the evidence that need not be listed again."""
KINDS = {
    "ww": "write before write",
    "wr": "write before the read that saw it",
    "rw": "read before the write that it did not see",
    "process": "the order within one process",
    "realtime": "ended before the other began",
    "rt": "ended before the other began",
}
"""What an arrow of each kind says."""


@dataclass(frozen=True)
class Bar:
    """An operation as it is drawn."""

    index: int
    process: str
    text: str
    start_ns: int
    end_ns: int | None
    """None if it never completed."""
    type: str


def draw(anomaly: Anomaly, rows: Sequence[int], table: OperationTable) -> str:
    """The drawing that suits the evidence, as HTML; empty if there is nothing to draw."""
    evidence = anomaly.evidence
    cycle, transactions = _mappings(evidence.get("cycle")), _mappings(evidence.get("transactions"))
    if cycle and transactions:
        return _cycle(cycle, transactions)
    history = _mappings(evidence.get("minimal_history"))
    if history:
        orders = _mappings(evidence.get("orders"))
        bars = [_bar_of_row(row) for row in history if isinstance(row.get("start_ns"), int)]
        whole = evidence.get("all_orders_tried") is not False
        return _bars(bars, _blocked(orders)) + _orders(orders, bars, whole)
    elements = [item for item in _mappings(evidence.get("elements")) if isinstance(item.get("known_ns"), int)]
    if elements:
        return _elements(elements, table.span_ns)
    worst = evidence.get("worst")
    if isinstance(worst, Mapping) and isinstance(worst.get("saw"), Mapping):
        return _balance(worst["saw"], evidence.get("total"))
    return _bars([_bar_of_table(row, table) for row in sorted(rows)[:MOST_BARS]], frozenset())


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """The value if it is a list of mappings, else nothing: verdict.json may be of anybody."""
    return value if isinstance(value, list) and all(isinstance(item, Mapping) for item in value) else []


# Operations side by side


def _bar_of_row(row: Mapping[str, Any]) -> Bar:
    end = row.get("end_ns")
    return Bar(
        index=int(row.get("index", -1)),
        process=str(row.get("process", "")),
        text=f"{row.get('f', '')} {value_text(row.get('value'), 80)}",
        start_ns=int(row["start_ns"]),
        end_ns=end if isinstance(end, int) else None,
        type=str(row.get("type", OK)),
    )


def _bar_of_table(row: int, table: OperationTable) -> Bar:
    pair = table.pairs[row]
    answered = pair.invocation.value if pair.completion is None else pair.completion.value
    shown = pair.invocation.value if answered is None else answered
    return Bar(
        index=pair.index,
        process=str(pair.process),
        text=f"{pair.f} {value_text(shown, 80)}",
        start_ns=int(table.start_ns[row]),
        end_ns=None if int(table.outcome[row]) == OPEN_CODE else int(table.end_ns[row]),
        type=pair.type,
    )


def _bars(bars: Sequence[Bar], blocked: frozenset[int]) -> str:
    """Operations by process over time. Time is told in order and not to scale, so that a stall hides nothing."""
    if not bars:
        return ""
    moments = sorted({bar.start_ns for bar in bars} | {bar.end_ns for bar in bars if bar.end_ns is not None})
    lanes = sorted({bar.process for bar in bars}, key=lambda name: (len(name), name))
    longest = LETTER * max(len(bar.text) + 2 for bar in bars) + 12
    gutter, step = 96.0, max(74.0, 860.0 / (len(moments) + 1), min(longest, 1000.0 / (len(moments) + 1)))
    place = {moment: gutter + position * step for position, moment in enumerate(moments)}
    right = gutter + len(moments) * step
    height = 30.0 * len(lanes) + 40
    drawing = Drawing(
        right + 8, height, "operations by process, from left to right in the order of their times"
    )
    for position, moment in enumerate(moments):
        drawing.line(place[moment], 4, place[moment], height - 26, "moment")
        below = height - (12 if position % 2 == 0 or step > 90 else 0)
        drawing.text(place[moment] + 2, below, f"{moment / 1e9:.6f} s", "small quiet-text")
    for lane, process in enumerate(lanes):
        top = 8 + 30.0 * lane
        drawing.text(0, top + 16, cut(f"process {process}", gutter - 8))
        for bar in bars:
            if bar.process != process:
                continue
            end = right if bar.end_ns is None or bar.type == INFO else place[bar.end_ns]
            kind = "blocked" if bar.index in blocked else bar.type if bar.type in (OK, INFO) else "fail"
            box = Box(place[bar.start_ns], top, end - place[bar.start_ns], 22)
            drawing.box(box, f"bar {kind}", f"{bar.text} ({bar.type}), event {bar.index}")
            sign = "✗ " if bar.index in blocked else ""
            room = max(box.width, _room(bar, bars, place, right)) - 8
            drawing.text(box.left + 5, top + 15, cut(sign + bar.text, room), "mono")
    return drawing.html()


def _room(bar: Bar, bars: Sequence[Bar], place: Mapping[int, float], right: float) -> float:
    """Pixels until the next operation of the same process begins."""
    later = [
        place[other.start_ns]
        for other in bars
        if other.process == bar.process and other.start_ns > bar.start_ns
    ]
    return min(later, default=right) - place[bar.start_ns]


def _blocked(orders: Iterable[Mapping[str, Any]]) -> frozenset[int]:
    """The operations that no longest order can take in."""
    each = [{item.get("index", -1) for item in _mappings(order.get("blocked"))} for order in orders]
    return frozenset(set.intersection(*each)) if each else frozenset()


def _orders(orders: Sequence[Mapping[str, Any]], bars: Sequence[Bar], whole: bool) -> str:
    """Each order as a row: state, operation, state, operation, and what cannot come next."""
    if not orders:
        return ""
    names = {bar.index: f"process {bar.process}: {bar.text}" for bar in bars}
    lines = []
    for order in orders:
        steps = [f'<span class="state">{html_text(shortened(str(order.get("start", "")), 120))}</span>']
        for item in _mappings(order.get("steps")):
            what = names.get(item.get("index", -1), f"event {item.get('index')}")
            steps.append(f"<code>{html_text(shortened(what, 120))}</code>")
            steps.append(
                f'<span class="state">{html_text(shortened(str(item.get("state", "")), 120))}</span>'
            )
        for item in _mappings(order.get("blocked")):
            what = names.get(item.get("index", -1), f"event {item.get('index')}")
            steps.append(f'<span class="cannot">✗ <code>{html_text(shortened(what, 120))}</code></span>')
        lines.append(f"<li>{' → '.join(steps)}</li>")
    told = "The longest orders" if whole else "The longest orders that were found"
    return (
        f'<p class="quiet">{told} that keep to the times, with the state after each step; ✗ is what cannot come '
        f'next:</p><ol class="orders">{"".join(lines)}</ol>'
    )


# Transactions in a cycle


def _cycle(cycle: Sequence[Mapping[str, Any]], transactions: Sequence[Mapping[str, Any]]) -> str:
    shown = transactions[:MOST_TRANSACTIONS]
    boxes = _places(shown)
    width = max(box.left + box.width for box in boxes.values()) + 4
    height = max(box.top + box.height for box in boxes.values()) + 4
    edges = ", ".join(f"{edge.get('source')} before {edge.get('target')}" for edge in cycle)
    drawing = Drawing(width, height, shortened(f"a cycle of transactions: {edges}", 300))
    pair = len(shown) == 2
    for edge in cycle:
        source, target = boxes.get(str(edge.get("source"))), boxes.get(str(edge.get("target")))
        if source is not None and target is not None and source is not target:
            _edge(drawing, edge, source, target, pair)
    for transaction in shown:
        _transaction(drawing, transaction, boxes[str(transaction.get("name"))])
    reasons = "".join(
        f"<li><b>{html_text(edge.get('source'))} → {html_text(edge.get('target'))}</b> "
        f'<span class="quiet">{html_text(_kind(edge))}</span>: '
        f"{html_text(shortened(str(edge.get('reason', '')), 500))}</li>"
        for edge in cycle
    )
    return f'{drawing.html()}<ol class="orders">{reasons}</ol>'


def _kind(edge: Mapping[str, Any]) -> str:
    kind = str(edge.get("kind", ""))
    return f"{kind}, {KINDS[kind]}" if kind in KINDS else kind


def _places(transactions: Sequence[Mapping[str, Any]]) -> dict[str, Box]:
    """Two side by side, more of them around an ellipse, clockwise from the top."""
    sizes = {}
    for transaction in transactions:
        lines = _micro_lines(transaction)
        longest = max([22, *(min(40, len(line)) for line in lines)])
        sizes[str(transaction.get("name"))] = (longest * LETTER + 20, 26.0 + 17 * len(lines))
    if len(sizes) <= 2:
        left, boxes = 2.0, {}
        tall = max(height for _, height in sizes.values())
        for name, (width, height) in sizes.items():
            boxes[name] = Box(left, 12 + (tall - height) / 2, width, height)
            left += width + 170
        return boxes
    wide = max(width for width, _ in sizes.values())
    tall = max(height for _, height in sizes.values())
    radius_x = max(wide * 0.9, 60 + len(sizes) * wide / 5)
    radius_y = max(tall * 1.1, 50 + len(sizes) * tall / 5)
    boxes = {}
    for position, (name, (width, height)) in enumerate(sizes.items()):
        angle = 2 * math.pi * position / len(sizes) - math.pi / 2
        x = radius_x + wide / 2 + radius_x * math.cos(angle)
        y = radius_y + tall / 2 + radius_y * math.sin(angle)
        boxes[name] = Box(x - width / 2 + 4, y - height / 2 + 4, width, height)
    return boxes


def _micro_lines(transaction: Mapping[str, Any]) -> list[str]:
    """Micro-operations, a line each."""
    micro = transaction.get("micro_operations")
    items = micro if isinstance(micro, list) else []
    lines = []
    for item in items[:MOST_MICRO]:
        parts = item if isinstance(item, list) else [item]
        lines.append(" ".join(value_text(part, 60) for part in parts))
    if len(items) > MOST_MICRO:
        lines.append(f"and {len(items) - MOST_MICRO} more")
    return lines


def _transaction(drawing: Drawing, transaction: Mapping[str, Any], box: Box) -> None:
    lines = _micro_lines(transaction)
    drawing.box(box, "transaction", "; ".join(lines))
    process = f"process {transaction.get('process')}"
    kind = transaction.get("type")
    drawing.text(box.left + 10, box.top + 18, str(transaction.get("name")), "bold")
    drawing.text(
        box.left + box.width - 8,
        box.top + 18,
        cut(process if kind in (None, OK) else f"{process}, {kind}", box.width - 50),
        "small quiet-text",
        "end",
    )
    for position, line in enumerate(lines):
        drawing.text(box.left + 10, box.top + 36 + 17 * position, cut(line, box.width - 18), "mono")


def _edge(drawing: Drawing, edge: Mapping[str, Any], source: Box, target: Box, pair: bool) -> None:
    (x1, y1), (x2, y2) = source.border_towards(*target.middle), target.border_towards(*source.middle)
    if pair:  # There and back again, beside each other.
        shift = -12.0 if x1 < x2 else 12.0
        y1, y2 = y1 + shift, y2 + shift
    drawing.arrow(x1, y1, x2, y2, "edge")
    key = f", key {value_text(edge['key'], 20)}" if edge.get("key") is not None else ""
    above = -6 if not pair or x1 < x2 else 16
    drawing.text(
        (x1 + x2) / 2,
        (y1 + y2) / 2 + above,
        cut(f"{edge.get('kind', '')}{key}", 150),
        "small label",
        "middle",
    )


# Elements and balances


def _elements(elements: Sequence[Mapping[str, Any]], span_ns: int) -> str:
    """A line an element over the run: acknowledged, last seen, missing."""
    shown = elements[:MOST_ELEMENTS]
    gutter, width = 96.0, 900.0
    height = 24.0 * len(shown) + 30
    drawing = Drawing(width + 8, height, "when each element was acknowledged, last seen, and missing")
    span = max(span_ns, 1)

    def place(moment: Any) -> float:
        return gutter + (width - gutter) * min(1.0, max(0.0, float(moment) / span))

    for position, element in enumerate(shown):
        top = 6 + 24.0 * position
        seen, absent = element.get("last_seen_ns"), element.get("first_absent_ns")
        drawing.text(0, top + 13, cut(value_text(element.get("element"), 40), gutter - 6), "mono")
        there = place(element["known_ns"])
        until = place(seen) if isinstance(seen, int) else there
        drawing.box(Box(there, top + 3, until - there, 12), "bar ok", "acknowledged until last seen")
        if isinstance(absent, int):
            left = place(absent)
            drawing.line(until, top + 9, left, top + 9, "moment")
            drawing.box(Box(left, top + 3, width - left, 12), "bar blocked", "missing from every later read")
            last = f"last seen at {seen / 1e9:.3f} s" if isinstance(seen, int) else "never seen"
            known = int(element["known_ns"]) / 1e9
            words = f"acknowledged at {known:.3f} s, {last}, ✗ missing from {absent / 1e9:.3f} s"
            drawing.text(min(left + 4, width - len(words) * 6.4), top + 13, words, "small")
    for share in range(5):
        x = gutter + (width - gutter) * share / 4
        anchor = "end" if share == 4 else "start"
        drawing.text(x, height - 6, f"{span * share / 4e9:.2f} s", "small quiet-text", anchor)
    more = len(elements) - len(shown)
    return drawing.html() + (f'<p class="quiet">and {more:,} more</p>' if more > 0 else "")


def _balance(saw: Mapping[str, Any], total: Any) -> str:
    """What one read saw, part beside part, and where the sum should have been."""
    amounts = [(str(name), value) for name, value in saw.items() if isinstance(value, int | float)][
        :MOST_PARTS
    ]
    together = sum(value for _, value in amounts)
    expected = total if isinstance(total, int | float) else None
    most = max([1.0, *(sum(value for _, value in amounts if value > 0),), *([expected] if expected else [])])
    gutter, width = 8.0, 880.0
    drawing = Drawing(width + 8, 74, f"what the worst read saw, {together} in all")
    left, scale = gutter, (width - gutter) / most
    for position, (name, value) in enumerate(amounts):
        wide = max(0.0, value * scale)
        kind = "fail" if value < 0 else "ok" if position % 2 == 0 else "ok second"
        drawing.box(Box(left, 18, wide, 26), f"bar {kind}", f"{name}: {value}")
        if wide > 26:
            drawing.text(left + 3, 35, cut(f"{name} {value}", wide - 4), "small mono")
        left += wide
    drawing.text(gutter, 62, f"the read: {together}", "small")
    if expected is not None:
        mark = gutter + expected * scale
        drawing.line(mark, 8, mark, 54, "edge")
        drawing.text(mark - 4, 14, f"should be {expected}", "small label", "end")
    return drawing.html()
