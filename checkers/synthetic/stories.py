"""Anomalies as short stories: a few transactions on keys of their own, and what their order and answers prove.

A story is complete: its keys are written by nobody else, so the levels that it breaks are broken in every history
that it is told in, and those that it keeps stay kept if the rest keeps them (a serial order, or a set of snapshots,
of the whole is made from the two side by side). The innocent ones look odd and break nothing.

Events are written `+a` (a is invoked), `-a` (a is ok), `!a` (fail), `?a` (info). A story of lists is told of registers
by taking appends as writes and of each answer the last element; where that would prove something else, it is only
told of lists.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from checkers.isolation.lattice import implied_models, stronger_models
from checkers.synthetic.draws import Draws
from checkers.synthetic.stores import Synthetic
from results.transactions import APPEND, FOREVER, NIL, READ, SCAN, WRITE, Transactions

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Story:
    """A named anomaly (or innocence): its transactions, their order, and what follows."""

    name: str
    transactions: dict[str, str]
    """By name: micro-operations `append KEY VALUE` and `r KEY VALUE..`, in `;`; `scan KEY KEY KEY VALUE..` is a scan
    from the first key to the second, both included, that found what follows. Keys are in alphabetical order."""
    order: str
    breaks: tuple[str, ...] = ()
    """The weakest isolation levels that it breaks."""
    keeps: tuple[str, ...] = ()
    """The strongest isolation levels that it keeps."""
    sessions: tuple[str, ...] = ()
    """Transactions that one process runs, by their names in a row; all others have processes of their own."""
    of_registers: bool = True
    """Whether it means the same of registers."""

    @property
    def of_lists(self) -> bool:
        """Whether it can be told of lists: those with scans can not."""
        return not any("scan" in text for text in self.transactions.values())

    def can_be_of(self, kind: str) -> bool:
        """Whether it can be told of `list-append` or `rw-register`."""
        return self.of_registers if kind == "rw-register" else self.of_lists


STORIES: Final[dict[str, Story]] = {
    story.name: story
    for story in (
        Story(
            "G0",
            {
                "a": "append x 1; append y 1",
                "b": "append x 2; append y 2",
                "c": "r x 1 2; r y 2 1",
            },
            "+a +b -a -b +c -c",
            breaks=("read-uncommitted",),
            of_registers=False,
        ),
        Story(
            "G1a",
            {"a": "append x 1", "b": "r x 1"},
            "+a +b !a -b",
            breaks=("read-committed",),
            keeps=("read-uncommitted",),
        ),
        Story(
            "G1b",
            {"a": "append x 1; append x 2", "b": "r x 1", "c": "r x 1 2"},
            "+a +b -a -b +c -c",
            breaks=("read-committed",),
            keeps=("read-uncommitted",),
        ),
        Story(
            "G1c",
            {"a": "append x 1; r y 1", "b": "append y 1; r x 1"},
            "+a +b -b -a",
            breaks=("read-committed",),
            keeps=("read-uncommitted",),
        ),
        Story(
            "dirty-update",
            {"a": "append x 1", "b": "append x 2", "c": "r x 1 2"},
            "+a +b !a -b +c -c",
            breaks=("read-committed",),
            of_registers=False,
        ),
        Story(
            "garbage-read",
            # What c saw says that 9 was not there from the beginning either.
            {"a": "append x 1", "b": "r x 9", "c": "r x"},
            "+c -c +a -a +b -b",
            breaks=("read-committed",),
        ),
        Story(
            "duplicate-elements",
            {"a": "append x 1", "b": "append x 2", "c": "r x 1 1 2"},
            "+a -a +b +c -b -c",
            breaks=("read-committed",),
            of_registers=False,
        ),
        Story(
            "incompatible-order",
            {"a": "append x 1", "b": "append x 2", "c": "r x 1 2", "d": "r x 2 1"},
            "+a +b -a -b +c +d -c -d",
            breaks=("read-committed",),
            of_registers=False,
        ),
        Story(
            "internal",
            {"a": "append x 1; r x", "b": "r x 1"},
            "+a -a +b -b",
            breaks=("read-atomic",),
        ),
        Story(
            "future-read",
            {"a": "r x 1; append x 1", "b": "r x 1"},
            "+a -a +b -b",
            breaks=("read-committed",),
        ),
        Story(
            "non-repeatable-read",
            {"a": "append x 1", "b": "r x; r x 1"},
            "+b +a -a -b",
            breaks=("repeatable-read", "read-atomic", "consistent-view"),
            keeps=("monotonic-atomic-view",),
        ),
        Story(
            "fractured-read",
            {"a": "append x 1; append y 1", "b": "r y; r x 1", "c": "r x 1; r y 1"},
            "+a +b -a -b +c -c",
            breaks=("read-atomic", "repeatable-read", "consistent-view"),
            keeps=("monotonic-atomic-view",),
        ),
        Story(
            "non-monotonic-view",
            # The other way round: what is read later is older.
            {"a": "append x 1; append y 1", "b": "r x 1; r y", "c": "r x 1; r y 1"},
            "+a +b -a -b +c -c",
            breaks=("monotonic-atomic-view", "consistent-view"),
            keeps=("read-uncommitted",),
        ),
        Story(
            "causality-violation",
            {"a": "append x 1", "b": "r x 1; append y 1", "c": "r y 1; r x", "d": "r x 1; r y 1"},
            "+a +b +c -a -b -c +d -d",
            breaks=("causal-cerone", "consistent-view", "repeatable-read"),
            keeps=("read-atomic",),
        ),
        Story(
            "lost-update",
            {"a": "append x 1", "b": "r x 1; append x 2", "c": "r x 1; append x 3", "d": "r x 1 2 3"},
            "+a -a +b +c -b -c +d -d",
            breaks=("rola", "cursor-stability", "consistent-view"),
            keeps=("causal", "prefix"),
        ),
        Story(
            "long-fork",
            {"a": "append x 1", "b": "append y 1", "c": "r x 1; r y", "d": "r y 1; r x", "e": "r x 1; r y 1"},
            "+a +b +c +d -c -d -b -a +e -e",
            breaks=("prefix", "repeatable-read"),
            keeps=("causal", "parallel-snapshot-isolation"),
        ),
        Story(
            "write-skew",
            {"a": "r x; r y; append x 1", "b": "r x; r y; append y 1", "c": "r x 1; r y 1"},
            "+a +b -a -b +c -c",
            breaks=("repeatable-read", "update-serializable"),
            keeps=("strong-snapshot-isolation",),
        ),
        Story(
            "read-only-anomaly",
            # Fekete, O'Neil, O'Neil 2004: only what the reader c saw makes it unserializable.
            {
                "a": "r x; r y; append x 1",
                "b": "append y 1",
                "c": "r x; r y 1",
                "d": "r x 1; r y 1",
            },
            "+a +b -b +c -c -a +d -d",
            breaks=("repeatable-read",),
            keeps=("strong-snapshot-isolation",),
        ),
        Story(
            "stale-read",
            {"a": "append x 1", "b": "r x", "c": "r x 1"},
            "+a -a +b -b +c -c",
            breaks=("strong-snapshot-isolation",),
            keeps=("strong-session-serializable",),
        ),
        Story(
            "read-before-write",
            {"a": "append x 1", "b": "r x 1"},
            "+b -b +a -a",
            breaks=("strong-read-committed",),
            keeps=("strong-session-serializable",),
        ),
        Story(
            "reordered-appends",
            {"a": "append x 1", "b": "append x 2", "c": "r x 2 1"},
            "+a -a +b -b +c -c",
            breaks=("strong-read-uncommitted",),
            keeps=("strong-session-serializable",),
            of_registers=False,
        ),
        Story(
            "lost-append",
            {"a": "append x 1", "b": "append x 2", "c": "r x 2"},
            "+a -a +b -b +c -c",
            breaks=("strong-snapshot-isolation",),
            keeps=("strong-session-serializable",),
            of_registers=False,
        ),
        Story(
            "non-monotonic-read",
            {"a": "append x 1", "b": "r x 1", "c": "r x"},
            "+a +b -a -b +c -c",
            breaks=("causal", "monotonic-reads"),
            keeps=("serializable",),
            sessions=("bc",),
        ),
        Story(
            "forgotten-own-write",
            {"a": "append x 1", "b": "r x", "c": "r x 1"},
            "+a -a +b -b +c -c",
            breaks=("causal", "read-your-writes"),
            keeps=("serializable",),
            sessions=("ab",),
        ),
        Story(
            "crashed-append-is-seen",
            {"a": "append x 1", "b": "append x 2", "c": "r x 2", "d": "r x 2 1"},
            "+a +b ?a -b +c -c +d -d",
            keeps=("strict-serializable",),
            of_registers=False,
        ),
        Story(
            "crashed-append-is-lost",
            {"a": "append x 1; append y 1", "b": "append x 2; append y 2", "c": "r x 2; r y 2"},
            "+a ?a +b -b +c -c",
            keeps=("strict-serializable",),
        ),
        Story(
            "phantom-skew",
            # Each scans a range and inserts a row because there was none; no item was read at all.
            {"a": "scan x y; append x 1", "b": "scan x y; append y 1", "c": "scan x y x 1 y 1"},
            "+a +b -a -b +c -c",
            breaks=("serializable", "update-serializable"),
            keeps=("strong-snapshot-isolation", "repeatable-read"),
        ),
        Story(
            "phantom-read",
            # b saw what a did, but scanned without its insert.
            {"a": "append x 1; append z 1", "b": "r z 1; scan x y", "c": "scan x z x 1 z 1"},
            "+a -a +b -b +c -c",
            breaks=("snapshot-isolation", "serializable"),
            keeps=("repeatable-read",),
        ),
        Story(
            "stale-scan",
            {"a": "append x 1", "b": "scan x y", "c": "scan x y x 1"},
            "+a -a +b -b +c -c",
            breaks=("strong-snapshot-isolation",),
            keeps=("strong-session-serializable",),
        ),
        Story(
            "scan-of-concurrent-insert",
            {"a": "append x 1", "b": "scan x y", "c": "scan x y x 1", "d": "scan x y x 1"},
            "+a +b +c -a -c -b +d -d",
            keeps=("strict-serializable",),
        ),
        Story(
            "late-read-of-concurrent",
            {"a": "append x 1", "b": "r x", "c": "r x 1; r x 1", "d": "r x 1"},
            "+b +a +c -a -c +d -d -b",
            keeps=("strict-serializable",),
        ),
    )
}
"""The stories by name; which is that of Elle's anomaly where there is one."""

