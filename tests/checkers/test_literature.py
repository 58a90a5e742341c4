"""Histories that papers and other tools discuss, made anew by hand, with what their authors say of them.

A row says where it is from and which levels it satisfies; of every other level here it has to be refused. Registers are
in the notation of `isolation/registers.py`, scans and lists as micro-operations, objects as intervals.
"""

from __future__ import annotations

from typing import Any

import pytest

from checkers import check
from checkers.checker import Limits
from checkers.isolation.list_append import ListAppendChecker
from checkers.isolation.rw_register import RwRegisterChecker
from results.history import History, HistoryBuilder
from results.transaction_columns import TransactionsBuilder
from results.verdict import INVALID, VALID
from tests.checkers.isolation.play import play
from tests.checkers.isolation.registers import columns, overlapping, parsed

LIMITS = Limits(time_s=600)

RU, RC, RA, CAUSAL, RR, SI, SER, SESSION_SER = (
    "read-uncommitted",
    "read-committed",
    "read-atomic",
    "causal",
    "repeatable-read",
    "snapshot-isolation",
    "serializable",
    "strong-session-serializable",
)
WEAK = (RU, RC)
ATOMIC = (RU, RC, RA)
CONSISTENT = (*ATOMIC, CAUSAL)
ALL = (RU, RC, RA, CAUSAL, RR, SI, SER, SESSION_SER)

REGISTERS = {
    # Berenson, Bernstein, Gray, Melton, O'Neil, O'Neil: A Critique of ANSI SQL Isolation Levels (1995)
    "H1, inconsistent analysis": (("x=50 y=50", "x?50 x=10 y?50 y=90", "x?10 y?50"), WEAK),
    "H2, read skew (A5A)": (("x=50 y=50", "x?50 y?90", "x?50 x=10 y?50 y=90"), WEAK),
    "H4, lost update (P4)": (("x=100", "x?100 x=130", "x?100 x=120"), CONSISTENT),
    "H5, write skew (A5B)": (("x=50 y=50", "x?50 y?50 y=-40", "x?50 y?50 x=-40"), (*CONSISTENT, SI)),
    # Adya, Liskov, O'Neil: Generalized Isolation Level Definitions (2000)
    "H1', dirty but serializable": (("x=5 y=5", "x?5 x=1 y?5 y=9", "x?1 y?9"), ALL),
    "H2', old but serializable": (("x=5 y=5", "x?5 x=1 y?5 y=9", "x?5 y?5 z=1"), ALL),
    "an intermediate read (G1b)": (("x=1 x=2", "x?1"), (RU,)),
    "information that flows in a circle (G1c)": (("x=1 y?2", "y=2 x?1"), (RU,)),
    # Papadimitriou (1979): of one view with a serial order, though conflicts make a circle.
    "view serializable": (("x? x=1", "x=2", "x=3", "x?3"), ALL),
    # Fekete, O'Neil, O'Neil: A Read-Only Transaction Anomaly Under Snapshot Isolation (2004)
    "a withdrawal that a reader betrays": (
        ("x=0 y=0", "x?0 y?0 x=-11", "y?0 y=20", "x?0 y?20"),
        (*CONSISTENT, SI),
    ),
    "the same without its reader": (("x=0 y=0", "x?0 y?0 x=-11", "y?0 y=20"), ALL),
    # Bailis, Davidson, Fekete, Ghodsi, Hellerstein, Stoica: Highly Available Transactions (2013), appendix
    "item-many-preceders": (("x=1", "x=2", "x?1 x?2"), WEAK),
    "observed transaction vanishes, of writes without reads": (("x=1 y=1", "x=2 y=2", "x?2 y?1"), WEAK),
    "missing transaction, seen half": (("x=1 y=1", "x?1 y?"), WEAK),
    "missing read-write dependency": (("x=1", "x?1 y=1", "y?1 x?"), ATOMIC),
    "reads that are not monotonic": (("x=1 | x=2", "x?2 | x?1"), (*ATOMIC, RR, SI, SER)),
    # Where transactions have times, read atomic is Cerone's, without sessions.
    "a session that misses its own write": (("x=1 | x?",), (*ATOMIC, RR, SI, SER)),
    # Cerone, Bernardi, Gotsman: A Framework for Transactional Consistency Models with Atomic Visibility (2015)
    "causality": (("x=1", "x?1 y=2", "x? y?2"), ATOMIC),
    "long fork": (("x=1", "y=1", "x?1 y?", "x? y?1"), CONSISTENT),
    "fractured reads": (("x=1 y=1", "x?1 y?"), WEAK),
    # Biswas, Enea: On the Complexity of Checking Transactional Consistency (2019)
    "prefix consistency without a snapshot": (("x=1", "x?1 x=2 y=1", "x?1 x=3 y?"), CONSISTENT),
    "two observers agree on a fork": (("x=1", "y=1", "x?1 y?", "x?1 y?1"), ALL),
    # Liu, Gu, Jia, Wei: Plume (2024), patterns that no level allows, or only the weakest.
    "a value out of thin air": (("x?1",), (RU,)),
    "an aborted read (G1a)": (("!x=1", "x?1"), (RU,)),
    "a read of the transaction's own future": (("x?1 x=1",), (RU,)),
    "not the transaction's own last write": (("x=1 x=2 x?1",), WEAK),
    "not the transaction's own write": (("x=1", "x=2 x?1"), WEAK),
    # Dekker's entry, and independent reads of independent writes: sequential consistency by transactions of one step.
    "store buffering": (("x=1 | y?", "y=1 | x?"), (*CONSISTENT, RR, SI, SER)),
    "independent reads of independent writes": (
        ("x=1", "y=1", "x?1 | y?", "y?1 | x?"),
        (*CONSISTENT, RR, SI, SER),
    ),
    "message passing": (("x=1 | y=1", "y?1 | x?"), (*ATOMIC, RR, SI, SER)),
}


