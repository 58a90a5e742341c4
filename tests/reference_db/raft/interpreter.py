"""Runs the commands of interaction files against real Raft groups: nodes, messages in flight, storage threads.

Everything is explicit: nothing is delivered, made durable or applied before a command says so. The state machine of
every node appends: its snapshot is the concatenation of all data applied. An unknown command or option is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from reference_db.raft import (
    ConfChange,
    Config,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    MemoryLogStore,
    Message,
    MessageKind,
    ProposalDropped,
    RaftGroup,
    ReadMode,
    Snapshot,
    Transition,
    decode_conf_change,
)
from reference_db.raft.describe import (
    MESSAGE_NAMES,
    ROLE_NAMES,
    describe_entry,
    describe_message,
    describe_ready,
    parse_changes,
)
from reference_db.raft.log_store import Compacted, Unavailable

from .datadriven import Argument, Directive, parse_line

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal", "none")


class CommandError(Exception):
    """The text goes into the answer, as an answer of the system."""


class UnknownCommand(Exception):
    """The file asks for something that this interpreter can't do: the test must fail."""


class Store(MemoryLogStore):
    """A log store whose snapshot is always the state machine's newest state."""

    def __init__(self, newest: Callable[[], Snapshot]) -> None:
        super().__init__()
        self._newest = newest

    def initial_state(self) -> tuple[HardState, ConfState]:
        return super().initial_state()[0], self._newest().conf_state

    def snapshot(self) -> Snapshot:
        return self._newest()


