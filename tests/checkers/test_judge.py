"""`checkers.check`: a history and a question in, a verdict out; nothing of the harness is needed for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from checkers import QuestionError, check
from checkers.registry import REGISTRY, guess, looks_keyed
from results.history import HistoryBuilder, HistoryError
from results.interchange.formats import read_text
from results.verdict import INVALID, UNKNOWN, VALID

ROOT = Path(__file__).resolve().parents[2]


def history(*steps):
    """A history of operations one after the other: `(f, asked, answered)`."""
    builder = HistoryBuilder()
    for f, asked, answered in steps:
        builder.invoke(0, f, asked)
        builder.ok(0, answered)
    return builder.done()


STALE = history(("write", 1, 1), ("write", 2, 2), ("read", None, 1))
FRESH = history(("write", 1, 1), ("write", 2, 2), ("read", None, 2))


def test_a_history_and_a_model():
    assert check(FRESH, model="register").outcome == VALID
    assert check(STALE, model="register").outcome == INVALID


def test_events_may_be_mappings_or_a_file(tmp_path):
    events = [
        {"process": 0, "type": "invoke", "f": "write", "value": 1},
        {"process": 0, "type": "ok", "f": "write", "value": 1},
        {"process": 0, "type": "invoke", "f": "read"},
        {"process": 0, "type": "ok", "f": "read", "value": 2},
    ]
    assert check(events, model="register").outcome == INVALID
    assert check(events[:2], model="register").outcome == VALID
    path = tmp_path / "history.edn"
    path.write_text("{:process 0 :type :invoke :f :read}{:process 0 :type :ok :f :read :value 7}")
    assert check(path, model="register", initial=7).outcome == VALID
    assert check(str(path), model="register").outcome == INVALID
    with pytest.raises(HistoryError, match="process 0 completes read, but event 0 invoked write"):
        check([events[0], events[3]], model="register")


@pytest.mark.parametrize(
    ("steps", "models"),
    [
        ([("read", None, 1), ("write", 2, 2)], ["register"]),
        ([("read", None, 1), ("cas", [1, 2], [1, 2])], ["cas-register"]),
        ([("get", ["x", None], ["x", "a"]), ("append", ["x", "b"], ["x", "b"])], ["kv"]),
        ([("add", 1, 1), ("read", None, [1])], ["set"]),
        ([("read", None, {"a": 1})], ["bank"]),
        ([("transfer", {}, {}), ("read", None, {"a": 1})], ["bank"]),
        ([("push", 1, 1), ("pop", None, 1)], ["stack"]),
        ([("txn", [["read", "x", None]], [["read", "x", 1]])], ["multi-register"]),
        ([("dance", 1, 1)], []),
    ],
)
def test_the_model_is_guessed_from_the_functions(steps, models):
    assert guess(history(*steps)) == models


def test_a_guess_that_could_be_wrong_is_not_made():
    locks = history(("acquire", None, None), ("release", None, None))
    with pytest.raises(QuestionError, match=r"several models \(mutex, .*\); name one with --model"):
        check(locks)
    assert check(locks, model="mutex").outcome == VALID
    with pytest.raises(QuestionError, match="no model is known by the functions"):
        check(history(("dance", 1, 1)))


def test_questions_that_cannot_be_asked():
    with pytest.raises(
        QuestionError, match="there is no model 'registre'; models are register, cas-register"
    ):
        check(FRESH, model="registre")
    with pytest.raises(
        QuestionError, match=r"does not know: write \(2\); it knows .*looks like one of register"
    ):
        check(FRESH, model="bank")
    with pytest.raises(QuestionError, match=r"register has no use for --allow-negative .*: bank"):
        check(FRESH, model="register", allow_negative=True)
    with pytest.raises(QuestionError, match="register has no use for --isolation"):
        check(FRESH, model="register", isolation="serializable")
    with pytest.raises(TypeError, match="no option 'alow_negative'; options are isolation, initial"):
        check(FRESH, model="bank", alow_negative=True)


def test_nothing_proves_nothing():
    assert check([], model="register").outcome == UNKNOWN
    assert check([]).outcome == UNKNOWN


def test_without_real_time_no_register_is_judged():
    text = (
        b'{"process":0,"type":"ok","f":"write","value":1}\n{"process":1,"type":"ok","f":"read","value":null}'
    )
    verdict = check(read_text(text).history, model="register")
    assert verdict.outcome == UNKNOWN
    assert "which operations overlapped" in verdict.sentence


def test_keys_are_seen_in_the_values():
    keyed = history(
        ("write", ["x", 1], ["x", 1]), ("read", ["y", None], ["y", None]), ("read", ["x", None], ["x", 1])
    )
    assert looks_keyed(keyed)
    assert check(keyed, model="register").outcome == VALID
    pairs = history(("write", [1, 2], [1, 2]), ("read", None, [1, 2]))
    assert not looks_keyed(pairs)
    assert check(pairs, model="register").outcome == VALID
    assert not looks_keyed(history(("cas", [1, 2], [1, 2])))
    assert looks_keyed(history(("cas", ["x", [1, 2]], ["x", [1, 2]])))


def test_a_bank_takes_accounts_and_total_from_its_first_read():
    good = [("read", None, {"a": 5, "b": 5}), ("read", None, {"a": 11, "b": -1})]
    assert check(history(*good), model="bank").outcome == INVALID
    assert check(history(*good), model="bank", allow_negative=True).outcome == VALID
    assert check(history(*good), model="bank", allow_negative=True, total=12).outcome == INVALID


def test_every_entry_can_be_made():
    for name, entry in REGISTRY.items():
        from checkers.registry import Options

        checker = entry.make(Options(), history())
        assert checker.name, name
        assert len(entry.caption) > 12, name


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"blocked: {{name}}")
sys.meta_path.insert(0, Blocked())
from checkers import check
events = [
    {{"process": 0, "type": "invoke", "f": "write", "value": 1}},
    {{"process": 0, "type": "ok", "f": "write", "value": 1}},
    {{"process": 0, "type": "invoke", "f": "read"}},
    {{"process": 0, "type": "ok", "f": "read", "value": 2}},
]
print(check(events).outcome)
"""


def test_nothing_else_is_needed():
    """Of our packages `results`, of others msgspec, NumPy and Cython."""
    blocked = {
        "harness", "workloads", "nemesis", "reference_db", "docker", "click", "rich", "rocksdict", "uvloop",
        "distributed", "hypothesis", "asyncio", "socket",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked=blocked)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("invalid\n", 0), done.stderr