def refuses_all_but(levels, checker_of, transactions):
    """Whether each level is valid or invalid as the row says."""
    for level in ALL:
        verdict = checker_of(level).check_transactions(transactions, LIMITS)
        assert verdict.outcome == (VALID if level in levels else INVALID), f"{level}: {verdict.sentence}"


@pytest.mark.parametrize("name", REGISTERS)
def test_registers(name):
    sessions, levels = REGISTERS[name]
    transactions = parsed(*sessions)
    timed = columns(transactions, intervals=overlapping(transactions))
    refuses_all_but(levels, lambda level: RwRegisterChecker(level, initial=None), timed)


def scan(first, end, **rows):
    return ["scan", [first, end], [[row, value] for row, value in sorted(rows.items())]]


def w(row, value):
    return ["w", row, value]


def r(row, value):
    return ["r", row, value]


SALES = [w("emp-x", 10), w("emp-y", 10), w("sum", 20)]
ON_CALL = [w("alice", 1), w("bob", 1)]
SCANS = {
    # Adya: Weak Consistency (1999), H_phantom: the sum is of three employees, the scan found two.
    "a sum that does not fit its rows": (
        (
            SALES,
            [scan("emp-", "emp.", **{"emp-x": 10, "emp-y": 10}), r("sum", 30)],
            [r("sum", 20), w("emp-z", 10), w("sum", 30)],
        ),
        (RU, RC, RA, CAUSAL, RR),
    ),
    "the same with all rows": (
        (
            SALES,
            [scan("emp-", "emp.", **{"emp-x": 10, "emp-y": 10, "emp-z": 10}), r("sum", 30)],
            [r("sum", 20), w("emp-z", 10), w("sum", 30)],
        ),
        ALL,
    ),
    # Berenson et al. (1995), H3 (A3): who read the new count had not found the new row.
    "H3, phantom": (
        ([w("z", 0)], [scan("p", "q"), r("z", 1)], [w("p1", 7), r("z", 0), w("z", 1)]),
        (RU, RC, RA, CAUSAL, RR),
    ),
    # Fekete, Liarokapis, O'Neil, O'Neil, Shasha: Making Snapshot Isolation Serializable (2005): eight hours at most.
    "predicate write skew": (
        (
            [w("task-a", 7)],
            [scan("task-", "task.", **{"task-a": 7}), w("task-b", 1)],
            [scan("task-", "task.", **{"task-a": 7}), w("task-c", 1)],
        ),
        (*CONSISTENT, RR, SI),
    ),
    # Ports, Grittner: Serializable Snapshot Isolation in PostgreSQL (2012)
    "doctors on call": (
        (
            ON_CALL,
            [scan("a", "c", alice=1, bob=1), w("alice", 0)],
            [scan("a", "c", alice=1, bob=1), w("bob", 0)],
        ),
        (*CONSISTENT, SI),
    ),
    "one doctor stays": (
        (
            ON_CALL,
            [scan("a", "c", alice=1, bob=1), w("alice", 0)],
            [scan("a", "c", alice=0, bob=1), r("bob", 1)],
        ),
        ALL,
    ),
    "a receipt for a batch that was reported": (
        (
            [w("batch", 1)],
            [r("batch", 1), w("r1-a", 9)],
            [r("batch", 1), w("batch", 2)],
            [r("batch", 2), scan("r1", "r2")],
        ),
        (*CONSISTENT, RR, SI),
    ),
    "the same without its report": (
        ([w("batch", 1)], [r("batch", 1), w("r1-a", 9)], [r("batch", 1), w("batch", 2)]),
        ALL,
    ),
}


