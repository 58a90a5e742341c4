"""Writes with idempotency tokens: each takes effect at most once, on all its keys or on none.

Operations: `write` with `{"token": t, "keys": [...]}`, which appends its token to the list of each key, and may be
tried several times with the same token, by anybody. With `"must_exist": key` it has an effect only where that list,
which it writes, has something before, with `"must_be_empty": key` only where that list has nothing before. `read` with
a list of keys, answered `{key: list or null}`, all as of one moment. So every read tells which writes had taken effect,
how often, and in which order. Judged in each:

- no token occurs twice in a list;
- a token that is in the list of one of its keys is in those of all of its keys that were read;
- two tokens are in the same order in every list that has both;
- a list that was read is the beginning of the longest that was read of its key: nothing is taken away or put between;
- whoever reads after a write was acknowledged sees it, and nobody sees one of which every attempt failed, or that
  nobody tried: not at all, not for that key, or not before the read had ended;
- the condition of a write that took effect was true: it is not the first of a list that must exist, and of those that
  wrote a list which must be empty none took effect before it. One did if it stands before it in a list; if it was seen
  where it was not; if it was acknowledged before it was tried; if it must itself come before it, by its own condition.

An attempt that failed says that it had no effect, not that others with its token had none; one without an answer may
have taken effect. That a token counts once is what makes it safe to try again.
"""

from __future__ import annotations

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
        for pair, lists in seen:
            self._judge(pair, lists, writes, by_key, longest, findings, misshapen.may_have_written)
        self._judge_conditions(writes, seen, longest, findings)
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
                _token(value["token"]), _Write(keys, set(keys), [], None, None, *conditions)
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
        findings: Findings,
        doubtful: bool,
    ) -> None:
        """What a read says by itself; where it is doubtful what was tried, nothing is called foreign or failed."""
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
            for token in by_key.get(key, ()):
                write = writes[token]
                if (
                    token not in mine
                    and write.acknowledged_at is not None
                    and write.acknowledged_at < pair.index
                ):
                    text = f"{when} did not see {shown(token)} in {key}, acknowledged before it began"
                    findings.note(LOST, text, [*write.pairs, pair])
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
    ) -> None:
        """Whether the writes that took effect were allowed to."""
        lists = {key: [token for token in tokens if token in writes] for key, (tokens, _) in longest.items()}
        conditional: dict[Hashable, list[Any]] = {}
        """By list that must be empty: who took effect, and is only to where it is."""
        for token in dict.fromkeys(token for tokens in lists.values() for token in tokens):
            write = writes[token]
            if write.must_exist in longest and longest[write.must_exist][0][:1] == [token]:
                text = f"{shown(token)} is the first in {write.must_exist}, and needs others there before it"
                findings.note(CONDITION, text, [*write.pairs, longest[write.must_exist][1]])
            if write.must_be_empty is not None:
                conditional.setdefault(write.must_be_empty, []).append(token)
        for key, tokens in conditional.items():
            for token in tokens:
                others = (other for other in lists.get(key, ()) if other != token)
                reasons = (_why_before(other, token, writes, lists) for other in others)
                why = next(filter(None, reasons), None)
                if why is not None:
                    text = f"{shown(token)} needs {key} to be empty, and {why}"
                    findings.note(CONDITION, text, [*writes[token].pairs, longest[key][1]])
        for pair, read in seen:
            for key, there in read.items():
                for token in conditional.get(key, ()) if there else ():
                    missing = [one for one in writes[token].keys if one in read and token not in read[one]]
                    if missing:
                        text = (
                            f"{shown(token)} needs {key} to be empty, and the read of process {pair.process} "
                            f"({interval(pair)}) saw {shown(there)} there, and it not yet in {missing[0]}"
                        )
                        findings.note(CONDITION, text, [*writes[token].pairs, pair])


def _why_before(
    one: Any, other: Any, writes: dict[Any, _Write], lists: dict[Hashable, list[Any]]
) -> str | None:
    """Why one write took effect before another, as far as single reads do not tell; None if nothing says so."""
    first, second = writes[one], writes[other]
    if first.must_be_empty in second.keys:
        return f"{shown(one)} is there, which needs {first.must_be_empty} to be empty before it"
    for key in first.keys:
        tokens = lists.get(key, [])
        if one in tokens and other in tokens and tokens.index(one) < tokens.index(other):
            return f"{shown(one)} is there, which stands before it in {key}"
    if first.acknowledged_at is not None and first.acknowledged_at < min(pair.index for pair in second.pairs):
        return f"{shown(one)} is there, acknowledged before it was tried"
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
