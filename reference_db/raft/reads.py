"""Linearizable reads without a log entry: requests that wait, and rounds of heartbeats that confirm them.

A leader notes its commit index, sends a round of heartbeats, and once a quorum has answered it knows that it still
led when the round was sent (thesis 6.4). All requests of a turn share one round. A round's context is
`(term, number)`: a term has one leader and numbers only grow, so no context is ever used twice and an answer to an
old round, however late, can't confirm a newer one.

A follower asks its leader under a token of its own, `(incarnation, number)`, and keeps what it stands for to itself: an
answer that comes late, twice, or to a question from before a restart fits no token and is ignored.

Nothing in this file sends anything; the owner of the queue does.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from . import quorum
from .membership import Configuration

_CONTEXT = struct.Struct(">QQ")
_MAX_QUESTIONS = 1024
"""Questions to the leader without an answer; beyond it the oldest counts as lost."""


def context_of(term: int, number: int) -> bytes:
    """What a round's heartbeats carry; nothing for number 0."""
    return _CONTEXT.pack(term, number) if number else b""


def number_of(context: bytes) -> int:
    """A round's number; 0 for what is no round's context."""
    return _CONTEXT.unpack(context)[1] if len(context) == _CONTEXT.size else 0


class ReadRequest(NamedTuple):
    """Reads that came together: the owner's contexts, or one token of a follower; handed back with the answer."""

    source: int
    contexts: tuple[bytes, ...]


class Round(NamedTuple):
    """One round of heartbeats. `commit` was the commit index, `tick` the leader's tick count, when it was sent."""

    number: int
    commit: int
    tick: int
    requests: tuple[ReadRequest, ...]


class ReadQueue:
    """The reads of one member. Numbers of rounds go on across terms, for as long as the node lives."""

    __slots__ = ("_acked", "_incarnation", "_number", "_questions", "_rounds", "confirmed_tick", "waiting")

    def __init__(self, incarnation: int) -> None:
        self._incarnation = incarnation
        """A random number of 64 bits, different after every restart."""
        self._questions: dict[bytes, tuple[bytes, ...]] = {}
        """By token: what a follower has asked its leader and not heard of, oldest first."""
        self._number = 0
        self._rounds: list[Round] = []
        """Sent and not yet confirmed, oldest first."""
        self._acked: dict[int, int] = {}
        """By node: the highest round it answered in this leader's term."""
        self.waiting: list[ReadRequest] = []
        """Asked and not yet part of a round: the leader may still lack a commit in its term."""
        self.confirmed_tick = -1
        """When the newest confirmed round was sent, in the leader's ticks; -1 before the first one."""

    def ask(self, source: int, contexts: tuple[bytes, ...]) -> None:
        self.waiting.append(ReadRequest(source, contexts))

    def open_round(self, term: int, commit: int, tick: int) -> bytes:
        """Everything that waits goes into a new round. Returns its context for the heartbeats."""
        self._number += 1
        self._rounds.append(Round(self._number, commit, tick, tuple(self.waiting)))
        self.waiting.clear()
        return _CONTEXT.pack(term, self._number)

    def newest_context(self, term: int) -> bytes:
        """Context of the newest unconfirmed round, empty if all are confirmed: ordinary heartbeats carry it too, so
        a lost round is repeated."""
        return _CONTEXT.pack(term, self._rounds[-1].number) if self._rounds else b""

    def acknowledge(
        self, node: int, context: bytes, term: int, self_id: int, configuration: Configuration
    ) -> list[Round]:
        """A heartbeat's response. Returns the rounds that a quorum has now answered, oldest first.

        An answer to a round confirms every earlier one as well: the node still followed when it gave it.
        """
        if len(context) != _CONTEXT.size:
            return []
        sent_in, number = _CONTEXT.unpack(context)
        if sent_in != term or number <= self._acked.get(node, 0) or number > self._number:
            return []
        self._acked[node] = number
        return self.confirm(self_id, configuration)

    def confirm(self, self_id: int, configuration: Configuration) -> list[Round]:
        """The rounds that a quorum of this configuration has answered, taken from the queue, oldest first."""
        rounds = self._rounds
        if not rounds:
            return []
        self._acked[self_id] = self._number
        done = quorum.joint_committed(configuration.voters, configuration.outgoing, self._acked)
        confirmed: list[Round] = []
        for one in rounds:
            if one.number > done:
                break
            confirmed.append(one)
        if confirmed:
            del rounds[: len(confirmed)]
            self.confirmed_tick = confirmed[-1].tick
        return confirmed

    def ask_leader(self, self_id: int) -> tuple[bytes, list[bytes]]:
        """A follower's waiting reads become one question. Returns its token, and contexts that are given up for it."""
        self._number += 1
        token = _CONTEXT.pack(self._incarnation, self._number)
        mine = [
            context for request in self.waiting if request.source == self_id for context in request.contexts
        ]
        self._questions[token] = tuple(mine)
        self.waiting.clear()
        lost: list[bytes] = []
        if len(self._questions) > _MAX_QUESTIONS:
            lost.extend(self._questions.pop(next(iter(self._questions))))
        return token, lost

    def leader_answered(self, token: bytes) -> tuple[bytes, ...]:
        """The contexts behind a question; none if it isn't open any more."""
        return self._questions.pop(token, ())

    def drop(self, self_id: int) -> list[bytes]:
        """Leadership or leader is lost: forget everything. Returns this node's own contexts that stay unanswered."""
        lost = [
            context
            for group in (*(round_.requests for round_ in self._rounds), self.waiting)
            for request in group
            if request.source == self_id
            for context in request.contexts
        ]
        lost += [context for contexts in self._questions.values() for context in contexts]
        self._questions.clear()
        self._rounds.clear()
        self._acked.clear()
        self.waiting.clear()
        self.confirmed_tick = -1
        return lost

    @property
    def idle(self) -> bool:
        return not self.waiting and not self._rounds and not self._questions
