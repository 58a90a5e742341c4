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
    """Three numbers a range that the sender follows in: its id, the term, and the round of reads that is answered."""


BEAT_NUMBERS = 4
ANSWER_NUMBERS = 3


class HeartbeatOutbox:
    """What waits to leave, by node."""

    __slots__ = ("_answers", "_beats")

    def __init__(self) -> None:
        self._beats: dict[str, list[int]] = {}
        self._answers: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._beats or self._answers)

    def beat(self, node: str, range_id: int, term: int, commit: int, number: int) -> None:
        """A heartbeat of a range that is led here."""
        self._beats.setdefault(node, []).extend((range_id, term, commit, number))

    def answer(self, node: str, range_id: int, term: int, number: int) -> None:
        """The answer to one."""
        self._answers.setdefault(node, []).extend((range_id, term, number))

    def nodes(self) -> set[str]:
        """For whom there is something."""
        return self._beats.keys() | self._answers.keys()

    def take(self, node: str) -> Heartbeats | None:
        """What there is for a node; it waits no longer."""
        beats, answers = self._beats.pop(node, ()), self._answers.pop(node, ())
        if not beats and not answers:
            return None
        return Heartbeats(tuple(beats), tuple(answers))
