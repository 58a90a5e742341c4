"""Why no order of versions fits: the refutations of polygraphs in words.

A refutation may rest on orders of versions that nobody saw, but that follow. Each of these is told first, with the
cycle that the opposite order would close, so that nothing has to be believed (PolySI restores the missing participants
of a cycle for the same reason).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from checkers.isolation.naming import Names, events_of_all, show_key, show_seen, show_value
from checkers.isolation.orders import Ways, find_cycles, make_order
from checkers.isolation.polygraph import PROGRAM, REAL_TIME, RW, SESSION, WR, WW, Edges, Polygraph
from checkers.isolation.pruning import Choices, Pruned
from results.transactions import NIL
from results.verdict import Anomaly

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLD: Final = 12
"""Statements of one refutation that are told; further ones are counted."""
TRIED: Final = 32
"""Edges of an impossible order of which the one with the shortest cycle is told."""


@dataclass(frozen=True)
class Step:
    """One step of a cycle from a transaction to the next, and why."""

    source: int
    target: int
    kind: int
    read: int
    version: int


@dataclass(frozen=True)
class Statement:
    """Orders of chains, `(first, second)` by first versions, that all together close the cycle; none if it is there
    anyway."""

    supposed: tuple[tuple[int, int], ...]
    steps: tuple[Step, ...]


_Part = tuple[Edges, int, int]
"""An edge of a cycle: its number among some edges, and its number among those that are known, -1 if it is supposed.
Edges of a search begin with the known ones, with the same numbers."""


class Refutation:
    """Collects the statements that refute one history, each after those that it rests on."""

    def __init__(self, graph: Polygraph, pruned: Pruned | None = None) -> None:
        none = np.empty(0, dtype=np.int32)
        count = len(graph.known)
        self._graph = graph
        self._versions = graph.versions
        self._transactions = graph.found.transactions
        self._edges = graph.known if pruned is None else pruned.edges
        self._round: NDArray[np.int32] = np.zeros(count, np.int32) if pruned is None else pruned.round
        self._cause: NDArray[np.int64] = np.full(count, -1) if pruned is None else pruned.cause
        self._decided = Choices(none, none) if pruned is None else pruned.decided
        self._told: set[int] = set()
        self._ways: dict[int, tuple[Ways, NDArray[np.int64]]] = {}
        self._statements: list[Statement] = []

    def add_cycle(self) -> None:
        """The edges make a cycle: a shortest."""
        graph = make_order(self._graph.nodes, self._edges.source, self._edges.target)
        cycle = find_cycles(graph, 8)[0]
        self._add((), self._edges, cycle, int(self._round.max(initial=0)) + 1)

    def add_impossible(self, first: int, second: int) -> None:
        """The chain of `first` cannot come before that of `second`."""
        self._add_steps(
            ((first, second),), self._impossible(first, second, int(self._round.max(initial=0)) + 1)
        )

    def _impossible(self, first: int, second: int, before: int) -> list[_Part]:
        """A cycle that speaks against an order of two chains, by what was known before a round."""
        tail = self._versions.tail[[first]]
        edges, _ = self._graph.following(tail, np.array([second]))
        best: list[int] | None = None
        at = -1
        ways, _ = self._known(before)
        closes = np.zeros(len(edges), dtype=np.bool_)
        for target in np.unique(edges.target).tolist():
            closes |= (edges.target == target) & ways.reached(target)[edges.source]
        for number in np.flatnonzero(closes)[:TRIED].tolist():
            way = self._way(int(edges.target[number]), int(edges.source[number]), before)
            if way is not None and (best is None or len(way) < len(best)):
                best, at = way, number
        assert best is not None, f"no cycle speaks against version {first} before {second}"
        step = edges.only(np.array([at]))
        return [(step, 0, -1), *((self._edges, edge, edge) for edge in best)]

    def add_excluded(self, supposed: Sequence[tuple[int, int]], edges: Edges, cycle: Sequence[int]) -> None:
        """Orders of chains that cannot hold together: the edges are those of a search, some of them supposed."""
        self._add(tuple(supposed), edges, cycle, int(self._round.max(initial=0)) + 1)

    def anomaly(self) -> Anomaly:
        """All statements as one anomaly."""
        names = Names(self._transactions)
        single = len(self._statements) == 1 and not self._statements[0].supposed
        steps = [step for statement in self._statements for step in statement.steps]
        told = [self._tell(statement, names) for statement in self._statements[-TOLD:]]
        if len(self._statements) > TOLD:
            told.insert(0, f"{len(self._statements) - TOLD} orders of versions follow from the rest")
        key = next((int(self._versions.key[step.version]) for step in steps if step.version >= 0), None)
        return Anomaly(
            self._type(steps, single=single),
            ". ".join(text[0].upper() + text[1:] for text in told),
            events_of_all(self._transactions, names.mentioned),
            key=None if key is None else self._transactions.keys[key],
            evidence={"transactions": names.table(), "statements": len(self._statements)},
        )

    def _add(
        self, supposed: tuple[tuple[int, int], ...], edges: Edges, cycle: Sequence[int], before: int
    ) -> None:
        """A cycle of edges, with the ways that lead from one to the next where these are left out."""
        whole: list[_Part] = []
        for number, edge in enumerate(cycle):
            whole.append((edges, edge, edge if edge < len(self._edges) else -1))
            following = cycle[(number + 1) % len(cycle)]
            start, goal = int(edges.target[edge]), int(edges.source[following])
            way = self._way(start, goal, before)
            assert way is not None, f"nothing leads from node {start} to node {goal} of a cycle"
            whole.extend((self._edges, one, one) for one in way)
        self._add_steps(supposed, whole)

    def _add_steps(self, supposed: tuple[tuple[int, int], ...], cycle: Sequence[_Part]) -> None:
        """A statement, behind those that its edges follow from. Without recursion: each round may rest on the last."""
        open_ = [(supposed, cycle, self._causes(cycle))]
        while open_:
            supposed, cycle, causes = open_[-1]
            cause = next(causes, None)
            if cause is None:
                self._statements.append(Statement(supposed, tuple(self._steps(cycle))))
                open_.pop()
                continue
            first, second = int(self._decided.other[cause[0]]), int(self._decided.one[cause[0]])
            reason = self._impossible(first, second, cause[1])
            open_.append((((first, second),), reason, self._causes(reason)))

    def _causes(self, cycle: Sequence[_Part]) -> Iterator[tuple[int, int]]:
        """Decisions that edges of a cycle follow from and that were not told yet, each with its round."""
        for _, _, known in cycle:
            cause = int(self._cause[known]) if known >= 0 else -1
            if cause >= 0 and cause not in self._told:
                self._told.add(cause)
                yield cause, int(self._round[known])

    def _way(self, start: int, goal: int, before: int) -> list[int] | None:
        """The shortest way by edges that were known before a round; None if there is none."""
        if start == goal:
            return []
        ways, which = self._known(before)
        way = ways.find(start, goal, most=len(which))
        return [int(which[edge]) for edge in way] or None

    def _known(self, before: int) -> tuple[Ways, NDArray[np.int64]]:
        """The edges that were known before a round, and their numbers."""
        if before not in self._ways:
            which = np.flatnonzero(self._round < before)
            graph = make_order(self._graph.nodes, self._edges.source[which], self._edges.target[which])
            self._ways[before] = Ways(graph), which
        return self._ways[before]

    def _steps(self, cycle: Sequence[_Part]) -> list[Step]:
        """The steps between transactions: ways through helping nodes become one, a transaction's own order none."""
        graph = self._graph
        start = next(at for at, (edges, edge, _) in enumerate(cycle) if edges.source[edge] < graph.helpers)
        steps: list[Step] = []
        begun: tuple[int, int, int] | None = None
        for edges, edge, _ in [*cycle[start:], *cycle[:start]]:
            if begun is None:
                source = graph.transaction(int(edges.source[edge]))
                begun = source, int(edges.kind[edge]), int(edges.read[edge])
            if edges.target[edge] < graph.helpers:
                target = graph.transaction(int(edges.target[edge]))
                if begun[1] != PROGRAM:
                    steps.append(Step(begun[0], target, begun[1], begun[2], int(edges.version[edge])))
                begun = None
        return steps

    def _type(self, steps: Sequence[Step], *, single: bool) -> str:
        """The kind of the anomaly (see `lattice`). What more than one cycle proves has the name of the weakest kind
        that the level forbids: each way to choose closes a cycle of that or a worse kind."""
        kinds = [step.kind for step in steps]
        item = "" if any(self._is_phantom(step) for step in steps) else "-item"
        variant = "-realtime" if REAL_TIME in kinds else "-process" if SESSION in kinds else ""
        if not single:
            return ("G-nonadjacent" if self._graph.level.is_snapshot else "G2") + item + variant
        if RW not in kinds:
            return ("G1c" if WR in kinds else "G0") + variant
        if kinds.count(RW) == 1:
            return f"G-single{item}{variant}"
        adjacent = any(kinds[at - 1] == kinds[at] == RW for at in range(len(kinds)))
        return ("G2" if adjacent else "G-nonadjacent") + item + variant

    def _is_phantom(self, step: Step) -> bool:
        """Whether a scan did not find what the step's target wrote."""
        found = self._graph.found
        if step.kind != RW:
            return False
        operation = found.read_operation[step.read]
        return bool(found.roles.range[operation] >= 0 and found.roles.value[operation] == NIL)

    def _tell(self, statement: Statement, names: Names) -> str:
        if not statement.supposed:
            told = [self._tell_step(step, names) for step in statement.steps]
            turning = f"{'; '.join(told[:-1])}; but {told[-1]}" if len(told) > 1 else told[0]
            return f"{turning}: a contradiction"
        supposed = " and ".join(
            f"{self._version(first, names)} before {self._version(second, names)}"
            for first, second in statement.supposed
        )
        cannot = "cannot be" if len(statement.supposed) == 1 else "cannot be together"
        return (
            f"{supposed} {cannot}: then {'; '.join(self._tell_step(step, names) for step in statement.steps)}"
        )

    def _tell_step(self, step: Step, names: Names) -> str:
        source, target = names(step.source), names(step.target)
        if not self._graph.level.is_snapshot:
            order = f"{source} came before {target}"
        elif step.kind == RW:
            order = f"{source} began before {target} committed"
        else:
            order = f"{source} committed before {target} began"
        one, other = names(step.source), names(step.target)
        if step.kind == SESSION:
            return f"{order} (same session)"
        if step.kind == REAL_TIME:
            return f"{order} (it had completed before {other} was invoked)"
        if step.kind == WR:
            return f"{order} ({other} {self._seen(step.read)} of it)"
        if step.kind == WW:
            return f"{order} (its version of {self._key(step.version)} is older than {self._value(step.version)})"
        assert step.kind == RW, f"a step of kind {step.kind} from {one} to {other}"
        return f"{order} ({one} {self._seen(step.read)}, not {other}'s later {self._value(step.version)})"

    def _seen(self, read: int) -> str:
        return show_seen(self._graph.found, int(self._graph.found.read_operation[read]))

    def _key(self, version: int) -> str:
        return show_key(self._transactions, int(self._versions.key[version]))

    def _value(self, version: int) -> str:
        operation = int(self._graph.found.write_operation[version])
        return show_value(self._transactions, int(self._graph.found.roles.value[operation]))

    def _version(self, version: int, names: Names) -> str:
        owner = names(int(self._versions.owner[version]))
        return f"{self._key(version)} = {self._value(version)} of {owner}"


def tell_lost_update(graph: Polygraph, one: int, other: int) -> Anomaly:
    """Two reads of one version, whose transactions both overwrote it."""
    versions, transactions = graph.versions, graph.found.transactions
    names = Names(transactions)
    key = int(graph.found.read_key[one])
    seen = int(graph.found.roles.value[graph.found.read_operation[one]])
    first, second = int(versions.reader[one]), int(versions.reader[other])
    sentence = (
        f"{names(first)} and {names(second)} both read {show_key(transactions, key)} = "
        f"{show_value(transactions, seen)} and overwrote it: whichever came second did not see what the first wrote"
    )
    return Anomaly(
        "lost-update",
        sentence,
        events_of_all(transactions, names.mentioned),
        key=transactions.keys[key],
        evidence={"transactions": names.table()},
    )
