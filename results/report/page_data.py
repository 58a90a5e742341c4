"""What the scripts of the page know: the operations as columns, and faults, nodes, marks and anomalies beside them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from typing import Any

from results.history import FaultInterval, History
from results.operation import LOG, Operation
from results.report.columns import ANSWER, pack_integers, pack_texts, short_value
from results.report.escape import shortened, value_text
from results.report.measures import NO_LAG, OPEN_CODE, OperationTable
from results.verdict import Verdict

EVIDENCE_LIMIT = 3000
"""Characters of a fault's evidence in the page."""
MOST_TARGETS = 6
"""Targets that a fault's label names."""


def page_data(
    history: History, table: OperationTable, faults: list[FaultInterval], verdict: Verdict | None
) -> dict[str, Any]:
    """JSON-like; `front_end/src/run.ts` names the fields. Times in microseconds since the start of the run."""
    nodes = sorted({node for node in table.nodes if node} | set(_fault_nodes(faults)), key=natural_key)
    return {
        "span_us": table.span_ns // 1000,
        "operations": _pack_operations(table),
        "processes": table.processes,
        "functions": table.functions,
        "nodes": nodes,
        "lanes": _lanes(table),
        "phases": [[name, time // 1000] for name, time in history.phases()],
        "faults": [_fault(fault) for fault in faults],
        "node_effects": {node: _effects(node, faults) for node in nodes},
        "marks": [_mark(event) for event in history.observed(LOG)],
        "anomalies": _anomalies(table, history, verdict),
    }


def natural_key(name: str) -> tuple[str, int, str]:
    """Sorts n2 before n10."""
    head = name.rstrip("0123456789")
    digits = name[len(head) :]
    return head, int(digits) if digits.isascii() and digits else -1, name


def fault_label(fault: FaultInterval) -> str:
    """For example `partition one-way: n1→n2, n1→n3`."""
    targets = [target_text(target) for target in fault.targets]
    if len(targets) > MOST_TARGETS:
        targets[MOST_TARGETS - 1 :] = [f"{len(targets) - MOST_TARGETS + 1} more"]
    return f"{fault_name(fault)}: {', '.join(targets)}" if targets else fault_name(fault)


def fault_name(fault: FaultInterval) -> str:
    """Its class and shape: `partition one-way`."""
    return f"{fault.fault} {fault.shape}" if fault.shape else fault.fault


def target_text(target: str) -> str:
    """A target in words: a node `n1`, or a directed link `n1→n2`, however it was written."""
    return "→".join(_ends(target)) or target


def _ends(target: str) -> list[str]:
    return [end for end in re.split(r"->|→|[\s\[\](),'\"]+", target) if end]


def _pack_operations(table: OperationTable) -> dict[str, Any]:
    start_us = table.start_ns // 1000
    # A combined outcome and function takes less than both apart.
    combined = table.function * 4 + table.outcome
    return {
        "n": len(table),
        "start": pack_integers(start_us, delta=True),
        "duration": pack_integers(table.end_ns // 1000 - start_us),
        "lag": pack_integers(_microseconds(table)) if (table.lag_ns != NO_LAG).any() else None,
        "process": pack_integers(table.process),
        "outcome": pack_integers(combined),
        "index": pack_integers(table.index, delta=True),
        "value": pack_texts(_values(table)),
        "error": pack_texts(_errors(table)),
    }


def _microseconds(table: OperationTable) -> Any:
    import numpy as np

    return np.where(table.lag_ns == NO_LAG, NO_LAG, table.lag_ns // 1000)


def _values(table: OperationTable) -> Iterator[str]:
    for pair in table.pairs:
        asked = short_value(pair.invocation.value)
        completion = pair.completion
        if completion is None or completion.value is None:
            yield asked
            continue
        answered = short_value(completion.value)
        yield asked if answered == asked else asked + ANSWER + answered


def _errors(table: OperationTable) -> Iterator[str]:
    for pair in table.pairs:
        completion = pair.completion
        yield "" if completion is None or completion.error is None else short_value(completion.error)


def _lanes(table: OperationTable) -> list[dict[str, Any]]:
    """Processes put into as few lanes as there ever were at once on a node.

    A process that ended in info is followed by one with a new number, which takes over its lane.
    """
    import numpy as np

    count = len(table.processes)
    if not count:
        return []
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.zeros(count, np.int64)
    np.minimum.at(first, table.process, table.start_ns)
    # What never completed ends its process; the process that follows may begin at once.
    ends = np.where(table.outcome == OPEN_CODE, table.start_ns, table.end_ns)
    np.maximum.at(last, table.process, ends)
    lanes: list[dict[str, Any]] = []
    free: dict[str, list[tuple[int, int]]] = {}
    """Per node: when each of its lanes becomes free, and the lane."""
    for process in sorted(range(count), key=lambda position: (int(first[position]), position)):
        node = table.nodes[process]
        waiting = free.setdefault(node, [])
        if waiting and waiting[0][0] <= first[process]:
            lane = heapq.heappop(waiting)[1]
            lanes[lane]["processes"].append(process)
        else:
            lane = len(lanes)
            lanes.append({"node": node, "processes": [process]})
        heapq.heappush(waiting, (int(last[process]), lane))
    return sorted(lanes, key=lambda lane: natural_key(lane["node"]))


def _fault(fault: FaultInterval) -> dict[str, Any]:
    return {
        "step": fault.step,
        "label": shortened(fault_label(fault), 200),
        "fault": fault.fault,
        "targets": [shortened(target_text(target), 200) for target in fault.targets],
        "start": fault.start_ns // 1000,
        "effective": None if fault.effective_ns is None else fault.effective_ns // 1000,
        "end": None if fault.end_ns is None else fault.end_ns // 1000,
        "took_effect": fault.took_effect,
        "skipped": fault.skipped,
        "evidence": value_text(fault.evidence, EVIDENCE_LIMIT) if fault.evidence else "",
    }


def target_nodes(target: str) -> list[str]:
    """The nodes that a target names: one, or both ends of a directed link; clients are no node."""
    return [end for end in _ends(target) if end not in ("client", "clients")]


def _fault_nodes(faults: list[FaultInterval]) -> Iterator[str]:
    for fault in faults:
        for target in fault.targets:
            yield from target_nodes(target)


def _effects(node: str, faults: list[FaultInterval]) -> list[list[Any]]:
    """Which faults touched the node, by position, and how: `[position, text]`."""
    effects: list[list[Any]] = []
    for position, fault in enumerate(faults):
        touching = [target for target in fault.targets if node in target_nodes(target)]
        if not touching:
            continue
        links = [target_text(target) for target in touching if target != node]
        name = fault_name(fault)
        effects.append([position, shortened(f"{name} {', '.join(links)}" if links else name, 200)])
    return effects


def _mark(event: Operation) -> dict[str, Any]:
    value = event.value if isinstance(event.value, dict) else {"text": event.value}
    return {
        "time": event.time // 1000,
        "node": str(value.get("node", "")),
        "kind": "log line",
        "text": shortened(str(value.get("text", "")), 400),
    }


def anomaly_rows(table: OperationTable, history: History, events: list[int]) -> list[int]:
    """The rows of the operations to which the events belong, each once, in the order of the events.

    Events of observers, and indexes outside the history, have no row.
    """
    import numpy as np

    rows: dict[int, None] = {}
    for event in events:
        if not 0 <= event < len(history):
            continue
        partner = history.partner_index(event)
        invocation = event if partner is None else min(event, partner)
        row = int(np.searchsorted(table.index, invocation))
        if row < len(table) and int(table.index[row]) == invocation:
            rows[row] = None
    return list(rows)


def _anomalies(table: OperationTable, history: History, verdict: Verdict | None) -> list[dict[str, Any]]:
    if verdict is None:
        return []
    return [
        {
            "type": shortened(anomaly.type, 100),
            "checker": checker,
            "sentence": shortened(anomaly.sentence, 600),
            "rows": anomaly_rows(table, history, anomaly.operations),
        }
        for checker, anomaly in verdict.every_anomaly()
    ]
