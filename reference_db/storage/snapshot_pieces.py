"""A snapshot in pieces: read off a view, kept beside the data while it arrives, and put in place as a whole.

A range may be larger than what fits into memory or into a message. So its pairs are read from a *view*, iterations that
were begun at one moment and show the range as it was then, and travel as *pieces* of a bounded size. Each piece carries
a checksum that goes on from the one before it: a piece that is damaged, missing or of another snapshot does not fit.

    s arrival range(8)            who sends which snapshot, and what is to hold when it is in place
    s arriving range(8) piece(4)  its pieces, in the order in which they came, without gap
    s placing range(8)            all of it is here, and is being put in place

Putting it in place is one step for whoever looks after a crash, though it takes many batches:

1. One batch removes what the replica holds of the range, and writes *placing*. From here on there is no way back.
2. A batch for each piece puts its pairs where they belong, and deletes the piece.
3. The last batch holds applied index, membership, descriptor and log, and deletes *placing*.

Batches become durable in the order in which they were written. A crash before the first leaves the old state; after
any other `finish_placing` goes on where it ended, before anybody looks at the range. A snapshot of one piece is put in
place by one batch, and is never kept beside the data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

import msgspec

from ..raft.messages import ENTRY_OVERHEAD_BYTES, ConfState, HardState, Snapshot
from . import keys
from .engine import Engine, Pair, Reader, WriteBatch
from .range_snapshot import AppliedState, RangeSnapshot, put_applied_state

_ARRIVAL = keys.STORE + b"arrival"
_ARRIVING = keys.STORE + b"arriving"
_PLACING = keys.STORE + b"placing"
_U64 = struct.Struct(">Q")
_PIECE = struct.Struct(">QI")


class TruncatedState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Index and term just before the first entry kept."""

    index: int = 0
    term: int = 0


class PieceHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What travels with each piece."""

    transfer: int
    """Together with the sender the name of one transfer: no two have the same."""
    number: int
    """0, 1, ..."""
    checksum: int
    """Of this piece and all before it, see `checksum_after`."""
    is_last: bool
    head: bytes
    """The `RangeSnapshot`, encoded, without its pairs."""


class Arrival(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Which snapshot is arriving for a range."""

    source: int
    transfer: int
    head: bytes


class _KeptPiece(msgspec.Struct, frozen=True, array_like=True, gc=False):
    checksum: int
    is_last: bool
    data: bytes


class _Placing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    head: bytes
    index: int
    term: int
    conf_state: ConfState


class Kept(NamedTuple):
    """What the engine holds of an arriving snapshot."""

    arrival: Arrival
    pieces: int
    checksum: int
    """Of all of them."""
    is_whole: bool


def checksum_after(before: int, data: bytes) -> int:
    """The checksum of a piece that follows one with the checksum `before` (of the head, for the first piece)."""
    return crc32(data, before)


class SnapshotView:
    """A range as it is at the moment in which this is made, read piece by piece while the range goes on."""

    def __init__(self, reader: Reader, range_id: int, start: bytes, end: bytes | None) -> None:
        descriptor = reader.get(keys.descriptor_key(range_id)) or b""
        self.head = RangeSnapshot(range_id, start, end, descriptor, ()).encode()
        spans = [keys.span(kind, start, end) for kind in keys.DATA]
        # An iteration begins with its first pair.
        begun = [(iterator, next(iterator, None)) for iterator in [reader.scan(*span) for span in spans]]
        self._pairs = self._chain(begun)
        self._next: Pair | None = next(self._pairs, None)

    def _chain(self, begun: list[tuple[Iterator[Pair], Pair | None]]) -> Iterator[Pair]:
        for iterator, first in begun:
            if first is not None:
                yield first
                yield from iterator

    @property
    def is_at_end(self) -> bool:
        """Whether all was read."""
        return self._next is None

    def next_piece(self, most_bytes: int) -> bytes:
        """The next pairs, encoded: so many that they have `most_bytes`, or the rest. Empty data has one piece, too."""
        pairs: list[Pair] = []
        size = 0
        while self._next is not None and size < most_bytes:
            pairs.append(self._next)
            size += len(self._next[0]) + len(self._next[1]) + ENTRY_OVERHEAD_BYTES
            self._next = next(self._pairs, None)
        return _ENCODER.encode(pairs)


def whole(head: bytes, data: bytes) -> bytes:
    """A snapshot of one piece, as one value."""
    snapshot = _SNAPSHOT_DECODER.decode(head)
    return msgspec.structs.replace(snapshot, pairs=tuple(_PAIRS_DECODER.decode(data))).encode()


def arrived(head: bytes, pieces: int) -> bytes:
    """A snapshot whose pieces are all kept in the engine, as one value."""
    return msgspec.structs.replace(_SNAPSHOT_DECODER.decode(head), pieces=pieces).encode()


# What is kept while it arrives.


def keep_piece(batch: WriteBatch, range_id: int, arrival: Arrival, piece: PieceHead, data: bytes) -> None:
    """Keep one more piece. The first one takes the place of whatever was arriving before."""
    if not piece.number:
        forget_arriving(batch, range_id)
        batch.put(_ARRIVAL + _U64.pack(range_id), _ENCODER.encode(arrival))
    kept = _KeptPiece(piece.checksum, piece.is_last, data)
    batch.put(_ARRIVING + _PIECE.pack(range_id, piece.number), _ENCODER.encode(kept))


