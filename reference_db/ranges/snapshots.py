"""How snapshots travel: in pieces, some at a time, not faster than allowed, and resumed where they stopped.

    leader of 7                                                    n3, which lags
      | Raft: n3 needs a snapshot; a view of range 7 is opened
      | piece 0 of transfer 5 --------------------------------------->| kept, durable
      | piece 1, piece 2, piece 3            (at most WINDOW unanswered) x lost
      |<------------------------------------ answer: I have 1 of 5 ---|
      | a second without progress: 1, 2, 3 again --------------------->| ... n3 is restarted: it has 3 pieces, durable
      | ... the last one --------------------------------------------->| all here: now Raft hears SNAPSHOT, and it is
      |<------------------------------------ answer: I have all -------| put in place (`storage.snapshot_pieces`)

1. A piece is answered when it is durable. So a receiver that was restarted goes on where it was, and the sender need
   not keep more than what is unanswered.
2. A sender that was restarted, or is another one, has another view: a new transfer, from the beginning. So it is where
   the receiver has less than it had answered (its disk was lost).
3. The bytes that leave a node each tick are bounded (`snapshot_bytes_per_second`), and so is the number of transfers
   that a node sends and receives at once (`snapshots_most`). The others wait, and hold nothing: a view is opened when
   a transfer begins, so what is sent is at least as new as what Raft asked for.
4. A snapshot of one piece is answered, and handed to Raft, as soon as it arrives.

The idea is CockroachDB's and TiKV's: streams of chunks below a rate limit, with a bound on how many there are; neither
resumes one. Nothing in this file knows Raft's rules, disks or the time: the store says when a tick passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from reference_db.raft import Message, MessageKind, Snapshot
from reference_db.ranges.options import StoreOptions
from reference_db.storage.engine import Engine, WriteBatch
from reference_db.storage.range_snapshot import AppliedState, snapshot_descriptor
from reference_db.storage.snapshot_pieces import (
    Arrival,
    Kept,
    PieceHead,
    SnapshotView,
    arrived,
    checksum_after,
    forget_arriving,
    keep_piece,
    read_arriving,
    whole,
)

WINDOW = 4
"""Pieces of a transfer that may be unanswered, and that its sender keeps."""
RESEND_S = 1.0
"""Without an answer for so long: what is unanswered is sent again."""
GIVE_UP_S = 10.0
"""Without an answer for so long: Raft is told that the snapshot has failed. It asks again when the follower speaks."""
FORGET_S = 60.0
"""A snapshot of which nothing arrives for so long is forgotten by its receiver."""
BUSY = -1
"""An answer: there are too many already, later."""
BUSY_S = 0.5

_SNAPSHOT, _ANSWER = MessageKind.SNAPSHOT, MessageKind.SNAPSHOT_ANSWER


@dataclass(slots=True)
class SnapshotCounters:
    """Since the node was started."""

    pieces: int = 0
    """Pieces sent, those that were sent again included."""
    bytes: int = 0
    """Bytes in them."""
    resent: int = 0
    """Pieces sent again."""
    restarts: int = 0
    """Transfers begun anew, because the receiver had less than it had answered."""
    given_up: int = 0
    """Transfers that ended because the receiver was silent."""
    resumed: int = 0
    """Snapshots of which a part was here when this node started."""
    placed: int = 0
    """Snapshots that were put in place."""
    refused: int = 0
    """Snapshots that this node did not take yet, because too many were arriving."""
    peak_bytes: int = 0
    """Most bytes of pieces that this node held in memory at once, as sender and as receiver."""


@dataclass(slots=True)
class _Transfer:
    """One snapshot to one member."""

    range_id: int
    message: Message
    """What Raft wanted to send."""
    transfer: int = 0
    """0: it waits for its turn."""
    view: SnapshotView | None = None
    applied: AppliedState = field(default_factory=AppliedState)
    next_number: int = 0
    answered: int = 0
    """Pieces that the receiver has, durably."""
    checksum: int = 0
    unanswered: dict[int, Message] = field(default_factory=dict)
    is_read: bool = False
    """The last piece was made."""
    quiet_ticks: int = 0
    silent_ticks: int = 0
    not_before: int = 0
    """The tick before which it is not begun."""


class SnapshotSender:
    """The snapshots that leave a node."""

    def __init__(
        self,
        engine: Engine,
        options: StoreOptions,
        counters: SnapshotCounters,
        *,
        read_range: Callable[[int], tuple[AppliedState, bytes, bytes | None] | None],
        new_transfer: Callable[[], int],
        send: Callable[[int, Message], None],
        failed: Callable[[int, int], None],
    ) -> None:
        """`read_range(range)` says what is applied of a range that is led here, and its span; None if it is not led
        here. `send(range, message)` puts a message into the outbox; `failed(range, member)` tells Raft."""
        self._engine = engine
        self._options = options
        self.counters = counters
        self._read_range = read_range
        self._new_transfer = new_transfer
        self._send = send
        self._failed = failed
        self._transfers: dict[tuple[int, int], _Transfer] = {}
        """By range and member, in the order in which they were asked for."""
        self._ticks = 0
        per_tick = options.snapshot_bytes_per_second * options.tick_ms // 1000
        self._per_tick = max(per_tick, 1) if options.snapshot_bytes_per_second else 0
        self._room = self._per_tick
        """Bytes that may leave yet in this tick. Negative: the next ticks pay for a piece that was larger."""

    @property
    def sending(self) -> int:
        """Transfers under way."""
        return sum(1 for one in self._transfers.values() if one.transfer)

    @property
    def waiting(self) -> int:
        """Transfers that wait for their turn."""
        return len(self._transfers) - self.sending

    @property
    def held_bytes(self) -> int:
        """Of the pieces that are kept because they are unanswered."""
        return sum(_size(one) for each in self._transfers.values() for one in each.unanswered.values())

    def members(self, range_id: int) -> list[int]:
        """Those to whom a snapshot of this range is on its way, or about to be."""
        return [member for (one, member) in self._transfers if one == range_id]

    def begin(self, range_id: int, message: Message) -> None:
        """Raft sends a snapshot. It takes the place of another one to the same member."""
        self._transfers.pop((range_id, message.target), None)
        self._transfers[range_id, message.target] = _Transfer(range_id, message)
        self._begin_some()

    def tick(self) -> None:
        """One tick passes."""
        self._ticks += 1
        self._room = min(self._room + self._per_tick, self._per_tick)
        if not self._transfers:
            return
        per_s = max(1000 // self._options.tick_ms, 1)
        for key, one in list(self._transfers.items()):
            if self._read_range(one.range_id) is None:
                del self._transfers[key]
                continue
            if not one.transfer:
                continue
            one.quiet_ticks += 1
            one.silent_ticks += 1
            if one.silent_ticks >= GIVE_UP_S * per_s:
                del self._transfers[key]
                self.counters.given_up += 1
                self._failed(one.range_id, one.message.target)
            elif one.unanswered and one.quiet_ticks >= RESEND_S * per_s:
                one.quiet_ticks = 0
                for piece in one.unanswered.values():
                    self.counters.resent += 1
                    self._post(one, piece)
        self._begin_some()
        for one in list(self._transfers.values()):
            self._go_on(one)

    def answered(self, range_id: int, message: Message) -> None:
        """A receiver says how many pieces of a transfer it has."""
        key = (range_id, message.source)
        one = self._transfers.get(key)
        if one is None or one.transfer != message.commit:
            return
        one.silent_ticks = 0
        has = BUSY if message.reject else message.index
        if has == BUSY:
            # Behind all others; the view is closed.
            wait = int(BUSY_S * 1000) // self._options.tick_ms
            del self._transfers[key]
            self._transfers[key] = _Transfer(range_id, one.message, not_before=self._ticks + max(wait, 1))
        elif has < one.answered:
            self.counters.restarts += 1
            del self._transfers[key]
            self._transfers[key] = _Transfer(range_id, one.message)
        else:
            if has > one.answered:
                one.quiet_ticks = 0
            for number in [number for number in one.unanswered if number < has]:
                del one.unanswered[number]
            one.answered = has
            if one.is_read and has >= one.next_number:
                del self._transfers[key]
            else:
                self._go_on(one)
        self._begin_some()

    def _begin_some(self) -> None:
        """Begin what waits, as far as there is room."""
        room = self._options.snapshots_most - self.sending
        for key, one in list(self._transfers.items()):
            if room <= 0:
                return
            if one.transfer or one.not_before > self._ticks:
                continue
            found = self._read_range(one.range_id)
            if found is None:
                del self._transfers[key]
                continue
            room -= 1
            one.applied, start, end = found
            one.view = self._open(one.range_id, start, end)
            one.transfer = self._new_transfer()
            one.checksum = checksum_after(0, one.view.head)
            self._go_on(one)

    def _open(self, range_id: int, start: bytes, end: bytes | None) -> SnapshotView:
        return SnapshotView(self._engine, range_id, start, end)

    def _go_on(self, one: _Transfer) -> None:
        """Send what may be sent now."""
        view = one.view
        if view is None:
            return
        while not one.is_read and len(one.unanswered) < WINDOW and (self._room > 0 or not self._per_tick):
            data = view.next_piece(self._options.snapshot_chunk_bytes)
            one.checksum = checksum_after(one.checksum, data)
            one.is_read = view.is_at_end
            head = PieceHead(one.transfer, one.next_number, one.checksum, one.is_read, view.head)
            applied = one.applied
            piece = msgspec.structs.replace(
                one.message,
                context=_ENCODER.encode(head),
                snapshot=Snapshot(applied.index, applied.term, applied.conf_state, data),
            )
            one.unanswered[one.next_number] = piece
            one.next_number += 1
            self._post(one, piece)
        self.counters.peak_bytes = max(self.counters.peak_bytes, self.held_bytes)

    def _post(self, one: _Transfer, piece: Message) -> None:
        size = _size(piece)
        self._room -= size
        self.counters.pieces += 1
        self.counters.bytes += size
        self._send(one.range_id, piece)


class Arriving:
    """One snapshot on its way to here."""

    __slots__ = ("arrival", "checksum", "durable", "heard_at", "is_whole", "pieces", "waits")

    def __init__(self, arrival: Arrival, tick: int) -> None:
        self.arrival = arrival
        self.pieces = 0
        """Taken in."""
        self.durable = 0
        self.checksum = checksum_after(0, arrival.head)
        self.is_whole = False
        """The last piece was taken in."""
        self.waits = False
        """It was handed to Raft, which may need what is kept of it."""
        self.heard_at = tick


@dataclass(slots=True)
class Taken:
    """A piece that goes into the next batch."""

    range_id: int
    message: Message
    arriving: Arriving
    head: PieceHead
    place: int
    """How many pieces of the snapshot were taken in before."""


class SnapshotReceiver:
    """The snapshots that arrive at a node."""

    def __init__(
        self,
        engine: Engine,
        options: StoreOptions,
        counters: SnapshotCounters,
        *,
        admits: Callable[[int, bytes], bool],
        send: Callable[[int, Message], None],
        is_awaited: Callable[[int], bool],
    ) -> None:
        """`admits(range, descriptor)`: whether there is room for a range as of this encoded descriptor. `is_awaited`:
        whether Raft has been handed a snapshot of a range that is not in place yet."""
        self._options = options
        self.counters = counters
        self._admits = admits
        self._send = send
        self._is_awaited = is_awaited
        self._ticks = 0
        self._taken: list[Taken] = []
        self._forgotten: list[int] = []
        """Ranges of which nothing that is kept is of use any more."""
        self._arriving: dict[int, Arriving] = {}
        for range_id, kept in read_arriving(engine).items():
            self._arriving[range_id] = self._resumed(kept)

    def _resumed(self, kept: Kept) -> Arriving:
        self.counters.resumed += kept.pieces > 0
        one = Arriving(kept.arrival, 0)
        one.pieces = one.durable = kept.pieces
        one.checksum, one.is_whole = kept.checksum, kept.is_whole
        return one

    @property
    def has_work(self) -> bool:
        """Whether something is to go into the next batch."""
        return bool(self._taken or self._forgotten)

    @property
    def receiving(self) -> int:
        """Snapshots of which a part is here."""
        return len(self._arriving)

    def take(self, range_id: int, message: Message) -> Message | None:
        """A piece arrived. The whole snapshot, as Raft is to hear it, if that is all of it."""
        head = _HEAD_DECODER.decode(message.context)
        assert message.snapshot is not None, f"a piece of range {range_id} without one"
        data = message.snapshot.data
        if not head.number and head.is_last:
            if checksum_after(checksum_after(0, head.head), data) != head.checksum:
                return None
            self._answer(range_id, message, head.transfer, 1)
            return _complete(message, whole(head.head, data))
        one = self._arriving.get(range_id)
        if one is None or (one.arrival.source, one.arrival.transfer) != (message.source, head.transfer):
            if one is not None and one.waits:
                return None
            if head.number:
                # Not known here: the sender must begin anew.
                self._answer(range_id, message, head.transfer, 0)
                return None
            if not self._admits(range_id, snapshot_descriptor(head.head)):
                return None
            if one is None and len(self._arriving) >= self._options.snapshots_most:
                self.counters.refused += 1
                self._answer(range_id, message, head.transfer, BUSY)
                return None
            one = Arriving(Arrival(message.source, head.transfer, head.head), self._ticks)
            self._arriving[range_id] = one
            self._taken = [taken for taken in self._taken if taken.range_id != range_id]
        one.heard_at = self._ticks
        if not self._follows(one, head, data):
            self._answer(range_id, message, head.transfer, one.durable)
            if one.is_whole and one.durable == one.pieces and not one.waits:
                one.waits = True
                return _complete(message, arrived(one.arrival.head, one.pieces))
            return None
        self._taken.append(Taken(range_id, message, one, head, one.pieces))
        one.pieces += 1
        one.checksum = head.checksum
        one.is_whole = head.is_last
        held = sum(_size(taken.message) for taken in self._taken)
        self.counters.peak_bytes = max(self.counters.peak_bytes, held)
        return None

    def _follows(self, one: Arriving, head: PieceHead, data: bytes) -> bool:
        """Whether a piece is the one that comes next."""
        return (
            not one.is_whole
            and head.number == one.pieces
            and checksum_after(one.checksum, data) == head.checksum
        )

    def write(self, batch: WriteBatch) -> list[Taken]:
        """Put what has arrived into a turn's batch; `written` is to be called with the result when that is durable."""
        for range_id in self._forgotten:
            forget_arriving(batch, range_id)
        self._forgotten = []
        taken, self._taken = self._taken, []
        for one in taken:
            assert one.message.snapshot is not None, f"a piece of range {one.range_id} without one"
            head = msgspec.structs.replace(one.head, number=one.place)
            keep_piece(batch, one.range_id, one.arriving.arrival, head, one.message.snapshot.data)
        return taken

    def written(self, taken: Sequence[Taken]) -> list[tuple[int, Message]]:
        """These pieces are durable: the snapshots, by range, that are whole now."""
        found = []
        for one in taken:
            arriving = one.arriving
            if self._arriving.get(one.range_id) is not arriving:
                continue
            arriving.durable += 1
            self._answer(one.range_id, one.message, one.head.transfer, arriving.durable)
            if arriving.is_whole and arriving.durable == arriving.pieces:
                arriving.waits = True
                complete = _complete(one.message, arrived(arriving.arrival.head, arriving.pieces))
                found.append((one.range_id, complete))
        return found

    def placed(self, range_id: int) -> None:
        """A snapshot of a range is being put in place: what else was arriving is of no use any more."""
        self.counters.placed += 1
        one = self._arriving.pop(range_id, None)
        if one is not None and not one.waits:
            self._forgotten.append(range_id)

    def tick(self) -> None:
        """One tick passes: forget what Raft did not want, and what nobody goes on with."""
        self._ticks += 1
        forget_ticks = FORGET_S * 1000 / self._options.tick_ms
        for range_id, one in list(self._arriving.items()):
            is_over = one.waits and not self._is_awaited(range_id)
            if is_over or self._ticks - one.heard_at > forget_ticks:
                del self._arriving[range_id]
                self._forgotten.append(range_id)

    def _answer(self, range_id: int, message: Message, transfer: int, has: int) -> None:
        """Tell a sender how many pieces of its transfer are durable here, or that there is no room."""
        self._send(
            range_id,
            Message(
                _ANSWER,
                message.source,
                message.target,
                message.term,
                index=max(has, 0),
                commit=transfer,
                reject=has == BUSY,
            ),
        )


def _complete(message: Message, data: bytes) -> Message:
    assert message.snapshot is not None, "a piece without a snapshot"
    return msgspec.structs.replace(
        message, context=b"", snapshot=msgspec.structs.replace(message.snapshot, data=data)
    )


def _size(piece: Message) -> int:
    return 0 if piece.snapshot is None else len(piece.snapshot.data) + len(piece.context)


_ENCODER = msgspec.msgpack.Encoder()
_HEAD_DECODER = msgspec.msgpack.Decoder(PieceHead)
