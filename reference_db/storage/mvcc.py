"""Versions of keys, each with its timestamp: written once, read at any time.

Rules that live here: a key's versions are written in the order of their timestamps (evaluation sees to it; asserted
here as far as it is known); a deletion is a version without a value; an intent is no version; a version says which
transaction wrote it. Which versions nobody can see any more from a timestamp on is found here too (`Mvcc.unseen`), and
may be dropped, the older ones of a key first. Nothing in this file knows about ranges, leaders, or the present time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

import msgspec

from ..timestamp import ENCODED_BYTES, MAX_TIMESTAMP, ZERO, Timestamp
from . import keys
from .engine import Reader, WriteBatch

_LIVE, _TOMBSTONE = b"\x01", b"\x00"
_LIVE_OF, _TOMBSTONE_OF = b"\x03", b"\x02"
"""The same, followed by the transaction that wrote it."""
_PASSED_AT_MOST = 8
"""How many older versions of a key a scan walks over before it seeks the next key: a seek costs as much."""


class Version(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One version of a key; without a value it is a deletion."""

    timestamp: Timestamp
    value: bytes | None
    writer: bytes = b""
    """The transaction that wrote it; empty for a write outside of transactions."""


class Unseen(msgspec.Struct, frozen=True, gc=False):
    """Versions that no reader at or above a timestamp can see."""

    versions: tuple[tuple[bytes, Timestamp], ...]
    """By key and timestamp; no deletion without all that is beneath it."""
    resume: bytes | None
    """The key to go on with; None if the span is exhausted."""


class Scanned(msgspec.Struct, frozen=True, gc=False):
    """What a scan has found."""

    pairs: tuple[tuple[bytes, bytes], ...]
    """Live keys in the order of the scan."""
    newest: Timestamp
    """Largest timestamp of any version (also deletions, also above the scan's timestamp) of the keys passed."""
    newest_key: bytes
    """A key with that version."""
    resume: bytes | None
    """Where to continue: the start of what is left (its end, if reverse); None if the span is exhausted."""


