"""What the database in memory keeps: every version of every key, and the other types; each call at one moment.

A right store is strictly serializable: a call does all that it does at once, and a transaction reads one snapshot, the
newest there was when it began; it commits if nothing that it read has changed since then (a read-only one needs no
such check). Where a call would keep a rule it asks its misbehaviour whether to break it.

Calls take and answer what JSON can carry, so that they can be made from anywhere; `session.py` has the types.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from harness.systems.in_memory.misbehaviour import Misbehaviour
from workloads.session import Definite, Poll, Send, Value, WatchEvent

LAG: Final = 30
"""How many revisions later a write through another node is seen, where `long-fork` shows."""
DEFERRED: Final = 20
"""After how many calls at most the next write of a torn transaction appears."""
LOOK_BACK: Final = 10
"""How many revisions a stale or torn read looks back, at most."""
WATCHED_AT_ONCE: Final = 100
"""How many events a watcher gets at once, about."""


class Version(msgspec.Struct, frozen=True):
    """A value that a key had from a revision on; None: there was no such key."""

    revision: int
    value: Value | None
    node: str
    """Through which it was written."""


class Store:
    """All the state. Nothing in it waits."""

    def __init__(self, misbehaviour: Misbehaviour) -> None:
        self.revision = 0
        """Of the last write; each write of a key and each transaction has one."""
        self.versions: dict[str, list[Version]] = {}
        self.changes: list[WatchEvent] = []
        """Every change of a key, in order of the revisions."""
        self.counters: dict[str, list[int]] = {}
        """The number, and what it was before the last add."""
        self.queues: dict[str, list[Value]] = {}
        self.logs: dict[str, list[tuple[int, Value]]] = {}
        self.log_ends: dict[str, int] = {}
        self.locks: dict[str, tuple[int | None, int]] = {}
        """The token of the holder, and the last token."""
        self.last_id = 0
        self.tokens: set[str] = set()
        """Of writes that were done."""
        self.wrong = misbehaviour
        self._calls = 0
        self._deferred: list[tuple[int, str, Value | None, str]] = []
        """Writes of torn transactions: after which call, key, value, node."""

    def perform(self, node: str, call: str, arguments: Sequence[Any]) -> Any:
        """Does one call that came in through this node. Raises Definite where it is refused."""
        self._calls += 1
        while self._deferred and self._deferred[0][0] <= self._calls:
            _, key, value, writer = self._deferred.pop(0)
            self.write(key, value, writer)
        return CALLS[call](self, node, *arguments)

    # Keys

    @property
    def values(self) -> dict[str, Any]:
        """What every key is now."""
        newest = {key: versions[-1].value for key, versions in self.versions.items()}
        return {key: value for key, value in newest.items() if value is not None}

    def write(self, key: str, value: Value | None, node: str = "", revision: int | None = None) -> int:
        """The key has this value now; None deletes it. Without a revision, the write gets one of its own."""
        if revision is None:
            revision = self.revision = self.revision + 1
        previous = self.newest(key)
        self.versions.setdefault(key, []).append(Version(revision, value, node))
        if value is not None or previous is not None:
            kind = "delete" if value is None else "put"
            created = value is not None and previous is None
            self.changes.append(WatchEvent(revision, kind, key, value, previous, created))  # type: ignore[arg-type]
        return revision

    def newest(self, key: str) -> Value | None:
        """What a key is now."""
        versions = self.versions.get(key)
        return versions[-1].value if versions else None

    def at(self, key: str, revision: int) -> Value | None:
        """What a key was when this revision was the last."""
        versions = self.versions.get(key, [])
        found = bisect_right(versions, revision, key=lambda version: version.revision)
        return versions[found - 1].value if found else None

    def get(self, node: str, key: str) -> Value | None:
        versions = self.versions.get(key)
        if versions and self.wrong.shows("stale-reads"):
            return versions[-2].value if len(versions) > 1 else None
        return self.newest(key)

    def put(self, node: str, key: str, value: Value) -> None:
        if not self.wrong.shows("lost-writes"):
            self.write(key, value, node)

    def delete(self, node: str, key: str) -> None:
        if not self.wrong.shows("lost-writes"):
            self.write(key, None, node)

    def compare_and_set(self, node: str, key: str, expected: Value | None, new: Value) -> bool:
        if self.newest(key) != expected:
            return False
        if not self.wrong.shows("lost-writes"):
            self.write(key, new, node)
        return True

    def scan(self, node: str, start: str, end: str, limit: int) -> list[tuple[str, Value]]:
        revision = self.revision
        if self.wrong.shows("stale-reads"):
            revision -= self.wrong.random.randint(1, LOOK_BACK)
        found = []
        for key in sorted(key for key in self.versions if start <= key < end):
            value = self._perhaps_torn(key, revision)
            if value is not None:
                found.append((key, value))
                if len(found) == limit:
                    break
        return found

    def _perhaps_torn(self, key: str, revision: int) -> Value | None:
        if self.wrong.shows("torn-reads"):
            return self.at(key, revision - self.wrong.random.randint(1, LOOK_BACK))
        return self.at(key, revision)

    # Transactions: the client keeps what it has read and written, and hands it in at the end.

    def begin(self, node: str) -> list[int]:
        """The snapshot that a transaction reads: the revision up to which it sees everything, and the one up to which
        it sees what was written through other nodes."""
        lagging = self.wrong.shows("long-fork")
        return [self.revision, self.revision - LAG if lagging else self.revision]

    def read(self, node: str, snapshot: list[int], keys: Sequence[str]) -> list[Value | None]:
        if self.wrong.shows("read-committed"):
            return [self.newest(key) for key in keys]
        own, others = snapshot
        if own == others:
            return [self._perhaps_torn(key, own) for key in keys]
        return [self._seen(key, own, others, node) for key in keys]

    def read_range(
        self, node: str, snapshot: list[int], start: str, end: str, limit: int
    ) -> list[tuple[str, Value]]:
        """What `read` answers for every key of an interval that exists."""
        keys = sorted(key for key in self.versions if start <= key < end)
        pairs = zip(keys, self.read(node, snapshot, keys), strict=True)
        found = [(key, value) for key, value in pairs if value is not None][:limit]
        if found and self.wrong.shows("overlooked-keys"):
            del found[self.wrong.random.randrange(len(found))]
        return found

    def _seen(self, key: str, own: int, others: int, node: str) -> Value | None:
        for version in reversed(self.versions.get(key, [])):
            if version.revision <= (own if version.node == node else others):
                return version.value
        return None

    def commit(
        self,
        node: str,
        snapshot: list[int],
        read: Sequence[str],
        ranges: Sequence[Sequence[str]],
        written: dict[str, Value | None],
    ) -> int | None:
        """Applies what a transaction has written, unless a key that it read, or any in an interval that it read, has
        changed since its snapshot. Answers its commit timestamp, twice the revision; None where it has none."""
        if not written:
            return None
        revision, others = snapshot
        seen = {key for start, end in ranges for key in self.versions if start <= key < end}
        changed = [key for key in sorted({*read, *seen}) if self._changed(key, revision)]
        if others != revision:
            # Parallel snapshot isolation: what it writes over must be what it could see.
            changed = [key for key in written if self._seen(key, revision, others, node) != self.newest(key)]
        if changed and all(key not in read and self.at(key, revision) is None for key in changed):
            # What has changed are keys that were not there when the intervals were read.
            changed = [] if self.wrong.shows("phantoms") else changed
        if changed and not self._commits_all_the_same(changed, written, revision):
            if self.wrong.shows("dirty-reads"):
                self._apply(node, written)
            raise Definite("conflict", f"{changed[0]} has changed since it was read")
        if self.wrong.shows("lost-writes"):
            return None
        return self._apply(node, written)

    def _changed(self, key: str, since: int) -> bool:
        versions = self.versions.get(key)
        return versions is not None and versions[-1].revision > since

    def _commits_all_the_same(
        self, changed: list[str], written: dict[str, Value | None], snapshot: int
    ) -> bool:
        if self.wrong.shows("lost-updates") or self.wrong.shows("read-committed"):
            return True
        unwritten = not any(self._changed(key, snapshot) for key in written)
        return unwritten and self.wrong.shows("write-skew")

    def _apply(self, node: str, written: dict[str, Value | None]) -> int | None:
        if len(written) > 1 and self.wrong.shows("torn-transactions"):
            due = self._calls
            for key, value in written.items():
                self._deferred.append((due, key, value, node))
                due += self.wrong.random.randint(1, DEFERRED)
            self._deferred.sort(key=lambda one: one[0])
            return None
        revision = self.revision = self.revision + 1
        for key, value in written.items():
            self.write(key, value, node, revision)
        if self.wrong.shows("lying-timestamps"):
            return max(0, 2 * (revision - self.wrong.random.randint(1, LOOK_BACK)) + 1)
        return 2 * revision

    def transact_write(self, node: str, items: Sequence[Sequence[Any]], token: str) -> None:
        """Each item is [key, elements, must exist, must not exist]."""
        if token in self.tokens and not self.wrong.shows("forgotten-tokens"):
            return
        written: dict[str, Value | None] = {}
        for key, elements, must_exist, must_not_exist in items:
            current = self.newest(key)
            if must_exist and current is None:
                raise Definite("cancelled", f"{key} does not exist")
            if must_not_exist and current is not None and not self.wrong.shows("ignored-conditions"):
                raise Definite("cancelled", f"{key} exists")
            if elements:
                written[key] = [*(current or []), *elements]
        self.tokens.add(token)
        if not self.wrong.shows("lost-writes"):
            self._apply(node, written)

    # Counters

    def add(self, node: str, counter: str, amount: int) -> None:
        if self.wrong.shows("lost-adds"):
            return
        now, _ = self.counters.get(counter, [0, 0])
        times = 2 if self.wrong.shows("doubled-adds") else 1
        self.counters[counter] = [now + times * amount, now]

    def count(self, node: str, counter: str) -> int:
        now, before = self.counters.get(counter, [0, 0])
        return before if self.wrong.shows("stale-counts") else now

    # Queues

    def enqueue(self, node: str, queue: str, element: Value) -> None:
        if not self.wrong.shows("lost-elements"):
            self.queues.setdefault(queue, []).append(element)

    def dequeue(self, node: str, queue: str) -> Value | None:
        elements = self.queues.get(queue, [])
        if not elements:
            return None
        position = 1 if len(elements) > 1 and self.wrong.shows("reordered-elements") else 0
        element = elements[position]
        if not self.wrong.shows("doubled-elements"):
            del elements[position]
        return element

    # Logs

    def exchange(self, node: str, steps: Sequence[Any]) -> list[Any]:
        """Polls come first, so that none sees what is sent here."""
        asked: list[Send | Poll] = msgspec.convert(steps, list[Send | Poll])
        polled = {at: self._poll(step) for at, step in enumerate(asked) if isinstance(step, Poll)}
        return [
            self._send(step) if isinstance(step, Send) else polled[position]
            for position, step in enumerate(asked)
        ]

    def _send(self, step: Send) -> int:
        offset = self.log_ends.get(step.log, 0)
        entries = self.logs.setdefault(step.log, [])
        moved = 1 if self.wrong.shows("moved-entries") else 0
        if not self.wrong.shows("lost-entries"):
            entries.append((offset, step.value))
        if self.wrong.shows("doubled-entries"):
            entries.append((offset + 1, step.value))
        self.log_ends[step.log] = max(offset, entries[-1][0] if entries else 0) + 1
        return offset + moved

    def _poll(self, step: Poll) -> list[tuple[int, Value]]:
        entries = self.logs.get(step.log, [])
        first = bisect_right(entries, step.offset - 1, key=lambda entry: entry[0])
        found = entries[first : first + step.most]
        if len(found) > 1 and self.wrong.shows("skipped-entries"):
            del found[self.wrong.random.randrange(len(found) - 1)]
        if len(found) > 1 and self.wrong.shows("reordered-entries"):
            found[-2:] = [found[-1], found[-2]]
        return found

    def end(self, node: str, log: str) -> int:
        return self.log_ends.get(log, 0)

    # Locks

    def acquire(self, node: str, lock: str) -> int | None:
        holder, last = self.locks.get(lock, (None, 0))
        if holder is not None and not self.wrong.shows("double-grants"):
            return None
        token = last if last and self.wrong.shows("repeated-tokens") else last + 1
        self.locks[lock] = (token, token)
        return token

    def release(self, node: str, lock: str, token: int) -> bool:
        holder, last = self.locks.get(lock, (None, 0))
        if holder != token:
            return False
        self.locks[lock] = (None, last)
        return True

    # Identifiers

    def generate_id(self, node: str) -> int:
        if not self.wrong.shows("repeated-ids"):
            self.last_id += 1
        return self.last_id

    # Watching

    def put_revised(self, node: str, key: str, value: Value) -> int:
        if self.wrong.shows("lost-writes"):
            self.revision += 1
            return self.revision
        return self.write(key, value, node)

    def delete_revised(self, node: str, key: str) -> int | None:
        return None if self.newest(key) is None else self.write(key, None, node)

    def last_revision(self, node: str) -> int:
        return self.revision

    def watched(self, node: str, start: str, end: str, revision: int, is_first: bool) -> list[Any]:
        """The events from this revision on, as far as they have happened (about `WATCHED_AT_ONCE` of them); up to which
        revision that is everything; and the revision to go on with."""
        wrong = self.wrong
        if is_first and wrong.shows("late-start"):
            revision += 1
        position = bisect_right(self.changes, revision - 1, key=lambda event: event.revision)
        events: list[WatchEvent] = []
        seen = revision - 1
        for event in self.changes[position:]:
            if len(events) >= WATCHED_AT_ONCE and event.revision != seen:
                break
            seen = event.revision
            if start <= event.key < end or wrong.shows("foreign-events"):
                events.append(event)
        else:
            seen = max(seen, self.revision)
        if events and wrong.shows("early-progress"):
            return [[], seen, revision]
        return [self._mistold(events), seen, seen + 1]

    def _mistold(self, events: list[WatchEvent]) -> list[dict[str, Any]]:
        """The events as a wrong watch tells of them; a right one tells them as they are."""
        wrong = self.wrong
        told: list[WatchEvent] = []
        for event in events:
            shown = event
            if wrong.shows("skipped-events"):
                continue
            if event.previous is not None and wrong.shows("wrong-previous"):
                shown = msgspec.structs.replace(shown, previous=None)
            if event.type == "put" and not event.is_create and wrong.shows("wrong-creates"):
                shown = msgspec.structs.replace(shown, is_create=True)
            told.append(shown)
            if wrong.shows("doubled-events"):
                told.append(shown)
            if len(told) > 1 and wrong.shows("reordered-events"):
                told[-2:] = [told[-1], told[-2]]
        return [msgspec.structs.asdict(event) for event in told]


CALLS: Final[dict[str, Callable[..., Any]]] = {
    call.__name__: call
    for call in (
        Store.get, Store.put, Store.delete, Store.compare_and_set, Store.scan, Store.begin, Store.read,
        Store.read_range, Store.commit, Store.transact_write, Store.add, Store.count, Store.enqueue,
        Store.dequeue, Store.exchange, Store.end, Store.acquire, Store.release, Store.generate_id,
        Store.put_revised, Store.delete_revised, Store.last_revision, Store.watched,
    )
}  # fmt: skip
"""What a client may call."""
