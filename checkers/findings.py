"""What was seen inside the nodes of a simulated cluster: a rule that the database must keep was broken.

The harness records each as an event of process `log`, function `finding`, value `{"kind", "name", "text", "node",
"range_id", "step", "time_ns"}`. An invariant is checked after every step of a node, an audit at the end. There is
nothing to weigh: a finding makes the run invalid, whatever the clients saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from checkers.checker import Limits
from checkers.words import count, listing
from results.history import History
from results.operation import LOG
from results.verdict import INVALID, VALID, Anomaly, Verdict

FINDING = "finding"
_MOST = 20
"""Findings that are told; those after the first are most often its consequences."""


@dataclass
class FindingsChecker:
    """Invalid if there is any; the anomaly's type is the name of the rule."""

    name: str = field(default="findings", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        """One anomaly a finding, in the order in which they were seen."""
        found = [
            event
            for event in history.observed(LOG)
            if event.f == FINDING and isinstance(event.value, Mapping)
        ]
        if not found:
            return Verdict(VALID, self.name, "no rule was seen broken inside the nodes")
        anomalies = [
            Anomaly(
                type=str(event.value.get("name", FINDING)),
                sentence=_sentence(event.value),
                operations=[event.index],
                evidence=dict(event.value),
            )
            for event in found[:_MOST]
        ]
        names = list(dict.fromkeys(anomaly.type for anomaly in anomalies))
        sentence = f"{count(len(found), 'broken rule')} seen inside the nodes: {listing(names)}"
        return Verdict(INVALID, self.name, sentence, anomalies)


def _sentence(value: Mapping[str, object]) -> str:
    where = f"at step {value['step']}" if value.get("step") else "at the end"
    node = f", on {value['node']}" if value.get("node") else ""
    return f"{value.get('kind', 'rule')} broken {where}{node}: {value.get('text', '')}"
