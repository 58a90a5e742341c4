"""What must hold at the end, when all is healed and nothing is under way.

Pure: final states in, sentences out; an empty list means that everything holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FinalReplica:
    """What one replica holds at the end. `digest` covers all its data, locks and records."""

    node: str
    range_id: int
    applied: int
    digest: str
    locks: int
    """Intents that nobody resolved."""
    records: int
    """Transaction records that nobody removed."""


def audit_replicas(replicas: Iterable[FinalReplica]) -> list[str]:
    """Replicas of a range at the same applied index hold the same bytes."""
    broken = []
    by_range: dict[tuple[int, int], list[FinalReplica]] = defaultdict(list)
    for replica in replicas:
        by_range[(replica.range_id, replica.applied)].append(replica)
    for (range_id, applied), group in sorted(by_range.items()):
        digests = sorted({replica.digest for replica in group})
        if len(digests) > 1:
            who = ", ".join(f"{replica.node} {replica.digest}" for replica in group)
            broken.append(f"replicas of range {range_id} differ at applied index {applied}: {who}")
    return broken


def audit_leftovers(replicas: Iterable[FinalReplica]) -> list[str]:
    """No intent and no transaction record outlives the transactions."""
    broken = []
    for replica in replicas:
        if replica.locks:
            broken.append(f"range {replica.range_id} on {replica.node} still holds {replica.locks} intents")
        if replica.records:
            broken.append(
                f"range {replica.range_id} on {replica.node} still holds {replica.records} transaction records"
            )
    return broken


def audit_convergence(replicas: Iterable[FinalReplica]) -> list[str]:
    """Without new writes, all replicas of a range reach the same applied index."""
    broken = []
    by_range: dict[int, dict[str, int]] = defaultdict(dict)
    for replica in replicas:
        by_range[replica.range_id][replica.node] = replica.applied
    for range_id, applied in sorted(by_range.items()):
        if len(set(applied.values())) > 1:
            where = ", ".join(f"{node} {index}" for node, index in sorted(applied.items()))
            broken.append(f"replicas of range {range_id} stopped at different applied indexes: {where}")
    return broken
