"""A group under random trouble, with the invariants of one Raft group checked after every step.

Nodes run in turns like a real owner: take a Ready, write it, send, sync, send promises, apply, advance; each of
these is a step of its own, so a crash may fall between any two. A disk knows what is synced; a crash keeps that and
a random part of what was written after it, in order. The network drops, repeats, delays and reorders.

All entropy comes from one seed.
"""

from __future__ import annotations

import contextlib
import copy
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from reference_db.raft import (
    ChangeKind,
    ConfChange,
    Config,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    MemoryLogStore,
    Message,
    MessageKind,
    NodeChange,
    ProposalDropped,
    RaftGroup,
    Ready,
    Role,
    Snapshot,
    Transition,
    decode_conf_change,
)
from reference_db.raft.quorum import VoteResult, joint_vote

TROUBLE = {
    "deliver": (500, 500),
    "turn": (400, 400),
    "tick": (90, 90),
    "propose": (15, 0),
    "read": (15, 0),
    "crash": (2, 0),
    "start": (12, 0),
    "change": (3, 0),
    "compact": (6, 0),
    "transfer": (2, 0),
    "forget": (1, 0),
    "report": (1, 0),
}
"""What may happen, and how often: in trouble, and when it is calm."""
HAPPENINGS = tuple(TROUBLE)
WEIGHTS = [weight for weight, _ in TROUBLE.values()]
CALM_WEIGHTS = [weight for _, weight in TROUBLE.values()]

Operation = Callable[["Disk"], None]


class Disk(MemoryLogStore):
    """A log store with a state machine beside it: the state is a checksum over everything applied."""

    def __init__(self) -> None:
        super().__init__()
        self.applied = 0
        self.state = 0
        self.members = ConfState()

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._hard_state, self.members

    def snapshot(self) -> Snapshot:
        return Snapshot(self.applied, self.term(self.applied), self.members, str(self.state).encode())

    def install(self, snapshot: Snapshot) -> None:
        self.restore(snapshot)
        self.applied, self.members, self.state = snapshot.index, snapshot.conf_state, int(snapshot.data)

    def holds(self, index: int, term: int) -> bool:
        """Whether an entry is in the log, or in the state that replaced it."""
        return index < self.first_index() or (index <= self.last_index() and self.term(index) == term)

    def clone(self) -> Disk:
        twin = copy.copy(self)
        twin._entries = list(self._entries)
        return twin


@dataclass
class Node:
    config: Config
    written: Disk
    """What the running node sees."""
    synced: Disk
    """What certainly survives a crash."""
    group: RaftGroup | None = None
    unsynced: list[Operation] = field(default_factory=list)
    stages: list[Callable[[], None]] = field(default_factory=list)
    """What is left of the current turn, or of the storage threads' work."""

    def write(self, operation: Operation) -> None:
        operation(self.written)
        self.unsynced.append(operation)

    def sync(self) -> None:
        for operation in self.unsynced:
            operation(self.synced)
        self.unsynced.clear()


