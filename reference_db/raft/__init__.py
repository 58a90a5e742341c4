"""The Raft core for one group: a pure state machine without I/O; imports nothing outside this folder."""

from .config import UNLIMITED, Config, ReadMode
from .group import PeerStatus, RaftGroup, Ready, Status
from .log_store import Compacted, LogStore, MemoryLogStore, SnapshotUnavailable, Unavailable
from .messages import (
    ChangeKind,
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    NodeChange,
    ProposalDropped,
    ReadState,
    Role,
    Snapshot,
    SoftState,
    Transition,
    decode_conf_change,
)

__all__ = [
    "UNLIMITED",
    "ChangeKind",
    "Compacted",
    "ConfChange",
    "ConfState",
    "Config",
    "Entry",
    "EntryKind",
    "HardState",
    "LogStore",
    "MemoryLogStore",
    "Message",
    "MessageKind",
    "NodeChange",
    "PeerStatus",
    "ProposalDropped",
    "RaftGroup",
    "ReadMode",
    "ReadState",
    "Ready",
    "Role",
    "Snapshot",
    "SnapshotUnavailable",
    "SoftState",
    "Status",
    "Transition",
    "Unavailable",
    "decode_conf_change",
]
