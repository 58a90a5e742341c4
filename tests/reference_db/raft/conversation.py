"""The interpreter for our own conversation files: our defaults, and commands for what etcd's files don't cover.

read 1 x y            ask node 1 for reads with contexts x and y
propose-many 1 a b c  one batch
tick 1 count=5        ticks of one node
restart 1             crash and come back: unsynced work, memory and knowledge of the leader are lost
lease 1               whether the lease of a leader is valid
may-quiesce 1, wake 1
set-priority 1 priority=-1
report-snapshot 1 3 ok=false
refusal 1             (changes as input) why a membership change would be refused now
"""

from __future__ import annotations

from typing import Any

from reference_db.raft import ProposalDropped

from .datadriven import Argument
from .interpreter import CommandError, Interpreter


class Conversation(Interpreter):
    """Prints no log lines at all; what is said is what the nodes say."""

    def __init__(self) -> None:
        super().__init__()
        self._commands |= {
            "read": self.read,
            "propose-many": self.propose_many,
            "tick": self.tick,
            "restart": self.restart,
            "lease": lambda a: self._print("valid" if self._node(a).group.lease_valid else "not valid"),
            "may-quiesce": lambda a: self._print("yes" if self._node(a).group.may_quiesce else "no"),
            "wake": lambda a: self._node(a).group.wake(),
            "set-priority": lambda a: self._node(a).group.set_priority(int(a[1].values[0])),
            "timeout": lambda a: self._print(f"{self._node(a).group.core.randomized_timeout} ticks"),
            "durable": self.durable,
            "report-snapshot": lambda a: self._node(a).group.report_snapshot(
                int(a[1].key), a[2].values[0] == "true"
            ),
        }

    @staticmethod
    def default_options() -> dict[str, Any]:
        return {"election_ticks": 4, "heartbeat_ticks": 1}

    @staticmethod
    def number_options() -> dict[str, str]:
        return Interpreter.number_options() | {
            "election-ticks": "election_ticks",
            "heartbeat-ticks": "heartbeat_ticks",
            "max-bytes-per-message": "max_bytes_per_message",
            "max-uncommitted-bytes": "max_uncommitted_bytes",
            "snapshot-ticks": "snapshot_ticks",
            "priority": "priority",
        }

    @staticmethod
    def switch_options() -> dict[str, str]:
        return Interpreter.switch_options() | {
            "coalesce": "coalesce_appends",
            "announce": "announce_commits",
            "refusals-carry-commit": "refusals_carry_commit",
        }

    def read(self, arguments: list[Argument]) -> None:
        for argument in arguments[1:]:
            self._node(arguments).group.read_index(argument.key.encode())

    def propose_many(self, arguments: list[Argument]) -> None:
        try:
            self._node(arguments).group.propose_many([argument.key.encode() for argument in arguments[1:]])
        except ProposalDropped as dropped:
            raise CommandError(f"dropped: {dropped}") from dropped

    def propose(self, arguments: list[Argument]) -> None:
        self.propose_many(arguments)

    def tick(self, arguments: list[Argument]) -> None:
        self._tick(arguments, int(arguments[1].values[0]) if len(arguments) > 1 else 1)

    def restart(self, arguments: list[Argument]) -> None:
        node = self._node(arguments)
        node.append_work.clear()
        node.apply_work.clear()
        self.start(node, node.history[-1].index)

    def durable(self, arguments: list[Argument]) -> None:
        log = self._node(arguments).group.core.log
        self._print(f"durable to {log.stable}, handed out to {log.in_progress}, last index {log.last_index}")
