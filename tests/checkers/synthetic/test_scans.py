"""Generated histories with scans: what the store keeps holds by the checkers, and each phantom told in it is found."""

import io

import msgspec
import pytest

from checkers.checker import Limits
from checkers.isolation.rw_register import RwRegisterChecker
from checkers.synthetic.formats import OF_HISTORIES, OF_REGISTERS, transaction_lines
from checkers.synthetic.histories import history_of
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import RULES, run_store
from checkers.synthetic.stories import names, tell
from results.transaction_columns import transactions_of
from results.transactions import SCAN
from results.verdict import INVALID, VALID

LIMITS = Limits(time_s=600)
SHAPE = Shape(120, 6, "rw-register", keys=6, writes_per_key=3, scan_share=0.6, crash_share=0.03)
PHANTOMS = ("phantom-skew", "phantom-read", "stale-scan")
JUDGED = (
    "strict-serializable", "strong-session-serializable", "serializable", "repeatable-read",
    "strong-snapshot-isolation", "snapshot-isolation", "causal", "read-atomic", "read-committed",
)  # fmt: skip


def judged(history, level):
    return RwRegisterChecker(level, initial=None).check_transactions(history.transactions, LIMITS)


@pytest.mark.parametrize("level", RULES)
def test_what_a_store_keeps_holds_with_scans(level):
    for seed in range(2):
        history = run_store(SHAPE, level, seed)
        assert (history.transactions.kind == SCAN).sum() > 40
        for asked in JUDGED:
            if asked in history.satisfies:
                assert judged(history, asked).outcome == VALID, (level, asked, seed)


def test_each_kind_of_store_shows_the_phantoms_that_its_level_allows():
    """A serializable store shows none; under snapshot isolation inserts skew; repeatable read overlooks rows."""
    shape = Shape(400, 10, "rw-register", keys=4, writes_per_key=2, scan_share=0.9)
    skewed = judged(run_store(shape, "snapshot-isolation", 1), "serializable")
    assert skewed.outcome == INVALID
    overlooked = run_store(shape, "repeatable-read", 1)
    for level in ("serializable", "snapshot-isolation"):
        assert judged(overlooked, level).outcome == INVALID
    assert judged(overlooked, "repeatable-read").outcome == VALID
    assert judged(run_store(shape, "strict-serializable", 1), "strict-serializable").outcome == VALID


@pytest.mark.parametrize("name", PHANTOMS)
def test_a_phantom_is_found_where_it_is_wrong_and_nowhere_else(name):
    told = tell(run_store(SHAPE, "strict-serializable", 3), [name], seed=5)
    assert name in names("rw-register")
    assert name not in names("list-append")
    for level in JUDGED:
        if level in told.violates:
            assert judged(told, level).outcome == INVALID, level
        if level in told.satisfies:
            assert judged(told, level).outcome == VALID, level


def test_the_innocent_twin_is_valid_everywhere():
    told = tell(run_store(SHAPE, "strict-serializable", 3), ["scan-of-concurrent-insert"], seed=5)
    assert judged(told, "strict-serializable").outcome == VALID


def test_a_history_with_scans_is_the_same_when_written_and_read_again():
    told = tell(run_store(SHAPE, "snapshot-isolation", 4), ["phantom-read"], seed=2)
    columns = told.transactions
    again = transactions_of(history_of(told), of_registers=True)
    spelt = [columns.spelt(t) for t in range(len(columns))]
    assert [again.spelt(t) for t in range(len(again))] == spelt
    lines = "".join(transaction_lines(told, "jsonl"))
    written = OF_HISTORIES["jsonl"](history_of(told))
    one, other = ([msgspec.json.decode(line) for line in io.StringIO(text)] for text in (lines, written))
    assert one == other
    assert "".join(transaction_lines(told, "edn")) == OF_HISTORIES["edn"](history_of(told))
    with pytest.raises(ValueError, match="has no scans"):
        OF_REGISTERS["awdit"](told)


def test_scans_of_lists_are_refused():
    with pytest.raises(ValueError, match="scans are of registers"):
        Shape(kind="list-append", scan_share=0.1)
