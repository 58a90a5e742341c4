"""Nodes whose process ended though nobody asked for it: a database that falls over by itself broke a promise.

The harness records each as an event of process `log`, function `crash`, value `{"node", "status", "text"}`: how the
process ended and its last lines. What the nemesis kills is not among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from checkers.checker import Limits
from checkers.words import count
from results.history import History
from results.operation import LOG
from results.verdict import INVALID, VALID, Anomaly, Verdict

CRASH = "crash"


@dataclass
class CrashChecker:
    """Invalid if a node's process ended by itself."""

    name: str = field(default="crashes", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        """One anomaly a crash, with the last lines that the node printed."""
        anomalies = [
            Anomaly(
                type="crash",
                sentence=f"node {event.value.get('node')} ended though nobody asked for it "
                f"({event.value.get('status')}); its last lines: "
                f"{str(event.value.get('text', '')).strip()[-600:] or 'none'}",
                operations=[event.index],
                evidence=dict(event.value),
            )
            for event in history.observed(LOG)
            if event.f == CRASH and isinstance(event.value, Mapping)
        ]
        if anomalies:
            nodes = sorted({str(anomaly.evidence.get("node")) for anomaly in anomalies})
            sentence = f"{count(len(anomalies), 'process', 'processes')} ended unasked, of {', '.join(nodes)}"
            return Verdict(INVALID, self.name, sentence, anomalies)
        return Verdict(VALID, self.name, "no process ended unasked")
