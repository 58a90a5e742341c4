"""Structured events and marks, emitted into a sink that is passed in.

An event says what happened; a mark says that an interesting situation was reached, so that a sweep can count how often
it was. Whoever emits writes `if trace is not None: trace.event(...)`: without a sink it costs one comparison.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

MARKS = {
    # Raft. The core's own events become these marks, see RAFT_MARKS.
    "a leader was elected": "somebody won an election",
    "a leader stepped down without a quorum": "it noticed by itself that it was cut off",
    "a leader was deposed with entries that are not committed": "some of its entries will be lost, some perhaps not",
    "a conflicting tail of a log was cut off": "entries that were never committed are replaced by a newer leader's",
    "an append was refused because the logs disagree": "leader and follower look for the place where they part",
    "a vote was refused because the candidate's log is behind": "who may lack committed entries must not lead",
    "a vote was refused because it was given to another": "two candidates in one term",
    "a vote was ignored because a leader is heard": "a node that was cut off must not disturb the others",
    "a pre-vote was refused": "a candidate learns that it could not win, and disturbs nobody",
    "an election was held for a transfer": "the target of a transfer campaigns at once",
    "a leadership transfer began": "a leader stops taking proposals, and hands over",
    "a snapshot was sent": "a follower is further behind than the log reaches",
    "a commit index was learned from a refused vote": "a membership change whose notice was lost takes effect",
    # Replicas and stores.
    "a replica was restored from a snapshot": "log and data were replaced as a whole",
    "a log was compacted": "from here on a follower that is far behind needs a snapshot",
    "a proposal was lost with its leadership": "its index went to another leader's entry: certainly not carried out",
    "a proposal was dropped": "nobody took it: a transfer is under way, or too much is uncommitted",
    "the outcome of a request was lost in a snapshot": "the replaced one cannot say whether it was carried out",
    "requests were refused because leadership was lost": "they were waiting for latches, rounds or turns",
    "a read waited for a latch": "a write of the same key was under way",
    "a write waited for a latch": "a request for the same key was under way",
    "a read needed no round of heartbeats": "what followers had said proved enough",
    "a read was answered by a lease": "nobody was asked",
    "a read found no lease and asked a quorum": "it was not renewed in time, or is given up in a transfer",
    "a bounded read was answered by a replica": "it was read at a closed timestamp",
    "a bounded read was sent on to the leader": "nothing fresh enough was closed, or an intent stood in the way",
    "a request waited for an intent to go": "most go by themselves, so pushing at once would be work for nothing",
    "a transaction was pushed to a later timestamp": "a reader passed an undecided intent",
    "a push aborted a transaction": "its coordinator was silent for too long, or it was in an older one's way",
    "an aborted transaction came to commit": "the record says no to its own coordinator",
    "a compare-and-set found another value": "a conditional write that wrote nothing",
    "a leader handed over to the preferred replica": "placement evens out who leads",
    "a node began to lead placement": "it leads the first range, and has read the state of placement",
    "the placement leader had a range handed over": "leaders are evened out, or go where they are wished for",
    "a node that joined became active": "everybody counts it",
    "a node was decommissioned": "it had nothing any more, and nobody would have given it anything",
    "the placement leader moved a replica": "off a dead or leaving node, to another zone, or to who has fewer",
    "a range was split": "one entry made two of it",
    "a leader campaigned for the range that it had cut off": "so nobody waits for an election timeout",
    "a request was under way when its range was split": "it is refused, and finds its range anew",
    "a replica took part in a range that it did not know yet": "it was asked to vote before it had applied the split",
    "a range absorbed its neighbour": "two became one, in one batch",
    "a snapshot brought a merge that was missed": "the absorbed range's replica is removed with it",
    "a message for a range that was merged away was dropped": "it must not bring the range back",
    "a merge that nobody finished was undone": "its driver died, or gave up, while the right range was frozen",
    "a split met a replica that had voted before it": "the vote is kept",
    "a snapshot was refused because another range holds its keys yet": "its range is still part of that one here",
    "a request was refused because too many are under way": "a node is overloaded",
    "a new member was sent a snapshot": "it has nothing, and may not even take part before it has something",
    "a message of a node that is no member was refused": "it was removed, and had answered before it heard of that",
    "a replica was moved": "the joint configuration was left: one node has a replica less, another one more",
    "a replica that its range had left was removed": "a tombstone keeps what it had promised",
    "a replica came with a snapshot newer than its tombstone": "nothing else brings one, and so it has what it needs",
    "a split brought a range that had moved away already": "this node heard of the split last",
    "a range was moved to its neighbour's nodes before they merged": "a merge needs both on the same nodes",
    "a move was given up": "the new replica was not caught up in time, or nobody answered",
    "a move that nobody finished was ended by the leader": "its driver died, or gave up",
    "a move went on with a learner that was there already": "an earlier one has brought it, and did not finish",
    # Nodes.
    "a node started with what an earlier life left": "recovery from its own disk",
    "a node stalled for several ticks": "it was paused or starved",
    "something waited for the clock's bound to be durable": "another node's clock is far ahead",
    "a node stopped because its clock was too far from the others'": "a fault has set it, and max_offset_ms is less",
    "a node gave away what it led before it stopped": "in a planned stop, so that nobody waits for an election",
    # Gateways.
    "a request was sent on to another leader": "a hint was wrong",
    "a stale descriptor was refused, and replaced by the current one": "a range was split or merged meanwhile",
    "a request was cut in pieces because its range was split": "each range carries out its part",
    "a transaction's anchor and its other keys were parted by a split": "they are made final by themselves",
    "a link broke while a request was under way": "it may have been carried out, or not",
    "a request got no answer in time": "it may have been carried out, or not, or later",
    "a reply came too late for anybody to wait for it": "what it answers was given up",
    "a transaction reads with uncertainty": "too few nodes told their clocks",
    "a read met a version that may be older than its transaction": "the reads must move, or start again",
    "a transaction moved its reads forward": "a refresh succeeded",
    "a refresh failed": "what was read has changed, or may have: the client starts again",
    "a commit was pushed and went on at a later timestamp": "a reader passed while it was being decided",
    "a commit was asked for again": "the first question has no answer yet",
    "a commit stayed ambiguous": "nobody could be reached who knows",
    "a transaction was abandoned": "its coordinator removes what it has written",
    "a coordinator heard that its transaction was aborted": "by a heartbeat, while it was still writing",
    "a writer waits for an older transaction": "wound-wait: the younger one waits",
    "a reader waits for a primary lock": "in protocol primary-lock nobody can be pushed to a later timestamp",
    "a prewrite met a newer version": "the first committer wins: the transaction starts again",
    "a reader pushed a transaction's timestamp": "it need not wait for the outcome",
    "somebody resolved the intents of a committed transaction": "not its own coordinator",
    "somebody resolved the intents of an aborted transaction": "not its own coordinator",
    "a transaction in one range was committed at once": "one log entry, no intents, no record",
    "a transaction was committed in parallel with its intents": "one round, with parallel_commit=on",
    "a transaction was committed by its locks": "protocol primary-lock with async_commit=on",
    "somebody waits for a transaction that may be committed": "its record is STAGING: it can't be pushed",
    "a staging transaction was recovered as committed": "all its intents stand",
    "a staging transaction was recovered as aborted": "one of its intents will never be",
    "a token was met again": "a transact_write that had been done came again, and did nothing",
    "versions that nobody may read any more were dropped": "with a gc_ttl_ms that is shorter than the run",
    "versions were kept for an open transaction": "it reads below what would have been collected",
    "a read was refused below the threshold of what is kept": "what it would have had to see may be gone",
    "a transaction began before what is kept, and starts again": "it lasted longer than gc_ttl_ms",
    "an intent without a coordinator was swept": "nobody had stumbled over it for some sweeps",
    "a record without a coordinator was swept": "nobody had finished it for some sweeps",
}
"""The marks that this database emits where clients do what workloads do, and why each is worth counting. One that many
runs never reach is a gap: in what is drawn, or in the database."""

GUARD_MARKS = {
    "a lock of two-phase commit was in the way": "that takes protocol two-phase, which no sweep draws",
    "a decision of two-phase commit was told again": "that takes protocol two-phase, which no sweep draws",
    "a range was split because of its size": "that takes the option split_bytes, which no sweep draws",
    "a range was split because of its load": "that takes the option split_load, which no sweep draws",
    "two idle ranges were merged": "that takes the option merge_idle, which no sweep draws",
    "a command of another term was dropped when applied": "what is evaluated in a turn is proposed in that turn",
    "a read waited for what it must see to be applied": "a turn applies all that is committed",
    "a snapshot was given up because its receiver was silent": "that takes ten seconds of silence in a transfer",
    "a snapshot that a crash had left half in place was finished": "that takes a crash within a few milliseconds",
    "a node started with a part of a snapshot": "that takes a crash in a transfer; most are of one piece",
    "a log was cut because of its size": "that takes 64 MB in a log",
    "a message was too long for any frame": "that takes an answer of 64 MB",
    "a token was forgotten": "that takes ten minutes",
    **dict.fromkeys(
        (
            "a coordinator died when its first intents were sent",
            "a coordinator died when its intents were sent",
            "a coordinator died when its intents were laid",
            "a coordinator died when its reads were moved",
            "a coordinator died committed in parallel, and told nobody",
            "a coordinator died when its client had been told",
            "a coordinator died when it had asked for the decision",
            "a coordinator died committed, and told nobody",
            "a coordinator died when it had asked for its first resolution",
            "a coordinator died when it had asked for resolutions",
            "a coordinator died before its record was forgotten",
            "a coordinator died when it had asked to commit at once",
            "a coordinator died committed at once, and told nobody",
        ),
        "that takes --nemesis coordinator",
    ),
    "a transaction that was to be given up had been committed": "its commit's answer and its anchor's must be lost",
}
"""Marks of rules that nothing in a usual run needs, with the reason: counted if they are met, not missed if they are
not."""

RAFT_MARKS = {
    "quorum-lost": "a leader stepped down without a quorum",
    "deposed-with-uncommitted": "a leader was deposed with entries that are not committed",
    "log-cut": "a conflicting tail of a log was cut off",
    "append-refused": "an append was refused because the logs disagree",
    "vote-refused-behind": "a vote was refused because the candidate's log is behind",
    "vote-refused-given": "a vote was refused because it was given to another",
    "vote-ignored": "a vote was ignored because a leader is heard",
    "pre-vote-refused": "a pre-vote was refused",
    "transfer": "a leadership transfer began",
    "transfer-campaign": "an election was held for a transfer",
    "elected": "a leader was elected",
    "snapshot-sent": "a snapshot was sent",
    "message-refused": "a message of a node that is no member was refused",
    "commit-learned": "a commit index was learned from a refused vote",
}
"""Events of the Raft core, which knows no marks, that are marks of this database."""


class Trace(Protocol):
    """A sink. It must not change what it is given, and must not raise."""

    def event(self, area: str, name: str, **fields: Any) -> None:
        """Something happened: `area` is the module's word ("range 3", "txn", "clock"), `name` the event's."""

    def mark(self, name: str, **fields: Any) -> None:
        """A situation that tests want to see was reached; the name is a sentence and doesn't vary."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One recorded event. A mark has area "mark"."""

    area: str
    name: str
    fields: dict[str, Any]

    def __str__(self) -> str:
        return format_event(self.area, self.name, self.fields)


@dataclass(slots=True)
class RecordingTrace:
    """A sink that remembers everything, for tests."""

    events: list[TraceEvent] = field(default_factory=list)
    marks: Counter[str] = field(default_factory=Counter)

    def event(self, area: str, name: str, **fields: Any) -> None:
        self.events.append(TraceEvent(area, name, fields))

    def mark(self, name: str, **fields: Any) -> None:
        self.marks[name] += 1
        self.events.append(TraceEvent("mark", name, fields))


def format_event(area: str, name: str, fields: dict[str, Any]) -> str:
    """One line: `area: name key=value key=value`, keys in the order they were given."""
    details = "".join(f" {key}={_shown(value)}" for key, value in fields.items())
    return f"{area}: {name}{details}"


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex() if len(value) == 16 else repr(value)[1:]
    return str(value)
