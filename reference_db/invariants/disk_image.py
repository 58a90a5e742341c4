"""What a node's disk says of its ranges, read off the batches that it writes: log, hard state, applied index.

A node has two images: one of what is written, and one of what is durable, which follows when the disk says so. They are
built from the bytes of the batches, not from what the node believes, because half of the storage bugs lie in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from reference_db.raft.messages import Entry, HardState
from reference_db.ranges.descriptor import Descriptor
from reference_db.storage import keys
from reference_db.storage.engine import DELETE, PUT, Reader
from reference_db.storage.range_snapshot import AppliedState
from reference_db.storage.snapshot_pieces import TruncatedState

_ENTRY = msgspec.msgpack.Decoder(Entry)
_HARD_STATE = msgspec.msgpack.Decoder(HardState)
_TRUNCATED = msgspec.msgpack.Decoder(TruncatedState)
_APPLIED = msgspec.msgpack.Decoder(AppliedState)
_DESCRIPTOR = msgspec.msgpack.Decoder(Descriptor)

_RANGE_BYTE, _STORE_BYTE = keys.RANGE[0], keys.STORE[0]
_HARD_STATE_BYTE, _APPLIED_BYTE, _TRUNCATED_BYTE, _DESCRIPTOR_BYTE = b"hatd"
_ONE_BYTES = len(keys.hard_state_key(1))


@dataclass(slots=True)
class RangeChange:
    """What one batch does to one range's log and marks."""

    entries: list[Entry] = field(default_factory=list)
    """In the order in which they are put."""
    deleted: list[int] = field(default_factory=list)
    hard_state: HardState | None = None
    applied: AppliedState | None = None
    truncated: TruncatedState | None = None


@dataclass(slots=True)
class BatchChange:
    """One batch, taken apart."""

    ranges: dict[int, RangeChange] = field(default_factory=dict)
    clock_bound_ns: int | None = None
    descriptors: list[Descriptor] = field(default_factory=list)
    has_data_wiped: bool = False
    """A span of data is deleted: a snapshot is installed."""


class RangeImage:
    """One range on one disk. `terms` maps the indexes in `(base, last]` to the terms of their entries."""

    __slots__ = ("applied", "base", "base_term", "hard_state", "last", "terms")

    def __init__(self) -> None:
        self.base = 0
        """The index before the first entry kept: everything up to here is in the applied state."""
        self.base_term = 0
        self.last = 0
        self.terms: dict[int, int] = {}
        self.hard_state = HardState()
        self.applied = 0

    def apply(self, change: RangeChange) -> None:
        """Do what a batch does."""
        terms = self.terms
        for index in change.deleted:
            terms.pop(index, None)
        for entry in change.entries:
            terms[entry.index] = entry.term
        if change.hard_state is not None:
            self.hard_state = change.hard_state
        if change.applied is not None:
            self.applied = change.applied.index
        if change.truncated is not None:
            self.base, self.base_term = change.truncated.index, change.truncated.term
        if change.entries:
            self.last = change.entries[-1].index
        elif change.deleted or change.truncated is not None:
            self.last = max(terms, default=self.base)

    def term(self, index: int) -> int | None:
        """The term at an index; None where the log does not say."""
        return self.base_term if index == self.base else self.terms.get(index)

    def has(self, index: int, term: int) -> bool:
        """Whether the entry is here, or was and is part of the state."""
        return index <= self.base or self.terms.get(index) == term

    def equals(self, other: RangeImage) -> bool:
        """Whether both say the same."""
        return (
            self.base == other.base
            and self.base_term == other.base_term
            and self.last == other.last
            and self.applied == other.applied
            and self.hard_state == other.hard_state
            and self.terms == other.terms
        )

    def copy(self) -> RangeImage:
        """An image that changes by itself."""
        other = RangeImage()
        other.base, other.base_term, other.last = self.base, self.base_term, self.last
        other.terms = dict(self.terms)
        other.hard_state, other.applied = self.hard_state, self.applied
        return other

    def around(self, index: int, width: int = 3) -> str:
        """The log near an index as text: `5:t2 6:t2 7:t3`."""
        low, high = max(index - width, self.base), min(index + width, self.last)
        shown = [
            f"{at}:t{self.term(at)}" if self.term(at) is not None else f"{at}:missing"
            for at in range(low, high + 1)
        ]
        state = self.hard_state
        return (
            f"entries {self.base + 1} to {self.last}, near {index}: {' '.join(shown) or 'none'}; "
            f"term {state.term}, vote {state.vote}, commit {state.commit}, applied {self.applied}"
        )


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What a node that died had on its disk of one range."""

    durable: RangeImage
    unsynced: tuple[RangeChange, ...]
    """Written later, oldest first. A crash loses the newest of them, none to all."""


def read_image(reader: Reader, range_id: int) -> RangeImage:
    """What an engine holds of a range when its node starts."""
    image = RangeImage()
    hard_state = reader.get(keys.hard_state_key(range_id))
    truncated = reader.get(keys.truncated_key(range_id))
    applied = reader.get(keys.applied_key(range_id))
    if hard_state is not None:
        image.hard_state = _HARD_STATE.decode(hard_state)
    if truncated is not None:
        state = _TRUNCATED.decode(truncated)
        image.base, image.base_term = state.index, state.term
    if applied is not None:
        image.applied = _APPLIED.decode(applied).index
    for key, raw in reader.scan(*keys.log_span(range_id)):
        image.terms[keys.split_log_key(key)[1]] = _ENTRY.decode(raw).term
    image.last = max(image.terms, default=image.base)
    return image


def read_entries(reader: Reader, range_id: int) -> list[Entry]:
    """All entries of a range's log in an engine, in order."""
    return [_ENTRY.decode(raw) for _, raw in reader.scan(*keys.log_span(range_id))]


def take_apart(changes: Iterable[tuple[int, bytes, bytes]]) -> BatchChange:
    """What a batch does, by range. Changes of data (versions, intents, records) are passed over."""
    found = BatchChange()
    ranges = found.ranges
    for kind, key, value in changes:
        first = key[0]
        if first == _RANGE_BYTE:
            range_id = keys.range_id_of(key)
            change = ranges.get(range_id)
            if change is None:
                change = ranges[range_id] = RangeChange()
            if len(key) != _ONE_BYTES:
                if kind == PUT:
                    change.entries.append(_ENTRY.decode(value))
                else:
                    change.deleted.append(keys.split_log_key(key)[1])
                continue
            which = key[9]
            if kind != PUT:
                continue
            if which == _HARD_STATE_BYTE:
                change.hard_state = _HARD_STATE.decode(value)
            elif which == _APPLIED_BYTE:
                change.applied = _APPLIED.decode(value)
            elif which == _TRUNCATED_BYTE:
                change.truncated = _TRUNCATED.decode(value)
            elif which == _DESCRIPTOR_BYTE:
                found.descriptors.append(_DESCRIPTOR.decode(value))
        elif kind not in (PUT, DELETE):
            found.has_data_wiped = True
        elif first == _STORE_BYTE and key == keys.CLOCK_BOUND:
            found.clock_bound_ns = int.from_bytes(value, "big")
    return found
