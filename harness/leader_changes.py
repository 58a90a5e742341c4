"""Who led which range when, as the nodes' own logs tell it.

Each node logs that it has learned of a new leader, so a change is told several times, by clocks of which some may be
wrong. The time of a change is the middle one of what is told: a single clock that a fault has moved does not move it.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.log_lines import timed_lines

MOST_CHANGES = 5000
"""Changes that are kept: those of the ranges that come first."""
NEAR_NS = 1_000_000_000
"""Nodes that are not cut off learn of a leader within this time of each other."""


def leader_changes(logs: Mapping[str, Path], pattern: str, began_wall_ns: int) -> list[dict[str, Any]]:
    """Changes in the order of their times: `range`, `leader`, `term`, and `time_ns` since the start of the run.

    `pattern` has the groups `range`, `leader` and `term`. What was so before the run began has the time 0. Terms that
    nobody saw a leader of are missing; a range that is gone keeps its last one.
    """
    found = re.compile(pattern)
    told: dict[tuple[str, str, int], dict[str, int]] = {}
    """By range, leader and term: when each node told it first."""
    for node, path in sorted(logs.items()):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for wall_ns, text in timed_lines(lines):
                match = found.search(text)
                if match is not None:
                    nodes = told.setdefault((match["range"], match["leader"], int(match["term"])), {})
                    nodes.setdefault(node, wall_ns - began_wall_ns)
    changes = [
        {"range": range_id, "leader": leader, "term": term, "time_ns": max(0, _middle(list(nodes.values())))}
        for (range_id, leader, term), nodes in told.items()
    ]
    changes.sort(key=lambda change: (change["time_ns"], change["range"], change["term"]))
    return changes[:MOST_CHANGES]


def _middle(times: list[int]) -> int:
    """The middle one of those that were told about then: a node that was cut off learns of it much later."""
    earliest = min(times)
    near = [time for time in times if time - earliest < NEAR_NS]
    return statistics.median_low(near if len(near) * 2 > len(times) else times)
