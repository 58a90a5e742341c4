"""Where everything lies in a node's engine: one ordered keyspace, whose first byte says what a key is.

    s name                                  store: identity, clock bound, ids of ranges that are gone
    r range(8) d                            a range's descriptor on this node
    r range(8) h                            its Raft hard state
    r range(8) a                            applied index and term, membership: in one batch with the applied data
    r range(8) t                            index and term before the first entry of its log
    r range(8) z index(8)                   its log
    g key*                                  collection thresholds, under the first key of the range that had them
    k key*                                  locks: intents
    q key* session(16)                      last replies to writes of sessions
    t anchor* id(16)                        transaction records
    v key* timestamp(12, descending)        versions of user keys, the newest first

Numbers are big-endian. `key*` is escaped so that concatenation keeps the order: a zero byte becomes 00 ff, and 00 01
ends the key. Data isn't prefixed by its range: cutting a range in two moves nothing. Versions come last, because a
search for a key beyond all others goes on to what follows: after them there is nothing, whereas a thousand deleted
locks would have to be walked over.
"""

from __future__ import annotations

import struct

from ..timestamp import ENCODED_BYTES, Timestamp

STORE, RANGE, VERSION, LOCK, RECORD, REPLY, THRESHOLD = b"s", b"r", b"v", b"k", b"t", b"q", b"g"
DATA = (VERSION, LOCK, RECORD, REPLY, THRESHOLD)
"""Kinds of what lies under the user keys of a range, and belongs to whichever range holds them."""

STORE_IDENTITY = STORE + b"identity"
CLOCK_BOUND = STORE + b"clock-bound"
_TOMBSTONE = STORE + b"gone"

TRANSACTION_ID_BYTES = 16
SESSION_ID_BYTES = 16

_TERMINATOR = b"\x00\x01"
_U64 = struct.Struct(">Q")
_RANGE_ONE = struct.Struct(">cQc")
_LOG = struct.Struct(">cQcQ")
_TIMESTAMP = struct.Struct(">QI")


def escape(key: bytes) -> bytes:
    """Escaped and terminated: no result is a prefix of another, and they are ordered as the keys are."""
    return (key.replace(b"\x00", b"\x00\xff") if 0 in key else key) + _TERMINATOR


def unescape(escaped: bytes) -> bytes:
    """The inverse of `escape`."""
    if not escaped.endswith(_TERMINATOR):
        raise ValueError(f"an escaped key ends in 00 01, got {escaped!r}")
    return escaped[:-2].replace(b"\x00\xff", b"\x00")


def span(kind: bytes, start: bytes, end: bytes | None) -> tuple[bytes, bytes]:
    """Engine keys of one kind (VERSION, LOCK, RECORD) that belong to the user keys `[start, end)`; None: to the end."""
    low = kind + escape(start) if start else kind
    return low, (kind + escape(end) if end is not None else after(kind))


def after(prefix: bytes) -> bytes:
    """The smallest key after all that start with a one-byte prefix."""
    return bytes((prefix[0] + 1,))


# User data.


def version_prefix(key: bytes) -> bytes:
    return VERSION + escape(key)


def version_key(key: bytes, timestamp: Timestamp) -> bytes:
    return version_prefix(key) + _TIMESTAMP.pack(
        timestamp.wall_ns ^ 0xFFFFFFFFFFFFFFFF, timestamp.logical ^ 0xFFFFFFFF
    )


def split_version_key(encoded: bytes) -> tuple[bytes, Timestamp]:
    """User key and timestamp of a version's engine key."""
    return unescape(encoded[1:-ENCODED_BYTES]), split_version_timestamp(encoded)


def split_version_timestamp(encoded: bytes) -> Timestamp:
    """The timestamp alone."""
    wall_ns, logical = _TIMESTAMP.unpack_from(encoded, len(encoded) - ENCODED_BYTES)
    return Timestamp(wall_ns ^ 0xFFFFFFFFFFFFFFFF, logical ^ 0xFFFFFFFF)


def lock_key(key: bytes) -> bytes:
    return LOCK + escape(key)


def split_lock_key(encoded: bytes) -> bytes:
    return unescape(encoded[1:])


def record_key(anchor: bytes, transaction_id: bytes) -> bytes:
    assert len(transaction_id) == TRANSACTION_ID_BYTES, (
        f"a transaction's id has 16 bytes, got {transaction_id!r}"
    )
    return RECORD + escape(anchor) + transaction_id


def reply_key(key: bytes, session: bytes) -> bytes:
    assert len(session) == SESSION_ID_BYTES, f"a session's id has 16 bytes, got {session!r}"
    return REPLY + escape(key) + session


def split_reply_key(encoded: bytes) -> tuple[bytes, bytes]:
    """User key and session of a remembered reply's engine key."""
    return unescape(encoded[1:-SESSION_ID_BYTES]), encoded[-SESSION_ID_BYTES:]


def threshold_key(start: bytes) -> bytes:
    return THRESHOLD + escape(start)


# A range's own.


def tombstone_key(range_id: int) -> bytes:
    """There if a replica of the range was removed, see `ranges.tombstones`."""
    return _TOMBSTONE + _U64.pack(range_id)


def descriptor_key(range_id: int) -> bytes:
    return _RANGE_ONE.pack(RANGE, range_id, b"d")


def hard_state_key(range_id: int) -> bytes:
    return _RANGE_ONE.pack(RANGE, range_id, b"h")


def applied_key(range_id: int) -> bytes:
    return _RANGE_ONE.pack(RANGE, range_id, b"a")


def truncated_key(range_id: int) -> bytes:
    return _RANGE_ONE.pack(RANGE, range_id, b"t")


def log_key(range_id: int, index: int) -> bytes:
    return _LOG.pack(RANGE, range_id, b"z", index)


def log_span(range_id: int, first: int = 0, end: int | None = None) -> tuple[bytes, bytes]:
    """Engine keys of the entries `[first, end)`."""
    high = _RANGE_ONE.pack(RANGE, range_id, b"{") if end is None else log_key(range_id, end)
    return log_key(range_id, first), high


def split_log_key(encoded: bytes) -> tuple[int, int]:
    """Range and index of an entry's key."""
    _, range_id, _, index = _LOG.unpack(encoded)
    return range_id, index


def range_id_of(encoded: bytes) -> int:
    """The range that one of its own keys belongs to."""
    return int(_U64.unpack_from(encoded, 1)[0])


def descriptor_range(encoded: bytes) -> int | None:
    """The range whose descriptor this is the key of, or None for other keys: to find a store's ranges by one scan."""
    return range_id_of(encoded) if len(encoded) == 10 and encoded[9:] == b"d" else None
