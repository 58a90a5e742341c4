"""What must hold of transactions, over the commands of all ranges, each looked at when it is first applied anywhere.

That order respects causes: nobody acts on a command's outcome before some replica has applied it. So when the first
version of a transaction appears in any range, its record must be known as COMMITTED, and so on.

What looks wrong and is not: a request that was delayed for long may lay an intent for a transaction that is long over.
Such an intent stands above the transaction's own committed version (or on a key that was cleared for good), and is
removed without becoming one.

Protocol `primary-lock` has no PENDING record: the lock on the anchor stands for it, so it goes only together with the
record that decides, and never comes again after one. All its timestamps come from the oracle, so none is above the
window that is replicated by then. Protocol `two-phase` has no record at all: of its transactions only that all their
versions have one timestamp can be said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reference_db.api import ORACLE_KEY, TransactionProtocol, TransactionStatus
from reference_db.invariants.violation import Violation
from reference_db.ranges.descriptor import Descriptor
from reference_db.storage import keys
from reference_db.storage.engine import Reader
from reference_db.timestamp import ZERO, Timestamp, decode_timestamp
from reference_db.txn.command import (
    Command,
    DropVersion,
    Mutation,
    PutIntent,
    PutRecord,
    PutVersion,
    RaiseThreshold,
    RememberReply,
    RemoveIntent,
    RemoveRecord,
)
from reference_db.txn.locks import Intent
from reference_db.txn.record import TransactionRecord
from reference_db.txn.state import RangeState

PENDING, COMMITTED, ABORTED, _MISSING, STAGING = TransactionStatus
_UNDECIDED = (PENDING, STAGING)


@dataclass(slots=True)
class _Fate:
    """What is known of one transaction's record."""

    status: TransactionStatus
    commit_timestamp: Timestamp
    floor: Timestamp
    keys: tuple[bytes, ...]
    anchor: bytes
    range_id: int
    """Where the record is."""
    is_forgotten: bool = False
    """The record was removed."""


