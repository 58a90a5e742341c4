"""What a range remembers of clients' sessions: its last reply to each, key by key, so that a retry does nothing twice.

A reply lies in the engine under the key that was written, in the same batch as the write. So it is where a retry of the
write will come, whatever becomes of ranges: a split gives each half the replies of its keys, a merge brings them
together, a snapshot carries them like all data, and a restart finds them (`keys.DATA`).

What is remembered is bounded. A leader that remembers one too many names the oldest replies in the same command, so
all replicas forget the same ones, and none looks at a clock. When a reply is forgotten, its timestamp becomes the
range's *horizon*: a session that was opened before it could have had that reply, so whatever it writes and is not
remembered is refused (`remembering`). Every write of a session is above the session's opening, so a session opened
after the horizon has lost nothing. The horizon lies under the range's first key, under a session id of zeros; a split
writes it for the right half, and of the horizons in a span the largest counts, which is what a merge asks for.
"""

from __future__ import annotations

import msgspec

from ..api import Added, Compared, Written
from ..storage import keys
from ..storage.engine import Reader, WriteBatch
from ..timestamp import ZERO, Timestamp

HORIZON_ID = bytes(keys.SESSION_ID_BYTES)
REPLIES_MOST = 1000
"""Replies that a range remembers, unless it is told another number."""
FORGOTTEN_MOST = 16
"""Replies that one write makes a range forget: where many were remembered at the same time, or two ranges merged."""


class SessionReply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a session was told about its latest write to a key."""

    sequence: int
    timestamp: Timestamp
    """Of the write."""
    result: Written | Compared | Added | None
    """None: no reply but a horizon."""


class SessionReplies:
    """Those of one range, the oldest first."""

    __slots__ = ("_replies", "horizon")

    def __init__(self) -> None:
        self._replies: dict[tuple[bytes, bytes], SessionReply] = {}
        """By key and session. What is remembered anew moves to the end."""
        self.horizon = ZERO
        """No reply that was forgotten is later. Never decreases."""

    @classmethod
    def load(cls, reader: Reader, start: bytes, end: bytes | None) -> SessionReplies | None:
        """What the engine holds of a span; None if that is nothing."""
        found: SessionReplies | None = None
        for encoded, raw in reader.scan(*keys.span(keys.REPLY, start, end)):
            found = found if found is not None else cls()
            reply = _DECODER.decode(raw)
            key, session = keys.split_reply_key(encoded)
            if session == HORIZON_ID:
                found.horizon = max(found.horizon, reply.timestamp)
            else:
                found._replies[key, session] = reply
        if found is not None:
            found._sort()
        return found

    def together(self, other: SessionReplies) -> SessionReplies:
        """Those of two ranges that have become one, as `load` would find them."""
        both = SessionReplies()
        both.horizon = max(self.horizon, other.horizon)
        both._replies = self._replies | other._replies
        both._sort()
        return both

    def _sort(self) -> None:
        self._replies = dict(sorted(self._replies.items(), key=lambda item: (item[1].timestamp, item[0])))

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: bytes, session: bytes) -> SessionReply | None:
        """The last reply to this session about this key."""
        return self._replies.get((key, session))

    def oldest(self, count: int) -> tuple[tuple[bytes, bytes], ...]:
        """So many of them, by key and session."""
        return tuple(key for key, _ in zip(self._replies, range(count), strict=False))

    def remember(self, key: bytes, session: bytes, reply: SessionReply, batch: WriteBatch) -> None:
        """A write of a session is applied in this batch."""
        self._replies.pop((key, session), None)
        self._replies[key, session] = reply
        batch.put(keys.reply_key(key, session), _ENCODER.encode(reply))

    def forget(self, key: bytes, session: bytes, start: bytes, batch: WriteBatch) -> None:
        """The reply is remembered no longer; `start` is the range's first key. One that is gone already is none."""
        reply = self._replies.pop((key, session), None)
        if reply is None:
            return
        batch.delete(keys.reply_key(key, session))
        if reply.timestamp > self.horizon:
            self.horizon = reply.timestamp
            self._put_horizon(start, batch)

    def narrow(self, start: bytes, end: bytes, batch: WriteBatch) -> None:
        """The range ends before this key from now on: the rest is another's, which has the same horizon."""
        for key, session in [one for one in self._replies if one[0] >= end]:
            del self._replies[key, session]
        if self.horizon != ZERO:
            self._put_horizon(start, batch)
            self._put_horizon(end, batch)

    def _put_horizon(self, start: bytes, batch: WriteBatch) -> None:
        batch.put(keys.reply_key(start, HORIZON_ID), _ENCODER.encode(SessionReply(0, self.horizon, None)))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(SessionReply)