_NAME_ORDER: Final = re.compile(r"([+\-!?])(\w+)")


def names(kind: str = "list-append") -> list[str]:
    """The stories that can be told of `list-append` or `rw-register`."""
    return [name for name, story in STORIES.items() if story.can_be_of(kind)]


def tell(history: Synthetic, tales: Sequence[str], seed: int = 0) -> Synthetic:
    """The history with stories told in it: their events spread among the others, their order among themselves kept.

    A name may come several times; each telling has keys and processes of its own. Raises ValueError for a story that
    is not known, or cannot be told of registers.
    """
    for tale in tales:
        _get(tale, history.transactions.of_registers)
    for number, tale in enumerate(tales):
        draws = Draws(seed, f"story {number} {tale}")
        history = _insert(history, _get(tale, history.transactions.of_registers), draws)
    return history


def _get(name: str, of_registers: bool) -> Story:
    kind = "rw-register" if of_registers else "list-append"
    if name not in names(kind):
        raise ValueError(f"{name!r} is no story of {kind} (stories: {', '.join(names(kind))})")
    return STORIES[name]


def _insert(history: Synthetic, story: Story, draws: Draws) -> Synthetic:
    old = history.transactions
    events = _NAME_ORDER.findall(story.order)
    # Story event i comes before `place[i]` of the old events.
    place = np.sort(draws.below(history.events + 1, len(events)))
    index_of = place + np.arange(len(events))
    where = {(kind, name): int(index) for (kind, name), index in zip(events, index_of, strict=True)}

    def moved(indexes: NDArray[Any]) -> NDArray[Any]:
        real = (indexes >= 0) & (indexes < FOREVER)
        placed: NDArray[Any] = np.where(
            real, indexes + np.searchsorted(place, indexes, side="right"), indexes
        )
        return placed

    told = _columns(history, story, where)
    start = np.concatenate([moved(old.start), told.start])
    order = np.argsort(start, kind="stable")
    sizes = np.concatenate([np.diff(old.first), np.diff(told.first)])
    first = np.zeros(len(order) + 1, dtype=np.int64)
    np.cumsum(sizes[order], out=first[1:])
    # Micro-operations, and then elements, move with what they belong to.
    old_first = np.concatenate([old.first[:-1], told.first[:-1] + old.micro_operations])
    take = _ranges(old_first[order], sizes[order])
    lengths = np.concatenate([np.diff(old.element_first), np.diff(told.element_first)])
    element_first = np.zeros(len(take) + 1, dtype=np.int64)
    np.cumsum(lengths[take], out=element_first[1:])
    old_elements = np.concatenate([old.element_first[:-1], told.element_first[:-1] + len(old.elements)])
    elements = np.concatenate([old.elements, told.elements])[_ranges(old_elements[take], lengths[take])]

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(old, name), getattr(told, name)])

    completed = np.concatenate([moved(history.completed), _completed(story, where)])
    transactions = Transactions(
        process=joined("process")[order],
        start=start[order],
        end=np.concatenate([moved(old.end), told.end])[order],
        outcome=joined("outcome")[order],
        first=first,
        kind=joined("kind")[take],
        key=joined("key")[take],
        value=joined("value")[take],
        known=joined("known")[take],
        element_first=element_first,
        elements=elements,
        keys=told.keys,
        values=told.values,
        committed_at=None if old.committed_at is None else _later(old.committed_at, len(told))[order],
        of_registers=old.of_registers,
        ranges=told.ranges,
    )
    violates = history.violates | stronger_models(story.breaks)
    return Synthetic(
        transactions,
        completed[order],
        (history.satisfies & implied_models(story.keeps)) - violates,
        violates,
        (*history.anomalies, story.name),
    )


