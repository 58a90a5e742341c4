"""A set that only grows: what was added stays, and nothing else appears.

Operations: `add` with an element, each element once; `read`, answered with all elements. An element is *known* as soon
as its add was acknowledged or a read has shown it. From then on:

- a read that begins later and lacks it, while a still later one has it, is *stale* (an error only if the set is to be
  linearizable);
- lacking in every read from some moment on, it is *lost*;
- if no read began after it was known, nothing can be said about it, and a verdict that is not invalid is unknown: a
  workload ends with a final read.

An unacknowledged add (info) may show up at any time or never; one that failed must never show up. Each element is
judged on its own, so two reads that contradict each other only about concurrent adds pass; the general search with
the set model is the judge of that.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkers.checker import Limits
from checkers.words import count, interval, listing, seconds
from results.history import History, Pair
from results.operation import FAIL, OK
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

LOST = "lost element"
STALE = "stale read"
DUPLICATED = "duplicated element"
UNEXPECTED = "element never added"
FAILED_ADD = "element of a failed add"
BEFORE_ITS_ADD = "element before its add"

EXAMPLES = 20
"""Elements of a kind whose events are listed with an anomaly; all of them are named in its evidence."""


@dataclass
class _Element:
    """What the history says about one element."""

    value: Any
    adds: list[Pair] = field(default_factory=list)
    known_by: Pair | None = None
    """The add or read that made it known: the first to complete."""
    known_at: int = -1
    """Index of that completion."""
    known_ns: int = 0
    last_seen: Pair | None = None
    """Of the reads that show it, the one completed last."""
    absences: list[Pair] = field(default_factory=list)
    """The reads that began when it was known, and lack it."""

    @property
    def last_absence(self) -> Pair | None:
        return max(self.absences, key=lambda read: read.index, default=None)

    @property
    def is_lost(self) -> bool:
        """Whether no read that shows it was still going on, or came, once the last one that lacks it had begun."""
        absent = self.last_absence
        if absent is None or self.last_seen is None:
            return absent is not None
        return self.last_seen.indices[-1] < absent.index

    @property
    def is_stale(self) -> bool:
        return bool(self.absences) and not self.is_lost

    def row(self) -> dict[str, Any]:
        first = min(self.absences, key=lambda read: read.index, default=None)
        return {
            "element": self.value,
            "known_ns": self.known_ns if self.known_by is not None else None,
            "last_seen_ns": None if self.last_seen is None else self.last_seen.start,
            "first_absent_ns": None if first is None else first.start,
            "absent_from_reads": len(self.absences),
        }


@dataclass
class SetFullChecker:
    """Judges adds and reads of one set; with `linearizable`, a stale read is an error too."""

    linearizable: bool = True
    name: str = field(default="set", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        pairs = history.pairs()
        reads = [pair for pair in pairs if pair.f == "read" and pair.type == OK]
        adds = [pair for pair in pairs if pair.f == "add"]
        if not reads:
            tried = sum(pair.f == "read" for pair in pairs)
            return Verdict(
                UNKNOWN, self.name, f"none of {count(tried, 'read')} succeeded: the set was never seen"
            )
        elements, duplicates = _follow(history, adds)
        anomalies = list(self._anomalies(elements, duplicates, reads))
        unread = _never_read(elements, reads)
        stale = [element for element in elements if element.is_stale]
        acknowledged = sum(pair.type == OK for pair in adds)
        details = {
            "adds": len(adds),
            "acknowledged": acknowledged,
            "reads": len(reads),
            "elements_seen": sum(element.last_seen is not None for element in elements),
            "recovered": sum(
                element.last_seen is not None and all(add.type not in (OK, FAIL) for add in element.adds)
                for element in elements
            ),
            "lost": sum(element.is_lost for element in elements),
            "stale": len(stale),
            "never_read": len(unread),
            "stale_for_ms": _stale_for_ms(stale),
        }
        if anomalies:
            sentence = "; ".join(anomaly.sentence for anomaly in anomalies)
            return Verdict(INVALID, self.name, sentence, anomalies, details)
        if unread:
            shown = listing(element.value for element in unread)
            sentence = (
                f"{count(len(unread), 'acknowledged element')} ({shown}) cannot be judged: no read succeeded that "
                "began after the acknowledgement; a final read would tell"
            )
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        sentence = (
            f"all {count(acknowledged, 'acknowledged element')} stayed, and nothing else appeared, in "
            f"{count(len(reads), 'read')}"
        )
        if stale:
            sentence += f"; {count(len(stale), 'element')} went missing for a while, which is allowed here"
        return Verdict(VALID, self.name, sentence, details=details)

    def _anomalies(
        self,
        elements: Sequence[_Element],
        duplicates: dict[Hashable, tuple[Any, Pair, int]],
        reads: Sequence[Pair],
    ) -> list[Anomaly]:
        final = max(reads, key=lambda read: read.index)
        lost = [element for element in elements if element.is_lost]
        stale = [element for element in elements if element.is_stale] if self.linearizable else []
        seen = [element for element in elements if element.last_seen is not None]
        never_added = [element for element in seen if not element.adds]
        failed = [
            element for element in seen if element.adds and all(add.type == FAIL for add in element.adds)
        ]
        early = [
            element
            for element in seen
            if element.adds and element.known_at < min(add.index for add in element.adds)
        ]
        anomalies = []
        if lost:
            anomalies.append(_anomaly(LOST, lost, lambda element: _tell_lost(element, final)))
        if stale:
            anomalies.append(_anomaly(STALE, stale, _tell_stale))
        if never_added:
            anomalies.append(_anomaly(UNEXPECTED, never_added, _tell_unexpected))
        if failed:
            anomalies.append(_anomaly(FAILED_ADD, failed, _tell_failed))
        if early:
            anomalies.append(_anomaly(BEFORE_ITS_ADD, early, _tell_early))
        if duplicates:
            value, read, times = next(iter(duplicates.values()))
            sentence = (
                f"{count(len(duplicates), 'element')} duplicated: the read by process {read.process} "
                f"({interval(read)}) saw {value!r} {times} times"
            )
            operations = sorted({index for _, read, _ in duplicates.values() for index in read.indices})
            values = [value for value, _, _ in duplicates.values()]
            anomalies.append(Anomaly(DUPLICATED, sentence, operations, evidence={"elements": values}))
        return anomalies


def _follow(
    history: History, adds: Sequence[Pair]
) -> tuple[list[_Element], dict[Hashable, tuple[Any, Pair, int]]]:
    """Walks through the events once; the elements, and those that some read shows more than once."""
    elements: dict[Hashable, _Element] = {}
    duplicates: dict[Hashable, tuple[Any, Pair, int]] = {}
    for add in adds:
        value = add.invocation.value
        elements.setdefault(hashable(value), _Element(value)).adds.append(add)
    by_start = {pair.index: pair for pair in history.pairs() if pair.f in ("add", "read")}
    known: set[Hashable] = set()
    for event in history.operations:
        if event.type != OK or not isinstance(event.process, int):
            continue
        start = history.partner_index(event.index)
        pair = by_start.get(-1 if start is None else start)
        if pair is None:
            continue
        if pair.f == "add":
            shown = {hashable(pair.invocation.value)}
        else:
            values = [(hashable(value), value) for value in event.value or ()]
            shown = {key for key, _ in values}
            if len(shown) < len(values):
                for key, value in values:
                    if key not in duplicates:
                        times = sum(other == key for other, _ in values)
                        if times > 1:
                            duplicates[key] = (value, pair, times)
            # The difference is small unless much is wrong, and sets take it at the speed of C.
            for key in known - shown:
                element = elements[key]
                if element.known_at < pair.index:
                    element.absences.append(pair)
            for key, value in values if not shown <= elements.keys() else ():
                elements.setdefault(key, _Element(value))
            for key in shown:
                elements[key].last_seen = pair
        for key in shown - known:
            element = elements[key]
            element.known_by, element.known_at, element.known_ns = pair, event.index, event.time
        known |= shown
    return list(elements.values()), duplicates


def _never_read(elements: Sequence[_Element], reads: Sequence[Pair]) -> list[_Element]:
    """Known elements that no read could have shown missing: none began after they were known."""
    last_start = max(read.index for read in reads)
    return [
        element
        for element in elements
        if element.known_by is not None and element.last_seen is None and element.known_at > last_start
    ]


def _stale_for_ms(stale: Sequence[_Element]) -> dict[str, float]:
    """How long elements stayed invisible after they were known, until the last read that lacks them."""
    if not stale:
        return {}
    spans = sorted((max(read.start for read in e.absences) - e.known_ns) / 1e6 for e in stale)
    return {"median": spans[len(spans) // 2], "longest": spans[-1]}


def _anomaly(
    kind: str, wrong: Sequence[_Element], tell: Callable[[_Element], tuple[str, list[Pair]]]
) -> Anomaly:
    told = [tell(element) for element in wrong[:EXAMPLES]]
    plural = kind.replace("element", "elements", 1) if kind.startswith("element") else f"{kind}s"
    number = f"{count(len(wrong), kind, plural)}: " if len(wrong) > 1 else f"{kind}: "
    return Anomaly(
        type=kind,
        sentence=f"{number}{told[0][0]}",
        operations=sorted({index for _, pairs in told for pair in pairs for index in pair.indices}),
        key=wrong[0].value,
        evidence={"elements": [element.row() for element in wrong]},
    )


def _tell_lost(element: _Element, final: Pair) -> tuple[str, list[Pair]]:
    absent = element.last_absence
    assert element.known_by is not None, f"{element.value!r} is lost without having been known"
    assert absent is not None, f"{element.value!r} is lost without a read that lacks it"
    pairs = [element.known_by, absent]
    text = f"{element.value!r} {_known(element)}"
    if element.last_seen is not None:
        if element.last_seen is not element.known_by:
            text += f", was last seen by process {element.last_seen.process} ({interval(element.last_seen)})"
        pairs.append(element.last_seen)
    which = "the last read" if absent is final else "the read"
    return f"{text}, and is missing from {which}, by process {absent.process} ({interval(absent)})", pairs


def _tell_stale(element: _Element) -> tuple[str, list[Pair]]:
    first = min(element.absences, key=lambda read: read.index)
    assert element.known_by is not None, f"{element.value!r} is stale without having been known"
    assert element.last_seen is not None, f"{element.value!r} is stale without having been seen"
    text = (
        f"{element.value!r} {_known(element)}, is missing from the read by process {first.process} "
        f"({interval(first)}), and there again in the one by process {element.last_seen.process} "
        f"({interval(element.last_seen)})"
    )
    return text, [element.known_by, first, element.last_seen]


def _tell_unexpected(element: _Element) -> tuple[str, list[Pair]]:
    assert element.last_seen is not None, f"{element.value!r} was never seen"
    seen = element.last_seen
    return f"process {seen.process} read {element.value!r} ({interval(seen)}), and nobody added it", [seen]


def _tell_failed(element: _Element) -> tuple[str, list[Pair]]:
    assert element.last_seen is not None, f"{element.value!r} was never seen"
    seen, add = element.last_seen, element.adds[0]
    text = (
        f"process {seen.process} read {element.value!r} ({interval(seen)}), but its add by process {add.process} "
        f"({interval(add)}) had failed"
    )
    return text, [add, seen]


def _tell_early(element: _Element) -> tuple[str, list[Pair]]:
    assert element.known_by is not None, f"{element.value!r} was never known"
    add = min(element.adds, key=lambda add: add.index)
    by = element.known_by
    text = (
        f"process {by.process} read {element.value!r} ({interval(by)}) before process {add.process} began to add it, "
        f"at {seconds(add.start)}"
    )
    return text, [by, add]


def _known(element: _Element) -> str:
    by = element.known_by
    assert by is not None, f"{element.value!r} was never known"
    how = "was added" if by.f == "add" else "was seen"
    return f"{how} by process {by.process} (completed at {seconds(element.known_ns)})"


def hashable(value: Any) -> Hashable:
    """An element as something hashable; lists, as JSON has them, become tuples."""
    if isinstance(value, list | tuple):
        return tuple(hashable(item) for item in value)
    if isinstance(value, dict):
        return tuple(sorted((str(key), hashable(item)) for key, item in value.items()))
    return (bool, value) if isinstance(value, bool) else value
