"""Runs the tests of a page against its mutants, and says which survive."""

import ast
import importlib
import math
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from tests.mutation.mutants import Place, mutant_at, places
from tests.mutation.reached import function_at, inner_functions_at, statement_at, statements
from tests.mutation.stage import PASSED, ROOT, Reached, Stage

Stages = tuple[tuple[str, ...], ...]
"""Arguments of pytest, stage by stage: quick tests first, and what they let pass is tried by the next ones."""
_OURS = ("build_kernels", "checkers", "examples", "harness", "nemesis", "reference_db", "tests", "workloads")


@dataclass(frozen=True)
class Result:
    """What became of the mutants of one page."""

    found: int
    excused: int
    """Those that are known to survive, with a reason, and were not tried."""
    tried: int
    noticed: Counter[str]
    """How the others were noticed: failed tests, too much time, a process that broke down."""
    survivors: list[Place]
    not_reached: list[Place]
    """The survivors that no test reaches."""


def run_page(
    page: str,
    stages: Stages,
    budget_s: float,
    seed: int,
    excused: frozenset[str] = frozenset(),
    each_s: float = math.inf,
) -> Result:
    """Tries the mutants of a page in an order drawn by the seed, until all are tried or the budget of processor time is
    spent; but none of those whose names are excused. Each is tried on its quickest tests of every stage, those that
    take `each_s` seconds of processor time on the page as it is, and on one at least.

    Raises RuntimeError if the tests fail without any change.
    """
    source = (ROOT / page).read_text()
    tree = ast.parse(source)
    numbers = statements(tree)
    found = places(source)
    drawn = [place for place in found if place.name not in excused]
    known = len(found) - len(drawn)
    Random(seed).shuffle(drawn)
    noticed: Counter[str] = Counter()
    survivors, not_reached = [], []
    tests = [Stage(page, source, arguments) for arguments in stages]
    try:
        _import_what_is_not_ours(tests[0].reached)
        for place in drawn:
            if sum(stage.spent_s for stage in tests) > budget_s:
                break
            changed = mutant_at(source, place)
            statement, function = statement_at(place.path, numbers), function_at(tree, place.path)
            inner = inner_functions_at(tree, place.path, numbers)
            said = next(
                (
                    said
                    for stage in tests
                    if (said := stage.notices(changed, statement, function, each_s, inner)) != PASSED
                ),
                PASSED,
            )
            noticed[said] += 1
            if said == PASSED:
                survivors.append(place)
                reached = function is None or any(stage.reached.by(statement) for stage in tests)
                if not reached:
                    not_reached.append(place)
                how = "survives" if reached else "is not reached"
                print(f"  {page}:{place.line} {how}: {place.name}", flush=True)
    finally:
        for stage in tests:
            stage.close()
    tried = noticed.total()
    del noticed[PASSED]
    survivors.sort(key=lambda place: place.line)
    return Result(len(found), known, tried, noticed, survivors, not_reached)


def _import_what_is_not_ours(reached: Reached) -> None:
    """What the tests import from others is imported here, once, before the next processes are forked; and `results`,
    which imports no checker."""
    for name in reached.modules:
        if name.partition(".")[0] not in _OURS and name not in sys.modules:
            with suppress(ImportError):  # Some are made when their parents run.
                importlib.import_module(name)