def _later(committed_at: NDArray[np.int64], more: int) -> NDArray[np.int64]:
    """Transactions of a story have no commit timestamps: what is wrong with them must show without."""
    return np.concatenate([committed_at, np.full(more, -1, np.int64)])


def _ranges(first: NDArray[Any], sizes: NDArray[Any]) -> NDArray[Any]:
    """The positions `first[i] : first[i] + sizes[i]`, one range after the other."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    positions: NDArray[Any] = np.arange(total) + np.repeat(first - (ends - sizes), sizes)
    return positions


def _completed(story: Story, where: dict[tuple[str, str], int]) -> NDArray[Any]:
    return np.array(
        [next(where[k, name] for k in "-!?" if (k, name) in where) for name in story.transactions]
    )


def _columns(history: Synthetic, story: Story, where: dict[tuple[str, str], int]) -> Transactions:
    """The story's transactions as columns, with keys, processes and values numbered on from the history's."""
    old = history.transactions
    keys, values = list(old.keys), list(old.values)
    numbers = {value: number for number, value in enumerate(values)}
    fresh = 1 + max((key for key in keys if isinstance(key, int)), default=-1)
    ranges = list(old.ranges)
    key_of: dict[str, int] = {}
    process_of: dict[str, int] = {}
    next_process = int(old.process.max(initial=-1)) + 1
    process, start, end, outcome, first = [], [], [], [], [0]
    kind, key, value, known, element_first, elements = [], [], [], [], [0], []

    def number_of(text: str) -> int:
        spelt = int(text)
        if spelt not in numbers:
            numbers[spelt] = len(values)
            values.append(spelt)
        return numbers[spelt]

    letters: list[str] = []
    if not story.of_lists:
        steps = [step.split() for text in story.transactions.values() for step in text.split(";")]
        letters = sorted({key for step in steps for key in step[1:] if key.isalpha()})
        key_of = {letter: len(keys) + place for place, letter in enumerate(letters)}
        keys += [fresh + place for place in range(len(letters))]

    for name, text in story.transactions.items():
        session = next((session for session in story.sessions if name in session), name)
        if session not in process_of:
            process_of[session] = next_process + len(process_of)
        process.append(process_of[session])
        start.append(where["+", name])
        ending = next(k for k in "-!?" if (k, name) in where)
        outcome.append({"-": 1, "!": 2, "?": 3}[ending])
        end.append(FOREVER if ending == "?" else where[ending, name])
        for step in text.split(";"):
            verb, of_key, *rest = step.split()
            if verb == "scan":
                low, high = (fresh + letters.index(letter) for letter in (of_key, rest[0]))
                kind.append(SCAN)
                key.append(len(ranges))
                ranges.append((low, high + 1))
                value.append(NIL)
                known.append(ending == "-")
                if ending == "-":
                    for letter, spelt in zip(rest[1::2], rest[2::2], strict=True):
                        elements += [key_of[letter], number_of(spelt)]
                element_first.append(len(elements))
                continue
            if of_key not in key_of:
                key_of[of_key] = len(keys)
                keys.append(fresh + len(key_of) - 1)
            key.append(key_of[of_key])
            if verb == "append":
                kind.append(WRITE if old.of_registers else APPEND)
                value.append(number_of(rest[0]))
                known.append(True)
            else:
                kind.append(READ)
                value.append(NIL)
                known.append(ending == "-")
                if ending == "-":
                    elements += [number_of(spelt) for spelt in (rest[-1:] if old.of_registers else rest)]
            element_first.append(len(elements))
        first.append(len(kind))
    return Transactions(
        process=np.array(process, np.int32),
        start=np.array(start, np.int64),
        end=np.array(end, np.int64),
        outcome=np.array(outcome, np.int8),
        first=np.array(first, np.int64),
        kind=np.array(kind, np.int8),
        key=np.array(key, np.int32),
        value=np.array(value, np.int32),
        known=np.array(known, np.bool_),
        element_first=np.array(element_first, np.int64),
        elements=np.array(elements, np.int32),
        keys=keys,
        values=values,
        of_registers=old.of_registers,
        ranges=ranges,
    )
