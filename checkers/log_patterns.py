"""Lines in the nodes' logs that must not be there: a panic, a failed assertion, data found corrupt.

The harness reads the logs and puts the lines that match into the history (process `log`, function `log`, value
`{"node", "line", "text"}`); this checker only judges, so that a saved history can be judged again. What a node says
of a disk that the nemesis broke is no fault of its own (`disk_faults.py`), nor of a clock that it moved
(`clock_faults.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.checker import Limits
from checkers.clock_faults import ClockStops
from checkers.crashes import CRASH
from checkers.disk_faults import DiskFaults
from checkers.words import count
from results.history import History
from results.operation import LOG, Operation
from results.verdict import INVALID, VALID, Anomaly, Verdict

EXAMPLES = 20


@dataclass
class LogPatternChecker:
    """Invalid if a log line matches one of the regular expressions; from a mapping, the keys name them."""

    patterns: Mapping[str, str] | Iterable[str]
    name: str = field(default="log patterns", kw_only=True)

    def __post_init__(self) -> None:
        named = (
            self.patterns if isinstance(self.patterns, Mapping) else {text: text for text in self.patterns}
        )
        self._patterns = {name: re.compile(text) for name, text in named.items()}

    def match(self, line: str) -> str | None:
        """The name of the first pattern that a line matches; for those who extract lines."""
        return next((name for name, pattern in self._patterns.items() if pattern.search(line)), None)

    def check(self, history: History, limits: Limits) -> Verdict:
        found: dict[tuple[str, str], list[Operation]] = {}
        lines = [
            event for event in history.observed(LOG) if event.f == LOG and isinstance(event.value, Mapping)
        ]
        blamed = DiskFaults.of(history, CRASH).forgive_lines(lines)
        of_disks = len(lines) - len(blamed)
        blamed = ClockStops.of(history, CRASH).forgive_lines(blamed)
        for event in blamed:
            name = self.match(str(event.value.get("text", "")))
            if name is not None:
                found.setdefault((name, str(event.value.get("node", "?"))), []).append(event)
        details: dict[str, Any] = {
            "patterns": list(self._patterns),
            "lines": sum(len(events) for events in found.values()),
        }
        if of_disks:
            details["lines_of_broken_disks"] = of_disks
        if len(blamed) + of_disks < len(lines):
            details["lines_of_moved_clocks"] = len(lines) - of_disks - len(blamed)
        if not found:
            return Verdict(VALID, self.name, "no forbidden line in the logs", details=details)
        anomalies = []
        for (name, node), events in found.items():
            first = events[0].value
            where = f", line {first['line']}" if first.get("line") is not None else ""
            anomalies.append(
                Anomaly(
                    type=f"log: {name}",
                    sentence=f"node {node} logged {count(len(events), 'line')} that match {name!r}; the first{where}: "
                    f"{str(first.get('text', '')).strip()[:300]}",
                    operations=[event.index for event in events[:EXAMPLES]],
                    evidence={
                        "node": node,
                        "count": len(events),
                        "lines": [e.value for e in events[:EXAMPLES]],
                    },
                )
            )
        return Verdict(INVALID, self.name, "; ".join(a.sentence for a in anomalies), anomalies, details)
