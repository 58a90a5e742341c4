"""Watch streams: whoever watches is told every change once, in order, whole, and truly.

Operations: `put` `[key, value]`, answered `[key, value, revision]`; `delete` of a key, answered `[key, revision]`, nil
if there was nothing to delete; `watch` of `{"key": key}`, `{"prefix": text}` or `{"start": key, "end": key}`, with a
`"revision"` to begin at (0 or nil: from now on), answered `{"events": batches, "bookmarks": [...]}`. A batch is a list
of events, or `{"events": [...], "progress": revision}`; an event is `{"revision", "type": "put" or "delete", "key",
"value", "previous", "is_create"}`, of which the last two may be left out. A bookmark, or progress, is a revision up to
which all was sent; in the list of bookmarks it is `[batches before it, revision]`, or a bare revision, whose moment is
not known.

The nine guarantees are those of etcd's watch, as its robustness tests have them:

- *filter*: only what was asked for; *ordered*: revisions do not fall; *unique*: no event twice; *atomic*: the events of
  one revision arrive in one batch;
- *bookmarkable*: after a bookmark come only events with higher revisions;
- *reliable*: between its first event and its last event or bookmark a stream leaves nothing out; *resumable*: nor
  between the revision where it was to begin and its first event or bookmark;
- *previous value* and *is-create* say what was there just before.

What happened is known from acknowledged writes and from every event of any stream; events that contradict these, or
that nobody wrote, are anomalies too. So are more events of one key and value than there were writes of it: one that was
acknowledged explains the event at its own revision, one of unknown outcome an event at any one. A write of unknown
outcome that no stream showed may lie anywhere, and excuses whatever previous value or creation it would explain.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.checker import Limits
from checkers.conclusion import Findings, Misshapen, conclude
from checkers.values import identity, whole_number
from checkers.words import count, interval, listing, none_of, shown
from results.history import History, Pair
from results.operation import FAIL, OK
from results.verdict import UNKNOWN, Verdict

FILTER = "event not asked for (filter)"
ORDERED = "events out of order (ordered)"
UNIQUE = "event sent twice (unique)"
ATOMIC = "torn revision (atomic)"
BOOKMARKABLE = "event after its bookmark (bookmarkable)"
RELIABLE = "event left out (reliable)"
RESUMABLE = "event left out at the start (resumable)"
PREVIOUS_VALUE = "wrong previous value"
IS_CREATE = "wrong is-create"
CONTRADICTED = "event contradicts another"
NEVER_WRITTEN = "event never written"
FAILED_WRITE = "event of a failed write"
TOO_MANY = "more events than writes"

KINDS = (
    FILTER,
    ORDERED,
    UNIQUE,
    ATOMIC,
    BOOKMARKABLE,
    RELIABLE,
    RESUMABLE,
    PREVIOUS_VALUE,
    IS_CREATE,
    CONTRADICTED,
    NEVER_WRITTEN,
    FAILED_WRITE,
    TOO_MANY,
)


@dataclass(frozen=True)
class _Event:
    revision: int
    type: str
    key: str
    value: Any
    told: Mapping[str, Any]
    """As it arrived, for the fields that may be left out."""
    batch: int

    @property
    def what(self) -> tuple[str, Hashable]:
        return (self.type, identity(self.value) if self.type == "put" else None)

    def __str__(self) -> str:
        if self.type == "delete":
            return f"the delete of {shown(self.key, 40)} at revision {self.revision}"
        return f"the put of {shown(self.value, 40)} to {shown(self.key, 40)} at revision {self.revision}"


@dataclass(frozen=True)
class _Stream:
    pair: Pair
    key: str | None
    prefix: str | None
    start: str | None
    end: str | None
    revision: int
    """Where it was to begin; 0: from then on."""
    events: tuple[_Event, ...]
    bookmarks: tuple[tuple[int, int], ...]
    """Each with the number of batches before it, -1 where that is not known."""

    def wants(self, key: str) -> bool:
        if self.key is not None:
            return key == self.key
        if self.prefix is not None:
            return key.startswith(self.prefix)
        return (self.start is None or key >= self.start) and (self.end is None or key < self.end)

    @property
    def filter(self) -> tuple[str | None, ...]:
        return (self.key, self.prefix, self.start, self.end)

    @property
    def told(self) -> str:
        return f"the watch by process {self.pair.process} ({interval(self.pair)})"


@dataclass
class _Place:
    """What is known about one key at one revision."""

    revision: int
    key: str
    what: dict[tuple[str, Hashable], Pair] = field(default_factory=dict)
    """What happened there, by whom it is known: more than one is a contradiction."""
    value: Any = None
    type: str = ""

    def __str__(self) -> str:
        return str(_Event(self.revision, self.type, self.key, self.value, {}, 0))


@dataclass
class WatchChecker:
    """Judges streams against writes and against each other.

    With `empty_at_start`, a key of which nothing is known did not exist.
    """

    empty_at_start: bool = True
    name: str = field(default="watch", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        misshapen = Misshapen("puts, deletes and watches with revisions")
        writes = _Writes()
        streams: list[_Stream] = []
        watched = 0
        for pair in history.pairs():
            if pair.f in ("put", "delete"):
                if not writes.take(pair):
                    misshapen.note(pair, writes=True)
            elif pair.f == "watch":
                watched += 1
                if pair.type == OK:
                    stream = _stream(pair)
                    if stream is None:
                        misshapen.note(pair)
                    else:
                        streams.append(stream)
        events = sum(len(stream.events) for stream in streams)
        bookmarks = sum(len(stream.bookmarks) for stream in streams)
        details = {"watches": watched, "events": events, "bookmarks": bookmarks, "writes": len(writes.pairs)}
        if not events and not bookmarks and not misshapen.number:
            why = none_of(watched, "watch", "was sent an event or a bookmark", "watches")
            sentence = (
                f"{why}, so no guarantee was put to the test; a watch from the first revision on would be"
            )
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        found = Findings()
        known = _known(writes, streams, found, misshapen.may_have_written)
        for stream in streams:
            _judge_stream(stream, found)
            _judge_completeness(stream, known, found)
            if not misshapen.may_have_written:
                for event in stream.events:
                    _judge_past(event, stream, known, writes, self.empty_at_start, found)
        anomalies = found.anomalies({kind: kind for kind in KINDS})
        valid = (
            f"{count(len(streams), 'watch was', 'watches were')} sent {count(events, 'event')} and "
            f"{count(bookmarks, 'bookmark')}, and all nine guarantees hold"
        )
        return conclude(self.name, anomalies, misshapen.doubts(), valid, details)


class _Writes:
    """Puts and deletes: where they took effect, as far as is known."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.placed: list[tuple[int, str, str, Any, Pair]] = []
        """Acknowledged writes with their revisions."""
        self.begun: dict[tuple[str, str, Hashable], Pair] = {}
        """Of each write that may have happened, by type, key and value, the first."""
        self.placed_at: dict[tuple[str, str, Hashable], dict[int, Pair]] = {}
        """Of the acknowledged ones, by type, key and value, the first at each revision."""
        self.somewhere: dict[tuple[str, str, Hashable], list[Pair]] = {}
        """By type, key and value, those that may have happened at a revision that nobody recorded."""
        self.failed: dict[tuple[str, str, Hashable], Pair] = {}
        self.loose: dict[str, Counter[tuple[str, Hashable]]] = {}
        """By key, the writes that may have happened at a revision that nobody recorded."""

    def take(self, pair: Pair) -> bool:
        asked = pair.invocation.value
        if pair.f == "put":
            if not isinstance(asked, list | tuple) or len(asked) != 2 or not isinstance(asked[0], str):
                return False
            key, value = asked
        else:
            key, value = asked, None
            if not isinstance(key, str):
                return False
        self.pairs.append(pair)
        name = (pair.f, key, identity(value))
        if pair.type == FAIL:
            self.failed.setdefault(name, pair)
            return True
        if pair.type != OK:
            self.begun.setdefault(name, pair)
            self._loosen(name, pair)
            return True
        answer = pair.completion.value if pair.completion is not None else None
        width = 3 if pair.f == "put" else 2
        revision = answer[width - 1] if isinstance(answer, list | tuple) and len(answer) == width else None
        if (
            pair.f == "delete"
            and isinstance(answer, list | tuple)
            and len(answer) == width
            and revision is None
        ):
            return True  # There was nothing to delete.
        self.begun.setdefault(name, pair)
        number = whole_number(revision)
        if number is None:
            self._loosen(name, pair)
            return revision is None
        self.placed.append((number, pair.f, key, value, pair))
        self.placed_at.setdefault(name, {}).setdefault(number, pair)
        return True

    def _loosen(self, name: tuple[str, str, Hashable], pair: Pair) -> None:
        type_, key, value = name
        self.somewhere.setdefault(name, []).append(pair)
        self.loose.setdefault(key, Counter())[type_, value] += 1

    def may_have(self, key: str, type_: str, value: Hashable = None) -> bool:
        """Whether such a write may have happened at a revision that nobody recorded."""
        loose = self.loose.get(key)
        return loose is not None and loose[type_, value] > 0

    def may_have_put(self, key: str) -> bool:
        return any(
            number > 0 and type_ == "put" for (type_, _), number in self.loose.get(key, Counter()).items()
        )