def forget_arriving(batch: WriteBatch, range_id: int) -> None:
    """Whatever is arriving for a range is of no use any more."""
    batch.delete(_ARRIVAL + _U64.pack(range_id))
    batch.delete_range(_ARRIVING + _U64.pack(range_id), _ARRIVING + _U64.pack(range_id + 1))


def read_arriving(reader: Reader) -> dict[int, Kept]:
    """What an engine holds of snapshots that are arriving, by range; as far as their pieces fit."""
    found: dict[int, Kept] = {}
    for key, raw in list(reader.scan(_ARRIVAL, _ARRIVAL + b"\xff")):
        if len(key) != len(_ARRIVAL) + _U64.size:
            continue
        range_id = _U64.unpack(key[len(_ARRIVAL) :])[0]
        arrival = _ARRIVAL_DECODER.decode(raw)
        count, checksum, is_whole = 0, crc32(arrival.head), False
        for number, piece in _kept_pieces(reader, range_id):
            if number != count or checksum_after(checksum, piece.data) != piece.checksum:
                break
            count, checksum, is_whole = count + 1, piece.checksum, piece.is_last
        found[range_id] = Kept(arrival, count, checksum, is_whole)
    return found


def _kept_pieces(reader: Reader, range_id: int) -> Iterator[tuple[int, _KeptPiece]]:
    low, high = _ARRIVING + _U64.pack(range_id), _ARRIVING + _U64.pack(range_id + 1)
    for key, raw in reader.scan(low, high):
        yield _PIECE.unpack(key[len(_ARRIVING) :])[1], _KEPT_DECODER.decode(raw)


# How it is put in place.


def begin_placing(batch: WriteBatch, content: RangeSnapshot, snapshot: Snapshot) -> None:
    """Step 1: what the replica holds of the range goes, and there is no way back."""
    for kind in keys.DATA:
        batch.delete_range(*keys.span(kind, content.start, content.end))
    marker = _Placing(content.encode(), snapshot.index, snapshot.term, snapshot.conf_state)
    batch.put(_PLACING + _U64.pack(content.range_id), _ENCODER.encode(marker))


def place_pieces(engine: Engine, range_id: int) -> int:
    """Step 2: put what is kept where it belongs, one piece a batch. How many there were."""
    count = 0
    while True:
        low, high = _ARRIVING + _U64.pack(range_id), _ARRIVING + _U64.pack(range_id + 1)
        found = engine.first(low, high)
        if found is None:
            return count
        batch = WriteBatch()
        for key, value in _PAIRS_DECODER.decode(_KEPT_DECODER.decode(found[1]).data):
            batch.put(key, value)
        batch.delete(found[0])
        engine.write(batch)
        count += 1


def end_placing(batch: WriteBatch, content: RangeSnapshot, snapshot: Snapshot) -> None:
    """Step 3: from this batch on the replica is as the snapshot says. The log is the caller's."""
    range_id = content.range_id
    batch.put(keys.descriptor_key(range_id), content.descriptor)
    put_applied_state(batch, range_id, AppliedState(snapshot.index, snapshot.term, snapshot.conf_state))
    batch.put(keys.truncated_key(range_id), _ENCODER.encode(TruncatedState(snapshot.index, snapshot.term)))
    batch.delete(_PLACING + _U64.pack(range_id))
    batch.delete(_ARRIVAL + _U64.pack(range_id))


def finish_placing(engine: Engine) -> list[int]:
    """At the start of a node: put in place what a crash has left half way. The ranges; durable when this returns."""
    finished: list[int] = []
    for key, raw in list(engine.scan(_PLACING, _PLACING + b"\xff")):
        range_id = _U64.unpack(key[len(_PLACING) :])[0]
        marker = _PLACING_DECODER.decode(raw)
        place_pieces(engine, range_id)
        batch = WriteBatch()
        content = _SNAPSHOT_DECODER.decode(marker.head)
        end_placing(batch, content, Snapshot(marker.index, marker.term, marker.conf_state))
        batch.delete_range(*keys.log_span(range_id))
        batch.put(keys.hard_state_key(range_id), _ENCODER.encode(_hard_state_after(engine, range_id, marker)))
        engine.write(batch)
        finished.append(range_id)
    if finished:
        engine.sync()
    return finished


def _hard_state_after(reader: Reader, range_id: int, marker: _Placing) -> HardState:
    """A replica that has applied an entry has heard of its term, and of its commit."""
    before = _HARD_STATE_DECODER.decode(
        reader.get(keys.hard_state_key(range_id)) or _ENCODER.encode(HardState())
    )
    commit = max(before.commit, marker.index)
    if before.term >= marker.term:
        return HardState(before.term, before.vote, commit)
    return HardState(marker.term, 0, commit)


_ENCODER = msgspec.msgpack.Encoder()
_ARRIVAL_DECODER = msgspec.msgpack.Decoder(Arrival)
_KEPT_DECODER = msgspec.msgpack.Decoder(_KeptPiece)
_PLACING_DECODER = msgspec.msgpack.Decoder(_Placing)
_PAIRS_DECODER = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]])
_SNAPSHOT_DECODER = msgspec.msgpack.Decoder(RangeSnapshot)
_HARD_STATE_DECODER = msgspec.msgpack.Decoder(HardState)
