"""How far each node's clock was from real time over the run, as lines to draw.

Three sources, the first that a run has: every setting of a simulated clock; readings of every clock once a second; what
was read when clocks were set and set back, as evidence of the fault.
"""

from __future__ import annotations

import re
from typing import Any

from results.history import History
from results.operation import HARNESS, NEMESIS
from results.report.escape import shortened
from results.report.faults import natural_key

CLOCKS = "clocks"
"""The event of the harness that tells of clocks."""
MOST_POINTS = 20_000
"""Of all lines together; a strobe sets a clock hundreds of times."""
SILENCE_NS = 3_500_000_000
"""Between readings of a clock further apart than this its line is broken: the node was down, or did not answer."""
_READ = re.compile(r"clock of (\S+), ms ahead of real time")

Point = tuple[int, float]
"""Nanoseconds since the start of the run, and milliseconds ahead of real time."""


def clock_lines(history: History, nodes: list[str], span_ns: int) -> list[dict[str, Any]]:
    """`[{"node", "lines": [[time in microseconds, ms ahead, time, ms ahead, ...], ...]}]`, nodes in their order; empty
    where no clock is known to have been looked at. `nodes` are all that there are: where settings are known, a clock
    that was never set was always right."""
    lines = _of_settings(history, nodes, span_ns) or _of_readings(history) or _of_evidence(history)
    told = []
    left = MOST_POINTS
    for node in sorted(lines, key=natural_key):
        kept = []
        for line in lines[node]:
            kept.append(
                [number for time, ahead in line[: max(0, left)] for number in (time // 1000, round(ahead, 3))]
            )
            left -= len(line)
        told.append({"node": shortened(node, 60), "lines": [line for line in kept if line]})
    return told


def _values(history: History) -> list[tuple[int, dict[str, Any]]]:
    return [
        (event.time, event.value)
        for event in history.observed(HARNESS)
        if event.f == CLOCKS and isinstance(event.value, dict)
    ]


def _of_settings(history: History, nodes: list[str], span_ns: int) -> dict[str, list[list[Point]]]:
    """A clock that is set jumps, and then gains or loses evenly until it is set again."""
    lines: dict[str, list[list[Point]]] = {}
    gains: dict[str, tuple[Point, float]] = {}

    def go_on(node: str, time_ns: int) -> list[Point]:
        """The node's line, up to this moment."""
        (since_ns, ahead), ppm = gains.setdefault(node, ((0, 0.0), 0.0))
        line = lines.setdefault(node, [[(0, 0.0)]])[0]
        line.append((time_ns, ahead + (time_ns - since_ns) * ppm / 1e12))
        return line

    for _, value in _values(history):
        for one in value.get("set", ()):
            try:
                node, time_ns = str(one["node"]), max(0, int(one["time_ns"]))
                ahead, ppm = float(one["ahead_ms"]), float(one.get("gains_ppm", 0.0))
            except (KeyError, TypeError, ValueError):
                continue
            go_on(node, time_ns).append((time_ns, ahead))
            gains[node] = ((time_ns, ahead), ppm)
    for node in {**lines, **dict.fromkeys(nodes)} if lines else ():
        go_on(node, span_ns)
    return lines


def _of_readings(history: History) -> dict[str, list[list[Point]]]:
    lines: dict[str, list[list[Point]]] = {}
    for time_ns, value in _values(history):
        readings = value.get("ahead_ms")
        for node, ahead in readings.items() if isinstance(readings, dict) else ():
            if isinstance(ahead, int | float):
                _add(lines.setdefault(str(node), []), time_ns, float(ahead))
    return lines


def _add(lines: list[list[Point]], time_ns: int, ahead: float) -> None:
    if not lines or time_ns - lines[-1][-1][0] > SILENCE_NS:
        lines.append([])
    lines[-1].append((time_ns, ahead))


def _of_evidence(history: History) -> dict[str, list[list[Point]]]:
    """Where nothing else is known: what the probes of a fault have read when it began and when it ended."""
    lines: dict[str, list[list[Point]]] = {}
    for event in history.observed(NEMESIS):
        evidence = event.value.get("evidence") if isinstance(event.value, dict) else None
        probes = evidence.get("probes") if isinstance(evidence, dict) else None
        for probe in probes if isinstance(probes, list) else ():
            found = _READ.search(str(probe.get("what"))) if isinstance(probe, dict) else None
            if found is None:
                continue
            line = lines.setdefault(found[1], [[]])[0]
            for name in ("before", "after"):
                if isinstance(probe.get(name), int | float):
                    line.append((event.time, float(probe[name])))
    return lines