def _stream(pair: Pair) -> _Stream | None:
    """The stream of a watch; None if it has not the right shape."""
    asked, answer = pair.invocation.value, pair.value
    if not isinstance(asked, Mapping) or not isinstance(answer, Mapping):
        return None
    limits = [asked.get(name) for name in ("key", "prefix", "start", "end")]
    if not all(limit is None or isinstance(limit, str) for limit in limits):
        return None
    revision = whole_number(asked.get("revision") or 0)
    batches = answer.get("events") or []
    if revision is None or not isinstance(batches, list | tuple):
        return None
    events: list[_Event] = []
    bookmarks: list[tuple[int, int]] = []
    for number, batch in enumerate(batches):
        progress = None
        if isinstance(batch, Mapping):
            progress = batch.get("progress")
            batch = batch.get("events") or []
        if not isinstance(batch, list | tuple):
            return None
        for event in batch:
            one = _event(event, number)
            if one is None:
                return None
            events.append(one)
        if progress is not None:
            bookmarks.append((number + 1, progress))
    for bookmark in [*(answer.get("bookmarks") or []), *(answer.get("progress") or [])]:
        if isinstance(bookmark, list | tuple) and len(bookmark) == 2:
            bookmarks.append((bookmark[0], bookmark[1]))
        else:
            bookmarks.append((-1, bookmark))
    if not all(type(place) is int and whole_number(number) is not None for place, number in bookmarks):
        return None
    key, prefix, start, end = limits
    return _Stream(pair, key, prefix, start, end, revision, tuple(events), tuple(bookmarks))


