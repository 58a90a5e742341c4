"""What can be seen of the replicas of a node from outside: each of them as a map, and all of them in a few numbers.

Only reads. How far a follower lags is known to its leader alone: the entries of its log for which it has no answer yet.
Nothing in this file knows how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reference_db.raft import Role

if TYPE_CHECKING:
    from reference_db.ranges.closed_timestamps import ClosedTimestamps
    from reference_db.ranges.replica import Replica


def lag_of_followers(replica: Replica, names: dict[int, str]) -> dict[str, int]:
    """By other member: how many entries of this leader's log it is not known to have. Empty for who does not lead."""
    group = replica.group
    if not group.is_leader:
        return {}
    last = group.last_index
    progress = group.core.peers.progress
    return {
        names[number]: last - peer.match
        for number, peer in sorted(progress.items())
        if number != group.config.node_id
    }


def describe_replica(
    replica: Replica, names: dict[int, str], closed: ClosedTimestamps, now_ns: int
) -> dict[str, Any]:
    """One replica as a map; `now_ns` is the monotonic clock. Nodes by name, keys as text, lag in entries, times in
    ms: `lease_ms` is what is left of the leader's lease (None without one), `closed_ms` how old the newest closed
    timestamp is that this replica could read at (None if nobody has asked for any)."""
    group, descriptor = replica.group, replica.descriptor
    left_ns = replica.lease.left_ns(now_ns)
    fresh = closed.newest(replica.id)
    end = descriptor.end
    return {
        "id": replica.id,
        "start": descriptor.start.decode(errors="backslashreplace"),
        "end": None if end is None else end.decode(errors="backslashreplace"),
        "replicas": list(descriptor.replicas),
        "learners": list(descriptor.learners),
        "leaving": list(descriptor.leaving),
        "generation": descriptor.generation,
        "leader": replica.leader,
        "serves": replica.leadership is not None,
        "role": Role(group.role).name.lower(),
        "term": group.term,
        "commit": group.commit,
        "applied": replica.applied_index,
        "last_index": group.last_index,
        "first_index": replica.log.first_index(),
        "lag": lag_of_followers(replica, names),
        "locks": len(replica.state.locks),
        "records": len(replica.state.records),
        "collected_below": str(replica.state.threshold),
        "open_requests": replica.open_requests,
        "lease": left_ns > 0,
        "lease_ms": left_ns // 1_000_000 if left_ns > 0 else None,
        "closed_ms": None if fresh is None else max(now_ns - fresh.since_ns, 0) // 1_000_000,
        "asleep": replica.asleep_since is not None,
    }


@dataclass(slots=True)
class Survey:
    """All replicas of a node at one moment."""

    replicas: int = 0
    led: int = 0
    """Of these, how many lead."""
    serving: int = 0
    """Of these, how many may answer: an entry of their own term is applied."""
    leaderless: int = 0
    """Replicas that know of no leader."""
    asleep: int = 0
    leases: int = 0
    """Leaders whose lease holds."""
    frozen: int = 0
    """Ranges that are being merged away."""
    locks: int = 0
    records: int = 0
    open_requests: int = 0
    lag: dict[str, int] = field(default_factory=dict)
    """By other node: the largest number of entries that it lacks in any range that is led here."""


def survey(replicas: dict[int, Replica], names: dict[int, str], now_ns: int) -> Survey:
    """Look at every replica once."""
    found = Survey(replicas=len(replicas))
    for replica in replicas.values():
        found.asleep += replica.asleep_since is not None
        found.leaderless += replica.leader is None
        found.frozen += replica.descriptor.merging is not None
        found.locks += len(replica.state.locks)
        found.records += len(replica.state.records)
        found.open_requests += replica.open_requests
        if replica.group.is_leader:
            found.led += 1
            found.serving += replica.leadership is not None
            found.leases += replica.lease.is_valid(now_ns)
            for node, entries in lag_of_followers(replica, names).items():
                found.lag[node] = max(found.lag.get(node, 0), entries)
    return found
