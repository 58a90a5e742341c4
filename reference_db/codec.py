"""Frames: four bytes of length, big-endian, and one msgpack value. The same between nodes and towards clients.

Nodes send each other one `PeerFrame` per turn, with everything they have to say, of all ranges. A frame that can't be
what it should be ends the connection: `FrameDecoder.feed` raises, and nothing after the bad byte is looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from .api import ClientReply, ClientRequest, RangeReply, RangeRequest
from .raft.messages import Message
from .ranges.closed_timestamps import Closings
from .ranges.heartbeats import Heartbeats
from .timestamp import Timestamp

_LENGTHS = struct.Struct(">I")
LENGTH_BYTES = _LENGTHS.size
_announced = _LENGTHS.unpack_from
MAX_FRAME_BYTES = 64 << 20
"""No frame is longer; a length above it means that the other side speaks another language."""

PeerMessage = RangeRequest | RangeReply
Followed = dict[int, int]
"""Ids of ranges, and in which term."""


class PeerFrame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one node has to say to another in one turn."""

    sender: str
    clock: Timestamp
    """The sender's hybrid clock. The receiver forwards its own before it looks at anything else."""
    raft: tuple[tuple[int, Message], ...] = ()
    """Range id and Raft message, in the order they were sent."""
    messages: tuple[PeerMessage, ...] = ()
    follows: Followed | None = None
    """The ranges, with their terms, in which the sender follows the receiver, when it says so: as good as an answer to
    a round of heartbeats that the receiver would have sent for what came with it."""
    follows_version: int = 0
    """Another one after each change of that, so that the sender need not repeat what the receiver has heard; 0: it says
    nothing about it."""
    heartbeats: Heartbeats | None = None
    """Of all ranges at once."""
    closings: Closings | None = None


class FrameError(ValueError):
    """Bytes that are no frame, or a message that fits into none."""


Content = TypeVar("Content", PeerFrame, ClientRequest, ClientReply)


def encode_frame(content: PeerFrame | ClientRequest | ClientReply, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """One frame. Raises FrameError if it would be longer than `max_bytes`."""
    body = _ENCODER.encode(content)
    length = len(body)
    if length > max_bytes:
        raise FrameError(
            f"a frame of {length} bytes is longer than the limit of {max_bytes}; send smaller values or fewer at once"
        )
    return _LENGTHS.pack(length) + body


def encode_peer_frames(
    sender: str,
    clock: Timestamp,
    raft: Sequence[tuple[int, Message]],
    messages: Sequence[PeerMessage] = (),
    version: int = 0,
    follows: Followed | None = None,
    heartbeats: Heartbeats | None = None,
    max_bytes: int = MAX_FRAME_BYTES,
    closings: Closings | None = None,
) -> list[bytes]:
    """A turn's messages to one peer: one frame, or as many as the limit asks for, in order. Raises FrameError if a
    single message is too long."""
    whole = PeerFrame(sender, clock, tuple(raft), tuple(messages), follows, version, heartbeats, closings)
    try:
        return [encode_frame(whole, max_bytes)]
    except FrameError:
        if len(raft) + len(messages) <= 1:
            raise
    if len(raft) > 1 or not messages:
        half = len(raft) // 2
        parts = [(raft[:half], messages[:0]), (raft[half:], messages)]
    elif raft:
        parts = [(raft, messages[:0]), (raft[:0], messages)]
    else:
        half = len(messages) // 2
        parts = [(raft, messages[:half]), (raft, messages[half:])]
    frames = []
    for part in parts:
        frames += encode_peer_frames(sender, clock, *part, version, follows, heartbeats, max_bytes, closings)
        heartbeats = closings = None
    return frames


class FrameDecoder(Generic[Content]):
    """Takes a connection's bytes in any pieces, gives the frames that are complete."""

    __slots__ = ("_decoder", "_max_bytes", "_name", "_needed", "_parts", "_size")

    def __init__(self, content: type[Content], max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._decoder: msgspec.msgpack.Decoder[Content] = msgspec.msgpack.Decoder(content)
        self._name = content.__name__
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        """Pieces of the frame that isn't complete yet; joined once, when it is."""
        self._size = 0
        self._needed = 0
        """How many bytes must be there before it is worth looking."""

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that isn't complete yet. More than zero when the connection ends: the frame was torn."""
        return self._size

    def feed(self, received: bytes) -> list[Content]:
        """The frames that are complete now. Raises FrameError for a length above the limit and for a body that isn't
        what this connection carries; the decoder is of no use afterwards."""
        size = len(received) - LENGTH_BYTES
        if not self._parts and 0 <= size <= self._max_bytes and _announced(received)[0] == size:
            # One whole frame, as most often.
            return [self._decode(memoryview(received)[LENGTH_BYTES:])]
        if self._parts:
            self._parts.append(received)
            self._size += len(received)
            if self._size < self._needed:
                return []
            received = b"".join(self._parts)
            self._parts = []
        frames: list[Content] = []
        view = memoryview(received)
        at, end, needed = 0, len(received), LENGTH_BYTES
        while end - at >= LENGTH_BYTES:
            (length,) = _LENGTHS.unpack_from(received, at)
            if length > self._max_bytes:
                raise FrameError(
                    f"a frame of {length} bytes is announced, the limit is {self._max_bytes}; "
                    f"is the other side a {self._name} speaker?"
                )
            stop = at + LENGTH_BYTES + length
            if stop > end:
                needed = LENGTH_BYTES + length
                break
            frames.append(self._decode(view[at + LENGTH_BYTES : stop]))
            at = stop
        self._size = end - at
        self._needed = needed
        if at < end:
            self._parts.append(bytes(view[at:]))
        return frames

    def _decode(self, body: memoryview) -> Content:
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FrameError(f"a frame of {len(body)} bytes is no {self._name}: {error}") from error


_ENCODER = msgspec.msgpack.Encoder()