def _event(event: Any, batch: int) -> _Event | None:
    if not isinstance(event, Mapping):
        return None
    revision = whole_number(event.get("revision"))
    key, type_ = event.get("key"), event.get("type")
    if revision is None or not isinstance(key, str) or type_ not in ("put", "delete"):
        return None
    return _Event(revision, type_, key, event.get("value"), event, batch)


@dataclass
class _KnownPast:
    """Everything known to have happened, by key and by revision."""

    by_key: dict[str, list[_Place]]
    """In order of revisions."""
    revisions: dict[str, list[int]]
    """The revisions of `by_key`."""
    places: list[_Place]
    """In order of revisions."""
    selected: dict[tuple[str | None, ...], tuple[list[int], list[_Place]]] = field(default_factory=dict)
    """By filter, what it selects, with the revisions."""

    def select(self, stream: _Stream) -> tuple[list[int], list[_Place]]:
        found = self.selected.get(stream.filter)
        if found is None:
            if stream.key is not None:
                chosen = self.by_key.get(stream.key, [])
            else:
                chosen = [place for place in self.places if stream.wants(place.key)]
            found = self.selected[stream.filter] = ([place.revision for place in chosen], chosen)
        return found


def _known(writes: _Writes, streams: list[_Stream], found: Findings, doubtful: bool) -> _KnownPast:
    """What writes and streams show. Where it is doubtful what was tried, no event is one that nobody did."""
    places: dict[tuple[str, int], _Place] = {}

    def note(revision: int, type_: str, key: str, value: Any, what: tuple[str, Hashable], pair: Pair) -> None:
        place = places.get((key, revision))
        if place is None:
            place = places[key, revision] = _Place(revision, key, {}, value, type_)
        place.what.setdefault(what, pair)

    for revision, type_, key, value, pair in writes.placed:
        note(revision, type_, key, value, (type_, identity(value) if type_ == "put" else None), pair)
    first_sent: dict[tuple[str, str, Hashable], dict[int, tuple[_Event, _Stream]]] = {}
    for stream in streams:
        for event in stream.events:
            note(event.revision, event.type, event.key, event.value, event.what, stream.pair)
            name = (event.type, event.key, event.what[1])
            sent = first_sent.setdefault(name, {})
            known = sent.get(event.revision)
            if known is None or stream.pair.indices[-1] < known[1].pair.indices[-1]:
                sent[event.revision] = (event, stream)
            begun = writes.placed_at.get(name, {}).get(event.revision, writes.begun.get(name))
            if begun is not None and begun.index > stream.pair.indices[-1] and not doubtful:
                why = f"which process {begun.process} began to do only later ({interval(begun)})"
                found.note(NEVER_WRITTEN, f"{stream.told} was sent {event}, {why}", [stream.pair, begun])
            if begun is None and not doubtful:
                refused = writes.failed.get(name)
                if refused is None:
                    found.note(
                        NEVER_WRITTEN, f"{stream.told} was sent {event}, which nobody did", [stream.pair]
                    )
                else:
                    why = f"which process {refused.process} had tried in vain ({interval(refused)})"
                    found.note(FAILED_WRITE, f"{stream.told} was sent {event}, {why}", [stream.pair, refused])
    if not doubtful:
        for name, sent in first_sent.items():
            _judge_number(name, sent, writes, found)
    for place in places.values():
        if len(place.what) > 1:
            parts = [
                f"{type_} {'' if type_ == 'delete' else shown(value, 40)}".strip()
                + f" by {'process ' + str(pair.process) + '’s ' + pair.f} ({interval(pair)})"
                for (type_, value), pair in list(place.what.items())[:4]
            ]
            text = f"revision {place.revision} of {shown(place.key, 40)} is {'; and '.join(parts)}"
            found.note(CONTRADICTED, text, list(place.what.values()))
        for what in place.what:
            if writes.may_have(place.key, *what) and not any(
                pair.f != "watch" for pair in place.what.values()
            ):
                writes.loose[place.key][what] -= 1
    by_key: dict[str, list[_Place]] = {}
    ordered = sorted(places.values(), key=lambda place: (place.revision, place.key))
    for place in ordered:
        by_key.setdefault(place.key, []).append(place)
    return _KnownPast(
        by_key, {key: [place.revision for place in one] for key, one in by_key.items()}, ordered
    )


