"""Every checker agrees with how each history was made: valid where a level was kept, invalid where it was broken.

HARNESS_SYNTHETIC_SEEDS says how many seeds are tried (6; 30 with HARNESS_FULL_SIZES), HARNESS_SYNTHETIC_SIZE how large
the histories are (200 operations). A checker may say unknown only where the tables here say that it cannot decide.
"""

import os
import subprocess
import sys

import pytest

from checkers.checker import Limits
from checkers.counter import CounterChecker
from checkers.isolation.list_append import ListAppendChecker
from checkers.isolation.polygraph_checker import LEVELS as POLYGRAPH_LEVELS
from checkers.isolation.polygraph_checker import check_polygraph
from checkers.isolation.rw_register import RwRegisterChecker
from checkers.isolation.weak_levels import check_weak
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.models import model_named
from checkers.queue import QueueChecker
from checkers.set_full import SetFullChecker
from checkers.synthetic.breaks import BREAKS, NoPlace, break_object
from checkers.synthetic.objects import OBJECTS, ObjectShape, run_object
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import RULES, run_store
from checkers.synthetic.stories import names, tell
from results.kernels import INTERPRETED, VARIABLE
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.sizes import sized

SEEDS = int(os.environ.get("HARNESS_SYNTHETIC_SEEDS") or sized(30, 6))
SIZE = int(os.environ.get("HARNESS_SYNTHETIC_SIZE", "200"))
LIMITS = Limits(time_s=60)
KINDS = ("list-append", "rw-register")
WEAK = ("read-committed", "read-atomic", "causal")
SOLVER_EVERY = 10
"""The solver is asked about one seed of so many: it takes a hundred times longer than the rest."""
UNDECIDED_OF_LISTS = {"parallel-snapshot-isolation"}
"""Levels of which the checker of lists may say unknown."""
MAY_GIVE_UP = {"stack"}
"""Objects whose states are so many that a search may end in unknown."""


def shape(kind, size=SIZE):
    return Shape(size, 10, kind, keys=5, writes_per_key=20, crash_share=0.03, abort_share=0.03)


def verdicts(made, seed):
    """What each checker that knows the kind says about each level that is certain: `(way, level, wanted, verdict)`."""
    columns = made.transactions
    for level in RULES:
        wanted = VALID if level in made.satisfies else INVALID if level in made.violates else None
        if wanted is None:
            continue
        if not columns.of_registers:
            yield "lists", level, wanted, ListAppendChecker(level).check_transactions(columns, LIMITS)
            continue
        by_graph = RwRegisterChecker(level).check_transactions(columns, LIMITS)
        if by_graph.outcome != UNKNOWN:  # It only knows a part of the order of versions.
            yield "graph", level, wanted, by_graph
        if level in WEAK:
            yield "weak", level, wanted, check_weak(columns, level, LIMITS)
        if level in POLYGRAPH_LEVELS and seed % SOLVER_EVERY == 0:
            yield "solver", level, wanted, check_polygraph(columns, level, LIMITS)


def agree(made, what, seed):
    for way, level, wanted, verdict in verdicts(made, seed):
        if verdict.outcome == UNKNOWN and way == "lists" and level in UNDECIDED_OF_LISTS:
            continue
        assert verdict.outcome == wanted, f"{what}, seed {seed}, {way} asked for {level}: {verdict.sentence}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", RULES)
def test_levels_are_found_kept(level, kind):
    for seed in range(SEEDS):
        agree(run_store(shape(kind), level, seed), level, seed)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "story"), [(kind, name) for kind in KINDS for name in names(kind)])
def test_stories_are_found(story, kind):
    """Told in a history that is strict serializable otherwise, so nothing else can be found."""
    for seed in range(SEEDS):
        base = run_store(shape(kind), seed=seed)
        agree(tell(base, [story], seed), story, seed)


