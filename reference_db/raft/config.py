"""What one member of a Raft group is set to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

UNLIMITED = 2**62
"""A limit, in bytes or in messages, that is never reached."""
LOWEST_PRIORITY = -8
"""Below this a priority would only delay elections further, without adding order."""


class ReadMode(IntEnum):
    """How a leader makes sure, before it serves a read, that it still leads."""

    READ_INDEX = 0
    """One round of heartbeats, shared by all reads of a turn. Needs no assumption about time."""
    LEASE = 1
    """No message while the lease by check-quorum ticks holds. Assumes that all nodes tick at about the same rate."""
    PROMISES = 2
    """Reads as in READ_INDEX; but voters keep the promise on which a lease rests, so that the owner may serve by one
    that it measures on a clock of its own (`RaftCore.renews_lease`)."""


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one member of one group. Raises `ValueError` for a combination that can't work."""

    node_id: int
    election_ticks: int = 10
    """A follower that hears nothing for so many ticks (randomized up to twice that) campaigns."""
    heartbeat_ticks: int = 1
    max_bytes_per_message: int = 1 << 20
    """Entries in one APPEND; a single larger entry still goes alone."""
    max_uncommitted_bytes: int = UNLIMITED
    """Data that a leader accepts before it is committed; above it proposals are dropped."""
    max_committed_bytes_per_ready: int = UNLIMITED
    """Committed entries handed out and not yet applied."""
    max_inflight_messages: int = 256
    """APPENDs with entries on their way to one follower."""
    max_inflight_bytes: int = UNLIMITED
    pre_vote: bool = True
    check_quorum: bool = True
    read_mode: ReadMode = ReadMode.READ_INDEX
    snapshot_ticks: int = 200
    """A snapshot that was neither acknowledged nor reported on (`report_snapshot`) for so long counts as lost, and the
    follower is probed again. 0: wait for ever, as etcd's raft does."""
    priority: int = 0
    """Who should lead when several could. 0: no preference. A member below 0 waits that many election timeouts more
    before it campaigns; one above 0 draws its timeout from the first 1/(priority + 1) of the usual interval. It only
    shifts timeouts, so a group whose preferred members are down still elects somebody."""
    election_window: tuple[int, int] | None = None
    """Where set, election timeouts are drawn from these ticks, `[first, end)`, whatever the priority."""
    async_storage_writes: bool = False
    """Storage work leaves as STORAGE_APPEND and STORAGE_APPLY messages, which carry the responses to deliver."""
    step_down_on_removal: bool = True
    """A leader that a committed change removes or demotes becomes a follower when it applies that change."""
    disable_conf_change_validation: bool = False
    disable_proposal_forwarding: bool = True
    coalesce_appends: bool = True
    """Appends and commit notices wait for the next `ready()`, so a turn sends each follower one APPEND however many
    proposals and acknowledgements it saw. Off: they are queued at once, one per proposal, as in etcd's raft."""
    announce_commits: bool = True
    """Coalesced appends only: a new commit index leaves by itself where no entries go with it. Off, followers learn it
    with the next entries or the next heartbeat, at most `heartbeat_ticks` later: half the messages of a lone write."""
    own_heartbeats: bool = True
    """A leader's ticks make heartbeats. Off: the owner asks for them (`RaftGroup.heartbeats`), those of many groups at
    the same moment, and sends them together."""
    refusals_carry_commit: bool = True
    """A refused vote tells the candidate how far the refuser knows the log as committed. Without it a group can get
    stuck after a leader's removal, see `elections.refuse`. Off: as in etcd's raft."""
    tail_entries: int = 512
    """Durable entries that stay in memory, for followers that lag a little and for lookups of terms."""
    tail_bytes: int = 4 << 20
    """Their size; beyond it only what isn't durable or not yet applied stays in memory."""
    group_id: int = 0
    """Which group this is, for traces and error texts."""

    @property
    def keeps_promises(self) -> bool:
        """Whether whoever answered a leader's heartbeat helps nobody else for an election timeout, come what may."""
        return self.read_mode != ReadMode.READ_INDEX

    def __post_init__(self) -> None:
        if self.node_id <= 0:
            raise ValueError(f"node_id is {self.node_id}; ids of nodes are positive (0 stands for nobody)")
        if self.heartbeat_ticks <= 0 or self.election_ticks <= self.heartbeat_ticks:
            raise ValueError(
                f"election_ticks {self.election_ticks} must exceed heartbeat_ticks {self.heartbeat_ticks}, "
                "which must be at least 1"
            )
        if self.max_inflight_messages <= 0:
            raise ValueError(
                f"max_inflight_messages is {self.max_inflight_messages}; at least 1 is needed to move"
            )
        if self.max_inflight_bytes < self.max_bytes_per_message and self.max_inflight_bytes != UNLIMITED:
            raise ValueError(
                f"max_inflight_bytes {self.max_inflight_bytes} is below max_bytes_per_message "
                f"{self.max_bytes_per_message}: a single message would fill the window"
            )
        if self.keeps_promises and not self.check_quorum:
            raise ValueError(
                f"read_mode {self.read_mode.name} rests on check_quorum; switch it on or use READ_INDEX"
            )
        if self.max_committed_bytes_per_ready <= 0 or self.max_uncommitted_bytes <= 0:
            raise ValueError("size limits must be positive; use UNLIMITED for none")
