"""The last resort: a SAT solver chooses the order of versions, and each cycle that follows becomes a clause.

Each open choice is a variable. A model of the clauses says which chain of versions comes first; the cycles that these
orders close are forbidden by new clauses, until a model closes none, or no model is left. Acyclicity is thus learned
where it matters (counterexample-guided refinement). Cycles of two choices are found beforehand by reachability, and
the solver tries first what the order of the transactions in the history suggests.

The solver is Glucose 4, from the package python-sat; without it there is no verdict.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from checkers.checker import Deadline
from checkers.isolation.budget import OutOfBudgetError
from checkers.isolation.orders import find_cycles_of_components, is_acyclic, make_order
from checkers.isolation.polygraph import Edges, Polygraph, join
from checkers.isolation.pruning import Pruned

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOLVER: Final = "glucose4"
CONFLICTS: Final = 20_000
"""Conflicts of the solver between two looks at the clock."""
STARTS: Final = 128
"""Nodes of a component from which cycles are looked for in each round."""
COMPARED: Final = 800
"""Edges of choices up to which all pairs are compared beforehand."""
CLAUSE_BYTES: Final = 400
"""What a clause and its cycle take in memory, about."""


@dataclass(frozen=True)
class Cycle:
    """A cycle that some orders of chains close."""

    edges: tuple[int, ...]
    """By their numbers in `Search.edges`; of a cycle known by reachability only its edges of choices."""
    literals: tuple[int, ...]
    """The choices that close it: i + 1 if `one` of open choice i comes first, -(i + 1) if `other` does; sorted."""


@dataclass(frozen=True)
class Search:
    """How the search ended."""

    edges: Edges
    """The edges that are certain, then those of both orders of every open choice."""
    chosen: NDArray[np.int64] | None
    """Numbers of edges that make no cycle and hold an order for every choice; None if there is none."""
    refuting: tuple[Cycle, ...]
    """Cycles of which every way to choose closes one, as few as were found; none if there is a way."""
    rounds: int


def is_available() -> bool:
    """Whether the SAT solver is installed."""
    try:
        importlib.import_module("pysat.solvers")
    except ImportError:
        return False
    return True


def search(
    graph: Polygraph, pruned: Pruned, rank: NDArray[np.int64], deadline: Deadline, memory_mb: int
) -> Search:
    """Looks for an order of all open choices. `rank` of nodes is what is tried first.

    Raises OutOfBudgetError where the solver is not installed, or a limit is reached.
    """
    if not is_available():
        raise OutOfBudgetError(
            f"{len(pruned.open)} pairs of versions have no order that follows from the rest, and the SAT solver that "
            "would look for one is not installed; pip install python-sat does it"
        )
    return _Search(graph, pruned, rank, deadline, memory_mb).run()


class _Search:
    """A search in progress: the clauses so far, and the cycle that each stands for."""

    def __init__(
        self, graph: Polygraph, pruned: Pruned, rank: NDArray[np.int64], deadline: Deadline, memory_mb: int
    ) -> None:
        tails = graph.versions.tail
        forward, forward_of = graph.following(tails[pruned.open.one], pruned.open.other)
        backward, backward_of = graph.following(tails[pruned.open.other], pruned.open.one)
        self.nodes = graph.nodes
        self.certain = len(pruned.edges)
        self.edges = join([pruned.edges, forward, backward])
        self.literal = np.concatenate(
            [np.zeros(self.certain, dtype=np.int64), forward_of + 1, -(backward_of + 1)]
        )
        """Of each edge, the choice that it comes from; 0 if it is certain."""
        owner = graph.versions.owner
        first = rank[graph.writing(owner[pruned.open.one])] < rank[graph.writing(owner[pruned.open.other])]
        number = np.arange(1, len(pruned.open) + 1)
        self.phases = np.where(first, number, -number).tolist()
        self.pruned = pruned
        self.deadline = deadline
        self.most = memory_mb * 1_000_000 // CLAUSE_BYTES
        self.cycles: dict[tuple[int, ...], Cycle] = {}

    def run(self) -> Search:
        solvers = importlib.import_module("pysat.solvers")
        with solvers.Solver(name=SOLVER) as solver:
            solver.set_phases(self.phases)
            for choice in range(1, len(self.phases) + 1):
                solver.add_clause([choice, -choice])  # So that the model speaks of every choice.
            self._learn(solver, self._pairs())
            rounds = 0
            while self._solve(solver, []):
                rounds += 1
                model = np.array([0, *solver.get_model()[: len(self.phases)]], dtype=np.int64)
                holds = (self.literal == 0) | (model[np.abs(self.literal)] == self.literal)
                chosen = np.flatnonzero(holds)
                cycles = self._cycles(chosen)
                if not cycles:
                    return Search(self.edges, chosen, (), rounds)
                self._learn(solver, cycles)
                if len(self.cycles) > self.most:
                    raise OutOfBudgetError(
                        f"{len(self.cycles)} cycles had to be ruled out by then, which is as many as the memory "
                        "allowed can hold; allow more"
                    )
        return Search(self.edges, None, self._refuting(solvers), rounds)

    def _solve(self, solver: Any, assumptions: list[int]) -> bool:
        while True:
            if self.deadline.expired():
                raise OutOfBudgetError(
                    f"the time allowed ran out in the search for an order of {len(self.pruned.open)} pairs of versions "
                    f"({len(self.cycles)} cycles ruled out); allow more, use more keys, or let transactions read what "
                    "they write"
                )
            solver.conf_budget(CONFLICTS)
            answer = solver.solve_limited(assumptions=assumptions)
            if answer is not None:
                return bool(answer)

    def _learn(self, solver: Any, cycles: list[Cycle]) -> None:
        for cycle in cycles:
            if cycle.literals not in self.cycles:
                self.cycles[cycle.literals] = cycle
                solver.add_clause([-literal for literal in cycle.literals])

    def _cycle(self, edges: list[int]) -> Cycle:
        literals = {int(literal) for literal in self.literal[edges] if literal}
        assert literals, f"the certain edges {edges} make a cycle, which pruning must have found"
        return Cycle(tuple(edges), tuple(sorted(literals)))

    def _pairs(self) -> list[Cycle]:
        """The cycles of two edges of choices with certain ways between them."""
        reach = self.pruned.reach
        assert reach is not None, "a refuted history needs no search"
        open_edges = np.arange(self.certain, len(self.edges))
        source, target = self.edges.source[open_edges], self.edges.target[open_edges]
        new = ~reach.reaches(source, target)
        open_edges, source, target = open_edges[new], source[new], target[new]
        count = len(open_edges)
        if count > COMPARED:
            return []
        row, column = np.indices((count, count)).reshape(2, -1)
        goes_on = reach.reaches(target[row], source[column]).reshape(count, count)
        one, other = np.nonzero(np.triu(goes_on & goes_on.T, 1))
        pairs = zip(open_edges[one].tolist(), open_edges[other].tolist(), strict=True)
        found: dict[tuple[int, ...], Cycle] = {}
        for a, b in pairs:
            if self.literal[a] != -self.literal[b]:
                cycle = self._cycle([a, b])
                found.setdefault(cycle.literals, cycle)
        return list(found.values())

    def _cycles(self, chosen: NDArray[np.int64]) -> list[Cycle]:
        source, target = self.edges.source[chosen], self.edges.target[chosen]
        if is_acyclic(self.nodes, source, target):
            return []
        graph = make_order(self.nodes, source, target)
        found: dict[tuple[int, ...], Cycle] = {}
        for cycles in find_cycles_of_components(graph, STARTS, STARTS):
            for edges in cycles:
                cycle = self._cycle(chosen[edges].tolist())
                found.setdefault(cycle.literals, cycle)
        return sorted(found.values(), key=lambda cycle: (len(cycle.literals), cycle.literals))

    def _refuting(self, solvers: Any) -> tuple[Cycle, ...]:
        """Few of the cycles, of which still every way to choose closes one: the core of the last clauses, without
        those that it does not need, as far as time allows."""
        cycles = list(self.cycles.values())
        shift = len(self.phases)
        with solvers.Solver(name=SOLVER) as solver:
            for number, cycle in enumerate(cycles):
                solver.add_clause([-(shift + number + 1), *(-literal for literal in cycle.literals)])
            needed = [shift + number + 1 for number in range(len(cycles))]
            try:
                while True:
                    assert not self._solve(solver, needed), "clauses without a model have one"
                    core = sorted(solver.get_core() or [])
                    if len(core) >= len(needed):
                        break
                    needed = core
                for one in list(needed):
                    without = [other for other in needed if other != one]
                    if not self._solve(solver, without):
                        kept = set(solver.get_core() or [])
                        needed = [other for other in without if other in kept]
            except OutOfBudgetError:
                pass  # The verdict is certain; its evidence stays as small as it got.
        return tuple(cycles[number - shift - 1] for number in needed)
