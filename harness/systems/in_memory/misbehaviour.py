"""Every way in which the database in memory can be wrong on purpose, by name; and the dice that decide when.

A misbehaviour shows with a probability each time it can show. Whoever implements a rule asks `shows` at the moment
when it would be broken, so that a right database draws nothing and is the same run whatever is listed here.
"""

from __future__ import annotations

import random
from typing import Final

from workloads.session import (
    CHOSEN_READS,
    COMPARE_AND_SET,
    COUNTER,
    KEY_VALUE,
    LOCK,
    LOG,
    QUEUE,
    RETRIED_TRANSACTIONS,
    SCAN,
    TRANSACT_WRITE,
    TRANSACTIONAL_SCAN,
    TRANSACTIONS,
    UNIQUE_IDS,
    WATCH,
)

MISBEHAVIOURS: Final[dict[str, str]] = {
    "stale-reads": "a read may answer the value before the present one",
    "lost-writes": "a write or transaction may be acknowledged and forgotten",
    "false-failures": "an operation that took effect may be reported as certainly not done",
    "torn-reads": "of the keys that are read together, some may be as they were a moment before",
    "torn-transactions": "the writes of a transaction may appear one after the other",
    "lying-timestamps": "a transaction may be told another commit timestamp than its own, an earlier one",
    "lost-updates": "a transaction may commit even if what it read has changed",
    "write-skew": "a transaction may commit if only what it wrote has not changed (snapshot isolation)",
    "read-committed": "each read of a transaction may see the newest value, and nothing is checked at its end",
    "phantoms": "a transaction may commit although a key has appeared in an interval that it has scanned",
    "overlooked-keys": "a scan in a transaction may leave out a key",
    "long-fork": "a transaction sees what was written through other nodes only later",
    "dirty-reads": "the writes of a transaction that was refused may be seen",
    "ignored-conditions": "what is to happen only where a key does not exist happens where it does, too",
    "forgotten-tokens": "what was done with a token may be done again when the token comes again",
    "lost-adds": "an add to a counter may be acknowledged and forgotten",
    "doubled-adds": "an add to a counter may count twice",
    "stale-counts": "a counter may answer what it was before the last add",
    "lost-elements": "an element that was put into a queue may be gone",
    "doubled-elements": "an element may stay in the queue when it is taken out",
    "reordered-elements": "an element may be taken out of a queue before an older one",
    "lost-entries": "an entry of a log may be gone",
    "doubled-entries": "an entry may be in a log twice",
    "reordered-entries": "a poll may answer entries in another order",
    "skipped-entries": "a poll may leave out an entry and go on after it",
    "moved-entries": "an entry may be polled at another offset than it was sent to",
    "double-grants": "a lock that is held may be granted to another",
    "repeated-tokens": "a lock may be granted with the fencing token of the time before",
    "repeated-ids": "an identifier may be made twice",
    "skipped-events": "a watcher may not be told of a change",
    "doubled-events": "a watcher may be told of a change twice",
    "reordered-events": "a watcher may be told of changes in another order",
    "late-start": "a watch may begin after the revision that it asked for",
    "foreign-events": "a watcher may be told of a key that it did not ask for",
    "wrong-previous": "a watcher may be told no previous value, or an older one",
    "wrong-creates": "a watcher may be told that an old key is new",
    "early-progress": "a watcher may be told that it has everything before it has",
}
"""Name -> what may happen."""

CAN_SHOW: Final[dict[str, frozenset[str]]] = {
    KEY_VALUE: frozenset({"stale-reads", "lost-writes", "false-failures"}),
    COMPARE_AND_SET: frozenset({"lost-writes", "false-failures"}),
    CHOSEN_READS: frozenset({"stale-reads", "lost-writes", "false-failures"}),
    SCAN: frozenset({"stale-reads", "torn-reads", "false-failures"}),
    TRANSACTIONS: frozenset(
        {
            "lost-writes", "false-failures", "torn-reads", "torn-transactions", "lost-updates", "write-skew",
            "lying-timestamps", "read-committed", "long-fork", "dirty-reads",
        }
    ),
    TRANSACTIONAL_SCAN: frozenset({"phantoms", "overlooked-keys"}),
    RETRIED_TRANSACTIONS: frozenset({"lost-writes", "false-failures", "lost-updates"}),
    TRANSACT_WRITE: frozenset(
        {"forgotten-tokens", "ignored-conditions", "false-failures", "torn-transactions", "lost-writes"}
    ),
    COUNTER: frozenset({"lost-adds", "doubled-adds", "stale-counts", "false-failures"}),
    QUEUE: frozenset({"lost-elements", "doubled-elements", "reordered-elements", "false-failures"}),
    LOG: frozenset(
        {
            "lost-entries", "doubled-entries", "reordered-entries", "skipped-entries", "moved-entries",
            "false-failures",
        }
    ),
    LOCK: frozenset({"double-grants", "repeated-tokens", "false-failures"}),
    UNIQUE_IDS: frozenset({"repeated-ids"}),
    WATCH: frozenset(
        {
            "skipped-events", "doubled-events", "reordered-events", "late-start", "foreign-events",
            "wrong-previous", "wrong-creates", "early-progress", "lost-writes", "false-failures",
        }
    ),
}  # fmt: skip
"""Interface -> what may be wrong with it."""


class Misbehaviour:
    """One misbehaviour at most, and how often it shows."""

    def __init__(self, stream: random.Random, name: str | None = None, share: float = 0.05) -> None:
        """`share` is the probability with which it shows where it can. Raises ValueError."""
        if name is not None and name not in MISBEHAVIOURS:
            raise ValueError(f"unknown misbehaviour {name!r}; there are: {', '.join(MISBEHAVIOURS)}")
        if not 0 < share <= 1:
            raise ValueError(f"share {share!r} of a misbehaviour: must be above 0 and at most 1")
        self.name = name
        self.share = share
        self.random = stream
        """What else it draws, once it shows."""

    def shows(self, name: str) -> bool:
        """Whether this one is there and shows now."""
        return self.name == name and (self.share >= 1 or self.random.random() < self.share)
