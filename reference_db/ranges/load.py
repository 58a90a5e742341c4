"""How much a range is asked for, and for which keys: what its leader counts while it is served."""

from __future__ import annotations

from reference_db.api import RangeRequest, spans_of

KEYS_KEPT = 64
EVERY = 3
"""Of the requests every third leaves its key: not in step with clients that do two things in turn."""


class RangeLoad:
    """Requests of one range at one replica."""

    __slots__ = ("_at", "_keys", "_seen", "looks")

    def __init__(self) -> None:
        self._seen = 0
        self._at = 0
        self._keys: list[bytes] = []
        self.looks = 0
        """For its owner: how many looks in a row have found too much."""

    def note(self, request: RangeRequest) -> None:
        """A request came."""
        self._seen += 1
        if self._seen % EVERY == 0:
            key = spans_of(request)[0][0]
            if len(self._keys) < KEYS_KEPT:
                self._keys.append(key)
            else:
                self._keys[self._at % KEYS_KEPT] = key
            self._at += 1

    def take(self) -> int:
        """How many came since this was last asked."""
        seen, self._seen = self._seen, 0
        return seen

    @property
    def keys(self) -> list[bytes]:
        """Of the latest requests."""
        return list(self._keys)