def _judge_number(
    name: tuple[str, str, Hashable],
    sent: dict[int, tuple[_Event, _Stream]],
    writes: _Writes,
    found: Findings,
) -> None:
    """Whether enough writes of a type, key and value may have happened for all revisions at which streams show it, each
    with the stream that had it first."""
    acknowledged, somewhere = writes.placed_at.get(name, {}), writes.somewhere.get(name, [])
    unexplained = [one for revision, one in sent.items() if revision not in acknowledged]
    unexplained.sort(key=lambda one: one[1].pair.indices[-1])
    used = 0
    for event, stream in unexplained:
        end = stream.pair.indices[-1]
        if used < len(somewhere) and somewhere[used].index < end:
            used += 1  # The one that began first explains what was shown first.
            continue
        if name not in writes.begun or writes.begun[name].index > end:
            continue  # That nobody did it, or not yet, is told of the event.
        writers = [one for one in (*acknowledged.values(), *somewhere) if one.index < end]
        others = sorted((sent.keys() | acknowledged.keys()) - {event.revision})
        text = (
            f"{stream.told} was sent {event}, but there were at most {count(len(writers), f'such {event.type}')}, "
            f"known from other revisions ({listing(others)})"
        )
        found.note(TOO_MANY, text, [stream.pair, *writers])


