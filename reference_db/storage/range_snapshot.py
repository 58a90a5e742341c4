"""A range as one value: everything that a replica must have to go on from an applied index, and nothing of Raft's log.

A snapshot is the engine's own pairs: descriptor, versions, intents, records, replies. Nothing that is kept under a
range's span can be forgotten by it, because it isn't listed anywhere by kind of content. The applied index, its term
and the membership travel in Raft's `Snapshot`, which this becomes the data of. How it travels, and is put in place,
is told in `snapshot_pieces`.

Leases and closed timestamps are not in it, because no replica's state is what they rest on: a lease on what followers
promise by answering heartbeats, a closed timestamp on the leader's word for an applied index, which a snapshot brings.
"""

from __future__ import annotations

import msgspec

from ..raft.messages import ConfState
from . import keys
from .engine import Reader, WriteBatch


class AppliedState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How far a replica has applied its log, and the membership as of there."""

    index: int = 0
    term: int = 0
    conf_state: ConfState = ConfState()


class RangeSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """All data of a range at one applied index, as engine pairs in order."""

    range_id: int
    start: bytes
    end: bytes | None
    descriptor: bytes
    pairs: tuple[tuple[bytes, bytes], ...]
    pieces: int = 0
    """More than 0: the pairs are not here, but in so many pieces in the engine, see `snapshot_pieces`."""

    def encode(self) -> bytes:
        return _ENCODER.encode(self)


class _Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How it begins."""

    range_id: int
    start: bytes
    end: bytes | None
    descriptor: bytes


def decode_range_snapshot(data: bytes) -> RangeSnapshot:
    """Raises msgspec.DecodeError for anything that `encode` has not made."""
    return _DECODER.decode(data)


def snapshot_descriptor(data: bytes) -> bytes:
    """The descriptor in an encoded snapshot, without looking at the rest. Raises msgspec.DecodeError."""
    return _HEAD_DECODER.decode(data).descriptor


def take_snapshot(reader: Reader, range_id: int, start: bytes, end: bytes | None) -> RangeSnapshot:
    """What the engine holds of a range."""
    pairs = [pair for low, high in _spans(start, end) for pair in reader.scan(low, high)]
    descriptor = reader.get(keys.descriptor_key(range_id)) or b""
    return RangeSnapshot(range_id, start, end, descriptor, tuple(pairs))


def install_snapshot(batch: WriteBatch, snapshot: RangeSnapshot) -> None:
    """Replace whatever the replica holds of the range. The caller adds applied state and log in the same batch."""
    for low, high in _spans(snapshot.start, snapshot.end):
        batch.delete_range(low, high)
    for key, value in snapshot.pairs:
        batch.put(key, value)
    batch.put(keys.descriptor_key(snapshot.range_id), snapshot.descriptor)


def read_applied_state(reader: Reader, range_id: int) -> AppliedState | None:
    """The applied state in the engine; None if the range has no replica here."""
    raw = reader.get(keys.applied_key(range_id))
    return None if raw is None else _APPLIED_DECODER.decode(raw)


def put_applied_state(batch: WriteBatch, range_id: int, applied: AppliedState) -> None:
    """Belongs into the batch that holds the data of exactly this index."""
    batch.put(keys.applied_key(range_id), _ENCODER.encode(applied))


def _spans(start: bytes, end: bytes | None) -> list[tuple[bytes, bytes]]:
    return [keys.span(kind, start, end) for kind in keys.DATA]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(RangeSnapshot)
_HEAD_DECODER = msgspec.msgpack.Decoder(_Head)
_APPLIED_DECODER = msgspec.msgpack.Decoder(AppliedState)