class TransactionTruth:
    """All transactions of all ranges."""

    def __init__(self) -> None:
        self._fates: dict[bytes, _Fate] = {}
        self._intents: dict[bytes, Intent] = {}
        """By key."""
        self._held: dict[bytes, dict[bytes, None]] = {}
        """By transaction: the keys that it has intents on."""
        self._cleared: dict[bytes, tuple[bytes, Timestamp]] = {}
        """By transaction: a key, and the timestamp of an intent there that was removed without becoming a version."""
        self._newest: dict[bytes, Timestamp] = {}
        """By key: the timestamp of its newest version."""
        self._window = ZERO
        """Of the timestamp oracle."""
        self._two_phase: dict[bytes, Timestamp] = {}
        """By transaction of protocol `two-phase`: the timestamp of its versions."""

    def load(self, reader: Reader, descriptor: Descriptor) -> None:
        """A range with a past is seen for the first time: believe its disk."""
        state = RangeState(reader, descriptor.start, descriptor.end)
        for key, intent in state.locks.items():
            self._take_intent(key, intent)
        for record in state.records.values():
            self._fates[record.transaction.id] = _fate(record, descriptor.id)
        for encoded, _ in reader.scan(*keys.span(keys.VERSION, descriptor.start, descriptor.end)):
            key, timestamp = keys.split_version_key(encoded)
            if timestamp > self._newest.get(key, ZERO):
                self._newest[key] = timestamp
        if descriptor.contains(ORACLE_KEY):
            window = state.mvcc.newest(ORACLE_KEY)
            if window is not None and window.value is not None:
                self._window = max(self._window, decode_timestamp(window.value))

    def intent_on(self, key: bytes) -> Intent | None:
        """The intent that stands on a key."""
        return self._intents.get(key)

    def moved(self, source_id: int, target: Descriptor) -> None:
        """What a range held of this span is another's now."""
        for fate in self._fates.values():
            if fate.range_id == source_id and target.contains(fate.anchor):
                fate.range_id = target.id

    def applied(self, node: str, range_id: int, index: int, command: Command) -> list[Violation]:
        """A command is applied for the first time anywhere."""
        mutations = command.mutations
        removed = {one.key for one in mutations if isinstance(one, RemoveIntent)}
        versions = {one.key for one in mutations if isinstance(one, PutVersion)}
        texts: list[tuple[str, str]] = []
        for mutation in mutations:
            match mutation:
                case PutVersion():
                    texts += self._put_version(mutation, removed)
                case PutIntent():
                    texts += self._put_intent(mutation, range_id)
                case RemoveIntent():
                    if mutation.key not in versions:
                        texts += self._cleared_intent(mutation.key)
                    self._drop_intent(mutation.key)
                case PutRecord():
                    texts += self._put_record(mutation.record, range_id)
                case RemoveRecord():
                    texts += self._remove_record(mutation.transaction_id)
        return [
            Violation(
                name,
                f"range {range_id}, index {index}: {text}\n  the command, of term {command.term} at "
                f"{command.timestamp}: {_shown(mutations)}",
                range_id,
                node,
                index,
            )
            for name, text in texts
        ]

    # Versions.

    def _put_version(self, put: PutVersion, removed: set[bytes]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        newest = self._newest.get(put.key)
        if newest is not None and put.timestamp <= newest:
            text = f"{put.key!r} gets a version at {put.timestamp}, which is not above its newest at {newest}"
            found.append(("versions in order", text))
        else:
            self._newest[put.key] = put.timestamp
        if put.key == ORACLE_KEY and put.value is not None:
            window = decode_timestamp(put.value)
            if window < self._window:
                text = f"the oracle's window goes back from {self._window} to {window}"
                found.append(("timestamps only grow", text))
            self._window = max(self._window, window)
        intent = self._intents.get(put.key)
        if intent is None:
            return found
        who = intent.transaction.id.hex()
        if put.key not in removed:
            text = f"{put.key!r} gets a version at {put.timestamp} below the intent of {who} at {intent.timestamp}"
            return [*found, ("one intent a key", text)]
        if intent.transaction.protocol == TransactionProtocol.TWO_PHASE:
            at = self._two_phase.setdefault(intent.transaction.id, put.timestamp)
            if at != put.timestamp or intent.value != put.value:
                text = f"the intent of {who} on {put.key!r} becomes a version at {put.timestamp}, another did at {at}"
                found.append(("all keys or none", text))
            return found
        fate = self._fates.get(intent.transaction.id)
        if fate is None or fate.status != COMMITTED:
            status = "has no record" if fate is None else f"is {fate.status.name}"
            text = (
                f"the intent of {who} on {put.key!r} becomes a version at {put.timestamp}, but {who} {status}"
            )
            return [*found, ("all keys or none", text)]
        if put.timestamp != fate.commit_timestamp:
            text = (
                f"the intent of {who} on {put.key!r} becomes a version at {put.timestamp}, but {who} committed at "
                f"{fate.commit_timestamp}"
            )
            return [*found, ("all keys or none", text)]
        if intent.timestamp > put.timestamp or intent.value != put.value:
            text = (
                f"the intent of {who} on {put.key!r} at {intent.timestamp}, value {intent.value!r}, becomes a version "
                f"at {put.timestamp}, value {put.value!r}"
            )
            return [*found, ("all keys or none", text)]
        return found

    # Intents.

    def _put_intent(self, put: PutIntent, range_id: int) -> list[tuple[str, str]]:
        key, intent = put.key, put.intent
        who = intent.transaction.id
        found: list[tuple[str, str]] = []
        standing = self._intents.get(key)
        if standing is not None and standing.transaction.id != who:
            text = f"{key!r} is locked by {standing.transaction.id.hex()}, and gets an intent of {who.hex()}"
            found.append(("one intent a key", text))
            self._drop_intent(key)
        newest = self._newest.get(key)
        if newest is not None and intent.timestamp <= newest:
            text = f"{key!r} gets an intent at {intent.timestamp}, which is not above its newest version at {newest}"
            found.append(("versions in order", text))
        fate = self._fates.get(who)
        if intent.transaction.protocol == TransactionProtocol.PRIMARY_LOCK:
            found += self._above_window("a lock", who, intent.timestamp)
            if fate is not None and key == intent.transaction.anchor:
                text = f"{who.hex()} is {fate.status.name}, and its primary {key!r} is locked again"
                found.append(("one fate", text))
        if (
            fate is not None
            and fate.range_id == range_id
            and not fate.is_forgotten
            and fate.status not in _UNDECIDED
        ):
            text = (
                f"{key!r} gets an intent of {who.hex()}, whose record in the same range is {fate.status.name}"
            )
            found.append(("one fate", text))
        self._take_intent(key, intent)
        return found

    def _take_intent(self, key: bytes, intent: Intent) -> None:
        self._intents[key] = intent
        self._held.setdefault(intent.transaction.id, {})[key] = None

    def _drop_intent(self, key: bytes) -> None:
        intent = self._intents.pop(key, None)
        if intent is None:
            return
        held = self._held.get(intent.transaction.id)
        if held is not None:
            held.pop(key, None)
            if not held:
                del self._held[intent.transaction.id]

    def _cleared_intent(self, key: bytes) -> list[tuple[str, str]]:
        """An intent is removed, and no version comes of it."""
        intent = self._intents.get(key)
        if intent is None:
            return []
        who = intent.transaction.id
        fate = self._fates.get(who)
        is_primary = (
            intent.transaction.protocol == TransactionProtocol.PRIMARY_LOCK
            and key == intent.transaction.anchor
        )
        if fate is None and is_primary:
            text = f"the primary lock of {who.hex()} on {key!r} is thrown away without a rollback record"
            return [("one fate", text)]
        if fate is not None and fate.status == COMMITTED:
            if intent.timestamp > fate.commit_timestamp:
                return []
            text = (
                f"the intent of {who.hex()} on {key!r} at {intent.timestamp} is thrown away, but {who.hex()} committed "
                f"at {fate.commit_timestamp}"
            )
            return [("all keys or none", text)]
        self._cleared[who] = (key, intent.timestamp)
        return []

    # Records.

    def _put_record(self, record: TransactionRecord, range_id: int) -> list[tuple[str, str]]:
        who = record.transaction.id
        found: list[tuple[str, str]] = []
        known = self._fates.get(who)
        if known is None:
            if record.transaction.protocol == TransactionProtocol.PRIMARY_LOCK:
                if record.status == COMMITTED:
                    found += self._committed_by_locks(record)
            elif record.status not in _UNDECIDED:
                text = f"{who.hex()} gets a record that is {record.status.name}, and never had one that was PENDING"
                found.append(("one fate", text))
        elif known.is_forgotten:
            text = f"{who.hex()} was {known.status.name} and forgotten, and gets a record that is {record.status.name}"
            found.append(("one fate", text))
        elif known.status == STAGING and record.status == ABORTED and self._is_all_there(record, known):
            text = (
                f"{who.hex()} was STAGING at {known.commit_timestamp} with all its intents, and so committed, and "
                "becomes ABORTED"
            )
            found.append(("one fate", text))
        elif known.status == PENDING and record.status == STAGING:
            found.append(("one fate", f"{who.hex()} was PENDING, and becomes STAGING"))
        elif known.status not in _UNDECIDED and (
            record.status != known.status or record.commit_timestamp != known.commit_timestamp
        ):
            text = (
                f"{who.hex()} was {known.status.name} at {known.commit_timestamp}, and becomes {record.status.name} at "
                f"{record.commit_timestamp}"
            )
            found.append(("one fate", text))
        elif record.floor < known.floor:
            text = f"the floor of {who.hex()} goes back from {known.floor} to {record.floor}"
            found.append(("one fate", text))
        if record.status == COMMITTED and (known is None or known.status in _UNDECIDED):
            found += self._commits(record)
        if known is None or not found:
            self._fates[who] = _fate(record, range_id)
        return found

    def _committed_by_locks(self, record: TransactionRecord) -> list[tuple[str, str]]:
        """The timestamp of a commit of protocol primary-lock is the oracle's, or the largest that its locks say."""
        who, at = record.transaction.id, record.commit_timestamp
        said = [
            intent.commit_from
            for key in record.keys
            if (intent := self._intents.get(key)) is not None and intent.transaction.id == who
        ]
        highest = max(said, default=ZERO)
        if highest == ZERO:
            return self._above_window("a commit", who, at)
        if at == highest:
            return []
        return [("one fate", f"{who.hex()} commits at {at}, and its locks say {highest}")]

    def _above_window(self, what: str, who: bytes, at: Timestamp) -> list[tuple[str, str]]:
        if at <= self._window:
            return []
        text = f"{what} of {who.hex()} has the timestamp {at}, above the oracle's window at {self._window}"
        return [("timestamps only grow", text)]

    def _is_all_there(self, record: TransactionRecord, known: _Fate) -> bool:
        """Whether every key of a transaction has its intent, at or below where it is STAGING."""
        for key in record.keys:
            intent = self._intents.get(key)
            if (
                intent is None
                or intent.transaction.id != record.transaction.id
                or intent.timestamp > known.commit_timestamp
            ):
                return False
        return True

    def _commits(self, record: TransactionRecord) -> list[tuple[str, str]]:
        """All its intents stand, at or below the commit timestamp."""
        who, at = record.transaction.id, record.commit_timestamp
        if at < record.floor:
            return [("one fate", f"{who.hex()} commits at {at}, below its floor {record.floor}")]
        for key in record.keys:
            intent = self._intents.get(key)
            if intent is None or intent.transaction.id != who:
                cleared = self._cleared.get(who)
                why = f" (its intent on {cleared[0]!r} at {cleared[1]} was thrown away)" if cleared else ""
                return [
                    ("all keys or none", f"{who.hex()} commits at {at} without an intent on {key!r}{why}")
                ]
            if intent.timestamp > at:
                text = f"{who.hex()} commits at {at}, below its intent on {key!r} at {intent.timestamp}"
                return [("all keys or none", text)]
        return []

    def _remove_record(self, who: bytes) -> list[tuple[str, str]]:
        fate = self._fates.get(who)
        if fate is None or fate.is_forgotten:
            return []
        fate.is_forgotten = True
        self._cleared.pop(who, None)
        if fate.status in _UNDECIDED:
            return [("one fate", f"the record of {who.hex()} is removed while it is {fate.status.name}")]
        if fate.status == COMMITTED:
            for key in self._held.get(who, ()):
                intent = self._intents[key]
                if intent.timestamp <= fate.commit_timestamp:
                    text = (
                        f"the record of {who.hex()}, which committed at {fate.commit_timestamp}, is removed while its "
                        f"intent on {key!r} at {intent.timestamp} still stands"
                    )
                    return [("all keys or none", text)]
        fate.keys = ()
        return []


def _fate(record: TransactionRecord, range_id: int) -> _Fate:
    anchor = record.transaction.anchor
    return _Fate(record.status, record.commit_timestamp, record.floor, record.keys, anchor, range_id)


def _shown(mutations: Sequence[Mutation]) -> str:
    parts = []
    for mutation in mutations[:8]:
        match mutation:
            case PutVersion(key=key, timestamp=timestamp):
                parts.append(f"version of {key!r} at {timestamp}")
            case PutIntent(key=key, intent=intent):
                parts.append(f"intent of {intent.transaction.id.hex()} on {key!r} at {intent.timestamp}")
            case RemoveIntent(key=key):
                parts.append(f"no intent on {key!r}")
            case PutRecord(record=record):
                parts.append(
                    f"record of {record.transaction.id.hex()}: {record.status.name} at {record.commit_timestamp}"
                )
            case RemoveRecord(transaction_id=who):
                parts.append(f"no record of {who.hex()}")
            case RememberReply(session=who, reply=reply):
                parts.append(f"reply to write {reply.sequence} of session {who.hex()}")
            case RaiseThreshold(threshold=threshold):
                parts.append(f"threshold {threshold}")
            case DropVersion(key=key, timestamp=timestamp):
                parts.append(f"no version of {key!r} at {timestamp}")
    return "; ".join(parts) + ("; ..." if len(mutations) > 8 else "")
