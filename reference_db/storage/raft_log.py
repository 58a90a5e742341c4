"""The Raft log of one range on an engine: what Raft reads (`LogStore`), and the writes that go into a turn's batch.

The newest entries are also kept in memory, up to a number of bytes, so that replication and applying never read the
engine. What is in memory is what was last put into a batch: Raft counts an entry as durable only when it is told so,
never because it can be read here.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import msgspec

from ..raft.log_store import Compacted, SnapshotUnavailable, Unavailable, limit_size
from ..raft.messages import ENTRY_OVERHEAD_BYTES, ConfState, Entry, HardState, Snapshot
from . import keys
from .engine import Engine, WriteBatch
from .range_snapshot import (
    AppliedState,
    RangeSnapshot,
    decode_range_snapshot,
    install_snapshot,
    put_applied_state,
    read_applied_state,
)
from .snapshot_pieces import TruncatedState, begin_placing, end_placing, place_pieces


def bootstrap_range(
    batch: WriteBatch,
    range_id: int,
    descriptor: bytes,
    voters: Sequence[int],
) -> None:
    """The first state of one of a cluster's first ranges: an empty log, nothing applied, these voters."""
    begin_range(batch, range_id, descriptor, ConfState(voters=tuple(sorted(voters))))


def begin_range(
    batch: WriteBatch,
    range_id: int,
    descriptor: bytes,
    conf_state: ConfState,
    *,
    index: int = 0,
    term: int = 0,
    hard_state: HardState | None = None,
) -> None:
    """The first state of a new range, the same on every replica: an empty log after `index` and `term`, and everything
    up to there applied. Without a descriptor nothing of the range is known yet but that it exists."""
    if descriptor:
        batch.put(keys.descriptor_key(range_id), descriptor)
    batch.put(keys.hard_state_key(range_id), _ENCODER.encode(hard_state or HardState()))
    batch.put(keys.truncated_key(range_id), _ENCODER.encode(TruncatedState(index, term)))
    put_applied_state(batch, range_id, AppliedState(index, term, conf_state))


