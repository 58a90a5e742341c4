"""How much processor time the one-page checkers take: sets, banks, counters, queues, logs, watches and the like.

Each history is valid, has 10 clients that overlap, and is made by an atomic object in memory, from a stated seed. What
is measured is the check alone, of a history in memory, in a process of its own, the best of three. Two sizes tell
the growth: the cost of an operation at the larger size should be at most 2.5 times that at the smaller one. With
--interpreted the kernels run uncompiled.

    python -m benchmarks.one_page_checkers [--operations 10000 1000000] [--only counter bank] [--interpreted]
        [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLIENTS = 10
SEED = 1


class Shape:
    """A kind of history: what is asked next, and what an atomic object answers."""

    def __init__(self, stream: random.Random, operations: int) -> None:
        self.stream = stream
        self.operations = operations
        self.number = 0
        """How many operations were asked for."""
        self.revision = 0

    def ask(self, process: int) -> tuple[str, Any]:
        raise NotImplementedError

    def answer(self, process: int, f: str, asked: Any) -> Any:
        raise NotImplementedError

    def writes(self) -> bool:
        return self.stream.random() < 0.5


class Counter(Shape):
    amounts = (1,)
    value = 0

    def ask(self, process: int) -> tuple[str, Any]:
        return ("add", self.stream.choice(self.amounts)) if self.writes() else ("read", None)

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "add":
            self.value += asked
            return asked
        return self.value


class MixedCounter(Counter):
    amounts = (3, 5, -2)


class RisingCounter(Counter):
    amounts = (1, 2, 3, 4, 5)


class Monotonic(Shape):
    def __init__(self, stream: random.Random, operations: int) -> None:
        super().__init__(stream, operations)
        self.values = [0] * 100

    def ask(self, process: int) -> tuple[str, Any]:
        return ("inc" if self.writes() else "read"), self.stream.randrange(100)

    def answer(self, process: int, f: str, asked: Any) -> Any:
        self.values[asked] += f == "inc"
        return [asked, self.values[asked]]


class Bank(Shape):
    def __init__(self, stream: random.Random, operations: int) -> None:
        super().__init__(stream, operations)
        self.balances = {f"a{number}": 100 for number in range(8)}

    def ask(self, process: int) -> tuple[str, Any]:
        if not self.writes():
            return "read", None
        source, target = self.stream.sample(list(self.balances), 2)
        return "transfer", {"from": source, "to": target, "amount": 1}

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "read":
            return dict(self.balances)
        if self.balances[asked["from"]]:
            self.balances[asked["from"]] -= 1
            self.balances[asked["to"]] += 1
        return asked


class Set(Shape):
    """Twenty operations read all elements."""

    def __init__(self, stream: random.Random, operations: int) -> None:
        super().__init__(stream, operations)
        self.elements: list[int] = []

    def ask(self, process: int) -> tuple[str, Any]:
        self.number += 1
        every = max(1, self.operations // 20)
        return ("read", None) if self.number % every == 0 else ("add", self.number)

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "read":
            return list(self.elements)
        self.elements.append(asked)
        return asked


class SmallSets(Set):
    """Twenty elements, added again and again; every other operation reads them all."""

    def ask(self, process: int) -> tuple[str, Any]:
        self.number += 1
        return ("add", self.number % 20) if self.writes() else ("read", None)

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "read":
            return list(self.elements)
        if asked not in self.elements:
            self.elements.append(asked)
        return asked


class Queue(Shape):
    def __init__(self, stream: random.Random, operations: int) -> None:
        super().__init__(stream, operations)
        self.inside: list[int] = []
        self.head = 0

    def ask(self, process: int) -> tuple[str, Any]:
        self.number += 1
        if self.number == self.operations:
            return "drain", None
        return ("enqueue", self.number) if self.writes() else ("dequeue", None)

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "enqueue":
            self.inside.append(asked)
            return asked
        if f == "drain":
            rest, self.head = self.inside[self.head :], len(self.inside)
            return rest
        if self.head == len(self.inside):
            return None
        self.head += 1
        return self.inside[self.head - 1]


class UniqueIds(Shape):
    def ask(self, process: int) -> tuple[str, Any]:
        return "generate", None

    def answer(self, process: int, f: str, asked: Any) -> Any:
        self.number += 1
        return self.number


class Registers(Shape):
    def __init__(self, stream: random.Random, operations: int) -> None:
        super().__init__(stream, operations)
        self.values: dict[int, Any] = {}

    def ask(self, process: int) -> tuple[str, Any]:
        self.number += 1
        key = self.stream.randrange(100)
        return ("write", [key, self.number]) if self.writes() else ("read", [key, None])

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "write":
            self.values[asked[0]] = asked[1]
            return asked
        return [asked[0], self.values.get(asked[0])]


class LongFork(Shape):
    """Pairs of keys; each is written once, and both are read around that time."""

    def __init__(self, stream: random.Random, operations: int) -> None:
        super().__init__(stream, operations)
        self.written: set[int] = set()
        self.next = 0

    def ask(self, process: int) -> tuple[str, Any]:
        if self.stream.random() < 0.3:
            self.next += 1
            return "write", [["w", self.next, 1]]
        pair = max(0, self.next - self.stream.randrange(6)) // 2 * 2
        return "read", [["r", pair, None], ["r", pair + 1, None]]

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "write":
            self.written.add(asked[0][1])
            return asked
        return [["r", key, 1 if key in self.written else None] for _, key, _ in asked]


class CausalReverse(Shape):
    """Reads of everything, twenty of them."""

    def __init__(self, stream: random.Random, operations: int) -> None:
        super().__init__(stream, operations)
        self.values: list[int] = []

    def ask(self, process: int) -> tuple[str, Any]:
        self.number += 1
        return ("read", None) if self.number % max(1, self.operations // 20) == 0 else ("write", self.number)

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "read":
            return list(self.values)
        self.values.append(asked)
        return asked


class WriteSkew(Shape):
    def __init__(self, stream: random.Random, operations: int) -> None:
        super().__init__(stream, operations)
        self.rows: dict[int, list[Any]] = {}

    def ask(self, process: int) -> tuple[str, Any]:
        self.number += 1
        pair = self.number // 4
        if self.stream.random() < 0.6:
            return "insert", [pair, self.stream.randrange(2), self.number]
        return "read", pair

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "read":
            return list(self.rows.get(asked, [None, None]))
        pair, side, id_ = asked
        if pair in self.rows:
            return FAILED
        self.rows[pair] = [None, None]
        self.rows[pair][side] = id_
        return asked


class Log(Shape):
    """Ten logs; every process polls one to ten messages of one of them and goes on there."""

    def __init__(self, stream: random.Random, operations: int) -> None:
        super().__init__(stream, operations)
        self.logs: list[list[int]] = [[] for _ in range(10)]
        self.positions: dict[tuple[int, int], int] = {}

    def ask(self, process: int) -> tuple[str, Any]:
        self.number += 1
        return ("send", [str(self.stream.randrange(10)), self.number]) if self.writes() else ("poll", None)

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "send":
            log = self.logs[int(asked[0])]
            log.append(asked[1])
            return [asked[0], [len(log) - 1, asked[1]]]
        key = self.stream.randrange(10)
        begin = self.positions.get((process, key), 0)
        found = self.logs[key][begin : begin + 10]
        self.positions[process, key] = begin + len(found)
        return {str(key): [[begin + place, value] for place, value in enumerate(found)]}


class Watch(Shape):
    """Half puts, half watches of one key that are given the last few events from the revision asked for."""

    def __init__(self, stream: random.Random, operations: int) -> None:
        super().__init__(stream, operations)
        self.events: list[list[dict[str, Any]]] = [[] for _ in range(100)]
        self.revision = 0

    def ask(self, process: int) -> tuple[str, Any]:
        self.number += 1
        key = self.stream.randrange(100)
        if self.writes():
            return "put", [f"k{key}", self.number]
        recent = self.events[key][-3:]
        return "watch", {"key": f"k{key}", "revision": recent[0]["revision"] if recent else 1}

    def answer(self, process: int, f: str, asked: Any) -> Any:
        if f == "put":
            key, value = asked
            self.revision += 1
            before = self.events[int(key[1:])]
            previous = before[-1]["value"] if before else None
            before.append(
                {
                    "revision": self.revision,
                    "type": "put",
                    "key": key,
                    "value": value,
                    "previous": previous,
                    "is_create": previous is None,
                }
            )
            return [key, value, self.revision]
        since = [
            event
            for event in self.events[int(asked["key"][1:])][-20:]
            if event["revision"] >= asked["revision"]
        ]
        return {"events": [[event] for event in since], "bookmarks": []}


FAILED = object()
"""The answer of an operation that did not happen."""


def checkers() -> dict[str, tuple[type[Shape], Callable[[], Any]]]:
    """By name of the row, the shape of its histories and who judges them."""
    from checkers.bank import BankChecker
    from checkers.causal_reverse import CausalReverseChecker
    from checkers.counter import CounterChecker
    from checkers.log import LogChecker
    from checkers.long_fork import LongForkChecker
    from checkers.monotonic import MonotonicChecker
    from checkers.queue import QueueChecker
    from checkers.sessions import SessionGuaranteesChecker
    from checkers.set_full import SetFullChecker
    from checkers.staleness import StalenessChecker
    from checkers.unique_ids import UniqueIdsChecker
    from checkers.watch import WatchChecker
    from checkers.write_skew import WriteSkewChecker

    return {
        "set": (Set, SetFullChecker),
        "set-small-reads": (SmallSets, SetFullChecker),
        "bank": (Bank, lambda: BankChecker([f"a{number}" for number in range(8)], 800)),
        "counter": (Counter, CounterChecker),
        "counter-mixed": (MixedCounter, CounterChecker),
        "counter-rising": (RisingCounter, CounterChecker),
        "monotonic": (Monotonic, MonotonicChecker),
        "queue": (Queue, QueueChecker),
        "total-queue": (Queue, lambda: QueueChecker(ordered=False)),
        "unique-ids": (UniqueIds, UniqueIdsChecker),
        "sessions": (Registers, SessionGuaranteesChecker),
        "staleness": (Registers, lambda: StalenessChecker(1_000_000_000)),
        "long-fork": (LongFork, LongForkChecker),
        "causal-reverse": (CausalReverse, CausalReverseChecker),
        "write-skew": (WriteSkew, WriteSkewChecker),
        "log": (Log, LogChecker),
        "watch": (Watch, WatchChecker),
    }


def make_history(shape: type[Shape], operations: int) -> Any:
    """Operations of `CLIENTS` processes; each takes effect when it ends."""
    from results.history import History
    from results.operation import Operation

    stream = random.Random(SEED)
    one = shape(stream, operations)
    events: list[Operation] = []
    free = list(range(CLIENTS))
    open_: list[tuple[int, str, Any]] = []
    begun = 0
    while begun < operations or open_:
        last = begun == operations - 1
        if begun < operations and free and (not open_ or (stream.random() < 0.5 and not last)):
            process = free.pop(stream.randrange(len(free)))
            f, asked = one.ask(process)
            events.append(Operation(len(events), len(events) * 10_000, process, "invoke", f, asked))
            open_.append((process, f, asked))
            begun += 1
            continue
        process, f, asked = open_.pop(stream.randrange(len(open_)))
        answer = one.answer(process, f, asked)
        type_, value = ("fail", asked) if answer is FAILED else ("ok", answer)
        events.append(Operation(len(events), len(events) * 10_000, process, type_, f, value))
        free.append(process)
    return History(events)


def measure(name: str, operations: int) -> dict[str, Any]:
    """One row: the best of three checks, each of a history that nobody has looked at yet."""
    from checkers.checker import Limits
    from results.history import History

    shape, make = checkers()[name]
    history = make_history(shape, operations)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = float("inf")
    for _ in range(3):
        fresh = History(history.operations)
        started = time.process_time()
        verdict = make().check(fresh, Limits(time_s=600))
        best = min(best, time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "checker": name,
        "operations": operations,
        "seconds": round(best, 4),
        "microseconds_an_operation": round(best / operations * 1e6, 3),
        "memory_added_mb": (peak - before) // 1024,
        "outcome": verdict.outcome,
        "sentence": verdict.sentence[:200],
    }


def measured_apart(name: str, operations: int, interpreted: bool) -> dict[str, Any]:
    """The same in a process of its own, so that rows do not share memory."""
    environment = {**os.environ, **({"HARNESS_KERNELS": "interpreted"} if interpreted else {})}
    arguments = [sys.executable, "-m", "benchmarks.one_page_checkers", "--row", name, str(operations)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    row: dict[str, Any] = json.loads(done.stdout)
    return {**row, "kernels": "interpreted" if interpreted else "compiled"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--operations", type=int, nargs=2, default=[10_000, 1_000_000])
    parser.add_argument("--only", nargs="*", choices=list(checkers()))
    parser.add_argument("--interpreted", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.row:
        print(json.dumps(measure(chosen.row[0], int(chosen.row[1]))))
        return
    rows = []
    print(f"{'checker':16} {'operations':>10} {'seconds':>9} {'µs/op':>8} {'growth':>7} {'MB':>6}  verdict")
    for name in chosen.only or checkers():
        cost = None
        for operations in chosen.operations:
            row = measured_apart(name, operations, chosen.interpreted)
            rows.append(row)
            growth = "" if cost is None else f"{row['microseconds_an_operation'] / cost:.2f}"
            cost = row["microseconds_an_operation"]
            columns = f"{name:16} {operations:>10} {row['seconds']:>9.3f} {cost:>8.2f} {growth:>7}"
            print(f"{columns} {row['memory_added_mb']:>6}  {row['outcome']}", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