@pytest.mark.parametrize("name", SCANS)
def test_scans(name):
    """All at once, each in a session of its own, and no row before the history."""
    transactions, levels = SCANS[name]
    builder = TransactionsBuilder(of_registers=True)
    for number, steps in enumerate(transactions):
        asked = [[f, key, value if f == "w" else None] for f, key, value in steps]
        builder.invoke(number, number, asked)
    for number, steps in enumerate(transactions):
        builder.complete(number, len(transactions) + number, "ok", steps)
    refuses_all_but(levels, lambda level: RwRegisterChecker(level, initial=None), builder.done())


LISTS = {
    # Alvaro, Kingsbury: Elle (2020). TiDB: T1 missed the append of 5 and appended after it, as a retried one does.
    "a retry that lost an update": ("ax2 \n ax1 \n rx21 ay5 ax4 | ax5 \n rx2154", CONSISTENT),
    # Dgraph: what it had read a moment ago was not there.
    "reads that do not repeat": ("ax1 | rx1 rx", WEAK),
    # FaunaDB: a transaction did not see its own append.
    "its own append was not there": ("ax6 rx", WEAK),
    # YugaByte DB: each missed the other's append.
    "write skew of lists (G2-item)": ("rx ay1 | ry ax1", (*CONSISTENT, SI)),
    # Jepsen: PostgreSQL 12.3 (2020), the same of three.
    "a circle of three": ("rx ay1 | ry az1 | rz ax1", (*CONSISTENT, SI)),
    # Jepsen: MongoDB 4.2.6 (2020)
    "information that flows in a circle (G1c)": ("ax1 ry2 | ay2 rx1", (RU,)),
    "a read of its own future": ("rx1 ax1", (RU,)),
    # Jepsen: MySQL 8.0.34 (2023): repeatable reads that see a part of another transaction.
    "a fractured read": ("ax1 ay1 | rx ry1", WEAK),
    # Jepsen: Redis-Raft (2020): two histories of one list.
    "lists that went apart": ("ax1 | ax2 | rx1 | rx2", (RU,)),
    "an append that came twice": ("ax1 | rx11", ()),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(name):
    text, levels = LISTS[name]
    for level in ALL:
        verdict = ListAppendChecker(level).check(play(text), LIMITS)
        assert verdict.outcome == (VALID if level in levels else INVALID), f"{level}: {verdict.sentence}"


def played(*operations: tuple[Any, ...]) -> History:
    """Operations `(process, f, asked, answered, start, end)`; the end of a crashed one is None. Where times tie,
    invocations come first: operations that touch are taken to overlap."""
    moments = []
    for number, (*_, start, end) in enumerate(operations):
        moments.append((start, 0, number))
        if end is not None:
            moments.append((end, 1, number))
    builder = HistoryBuilder()
    for time, ends, number in sorted(moments):
        process, f, asked, answered, *_ = operations[number]
        if ends:
            builder.event(process, "ok", f, answered, time=time)
        else:
            builder.invoke(process, f, asked, time=time)
    return builder.done()


def put(process, value, start, end):
    return (process, "write", value, value, start, end)


def get(process, value, start, end):
    return (process, "read", None, value, start, end)


def enq(process, value, start, end):
    return (process, "enqueue", value, value, start, end)


def deq(process, value, start, end):
    return (process, "dequeue", None, value, start, end)


def of(key, operation):
    """The operation on one of several objects."""
    process, f, asked, answered, start, end = operation
    return (process, f, [key, asked], [key, answered], start, end)


def held(process, token, start, end):
    return (process, "acquire", None, token, start, end)


OBJECTS = {
    # Porcupine's tests: a register that begins with 0
    "a read of the old value during a write": (
        "register",
        VALID,
        (put(0, 100, 0, 100), get(1, 100, 25, 75), get(2, 0, 30, 60)),
    ),
    "a read of the old value after one of the new": (
        "register",
        INVALID,
        (put(0, 200, 0, 100), get(1, 200, 10, 30), get(2, 0, 40, 90)),
    ),
    "reads that take no time": (
        "register",
        VALID,
        (put(0, 100, 0, 100), get(1, 100, 25, 75), get(2, 0, 30, 30)),
    ),
    "reads that take no time, too late": (
        "register",
        INVALID,
        (put(0, 200, 0, 100), get(1, 200, 10, 10), get(2, 200, 10, 10), get(3, 0, 40, 90)),
    ),
    # Lamport: On Interprocess Communication (1986): regular, and not atomic.
    "new-old inversion": ("register", INVALID, (put(0, 1, 0, 9), get(1, 1, 1, 3), get(1, 0, 4, 6))),
    "a regular register that is atomic": (
        "register",
        VALID,
        (put(0, 1, 0, 9), get(1, 0, 1, 3), get(1, 1, 4, 6)),
    ),
    # Gibbons, Korach: Testing Shared Memories (1997): zones from the first end to the last beginning.
    "two forward zones that overlap": (
        "register",
        INVALID,
        (put(0, 1, 0, 1), put(1, 2, 2, 3), get(2, 1, 4, 5), get(3, 2, 6, 7)),
    ),
    "two forward zones that do not": (
        "register",
        VALID,
        (put(0, 1, 0, 1), get(2, 1, 2, 3), put(1, 2, 4, 5), get(3, 2, 6, 7)),
    ),
    "a backward zone in a forward one": (
        "register",
        INVALID,
        (put(0, 1, 0, 1), put(1, 2, 2, 9), get(2, 2, 3, 8), get(3, 1, 10, 11)),
    ),
    "a backward zone that only touches a forward one": (
        "register",
        VALID,
        (put(0, 1, 0, 3), put(1, 2, 2, 9), get(2, 2, 1, 8), get(3, 1, 10, 11)),
    ),
    # Attiya, Welch: Sequential Consistency versus Linearizability (1994)
    "sequentially consistent, and late": (
        "register",
        INVALID,
        (put(0, 1, 0, 1), get(1, 0, 2, 3), get(1, 1, 4, 5)),
    ),
    # Herlihy, Wing: Linearizability (1990), figure 1 and section 3.1
    "H1, enqueues that overlap": (
        "queue",
        VALID,
        (enq(0, "x", 0, 3), enq(1, "y", 1, 2), deq(1, "x", 4, 6), deq(0, "y", 5, 7), enq(0, "z", 8, 9)),
    ),
    "H2, the second of two came out first": (
        "queue",
        INVALID,
        (enq(0, "x", 0, 1), enq(1, "y", 2, 4), deq(0, "y", 3, 5)),
    ),
    "H3, taken while it is put in": ("queue", VALID, (enq(0, "x", 0, None), deq(1, "x", 1, 2))),
    "H4, one came out twice": (
        "queue",
        INVALID,
        (enq(0, "x", 0, 2), enq(1, "y", 1, 3), deq(0, "y", 4, 6), deq(2, "y", 5, 7)),
    ),
    "two queues, each alone sequentially consistent": (
        "queue",
        INVALID,
        (
            of("p", enq(0, "x", 0, 1)),
            of("q", enq(1, "y", 2, 3)),
            of("q", enq(0, "x", 4, 5)),
            of("p", enq(1, "y", 6, 7)),
            of("p", deq(0, "y", 8, 9)),
            of("q", deq(1, "x", 10, 11)),
        ),
    ),
    # Hendler, Shavit, Yerushalmi: elimination stacks (2004): a push and a pop that meet never touch the stack.
    "a pop that meets a push": (
        "stack",
        VALID,
        (
            (0, "push", 1, 1, 0, 1),
            (1, "push", 2, 2, 2, 5),
            (2, "pop", None, 2, 3, 4),
            (0, "pop", None, 1, 6, 7),
        ),
    ),
    "a pop that passes over a push": (
        "stack",
        INVALID,
        ((0, "push", 1, 1, 0, 1), (1, "push", 2, 2, 2, 3), (2, "pop", None, 1, 4, 5)),
    ),
    # Lotan, Shavit: skip-list priority queues (2000), quiescently consistent only
    "a minimum that was overlooked": (
        "priority-queue",
        INVALID,
        (
            (0, "delete-min", None, 3, 0, 5),
            (1, "insert", 1, 1, 1, 2),
            (1, "insert", 3, 3, 3, 4),
            (0, "delete-min", None, 1, 6, 7),
        ),
    ),
    "a minimum that came too late": (
        "priority-queue",
        VALID,
        (
            (0, "delete-min", None, 3, 0, 5),
            (1, "insert", 3, 3, 1, 2),
            (1, "insert", 1, 1, 3, 4),
            (0, "delete-min", None, 1, 6, 7),
        ),
    ),
    # Herlihy, Shavit, Waarts: Linearizable Counting Networks (1996): a counting network alone is not.
    "a counting network": (
        "monotonic",
        INVALID,
        ((0, "inc", "k", ["k", 2], 0, 1), (1, "inc", "k", ["k", 1], 2, 3)),
    ),
    "a counting network in time": (
        "monotonic",
        VALID,
        ((0, "inc", "k", ["k", 2], 0, 3), (1, "inc", "k", ["k", 1], 1, 2)),
    ),
    # Kleppmann: How to do distributed locking (2016): a lease ran out while its holder was paused.
    "a paused holder": ("mutex", INVALID, (held(0, None, 0, 1), held(1, None, 2, 3))),
    "tokens that grow": (
        "fenced-lock",
        VALID,
        (held(0, 33, 0, 1), (0, "release", None, None, 2, 3), held(1, 34, 4, 5)),
    ),
    "a token of before": (
        "fenced-lock",
        INVALID,
        (held(0, 34, 0, 1), (0, "release", None, None, 2, 3), held(1, 33, 4, 5)),
    ),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects(name):
    model, outcome, operations = OBJECTS[name]
    options = {"initial": 0} if model == "register" else {}
    verdict = check(played(*operations), model=model, **options)
    assert verdict.outcome == outcome, verdict.sentence
