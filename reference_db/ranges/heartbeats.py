"""What a node has to say to another about all their common ranges at rest: one envelope, whatever their number.

Heartbeats of all ranges that it leads and that are awake leave at the same ticks; the answers to those of an envelope
leave in one envelope too. So `N (N - 1)` of them pass between N nodes in an interval, each way, with one range or with
ten thousand. CockroachDB coalesces heartbeats in this way; TiKV and etcd's raft leave it to the connection.

    n1 leads ranges 1, 4, 7, ...          n1 -> n2: [1 term commit round, 4 term commit round, 7 ...]
    n2 follows in all of them             n2 -> n1: [1 term round, 4 term round, 7 ...]
"""

from __future__ import annotations

import msgspec


class Heartbeats(msgspec.Struct, frozen=True, array_like=True):
    """The content of an envelope. Flat rows of numbers, because there may be thousands."""

    beats: tuple[int, ...] = ()
    """Four numbers a range that the sender leads: its id, the term, how far the receiver may commit, and the round of
    reads that is asked for (0: none)."""
    answers: tuple[int, ...] = ()
    """Three numbers a range that the sender follows in: its id, the term, and the round of reads that is answered; or
    `WAKE_UP`."""
    sleeps: tuple[int, ...] = ()
    """Three numbers a range that the sender leads: its id, the term, and the index of the last entry, which is
    committed. It sleeps from now on, and so may the receiver."""


BEAT_NUMBERS = 4
ANSWER_NUMBERS = 3
SLEEP_NUMBERS = 3
WAKE_UP = -1
"""In place of a round: the sender is awake, and so should its leader be."""


class HeartbeatOutbox:
    """What waits to leave, by node."""

    __slots__ = ("_answers", "_beats", "_sleeps")

    def __init__(self) -> None:
        self._beats: dict[str, list[int]] = {}
        self._answers: dict[str, list[int]] = {}
        self._sleeps: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._beats or self._answers or self._sleeps)

    def beat(self, node: str, range_id: int, term: int, commit: int, number: int) -> None:
        """A heartbeat of a range that is led here."""
        self._beats.setdefault(node, []).extend((range_id, term, commit, number))

    def answer(self, node: str, range_id: int, term: int, number: int) -> None:
        """The answer to one."""
        self._answers.setdefault(node, []).extend((range_id, term, number))

    def sleep(self, node: str, range_id: int, term: int, last: int) -> None:
        """A range that is led here goes to sleep."""
        self._sleeps.setdefault(node, []).extend((range_id, term, last))

    def nodes(self) -> set[str]:
        """For whom there is something."""
        return self._beats.keys() | self._answers.keys() | self._sleeps.keys()

    def take(self, node: str) -> Heartbeats | None:
        """What there is for a node; it waits no longer."""
        if not (self._beats or self._answers or self._sleeps):
            return None
        rows = [tuple(waiting.pop(node, ())) for waiting in (self._beats, self._answers, self._sleeps)]
        return Heartbeats(*rows) if any(rows) else None