def _judge_stream(stream: _Stream, found: Findings) -> None:
    """Filter, ordered, unique, atomic and bookmarkable: what a stream shows by itself."""
    seen: dict[tuple[int, str], _Event] = {}
    batch_of: dict[int, int] = {}
    torn: set[int] = set()
    before: _Event | None = None
    pairs = [stream.pair]
    marks = sorted(mark for mark in stream.bookmarks if mark[0] >= 0)
    passed = 0
    bookmark = -1
    for event in stream.events:
        while passed < len(marks) and marks[passed][0] <= event.batch:
            bookmark = max(bookmark, marks[passed][1])
            passed += 1
        if not stream.wants(event.key):
            found.note(FILTER, f"{stream.told} was sent {event}, a key that it had not asked for", pairs)
        elif event.revision < stream.revision:
            text = f"{stream.told} was to begin at revision {stream.revision}, and was sent {event}"
            found.note(FILTER, text, pairs)
        if (event.revision, event.key) in seen:
            found.note(UNIQUE, f"{stream.told} was sent {event} twice", pairs)
        elif before is not None and event.revision < before.revision:
            found.note(ORDERED, f"{stream.told} was sent {before}, and then {event}", pairs)
        first_batch = batch_of.setdefault(event.revision, event.batch)
        if (
            first_batch != event.batch
            and event.revision not in torn
            and (event.revision, event.key) not in seen
        ):
            torn.add(event.revision)
            text = (
                f"{stream.told} was sent revision {event.revision} in batches {first_batch} and {event.batch}, and "
                "could have seen half of it"
            )
            found.note(ATOMIC, text, pairs)
        if event.revision <= bookmark and (event.revision, event.key) not in seen:
            text = f"{stream.told} was told that all up to revision {bookmark} had been sent, and then was sent {event}"
            found.note(BOOKMARKABLE, text, pairs)
        seen[event.revision, event.key] = event
        before = event


def _judge_completeness(stream: _Stream, known: _KnownPast, found: Findings) -> None:
    """Reliable and resumable: what is known to have happened, and the stream does not show."""
    revisions = [event.revision for event in stream.events]
    marks = [revision for _, revision in stream.bookmarks]
    if not revisions and not (marks and stream.revision):
        return
    first = stream.revision or min(revisions)
    last = max([*revisions, *marks])
    if last < first:
        return
    numbers, places = known.select(stream)
    begin, end = bisect_left(numbers, first), bisect_right(numbers, last)
    sent = {(event.revision, event.key) for event in stream.events}
    if end - begin == sum(1 for revision, key in sent if first <= revision <= last and stream.wants(key)):
        return
    begun_at = min(revisions) if revisions else last + 1
    missing = [place for place in places[begin:end] if (place.revision, place.key) not in sent]
    for kind, chosen in (
        (RESUMABLE, [place for place in missing if place.revision < begun_at]),
        (RELIABLE, [place for place in missing if place.revision >= begun_at]),
    ):
        if not chosen:
            continue
        witness = next(iter(chosen[0].what.values()))
        if kind == RESUMABLE:
            was_sent = f"began with revision {begun_at}" if revisions else f"got a bookmark at {last}"
            text = f"{stream.told} was to begin at revision {stream.revision} and {was_sent}, without "
        else:
            text = f"{stream.told} was sent revisions {begun_at} to {last}, without "
        text += f"{chosen[0]} (known by process {witness.process}’s {witness.f}, {interval(witness)})"
        if len(chosen) > 1:
            others = listing(place.revision for place in chosen[1:])
            text += f" and {count(len(chosen) - 1, 'other event')} (revisions {others})"
        found.note(kind, text, [stream.pair, witness])


def _judge_past(
    event: _Event,
    stream: _Stream,
    known: _KnownPast,
    writes: _Writes,
    empty_at_start: bool,
    found: Findings,
) -> None:
    """Previous value and is-create, against what is known to have been there before."""
    revisions, places = known.revisions[event.key], known.by_key[event.key]
    at = bisect_left(revisions, event.revision) - 1
    place = places[at] if at >= 0 else None
    if (place is None and not empty_at_start) or (place is not None and len(place.what) > 1):
        return
    there = place is not None and place.type == "put"
    deleted = writes.may_have(event.key, "delete")

    def tell(kind: str, how: str) -> None:
        before = "nothing had been there" if place is None else f"{place} came before"
        pairs = [stream.pair] if place is None else [stream.pair, *place.what.values()]
        found.note(kind, f"{stream.told} was sent {event} {how}, but {before}", pairs)

    if "previous" in event.told:
        previous = event.told["previous"]
        expected = place.value if there and place is not None else None
        excused = deleted if previous is None else writes.may_have(event.key, "put", identity(previous))
        if identity(previous) != identity(expected) and not excused:
            tell(PREVIOUS_VALUE, f"with the previous value {shown(previous, 40)}")
    if isinstance(event.told.get("is_create"), bool):
        creates = event.told["is_create"]
        if event.type == "delete":
            if creates:
                found.note(IS_CREATE, f"{stream.told} was sent {event} as a creation", [stream.pair])
            return
        if creates == there and not (deleted if creates else writes.may_have_put(event.key)):
            tell(IS_CREATE, "as a creation" if creates else "as a change of what was there")