class Mvcc:
    """The versions in one engine, with a bounded memory of the newest one of recently used keys.

    The memory can't be wrong: every version passes through `put_version`, in the order of its key's timestamps, and
    `forget` is called when data comes or goes in another way (a snapshot). It may be ahead of the engine by the batch
    that is being filled; whoever reads in between sees the newer state, which is what applying in order means.
    """

    __slots__ = ("_limit", "_newest", "_reader")

    def __init__(self, reader: Reader, remember: int = 10_000) -> None:
        self._reader = reader
        self._newest: OrderedDict[bytes, Version] = OrderedDict()
        self._limit = remember

    def newest(self, key: bytes) -> Version | None:
        """The newest version of a key, deletions included; None if it was never written."""
        known = self._newest.get(key)
        if known is not None:
            return known
        prefix = keys.version_prefix(key)
        found = self._reader.first(prefix, prefix[:-1] + b"\x02")
        if found is None:
            return None
        version = decode_version(keys.split_version_key(found[0])[1], found[1])
        self._remember(key, version)
        return version

    def get(self, key: bytes, timestamp: Timestamp = MAX_TIMESTAMP) -> Version | None:
        """The newest version at or below a timestamp, deletions included."""
        known = self._newest.get(key)
        if known is not None and known.timestamp <= timestamp:
            return known
        prefix = keys.version_prefix(key)
        found = self._reader.first(keys.version_key(key, timestamp), prefix[:-1] + b"\x02")
        return None if found is None else decode_version(keys.split_version_key(found[0])[1], found[1])

    def scan(
        self,
        start: bytes,
        end: bytes | None,
        timestamp: Timestamp = MAX_TIMESTAMP,
        limit: int = 0,
        reverse: bool = False,
    ) -> Scanned:
        """Live keys of `[start, end)` at a timestamp, at most `limit` (0: all)."""
        found: list[tuple[bytes, bytes]] = []
        newest, newest_key = ZERO, b""
        for key, at, version in self._heads(start, end, timestamp, reverse):
            if limit and len(found) == limit:
                # The first key that isn't looked at, or, backwards, the last one that was.
                resume = found[-1][0] if reverse else key
                return Scanned(tuple(found), newest, newest_key, resume)
            if at > newest:
                newest, newest_key = at, key
            if version is not None and version.value is not None:
                found.append((key, version.value))
        return Scanned(tuple(found), newest, newest_key, None)

    def first_newer(
        self, start: bytes, end: bytes | None, since: Timestamp, until: Timestamp
    ) -> bytes | None:
        """A key of `[start, end)` with a version in `(since, until]`, or None: what a refresh asks."""
        if end is not None and end == start + b"\x00":
            version = self.get(start, until)
            return start if version is not None and version.timestamp > since else None
        for key, _, version in self._heads(start, end, until, reverse=False):
            if version is not None and version.timestamp > since:
                return key
        return None

    def _heads(
        self, start: bytes, end: bytes | None, timestamp: Timestamp, reverse: bool
    ) -> Iterator[tuple[bytes, Timestamp, Version | None]]:
        """Each key of a span, the timestamp of its newest version, and its version at `timestamp`. A key with many
        versions costs no more than a few: the rest is jumped over."""
        low, high = keys.span(keys.VERSION, start, end)
        if reverse:
            while True:
                last = next(self._reader.scan(low, high, reverse=True), None)
                if last is None:
                    return
                key = keys.split_version_key(last[0])[0]
                newest = self.newest(key)
                assert newest is not None, f"{key!r} has a version that can't be found"
                yield key, newest.timestamp, self.get(key, timestamp)
                high = last[0][:-ENCODED_BYTES]
        while True:
            prefix, passed = b"", 0
            for encoded, raw in self._reader.scan(low, high):
                if encoded[:-ENCODED_BYTES] == prefix:
                    passed += 1
                    if passed == _PASSED_AT_MOST:
                        break
                    continue
                prefix, passed = encoded[:-ENCODED_BYTES], 0
                key, at = keys.split_version_key(encoded)
                yield key, at, decode_version(at, raw) if at <= timestamp else self.get(key, timestamp)
            else:
                return
            low = prefix[:-1] + b"\x02"

    def unseen(
        self,
        start: bytes,
        end: bytes | None,
        threshold: Timestamp,
        most: int,
        *,
        keep: Callable[[bytes], bool] = lambda _key: False,
    ) -> Unseen:
        """At most `most` versions of `[start, end)` that nobody who reads at or above `threshold` can see: those with a
        newer one at or below it, and a deletion with nothing older beneath it. Keys that are to be kept are passed
        over. It looks at ten times `most` versions at most."""
        found: list[tuple[bytes, Timestamp]] = []
        looked, current, kept = 0, b"", False
        base: tuple[bytes, Timestamp] | None = None
        """The key's version at the threshold, if it is a deletion."""
        has_base = False
        for encoded, raw in self._reader.scan(*keys.span(keys.VERSION, start, end)):
            key, at = keys.split_version_key(encoded)
            looked += 1
            if key != current:
                if base is not None:
                    found.append(base)
                if len(found) >= most or looked > 10 * most:
                    return Unseen(tuple(found), key)
                current, kept, base, has_base = key, keep(key), None, False
            if kept or at > threshold:
                continue
            if has_base:
                if len(found) >= most:
                    # Its oldest ones are not known yet, so a deletion above them stays as well.
                    return Unseen(tuple(found), key)
                found.append((key, at))
            else:
                has_base = True
                base = (key, at) if raw[:1] in (_TOMBSTONE, _TOMBSTONE_OF) else None
        if base is not None:
            found.append(base)
        return Unseen(tuple(found), None)

    def versions(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, Version]]:
        """Every version of a span, key by key, the newest first."""
        for encoded, raw in self._reader.scan(*keys.span(keys.VERSION, start, end)):
            key, at = keys.split_version_key(encoded)
            yield key, decode_version(at, raw)

    def drop_version(self, batch: WriteBatch, key: bytes, timestamp: Timestamp) -> None:
        """Remove a version that nobody can see any more."""
        known = self._newest.get(key)
        if known is not None and known.timestamp == timestamp:
            del self._newest[key]
        batch.delete(keys.version_key(key, timestamp))

    def put_version(
        self, batch: WriteBatch, key: bytes, timestamp: Timestamp, value: bytes | None, writer: bytes = b""
    ) -> None:
        """Add a version (None deletes) of a transaction; it becomes the key's newest."""
        known = self._newest.pop(key, None)
        assert known is None or timestamp > known.timestamp, (
            f"version of {key!r} at {timestamp} isn't above the newest, {known and known.timestamp}"
        )
        version = Version(timestamp, value, writer)
        batch.put(keys.version_key(key, timestamp), encode_version(version))
        self._remember(key, version)

    def forget_from(self, start: bytes) -> None:
        """The keys from this one on are somebody else's now."""
        for key in [key for key in self._newest if key >= start]:
            del self._newest[key]

    def forget(self) -> None:
        """The engine's data has changed in another way."""
        self._newest.clear()

    def _remember(self, key: bytes, version: Version) -> None:
        newest = self._newest
        if len(newest) >= self._limit:
            newest.popitem(last=False)
        newest[key] = version


def encode_version(version: Version) -> bytes:
    """A version as it lies under its key and timestamp."""
    value, writer = version.value, version.writer
    if not writer:
        return _TOMBSTONE if value is None else _LIVE + value
    assert len(writer) == keys.TRANSACTION_ID_BYTES, f"a transaction's id has 16 bytes, got {writer!r}"
    return _TOMBSTONE_OF + writer if value is None else _LIVE_OF + writer + value


def decode_version(timestamp: Timestamp, raw: bytes) -> Version:
    """The inverse of `encode_version`."""
    kind = raw[:1]
    if kind == _LIVE:
        return Version(timestamp, raw[1:])
    if kind == _TOMBSTONE:
        return Version(timestamp, None)
    end = 1 + keys.TRANSACTION_ID_BYTES
    return Version(timestamp, raw[end:] if kind == _LIVE_OF else None, raw[1:end])
