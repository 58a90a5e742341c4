"""What must hold at the end, when all is healed and nothing is under way.

Pure: final states in, sentences out; an empty list means that everything holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reference_db.storage import keys


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


def compare_pairs(
    one: str, ones: Mapping[bytes, bytes], other: str, others: Mapping[bytes, bytes], most: int = 5
) -> list[str]:
    """What two nodes hold of a range, as engine pairs: a sentence for each pair that only one of them has, or that they
    have with different values; at most so many."""
    broken: list[str] = []
    for key in sorted(ones.keys() | others.keys()):
        mine, theirs = ones.get(key), others.get(key)
        if mine == theirs:
            continue
        if len(broken) == most:
            broken.append("and more")
            break
        if theirs is None:
            broken.append(f"{shown_key(key)} is on {one} and not on {other}")
        elif mine is None:
            broken.append(f"{shown_key(key)} is on {other} and not on {one}")
        else:
            broken.append(f"{shown_key(key)} is {mine!r} on {one} and {theirs!r} on {other}")
    return broken


def shown_key(encoded: bytes) -> str:
    """An engine key of data, for people."""
    match encoded[:1]:
        case keys.VERSION:
            key, timestamp = keys.split_version_key(encoded)
            return f"the version of {key!r} at {timestamp}"
        case keys.LOCK:
            return f"the intent on {keys.split_lock_key(encoded)!r}"
        case keys.RECORD:
            return f"the record of transaction {encoded[-keys.TRANSACTION_ID_BYTES :].hex()}"
        case _:
            return repr(encoded)


def audit_provenance(
    node: str, range_id: int, held: Mapping[bytes, bytes], written: Mapping[bytes, bytes]
) -> list[str]:
    """What a node holds of a range is what committed commands have written there up to the same index: nothing else has
    appeared, and nothing is gone."""
    return [
        f"range {range_id}: {sentence}"
        for sentence in compare_pairs(node, held, "the record of all committed commands", written)
    ]
