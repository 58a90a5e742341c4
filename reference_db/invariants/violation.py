"""A broken invariant as data, and the list of all invariants: their names are what findings are called by."""

from __future__ import annotations

from dataclasses import dataclass

INVARIANTS = {
    "election safety": "at most one node leads a range in a term (Raft paper, figure 3)",
    "one vote a term": "a node grants at most one vote a term, restarts included (Raft paper, 5.2)",
    "terms and votes stay": "a node's term never goes back, and its vote never changes within a term",
    "commit stays": "a node's commit index never goes back while it is up",
    "durable before promised": "term, vote and entries are durable before a vote or an acknowledgement leaves",
    "survives a restart": "what was durable when a node died is there when it starts again",
    "log matching": "entries of the same index and term hold the same, and follow the same entry (figure 3)",
    "log without gaps": "a log on disk has every entry between where it was truncated and its last one",
    "leader appends only": "a leader never overwrites entries of its own log (figure 3)",
    "leader completeness": "who leads a term has every entry committed in earlier ones (figure 3)",
    "committed entries stay": "what is committed at an index is the same on every node, for ever",
    "committed on a durable quorum": "a newly committed entry is durable on a quorum of its range's voters",
    "indexes in order": "truncated <= applied <= committed <= last index, in what is written and what is synced",
    "only committed entries are applied": "an entry that is applied is the one committed at its index",
    "state machine safety": "after the same index, every replica of a range holds the same bytes (figure 3)",
    "clock bound": "no timestamp leaves a node above the bound that it has made durable",
    "ranges tile the keyspace": "every key belongs to exactly one range; a generation has one descriptor",
    "versions in order": "versions of a key get ever larger timestamps, and none is written twice",
    "reads stay true": "no version of a key appears at or below a timestamp at which the key was read before",
    "garbage only": "only a version that no reader at or above the range's threshold can see is dropped",
    "one intent a key": "an intent never displaces another transaction's, nor a version slips in below one",
    "one fate": "a transaction's record goes from PENDING to COMMITTED or ABORTED, and stays there",
    "timestamps only grow": "the oracle's window never goes back, and no timestamp of its transactions is above it",
    "one lease": "while a leader's lease holds, nobody else is elected to lead its range",
    "closed for ever": "what is written at or below a closed timestamp stands at or before the closing's index",
    "frozen is silent": "a range that is frozen for a merge answers no read that a leader must answer",
    "frozen is durable": "a node that says that its replica is frozen for a merge has that on its disk",
    "asleep is done": "a range falls asleep where its members have all that its leader has, and only there",
    "returned is empty": "of a member that came back, nothing counts that it acknowledged in an earlier life",
    "acknowledged is observed": "what was acknowledged before a transaction observed clocks is at or below what it saw",
    "promises outlive a replica": "a replica that comes back to a node begins with the term and vote it had there",
    "no vote without a log": "a replica that came back votes for nobody before it has its snapshot",
    "quorums overlap": "each quorum of a membership shares a member with each quorum of the next one",
    "one replica a node": "no node is twice among the members of a range",
    "replication is kept": "all ranges have the same number of replicas at all times, but for who joins and who leaves",
    "replicas where they may be": "no range has a member that has not become active yet, or is decommissioned",
    "all keys or none": "a transaction's intents all become versions at its commit timestamp, or none does",
}
"""Name to sentence."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant, seen broken. `node` took the step that showed it, which need not be the culprit."""

    name: str
    text: str
    """Several lines: the values, then both logs around the index where there are two."""
    range_id: int | None
    node: str
    index: int | None = None

    def __post_init__(self) -> None:
        assert self.name in INVARIANTS, f"{self.name!r} is no invariant; known are {sorted(INVARIANTS)}"

    def __str__(self) -> str:
        return f"{self.name} ({INVARIANTS[self.name]}) is broken: {self.text}"
