"""A stage for directed schedules: the members of one Raft group, a network in the hand of who tells the story.

Nothing happens by itself: a member moves when the story says `settle`, `campaign`, `propose` or `tick`; a message
arrives unless its link is cut or the story holds it back. After every move the stage compares what the members show:

- at most one member leads a term;
- an entry that a member knows as committed is the same on all of them, for ever, and in the log of every later leader;
- no commit index goes back, and no log holds a term below the one before it;
- a read is answered at an index not below what was committed anywhere when it was asked.

An assertion that breaks inside a member stops that member, as it would stop a node, and counts as found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from reference_db.raft import (
    ConfChange,
    Config,
    ConfState,
    Entry,
    EntryKind,
    MemoryLogStore,
    Message,
    RaftGroup,
    Snapshot,
    decode_conf_change,
)

PlantInGroup = Callable[[RaftGroup], None]

MOST_ROUNDS = 100
"""Of turns and messages after one move. A story settles within ten or so."""


def nothing(group: RaftGroup) -> None:
    """What is planted in the clean twin of a story."""


class Member:
    """One member: what its disk holds, and its group while it is up."""

    __slots__ = ("commit", "config", "group", "store")

    def __init__(self, config: Config, members: ConfState, disk: MemoryLogStore) -> None:
        self.config = config
        self.store = disk
        self.store.restore(Snapshot(0, 0, members))
        self.group: RaftGroup | None = None
        self.commit = 0
        """Its commit index when the stage last looked."""


class Stage:
    """One group. `plant` is called with every group that is made; `options` are those of `Config`."""

    def __init__(
        self,
        voters: Iterable[int],
        plant: PlantInGroup = nothing,
        *,
        others: Iterable[int] = (),
        disk: Callable[[], MemoryLogStore] = MemoryLogStore,
        **options: Any,
    ) -> None:
        """`others` are members-to-be: they are up, and know the voters. `disk` makes what each keeps its log on."""
        self._plant = plant
        members = ConfState(voters=tuple(voters))
        options = {"pre_vote": False, "check_quorum": False} | options
        self.members: dict[int, Member] = {
            number: Member(Config(node_id=number, **options), members, disk())
            for number in sorted({*members.voters, *others})
        }
        self.cut: set[tuple[int, int]] = set()
        """Links (source, target) that lose everything."""
        self.holds: Callable[[Message], bool] = lambda message: False
        """Which messages are held back; the story lets them go by `release`."""
        self.held: list[Message] = []
        self.violations: list[str] = []
        """What was broken, each sentence once, in the order in which it was seen."""
        self._leaders: dict[int, int] = {}
        self._committed: dict[int, tuple[int, bytes]] = {}
        """By index: term and data of what any member has known as committed."""
        self._floors: dict[bytes, int] = {}
        """By read: what was committed anywhere when it was asked."""
        self.answers: dict[bytes, int] = {}
        """By read: the index at which it was answered."""
        for number in self.members:
            self.start(number)

    # The life of a member.

    def start(self, number: int) -> None:
        """Start a member on what its disk holds."""
        member = self.members[number]
        assert member.group is None, f"member {number} is up already"
        member.group = RaftGroup(member.config, member.store, Random(number))
        member.commit = 0
        self._plant(member.group)

    def crash(self, number: int) -> None:
        """Stop a member. Its disk keeps what it has written; every turn's writes are synced."""
        self.members[number].group = None

    def group(self, number: int) -> RaftGroup:
        """A member's group; it must be up."""
        group = self.members[number].group
        assert group is not None, f"member {number} is down"
        return group

    # The network.

    def isolate(self, *numbers: int) -> None:
        """Cut all links between these members and the others."""
        self.cut = {
            (source, target)
            for source in self.members
            for target in self.members
            if (source in numbers) != (target in numbers)
        }

    def heal(self) -> None:
        """Mend all links; what was lost stays lost."""
        self.cut.clear()

    def lose(self) -> None:
        """What is held back never arrives, and nothing is held back any more."""
        self.holds = lambda message: False
        self.held.clear()

    def release(self) -> None:
        """Let go of what was held back, and let everything settle."""
        self.holds = lambda message: False
        held, self.held = self.held, []
        for message in held:
            self._deliver(message)
        self.settle()

    def send(self, message: Message) -> None:
        """Put a message on its way, as its sender would."""
        if self.holds(message):
            self.held.append(message)
        else:
            self._deliver(message)

    def _deliver(self, message: Message) -> None:
        target = self.members[message.target]
        if (message.source, message.target) in self.cut or target.group is None:
            return
        group = target.group
        self._guarded(message.target, lambda: group.step(message))

    # What the story does.

    def campaign(self, number: int) -> None:
        """A member's election timeout passes; then everything settles."""
        self.group(number).campaign()
        self.settle()

    def elect(self, number: int) -> None:
        """A member campaigns until it leads; it may have to pass terms that others have voted in."""
        for _ in range(4):
            self.campaign(number)
            if self.group(number).is_leader:
                return
        raise AssertionError(f"member {number} does not win: {self.group(number).status()}")

    def propose(self, number: int, data: bytes) -> int:
        """A leader takes an entry into its log, and everything settles. Returns its index."""
        _, index = self.group(number).propose(data)
        self.settle()
        return index

    def change(self, number: int, change: ConfChange) -> None:
        """A leader proposes a membership change, and everything settles."""
        self.group(number).propose_conf_change(change)
        self.settle()

    def read(self, number: int, name: bytes) -> None:
        """A member is asked for a linearizable read, and everything settles."""
        self._floors[name] = max(self._committed, default=0)
        self.group(number).read_index(name)
        self.settle()

    def tick(self, *numbers: int, count: int = 1) -> None:
        """Time passes for these members (all, if none is named), and everything settles after each tick."""
        for _ in range(count):
            for number in numbers or tuple(self.members):
                group = self.members[number].group
                if group is not None:
                    self._guarded(number, group.tick)
            self.settle()

    def settle(self) -> None:
        """Turns and messages, until nothing moves any more. Members that disagree about what is committed may send
        each other the same for ever; that is ended, and counts as found."""
        moving, rounds = True, 0
        while moving:
            moving = False
            rounds += 1
            if rounds > MOST_ROUNDS:
                self._found(f"the members did not come to rest within {MOST_ROUNDS} rounds of messages")
                return
            for number, member in self.members.items():
                if member.group is not None and member.group.has_ready():
                    moving = True
                    self._guarded(number, lambda member=member: self._turn(member))  # type: ignore[misc]

    def _turn(self, member: Member) -> None:
        group = member.group
        assert group is not None
        ready = group.ready()
        if ready.snapshot is not None:
            member.store.restore(ready.snapshot)
        if ready.hard_state is not None:
            member.store.set_hard_state(ready.hard_state)
        member.store.append(ready.entries)
        for entry in ready.committed_entries:
            if entry.kind != EntryKind.NORMAL:
                group.apply_conf_change(decode_conf_change(entry))
        for state in ready.read_states:
            self._answered(member.config.node_id, state.context, state.index)
        for message in (*ready.messages, *ready.messages_after_append):
            self.send(message)
        if member.group is group:
            group.advance(ready)

    # What must hold.

    def _guarded(self, number: int, move: Callable[[], object]) -> None:
        try:
            move()
        except AssertionError as broken:
            self._found(f"member {number} stops: {broken}")
            self.members[number].group = None
        self._look(number)

    def _found(self, sentence: str) -> None:
        if sentence not in self.violations:
            self.violations.append(sentence)

    def _look(self, number: int) -> None:
        member = self.members[number]
        group = member.group
        if group is None:
            return
        if group.is_leader:
            self._look_at_leader(number, group)
        if group.commit < member.commit:
            self._found(
                f"the commit index of member {number} went back from {member.commit} to {group.commit}"
            )
        for index in range(member.commit + 1, group.commit + 1):
            entry = self._entry(group, index)
            known = self._committed.setdefault(index, (entry.term, entry.data))
            if known != (entry.term, entry.data):
                self._found(
                    f"entry {index} was committed as {_shown(known)}, and member {number} commits "
                    f"{_shown((entry.term, entry.data))} there"
                )
        member.commit = group.commit
        log = group.core.log
        terms = [log.term(index) for index in range(log.first_index - 1, log.last_index + 1)]
        if terms != sorted(terms):
            self._found(f"the log of member {number} has an entry below the term before it: terms {terms}")

    def _look_at_leader(self, number: int, group: RaftGroup) -> None:
        leader = self._leaders.get(group.term)
        if leader == number:
            return
        if leader is not None:
            self._found(f"members {leader} and {number} both lead term {group.term}")
            return
        self._leaders[group.term] = number
        for index, known in sorted(self._committed.items()):
            if known[0] >= group.term:
                continue
            entry = self._entry(group, index) if index <= group.last_index else None
            if entry is None or (entry.term, entry.data) != known:
                has = "nothing" if entry is None else _shown((entry.term, entry.data))
                self._found(
                    f"member {number} leads term {group.term} with {has} at index {index}, where {_shown(known)} "
                    "was committed"
                )

    @staticmethod
    def _entry(group: RaftGroup, index: int) -> Entry:
        return group.core.log.entries(index, index + 1, 1 << 30)[0]

    def _answered(self, number: int, name: bytes, index: int) -> None:
        self.answers[name] = index
        floor = self._floors[name]
        if index < floor:
            self._found(
                f"member {number} answers the read {name.decode()} at index {index}, although {floor} was committed "
                "when it was asked"
            )


def _shown(entry: tuple[int, bytes]) -> str:
    term, data = entry
    return f"{data.decode(errors='backslashreplace')!r} of term {term}"
