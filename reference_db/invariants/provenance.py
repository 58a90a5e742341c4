"""Who wrote each version, which versions went and whether they might, and what clients were told of transactions.

Fed with every command when it is first applied anywhere, and with every outcome that a coordinator told. It says at
once when a collection goes too far; at the end, what does not agree:

1. Every version that a node holds names the transaction whose intent it was, or that committed it at once.
2. A transaction that was acknowledged has a version on each key that it wrote, all at one timestamp; one that was
   refused for certain has none.

Versions that were collected count for the second: what was written is remembered, whatever became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from reference_db.invariants.violation import Violation
from reference_db.storage import keys
from reference_db.storage.mvcc import decode_version
from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.command import Command, DropVersion, PutVersion, RaiseThreshold
from reference_db.txn.locks import Intent

SHOWN_MOST = 5


@dataclass(slots=True)
class _Outcome:
    """What a client was told of a transaction."""

    keys: tuple[bytes, ...]
    is_committed: bool


class Provenance:
    """All versions of all ranges."""

    def __init__(self) -> None:
        self._writers: dict[tuple[bytes, Timestamp], bytes] = {}
        """By key and timestamp: who wrote the version, dropped or not."""
        self._written: dict[bytes, dict[bytes, Timestamp]] = {}
        """By transaction: where it has versions, and at which timestamp."""
        self._standing: dict[bytes, dict[Timestamp, bool]] = {}
        """By key, of the versions that were not dropped, by timestamp: whether it is a deletion."""
        self._thresholds: dict[int, Timestamp] = {}
        """By range."""
        self._outcomes: dict[bytes, _Outcome] = {}
        self.is_whole = True
        """Everything was seen from the start. What was there before is nobody's."""

    # What happens.

    def told(self, transaction_id: bytes, written: Iterable[bytes], *, is_committed: bool) -> None:
        """A coordinator has told its client for certain what became of a transaction."""
        self._outcomes[transaction_id] = _Outcome(tuple(written), is_committed)

    def split(self, left_id: int, right_id: int) -> None:
        """What was collected in one range was collected in both."""
        if left_id in self._thresholds:
            self._thresholds[right_id] = self._thresholds[left_id]

    def merged(self, left_id: int, right_id: int) -> None:
        """A range absorbs another."""
        highest = max(self._thresholds.get(left_id, ZERO), self._thresholds.get(right_id, ZERO))
        if highest != ZERO:
            self._thresholds[left_id] = highest

    def applied(
        self,
        node: str,
        range_id: int,
        index: int,
        command: Command,
        intent_on: Callable[[bytes], Intent | None],
    ) -> list[Violation]:
        """A command is applied for the first time anywhere; `intent_on` tells which intents stood before it."""
        texts: list[str] = []
        for mutation in command.mutations:
            match mutation:
                case PutVersion(key=key, timestamp=timestamp):
                    intent = intent_on(key)
                    writer = mutation.writer if intent is None else intent.transaction.id
                    self._writers[key, timestamp] = writer
                    if writer:
                        self._written.setdefault(writer, {})[key] = timestamp
                    self._standing.setdefault(key, {})[timestamp] = mutation.value is None
                case RaiseThreshold(threshold=threshold):
                    self._thresholds[range_id] = max(self._thresholds.get(range_id, ZERO), threshold)
                case DropVersion(key=key, timestamp=timestamp):
                    text = self._drop(key, timestamp, self._thresholds.get(range_id, ZERO))
                    if text is not None:
                        texts.append(text)
        return [
            Violation("garbage only", f"range {range_id}, index {index}: {text}", range_id, node, index)
            for text in texts
        ]

    def reached(self, node: str, range_id: int, index: int, threshold: Timestamp) -> Violation | None:
        """A replica that was the first to apply an entry has this threshold."""
        known = self._thresholds.get(range_id, ZERO)
        if threshold >= known:
            return None
        text = f"range {range_id}, index {index}: the threshold on {node} is {threshold}, and was raised to {known}"
        return Violation("garbage only", text, range_id, node, index)

    def _drop(self, key: bytes, timestamp: Timestamp, threshold: Timestamp) -> str | None:
        standing = self._standing.get(key, {})
        was_deletion = standing.pop(timestamp, None)
        if was_deletion is None:
            return (
                None if not self.is_whole else f"{key!r} loses a version at {timestamp}, and has none there"
            )
        if timestamp > threshold:
            return f"{key!r} loses its version at {timestamp}, above the threshold {threshold}"
        if any(timestamp < newer <= threshold for newer in standing):
            return None
        if was_deletion and not any(older < timestamp for older in standing):
            return None
        return (
            f"{key!r} loses its version at {timestamp}, which readers at the threshold {threshold} see; others are at "
            f"{', '.join(map(str, standing)) or 'none'}"
        )

    # At the end.

    def audit_writers(self, range_id: int, held: Mapping[bytes, bytes]) -> list[str]:
        """The first rule, over the engine pairs that a node holds of a range."""
        broken: list[str] = []
        for encoded, raw in sorted(held.items()):
            if encoded[:1] != keys.VERSION:
                continue
            key, timestamp = keys.split_version_key(encoded)
            wrote = self._writers.get((key, timestamp))
            writer = decode_version(timestamp, raw).writer
            if wrote is not None and writer != wrote:
                broken.append(
                    f"range {range_id}: the version of {key!r} at {timestamp} names {_shown(writer)}, and "
                    f"{_shown(wrote)} wrote it"
                )
        return broken[:SHOWN_MOST]

    def audit_outcomes(self) -> list[str]:
        """The second rule."""
        broken: list[str] = []
        if not self.is_whole:
            return broken
        for who, outcome in self._outcomes.items():
            written = self._written.get(who, {})
            if outcome.is_committed:
                missing = [key for key in outcome.keys if key not in written]
                if missing:
                    broken.append(
                        f"transaction {who.hex()} was acknowledged, and has no version of {missing[0]!r}"
                    )
                elif len(set(written.values())) > 1:
                    broken.append(f"transaction {who.hex()} has versions at {sorted(set(written.values()))}")
            elif written:
                key, timestamp = next(iter(written.items()))
                broken.append(
                    f"transaction {who.hex()} was refused for certain, and has a version of {key!r} at {timestamp}"
                )
        return broken[:SHOWN_MOST]


def _shown(writer: bytes) -> str:
    return f"transaction {writer.hex()}" if writer else "no transaction"
