"""What the scripts of the page know: the operations as columns, and faults, nodes, marks and anomalies beside them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from results.history import FaultInterval, History
from results.log_lines import is_grave, timed_lines
from results.messages import MessageLog
from results.operation import LEADERS, LOG, Operation
from results.report.clocks import clock_lines
from results.report.columns import ANSWER, pack_integers, pack_texts, short_value
from results.report.escape import shortened
from results.report.faults import (
    effect_on,
    evidence_text,
    fault_label,
    fault_name,
    fault_plans,
    natural_key,
    nodes_of,
    plan_text,
    target_text,
)
from results.report.measures import NO_LAG, OPEN_CODE, OperationTable
from results.report.messages import message_data
from results.report.record import LogFile
from results.report.words import error_text, lateness
from results.verdict import Verdict

EVIDENCE_LIMIT = 3000
"""Characters of a fault's evidence in the page."""


def page_data(
    history: History,
    table: OperationTable,
    faults: list[FaultInterval],
    verdict: Verdict | None,
    threads: int | None = None,
    logs: Sequence[LogFile] = (),
    messages: MessageLog | None = None,
) -> dict[str, Any]:
    """JSON-like; `front_end/src/run.ts` names the fields. Times in microseconds since the start of the run.

    `threads` is how many client processes ran at once, if that is known. Of `logs` warnings and errors become marks,
    at the times of the nodes' own clocks.
    """
    plans = fault_plans(history)
    touched = {node for fault in faults for node in nodes_of(fault, plans.get(fault.step, {}))}
    nodes = sorted({node for node in table.nodes if node} | touched, key=natural_key)
    anomalies = _anomalies(table, history, verdict)
    moments = [_moment(table, anomaly["rows"]) for anomaly in anomalies if anomaly["rows"]]
    return {
        "span_us": table.span_ns // 1000,
        "operations": _pack_operations(table),
        "processes": table.processes,
        "functions": table.functions,
        "nodes": nodes,
        "lanes": _lanes_of_threads(table, threads) or _lanes(table),
        "lateness": lateness(history),
        "phases": [[name, time // 1000] for name, time in history.phases()],
        "faults": [_fault(fault, plans.get(fault.step, {})) for fault in faults],
        "node_effects": {node: _effects(node, faults, plans) for node in nodes},
        "marks": [
            *(_mark(event) for event in history.observed(LOG) if event.f != LEADERS),
            *_grave_lines(history, logs),
        ],
        "anomalies": anomalies,
        "ranges": _ranges(history, nodes),
        "messages": message_data(messages, moments),
        "clocks": clock_lines(history, nodes, table.span_ns),
    }


def _moment(table: OperationTable, rows: list[int]) -> tuple[int, int]:
    """From when to when these operations ran."""
    return min(int(table.start_ns[row]) for row in rows), max(int(table.end_ns[row]) for row in rows)


MOST_GRAVE_LINES = 200
"""Warnings and errors of one log that are marked on the time line; all are in the log."""
MOST_RANGES = 64
"""Ranges whose leaders the page shows: those with the most changes."""


def _ranges(history: History, nodes: list[str]) -> list[dict[str, Any]]:
    """Each range with the changes of its leader: `[time in microseconds, position of the node or -1, term]`."""
    changes: dict[str, list[tuple[int, int, int]]] = {}
    place = {node: position for position, node in enumerate(nodes)}
    for event in history.observed(LOG):
        if event.f != LEADERS or not isinstance(event.value, dict):
            continue
        for change in event.value.get("changes", ()):
            try:
                entry = (
                    int(change["time_ns"]) // 1000,
                    place.get(str(change["leader"]), -1),
                    int(change["term"]),
                )
                changes.setdefault(str(change["range"]), []).append(entry)
            except (KeyError, TypeError, ValueError):
                continue
    busiest = sorted(changes, key=lambda name: (-len(changes[name]), natural_key(name)))[:MOST_RANGES]
    return [
        {"range": shortened(name, 40), "changes": sorted(changes[name])}
        for name in sorted(busiest, key=natural_key)
    ]


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
        yield "" if completion is None or completion.error is None else _error(completion.error)


def _error(error: Any) -> str:
    """Kind and text of an error without the quotes of JSON."""
    plain = isinstance(error, list) and all(isinstance(part, str) for part in error)
    return short_value(error_text(error))[1:-1] if plain or isinstance(error, str) else short_value(error)


def thread_count(scenario: dict[str, Any]) -> int | None:
    """How many client threads a scenario asks for: `concurrency` is a number, or like `2n` one for all nodes."""
    given = re.fullmatch(r"(\d+)(n?)", str(scenario.get("concurrency", "")))
    nodes = scenario.get("nodes")
    if given is None or (given[2] and not isinstance(nodes, int)):
        return None
    return int(given[1]) * (int(nodes or 0) if given[2] else 1) or None


def _lanes_of_threads(table: OperationTable, threads: int | None) -> list[dict[str, Any]]:
    """A lane a thread: process p ran on thread p modulo `threads`. Empty if the record contradicts that."""
    if threads is None:
        return []
    lanes: dict[int, dict[str, Any]] = {}
    for process in sorted(range(len(table.processes)), key=lambda position: table.processes[position]):
        thread, node = table.processes[process] % threads, table.nodes[process]
        lane = lanes.setdefault(thread, {"node": node, "thread": thread, "processes": []})
        if lane["node"] != node:
            return []
        lane["processes"].append(process)
    return sorted(lanes.values(), key=lambda lane: (natural_key(lane["node"]), lane["thread"]))


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
            lanes.append({"node": node, "thread": None, "processes": [process]})
        heapq.heappush(waiting, (int(last[process]), lane))
    return sorted(lanes, key=lambda lane: natural_key(lane["node"]))


def _fault(fault: FaultInterval, plan: dict[str, Any]) -> dict[str, Any]:
    return {
        "step": fault.step,
        "label": shortened(fault_label(fault), 200),
        "name": shortened(fault_name(fault), 100),
        "fault": fault.fault,
        "targets": [shortened(target_text(target), 200) for target in fault.targets],
        "plan": plan_text(plan),
        "start": fault.start_ns // 1000,
        "effective": None if fault.effective_ns is None else fault.effective_ns // 1000,
        "end": None if fault.end_ns is None else fault.end_ns // 1000,
        "took_effect": fault.took_effect,
        "skipped": fault.skipped,
        "evidence": shortened(evidence_text(fault.evidence), EVIDENCE_LIMIT),
    }


def _effects(
    node: str, faults: list[FaultInterval], plans: dict[int, dict[str, Any]]
) -> list[tuple[int, str]]:
    """Which faults touched the node, by position, and how."""
    found = []
    for position, fault in enumerate(faults):
        text = effect_on(node, fault, plans.get(fault.step, {}))
        if text is not None:
            found.append((position, shortened(text, 200)))
    return found


def _mark(event: Operation) -> dict[str, Any]:
    value = event.value if isinstance(event.value, dict) else {"text": event.value}
    return {
        "time": event.time // 1000,
        "node": str(value.get("node", "")),
        "kind": "log line" if event.f == LOG else event.f,
        "text": shortened(str(value.get("text", "")), 1000),
    }


def _grave_lines(history: History, logs: Sequence[LogFile]) -> Iterator[dict[str, Any]]:
    """Warnings and errors in the logs, where it is known what the clocks showed when the run began."""
    began = next(
        (
            event.value["began_wall_ns"]
            for event in history.observed(LOG)
            if event.f == LEADERS and isinstance(event.value, dict) and "began_wall_ns" in event.value
        ),
        None,
    )
    if not isinstance(began, int):
        return
    for log in logs:
        grave = ((at, text) for at, text in timed_lines(log.tail.splitlines()) if is_grave(text))
        for at, text in islice(grave, MOST_GRAVE_LINES):
            yield {
                "time": (at - began) // 1000,
                "node": log.node,
                "kind": "log line",
                "text": shortened(text, 1000),
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
