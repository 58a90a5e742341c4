"""Clients of a stage: they add elements to a set and read it, and what each of them was told is a history.

A story with clients shows what *histories alone* show of a defect: nobody looks into the members, a checker judges what
clients were told. The set is the state machine that the log makes: an add is an entry, a read is all elements of the
committed entries, served by a leader after a round of heartbeats (ReadIndex).

What a client hears of its add is what a node of the database says:
- *ok* once the member that took it knows its entry as committed;
- *fail* if no log has it for certain: the member did not lead, or knows an entry of a newer term as committed where it
  stood or before it, so that no log can hold it any more;
- *info* if the member stops before either, or the story ends.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from reference_db.directed.stage import Stage
from reference_db.raft import EntryKind, ProposalDropped, RaftGroup

Event = tuple[int, str, str, Any]
"""Process, type (invoke, ok, fail, info), function (add, read), value."""


class _Add(NamedTuple):
    """One that waits for its answer."""

    process: int
    element: int
    member: int
    group: RaftGroup
    """Of the life of the member that took it."""
    term: int
    at: int
    """The index of its entry."""


class _Read(NamedTuple):
    """One that waits for its answer."""

    process: int
    name: bytes
    member: int
    group: RaftGroup


class Clients:
    """Each operation is a process of its own, so that none waits for another."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.history: list[Event] = []
        self._waiting: list[_Add] = []
        self._reading: list[_Read] = []
        self._processes = 0

    def add(self, number: int, element: int) -> None:
        """A client asks a member to add an element, and everything settles."""
        process = self._invoke("add", element)
        group = self.stage.group(number)
        try:
            term, index = group.propose(str(element).encode())
        except ProposalDropped:
            self.history.append((process, "fail", "add", element))
            return
        self._waiting.append(_Add(process, element, number, group, term, index))
        self.stage.settle()
        self.hear()

    def read(self, number: int, name: str = "") -> None:
        """A client asks a member for the whole set, and everything settles. The name is for what the stage says."""
        process = self._invoke("read", None)
        asked = (name or f"read {process}").encode()
        self._reading.append(_Read(process, asked, number, self.stage.group(number)))
        self.stage.read(number, asked)
        self.hear()

    def hear(self) -> None:
        """Those who wait are told what their members know by now."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            answer = self._answer(one)
            if answer is None:
                self._waiting.append(one)
            else:
                self.history.append((one.process, answer, "add", one.element))
        reading, self._reading = self._reading, []
        for asked in reading:
            index = self.stage.answers.get(asked.name)
            if index is not None:
                self.history.append((asked.process, "ok", "read", _elements(asked.group, index)))
            elif self.stage.members[asked.member].group is not asked.group:
                self.history.append((asked.process, "info", "read", None))
            else:
                self._reading.append(asked)

    def end(self) -> list[Event]:
        """The story is over: who has not heard by now never will. Returns the history."""
        self.hear()
        self.history += [(one.process, "info", "add", one.element) for one in self._waiting]
        self.history += [(one.process, "info", "read", None) for one in self._reading]
        self._waiting.clear()
        self._reading.clear()
        return self.history

    def _invoke(self, function: str, value: Any) -> int:
        process, self._processes = self._processes, self._processes + 1
        self.history.append((process, "invoke", function, value))
        return process

    def _answer(self, one: _Add) -> str | None:
        if self.stage.members[one.member].group is not one.group:
            return "info"
        log = one.group.core.log
        known = min(log.committed, one.at)
        if log.term(known) > one.term:
            return "fail"
        if known < one.at:
            return None
        return "ok" if log.term(known) == one.term else "fail"


def _elements(group: RaftGroup, index: int) -> list[int]:
    """The set that the entries of a member make, up to an index."""
    log = group.core.log
    entries = log.entries(log.first_index, index + 1, 1 << 30) if index else ()
    return [int(entry.data) for entry in entries if entry.kind is EntryKind.NORMAL and entry.data]
