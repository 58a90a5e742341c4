"""What a leader knows about one follower: how far it is, and how much may be on its way to it.

Three states. *Probe*: the leader doesn't know where the logs agree, one message at a time. *Replicate*: they agree,
messages follow each other without waiting, within the inflight window. *Snapshot*: the log doesn't reach back far
enough, nothing is sent until the snapshot has arrived or failed. Nothing in this file sends anything.
"""

from __future__ import annotations

from enum import Enum


class ProgressState(Enum):
    PROBE = "StateProbe"
    REPLICATE = "StateReplicate"
    SNAPSHOT = "StateSnapshot"


# Bound once: Python 3.11 takes a tenth of a microsecond and more to look up a member of an enum.
_PROBE = ProgressState.PROBE
_REPLICATE = ProgressState.REPLICATE
_SNAPSHOT = ProgressState.SNAPSHOT


class Inflights:
    """The APPENDs on their way to one follower: (last index, bytes) in sending order.

    A list and no deque, which takes 600 bytes even when it is empty: a node holds three windows for each of its ranges.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_count", "_window")

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._bytes = 0
        self._window: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._window)

    @property
    def size_bytes(self) -> int:
        return self._bytes

    @property
    def full(self) -> bool:
        return len(self._window) >= self._max_count or self._bytes >= self._max_bytes

    def add(self, last_index: int, size_bytes: int) -> None:
        """A message that ends at `last_index` leaves. The caller checked `full`."""
        assert not self.full, f"window is full: {len(self._window)} messages, {self._bytes} bytes"
        self._window.append((last_index, size_bytes))
        self._bytes += size_bytes

    def free_to(self, index: int) -> None:
        """Everything up to `index` has arrived."""
        window = self._window
        arrived = 0
        for last_index, size_bytes in window:
            if last_index > index:
                break
            self._bytes -= size_bytes
            arrived += 1
        if arrived:
            del window[:arrived]

    def clear(self) -> None:
        self._window.clear()
        self._bytes = 0

    def empty_copy(self) -> Inflights:
        return Inflights(self._max_count, self._max_bytes)


class Progress:
    """A follower (or the leader itself) in the leader's eyes."""

    __slots__ = (
        "_sent_commit",
        "flow_paused",
        "inflights",
        "is_learner",
        "match",
        "next",
        "pending_snapshot",
        "recent_active",
        "snapshot_tick",
        "state",
    )

    def __init__(
        self,
        *,
        match: int,
        next: int,
        inflights: Inflights,
        is_learner: bool = False,
        recent_active: bool = False,
    ) -> None:
        self.match = match
        """Highest index known to be durable there. match < next."""
        self.next = next
        """Index of the next entry to send."""
        self.state = _PROBE
        self.pending_snapshot = 0
        """In state SNAPSHOT: the index of the snapshot on its way."""
        self.snapshot_tick = 0
        """In state SNAPSHOT: when it left, in the leader's ticks."""
        self.recent_active = recent_active
        """Heard from since the last check for a quorum."""
        self.flow_paused = False
        """No further append until a response or a heartbeat's response arrives."""
        self.inflights = inflights
        self.is_learner = is_learner
        self._sent_commit = 0
        """Highest commit index it was told, as far as it could use it."""

    def copy(self) -> Progress:
        """An independent record; the window of messages on their way is shared, it belongs to the follower."""
        twin = Progress(
            match=self.match,
            next=self.next,
            inflights=self.inflights,
            is_learner=self.is_learner,
            recent_active=self.recent_active,
        )
        twin.state = self.state
        twin.pending_snapshot = self.pending_snapshot
        twin.snapshot_tick = self.snapshot_tick
        twin.flow_paused = self.flow_paused
        twin._sent_commit = self._sent_commit
        return twin

    @property
    def paused(self) -> bool:
        """Whether nothing may be sent now. A full window still lets one probe through per heartbeat."""
        return self.flow_paused or self.state is _SNAPSHOT

    def become_probe(self) -> None:
        if self.state is _SNAPSHOT:
            # A snapshot that arrived took the follower at least to its index.
            arrived = self.pending_snapshot
            self._enter(_PROBE)
            self.next = max(self.match + 1, arrived + 1)
        else:
            self._enter(_PROBE)
            self.next = self.match + 1
        self._sent_commit = min(self._sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        self._enter(_REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        self._enter(_SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1
        self._sent_commit = index

    def _enter(self, state: ProgressState) -> None:
        self.flow_paused = False
        self.pending_snapshot = 0
        self.state = state
        self.inflights.clear()

    def sent_entries(self, count: int, size_bytes: int) -> None:
        """An APPEND with `count` entries (maybe none) leaves."""
        if self.state is _REPLICATE:
            if count:
                self.next += count
                self.inflights.add(self.next - 1, size_bytes)
            # A message that fills the window, or leaves while it is full, is a probe: wait for an answer.
            self.flow_paused = self.inflights.full
        elif self.state is _PROBE:
            if count:
                self.flow_paused = True
        else:
            raise AssertionError(f"an append leaves in state {self.state.value}")

    def sent_commit(self, commit: int) -> None:
        self._sent_commit = commit

    def can_bump_commit(self, commit: int) -> bool:
        """Whether telling it `commit` would raise its commit index, given what was sent."""
        return commit > self._sent_commit and self._sent_commit < self.next - 1

    def maybe_update(self, index: int) -> bool:
        """An acknowledgement up to `index`. Says whether it was news."""
        if index <= self.match:
            return False
        self.match = index
        if index >= self.next:
            self.next = index + 1
        self.flow_paused = False
        return True

    def maybe_decrease(self, rejected: int, hint: int) -> bool:
        """A refusal of the append after `rejected`, with the follower's guess where the logs agree.

        Says whether it is genuine; an old, reordered one changes nothing.
        """
        if self.state is _REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
        else:
            if self.next - 1 != rejected:
                return False
            self.next = max(min(rejected, hint + 1), self.match + 1)
            self.flow_paused = False
        self._sent_commit = min(self._sent_commit, self.next - 1)
        return True

    def __str__(self) -> str:
        text = f"{self.state.value} match={self.match} next={self.next}"
        if self.is_learner:
            text += " learner"
        if self.paused:
            text += " paused"
        if self.pending_snapshot:
            text += f" pendingSnap={self.pending_snapshot}"
        if not self.recent_active:
            text += " inactive"
        if len(self.inflights):
            text += f" inflight={len(self.inflights)}"
            if self.inflights.full:
                text += "[full]"
        return text