@pytest.mark.slow
@pytest.mark.parametrize("clients", [1, 3, 100, 1000])
def test_any_number_of_clients(clients):
    for kind in KINDS:
        for seed in range(max(1, SEEDS // 30)):
            wide = Shape(
                sized(3, 1) * SIZE,
                clients,
                kind,
                keys=4,
                crash_share=0.02,
                distribution="zipf",
                writes_per_key=0,
            )
            levels = ("strict-serializable", "strong-snapshot-isolation", "read-committed")
            for level in levels if clients < 1000 else levels[:1]:
                agree(run_store(wide, level, seed), level, 1)


def judge_object(made):
    model = made.shape.model
    arguments = {"permits": made.shape.permits} if model == "semaphore" else {}
    keyed = made.shape.keys > 0 or model == "kv"
    checker = LinearizabilityChecker(model_named(model, **arguments), split_by_key=keyed)
    return checker.check(made.history(), Limits(time_s=1 if model in MAY_GIVE_UP else 60))


@pytest.mark.slow
@pytest.mark.parametrize("model", OBJECTS)
def test_objects_are_found_linearizable_and_breaks_are_found(model):
    seeds = SEEDS if model not in MAY_GIVE_UP else max(2, SEEDS // 5)
    for seed in range(seeds):
        crash_share = 0.02 * (seed % 2)
        object_shape = ObjectShape(
            model, SIZE, 5, keys=3 * (model == "kv"), values=5 * (seed % 3 == 0), crash_share=crash_share
        )
        made = run_object(object_shape, seed)
        for name in (None, *BREAKS[model]):
            try:
                tried = made if name is None else break_object(made, name, seed)
            except NoPlace:
                continue
            verdict = judge_object(tried)
            if verdict.outcome == UNKNOWN and model in MAY_GIVE_UP:
                continue
            wanted = VALID if name is None else INVALID
            assert verdict.outcome == wanted, f"{model} with {name}, seed {seed}: {verdict.sentence}"


SPECIAL = {
    "set": SetFullChecker(True),
    "counter": CounterChecker(),
    "queue": QueueChecker(),
}
"""Checkers that judge an object without searching for an order."""


@pytest.mark.slow
@pytest.mark.parametrize("model", SPECIAL)
def test_special_checkers_agree(model):
    """They find every break of their object, and nothing where nothing is broken."""
    for seed in range(SEEDS):
        made = run_object(ObjectShape(model, SIZE, 5, crash_share=0.02 * (seed % 2), read_share=0.3), seed)
        assert SPECIAL[model].check(made.history(), LIMITS).outcome != INVALID, f"seed {seed}"
        for name in BREAKS[model]:
            try:
                broken = break_object(made, name, seed)
            except NoPlace:
                continue
            verdict = SPECIAL[model].check(broken.history(), LIMITS)
            assert verdict.outcome == INVALID, f"{name}, seed {seed}: {verdict.sentence}"


SPEAKING = """
from checkers.synthetic.stores import RULES, run_store
from checkers.synthetic.stories import tell
from tests.checkers.synthetic import test_agreement as agreement

for kind in agreement.KINDS:
    for level in RULES:
        for stories in ((), ("G1a", "lost-update")):
            made = tell(run_store(agreement.shape(kind, 80), level, 3), stories)
            for way, asked, _, verdict in agreement.verdicts(made, 1):
                print(kind, level, stories, way, asked, verdict.outcome, verdict.sentence)
for model in sorted(agreement.OBJECTS.keys() - agreement.MAY_GIVE_UP):
    print(model, agreement.judge_object(agreement.run_object(agreement.ObjectShape(model, 40, 3), 3)).outcome)
"""


@pytest.mark.slow
def test_interpreted_kernels_say_the_same():
    """Word for word, whatever is asked."""
    said = []
    for kernels in ("", INTERPRETED):
        done = subprocess.run(
            [sys.executable, "-c", SPEAKING],
            env={**os.environ, VARIABLE: kernels, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stdout.splitlines())
    assert len(said[0]) > 200
    assert said[0] == said[1]
