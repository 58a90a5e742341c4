"""Small clusters for tests that tell a story: members with a given log, a network that delivers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from reference_db.raft import (
    Config,
    ConfState,
    Entry,
    HardState,
    MemoryLogStore,
    Message,
    MessageKind,
    RaftGroup,
    ReadState,
    Snapshot,
)


def entries_of(terms: Iterable[int], first: int = 1) -> list[Entry]:
    """Empty entries with these terms, from index `first` on."""
    return [Entry(term, index) for index, term in enumerate(terms, first)]


class Member:
    """One group with its own store. Its log starts at index 1, so a test can write logs as lists of terms."""

    def __init__(
        self,
        node_id: int = 1,
        voters: Iterable[int] = (1, 2, 3),
        log: Iterable[int] = (),
        *,
        term: int = 0,
        vote: int = 0,
        commit: int = 0,
        learners: Iterable[int] = (),
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.store = MemoryLogStore()
        self.store.restore(Snapshot(0, 0, ConfState(voters=tuple(voters), learners=tuple(learners))))
        self.store.append(entries_of(log))
        self.store.set_hard_state(HardState(term or max(log, default=0), vote, commit))
        options = {"pre_vote": False, "check_quorum": False} | options
        self.config = Config(node_id=node_id, **options)
        self.group = RaftGroup(self.config, self.store, Random(seed * 100 + node_id))
        self.applied: list[Entry] = []
        self.read_states: list[ReadState] = []
        self.dropped_reads: list[bytes] = []
        self.saved: Snapshot | None = None

    @property
    def node_id(self) -> int:
        return self.config.node_id

    def turn(self) -> list[Message]:
        """One Ready, done completely. Returns what goes to others."""
        if not self.group.has_ready():
            return []
        ready = self.group.ready()
        if ready.snapshot is not None:
            self.store.restore(ready.snapshot)
        if ready.hard_state is not None:
            self.store.set_hard_state(ready.hard_state)
        self.store.append(ready.entries)
        self.applied += ready.committed_entries
        self.read_states += ready.read_states
        self.dropped_reads += ready.dropped_reads
        self.group.advance(ready)
        return [*ready.messages, *ready.messages_after_append]

    def messages(self) -> list[Message]:
        """Everything that leaves until nothing is left to do."""
        found: list[Message] = []
        while self.group.has_ready():
            found += self.turn()
        return found

    def kinds(self) -> list[tuple[MessageKind, int]]:
        """What leaves, as (kind, target)."""
        return [(message.kind, message.target) for message in self.messages()]

    def receive(self, kind: MessageKind, source: int, **fields: Any) -> None:
        fields.setdefault("term", self.group.term)
        self.group.step(Message(kind, self.node_id, source, **fields))

    def lead(self) -> Member:
        """Become leader by the votes of everybody else."""
        self.group.campaign()
        self.messages()
        for voter in self.group.conf_state.voters:
            if voter != self.node_id:
                self.receive(MessageKind.VOTE_RESPONSE, voter)
        self.messages()
        assert self.group.is_leader
        return self

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.group.tick()

    def log_terms(self) -> list[int]:
        log = self.group.core.log
        return [log.term(index) for index in range(log.first_index, log.last_index + 1)]


class Cluster:
    """Members and a network without delay. `cut` names directed links that lose everything."""

    def __init__(self, *members: Member) -> None:
        self.members = {member.node_id: member for member in members}
        self.cut: set[tuple[int, int]] = set()
        self.lose: Callable[[Message], bool] = lambda message: False
        self.delivered: list[Message] = []

    @classmethod
    def of(cls, size: int, **options: Any) -> Cluster:
        voters = tuple(range(1, size + 1))
        return cls(*(Member(node_id, voters, **options) for node_id in voters))

    def __getitem__(self, node_id: int) -> RaftGroup:
        return self.members[node_id].group

    def settle(self) -> None:
        """Deliver until nothing moves any more."""
        moving = True
        while moving:
            moving = False
            for member in self.members.values():
                for message in member.turn():
                    moving = True
                    self.send(message)
                moving = moving or member.group.has_ready()

    def send(self, message: Message) -> None:
        lost = (message.source, message.target) in self.cut or self.lose(message)
        if not lost and message.target in self.members:
            self.delivered.append(message)
            self[message.target].step(message)

    def elect(self, node_id: int) -> None:
        self[node_id].campaign()
        self.settle()

    def isolate(self, node_id: int) -> None:
        for other in self.members:
            self.cut |= {(node_id, other), (other, node_id)}

    def heal(self) -> None:
        self.cut.clear()

    def tick(self, count: int = 1) -> None:
        """Everybody ticks, and messages flow after each tick."""
        for _ in range(count):
            for member in self.members.values():
                member.group.tick()
            self.settle()

    def leaders(self) -> list[int]:
        return [node_id for node_id in self.members if self[node_id].is_leader]
