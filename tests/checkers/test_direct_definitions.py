"""Checkers of one page against their definitions, read word by word: slow, and without any of their shortcuts."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.causal_reverse import CausalReverseChecker
from checkers.checker import Limits
from checkers.log import LogChecker
from checkers.staleness import StalenessChecker
from checkers.watch import WatchChecker
from checkers.write_skew import WriteSkewChecker
from results.history import History, Pair
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.stories import Story, kinds, random_history

NOWHERE = 9
"""A value that nobody writes."""


def precedes(one: Pair, other: Pair) -> bool:
    return one.type == "ok" and one.completion is not None and one.completion.index < other.index


def answered(history: History, f: str) -> list[Pair]:
    return [pair for pair in history.pairs() if pair.f == f and pair.type == "ok"]


def tried(history: History, f: str) -> list[Pair]:
    return [pair for pair in history.pairs() if pair.f == f]


def origin(values: list[Any], written: list[Any], failed: list[Any], never: str, refused: str) -> set[str]:
    """What is wrong with values that were seen, by who wrote them."""
    found = set()
    for value in values:
        if value not in written:
            found.add(refused if value in failed else never)
    return found


@st.composite
def reads_of_all(draw: st.DrawFn) -> History:
    number = draw(st.integers(1, 5))
    operations = [("write", value) for value in range(number)] + [("read", None)] * draw(st.integers(1, 3))
    values = st.lists(st.sampled_from([*range(number), *range(number), NOWHERE]), max_size=number)
    return random_history(
        lambda least, most: draw(st.integers(least, most)),
        draw(st.permutations(operations)),
        lambda f, asked: asked if f == "write" else draw(values),
    )


@settings(max_examples=150)
@given(reads_of_all())
def test_causal_reverse(history: History) -> None:
    """Of every two writes one of which ended before the other began: who sees the later one sees the earlier one. Of
    values from nowhere the first of each read is told. Nobody sees a write that begins after the read."""
    writes = [pair for pair in tried(history, "write") if pair.type != "fail"]
    failed = [pair.invocation.value for pair in tried(history, "write") if pair.type == "fail"]
    expected, saw = set(), False
    for read in answered(history, "read"):
        seen = read.completion.value
        saw = saw or bool(seen)
        written = [pair.invocation.value for pair in writes]
        expected |= origin(
            [value for value in seen if value not in written][:1],
            written,
            failed,
            "value never written",
            "value of a failed write",
        )
        if any(precedes(read, write) and write.invocation.value in seen for write in writes):
            expected.add("value before its write")
        for one, other in permutations(writes, 2):
            if precedes(one, other) and other.invocation.value in seen and one.invocation.value not in seen:
                expected.add("causal reverse")
    verdict = CausalReverseChecker().check(history, Limits())
    assert set(kinds(verdict)) == expected
    assert verdict.outcome == (INVALID if expected else VALID if saw else UNKNOWN)


@st.composite
def inserts(draw: st.DrawFn) -> History:
    number = draw(st.integers(1, 5))
    rows = [[draw(st.integers(0, 1)), draw(st.integers(0, 1)), id_] for id_ in range(number)]
    operations: list[tuple[str, Any]] = [("insert", row) for row in rows]
    operations += [("read", pair) for pair in draw(st.lists(st.integers(0, 1), max_size=3))]

    def answer(f: str, asked: Any) -> Any:
        if f == "insert":
            return asked
        sides: list[Any] = []
        for side in (0, 1):
            possible = [id_ for pair, of_side, id_ in rows if (pair, of_side) == (asked, side)]
            sides.append(draw(st.sampled_from([None, None, *possible, *possible, NOWHERE])))
        return sides

    return random_history(
        lambda least, most: draw(st.integers(least, most)), draw(st.permutations(operations)), answer
    )


@settings(max_examples=150)
@given(inserts())
def test_write_skew(history: History) -> None:
    """Of a pair at most one insert happened: that it did is known from its answer, or from a read."""
    expected = set()
    seen = []
    for read in answered(history, "read"):
        for side in (0, 1):
            row = [read.invocation.value, side, read.completion.value[side]]
            of_row = [pair for pair in tried(history, "insert") if pair.invocation.value == row]
            possible = [pair for pair in of_row if pair.type != "fail"]
            if row[2] is None:
                continue
            if not possible:
                expected.add("id of a failed insert" if of_row else "id never inserted")
            elif precedes(read, possible[0]):
                expected.add("id before its insert")
            else:
                seen.append(row)
    happened = [
        pair.invocation.value
        for pair in tried(history, "insert")
        if pair.type == "ok" or (pair.type != "fail" and pair.invocation.value in seen)
    ]
    for pair in (0, 1):
        sides = [side for of_pair, side, _ in happened if of_pair == pair]
        if len(sides) > 1:
            expected.add("write skew (G2-item)" if len(set(sides)) > 1 else "lost update")
    assert set(kinds(WriteSkewChecker().check(history, Limits()))) == expected


@st.composite
def lagging(draw: st.DrawFn) -> History:
    """Events lie a millisecond apart."""
    number = draw(st.integers(1, 5))
    keys = [draw(st.sampled_from("xy")) for _ in range(number)]
    operations: list[tuple[str, Any]] = [("write", [key, value]) for value, key in enumerate(keys)]
    operations += [("read", [draw(st.sampled_from("xy")), None]) for _ in range(draw(st.integers(1, 3)))]

    def answer(f: str, asked: Any) -> Any:
        if f == "write":
            return asked
        possible = [value for value, key in enumerate(keys) if key == asked[0]]
        return [asked[0], draw(st.sampled_from([None, *possible, *possible, NOWHERE]))]

    return random_history(
        lambda least, most: draw(st.integers(least, most)), draw(st.permutations(operations)), answer
    )


@settings(max_examples=150)
@given(lagging(), st.integers(0, 4))
def test_staleness(history: History, bound_ms: int) -> None:
    """No read misses a write that ended more than the bound before it began: one that was certainly newer."""
    writes = [pair for pair in tried(history, "write") if pair.type != "fail"]
    failed = [pair.invocation.value for pair in tried(history, "write") if pair.type == "fail"]
    expected = set()
    for read in answered(history, "read"):
        key, value = read.completion.value
        writers = [pair for pair in writes if pair.invocation.value == [key, value]]
        if value is not None and not writers:
            expected.add("value of a failed write" if [key, value] in failed else "value never written")
            continue
        if value is not None and precedes(read, writers[0]):
            expected.add("value before its write")
            continue
        for missed in writes:
            if missed.type != "ok" or missed.invocation.value[0] != key or missed in writers:
                continue
            is_newer = value is None or precedes(writers[0], missed)
            if is_newer and missed.end < read.start - bound_ms * 1_000_000:
                expected.add("read too stale")
    verdict = StalenessChecker(bound_ms * 1_000_000).check(history, Limits())
    assert set(kinds(verdict)) == expected


@st.composite
def logs(draw: st.DrawFn) -> History:
    """One key. Messages lie at the offsets of their numbers, and polls return stretches of them, but for mistakes."""
    number = draw(st.integers(1, 4))
    operations: list[tuple[str, Any]] = [("send", ["k", value]) for value in range(number)]
    operations += [("poll", None)] * draw(st.integers(1, 4))
    mistake = st.integers(0, 5).map(lambda drawn: drawn == 0)

    def answer(f: str, asked: Any) -> Any:
        if f == "send":
            value = asked[1]
            offset = draw(st.integers(0, number)) if draw(mistake) else value
            return ["k", value] if draw(mistake) else ["k", [offset, value]]
        first = draw(st.integers(0, number - 1))
        polled = [[place, place] for place in range(first, draw(st.integers(first, number)))]
        if draw(mistake):
            polled.append([draw(st.integers(0, number)), draw(st.sampled_from([*range(number), NOWHERE]))])
        if polled and draw(mistake):
            del polled[draw(st.integers(0, len(polled) - 1))]
        return {"k": polled}

    return random_history(
        lambda least, most: draw(st.integers(least, most)),
        draw(st.one_of(st.just(operations), st.permutations(operations))),
        answer,
        reads=frozenset({"poll"}),
    )


@settings(max_examples=200)
@given(logs())
def test_logs(history: History) -> None:
    sends = [pair for pair in tried(history, "send") if pair.type != "fail"]
    failed = [pair.invocation.value[1] for pair in tried(history, "send") if pair.type == "fail"]
    placed = [(pair, *pair.completion.value[1]) for pair in sends if pair.type == "ok" and _has_offset(pair)]
    polls = answered(history, "poll")
    polled = [tuple(message) for poll in polls for message in poll.completion.value["k"]]
    verdict = LogChecker().check(history, Limits())
    expected = origin(
        [value for _, value in polled],
        [pair.invocation.value[1] for pair in sends],
        failed,
        "message never sent",
        "aborted message (G1a)",
    )
    known = {(offset, value) for _, offset, value in placed} | set(polled)
    for one, other in combinations(known, 2):
        if one[0] == other[0]:
            expected.add("inconsistent offset")
        elif one[1] == other[1] and any(pair.invocation.value[1] == one[1] for pair in sends):
            expected.add("duplicated message")
    for poll in polls:
        for _, value in poll.completion.value["k"]:
            begun = [pair.index for pair in sends if pair.invocation.value[1] == value]
            if begun and poll.completion.index < begun[0]:
                expected.add("message before its send")
    for process in {pair.process for pair, _, _ in placed}:
        offsets = [offset for pair, offset, _ in placed if pair.process == process]
        if any(later <= earlier for earlier, later in pairwise(offsets)):
            expected.add("non-monotonic send")
    passed: set[int] = set()
    for consumer in _consumers(history):
        for (one, place), (other, to) in pairwise(consumer):
            within = "internal " if one is other else ""
            if to <= place:
                expected.add(f"{within}non-monotonic poll")
            between = range(place + 1, to)
            passed.update(between)
            if any(offset in between for offset, _ in polled):
                expected.add("internally skipped messages" if within else "skipped messages")
    for _, offset, value in placed:
        if offset in passed and value not in [seen for _, seen in polled]:
            expected.add("lost message")
    found = set(kinds(verdict))
    assert found - {"reordered sends"} == expected
    # Of real time, the pair that is told may be one of the same process, which is the other kind.
    reordered = [
        one.process != other.process
        for (one, first, _), (other, second, _) in permutations(placed, 2)
        if precedes(one, other) and second <= first
    ]
    assert bool(found & {"reordered sends", "non-monotonic send"}) == bool(reordered)
    assert "reordered sends" not in found or any(reordered)


def _has_offset(pair: Pair) -> bool:
    return isinstance(pair.completion.value[1], list)


def _consumers(history: History) -> list[list[tuple[Pair, int]]]:
    """The offsets that each process polled, divided where a poll failed."""
    found: list[list[tuple[Pair, int]]] = []
    for process in {pair.process for pair in history.pairs()}:
        found.append([])
        for pair in tried(history, "poll"):
            if pair.process != process:
                continue
            if pair.type != "ok":
                found.append([])
                continue
            found[-1] += [(pair, offset) for offset, _ in pair.completion.value["k"]]
    return found


@st.composite
def streams(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[int, str]], list[list[tuple[int, str]]]]:
    """What was asked for; the changes, of which some have one revision; and what was sent, in batches."""
    revisions = sorted(draw(st.lists(st.integers(1, 5), min_size=1, max_size=6)))
    changes = sorted({(revision, draw(st.sampled_from("xy"))) for revision in revisions})
    asked: dict[str, Any] = draw(st.sampled_from([{"key": "x"}, {"prefix": ""}]))
    asked = {**asked, "revision": draw(st.integers(0, 3))}
    wanted = [one for one in changes if _wants(asked, one)]
    sent = list(wanted)
    for _ in range(draw(st.integers(0, 2))):
        match draw(st.integers(0, 3)):
            case 0 if sent:
                del sent[draw(st.integers(0, len(sent) - 1))]
            case 1:
                sent.insert(draw(st.integers(0, len(sent))), draw(st.sampled_from(changes)))
            case 2 if sent:
                sent.append(sent.pop(draw(st.integers(0, len(sent) - 1))))
            case _:
                pass
    batches: list[list[tuple[int, str]]] = []
    for place, one in enumerate(sent):
        follows = place and one[0] == sent[place - 1][0]
        if batches and (follows if draw(st.integers(0, 4)) else not follows):
            batches[-1].append(one)
        else:
            batches.append([one])
    return asked, changes, batches


def _wants(asked: dict[str, Any], change: tuple[int, str]) -> bool:
    return asked.get("key", change[1]) == change[1] and change[0] >= asked["revision"]


@settings(max_examples=200)
@given(streams())
def test_watches(case: tuple[dict[str, Any], list[tuple[int, str]], list[list[tuple[int, str]]]]) -> None:
    """Filter, ordered, unique, atomic, reliable and resumable, of one stream of true events."""
    asked, changes, batches = case
    story = Story()
    for revision, key in changes:
        story.did(0, "put", [key, revision], [key, revision, revision])
    told = [
        [{"revision": revision, "type": "put", "key": key, "value": revision} for revision, key in batch]
        for batch in batches
    ]
    verdict = story.did(1, "watch", asked, {"events": told, "bookmarks": []}).judged(WatchChecker())
    sent = [one for batch in batches for one in batch]
    if not sent:
        assert verdict.outcome == UNKNOWN
        return
    expected = set()
    if not all(_wants(asked, one) for one in sent):
        expected.add("event not asked for (filter)")
    if len(set(sent)) < len(sent):
        expected.add("event sent twice (unique)")
    if any(sent[at] not in sent[:at] and sent[at][0] < sent[at - 1][0] for at in range(1, len(sent))):
        expected.add("events out of order (ordered)")
    first_batch: dict[tuple[int, str], int] = {}
    for number, batch in enumerate(batches):
        for one in batch:
            first_batch.setdefault(one, number)
    if any(
        one[0] == other[0] and first_batch[one] != first_batch[other]
        for one, other in combinations(first_batch, 2)
    ):
        expected.add("torn revision (atomic)")
    begun = min(revision for revision, _ in sent)
    for one in changes:
        is_due = _wants(asked, one) and one[0] <= max(sent)[0]
        if is_due and one not in sent and (asked["revision"] or one[0] >= begun):
            kind = "left out (reliable)" if one[0] >= begun else "left out at the start (resumable)"
            expected.add(f"event {kind}")
    assert set(kinds(verdict)) == expected
    assert (verdict.outcome == INVALID) == bool(expected)
