"""A command: what evaluation at a leader has decided, as a Raft entry carries it.

A command is a list of mutations that every replica carries out without looking at anything, so applying is
deterministic by construction. It holds for the state it was evaluated on: latches keep that state still until it is
applied, the term rule keeps it from being applied on top of another leader's work, and the generation from being
applied to a range that has another span by now.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from ..timestamp import Timestamp
from .locks import Intent
from .record import TransactionRecord
from .sessions import SessionReply


class PutVersion(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Add a version; None deletes the key."""

    key: bytes
    timestamp: Timestamp
    value: bytes | None
    writer: bytes = b""
    """The transaction that wrote it; empty for a write outside of transactions."""


class PutIntent(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Lock a key, or replace its intent by a newer one of the same transaction."""

    key: bytes
    intent: Intent


class RemoveIntent(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Unlock a key. The version that its value becomes, if any, is a `PutVersion` of the same command."""

    key: bytes


class PutRecord(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Create or change a transaction's record."""

    record: TransactionRecord


class RemoveRecord(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Forget a transaction."""

    anchor: bytes
    transaction_id: bytes


class RememberReply(msgspec.Struct, frozen=True, array_like=True, tag=160, gc=False):
    """What a write of a session is answered with, should it be asked for again; and which replies to forget for it, by
    key and session."""

    key: bytes
    session: bytes
    reply: SessionReply
    forgotten: tuple[tuple[bytes, bytes], ...] = ()


class RaiseThreshold(msgspec.Struct, frozen=True, array_like=True, tag=170, gc=False):
    """Nobody reads below this timestamp any more. A threshold that is higher already stays."""

    threshold: Timestamp


class DropVersion(msgspec.Struct, frozen=True, array_like=True, tag=171, gc=False):
    """Remove a version that no reader at or above the threshold can see."""

    key: bytes
    timestamp: Timestamp


Mutation = (
    PutVersion
    | PutIntent
    | RemoveIntent
    | PutRecord
    | RemoveRecord
    | RememberReply
    | RaiseThreshold
    | DropVersion
)


class SplitAt(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The range gives everything from this key on to a new one."""

    key: bytes
    right_id: int


class Freeze(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The range serves nothing from now on: its left neighbour, as of this generation, is about to absorb it."""

    left_id: int
    left_generation: int
    left_start: bytes


class Thaw(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """It serves again."""


class Absorb(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """The range takes over all of its right neighbour, whose descriptor this is, encoded."""

    right: bytes


class MoveStep(IntEnum):
    """What a `Move` does."""

    ADD_LEARNER = 0
    """The target gets a replica that doesn't vote."""
    PROMOTE = 1
    """Into the joint configuration: the target votes instead of the source, and for now beside it."""
    LEAVE = 2
    """Out of it: the source has no replica any more."""
    DROP_LEARNER = 3
    """The move is given up: the target has no replica any more."""


class Bump(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """The range's generation grows, and nothing else: what was decided under the old one never happens."""


class Move(msgspec.Struct, frozen=True, array_like=True, tag=16, gc=False):
    """One step by which a replica goes from the node `source` to `target`, see `ranges.moving`. It travels in the
    entry that changes the Raft group's membership in the same way."""

    step: MoveStep
    target: str
    source: str


Change = SplitAt | Freeze | Thaw | Absorb | Bump | Move
"""What a command may do to the range itself. It is the command's only effect."""


class Command(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The data of a normal Raft entry. An entry without data is a leader's first and changes nothing."""

    term: int
    """Of the leader that evaluated. An entry with another term carries a decision on a state that may be gone."""
    timestamp: Timestamp
    """The largest timestamp in it, and not below any that its evaluation has seen: applying forwards the clock."""
    mutations: tuple[Mutation, ...]
    generation: int = 0
    """Of the descriptor under which it was evaluated: a range of another generation drops it."""
    change: Change | None = None

    def encode(self) -> bytes:
        return _ENCODER.encode(self)


def decode_command(data: bytes) -> Command:
    """Raises msgspec.DecodeError for anything that `encode` has not made."""
    return _DECODER.decode(data)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Command)