@dataclass
class Node:
    config: Config
    store: Store
    history: list[Snapshot]
    group: RaftGroup = field(init=False)
    append_work: list[Message] = field(default_factory=list)
    apply_work: list[Message] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What the group dropped of the message just delivered."""


_REFUSALS = {
    "unknown-peer": "raft: cannot step as peer not found",
    "local-message": "raft: cannot step raft local message",
}


class Interpreter:
    """State and commands of one file."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.messages: list[Message] = []
        self.log_level = "debug"
        self._lines: list[str] = []
        self._depth = 0
        self._commands: dict[str, Callable[[list[Argument]], None]] = {
            "add-nodes": self.add_nodes,
            "campaign": lambda a: self._node(a).group.campaign(),
            "compact": self.compact,
            "deliver-msgs": self.deliver_messages,
            "forget-leader": lambda a: self._node(a).group.forget_leader(),
            "log-level": self.set_log_level,
            "process-append-thread": lambda a: self._each(a, "processing append thread", self._append_thread),
            "process-apply-thread": lambda a: self._each(a, "processing apply thread", self._apply_thread),
            "process-ready": lambda a: self._each(a, "handling Ready", self._process_ready),
            "propose": self.propose,
            "raft-log": self.raft_log,
            "raft-state": self.raft_state,
            "report-unreachable": lambda a: self._node(a).group.report_unreachable(int(a[1].key)),
            "send-snapshot": self.send_snapshot,
            "set-randomized-election-timeout": self.set_randomized_timeout,
            "stabilize": self.stabilize,
            "status": self.status,
            "tick-election": lambda a: self._tick(a, self._node(a).config.election_ticks),
            "tick-heartbeat": lambda a: self._tick(a, self._node(a).config.heartbeat_ticks),
            "transfer-leadership": self.transfer_leadership,
            "_breakpoint": lambda a: None,
        }

    # Running directives.

    def handle(self, directive: Directive) -> str:
        """The answer to one directive: what was printed, or `ok`."""
        self._lines = []
        error = ""
        try:
            if directive.command == "propose-conf-change":
                self.propose_conf_change(directive.arguments, "\n".join(directive.input))
            else:
                self._run(directive.command, directive.arguments)
                for line in directive.input:
                    try:
                        self._run(*parse_line(line))
                    except CommandError as failed:
                        if self.log_level == "none":
                            raise
                        self._print(str(failed))
        except CommandError as failed:
            error = str(failed)
        if error:
            if self.log_level == "none":
                return error
            self._print(error)
        return "\n".join(self._lines) or "ok"

    def _run(self, command: str, arguments: list[Argument]) -> None:
        if command not in self._commands:
            raise UnknownCommand(f"unknown command {command!r}; known: {', '.join(sorted(self._commands))}")
        self._commands[command](arguments)

    def _print(self, text: str) -> None:
        if self.log_level == "none":
            return
        for line in text.split("\n"):
            self._lines.append("  " * self._depth + line)

    def _node(self, arguments: list[Argument]) -> Node:
        return self.nodes[int(arguments[0].key) - 1]

    def _each(self, arguments: list[Argument], title: str, work: Callable[[int], None]) -> None:
        ids = _ids(arguments)
        for node_id in ids:
            if len(ids) == 1:
                work(node_id)
            else:
                self._titled(f"> {node_id} {title}", work, node_id)

    def _titled(self, title: str, work: Callable[[int], None], node_id: int) -> None:
        self._print(title)
        self._depth += 1
        work(node_id)
        self._depth -= 1

    # Nodes.

    def add_nodes(self, arguments: list[Argument]) -> None:
        """`add-nodes 3 voters=(1,2,3) index=10 ...`"""
        voters: tuple[int, ...] = ()
        learners: tuple[int, ...] = ()
        index, content = 0, b""
        options = self.default_options()
        for argument in arguments[1:]:
            value = argument.values[0]
            if argument.key == "voters":
                voters = tuple(map(int, argument.values))
            elif argument.key == "learners":
                learners = tuple(map(int, argument.values))
            elif argument.key == "index":
                index = int(value)
            elif argument.key == "content":
                content = value.encode()
            elif argument.key == "read-only":
                options["read_mode"] = {"safe": ReadMode.READ_INDEX, "lease-based": ReadMode.LEASE}[value]
            elif argument.key in self.number_options():
                options[self.number_options()[argument.key]] = int(value)
            elif argument.key in self.switch_options():
                options[self.switch_options()[argument.key]] = _switch(value)
            else:
                raise UnknownCommand(f"add-nodes has no option {argument.key!r}")
        bootstrap = bool(index or voters or learners or content)
        if bootstrap and index <= 1:
            raise CommandError("index must be specified as > 1 due to bootstrap")
        snapshot = Snapshot(
            index, 1 if bootstrap else 0, ConfState(voters=voters, learners=learners), content
        )
        for _ in range(int(arguments[0].key)):
            self._add_node(Config(node_id=len(self.nodes) + 1, **options), snapshot)

    @staticmethod
    def default_options() -> dict[str, Any]:
        """What etcd's tests set; our own defaults differ."""
        return {
            "election_ticks": 3,
            "heartbeat_ticks": 1,
            "max_bytes_per_message": 2**62,
            "max_inflight_messages": 2**31,
            "pre_vote": False,
            "check_quorum": False,
            "step_down_on_removal": False,
            "disable_proposal_forwarding": False,
            "coalesce_appends": False,
            "refusals_carry_commit": False,
        }

    @staticmethod
    def number_options() -> dict[str, str]:
        """Options of add-nodes that are numbers, and the settings they make."""
        return {
            "inflight": "max_inflight_messages",
            "max-committed-size-per-ready": "max_committed_bytes_per_ready",
        }

    @staticmethod
    def switch_options() -> dict[str, str]:
        return {
            "async-storage-writes": "async_storage_writes",
            "prevote": "pre_vote",
            "checkquorum": "check_quorum",
            "disable-conf-change-validation": "disable_conf_change_validation",
            "step-down-on-removal": "step_down_on_removal",
        }

    def _add_node(self, config: Config, snapshot: Snapshot) -> None:
        history = [snapshot]
        node = Node(config, Store(lambda: history[-1]), history)
        if snapshot.index:
            node.store.restore(snapshot)
        self.start(node, snapshot.index)
        self.nodes.append(node)

    def start(self, node: Node, applied: int) -> None:
        """(Re)start the group of a node on its store."""

        def trace(event: str, details: dict[str, Any]) -> None:
            if event == "message-refused":
                node.refused.append(_REFUSALS[details["reason"]])
            elif event == "proposal-dropped":
                node.refused.append("raft proposal dropped")

        node.group = RaftGroup(node.config, node.store, Random(node.config.node_id), trace, applied)

    def compact(self, arguments: list[Argument]) -> None:
        """`compact 1 5`: node 1 forgets its entries up to and including 5."""
        node, index = self._node(arguments), int(arguments[1].key)
        try:
            node.store.compact(index)
        except Compacted as error:
            raise CommandError("requested index is unavailable due to compaction") from error
        except Unavailable as error:
            raise CommandError("requested entry at index is unavailable") from error
        node.group.compacted(index + 1)

    # Proposals and other wishes.

    def propose(self, arguments: list[Argument]) -> None:
        try:
            self._node(arguments).group.propose(arguments[1].key.encode())
        except ProposalDropped as error:
            raise CommandError("raft proposal dropped") from error

    def propose_conf_change(self, arguments: list[Argument], changes: str) -> None:
        """`propose-conf-change 1 v1=true transition=explicit`, with changes like `v1 l2 r3` as input."""
        single, transition = False, Transition.AUTO
        for argument in arguments[1:]:
            value = argument.values[0]
            if argument.key == "v1":
                single = _switch(value)
            elif argument.key == "transition":
                transition = {
                    "auto": Transition.AUTO,
                    "implicit": Transition.JOINT_IMPLICIT,
                    "explicit": Transition.JOINT_EXPLICIT,
                }[value]
            else:
                raise UnknownCommand(f"propose-conf-change has no option {argument.key!r}")
        steps = parse_changes(changes)
        if single and (len(steps) != 1 or transition != Transition.AUTO):
            raise CommandError("v1 conf change can only have one operation and no transition")
        try:
            self._node(arguments).group.propose_conf_change(ConfChange(steps, transition, single=single))
        except ProposalDropped as error:
            raise CommandError("raft proposal dropped") from error

    def transfer_leadership(self, arguments: list[Argument]) -> None:
        """`transfer-leadership from=1 to=4`"""
        named = {argument.key: int(argument.values[0]) for argument in arguments}
        self.nodes[named["from"] - 1].group.transfer_leadership(named["to"])

    def set_randomized_timeout(self, arguments: list[Argument]) -> None:
        ticks = {argument.key: argument.values for argument in arguments}["timeout"][0]
        self._node(arguments).group.set_randomized_timeout(int(ticks))

    def _tick(self, arguments: list[Argument], count: int) -> None:
        for _ in range(count):
            self._node(arguments).group.tick()

    def send_snapshot(self, arguments: list[Argument]) -> None:
        """`send-snapshot 1 3`: a snapshot that nobody asked for goes on its way."""
        source, target = _ids(arguments)
        node = self.nodes[source - 1]
        message = Message(
            MessageKind.SNAPSHOT, target, source, node.group.term, snapshot=node.store.snapshot()
        )
        self.messages.append(message)
        self._print(describe_message(message))

    # Turns.

    def _process_ready(self, node_id: int) -> None:
        node = self.nodes[node_id - 1]
        ready = node.group.ready()
        messages = [*ready.messages, *ready.messages_after_append]
        self._print(describe_ready(ready, messages))
        if not node.config.async_storage_writes:
            _append(node, ready.hard_state, ready.entries, ready.snapshot)
            _apply(node, ready.committed_entries)
        for message in messages:
            if message.kind == MessageKind.STORAGE_APPEND:
                node.append_work.append(message)
            elif message.kind == MessageKind.STORAGE_APPLY:
                node.apply_work.append(message)
            else:
                self.messages.append(message)
        if not node.config.async_storage_writes:
            node.group.advance(ready)

    def _append_thread(self, node_id: int) -> None:
        node = self.nodes[node_id - 1]
        if not node.append_work:
            self._print("no append work to perform")
            return
        message = node.append_work.pop(0)
        hard_state = HardState(message.term, message.vote, message.commit)
        self._storage_work(
            message,
            lambda: _append(
                node, hard_state if hard_state != HardState() else None, message.entries, message.snapshot
            ),
        )

    def _apply_thread(self, node_id: int) -> None:
        node = self.nodes[node_id - 1]
        if not node.apply_work:
            self._print("no apply work to perform")
            return
        message = node.apply_work.pop(0)
        self._storage_work(message, lambda: _apply(node, message.entries))

    def _storage_work(self, message: Message, work: Callable[[], None]) -> None:
        self._print("Processing:")
        self._print(describe_message(_without_responses(message)))
        work()
        self._print("Responses:")
        for response in message.responses:
            self._print(describe_message(response))
        self.messages += message.responses

    def deliver_messages(self, arguments: list[Argument]) -> None:
        """`deliver-msgs 1 2 drop=(3) type=MsgApp`"""
        kind: MessageKind | None = None
        receivers: list[tuple[int, bool]] = []
        for argument in arguments:
            if not argument.values:
                receivers.append((int(argument.key), False))
            elif argument.key == "drop":
                for value in argument.values:
                    if (int(value), False) in receivers:
                        raise UnknownCommand(f"can't both deliver and drop msgs to {value}")
                    receivers.append((int(value), True))
            elif argument.key == "type":
                kind = {name: kind for kind, name in MESSAGE_NAMES.items()}[argument.values[0]]
            else:
                raise UnknownCommand(f"deliver-msgs has no option {argument.key!r}")
        if sum(self._deliver(node_id, kind, drop) for node_id, drop in receivers) == 0:
            self._print("no messages")

    def _split(
        self, node_id: int, kind: MessageKind | None, drop: bool
    ) -> tuple[list[Message], list[Message]]:
        """Messages for a node, and the others. Local messages are reliable: they can't be dropped."""
        chosen: list[Message] = []
        others: list[Message] = []
        for message in self.messages:
            local = message.source == message.target or min(message.source, message.target) < 0
            fits = message.target == node_id and (kind is None or message.kind == kind)
            (chosen if fits and not (drop and local) else others).append(message)
        return chosen, others

    def _deliver(self, node_id: int, kind: MessageKind | None, drop: bool) -> int:
        chosen, self.messages = self._split(node_id, kind, drop)
        for message in chosen:
            self._print(("dropped: " if drop else "") + describe_message(message))
            if not drop:
                node = self.nodes[node_id - 1]
                node.refused.clear()
                node.group.step(message)
                for refusal in node.refused:
                    self._print(refusal)
        return len(chosen)

    def _deliver_all(self, node_id: int) -> None:
        self._deliver(node_id, None, False)

    def stabilize(self, arguments: list[Argument]) -> None:
        """`stabilize 1 2 log-level=none`: run Readys, messages and storage threads until nothing is left."""
        level = self.log_level
        for argument in arguments:
            if argument.values:
                if argument.key != "log-level":
                    raise UnknownCommand(f"stabilize has no option {argument.key!r}")
                self.set_log_level([Argument(argument.values[0])])
        ids = _ids(arguments) or list(range(1, len(self.nodes) + 1))
        while self._stabilize_round(ids):
            pass
        self.log_level = level

    def _stabilize_round(self, ids: list[int]) -> bool:
        busy = False
        for node_id in ids:
            if self.nodes[node_id - 1].group.has_ready():
                busy = True
                self._titled(f"> {node_id} handling Ready", self._process_ready, node_id)
        for node_id in ids:
            if self._split(node_id, None, False)[0]:
                busy = True
                self._titled(f"> {node_id} receiving messages", self._deliver_all, node_id)
        for title, queue, work in (
            ("append", "append_work", self._append_thread),
            ("apply", "apply_work", self._apply_thread),
        ):
            for node_id in ids:
                node = self.nodes[node_id - 1]
                if getattr(node, queue):
                    busy = True
                    self._print(f"> {node_id} processing {title} thread")
                    self._depth += 1
                    while getattr(node, queue):
                        work(node_id)
                    self._depth -= 1
        return busy

    # Looking.

    def set_log_level(self, arguments: list[Argument]) -> None:
        level = arguments[0].key.lower()
        if level not in LOG_LEVELS:
            raise CommandError(f"log levels must be either of {list(LOG_LEVELS)}")
        self.log_level = level

    def raft_log(self, arguments: list[Argument]) -> None:
        store = self._node(arguments).store
        first, last = store.first_index(), store.last_index()
        if last < first:
            self._print(f"log is empty: first index={first}, last index={last}")
            return
        for entry in store.entries(first, last + 1, 2**62):
            self._print(describe_entry(entry))

    def raft_state(self, arguments: list[Argument]) -> None:
        for node in self.nodes:
            status = node.group.status()
            members = status.conf_state
            voter = status.node_id in (*members.voters, *members.voters_outgoing)
            self._print(
                f"{status.node_id}: {ROLE_NAMES[status.role]} ({'Voter' if voter else 'Non-Voter'}) "
                f"Term:{status.term} Lead:{status.leader_id}"
            )

    def status(self, arguments: list[Argument]) -> None:
        group = self._node(arguments).group
        if group.is_leader:
            for node_id, record in group.core.peers.progress.items():
                self._print(f"{node_id}: {record}")


def _ids(arguments: Iterable[Argument]) -> list[int]:
    return [int(argument.key) for argument in arguments if not argument.values]


def _switch(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _without_responses(message: Message) -> Message:
    return msgspec.structs.replace(message, responses=())


def _append(
    node: Node, hard_state: HardState | None, entries: tuple[Entry, ...], snapshot: Snapshot | None
) -> None:
    if hard_state is not None:
        node.store.set_hard_state(hard_state)
    if snapshot is not None:
        if entries:
            raise CommandError("can't apply snapshot and entries at the same time")
        node.store.restore(snapshot)
        node.history.append(snapshot)
        return
    node.store.append(entries)


def _apply(node: Node, entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        before = node.history[-1]
        conf_state, update = before.conf_state, entry.data
        if entry.kind != EntryKind.NORMAL:
            change = decode_conf_change(entry)
            update = change.context
            conf_state = node.group.apply_conf_change(change)
        node.history.append(Snapshot(entry.index, entry.term, conf_state, before.data + update))
