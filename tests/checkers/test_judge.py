"""`checkers.check`: a history and a question in, a verdict out; nothing of the harness is needed for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from checkers import QuestionError, check
from checkers.registry import REGISTRY, guess, looks_keyed
from results.history import HistoryBuilder, HistoryError
from results.interchange.formats import read_text
from results.interchange.straight import read_transactions
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


def test_events_may_be_operations_and_the_model_the_only_one_that_fits():
    grown = history(("add", 1, 1), ("read", None, [1]))
    assert check(grown).outcome == VALID
    lost = history(("add", 1, 1), ("read", None, []))
    verdict = check(list(lost.operations))
    assert (verdict.outcome, verdict.checker) == (INVALID, "set")


def test_real_time_is_asked_of_transactions_where_it_is_recorded_and_nothing_else_was_said():
    steps = [[["append", "x", 1]]], [[["r", "x", None]], [["r", "x", []]]]
    late = history(("txn", steps[0][0], steps[0][0]), ("txn", *steps[1]))
    assert check(late, model="list-append").outcome == INVALID
    assert check(late, model="list-append", isolation="serializable").outcome == VALID
    untimed = read_text(
        b'{"process":0,"type":"ok","f":"txn","value":[["append","x",1]]}\n'
        b'{"process":1,"type":"ok","f":"txn","value":[["r","x",[]]]}'
    ).history
    assert not untimed.has_real_time
    assert check(untimed, model="list-append").outcome == VALID
    assert check(untimed, model="list-append", isolation="strict-serializable").outcome == UNKNOWN


@pytest.mark.parametrize("type_", ["invoke", "ok"])
def test_observers_do_not_do_what_clients_do(type_):
    event = {"process": "nemesis", "type": type_, "f": "read", "value": 1}
    whole = [
        {"process": 0, "type": "invoke", "f": "write", "value": 1},
        {"process": 0, "type": "ok", "f": "write", "value": 1},
    ]
    for events in ([event], [*whole, event]):
        with pytest.raises(QuestionError, match="a process with a name is an observer"):
            check(events, model="register")
    assert check([*whole, {**event, "type": "info"}], model="register").outcome == VALID


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


@pytest.mark.parametrize("model", sorted(REGISTRY))
def test_an_option_that_a_model_does_not_have_is_refused_of_an_empty_history_too(model):
    assert check([], model=model).outcome == UNKNOWN
    refused = {"linearizable": True} if REGISTRY[model].is_transactional else {"isolation": "serializable"}
    with pytest.raises(QuestionError):
        check([], model=model, **refused)


@pytest.mark.parametrize("model", ["owned-mutex", "fenced-lock"])
def test_who_goes_on_after_an_acquire_of_unknown_outcome_may_hold_the_lock(model):
    """It has another number from there on, by the rules of histories; whether it is the same holder, nobody knows."""

    def event(process, type_, f):
        return {"process": process, "type": type_, "f": f}

    crashed = [event(0, "invoke", "acquire"), event(0, "info", "acquire")]
    released = [event(0, "invoke", "release"), event(0, "ok", "release")]
    verdict = check([*crashed, *released], model)
    assert verdict.outcome == UNKNOWN
    assert "a process went on after an operation of unknown outcome" in verdict.sentence
    assert check(released, model).outcome == INVALID
    assert check([*crashed, *released], "mutex").outcome == VALID


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
    swap = ("cas", ["x", [1, 2]], ["x", [1, 2]])
    assert looks_keyed(history(swap, ("read", ["x", None], ["x", 2])))
    assert looks_keyed(history(swap)) is None
    assert looks_keyed(history(("enqueue", [1, 2], [1, 2]), ("dequeue", ["x", None], ["x", None])))
    assert looks_keyed(history(("write", [1, 2], [1, 2]))) is False


@pytest.mark.parametrize("model", ["cas-register", "sessions"])
def test_where_nobody_reads_values_are_taken_both_ways(model):
    """Of [1, 2] and [3, 4], which are values or an old and a new one of key 1 and of key [1, 2], nobody is accused."""
    pairs = [("write", [1, 2], [1, 2]), ("cas", [[1, 2], [3, 4]], [[1, 2], [3, 4]])]
    undecided = check(history(*pairs), model=model)
    assert undecided.outcome == UNKNOWN
    if model == "cas-register":
        assert "nobody asked with [key, null]" in undecided.sentence
        assert check(history(*pairs), model=model, keyed=False).outcome == VALID
    assert check(history(*pairs), model=model, keyed=True).outcome == INVALID
    assert check(history(*pairs, ("read", None, [3, 4])), model=model).outcome == VALID
    keyed = [("write", ["x", 1], ["x", 1]), ("cas", ["x", [1, 2]], ["x", [1, 2]])]
    assert check(history(*keyed), model=model).outcome == UNKNOWN
    assert check(history(*keyed, ("read", ["x", None], ["x", 2])), model=model).outcome == VALID
    neither = ("cas", [["y", 5], [6, 7]], [["y", 5], [6, 7]])
    assert check(history(*pairs, neither), model=model).outcome == INVALID


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


@pytest.mark.parametrize(
    ("model", "change", "question"),
    [
        ("register", ("write", 1, 1), ("read", None, 1)),
        ("cas-register", ("write", 1, 1), ("cas", [1, 2], [1, 2])),
        ("kv", ("put", ["x", "a"], ["x", "a"]), ("get", ["x", None], ["x", "a"])),
        ("removable-set", ("add", 1, 1), ("read", None, [1])),
        ("counter", ("add", 1, 1), ("read", None, 1)),
        ("queue", ("enqueue", 1, 1), ("dequeue", None, 1)),
        ("unordered-queue", ("enqueue", 1, 1), ("drain", None, [1])),
        ("stack", ("push", 1, 1), ("pop", None, 1)),
        ("priority-queue", ("insert", 1, 1), ("delete-min", None, 1)),
    ],
)
def test_changes_that_nobody_looked_at_prove_nothing(model, change, question):
    """Whatever became of the changes, no answer could have shown it; one that came back may. Such a history can be
    explained, and the collections of other projects call it valid: so do we, and say how little that is."""
    idle = "nothing could have been seen to be wrong"
    verdict = check(history(change, change), model=model)
    assert verdict.outcome == VALID
    assert verdict.sentence.endswith(idle)
    f, asked, answer = question
    for end in ("ok", "fail", "info"):
        builder = HistoryBuilder()
        builder.invoke(0, change[0], change[1])
        builder.ok(0, change[2])
        builder.invoke(1, f, asked)
        builder.event(1, end, f, answer if end == "ok" else asked)
        verdict = check(builder.done(), model=model)
        if model == "counter" and end != "ok":
            assert verdict.outcome == UNKNOWN, "its checker says by itself that all reads have failed"
        else:
            assert (verdict.outcome, verdict.sentence.endswith(idle)) == (VALID, end != "ok"), end


@pytest.mark.parametrize("model", ["mutex", "owned-mutex", "fenced-lock", "semaphore", "multi-register"])
def test_operations_that_all_failed_prove_nothing(model):
    f, asked = ("txn", [["w", "x", 1]]) if model == "multi-register" else ("acquire", None)
    for end in ("fail", "info", "ok"):
        builder = HistoryBuilder()
        builder.invoke(0, f, asked)
        builder.event(0, end, f, asked)
        verdict = check(builder.done(), model=model)
        assert verdict.outcome == VALID
        assert verdict.sentence.endswith("nothing could have been seen to be wrong") == (end != "ok"), end


@pytest.mark.parametrize("answer", [1, "a", True, {"x": 1}])
def test_a_read_of_a_list_answers_a_list(tmp_path, answer):
    """By Python's objects, and by the columns that a file becomes: one value is not the list of that value."""
    events = [
        {"process": 0, "type": "invoke", "f": "txn", "value": [["append", "x", 1]]},
        {"process": 0, "type": "ok", "f": "txn", "value": [["append", "x", 1]]},
        {"process": 1, "type": "invoke", "f": "txn", "value": [["r", "x", None]]},
        {"process": 1, "type": "ok", "f": "txn", "value": [["r", "x", answer]]},
    ]
    verdict = check(events, model="list-append")
    assert verdict.outcome == UNKNOWN
    assert "is no answer to a read of a list; it is a list, or null" in verdict.sentence
    text = "\n".join(json.dumps(event) for event in events).encode()
    assert read_transactions(text, "json", of_registers=False) is None
    assert read_transactions(text.replace(b"append", b"w"), "json", of_registers=True) is not None


@pytest.mark.parametrize("f", ["txn", "read"])
def test_clients_with_names_are_refused_and_not_left_out(f):
    """An observer is never judged, so what it read would hide, and what it wrote would seem to come from nowhere."""
    model = "list-append" if f == "txn" else "register"
    asked, answer = ([["r", "x", None]], [["r", "x", [7]]]) if f == "txn" else (None, 7)
    events = [
        {"process": "p1", "type": "invoke", "f": f, "value": asked},
        {"process": "p1", "type": "ok", "f": f, "value": answer},
    ]
    with pytest.raises(QuestionError, match=r"event 0: 'p1' does what clients do .* clients have numbers"):
        check(events, model=model)
    text = "\n".join(json.dumps(event) for event in events).encode()
    assert read_transactions(text, "json", of_registers=False) is None
    nemesis = [{"process": "nemesis", "type": "info", "f": "kill", "value": None}]
    assert check(nemesis, model=model).outcome == UNKNOWN
