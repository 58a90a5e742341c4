"""Stories prove what they say: the axioms find broken what they break, and kept what they keep."""

import numpy as np
import pytest

from checkers.isolation.lattice import implied_models, stronger_models
from checkers.isolation.predicates import without_scans
from checkers.synthetic.histories import history_of
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store
from checkers.synthetic.stories import STORIES, names, tell
from results.transaction_columns import transactions_of
from tests.checkers.synthetic import axioms


def almost_empty(kind):
    return run_store(Shape(1, clients=1, kind=kind, micro_operations=1, read_share=1))


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ("list-append", "rw-register") for name in names(kind)]
)
def test_a_story_breaks_and_keeps_what_it_says(kind, name):
    told = tell(almost_empty(kind), [name])
    for level in axioms.LEVELS:
        # Below snapshot isolation predicates do not count; where they do, a scan reads its keys as absent, too.
        phantoms = "serializable" in level or level.endswith("snapshot-isolation")
        transactions = without_scans(told.transactions, phantoms=phantoms, memory_mb=100).transactions
        if level in told.violates:
            assert not axioms.holds(transactions, level), f"{name} of {kind} keeps {level}"
        if level in told.satisfies:
            assert axioms.holds(transactions, level), f"{name} of {kind} breaks {level}"


def test_what_is_broken_and_what_is_kept_do_not_overlap():
    for story in STORIES.values():
        assert not stronger_models(story.breaks) & implied_models(story.keeps), story.name
        assert story.breaks or "strict-serializable" in story.keeps


def test_stories_are_spread_in_a_history_that_stays_as_it_was():
    """The other transactions keep their order, their answers and their overlap."""
    shape = Shape(300, crash_share=0.05)
    before = run_store(shape, "serializable", 4)
    told = tell(before, ["lost-update", "G1a", "lost-update"], seed=9)
    assert told.anomalies == ("lost-update", "G1a", "lost-update")
    assert "read-committed" in told.violates
    assert told.satisfies == implied_models(["read-uncommitted"])
    columns = told.transactions
    old = before.transactions
    mine = np.flatnonzero(columns.process <= old.process.max())
    assert [columns.spelt(t) for t in mine] == [old.spelt(t) for t in range(len(old))]
    start = columns.start[mine]
    for t in range(len(old)):
        earlier = old.end < old.start[t]
        assert ((columns.end[mine] < start[t]) == earlier).all()
    history = history_of(told)
    again = transactions_of(history)
    assert [again.spelt(t) for t in range(len(again))] == [columns.spelt(t) for t in range(len(columns))]
    assert len(columns) == 300 + 4 + 2 + 4


def test_an_unknown_story_is_refused():
    with pytest.raises(ValueError, match="'G7' is no story"):
        tell(almost_empty("list-append"), ["G7"])
    with pytest.raises(ValueError, match="'incompatible-order' is no story of rw-register"):
        tell(almost_empty("rw-register"), ["incompatible-order"])
