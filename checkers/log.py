"""Logs (as Kafka has them): every acknowledged message has one offset, in order, and no consumer misses one.

Operations: `send` `[key, value]`, answered `[key, [offset, value]]`; `poll`, answered `{key: [[offset, value], ...]}`;
`txn` of `["send", key, value]` and `["poll"]`, answered with `[offset, value]` and with polled messages; `assign` and
`subscribe`, with keys or with `{"keys": keys, "from": "beginning" or "latest"}`, which set a consumer's positions anew.
A process is a consumer; it goes on where its last poll ended. A failed poll, or a failed transaction with one, may have
moved it, so nothing is concluded across it.

- *Inconsistent offset*: two messages at one offset of a key.
- *Duplicated message*: one message at more offsets than it was sent.
- *Aborted message* (G1a): a message whose send, or transaction, failed. *Never sent*: by nobody. *Before its send*.
- *Precommitted message*: a transaction polled what it sent itself, before it was committed.
- *Non-monotonic send*: of two sends of a process, or in one transaction, the later has the lower offset; *reordered
  sends*: the same in real time, of any two processes.
- *Non-monotonic poll*: a consumer is given a message again, or an earlier one after a later one, in one poll
  (*internal*) or from one to the next (*external*).
- *Skipped messages*: a consumer goes past a message that exists. An offset that nobody ever saw is no message:
  transaction markers and aborted transactions leave gaps.
- *Lost message*: an acknowledged message that no poll ever returned, though a consumer went past it.

Messages that were acknowledged, never polled, and that no consumer went past, are *unseen*: counted and told, but no
error, since nobody may have come that far yet.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.checker import Limits
from checkers.conclusion import Misshapen, anomaly, conclude, values_listed
from checkers.operations import FOREVER, Operations
from checkers.precedence import greatest_before
from checkers.values import Numbering, identities, identity, key_text, meant_keys, whole_number
from checkers.words import count, interval, listing, none_of, shown
from results.history import TYPE_CODES, History, Pair
from results.operation import FAIL, OK
from results.verdict import Anomaly, Verdict

INCONSISTENT = "inconsistent offset"
DUPLICATED = "duplicated message"
ABORTED = "aborted message (G1a)"
NEVER_SENT = "message never sent"
BEFORE_ITS_SEND = "message before its send"
PRECOMMITTED = "precommitted message"
NONMONOTONIC_SEND = "non-monotonic send"
REORDERED = "reordered sends"
NONMONOTONIC_POLL = "non-monotonic poll"
INTERNAL_NONMONOTONIC_POLL = "internal non-monotonic poll"
SKIPPED = "skipped messages"
INTERNAL_SKIPPED = "internally skipped messages"
LOST = "lost message"

_UNKNOWN: Final = -2
"""No offset was recorded."""
_MOST_OFFSET: Final = 1 << 40
"""More than any offset."""


@dataclass(frozen=True)
class _Sent:
    """Messages that were sent or tried, in the order of invocation."""

    key: NDArray[np.int64]
    message: NDArray[np.int64]
    """A number for key and value."""
    offset: NDArray[np.int64]
    by: NDArray[np.int64]
    """Position among the operations."""


@dataclass(frozen=True)
class _Polled:
    """Messages that were polled, in the order of the polls and within them as they stand there."""

    key: NDArray[np.int64]
    message: NDArray[np.int64]
    offset: NDArray[np.int64]
    by: NDArray[np.int64]
    reader: NDArray[np.int64]
    """A number for a consumer between two moments at which its positions were set anew."""


@dataclass
class LogChecker:
    """Judges sends to, and polls of, the logs of several keys.

    `start` says where a consumer begins that was never told: "beginning", or None if that is not known.
    """

    start: str | None = None
    real_time: bool = True
    """Whether sends are ordered across processes too."""
    name: str = field(default="log", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        record = _Record(history, self.start)
        operations, sent, polled = record.operations, record.sent, record.polled
        acknowledged = operations.ok[sent.by]
        details: dict[str, Any] = {
            "sends": len(sent.by),
            "acknowledged": int(acknowledged.sum()),
            "polled": len(polled.by),
            "keys": len(record.keys),
        }
        words = _Words(record)
        known = _known(sent, polled, acknowledged)
        anomalies = [
            *_inconsistent(known, words),
            *_duplicated(known, record, words),
            *_unfounded(record, words),
            *_precommitted(record, words),
            *_sends_out_of_order(record, words, self.real_time),
        ]
        poll_anomalies, passed = _polls_out_of_order(record, known, words)
        anomalies += poll_anomalies
        lost, unseen = _unread(record, acknowledged, passed, words)
        anomalies += lost
        details["unseen"] = unseen
        agreeing = count(int(acknowledged.sum()), "acknowledged send")
        valid = f"{count(len(polled.by), 'polled message')} agree with {agreeing}"
        if unseen:
            number = sum(unseen.values())
            valid += f"; {count(number, 'message')} of {listing(unseen)} had not been polled by the end"
        doubts = record.misshapen.doubts()
        if record.unclear:
            doubts.append(
                f"the keys {values_listed(record.unclear)} of polled messages are each the text of several keys, which "
                "could not be judged; keys with different texts would be"
            )
        if not len(polled.by) and not doubts:
            why = none_of(record.polls, "poll", "returned a message")
            doubts = [f"{why}: the log was never seen; polls after the sends would tell"]
        return conclude(self.name, anomalies, doubts, valid, details)


class _Record:
    """A history as messages sent and polled."""

    def __init__(self, history: History, start: str | None) -> None:
        self.operations = Operations.of(history, "send", "poll", "txn", "assign", "subscribe", "crash")
        self.misshapen = Misshapen("sends, polls or positions of a log")
        self.keys = Numbering()
        self.messages: list[tuple[Any, Any]] = []
        """Key and value of each message."""
        self.polls = 0
        self.all_sends_known = True
        """Whether every send that may have happened has the right shape, so that no other can have sent a message."""
        self.unclear: list[str] = []
        """Texts in answers of polls that may stand for several keys; none of these keys is judged."""
        self._sent: list[tuple[Any, Any, int, int]] = []
        # Of polled messages, which are many: of each list its key, length, operation and reader; then one entry each.
        self._lists: list[tuple[Any, int, int, int]] = []
        self._values: list[Any] = []
        self._offsets: list[int] = []
        self._reader: dict[int, int] = {}
        self._loose: set[int] = set()
        """Processes whose positions a group of consumers decides, so that any two polls may be apart."""
        self._readers = 0
        self._assigned: list[Any] = []
        """Keys that consumers were told to read."""
        from_beginning: dict[int, frozenset[Hashable] | None] = {}
        ok, fail = TYPE_CODES[OK], TYPE_CODES[FAIL]
        events = history.operations
        rows = zip(
            self.operations.start.tolist(),
            self.operations.end.tolist(),
            self.operations.outcome.tolist(),
            self.operations.process.tolist(),
            strict=True,
        )
        for place, (begin, end, outcome, process) in enumerate(rows):
            event = events[begin]
            answer = events[end].value if outcome == ok else None
            if process not in self._reader:
                self._new_reader(process)
                if start == "beginning":
                    from_beginning[self._reader[process]] = None
            if not self._take(place, event.f, event.value, answer, outcome, process, from_beginning):
                self.misshapen.note(self.operations.pair(place))
                self._new_reader(process)
            if outcome == fail and event.f == "poll":
                self._new_reader(process)
        self._settle_keys()
        self.sent, self.polled = self._tables()
        self.from_beginning = from_beginning
        """Readers that begin with the first message: of these keys, or (None) of all."""

    def _settle_keys(self) -> None:
        """The keys of polled mappings become those that sends and assignments named; what may be two is left out."""
        named = Numbering()
        named.number([key for key, *_ in self._sent])
        named.number(self._assigned)
        meant = meant_keys(named.values, dict.fromkeys(key for key, *_ in self._lists))
        texts = {key for key, *_ in self._lists if isinstance(key, str)}
        self.unclear = sorted(texts - meant.keys())
        if self.unclear:
            apart = {identity(key) for key in named.values if key_text(key) in self.unclear}
            self._sent = [row for row in self._sent if identity(row[0]) not in apart]
            lengths = [length for _, length, *_ in self._lists]
            kept = np.repeat([key in meant for key, *_ in self._lists], lengths).tolist()
            self._values = list(compress(self._values, kept))
            self._offsets = list(compress(self._offsets, kept))
            self._lists = [row for row in self._lists if row[0] in meant]
        self._lists = [(meant[key] if isinstance(key, str) else key, *rest) for key, *rest in self._lists]

    def _tables(self) -> tuple[_Sent, _Polled]:
        """Everything taken so far, as columns."""
        sent = self._sent
        lengths = [length for _, length, _, _ in self._lists]
        key = self.keys.number([key for key, _, _, _ in sent])
        polled_key = np.repeat(self.keys.number([key for key, _, _, _ in self._lists]), lengths)
        values = Numbering()
        value = values.number([value for _, value, _, _ in sent])
        polled_value = values.number(self._values)
        wide = max(1, len(values))
        both = np.concatenate([key, polled_key]) * wide + np.concatenate([value, polled_value])
        names, message = np.unique(both, return_inverse=True)
        self.messages = [
            (self.keys.values[name // wide], values.values[name % wide]) for name in names.tolist()
        ]
        return (
            _Sent(
                key,
                message[: len(sent)],
                np.array([offset for _, _, offset, _ in sent], dtype=np.int64),
                np.array([by for _, _, _, by in sent], dtype=np.int64),
            ),
            _Polled(
                polled_key,
                message[len(sent) :],
                np.array(self._offsets, dtype=np.int64),
                np.repeat(np.array([by for _, _, by, _ in self._lists], dtype=np.int64), lengths),
                np.repeat(np.array([reader for _, _, _, reader in self._lists], dtype=np.int64), lengths),
            ),
        )

    def _new_reader(self, process: int) -> None:
        self._readers += 1
        self._reader[process] = self._readers

    def _take(
        self,
        place: int,
        f: str,
        asked: Any,
        answer: Any,
        outcome: int,
        process: int,
        from_beginning: dict[int, frozenset[Hashable] | None],
    ) -> bool:
        if f == "crash":
            return True
        if f in ("assign", "subscribe"):
            keys, where = asked, None
            if isinstance(asked, dict):
                keys, where = asked.get("keys"), asked.get("from")
            if outcome == TYPE_CODES[FAIL]:
                return True
            self._new_reader(process)
            self._loose.discard(process)
            if f == "subscribe":
                self._loose.add(process)
            if not isinstance(keys, list | tuple):
                return False
            self._assigned.extend(keys)
            if f == "assign" and where == "beginning":
                from_beginning[self._reader[process]] = frozenset(map(identity, keys))
            return True
        is_ok = outcome == TYPE_CODES[OK]
        if f == "send":
            return self._take_send(place, asked, answer if is_ok else None)
        if process in self._loose:
            self._new_reader(process)
        if f == "poll":
            self.polls += 1
            return not is_ok or answer is None or self._take_poll(place, answer, self._reader[process])
        return self._take_transaction(place, asked, answer if is_ok else None, process)

    def _take_send(self, place: int, asked: Any, answer: Any) -> bool:
        if not isinstance(asked, list | tuple) or len(asked) != 2:
            self.all_sends_known &= bool(self.operations.failed[place])
            return False
        key, value = asked
        has_answer = isinstance(answer, list | tuple) and len(answer) == 2
        offset = _offset_of(answer[1], value) if has_answer else _UNKNOWN
        self._sent.append((key, value, offset, place))
        return has_answer or answer is None

    def _take_poll(self, place: int, answer: Any, reader: int) -> bool:
        if not isinstance(answer, Mapping):
            return False
        found = []
        for key, messages in answer.items():
            columns = _columns(messages)
            if columns is None:
                return False
            found.append((key, columns))
        for name, (offsets, values) in found:
            self._lists.append((name, len(offsets), place, reader))
            self._offsets.extend(offsets)
            self._values.extend(values)
        return True

    def _take_transaction(self, place: int, asked: Any, answer: Any, process: int) -> bool:
        if not isinstance(asked, list | tuple) or not all(
            isinstance(one, list | tuple) and one for one in asked
        ):
            self.all_sends_known &= bool(self.operations.failed[place])
            return False
        good = answer is None or (isinstance(answer, list | tuple) and len(answer) == len(asked))
        answers: Sequence[Any] = answer if good and answer is not None else [None] * len(asked)
        for micro, answered in zip(asked, answers, strict=True):
            if micro[0] == "send" and len(micro) == 3:
                has_answer = isinstance(answered, list | tuple) and len(answered) == 3
                offset = _offset_of(answered[2], micro[2]) if has_answer else _UNKNOWN
                self._sent.append((micro[1], micro[2], offset, place))
            elif micro[0] == "poll":
                self.polls += 1
                is_told = isinstance(answered, list | tuple) and len(answered) == 2
                if is_told and answered[1] is not None:
                    is_told = self._take_poll(place, answered[1], self._reader[process])
                    good &= is_told
                if not is_told:
                    self._new_reader(process)
            else:
                self.all_sends_known &= bool(self.operations.failed[place])
                good = False
        return good


def _offset_of(answer: Any, value: Any) -> int:
    """The offset in `[offset, value]`; where a send was answered with its bare value, none is known."""
    if _is_message(answer) and identity(answer[1]) == identity(value):
        offset = whole_number(answer[0])
        assert offset is not None, f"{answer!r:.80} was a message"
        return offset
    return _UNKNOWN


def _columns(messages: Any) -> tuple[Sequence[int], Sequence[Any]] | None:
    """Offsets and values of a list of messages; None if it is not one."""
    if not isinstance(messages, list | tuple):
        return None
    if not messages:
        return (), ()
    if set(map(type, messages)) <= {list, tuple} and set(map(len, messages)) == {2}:
        offsets, values = zip(*messages, strict=True)
        if set(map(type, offsets)) == {int} and min(offsets) >= 0 and max(offsets) < _MOST_OFFSET:
            return offsets, values
    if not all(map(_is_message, messages)):
        return None
    return [int(message[0]) for message in messages], [message[1] for message in messages]


def _is_message(message: Any) -> bool:
    if not isinstance(message, list | tuple) or len(message) != 2:
        return False
    offset = whole_number(message[0])
    return offset is not None and 0 <= offset < _MOST_OFFSET


class _Words:
    """How messages, and what was done with them, are told."""

    def __init__(self, record: _Record) -> None:
        self._record = record

    def pair(self, by: int) -> Pair:
        return self._record.operations.pair(by)

    def message(self, number: int) -> str:
        return shown(self._record.messages[number][1], 40)

    def key(self, number: int) -> str:
        return str(shown(self._record.keys.values[number], 40))

    def sends(self, message: int, most: int = 4) -> list[Pair]:
        sent = self._record.sent
        return [self.pair(int(by)) for by in sent.by[sent.message == message][:most]]

    def polls(self, message: int, most: int = 4) -> list[Pair]:
        polled = self._record.polled
        return [self.pair(int(by)) for by in polled.by[polled.message == message][:most]]

    def at(self, key: int, offset: int) -> list[tuple[str, Pair]]:
        """Each message that was sent to, or polled from, this place, with an operation that shows it."""
        found: dict[int, tuple[str, Pair]] = {}
        for table, verb in ((self._record.sent, "sent"), (self._record.polled, "polled")):
            for place in np.flatnonzero((table.key == key) & (table.offset == offset)).tolist():
                number = int(table.message[place])
                if number not in found:
                    pair = self.pair(int(table.by[place]))
                    told = f"{self.message(number)}, {verb} by process {pair.process} ({interval(pair)})"
                    found[number] = (told, pair)
        return list(found.values())


@dataclass(frozen=True)
class _Known:
    """Every place at which a message is known to be: by key, then offset, then message; none twice."""

    key: NDArray[np.int64]
    offset: NDArray[np.int64]
    message: NDArray[np.int64]
    places: NDArray[np.int64]
    """Key and offset in one number, sorted, none twice."""


_FAR: Final = np.int64(_MOST_OFFSET)


def _known(sent: _Sent, polled: _Polled, acknowledged: NDArray[np.bool_]) -> _Known:
    certain = acknowledged & (sent.offset != _UNKNOWN)
    key = np.concatenate([sent.key[certain], polled.key])
    offset = np.concatenate([sent.offset[certain], polled.offset])
    message = np.concatenate([sent.message[certain], polled.message])
    order = np.lexsort((message, offset, key))
    key, offset, message = key[order], offset[order], message[order]
    fresh = np.ones(len(key), dtype=bool)
    fresh[1:] = (key[1:] != key[:-1]) | (offset[1:] != offset[:-1]) | (message[1:] != message[:-1])
    key, offset, message = key[fresh], offset[fresh], message[fresh]
    return _Known(key, offset, message, np.unique(key * _FAR + offset))


def _inconsistent(known: _Known, words: _Words) -> list[Anomaly]:
    place = known.key * _FAR + known.offset
    twice = np.unique(place[1:][place[1:] == place[:-1]])
    told = []
    for one in twice[:20].tolist():
        key, offset = divmod(one, int(_FAR))
        there = words.at(key, offset)
        text = f"offset {offset} of key {words.key(key)} holds {'; and '.join(text for text, _ in there[:4])}"
        told.append((text, [pair for _, pair in there]))
    return [anomaly(INCONSISTENT, told, len(twice))] if told else []


def _duplicated(known: _Known, record: _Record, words: _Words) -> list[Anomaly]:
    if not record.all_sends_known:
        return []
    total = len(record.messages)
    offsets = np.bincount(known.message, minlength=total)
    possible = ~record.operations.failed[record.sent.by]
    tried = np.bincount(record.sent.message[possible], minlength=total)
    again = np.flatnonzero((offsets > tried) & (tried > 0))
    told = []
    for number in again[:20].tolist():
        at = known.offset[known.message == number].tolist()
        key = int(known.key[known.message == number][0])
        text = (
            f"{words.message(number)} was sent to key {words.key(key)} {count(int(tried[number]), 'time')}, but is "
            f"there at offsets {listing(at)}"
        )
        told.append((text, [*words.sends(number), *words.polls(number, 8)]))
    return [anomaly(DUPLICATED, told, len(again))] if told else []


def _unfounded(record: _Record, words: _Words) -> list[Anomaly]:
    """Polled messages that were never sent, whose send failed, or began later; none where a send of another shape may
    have been theirs."""
    if not record.all_sends_known:
        return []
    total, sent, polled, operations = len(record.messages), record.sent, record.polled, record.operations
    possible = ~operations.failed[sent.by]
    tried = np.bincount(sent.message[possible], minlength=total)
    refused = np.bincount(sent.message[~possible], minlength=total)
    begun = np.full(total, FOREVER, dtype=np.int64)
    np.minimum.at(begun, sent.message[possible], operations.start[sent.by[possible]])
    seen_by = np.full(total, FOREVER, dtype=np.int64)
    np.minimum.at(seen_by, polled.message, operations.end[polled.by])
    seen = seen_by < FOREVER
    found = []
    for kind, wrong in (
        (ABORTED, seen & (tried == 0) & (refused > 0)),
        (NEVER_SENT, seen & (tried == 0) & (refused == 0)),
        (BEFORE_ITS_SEND, seen & (tried > 0) & (seen_by < begun)),
    ):
        numbers = np.flatnonzero(wrong)
        told = []
        for number in numbers[:20].tolist():
            poll = words.polls(number, 1)[0]
            sends = words.sends(number, 1)
            text = (
                f"process {poll.process} polled {words.message(number)} from key "
                f"{shown(record.messages[number][0], 40)} ({interval(poll)}), "
            )
            if kind == ABORTED:
                text += (
                    f"but process {sends[0].process}'s {sends[0].f} of it ({interval(sends[0])}) had failed"
                )
            elif kind == NEVER_SENT:
                text += "which nobody sent"
            else:
                text += f"before process {sends[0].process} began to send it ({interval(sends[0])})"
            told.append((text, [poll, *sends]))
        if told:
            plural = kind.replace("message", "messages", 1)
            found.append(anomaly(kind, told, len(numbers), plural=plural))
    return found


def _precommitted(record: _Record, words: _Words) -> list[Anomaly]:
    total = len(record.messages)
    sent = np.unique(record.sent.by * total + record.sent.message)
    polled = record.polled.by * total + record.polled.message
    own = np.flatnonzero(np.isin(polled, sent))
    told = []
    for place in own[:20].tolist():
        pair = words.pair(int(record.polled.by[place]))
        text = (
            f"the transaction of process {pair.process} ({interval(pair)}) polled "
            f"{words.message(int(record.polled.message[place]))} from key {words.key(int(record.polled.key[place]))}, "
            "which it sent itself, before it was committed"
        )
        told.append((text, [pair]))
    return [anomaly(PRECOMMITTED, told, len(own))] if told else []


def _sends_out_of_order(record: _Record, words: _Words, real_time: bool) -> list[Anomaly]:
    sent, operations = record.sent, record.operations
    certain = np.flatnonzero(operations.ok[sent.by] & (sent.offset != _UNKNOWN))
    key, offset, by = sent.key[certain], sent.offset[certain], sent.by[certain]
    process = operations.process[by].astype(np.int64)

    def tell(one: int, other: int, why: str) -> tuple[str, list[Pair]]:
        first, second = words.pair(int(by[one])), words.pair(int(by[other]))
        text = (
            f"process {first.process} sent {words.message(int(sent.message[certain[one]]))} to offset {offset[one]} of "
            f"key {words.key(int(key[one]))} ({interval(first)}), and {why} process {second.process} "
            f"{words.message(int(sent.message[certain[other]]))} to offset {offset[other]} ({interval(second)})"
        )
        return text, [first, second]

    found = []
    order = np.lexsort((np.arange(len(key)), key, process))
    same = (key[order][1:] == key[order][:-1]) & (process[order][1:] == process[order][:-1])
    back = np.flatnonzero(same & (offset[order][1:] <= offset[order][:-1]))
    told = [tell(int(order[place]), int(order[place + 1]), "then") for place in back[:20].tolist()]
    if told:
        found.append(anomaly(NONMONOTONIC_SEND, told, len(back)))
    if real_time:
        before = greatest_before(
            operations.end[by], offset, operations.start[by], group=key, moment_group=key
        )
        wrong = (
            (before >= 0) & (offset[np.maximum(before, 0)] >= offset) if len(key) else np.zeros(0, dtype=bool)
        )
        wrong[wrong] = process[before[wrong]] != process[wrong]
        late = np.flatnonzero(wrong)
        told = [tell(int(before[place]), place, "later") for place in late[:20].tolist()]
        if told:
            found.append(anomaly(REORDERED, told, len(late), plural="reordered sends"))
    return found


def _polls_out_of_order(
    record: _Record, known: _Known, words: _Words
) -> tuple[list[Anomaly], NDArray[np.bool_]]:
    """What consumers were given in the wrong order or passed over; and which known places some consumer went past."""
    polled = record.polled
    order = np.lexsort((np.arange(len(polled.key)), polled.key, polled.reader))
    key, offset, by, reader = (
        column[order] for column in (polled.key, polled.offset, polled.by, polled.reader)
    )
    rank = np.searchsorted(known.places, key * _FAR + offset)
    goes_on = np.zeros(len(key), dtype=bool)
    goes_on[1:] = (key[1:] == key[:-1]) & (reader[1:] == reader[:-1])
    internal = np.zeros(len(key), dtype=bool)
    internal[1:] = goes_on[1:] & (by[1:] == by[:-1])
    before = np.zeros(len(key), dtype=np.int64)
    before[1:] = rank[:-1]
    # A reader from the beginning stands before the first message of the key.
    fresh = np.flatnonzero(~goes_on)
    keys, begin = identities(record.keys.values), record.from_beginning
    starts = [
        place
        for place in fresh.tolist()
        if int(reader[place]) in begin
        and ((named := begin[int(reader[place])]) is None or keys[int(key[place])] in named)
    ]
    from_start = np.zeros(len(key), dtype=bool)
    from_start[starts] = True
    before[from_start] = np.searchsorted(known.places, key[from_start] * _FAR) - 1
    moved = goes_on | from_start
    back = np.flatnonzero(goes_on & (rank <= before))
    ahead = moved & (rank > before + 1)
    passed = np.zeros(len(known.places) + 1, dtype=np.int64)
    np.add.at(passed, before[ahead] + 1, 1)
    np.add.at(passed, rank[ahead], -1)
    past = np.cumsum(passed)[:-1] > 0
    seen = np.zeros(len(known.places), dtype=bool)
    seen[rank] = True
    seen_until = np.concatenate([[0], np.cumsum(seen)])
    skipped = ahead & (seen_until[rank] > seen_until[np.minimum(before + 1, len(known.places))])

    def tell(place: int, what: str) -> tuple[str, list[Pair]]:
        pair = words.pair(int(by[place]))
        of_key = words.key(int(key[place]))
        if from_start[place]:
            text = f"process {pair.process} was to poll key {of_key} from the beginning, but its first was offset "
            text += f"{offset[place]}"
            pairs = [pair]
        else:
            earlier = words.pair(int(by[place - 1]))
            when = f"({interval(earlier)})" if not internal[place] else ""
            text = f"process {pair.process} polled offset {offset[place - 1]} of key {of_key} {when}".rstrip()
            text += f" and then offset {offset[place]}"
            pairs = [earlier, pair]
        return f"{text} ({interval(pair)}){what}", pairs

    anomalies = []
    for kind, wrong in (
        (INTERNAL_NONMONOTONIC_POLL, back[internal[back]]),
        (NONMONOTONIC_POLL, back[~internal[back]]),
    ):
        told = [tell(int(place), "") for place in wrong[:20].tolist()]
        if told:
            anomalies.append(anomaly(kind, told, len(wrong)))
    for kind, chosen in ((INTERNAL_SKIPPED, skipped & internal), (SKIPPED, skipped & ~internal)):
        places = np.flatnonzero(chosen)
        told = []
        for place in places[:20].tolist():
            between = known.places[int(before[place]) + 1 : int(rank[place])]
            offsets = (between[seen[int(before[place]) + 1 : int(rank[place])]] % _FAR).tolist()
            text, pairs = tell(place, f", past {listing(offsets)}, where others found messages")
            witness = words.at(int(key[place]), int(offsets[0]))
            told.append((text, [*pairs, *(pair for _, pair in witness[:2])]))
        if told:
            anomalies.append(anomaly(kind, told, len(places), plural=kind))
    return anomalies, past


def _unread(
    record: _Record, acknowledged: NDArray[np.bool_], passed: NDArray[np.bool_], words: _Words
) -> tuple[list[Anomaly], dict[str, int]]:
    """Acknowledged messages that nobody polled: lost where a consumer went past, else unseen (how many, by key)."""
    sent, polled = record.sent, record.polled
    known = _known(sent, polled, acknowledged)
    was_polled = np.zeros(len(record.messages), dtype=bool)
    was_polled[polled.message] = True
    waiting = np.flatnonzero(acknowledged & ~was_polled[sent.message])
    place = np.searchsorted(known.places, sent.key[waiting] * _FAR + sent.offset[waiting])
    has_offset = sent.offset[waiting] != _UNKNOWN
    gone = np.zeros(len(waiting), dtype=bool)
    gone[has_offset] = passed[place[has_offset]]
    lost = waiting[gone]
    told = []
    for one in lost[:20].tolist():
        pair = words.pair(int(sent.by[one]))
        key, offset = int(sent.key[one]), int(sent.offset[one])
        later = np.flatnonzero((polled.key == key) & (polled.offset > offset))
        passer = words.pair(int(polled.by[later[np.argmin(polled.offset[later])]]))
        text = (
            f"process {pair.process} sent {words.message(int(sent.message[one]))} to offset {offset} of key "
            f"{words.key(key)} ({interval(pair)}), acknowledged, and no poll ever returned it, though consumers went "
            f"past, such as process {passer.process} ({interval(passer)})"
        )
        told.append((text, [pair, passer]))
    unseen: dict[str, int] = {}
    for number in np.unique(sent.key[waiting[~gone]]).tolist():
        name = key_text(record.keys.values[number])
        unseen[name] = unseen.get(name, 0) + int((sent.key[waiting[~gone]] == number).sum())
    key_of_first = record.keys.values[int(sent.key[lost[0]])] if told else None
    return ([anomaly(LOST, told, len(lost), key=key_of_first)] if told else []), unseen
