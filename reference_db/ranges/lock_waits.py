"""Requests of one leader that met an intent and wait a moment for it to go, before their senders are told to push.

Most intents are gone a few milliseconds later, because their coordinator is at it. A sender that pushes at once makes
work for everybody: an entry in the log of the anchor's range to move the holder's timestamp, refreshes for the holder,
or a resolution that finds nothing any more. So a leader keeps the request until the intent is removed, and after a
tick or so (`StoreOptions.lock_wait_ticks`) gives it back, with the conflict that it would have answered at once.
CockroachDB's lock table waits 50 ms before it pushes, for the same reasons.

Whoever waits here holds no latches, or nobody could remove the intent. Transactions that wait for each other in a
circle do so until their time is up; then their pushes end it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from reference_db.api import IntentConflict, RangeReply
from reference_db.txn.command import Mutation, RemoveIntent

if TYPE_CHECKING:
    from reference_db.ranges.replica import Work


class LockWaits:
    """Who waits for which key."""

    __slots__ = ("_by_key", "_most_ticks", "_ticks", "waiting")

    def __init__(self, most_ticks: int) -> None:
        self._most_ticks = most_ticks
        self._ticks = 0
        self.waiting: dict[int, tuple[int, Work, RangeReply]] = {}
        """In the order in which they came: at which tick, the request, and the conflict that it is answered with if
        nothing happens."""
        self._by_key: dict[bytes, list[Work]] = {}

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, work: Work, reply: RangeReply) -> None:
        """It waits for the first of the intents in the way; whether the others have gone by then is seen when it is."""
        assert isinstance(reply.error, IntentConflict), f"{reply} names no intent to wait for"
        self.waiting[id(work)] = (self._ticks, work, reply)
        self._by_key.setdefault(reply.error.conflicts[0].key, []).append(work)

    def freed_by(self, mutations: Iterable[Mutation]) -> list[Work]:
        """The intents that these mutations remove are gone: who may try again, in the order in which they came."""
        freed: list[Work] = []
        for mutation in mutations:
            if isinstance(mutation, RemoveIntent):
                freed += self._by_key.pop(mutation.key, ())
        for work in freed:
            del self.waiting[id(work)]
        return freed

    def tick(self) -> list[tuple[Work, RangeReply]]:
        """One tick passes: whose time is up, with their conflicts."""
        self._ticks += 1
        late = [one for one in self.waiting.values() if one[0] + self._most_ticks <= self._ticks]
        for _, work, reply in late:
            del self.waiting[id(work)]
            assert isinstance(reply.error, IntentConflict)
            key = reply.error.conflicts[0].key
            self._by_key[key].remove(work)
            if not self._by_key[key]:
                del self._by_key[key]
        return [(work, reply) for _, work, reply in late]

    def take_all(self) -> list[Work]:
        """Nobody is waited for any longer."""
        everybody = [work for _, work, _ in self.waiting.values()]
        self.waiting.clear()
        self._by_key.clear()
        return everybody
