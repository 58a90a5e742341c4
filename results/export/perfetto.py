"""A run as a trace that ui.perfetto.dev opens: clients, faults and log lines over time.

The format is the JSON of Chrome's trace events ("Trace Event Format"): a complete event (`X`) for each operation, on
the row of its process; the faults on rows of their own; instants (`i`) for the phases of the run and for the lines
found in the nodes' logs; a counter (`C`) of the operations under way. Times are microseconds since the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from results.history import History
from results.operation import HARNESS, LOG

CLIENTS: Final = 1
FAULTS: Final = 2
NOTES: Final = 3
_COLORS: Final = {"ok": "good", "fail": "grey", "info": "bad"}
"""Names of colours that trace viewers reserve."""


def events(history: History) -> Iterator[dict[str, Any]]:
    """The trace events, in no particular order of times (the format wants none)."""
    for number, name in ((CLIENTS, "clients"), (FAULTS, "faults"), (NOTES, "run and logs")):
        yield {"ph": "M", "name": "process_name", "pid": number, "args": {"name": name}}
        yield {"ph": "M", "name": "process_sort_index", "pid": number, "args": {"sort_index": number}}
    last = history.duration_ns
    under_way: list[tuple[int, int]] = []
    for pair in history.pairs():
        invocation = pair.invocation
        # What never ended is drawn up to the end of the record; it may take effect even later.
        end = pair.end if pair.end is not None else last
        under_way += ((pair.start, 1), (end, -1))
        yield {
            "ph": "X",
            "name": pair.f,
            "cat": pair.type,
            "cname": _COLORS[pair.type],
            "pid": CLIENTS,
            "tid": pair.process,
            "ts": pair.start / 1000,
            "dur": max(end - pair.start, 0) / 1000,
            "args": {
                "event": invocation.index,
                "ended": pair.type,
                "value": _said(pair.value),
                "error": _said(
                    pair.completion.error if pair.completion is not None else "no completion recorded"
                ),
                "node": invocation.node,
                "phase": pair.phase,
            },
        }
    for number, interval in enumerate(history.fault_intervals()):
        name = interval.fault if interval.shape is None else f"{interval.fault}: {interval.shape}"
        end = interval.end_ns if interval.end_ns is not None else last
        yield {
            "ph": "M",
            "name": "thread_name",
            "pid": FAULTS,
            "tid": number,
            "args": {"name": f"step {interval.step}"},
        }
        yield {
            "ph": "X",
            "name": name,
            "cat": "fault" if interval.took_effect else "no effect",
            "pid": FAULTS,
            "tid": number,
            "ts": interval.start_ns / 1000,
            "dur": max(end - interval.start_ns, 0) / 1000,
            "args": {
                "targets": ", ".join(interval.targets),
                "took effect": interval.took_effect,
                "skipped": interval.skipped,
                "evidence": _said(interval.evidence),
            },
        }
    for name, time in history.phases():
        yield _instant(f"phase {name}", time, {})
    for event in history.observed(LOG):
        yield _instant(event.f, event.time, {"value": _said(event.value)})
    for event in history.observed(HARNESS):
        if event.f != "phase":
            yield _instant(event.f, event.time, {"value": _said(event.value)})
    count = 0
    for time, change in sorted(under_way):
        count += change
        yield {
            "ph": "C",
            "name": "operations under way",
            "pid": CLIENTS,
            "ts": time / 1000,
            "args": {"operations": count},
        }


def _instant(name: str, time_ns: int, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "ph": "i",
        "s": "p",
        "name": name,
        "pid": NOTES,
        "tid": 0,
        "ts": time_ns / 1000,
        "args": arguments,
    }


def _said(value: Any) -> str | None:
    """A value in a viewer's table: JSON, cut where nobody would read on."""
    if value is None:
        return None
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 2000 else f"{text[:2000]}… ({len(text)} characters)"
