"""Long fork: one reader sees x but not yet y, another y but not yet x.

Operations: `write` `[["w", key, value]]`, each key once; `read` `[["r", key, nil], ...]`, answered with the values, nil
where a key is not there yet. Under snapshot isolation every read has a snapshot, and each write is either before or
after it: a write that it saw comes before it, one that it missed after. If these are not an order, the readers have
seen histories that forked. Parallel snapshot isolation (Sovran et al. 2011) allows that, snapshot isolation does not.

The usual fork is a cycle of two writes and two reads; cycles of more are the same anomaly, and are found too. One
graph has an edge for every value read, so the cost is linear in what was read, however many keys the reads share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.checker import Limits
from checkers.conclusion import Findings, Misshapen, anomaly, conclude
from checkers.isolation.orders import find_cycles, make_order, sort_topologically
from checkers.operations import Operations
from checkers.values import Numbering, identity
from checkers.words import count, interval, none_of, shown
from results.history import History, Pair
from results.verdict import UNKNOWN, Anomaly, Verdict

LONG_FORK = "long fork"
TORN_READ = "read at odds with itself"
NEVER_WRITTEN = "value never written"
FAILED_WRITE = "value of a failed write"
TOO_EARLY = "value before its write"


@dataclass
class _Keys:
    """What is known of the writes: for each key its values, and whether the write of one may have happened."""

    numbers: Numbering
    written: dict[int, dict[Any, bool]]
    writer: dict[int, int]
    """The position of the write of a key that may have happened."""
    twice: set[int]


@dataclass
class LongForkChecker:
    """Judges reads of several keys, each of which is written once."""

    name: str = field(default="long-fork", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        misshapen = Misshapen('[["w", key, value]], or [["r", key, value], ...]')
        writes = Operations.of(history, "write")
        keys = _keys(writes, misshapen)
        tried = Operations.of(history, "read")
        reads = tried.where(tried.ok)
        strange = Findings()
        saw: list[tuple[int, int]] = []
        missed: list[tuple[int, int]] = []
        widest = 0
        for place, answer in enumerate(reads.answers()):
            if not _are_micro_operations(answer, "r"):
                misshapen.note(reads.pair(place))
                continue
            widest = max(widest, len(answer))
            numbers = keys.numbers.number([micro[1] for micro in answer]).tolist()
            for number, (_, key, value) in zip(numbers, answer, strict=True):
                if number in keys.twice:
                    continue
                if value is None:
                    missed.append((place, number))
                    continue
                happened = keys.written.get(number, {}).get(identity(value))
                if happened:
                    saw.append((number, place))
                    writer = keys.writer[number]
                    early = history.has_real_time and reads.end[place] < writes.start[writer]
                    if early and not misshapen.may_have_written:
                        read, write = reads.pair(place), writes.pair(writer)
                        text = (
                            f"process {read.process} read {shown(value)} from key {shown(key)} ({interval(read)}) "
                            f"before process {write.process} began to write it ({interval(write)})"
                        )
                        strange.note(TOO_EARLY, text, [read, write])
                elif not misshapen.may_have_written:
                    read = reads.pair(place)
                    kind = NEVER_WRITTEN if happened is None else FAILED_WRITE
                    why = "which nobody wrote" if happened is None else "whose write had failed"
                    text = f"process {read.process} read {shown(value)} from key {shown(key)} ({interval(read)}), {why}"
                    strange.note(kind, text, [read])
        details: dict[str, Any] = {"writes": len(writes), "reads": len(reads), "keys": len(keys.numbers)}
        if widest < 2 and not misshapen.number and not strange:
            why = none_of(len(tried), "read", "saw two keys at once")
            sentence = f"{why}, so no order was ever seen; reads of several keys would tell"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        doubts = misshapen.doubts()
        if keys.twice:
            example = shown(keys.numbers.values[min(keys.twice)])
            doubts.append(
                f"{count(len(keys.twice), 'key')} (first {example}) written more than once cannot be judged here; "
                "the rw-register checker can"
            )
        anomalies = _forks(writes, reads, keys, saw, missed)
        anomalies += strange.anomalies(
            {
                NEVER_WRITTEN: "values never written",
                FAILED_WRITE: "values of failed writes",
                TOO_EARLY: "values before their writes",
            }
        )
        valid = (
            f"{count(len(reads), 'read')} of {count(len(keys.numbers), 'key')} saw the writes in one order"
        )
        return conclude(self.name, anomalies, doubts, valid, details)


def _are_micro_operations(value: Any, f: str) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(micro, list | tuple) and len(micro) == 3 and micro[0] == f for micro in value
    )


def _keys(writes: Operations, misshapen: Misshapen) -> _Keys:
    keys = _Keys(Numbering(), {}, {}, set())
    failed = writes.failed.tolist()
    for place, value in enumerate(writes.asked()):
        if not _are_micro_operations(value, "w") or len(value) != 1:
            misshapen.note(writes.pair(place), writes=True)
            continue
        _, key, written = value[0]
        number = int(keys.numbers.number([key])[0])
        values = keys.written.setdefault(number, {})
        if failed[place]:
            values.setdefault(identity(written), False)
            continue
        if number in keys.writer:
            keys.twice.add(number)
        keys.writer[number] = place
        values[identity(written)] = True
    return keys


def _forks(
    writes: Operations,
    reads: Operations,
    keys: _Keys,
    saw: list[tuple[int, int]],
    missed: list[tuple[int, int]],
) -> list[Anomaly]:
    """The cycles of the graph whose nodes are the keys (for their writes) and, after these, the reads."""
    base = len(keys.numbers)
    seen = np.array(saw, dtype=np.int32).reshape(-1, 2)
    not_seen = np.array(missed, dtype=np.int32).reshape(-1, 2)
    source = np.concatenate([seen[:, 0], not_seen[:, 0] + base]).astype(np.int32)
    target = np.concatenate([seen[:, 1] + base, not_seen[:, 1]]).astype(np.int32)
    nodes = base + len(reads)
    graph = make_order(nodes, source, target)
    if len(sort_topologically(graph)) == nodes:
        return []
    told: dict[str, list[tuple[str, list[Pair]]]] = {TORN_READ: [], LONG_FORK: []}
    for cycle in find_cycles(graph, 20):
        # Edges alternate: write to a read that saw it, read to a write that it missed. Begin at a read.
        if source[cycle[0]] < base:
            cycle = cycle[1:] + cycle[:1]
        steps = []
        pairs = []
        for misses, sees in zip(cycle[::2], [cycle[-1], *cycle[1:-1:2]], strict=True):
            read = reads.pair(int(source[misses]) - base)
            key = shown(keys.numbers.values[int(source[sees])])
            other = shown(keys.numbers.values[int(target[misses])])
            steps.append(f"process {read.process} ({interval(read)}) saw {key}, but not {other}")
            pairs += [read, writes.pair(keys.writer[int(source[sees])])]
        if len(steps) == 1:
            text = f"{steps[0]}, in one read"
            told[TORN_READ].append((text, pairs))
        else:
            text = f"{'; '.join(steps)}. Each of these was written before the other, by what was seen"
            told[LONG_FORK].append((text, pairs))
    return [
        anomaly(kind, found, plural=kind.replace("fork", "forks").replace("read at", "reads at"))
        for kind, found in told.items()
        if found
    ]