class Simulation:
    """Nodes 1 to 5, of which the first three start as voters; the others join by membership changes."""

    def __init__(self, seed: int, *, lockstep: bool = False, changes: bool = True, **options: Any) -> None:
        self.random = Random(seed)
        self.lockstep = lockstep
        """Nodes tick at the same rate, as leases assume; else each ticks when it likes."""
        self.changes = changes
        self.network: list[Message] = []
        self.nodes: dict[int, Node] = {}
        self.leaders: dict[int, int] = {}
        self.votes: dict[tuple[int, int], int] = {}
        self.committed: dict[int, tuple[int, bytes]] = {1: (1, b"")}
        self.commit = 1
        """Highest index that any node knew as committed."""
        self.identities: dict[tuple[int, int], tuple[int, bytes]] = {}
        self.states: dict[int, int] = {}
        self.seen: dict[int, tuple[int, int, int]] = {}
        self.floors: dict[bytes, int] = {}
        self.counts: dict[str, int] = {}
        self.proposed = 0
        self.asked = 0
        first = Snapshot(1, 1, ConfState(voters=(1, 2, 3)), b"0")
        for node_id in range(1, 6):
            written, synced = Disk(), Disk()
            if node_id <= 3:
                written.install(first)
                synced.install(first)
            config = Config(
                node_id=node_id,
                election_ticks=6,
                heartbeat_ticks=2,
                snapshot_ticks=30,
                tail_entries=4,
                tail_bytes=100,
                **options,
            )
            self.nodes[node_id] = Node(config, written, synced)
            self.start(node_id)

    def count(self, mark: str) -> None:
        self.counts[mark] = self.counts.get(mark, 0) + 1

    # A node's life.

    def start(self, node_id: int) -> None:
        node = self.nodes[node_id]
        node.group = RaftGroup(
            node.config, node.written, Random(self.random.random()), applied=node.written.applied
        )
        self.seen.setdefault(node_id, (0, 0, 0))
        term, _, _ = self.seen[node_id]
        assert node.group.term >= term, f"node {node_id} restarted in term {node.group.term}, promised {term}"
        self.seen[node_id] = (node.group.term, 0, 0)

    def crash(self, node_id: int) -> None:
        node = self.nodes[node_id]
        node.group = None
        node.stages.clear()
        for operation in node.unsynced[: self.random.randint(0, len(node.unsynced))]:
            operation(node.synced)
        node.unsynced.clear()
        node.written = node.synced.clone()
        self.seen[node_id] = (node.synced.initial_state()[0].term, 0, 0)
        self.count("crash")

    def take_turn(self, node_id: int) -> None:
        """One stage of the current turn, or the start of a new one."""
        node = self.nodes[node_id]
        if node.group is None:
            return
        # With asynchronous storage a next Ready may be taken while earlier ones are under way.
        pipelined = node.config.async_storage_writes and self.random.random() < 0.4
        if node.stages and not pipelined:
            node.stages.pop(0)()
            return
        if not node.group.has_ready():
            return
        if node.stages:
            self.count("pipelined")
        ready = node.group.ready()
        self._check_appended(node, ready.entries)
        if node.config.async_storage_writes:
            self._plan_storage_work(node, ready)
        else:
            self._plan_turn(node, node.group, ready)
        for state in ready.read_states:
            floor = self.floors.pop(state.context)
            assert state.index >= floor, (
                f"node {node_id} may serve {state.context!r} at {state.index}, but {floor} was committed before"
            )
            self.count("read")
        for context in ready.dropped_reads:
            self.floors.pop(context)
            self.count("dropped read")

    def _plan_turn(self, node: Node, group: RaftGroup, ready: Ready) -> None:
        def write() -> None:
            self._write(node, ready.hard_state, ready.entries, ready.snapshot)
            self._send(ready.messages)

        def sync() -> None:
            if ready.must_sync or ready.snapshot is not None:
                node.sync()

        def promise() -> None:
            self._send(ready.messages_after_append)

        def apply() -> None:
            self._apply(node, group, ready.committed_entries)

        node.stages += [write, *self.order_of_sync(sync, promise), apply, lambda: group.advance(ready)]

    def order_of_sync(
        self, sync: Callable[[], None], promise: Callable[[], None]
    ) -> list[Callable[[], None]]:
        """The rule that everything rests on. Tests of the tests break it."""
        return [sync, promise]

    def _plan_storage_work(self, node: Node, ready: Ready) -> None:
        group = node.group
        assert group is not None
        for message in ready.messages:
            if message.kind == MessageKind.STORAGE_APPEND:
                node.stages.append(lambda m=message: self._append_work(node, group, m))
            elif message.kind == MessageKind.STORAGE_APPLY:
                node.stages.append(lambda m=message: self._apply_work(node, group, m))
            else:
                self._send([message])

    def _append_work(self, node: Node, group: RaftGroup, message: Message) -> None:
        hard_state = HardState(message.term, message.vote, message.commit)
        self._write(
            node, hard_state if hard_state != HardState() else None, message.entries, message.snapshot
        )
        node.sync()
        self._respond(group, message)

    def _apply_work(self, node: Node, group: RaftGroup, message: Message) -> None:
        self._apply(node, group, message.entries)
        self._respond(group, message)

    def _respond(self, group: RaftGroup, message: Message) -> None:
        for response in message.responses:
            if response.target == group.core.node_id:
                group.step(response)
                self.check(response.target)
            else:
                self._send([response])

    def _write(
        self, node: Node, hard_state: HardState | None, entries: tuple[Entry, ...], snapshot: Snapshot | None
    ) -> None:
        def write(disk: Disk) -> None:
            if snapshot is not None:
                disk.install(snapshot)
            if hard_state is not None:
                disk.set_hard_state(hard_state)
            disk.append(entries)

        node.write(write)
        if snapshot is not None:
            self.count("snapshot")

    def _apply(self, node: Node, group: RaftGroup, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            assert entry.index == node.written.applied + 1, (
                f"node {node.config.node_id} applies {entry.index} after {node.written.applied}"
            )
            state = zlib.crc32(entry.data + b"@%d" % entry.term, node.written.state)
            members = node.written.members
            if entry.kind != EntryKind.NORMAL:
                try:
                    members = group.apply_conf_change(decode_conf_change(entry))
                    self.count("change")
                except ValueError:
                    self.count("impossible change")
                self.check(node.config.node_id)

            def apply(
                disk: Disk, at: int = entry.index, state: int = state, members: ConfState = members
            ) -> None:
                disk.applied, disk.state, disk.members = at, state, members

            node.write(apply)
            assert self.states.setdefault(entry.index, state) == state, f"states diverge at {entry.index}"

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            if message.kind == MessageKind.VOTE_RESPONSE and not message.reject:
                key = (message.source, message.term)
                assert self.votes.setdefault(key, message.target) == message.target, (
                    f"node {message.source} votes twice in term {message.term}"
                )
            self.network.append(message)

    # Trouble.

    def step(self, *, calm: bool = False) -> None:
        """One random thing happens. `calm`: nothing bad."""
        (happening,) = self.random.choices(HAPPENINGS, CALM_WEIGHTS if calm else WEIGHTS)
        node_id = self.random.randint(1, 5)
        if happening in ("propose", "change", "transfer", "compact") and self.random.random() < 0.7:
            # Most of these are only of interest where they have an effect.
            node_id = next(
                (each for each, node in self.nodes.items() if node.group and node.group.is_leader), node_id
            )
        node = self.nodes[node_id]
        if happening == "deliver":
            self.deliver(calm)
        elif happening == "turn":
            self.take_turn(node_id)
        elif happening == "tick":
            if not self.lockstep or calm or node_id == 1:
                self.tick(node_id)
        elif happening == "propose":
            self.propose(node_id)
        elif happening == "read":
            self.read(node_id)
        elif happening == "crash":
            if node.group is not None:
                self.crash(node_id)
        elif happening == "start":
            if node.group is None:
                self.start(node_id)
        elif happening == "change":
            if self.changes:
                self.propose_change(node_id)
        elif happening == "compact":
            self.compact(node_id)
        elif node.group is None:
            pass
        elif happening == "transfer":
            node.group.transfer_leadership(self.random.randint(1, 5))
        elif happening == "forget":
            node.group.forget_leader()
        else:
            assert happening == "report", happening
            other = self.random.randint(1, 5)
            if self.random.random() < 0.5:
                node.group.report_unreachable(other)
            else:
                node.group.report_snapshot(other, self.random.random() < 0.5)
        self.check(node_id)

    def deliver(self, calm: bool) -> None:
        if not self.network:
            return
        position = self.random.randrange(min(len(self.network), 3 if calm else 30))
        message = self.network[position]
        draw = self.random.random()
        if calm or draw > 0.08:
            self.network.pop(position)
        if (calm or draw < 0.88) and (group := self.nodes[message.target].group) is not None:
            group.step(message)
            self.check(message.target)

    def tick(self, node_id: int) -> None:
        for each in sorted(self.nodes) if self.lockstep else [node_id]:
            group = self.nodes[each].group
            if group is not None:
                group.tick()

    def propose(self, node_id: int) -> None:
        group = self.nodes[node_id].group
        if group is None:
            return
        self.proposed += 1
        batch = [b"%d.%d" % (self.proposed, i) for i in range(self.random.randint(1, 3))]
        try:
            group.propose_many(batch)
            self.count("proposal")
        except ProposalDropped:
            pass

    def propose_change(self, node_id: int) -> None:
        group = self.nodes[node_id].group
        if group is None:
            return
        transition = self.random.choice(list(Transition))
        kinds = (ChangeKind.ADD_VOTER, ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER, ChangeKind.REMOVE)
        steps = tuple(
            NodeChange(self.random.choice(kinds), self.random.randint(1, 5))
            for _ in range(self.random.randint(0, 2))
        )
        change = ConfChange(steps, transition if steps else Transition.AUTO)
        with contextlib.suppress(ProposalDropped):
            group.propose_conf_change(change)

    def read(self, node_id: int) -> None:
        group = self.nodes[node_id].group
        if group is None:
            return
        self.asked += 1
        context = b"read %d" % self.asked
        self.floors[context] = self.commit
        group.read_index(context)

    def compact(self, node_id: int) -> None:
        node = self.nodes[node_id]
        disk = node.written
        if node.group is None or disk.applied <= disk.first_index():
            return
        # What the group knows as applied may be behind what the state machine has applied in this turn.
        index = self.random.randint(disk.first_index(), disk.applied)
        if index <= node.group.applied:
            node.write(lambda d: d.compact(index))
            node.group.compacted(index + 1)
            self.count("compaction")

    # Invariants.

    def _check_appended(self, node: Node, entries: tuple[Entry, ...]) -> None:
        """Log matching, by induction: (term, index) names one content, and one entry before it."""
        assert node.group is not None
        for entry in entries:
            before = node.group.core.log.term(entry.index - 1)
            identity = (before, entry.data)
            assert self.identities.setdefault((entry.term, entry.index), identity) == identity, (
                f"two different entries {entry.term}/{entry.index}"
            )

    def check(self, node_id: int) -> None:
        group = self.nodes[node_id].group
        if group is None:
            return
        core, log = group.core, group.core.log
        term, commit, applied = self.seen[node_id]
        assert core.term >= term
        assert log.committed >= commit
        assert log.applied >= applied
        assert log.first_index - 1 <= log.applied or log.snapshot is not None
        assert log.applied <= log.applying <= log.committed <= log.last_index
        assert log.stable <= log.in_progress <= log.last_index
        self.seen[node_id] = (core.term, log.committed, log.applied)
        if core.role == Role.LEADER and self.leaders.get(core.term) != node_id:
            assert core.term not in self.leaders, f"term {core.term} has two leaders"
            self.leaders[core.term] = node_id
            self.count("leader")
            self._check_complete(node_id, group)
        if group.lease_valid:
            assert core.term == max(self.leaders), (
                f"node {node_id} has a lease in term {core.term}: {self.leaders}"
            )
            self.count("lease")
        if log.committed > commit:
            self._check_committed(node_id, group, commit)

    def _check_complete(self, node_id: int, group: RaftGroup) -> None:
        log = group.core.log
        for index in range(max(log.first_index, 2), self.commit + 1):
            known = self.committed.get(index)
            if known is not None:
                assert log.term_or_zero(index) == known[0], (
                    f"leader {node_id} of term {group.term} lacks committed entry {index} of term {known[0]}"
                )

    def _check_committed(self, node_id: int, group: RaftGroup, before: int) -> None:
        log = group.core.log
        if group.is_leader:
            last = log.committed
            term = log.term(last)
            assert term == group.term, (
                f"leader of term {group.term} committed {last} of term {term} by counting"
            )
            configuration = group.core.peers.configuration
            held = {other: node.synced.holds(last, term) for other, node in self.nodes.items()}
            result = joint_vote(configuration.voters, configuration.outgoing, held)
            assert result is VoteResult.WON, f"{last} is committed in term {term} but durable only on {held}"
        for index in range(max(log.first_index, before + 1), log.committed + 1):
            (entry,) = log.entries(index, index + 1, 2**62)
            content = (entry.term, entry.data)
            known = self.committed.setdefault(index, content)
            assert known == content, f"entry {index} was committed as {known}, node {node_id} has {content}"
        self.commit = max(self.commit, log.committed)

    # The end.

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def heal_and_converge(self) -> None:
        """Everybody comes back, the network is good: the group must serve again, and agree."""
        for node_id, node in self.nodes.items():
            if node.group is None:
                self.start(node_id)
        for _ in range(400):
            self._calm_round()
            leader = self._leader()
            if leader is not None and leader.core.node_id not in leader.core.peers.progress:
                # Removed, and set to lead on: such a leader accepts nothing. Its owner shuts it down.
                self.crash(leader.core.node_id)
            elif leader is not None:
                try:
                    _, index = leader.propose(b"the end")
                    break
                except ProposalDropped:
                    continue
        else:
            raise AssertionError("no leader accepts proposals after everything was healed")
        term = leader.term
        for _ in range(400):
            self._calm_round()
            leader = self._leader()
            if leader is not None and leader.term > term:
                # Led away by a message from before: the entry may be gone, so propose again.
                try:
                    term, index = leader.propose(b"the end")[0], leader.last_index
                except ProposalDropped:
                    continue
            if leader is not None and self._all_applied(leader, index):
                return
        raise AssertionError(f"not everybody applied {index} after everything was healed")

    def _calm_round(self) -> None:
        for node_id in self.nodes:
            self.tick(node_id)
            if self.lockstep:
                break
        for _ in range(60):
            for node_id in self.nodes:
                self.take_turn(node_id)
            if not self.network:
                continue
            for _ in range(min(len(self.network), 40)):
                self.deliver(calm=True)
        for node_id in self.nodes:
            self.check(node_id)

    def _leader(self) -> RaftGroup | None:
        leaders = [
            node.group for node in self.nodes.values() if node.group is not None and node.group.is_leader
        ]
        return max(leaders, key=lambda group: group.term, default=None)

    def _all_applied(self, leader: RaftGroup, index: int) -> bool:
        members = leader.core.peers.configuration
        nodes = [self.nodes[node_id] for node_id in sorted(members.all_voters | members.learners)]
        return all(node.written.applied >= index for node in nodes)
