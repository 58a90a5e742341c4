"""Writes with idempotency tokens: each takes effect at most once, on all its keys or on none.

Operations: `write` with `{"token": t, "keys": [...]}`, which appends its token to the list of each key, and may be
tried several times with the same token, by anybody. With `"must_exist": key` it has an effect only where that list,
which it writes, has something before, with `"must_be_empty": key` only where that list has nothing before. `read` with
a list of keys, answered `{key: list or null}`, all as of one moment. So every read tells which writes had taken effect,
how often, and in which order. Judged in each:

- no token occurs twice in a list;
- a token that is in the list of one of its keys is in those of all of its keys that the same read shows, or one that
  began later;
- two tokens are in the same order in every list that has both;
- a list that was read is the beginning of the longest that was read of its key, and no shorter than what had been read
  before it was asked for: nothing is taken away or put between;
- whoever reads after a write was acknowledged sees it, and nobody sees one of which every attempt failed, or that
  nobody tried: not at all, not for that key, or not before the read had ended;
- the condition of a write that took effect was true: another write of the list that must exist had begun before, it did
  not come before the first of that list, and no read found it empty together with what it wrote, or later; and of those
  that wrote a list which must be empty none took effect before it. One write came before another if it stands before it
  in a list; if it was acknowledged or seen before the other was tried, or was missed; if a read saw it and not the
  other; if it must itself come first, by its own condition.

A write took effect if it was acknowledged, or if a read saw it anywhere, and before that.

An attempt that failed says that it had no effect, not that others with its token had none; one without an answer may
have taken effect. That a token counts once is what makes it safe to try again.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from checkers.checker import Limits
from checkers.conclusion import Findings, Misshapen, conclude
from checkers.operations import Operations
from checkers.values import identity, meant_keys, whole_number
from checkers.words import count, interval, none_of, shown, spelt
from results.history import History, Pair
from results.verdict import UNKNOWN, Verdict

TWICE: Final = "token applied twice"
TORN: Final = "torn write"
ORDER: Final = "writes in two orders"
REWRITTEN: Final = "list rewritten"
LOST: Final = "lost write"
FAILED: Final = "failed write seen"
FOREIGN: Final = "write that nobody tried"
CONDITION: Final = "condition ignored"

_PLURALS: Final = {
    TWICE: "tokens applied twice",
    TORN: "torn writes",
    ORDER: "pairs of writes in two orders",
    REWRITTEN: "lists rewritten",
    LOST: "lost writes",
    FAILED: "failed writes seen",
    FOREIGN: "writes that nobody tried",
    CONDITION: "conditions ignored",
}


@dataclass(slots=True)
class _Write:
    """All attempts with one token."""

    keys: list[Hashable]
    """Those that every attempt is about."""
    may_write: set[Hashable]
    """Those that one of the attempts is about."""
    pairs: list[Pair]
    begun_at: int | None = None
    """The event that first began an attempt that may have happened."""
    acknowledged_at: int | None = None
    """The event that first acknowledged an attempt."""
    must_exist: Hashable = None
    must_be_empty: Hashable = None
    seen_by: Pair | None = None
    """Of the reads that saw it, the one that ended first."""
    missed_by: Pair | None = None
    """Of the reads of one of its keys that did not see it, the one that began last."""

    @property
    def took_effect_by(self) -> float:
        """The event before which it certainly took effect; infinite if nothing says that it did."""
        acknowledged = math.inf if self.acknowledged_at is None else self.acknowledged_at
        return acknowledged if self.seen_by is None else min(acknowledged, self.seen_by.indices[-1])

    @property
    def tried_at(self) -> int:
        """The event that began the first attempt."""
        return min(pair.index for pair in self.pairs)


@dataclass
class TransactWriteChecker:
    """Judges reads of lists of tokens."""

    name: str = field(default="transact-write", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        writes, misshapen = self._writes(history)
        tried = Operations.of(history, "read")
        reads = tried.where(tried.ok)
        if not len(reads):
            sentence = (
                f"{none_of(len(tried), 'read', 'succeeded')}: no list was ever seen; one read would tell"
            )
            return Verdict(UNKNOWN, self.name, sentence)
        findings = Findings()
        longest: dict[Hashable, tuple[list[Any], Pair]] = {}
        seen: list[tuple[Pair, dict[Hashable, list[Any]]]] = []
        named = [
            key.value if isinstance(key, _Token) else key for write in writes.values() for key in write.keys
        ]
        for position, (asked, answer) in enumerate(zip(reads.asked(), reads.answers(), strict=True)):
            pair = reads.pair(position)
            lists = _lists(answer, asked if isinstance(asked, list | tuple) else named)
            if lists is None:
                misshapen.note(pair)
                continue
            seen.append((pair, lists))
            for key, tokens in lists.items():
                if key not in longest or len(tokens) > len(longest[key][0]):
                    longest[key] = (tokens, pair)
        by_key: dict[Hashable, list[Any]] = {}
        for token, write in writes.items():
            for key in write.keys:
                by_key.setdefault(key, []).append(token)
        doubtful = misshapen.may_have_written
        if not doubtful:
            # Else the attempt that took effect may be about other keys, under another condition.
            _note_sightings(writes, seen, by_key)
        grown = _Grown(seen)
        for pair, lists in seen:
            self._judge(pair, lists, writes, by_key, longest, grown, findings, doubtful)
        self._judge_conditions(writes, seen, longest, findings, doubtful)
        applied = {token for tokens, _ in longest.values() for token in tokens}
        details = {
            "writes": len(writes),
            "attempts": sum(len(write.pairs) for write in writes.values()),
            "applied": len(applied),
            "reads": len(seen),
        }
        sentence = (
            f"{count(len(applied), 'write')} of {len(writes)} took effect, each once and whole, in "
            f"{count(details['attempts'], 'attempt')}"
        )
        doubts = misshapen.doubts()
        return conclude(self.name, findings.anomalies(_PLURALS), doubts, sentence, details)

    def _writes(self, history: History) -> tuple[dict[Any, _Write], Misshapen]:
        misshapen = Misshapen("a token and keys, or lists by key")
        writes: dict[Any, _Write] = {}
        tried = Operations.of(history, "write")
        for position, value in enumerate(tried.asked()):
            pair = tried.pair(position)
            if (
                not isinstance(value, dict)
                or not {"token", "keys"} <= value.keys()
                or not isinstance(value["keys"], list | tuple)
            ):
                misshapen.note(pair, writes=True)
                continue
            keys = list(map(_token, value["keys"]))
            conditions = [
                None if key is None else _token(key)
                for key in (value.get("must_exist"), value.get("must_be_empty"))
            ]
            write = writes.setdefault(
                _token(value["token"]), _Write(keys, set(keys), [], None, None, conditions[0], conditions[1])
            )
            # Of attempts that differ nobody knows which it was: what holds for all of them has to.
            write.keys = [key for key in write.keys if key in keys]
            write.may_write.update(keys)
            write.must_exist = write.must_exist if write.must_exist == conditions[0] else None
            write.must_be_empty = write.must_be_empty if write.must_be_empty == conditions[1] else None
            write.pairs.append(pair)
            if tried.ok[position]:
                end = int(tried.end[position])
                if write.acknowledged_at is None or end < write.acknowledged_at:
                    write.acknowledged_at = end
            if write.begun_at is None and not tried.failed[position]:
                write.begun_at = pair.index
        return writes, misshapen

    def _judge(
        self,
        pair: Pair,
        lists: dict[Hashable, list[Any]],
        writes: dict[Any, _Write],
        by_key: dict[Hashable, list[Any]],
        longest: dict[Hashable, tuple[list[Any], Pair]],
        grown: _Grown,
        findings: Findings,
        doubtful: bool,
    ) -> None:
        """What a read says by itself, and after others; where it is doubtful what was tried, nothing is called foreign
        or failed."""
        when = f"the read of process {pair.process} ({interval(pair)})"
        places: dict[Hashable, dict[Any, int]] = {}
        for key, tokens in lists.items():
            mine = places[key] = {}
            for place, token in enumerate(tokens):
                if token not in writes:
                    if not doubtful:
                        text = f"{when} saw {shown(token)} in {key}, which nobody wrote"
                        findings.note(FOREIGN, text, [pair])
                    continue
                if token in mine:
                    text = f"{when} saw {shown(token)} in {key} at {mine[token]} and at {place}"
                    findings.note(TWICE, text, [*writes[token].pairs, pair])
                    continue
                mine[token] = place
                write = writes[token]
                if doubtful:
                    continue
                if write.begun_at is None:
                    text = f"{when} saw {shown(token)} in {key}, of which every attempt had failed"
                    findings.note(FAILED, text, [*write.pairs, pair])
                elif write.begun_at > pair.indices[-1]:
                    text = f"{when} saw {shown(token)} in {key}, before anybody began to write it"
                    findings.note(FOREIGN, text, [*write.pairs, pair])
                elif key not in write.may_write:
                    text = f"{when} saw {shown(token)} in {key}, to which nobody wrote it"
                    findings.note(FOREIGN, text, [*write.pairs, pair])
            whole, other = longest[key]
            if tokens != whole[: len(tokens)]:
                text = f"{when} saw {key} as {shown(tokens)}, another read as {shown(whole)}"
                findings.note(REWRITTEN, text, [pair, other])
            there, reader = grown.before(key, pair)
            if reader is not None and len(tokens) < len(there):
                text = (
                    f"{when} saw {key} as {shown(tokens)}, after the read of process {reader.process} "
                    f"({interval(reader)}) had seen {shown(there)}"
                )
                findings.note(REWRITTEN, text, [reader, pair])
            for token in by_key.get(key, ()):
                write = writes[token]
                if token in mine or write.took_effect_by >= pair.index:
                    continue
                if write.acknowledged_at is not None and write.acknowledged_at < pair.index:
                    text = f"{when} did not see {shown(token)} in {key}, acknowledged before it began"
                    findings.note(LOST, text, [*write.pairs, pair])
                elif write.seen_by is not None and token not in there:
                    text = (
                        f"{when} did not see {shown(token)} in {key}, which the read of process "
                        f"{write.seen_by.process} ({interval(write.seen_by)}) had seen elsewhere before"
                    )
                    findings.note(TORN, text, [*write.pairs, write.seen_by, pair])
        self._compare(pair, when, places, writes, findings)

    def _compare(
        self,
        pair: Pair,
        when: str,
        places: dict[Hashable, dict[Any, int]],
        writes: dict[Any, _Write],
        findings: Findings,
    ) -> None:
        """What the lists of one read say of each other."""
        for key, mine in places.items():
            for token in mine:
                for other in writes[token].keys:
                    if other in places and token not in places[other]:
                        text = f"{when} saw {shown(token)} in {key} and not in {other}"
                        findings.note(TORN, text, [*writes[token].pairs, pair])
        keys = list(places)
        for position, one in enumerate(keys):
            for other in keys[position + 1 :]:
                shared = [token for token in places[one] if token in places[other]]
                for before, after in pairwise(shared):
                    if places[other][before] > places[other][after]:
                        text = f"{when} saw {shown(before)} before {shown(after)} in {one}, and after it in {other}"
                        findings.note(ORDER, text, [*writes[before].pairs, *writes[after].pairs, pair])

    def _judge_conditions(
        self,
        writes: dict[Any, _Write],
        seen: list[tuple[Pair, dict[Hashable, list[Any]]]],
        longest: dict[Hashable, tuple[list[Any], Pair]],
        findings: Findings,
        doubtful: bool,
    ) -> None:
        """Whether the writes that took effect were allowed to."""
        lists = {key: [token for token in tokens if token in writes] for key, (tokens, _) in longest.items()}
        existing: dict[Hashable, list[Any]] = {}
        """By list that must exist: who took effect, and is only to where it does."""
        empty: dict[Hashable, list[Any]] = {}
        """By list that must be empty, likewise."""
        applied = dict.fromkeys(token for tokens in lists.values() for token in tokens)
        if not doubtful:
            applied.update(
                dict.fromkeys(token for token, write in writes.items() if write.acknowledged_at is not None)
            )
        for token in applied:
            write = writes[token]
            if write.must_exist is not None:
                existing.setdefault(write.must_exist, []).append(token)
            if write.must_be_empty is not None:
                empty.setdefault(write.must_be_empty, []).append(token)
        for key, tokens in existing.items():
            whole, reader = longest.get(key, ([], None))
            for token in tokens:
                if whole[:1] == [token]:
                    text = f"{shown(token)} is the first in {key}, and needs others there before it"
                elif whole and (why := _why_before(token, whole[0], writes, lists)) is not None:
                    text = f"{shown(token)} needs others in {key} before it, and is before the first: {why}"
                else:
                    continue
                findings.note(CONDITION, text, [*writes[token].pairs, *([reader] if reader else [])])
        if not doubtful:
            _judge_existence(existing, writes, seen, longest, findings)
        wrote = {key: dict.fromkeys(lists.get(key, ())) for key in empty}
        """By list that must be empty, who wrote it."""
        for token in applied:
            for key in writes[token].keys:
                if key in wrote:
                    wrote[key].setdefault(token)
        for key, tokens in empty.items():
            readers = [longest[key][1]] if key in longest else []
            for token in tokens:
                others = (other for other in wrote.get(key, ()) if other != token)
                reasons = (_why_before(other, token, writes, lists) for other in others)
                why = next(filter(None, reasons), None)
                if why is not None:
                    text = f"{shown(token)} needs {key} to be empty, where another was before it: {why}"
                    findings.note(CONDITION, text, [*writes[token].pairs, *readers])
        for pair, read in seen:
            there = {key: tokens[0] for key, tokens in read.items() if tokens}
            if not doubtful:
                for one in (
                    dict.fromkeys(token for tokens in read.values() for token in tokens) if empty else ()
                ):
                    for key in writes[one].keys if one in writes else ():
                        there.setdefault(key, one)
            for key, one in there.items():
                for token in empty.get(key, ()):
                    missing = [of for of in writes[token].keys if of in read and token not in read[of]]
                    if missing and token != one:
                        text = (
                            f"{shown(token)} needs {key} to be empty, where {shown(one)} was when the read of process "
                            f"{pair.process} ({interval(pair)}) did not see {shown(token)} in {missing[0]} yet"
                        )
                        findings.note(CONDITION, text, [*writes[token].pairs, pair])


def _judge_existence(
    existing: dict[Hashable, list[Any]],
    writes: dict[Any, _Write],
    seen: list[tuple[Pair, dict[Hashable, list[Any]]]],
    longest: dict[Hashable, tuple[list[Any], Pair]],
    findings: Findings,
) -> None:
    """Whether somebody can have written the lists that must exist before those took effect that need them, by list."""
    begun: dict[Hashable, list[tuple[int, Any]]] = {key: [] for key in existing}
    for token, write in writes.items():
        if write.begun_at is not None:
            for key in write.may_write & existing.keys():
                begun[key].append((write.begun_at, token))
    emptied: dict[Hashable, Pair] = {}
    """By list, the read that found it empty, and began last."""
    shows: dict[Any, Pair] = {}
    """By who needs a list, a read that shows its effect, and not that of the first in that list."""
    needs = {token: key for key, tokens in existing.items() for token in tokens}
    for pair, read in seen if existing else ():
        for key, tokens in read.items():
            if not tokens and (key not in emptied or pair.index > emptied[key].index):
                emptied[key] = pair
        for token in dict.fromkeys(token for tokens in read.values() for token in tokens if token in needs):
            key = needs[token]
            first = longest[key][0][0] if key in longest and longest[key][0] else None
            others = writes[first].keys if first in writes else []
            if read.get(key) == [] or any(of in read and first not in read[of] for of in others):
                shows.setdefault(token, pair)
    for key, tokens in existing.items():
        first_two = sorted(begun[key], key=lambda one: one[0])[:2]
        for token in tokens:
            write = writes[token]
            by = write.took_effect_by
            witness = None
            if token in shows:
                witness = shows[token]
                how = "shows it, and nothing that came first there"
            elif key in emptied and emptied[key].index > by:
                witness = emptied[key]
                how = "found nothing there after it"
            if witness is not None:
                text = (
                    f"{shown(token)} needs {key} to exist, and the read of process {witness.process} "
                    f"({interval(witness)}) {how}"
                )
                findings.note(CONDITION, text, [*write.pairs, witness])
            elif not any(at < by and other != token for at, other in first_two):
                text = f"{shown(token)} needs {key} to exist, and took effect before any other write of it had begun"
                findings.note(CONDITION, text, write.pairs)


def _note_sightings(
    writes: dict[Any, _Write],
    seen: list[tuple[Pair, dict[Hashable, list[Any]]]],
    by_key: dict[Hashable, list[Any]],
) -> None:
    """Notes of each write which read saw it first, and which missed it last."""
    for pair, read in seen:
        end = pair.indices[-1]
        for key, tokens in read.items():
            there = set(tokens)
            for token in there:
                write = writes.get(token)
                if write is not None and (write.seen_by is None or end < write.seen_by.indices[-1]):
                    write.seen_by = pair
            for token in by_key.get(key, ()):
                if token not in there:
                    write = writes[token]
                    if write.missed_by is None or pair.index > write.missed_by.index:
                        write.missed_by = pair


class _Grown:
    """How far each list had certainly grown at a moment, by what reads had seen of it."""

    def __init__(self, seen: list[tuple[Pair, dict[Hashable, list[Any]]]]) -> None:
        self._ends: dict[Hashable, list[int]] = {}
        self._lists: dict[Hashable, list[tuple[list[Any], Pair]]] = {}
        """At each of these ends, the longest so far."""
        for pair, read in sorted(seen, key=lambda one: one[0].indices[-1]):
            for key, tokens in read.items():
                lists = self._lists.setdefault(key, [])
                if not lists or len(tokens) > len(lists[-1][0]):
                    lists.append((tokens, pair))
                    self._ends.setdefault(key, []).append(pair.indices[-1])

    def before(self, key: Hashable, pair: Pair) -> tuple[list[Any], Pair | None]:
        """The longest list that was read before a read began, and who read it."""
        at = bisect_left(self._ends.get(key, []), pair.index)
        return self._lists[key][at - 1] if at else ([], None)


def _why_before(
    one: Any, other: Any, writes: dict[Any, _Write], lists: dict[Hashable, list[Any]]
) -> str | None:
    """Why one write took effect before another, as far as single reads do not tell; None if nothing says so."""
    if one not in writes or other not in writes:
        return None
    first, second = writes[one], writes[other]
    if first.must_be_empty in second.keys:
        return f"{shown(one)} needs {first.must_be_empty} to be empty, which {shown(other)} wrote"
    for key in first.keys:
        tokens = lists.get(key, [])
        if one in tokens and other in tokens and tokens.index(one) < tokens.index(other):
            return f"{shown(one)} stands before {shown(other)} in {key}"
    by = first.took_effect_by
    how = "acknowledged" if by == first.acknowledged_at else "seen"
    if by < second.tried_at:
        return f"{shown(one)} was {how} before {shown(other)} was tried"
    if second.missed_by is not None and by < second.missed_by.index:
        read = second.missed_by
        return (
            f"{shown(one)} was {how} before the read of process {read.process} ({interval(read)}), which did not see "
            f"{shown(other)}"
        )
    return None


def _lists(answer: Any, named: Sequence[Any]) -> dict[Hashable, list[Any]] | None:
    """The tokens of each list in the answer of a read; None if it is no such answer, or does not tell which of the
    named keys it is about."""
    if not isinstance(answer, dict) or not all(
        value is None or isinstance(value, list) for value in answer.values()
    ):
        return None
    meant = meant_keys(named, answer)
    if len(meant) < len(answer):
        return None
    return {_token(meant[key]): [_token(token) for token in value or []] for key, value in answer.items()}


def _token(value: Any) -> Hashable:
    """A token, or the key of a list, by what it equals: two are one exactly if they are the same JSON value."""
    whole = whole_number(value)
    if whole is not None:
        return whole
    return value if isinstance(value, str) else _Token(identity(value), value)


@dataclass(frozen=True)
class _Token:
    """One that is neither a whole number nor a text."""

    identity: Hashable
    value: Any = field(compare=False)

    def __repr__(self) -> str:
        return spelt(self.value)
