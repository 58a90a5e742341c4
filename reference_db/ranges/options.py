"""What the replicas of a node are set to, with the reasons for the defaults.

A tick is 100 ms and an election timeout 10 to 20 ticks: a range whose leader dies has a new one after 1 to 2 s, and
elections still don't flap on a busy machine, because a stalled node counts one tick however long it stalled, and drains
what arrived before it counts that one. Heartbeats every second tick halve the idle work; four of them may be lost
before anybody campaigns.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from reference_db.ranges.cores import CORES_MOST

Switch = bool | Literal["on", "off"]
"""A technique that can be left out, so that its effect can be measured."""


def is_on(switch: Switch) -> bool:
    """What a switch says, however it is written."""
    return switch is True or switch == "on"


class StoreOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers are checked by `problems`, together."""

    tick_ms: int = 100
    election_ticks: int = 10
    heartbeat_ticks: int = 2
    log_entries_kept: int = 5000
    """Applied entries that stay in each range's log, so that followers which lag less need no snapshot."""
    log_bytes_most: int = 64 << 20
    """Size of a range's log above which it is cut, whoever needs it; see `truncation`."""
    requests_most: int = 5000
    """Requests that the replicas of a node have under way, above which more are refused as overloaded."""
    request_bytes_most: int = 64 << 20
    """Bytes that these write, above which the same happens."""
    range_requests_most: int = 2500
    """Requests of one range, likewise: a range that many want leaves room for the others."""
    proposal_bytes_most: int = 16 << 20
    """Bytes proposed in a range and not committed yet, likewise."""
    inflight_bytes_most: int = 8 << 20
    """Bytes of a range's entries on their way to one follower; what is more waits in the log."""
    cores: int = 1
    """Stores of a node, each of which is a process with ranges of its own; see `cores`."""
    snapshot_chunk_bytes: int = 256 << 10
    """Size of the pieces in which a snapshot travels, and is put in place."""
    snapshot_bytes_per_second: int = 32 << 20
    """Bytes of snapshots that a node sends in a second; 0: no limit."""
    snapshots_most: int = 4
    """Snapshots that a node sends at once, and also that arrive at it at once; the others wait."""
    session_replies_most: int = 1000
    """Replies to writes of sessions that a range remembers."""
    transaction_expiry_ms: int = 4000
    """How long a coordinator may be silent before others may abort its transaction."""
    lock_wait_ticks: int = 1
    """How long a leader keeps a request that met an intent, before the sender is told to push; 0: not at all."""
    leases: Switch = True
    """Whether a leader may answer reads that allow it by its lease, without asking a quorum; else it asks."""
    closed_timestamp_ticks: int = 1
    """How often a leader closes timestamps for replicas that answer bounded reads; 0: never, so leaders answer them."""
    settled_ticks: int = 30
    """How long a leader leads before it hands over to the preferred replica."""
    batching: Switch = True
    """A turn serves all ranges that have work, with one batch and one sync. Off: each range has turns of its own."""
    coalescing: Switch = True
    """The heartbeats of all ranges leave together, one envelope a node and interval. Off: a frame for each, and for
    each answer."""
    quiescence: Switch = True
    """Ranges that nobody uses go to sleep: nothing is sent for them, and no time passes."""
    quiesce_ticks: int = 30
    """How long nothing must have happened in a range before it does."""
    storm_control: Switch = True
    """What keeps elections few when a node dies that led many ranges. Off: none of the following three."""
    election_jitter: Switch = True
    """Election timeouts are drawn at random. Off: all replicas have the same."""
    election_priority: Switch = True
    """A range's replicas campaign in the order in which they should lead."""
    elections_most: int = 200
    """Elections that a node has under way before it starts more; 0: no bound."""
    split_bytes: int = 0
    """Bytes at which a leader splits its range in the middle; 0: never by itself."""
    split_load: int = 0
    """Requests a second at which a leader splits its range, if they last and are for several keys; 0: never."""
    merge_idle: int = 0
    """For how many seconds two small neighbours must both be asleep before they are merged; 0: never."""
    handovers_most: int = 64
    """Ranges that a node hands over to their preferred replicas at once."""

    placement: Switch = False
    """Whoever leads the first range decides where replicas and leaders are (`gateway/placing.py`). Off: replicas stay,
    and each leader hands over to its range's preferred replica."""

    def problems(self) -> list[str]:
        """What is wrong with the numbers, one sentence each."""
        wrong = []
        for name, least, most in (
            ("tick_ms", 5, 10_000),
            ("heartbeat_ticks", 1, 1000),
            ("election_ticks", 3, 10_000),
            ("log_entries_kept", 10, 10_000_000),
            ("log_bytes_most", 1000, 1 << 40),
            ("requests_most", 1, 1_000_000),
            ("request_bytes_most", 1, 1 << 40),
            ("range_requests_most", 1, 1_000_000),
            ("proposal_bytes_most", 1, 1 << 40),
            ("inflight_bytes_most", 1, 1 << 40),
            ("cores", 1, CORES_MOST),
            ("snapshot_chunk_bytes", 1, 16 << 20),
            ("snapshot_bytes_per_second", 0, 1 << 40),
            ("snapshots_most", 1, 1000),
            ("session_replies_most", 1, 1_000_000),
            ("transaction_expiry_ms", 1500, 600_000),
            ("lock_wait_ticks", 0, 1000),
            ("closed_timestamp_ticks", 0, 1000),
            ("settled_ticks", 1, 1_000_000),
            ("quiesce_ticks", 1, 1_000_000),
            ("elections_most", 0, 1_000_000),
            ("split_bytes", 0, 1 << 40),
            ("split_load", 0, 1_000_000),
            ("merge_idle", 0, 1_000_000),
            ("handovers_most", 1, 1_000_000),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                wrong.append(f"{name} is {value}: it must be between {least} and {most}")
        if self.election_ticks < 3 * self.heartbeat_ticks:
            wrong.append(
                f"election_ticks is {self.election_ticks}: it must be at least three times heartbeat_ticks "
                f"({self.heartbeat_ticks}), or a single lost heartbeat starts elections"
            )
        return wrong
