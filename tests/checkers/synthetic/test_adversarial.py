"""Hostile histories through the public call: a right verdict, or an honest unknown within the limits; never a crash.

HARNESS_FULL_SIZES makes it ten thousand crashed operations, a million duplicate reads, strings of a megabyte.
"""

import contextlib
import math

import msgspec
import pytest

from checkers import check
from checkers.registry import QuestionError
from checkers.synthetic.breaks import BREAKS, NoPlace, break_object
from checkers.synthetic.formats import OF_HISTORIES
from checkers.synthetic.histories import history_of
from checkers.synthetic.objects import OBJECTS, ObjectShape, run_object
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store
from checkers.synthetic.stories import tell
from results.history import History, HistoryBuilder, HistoryError
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.sizes import sized

pytestmark = pytest.mark.slow

FIRST_BREAK = {model: next(iter(ways)) for model, ways in BREAKS.items()}
ISOLATION = ("read-committed", "snapshot-isolation", "serializable", "strict-serializable")


def judged(history, model, **options):
    """The verdict within small limits; the checker must not have broken down on the way to it."""
    if model == "semaphore":
        options = {"initial": 3, **options}
    if model == "set":
        options = {"linearizable": True}  # It is never keyed.
    verdict = check(history, model, time_limit_s=8, memory_limit_mb=600, **options)
    assert "broke down" not in verdict.sentence, f"{verdict.sentence}: {verdict.details.get('traceback')}"
    if verdict.outcome == UNKNOWN:
        assert len(verdict.sentence) > 20, "an unknown says why"
    return verdict.outcome


def objects(model, seed=1, **shape):
    """A linearizable history, and the same broken if there is a place for it."""
    made = run_object(ObjectShape(model, **shape), seed)
    for name in BREAKS[model]:
        try:
            return made.history(), break_object(made, name, seed).history()
        except NoPlace:
            continue
    return made.history(), None


def both_are_right(good, bad, model):
    assert judged(good, model) != INVALID
    if bad is not None:
        assert judged(bad, model) != VALID


@pytest.mark.parametrize("model", OBJECTS)
def test_thousands_of_crashed_operations(model):
    both_are_right(
        *objects(model, operations=sized(10_500, 2_100), clients=20, crash_share=0.95, read_share=0.4), model
    )


@pytest.mark.parametrize("model", OBJECTS)
def test_one_object_with_a_thousand_clients(model):
    both_are_right(*objects(model, operations=sized(3000, 1500), clients=1000, read_share=0.3), model)


@pytest.mark.parametrize("model", OBJECTS)
def test_clocks_that_stand_still_change_nothing(model):
    """Order is that of the events; ties of their times mean nothing."""
    for history in objects(model, operations=150, clients=5):
        if history is not None:
            tied = History([msgspec.structs.replace(event, time=0) for event in history.operations])
            assert judged(tied, model) == judged(history, model)


def with_values(history, change):
    """The history with another value for each."""

    def changed(value):
        return [changed(part) for part in value] if isinstance(value, list) else change(value)

    return History(
        [
            msgspec.structs.replace(event, value=None if event.value is None else changed(event.value))
            for event in history.operations
        ]
    )


NOT_OF_NUMBERS_ONLY = sorted(OBJECTS.keys() - {"counter", "kv", "priority-queue", "semaphore", "fenced-lock"})


@pytest.mark.parametrize("model", NOT_OF_NUMBERS_ONLY)
def test_values_that_are_lists(model):
    """Nested ones too; they are compared as a whole."""
    for history in objects(model, operations=120, clients=4):
        if history is not None:
            nested = with_values(history, lambda value: [value, [value, {"of": value}]])
            assert judged(nested, model, keyed=False) == judged(history, model, keyed=False)


@pytest.mark.parametrize("model", NOT_OF_NUMBERS_ONLY)
def test_long_strings(model):
    for history in objects(model, operations=40, clients=3):
        if history is not None:
            long = with_values(history, lambda value: "x" * sized(1_000_000, 100_000) + str(value))
            assert judged(long, model, keyed=False) == judged(history, model, keyed=False)


@pytest.mark.parametrize("model", NOT_OF_NUMBERS_ONLY)
def test_not_a_number(model):
    """It equals itself as a value, and nothing else."""
    for history in objects(model, operations=40, clients=3):
        if history is not None:
            strange = with_values(history, lambda value: math.nan if value == 3 else value)
            outcome = judged(history, model)
            assert judged(strange, model, keyed=False) in (outcome, UNKNOWN)


@pytest.mark.parametrize("kind", ["list-append"])
@pytest.mark.parametrize("isolation", ISOLATION)
def test_transactions_that_crash_or_meet(kind, isolation):
    """Nearly all crash; or a thousand clients use one key."""
    for shape in (
        Shape(sized(10_500, 2_100), 20, kind, crash_share=0.95),
        Shape(3000, 1000, kind, keys=1, writes_per_key=0),
    ):
        good = run_store(shape, isolation, 1)
        assert judged(history_of(good), kind, isolation=isolation) != INVALID
        bad = tell(run_store(shape, seed=1), ["G1a"])
        assert judged(history_of(bad), kind, isolation=isolation) != VALID


def test_many_duplicate_reads():
    builder = HistoryBuilder()
    builder.invoke(0, "write", 7)
    builder.ok(0)
    for _ in range(sized(1_000_000, 100_000)):
        builder.invoke(1, "read")
        builder.ok(1, 7)
    assert judged(builder.done(), "register") == VALID
    builder.invoke(2, "read")
    builder.ok(2, 8)
    assert judged(builder.done(), "register") == INVALID


@pytest.mark.parametrize("model", ["register", "cas-register", "set", "counter", "queue", "kv"])
def test_many_duplicate_reads_of_each_object(model):
    """Long runs of the same answer, of each object that can be read."""
    made = run_object(
        ObjectShape(model, sized(100_000, 10_000), 10, read_share=0.9999, values=2 * ("register" in model)), 1
    )
    assert judged(made.history(), model) != INVALID


@pytest.mark.parametrize("format_", OF_HISTORIES)
def test_a_file_cut_anywhere(format_, tmp_path):
    """What is left is judged, or the error says what is wrong with the file."""
    histories = {
        "cas-register": run_object(ObjectShape("cas-register", 30, 3, values=3), 1).history(),
        "list-append": history_of(run_store(Shape(20, 3))),
    }
    path = tmp_path / f"history.{format_}"
    for model, history in histories.items():
        text = OF_HISTORIES[format_](history).encode()
        for length in range(0, len(text), sized(97, 291)):
            path.write_bytes(text[:length])
            with contextlib.suppress(HistoryError, QuestionError):
                verdict = check(path, model)
                assert verdict.outcome != INVALID, f"{length} bytes of {format_}: {verdict.sentence}"
                assert "broke down" not in verdict.sentence