class RaftLog:
    """One range's log. Reads answer Raft; the verbs that take a batch are the owner's (the store's turn).

    Raises ValueError if the engine has no such range.
    """

    __slots__ = (
        "_cache_bytes",
        "_cached",
        "_cached_bytes",
        "_engine",
        "_first_cached",
        "_hard_state",
        "_last",
        "_sizes",
        "_truncated",
        "range_id",
        "size_bytes",
    )

    def __init__(
        self,
        engine: Engine,
        range_id: int,
        cache_bytes: int = 4 << 20,
    ) -> None:
        self.range_id = range_id
        self._engine = engine
        self._cache_bytes = cache_bytes
        hard_state = engine.get(keys.hard_state_key(range_id))
        truncated = engine.get(keys.truncated_key(range_id))
        if hard_state is None or truncated is None:
            raise ValueError(
                f"range {range_id} isn't in this engine; bootstrap it or install a snapshot first"
            )
        self._hard_state = _HARD_STATE_DECODER.decode(hard_state)
        self._truncated = _TRUNCATED_DECODER.decode(truncated)
        self._cached: list[Entry] = []
        """The newest entries, without gap: `_first_cached` to `_last`. Older ones are only in the engine."""
        self._first_cached = self._truncated.index + 1
        self._cached_bytes = 0
        self._last = self._truncated.index
        self._sizes = array("I")
        """Of all entries, the first one first."""
        self.size_bytes = 0
        """Of all entries together."""
        self._load()

    def _load(self) -> None:
        for encoded, raw in self._engine.scan(*keys.log_span(self.range_id, self._truncated.index + 1)):
            entry = _ENTRY_DECODER.decode(raw)
            index = keys.split_log_key(encoded)[1]
            assert entry.index == index == self._last + 1, (
                f"range {self.range_id}: entry {entry.index} under key {index} follows entry {self._last}"
            )
            self._last = index
            self._cached.append(entry)
            self._sizes.append(len(entry.data) + ENTRY_OVERHEAD_BYTES)
        self._cached_bytes = self.size_bytes = sum(self._sizes)
        self._shrink_cache()

    # What Raft asks.

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._hard_state, self.applied_state().conf_state

    def entries(self, lo: int, hi: int, max_bytes: int) -> Sequence[Entry]:
        if lo <= self._truncated.index:
            raise Compacted(f"entry {lo} asked for, the first one kept is {self.first_index()}")
        if hi > self._last + 1:
            raise Unavailable(f"entries up to {hi - 1} asked for, the last one is {self._last}")
        first = self._first_cached
        if lo >= first:
            return limit_size(self._cached[lo - first : hi - first], max_bytes)
        found: list[Entry] = []
        total = 0
        for _, raw in self._engine.scan(*keys.log_span(self.range_id, lo, min(hi, first))):
            entry = _ENTRY_DECODER.decode(raw)
            total += len(entry.data) + ENTRY_OVERHEAD_BYTES
            if total > max_bytes and found:
                return found
            assert entry.index == lo + len(found), (
                f"range {self.range_id}: entry {entry.index} found in the engine instead of {lo + len(found)}"
            )
            found.append(entry)
        assert len(found) == min(hi, first) - lo, (
            f"range {self.range_id}: entries {lo} to {hi - 1} end too early"
        )
        if hi > first:
            found.extend(self._cached[: hi - first])
        return limit_size(found, max_bytes)

    def term(self, index: int) -> int:
        first = self._first_cached
        if first <= index <= self._last:
            return self._cached[index - first].term
        if index == self._truncated.index:
            return self._truncated.term
        if index < self._truncated.index:
            raise Compacted(f"term of {index} asked for, the first entry kept is {self.first_index()}")
        if index > self._last:
            raise Unavailable(f"term of {index} asked for, the last entry is {self._last}")
        return self.entries(index, index + 1, 0)[0].term

    def first_index(self) -> int:
        return self._truncated.index + 1

    def last_index(self) -> int:
        return self._last

    def snapshot(self) -> Snapshot:
        """What a snapshot would be of, without the data: that is read when it is sent, see `ranges.snapshots`."""
        applied = read_applied_state(self._engine, self.range_id)
        if applied is None or not applied.index:
            raise SnapshotUnavailable(f"range {self.range_id} has applied nothing yet")
        return Snapshot(applied.index, applied.term, applied.conf_state)

    # What the owner does.

    def sizes(self) -> Sequence[int]:
        """Bytes of each entry, the first one first."""
        return self._sizes

    @property
    def hard_state(self) -> HardState:
        return self._hard_state

    def applied_state(self) -> AppliedState:
        """As written to the engine."""
        applied = read_applied_state(self._engine, self.range_id)
        assert applied is not None, f"range {self.range_id} has a log but no applied state"
        return applied

    def set_hard_state(self, batch: WriteBatch, hard_state: HardState) -> None:
        old = self._hard_state
        assert hard_state.term >= old.term, (
            f"range {self.range_id}: hard state goes back, {old} to {hard_state}"
        )
        self._hard_state = hard_state
        batch.put(keys.hard_state_key(self.range_id), _ENCODER.encode(hard_state))

    def append(self, batch: WriteBatch, entries: Sequence[Entry]) -> None:
        """Store entries, replacing what stands at their indexes and after. Compacted ones are passed over."""
        if entries and entries[0].index <= self._truncated.index:
            entries = [entry for entry in entries if entry.index > self._truncated.index]
        if not entries:
            return
        if self._cached_bytes > self._cache_bytes:
            # Only what earlier batches hold may leave memory: this one can't be read from the engine yet.
            self._shrink_cache()
        first, last = entries[0].index, entries[-1].index
        assert first <= self._last + 1, (
            f"range {self.range_id}: gap, last entry {self._last}, append at {first}"
        )
        for index in range(last + 1, self._last + 1):
            batch.delete(keys.log_key(self.range_id, index))
        sizes = self._sizes
        if first <= self._last:
            self._cut_cache(first)
            self.size_bytes -= sum(sizes[first - self.first_index() :])
            del sizes[first - self.first_index() :]
        encode, cached, total = _ENCODER.encode, self._cached, 0
        for entry in entries:
            batch.put(keys.log_key(self.range_id, entry.index), encode(entry))
            size = len(entry.data) + ENTRY_OVERHEAD_BYTES
            sizes.append(size)
            total += size
            cached.append(entry)
        self._cached_bytes += total
        self.size_bytes += total
        self._last = last

    def compact(self, batch: WriteBatch, index: int) -> None:
        """Drop entries up to and including `index`, which must be applied. Raises `Compacted` or `Unavailable`."""
        if index <= self._truncated.index:
            raise Compacted(f"compaction to {index} asked for, the first entry kept is {self.first_index()}")
        truncated = TruncatedState(index, self.term(index))
        for old in range(self._truncated.index + 1, index + 1):
            batch.delete(keys.log_key(self.range_id, old))
        dropped_sizes = self._sizes[: index - self._truncated.index]
        del self._sizes[: len(dropped_sizes)]
        self.size_bytes -= sum(dropped_sizes)
        self._set_truncated(batch, truncated)
        if index >= self._first_cached:
            dropped = self._cached[: index + 1 - self._first_cached]
            del self._cached[: len(dropped)]
            self._cached_bytes -= sum(len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in dropped)
            self._first_cached = index + 1

    def restore(
        self, batch: WriteBatch, snapshot: Snapshot, before: WriteBatch | None = None
    ) -> RangeSnapshot:
        """Replace log and data by a leader's snapshot. The range's memory (locks, records, versions) must be loaded
        again once the batch is written. `before` are changes that must come before the snapshot's data. One in pieces
        is put in place at once, but for the end, which is in the batch. Raises msgspec.DecodeError for a damaged one,
        before anything is changed."""
        content = decode_range_snapshot(snapshot.data)
        assert content.range_id == self.range_id, (
            f"range {self.range_id} was sent a snapshot of {content.range_id}"
        )
        if before is None:
            before = WriteBatch()
        if content.pieces:
            self._begin_placing(before, content, snapshot)
            self._engine.write(before)
            placed = place_pieces(self._engine, self.range_id)
            assert placed == content.pieces, (
                f"range {self.range_id}: {placed} pieces of a snapshot are here, {content.pieces} had arrived"
            )
            end_placing(batch, content, snapshot)
        else:
            batch.extend(before)
            install_range(batch, content, snapshot)
        for index in range(self._truncated.index + 1, self._last + 1):
            batch.delete(keys.log_key(self.range_id, index))
        self._truncated = TruncatedState(snapshot.index, snapshot.term)
        self._cached.clear()
        self._cached_bytes = self.size_bytes = 0
        self._sizes = array("I")
        self._first_cached = snapshot.index + 1
        self._last = snapshot.index
        return content

    def _begin_placing(self, before: WriteBatch, content: RangeSnapshot, snapshot: Snapshot) -> None:
        begin_placing(before, content, snapshot)

    def _set_truncated(self, batch: WriteBatch, truncated: TruncatedState) -> None:
        self._truncated = truncated
        batch.put(keys.truncated_key(self.range_id), _ENCODER.encode(truncated))

    def _cut_cache(self, first: int) -> None:
        """Forget cached entries from `first` on."""
        if first <= self._first_cached:
            self._cached.clear()
            self._cached_bytes = 0
            self._first_cached = first
        else:
            kept = first - self._first_cached
            self._cached_bytes -= sum(len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in self._cached[kept:])
            del self._cached[kept:]

    def _shrink_cache(self) -> None:
        """Down to half of the limit, the newest entry always kept: seldom, so that it costs little per entry."""
        drop = 0
        while self._cached_bytes > self._cache_bytes // 2 and drop < len(self._cached) - 1:
            self._cached_bytes -= len(self._cached[drop].data) + ENTRY_OVERHEAD_BYTES
            drop += 1
        del self._cached[:drop]
        self._first_cached += drop


def install_range(batch: WriteBatch, content: RangeSnapshot, snapshot: Snapshot) -> None:
    """Data, descriptor, applied and truncated state of a snapshot: also how a node gets a replica it never had (then
    with a hard state of its own beside it)."""
    install_snapshot(batch, content)
    put_applied_state(
        batch, content.range_id, AppliedState(snapshot.index, snapshot.term, snapshot.conf_state)
    )
    truncated = TruncatedState(snapshot.index, snapshot.term)
    batch.put(keys.truncated_key(content.range_id), _ENCODER.encode(truncated))


_ENCODER = msgspec.msgpack.Encoder()
_ENTRY_DECODER = msgspec.msgpack.Decoder(Entry)
_HARD_STATE_DECODER = msgspec.msgpack.Decoder(HardState)
_TRUNCATED_DECODER = msgspec.msgpack.Decoder(TruncatedState)
