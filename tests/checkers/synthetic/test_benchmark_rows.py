"""The benchmark of the checkers names only rows that exist, and makes each history as its row says."""

from benchmarks.checker_rows import FACTORS, GROWTH, ROWS, load_columns, load_history, save
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store


def test_growth_and_factors_are_about_rows():
    named = [name for small, large, _ in GROWTH for name in (small, large)] + list(FACTORS)
    assert set(named) <= ROWS.keys()


def test_columns_survive_their_file(tmp_path):
    columns = run_store(Shape(50), seed=1).transactions
    save(columns, tmp_path / "columns.npz")
    loaded = load_columns(tmp_path)
    assert [loaded.spelt(t) for t in range(50)] == [columns.spelt(t) for t in range(50)]


def test_a_broken_row_is_judged_invalid_and_its_twin_valid(tmp_path):
    for name in ("cas-register-10k", "cas-register-10k-bad"):
        row = ROWS[name]
        row.make(tmp_path)
        history = load_history(tmp_path)
        assert len(history.pairs()) == row.operations
        assert row.judge(row.load(tmp_path)) == row.expected
