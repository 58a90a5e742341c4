"""What Raft nodes say to each other, what they keep, and what a log holds: plain frozen data.

Everything here is a `msgspec.Struct` that encodes as an array, so a message goes onto the wire without conversion.
Rules that live here: a field that a kind of message doesn't use keeps its default; entries and messages are never
changed after they are made, so they may be shared between a log, a message and a batch.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

NO_NODE = 0
"""The id of nobody. Real nodes have positive ids."""
LOCAL_APPEND = -1
"""Target of `STORAGE_APPEND`: whoever makes this node's log durable (asynchronous storage writes)."""
LOCAL_APPLY = -2
"""Target of `STORAGE_APPLY`: whoever applies this node's committed entries (asynchronous storage writes)."""


class Role(IntEnum):
    """What a node is in its group right now."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class EntryKind(IntEnum):
    """What the data of an entry is."""

    NORMAL = 0
    SINGLE_CHANGE = 1
    """A `ConfChange` of exactly one node, never joint."""
    CONF_CHANGE = 2
    """Any `ConfChange`; empty data is the change that leaves a joint configuration."""


class MessageKind(IntEnum):
    """The kinds of messages. The comment says who sends it to whom."""

    PROPOSE = 0  # follower -> leader, only where forwarding is allowed
    APPEND = 1  # leader -> everybody: entries, or none (a probe, a commit notice)
    APPEND_RESPONSE = 2  # back, and from the leader to itself; waits for durability
    VOTE = 3
    VOTE_RESPONSE = 4  # waits for durability
    PRE_VOTE = 5
    PRE_VOTE_RESPONSE = 6  # waits for durability
    HEARTBEAT = 7
    HEARTBEAT_RESPONSE = 8
    SNAPSHOT = 9
    TRANSFER_LEADER = 10  # any -> leader; `source` is the node that shall lead
    TIMEOUT_NOW = 11  # leader -> the node that shall lead
    READ_INDEX = 12  # follower -> leader
    READ_INDEX_RESPONSE = 13
    STORAGE_APPEND = 14  # node -> its own append thread
    STORAGE_APPEND_RESPONSE = 15
    STORAGE_APPLY = 16  # node -> its own apply thread
    STORAGE_APPLY_RESPONSE = 17
    SNAPSHOT_ANSWER = 18  # whoever gets a snapshot in pieces -> its sender; between owners, no group hears it


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One slot of the log. `(term, index)` names its content for ever."""

    term: int
    index: int
    data: bytes = b""
    kind: EntryKind = EntryKind.NORMAL


ENTRY_OVERHEAD_BYTES = 12
"""What an entry costs on the wire and on disk beside its data; used by every size limit."""


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What must survive a crash. `term` never decreases; `vote` changes only with the term (0: nobody yet)."""

    term: int = 0
    vote: int = NO_NODE
    commit: int = 0


class SoftState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What may be lost in a crash but is worth telling the owner."""

    leader: int
    role: Role


class ConfState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A membership as snapshots and disks keep it. `voters_outgoing` is empty unless the configuration is joint."""

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


class Snapshot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The state after applying everything up to `index`. What `data` means is the owner's business."""

    index: int
    term: int
    conf_state: ConfState = ConfState()
    data: bytes = b""


class ChangeKind(IntEnum):
    """What a membership change does to one node."""

    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2
    ADD_LEARNER = 3


class Transition(IntEnum):
    """How a change takes effect: `AUTO` is simple where one voter changes, else joint and left by itself."""

    AUTO = 0
    JOINT_IMPLICIT = 1
    JOINT_EXPLICIT = 2


class NodeChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    kind: ChangeKind
    node: int


class ConfChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A membership change. Without changes and with `AUTO` it leaves a joint configuration.

    `single` asks for an entry of kind `SINGLE_CHANGE`: one node, applied at once, never joint.
    """

    changes: tuple[NodeChange, ...] = ()
    transition: Transition = Transition.AUTO
    context: bytes = b""
    single: bool = False

    @property
    def leaves_joint(self) -> bool:
        return not self.changes and self.transition == Transition.AUTO

    @property
    def enters_joint(self) -> bool:
        return len(self.changes) > 1 or self.transition != Transition.AUTO

    @property
    def auto_leave(self) -> bool:
        """Only meaningful when it enters a joint configuration."""
        return self.transition != Transition.JOINT_EXPLICIT

    @property
    def entry_kind(self) -> EntryKind:
        return EntryKind.SINGLE_CHANGE if self.single else EntryKind.CONF_CHANGE

    def encode(self) -> bytes:
        """The entry's data. Leaving a joint configuration is empty, so no size limit can ever refuse it."""
        if self.leaves_joint and not self.context and not self.single:
            return b""
        return _ENCODER.encode(self)


def decode_conf_change(entry: Entry) -> ConfChange:
    """The change that an entry of kind `SINGLE_CHANGE` or `CONF_CHANGE` holds.

    Raises `ValueError` for an entry of another kind, `msgspec.DecodeError` for data that is no change.
    """
    if entry.kind == EntryKind.NORMAL:
        raise ValueError(
            f"entry {entry.index} of term {entry.term} is a normal entry, it holds no membership change"
        )
    if not entry.data:
        return LEAVE_JOINT
    return _CONF_CHANGE_DECODER.decode(entry.data)


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message of one group.

    `term` is the sender's, or 0 for messages that aren't bound to a term (proposals, reads, storage). `index` and
    `log_term` name the entry before `entries` (APPEND), the acknowledged or refused index (APPEND_RESPONSE), or the
    candidate's last entry (VOTE, PRE_VOTE). `hint` is the follower's best guess where the logs agree, with `log_term`
    its term there. `responses` are delivered when a storage message has been carried out.
    """

    kind: MessageKind
    target: int
    source: int
    term: int = 0
    index: int = 0
    log_term: int = 0
    commit: int = 0
    entries: tuple[Entry, ...] = ()
    reject: bool = False
    hint: int = 0
    context: bytes = b""
    snapshot: Snapshot | None = None
    vote: int = NO_NODE
    responses: tuple[Message, ...] = ()


class ProposalDropped(Exception):
    """The proposal is in nobody's log and never will be. The text says why."""


class ReadState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A read with this `context` is linearizable once the owner has applied `index`."""

    index: int
    context: bytes


AFTER_APPEND = frozenset(
    (MessageKind.APPEND_RESPONSE, MessageKind.VOTE_RESPONSE, MessageKind.PRE_VOTE_RESPONSE)
)
"""Kinds that promise durable state, so they leave only when that state is durable."""

RESPONSES = frozenset(
    (
        MessageKind.APPEND_RESPONSE,
        MessageKind.VOTE_RESPONSE,
        MessageKind.PRE_VOTE_RESPONSE,
        MessageKind.HEARTBEAT_RESPONSE,
        MessageKind.READ_INDEX_RESPONSE,
    )
)
"""Kinds that answer; one from a node that is no member any more is of no use."""

LOCAL_KINDS = frozenset(
    (
        MessageKind.STORAGE_APPEND,
        MessageKind.STORAGE_APPEND_RESPONSE,
        MessageKind.STORAGE_APPLY,
        MessageKind.STORAGE_APPLY_RESPONSE,
    )
)
"""Kinds that never cross a network."""

LEAVE_JOINT = ConfChange()

_ENCODER = msgspec.msgpack.Encoder()
_CONF_CHANGE_DECODER = msgspec.msgpack.Decoder(ConfChange)
