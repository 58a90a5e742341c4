"""Every model by its name: what it allows beside what it doesn't, and evidence that is no longer than it must be."""

from __future__ import annotations

from typing import Any, Final

import pytest

from checkers.checker import Limits
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.calls import Call, calls_of, freeze
from checkers.linearizability.models import MODELS, GivenModel, SequentialModel, model_named, no_function
from checkers.linearizability.models.given import FAILED
from checkers.linearizability.models.given import UNKNOWN as UNANSWERED
from results.history import History, HistoryBuilder
from results.verdict import INVALID, UNKNOWN, VALID, Verdict

Row = tuple[Any, ...]


def sequence(*rows: Row) -> History:
    """Operations one after the other: `(f, asked, answered)` by a process of its own each, or with a fourth part that
    names the process; `answered` may be "info" or "fail", and a fifth part "open" leaves it running to the end."""
    builder = HistoryBuilder()
    open_: list[tuple[int, str, Any]] = []
    for number, (f, asked, answered, *more) in enumerate(rows):
        process = more[0] if more and more[0] is not None else 100 + number
        builder.invoke(process, f, asked)
        if more[1:] == ["open"]:
            open_.append((process, f, answered))
        elif answered in ("info", "fail"):
            builder.event(process, answered, f, None)
        else:
            builder.event(process, "ok", f, answered)
    for process, f, answered in open_:
        builder.event(process, "ok", f, answered)
    return builder.done()


def judge(model: SequentialModel, history: History, **more: Any) -> Verdict:
    return LinearizabilityChecker(model, model.splits_by_key, **more).check(history, Limits())


OPEN = (None, "open")
CASES: dict[str, tuple[list[Row], list[Row]]] = {
    "register": (
        [("write", 1, None), ("read", None, 1)],
        [("write", 1, None), ("read", None, None)],
    ),
    "cas-register": (
        [("write", 1, None), ("cas", [1, 2], None), ("cas", [1, 3], "fail"), ("read", None, 2)],
        [("write", 1, None), ("cas", [1, 2], None), ("cas", [1, 3], None)],
    ),
    "multi-register": (
        [
            ("txn", [["w", "x", 1], ["write", "y", 2]], [["w", "x", 1], ["write", "y", 2]]),
            (
                "txn",
                [["r", "x", None], ["w", "x", 3], ["r", "x", None]],
                [["r", "x", 1], ["w", "x", 3], ["r", "x", 3]],
            ),
            ("txn", [["r", "z", None]], [["r", "z", None]]),
        ],
        [
            ("txn", [["w", "x", 1], ["w", "y", 2]], None),
            ("txn", [["r", "x", None], ["r", "y", None]], [["r", "x", 1], ["r", "y", None]]),
        ],
    ),
    "kv": (
        [
            ("get", ["k", None], ["k", None]),
            ("append", ["k", "a"], ["k", "a"]),
            ("put", ["k", "b"], ["k", "b"]),
            ("append", ["k", "c"], "info"),
            ("get", ["k", None], ["k", "bc"]),
            ("get", ["other", None], ["other", ""]),
        ],
        [
            ("put", ["k", "b"], ["k", "b"]),
            ("append", ["k", "c"], ["k", "c"]),
            ("get", ["k", None], ["k", "b"]),
        ],
    ),
    "set": (
        [("add", 1, None), ("add", 2, "info"), ("read", None, [2, 1]), ("read", None, [1, 2])],
        [("add", 1, None), ("add", 2, "info"), ("read", None, [2, 1]), ("read", None, [1])],
    ),
    "counter": (
        [("add", 2, None), ("add", -1, "info"), ("read", None, 2), ("read", None, 1)],
        [("add", 2, None), ("add", -1, "info"), ("read", None, 1), ("read", None, 2)],
    ),
    "queue": (
        [
            ("enqueue", 1, None),
            ("enqueue", 2, None),
            ("dequeue", None, 1),
            ("drain", None, [2]),
            ("dequeue", None, None),
        ],
        [("enqueue", 1, None), ("enqueue", 2, None), ("dequeue", None, 2)],
    ),
    "unordered-queue": (
        [
            ("enqueue", 1, None),
            ("enqueue", 2, None),
            ("dequeue", None, 2),
            ("enqueue", 3, None),
            ("drain", None, [3, 1]),
            ("drain", None, []),
        ],
        [("enqueue", 1, None), ("dequeue", None, 1), ("dequeue", None, 1)],
    ),
    "stack": (
        [("push", 1, None), ("push", 2, None), ("pop", None, 2), ("pop", None, 1), ("pop", None, None)],
        [("push", 1, None), ("push", 2, None), ("pop", None, 1)],
    ),
    "priority-queue": (
        [
            ("insert", 1, None),
            ("insert", [3, "c"], None),
            ("delete-max", None, "c"),
            ("insert", 2, None),
            ("delete-max", None, 2),
            ("insert", 0, None),
            ("delete-min", None, 0),
        ],
        [("insert", 1, None), ("insert", 3, None), ("delete-max", None, 1)],
    ),
    "mutex": (
        [("acquire", None, None, 1), ("release", None, None, 2), ("acquire", None, None, 3)],
        [("acquire", None, None, 1), ("acquire", None, None, 2)],
    ),
    "owned-mutex": (
        [("acquire", None, None, 1), ("release", None, None, 1), ("acquire", None, None, 3)],
        [("acquire", None, None, 1), ("release", None, None, 2)],
    ),
    "fenced-lock": (
        [
            ("acquire", None, 7, 1),
            ("release", 7, 7, 1),
            ("acquire", None, 9, 2),
            ("release", None, None, 2),
            ("acquire", None, 10, 1),
        ],
        [("acquire", None, 7, 1), ("release", 7, 7, 1), ("acquire", None, 7, 2)],
    ),
    "semaphore": (
        [("acquire", 2, 2), ("acquire", 1, 1), ("release", 2, 2), ("acquire", 1, "info"), ("acquire", 2, 2)],
        [("acquire", 2, 2), ("acquire", 1, 1), ("release", 1, 1), ("acquire", 2, 2)],
    ),
}
CASES["removable-set"] = (
    [("add", 1, None), ("add", 2, None), ("remove", 1, None), ("remove", 3, None), ("read", None, [2])],
    [("add", 1, None), ("add", 2, None), ("remove", 1, None), ("read", None, [1, 2])],
)
CASES["set-full"] = CASES["set"]
ARGUMENTS = {"semaphore": {"permits": 3}}


def made(name: str) -> SequentialModel:
    return model_named(name, **ARGUMENTS.get(name, {}))


def test_each_model_has_a_case() -> None:
    assert set(CASES) == set(MODELS)
    with pytest.raises(ValueError, match="no model 'kvs'; models are register, cas-register"):
        model_named("kvs")


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_is_right(name: str) -> None:
    verdict = judge(made(name), sequence(*CASES[name][0]))
    assert verdict.outcome == VALID, verdict.sentence


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_is_wrong(name: str) -> None:
    verdict = judge(made(name), sequence(*CASES[name][1]))
    assert verdict.outcome == INVALID
    assert verdict.anomalies[0].sentence


def held(*rows: tuple[int, str, Any]) -> list[Row]:
    """What processes do with a lock: the token is what an acquire answers, and what a release names."""
    return [
        (f, None if f == "acquire" else token, token if f == "acquire" else None, process)
        for process, f, token in rows
    ]


FIRST: Final = [(1, "acquire", 7), (1, "release", None)]
SOME: Final = [(2, "acquire", None), (2, "release", None)]
LOCKED: list[tuple[str, list[Row], str]] = [
    ("mutex", held((1, "release", None)), INVALID),
    ("mutex", held((1, "acquire", None), (1, "release", None), (2, "release", None)), INVALID),
    ("owned-mutex", held((1, "release", None)), INVALID),
    ("owned-mutex", held((1, "acquire", None), (2, "acquire", None)), INVALID),
    ("fenced-lock", held((1, "acquire", None), (2, "acquire", None)), INVALID),
    ("fenced-lock", held((1, "release", None)), INVALID),
    ("fenced-lock", held((1, "acquire", 7), (2, "release", 7)), INVALID),
    ("fenced-lock", held((1, "acquire", 7), (1, "release", 6)), INVALID),
    ("fenced-lock", held((1, "acquire", 7), (2, "acquire", 8)), INVALID),
    ("fenced-lock", held(*SOME, (3, "acquire", 1)), VALID),
    ("fenced-lock", held(*FIRST, (2, "acquire", None), (2, "release", 8), (3, "acquire", 9)), VALID),
    ("fenced-lock", held(*FIRST, (2, "acquire", None), (2, "release", 7)), INVALID),
    ("fenced-lock", held(*FIRST, (2, "acquire", None), (2, "release", 8), (3, "acquire", 8)), INVALID),
    ("fenced-lock", held(*FIRST, *SOME, (3, "acquire", 9)), VALID),
    ("fenced-lock", held(*FIRST, *SOME, (3, "acquire", 8)), INVALID),
    ("fenced-lock", held(*FIRST, *SOME, (3, "acquire", 9), (3, "release", 8)), INVALID),
    ("fenced-lock", held(*FIRST, *SOME, (3, "acquire", 9), (3, "release", 9)), VALID),
    ("fenced-lock", held(*FIRST, *SOME, *SOME, (3, "acquire", 9)), INVALID),
    ("fenced-lock", held((1, "acquire", 8), (1, "release", 8), (2, "acquire", 9)), VALID),
    ("fenced-lock", held((1, "acquire", 8), (1, "release", 8), (2, "acquire", 7)), INVALID),
    (
        "fenced-lock",
        held((1, "acquire", 7), (2, "acquire", 8), (1, "release", 7), (2, "release", 8)),
        INVALID,
    ),
    ("fenced-lock", [("acquire", None, 7, 1), ("release", 6, "info", 1)], VALID),
    ("fenced-lock", [("acquire", None, 7, 1), ("release", 6, "info", 1), ("acquire", None, 8, 2)], INVALID),
    ("fenced-lock", [("acquire", None, 7, 1), ("release", 7, "info", 1), ("acquire", None, 8, 2)], VALID),
    ("fenced-lock", held((1, "acquire", "seven")), UNKNOWN),
    ("fenced-lock", held((1, "acquire", 7), (1, "release", "seven")), UNKNOWN),
    ("fenced-lock", held((1, "acquire", 9), (2, "acquire", 7), (2, "release", 7)), INVALID),
    ("fenced-lock", [("acquire", None, 9, 1, "open"), *held((2, "acquire", 7), (2, "release", 7))], VALID),
    ("fenced-lock", held((1, "acquire", 7), (1, "acquire", 8)), INVALID),
    ("semaphore", [("release", 1, 1)], INVALID),
    ("semaphore", [("acquire", 2, 2), ("release", 1, 1), ("acquire", 2, 2)], VALID),
    ("semaphore", [("acquire", 2, 2), ("release", 1, 1), ("acquire", 3, 3)], INVALID),
    ("semaphore", [("acquire", 2, 2), ("release", 1, 1), ("release", 2, 2)], INVALID),
    ("semaphore", [("acquire", None, None)] * 3, VALID),
    ("semaphore", [("acquire", None, None)] * 4, INVALID),
    ("semaphore", [("acquire", 0, 0)], UNKNOWN),
    ("semaphore", [("release", "one", "one")], UNKNOWN),
]


@pytest.mark.parametrize(("name", "rows", "outcome"), LOCKED)
def test_each_rule_of_a_lock(name: str, rows: list[Row], outcome: str) -> None:
    assert judge(made(name), sequence(*rows)).outcome == outcome


def filled(put: str, *elements: Any) -> list[Row]:
    return [(put, element, None) for element in elements]


TWO: Final = filled("enqueue", 1, 2)
PUSHED: Final = filled("push", 1, 2)
INSERTED: Final = filled("insert", 1, 3)
PAIRS: Final = filled("insert", [1, "a"], [3, "c"], [3, "d"])
CONTAINED: list[tuple[str, list[Row], str]] = [
    ("set", [("read", None, None)], VALID),
    ("set", [*filled("add", 1, 2), ("read", None, [1, 1])], INVALID),
    ("set", [*filled("add", 1, 1, 2), ("read", None, [1, 1])], INVALID),
    ("set", [*filled("add", 1), ("read", None, [1, 1])], INVALID),
    ("set", [*filled("add", 1), ("read", None, [1, 9])], INVALID),
    ("set", [("add", 1, "info"), ("add", 2, "info"), ("read", None, [1]), ("read", None, [2])], INVALID),
    ("set", [("add", 1, "info"), ("add", 2, "info"), ("read", None, [1]), ("read", None, [1, 2])], VALID),
    ("set", [*filled("add", 1, 1, 2), ("read", None, [1, 2])], VALID),
    ("removable-set", [*filled("add", 1, 2), ("read", None, [1, 1])], INVALID),
    ("removable-set", [*filled("add", 1, 2), ("remove", 1, "info"), ("read", None, [2])], VALID),
    ("removable-set", [*filled("add", 1, 1), ("read", None, [1])], VALID),
    ("queue", [*TWO, ("dequeue", None, None)], INVALID),
    ("queue", [*TWO, ("dequeue", None, 3)], INVALID),
    ("queue", [*TWO, ("dequeue", None, "info"), ("dequeue", None, 2)], VALID),
    ("queue", [*TWO, ("dequeue", None, "info"), ("dequeue", None, 2), ("dequeue", None, 1)], INVALID),
    ("queue", [("dequeue", None, "info"), ("dequeue", None, None)], VALID),
    ("queue", [*TWO, ("drain", None, [1, 2]), ("drain", None, None)], VALID),
    ("queue", [*TWO, ("drain", None, [2, 1])], INVALID),
    ("queue", [*TWO, ("drain", None, [1])], INVALID),
    ("queue", [*TWO, ("drain", None, "info"), ("dequeue", None, None)], VALID),
    ("queue", [*TWO, ("drain", None, "all")], UNKNOWN),
    ("unordered-queue", [*TWO, ("dequeue", None, None)], INVALID),
    ("unordered-queue", [*TWO, ("drain", None, [2, 1])], VALID),
    ("unordered-queue", [*TWO, ("drain", None, [2])], INVALID),
    ("unordered-queue", [*TWO, ("dequeue", None, "info"), ("drain", None, [1])], VALID),
    ("unordered-queue", [*TWO, ("dequeue", None, "info"), ("drain", None, [])], INVALID),
    ("unordered-queue", [*filled("enqueue", 1, 2, 3), ("dequeue", None, 2), ("drain", None, [1, 3])], VALID),
    ("stack", [*PUSHED, ("pop", None, None)], INVALID),
    ("stack", [*PUSHED, ("pop", None, 3)], INVALID),
    ("stack", [*PUSHED, ("pop", None, "info"), ("pop", None, 1)], VALID),
    ("stack", [*PUSHED, ("pop", None, "info"), ("pop", None, 1), ("pop", None, 2)], INVALID),
    ("stack", [("pop", None, "info"), ("pop", None, None)], VALID),
    ("priority-queue", [*INSERTED, ("delete-max", None, None)], INVALID),
    ("priority-queue", [*INSERTED, ("delete-max", None, 2)], INVALID),
    ("priority-queue", [*INSERTED, ("delete-min", None, 3)], INVALID),
    ("priority-queue", [*INSERTED, ("delete-max", None, "info"), ("delete-max", None, 1)], VALID),
    ("priority-queue", [*INSERTED, ("delete-min", None, "info"), ("delete-min", None, 3)], VALID),
    (
        "priority-queue",
        [*INSERTED, ("delete-max", None, "info"), ("delete-max", None, 1), ("delete-max", None, 3)],
        INVALID,
    ),
    ("priority-queue", [*INSERTED, ("delete-max", None, "info"), ("delete-min", None, 3)], INVALID),
    ("priority-queue", [*INSERTED, ("delete-max", None, "info"), ("delete-min", None, 1)], VALID),
    ("priority-queue", [*INSERTED, ("delete-min", None, "info"), ("delete-max", None, 1)], INVALID),
    ("priority-queue", [("delete-max", None, "info"), ("delete-max", None, None)], VALID),
    ("priority-queue", [*PAIRS, ("delete-max", None, "d"), ("delete-max", None, [3, "c"])], VALID),
    ("priority-queue", [*PAIRS, ("delete-max", None, "a")], INVALID),
    ("priority-queue", [*PAIRS, ("delete-max", None, [3, "e"])], INVALID),
    ("priority-queue", [*PAIRS, ("delete-max", None, [9, "d"])], INVALID),
    ("priority-queue", [*PAIRS, *([("delete-max", None, "c")] * 2)], INVALID),
]


@pytest.mark.parametrize(("name", "rows", "outcome"), CONTAINED)
def test_each_rule_of_a_container(name: str, rows: list[Row], outcome: str) -> None:
    verdict = judge(made(name), sequence(*rows))
    assert verdict.outcome == outcome, verdict.sentence


def of_k(*rows: tuple[str, Any]) -> list[Row]:
    """What is done to one key of a map: a get has its answer."""
    return [(f, ["k", None if f == "get" else value], ["k", value]) for f, value in rows]


def txn(*rows: tuple[str, str, int], f: str = "txn", answered: Any = "same") -> Row:
    """A transaction of several registers, with what its reads answer."""
    asked = [[kind, key, value if kind[0] == "w" else None] for kind, key, value in rows]
    return f, asked, [list(row) for row in rows] if answered == "same" else answered


MAPPED: list[tuple[str, list[Row], str]] = [
    ("kv", of_k(("append", [1]), ("append", [1]), ("get", [1, 1])), VALID),
    ("kv", of_k(("append", [1]), ("append", [1]), ("get", [1])), INVALID),
    ("kv", of_k(("append", [1]), ("append", []), ("get", [1])), VALID),
    ("kv", of_k(("append", [1]), ("append", []), ("get", None)), INVALID),
    ("kv", of_k(("append", []), ("get", None), ("append", "a"), ("get", "a")), VALID),
    ("multi-register", [txn(("write", "x", 1)), txn(("read", "x", 1))], VALID),
    ("multi-register", [txn(("write", "x", 1)), txn(("read", "x", 2))], INVALID),
    ("multi-register", [txn(("w", "x", 1), f="write"), txn(("r", "x", 1), f="read")], VALID),
    ("multi-register", [txn(("w", "x", 1), f="t"), txn(("r", "x", 2), f="t")], INVALID),
    ("multi-register", [txn(("w", "x", 1), answered="info"), txn(("r", "x", 1))], VALID),
    ("multi-register", [txn(("w", "x", 1), answered="info"), txn(("r", "x", 2))], INVALID),
    ("multi-register", [txn(("w", "x", 1), ("r", "y", 7), answered="info"), txn(("r", "x", 1))], VALID),
    *[
        ("multi-register", [("txn", [["w", "x", 1], ["r", "y", None]], answer)], UNKNOWN)
        for answer in (
            [],
            [["r", "y", None]],
            [["w", "x", 2], ["r", "y", None]],
            [["r", "x", None], ["r", "y", None]],
            [["w", "x", 1], ["r", "z", None]],
        )
    ],
    *[("multi-register", [(f, 7, 7)], UNKNOWN) for f in ("txn", "t", "read", "write")],
]


@pytest.mark.parametrize(("name", "rows", "outcome"), MAPPED)
def test_each_rule_of_a_map(name: str, rows: list[Row], outcome: str) -> None:
    verdict = judge(made(name), sequence(*rows))
    assert verdict.outcome == outcome, verdict.sentence


def test_a_semaphore_has_one_permit_unless_said() -> None:
    taken: list[Row] = [("acquire", None, None)]
    for model in (model_named("semaphore"), model_named("semaphore", permits=1)):
        assert judge(model, sequence(*taken, ("release", None, None), *taken)).outcome == VALID
        assert judge(model, sequence(*taken, *taken)).outcome == INVALID


@pytest.mark.parametrize("permits", [0, -1, 1.5, True, None])
def test_a_semaphore_has_permits(permits: Any) -> None:
    with pytest.raises(ValueError, match="at least one, not"):
        model_named("semaphore", permits=permits)


@pytest.mark.parametrize("name", ["register", "kv", "queue", "stack", "priority-queue"])
def test_calls_that_overlap_may_come_in_any_order(name: str) -> None:
    """The wrong case with all its operations at once is right."""
    rows = [(f, asked, answered, None, "open") for f, asked, answered in CASES[name][1]]
    assert judge(made(name), sequence(*rows)).outcome == VALID


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_function_that_the_model_does_not_have_is_told(name: str) -> None:
    """Alone, or behind others that the model has."""
    model = made(name)
    value = ["k", 1] if model.splits_by_key else 1
    for before in ([], CASES[name][0]):
        with pytest.raises(ValueError, match=rf"event {2 * len(before)}: a .* has no function 'explode'"):
            judge(model, sequence(*before, ("explode", value, value)))


@pytest.mark.parametrize("name", ["fenced-lock", "semaphore"])
def test_who_holds_a_lock_releases_it_by_no_other_name(name: str) -> None:
    with pytest.raises(ValueError, match="has no function 'explode'"):
        judge(made(name), sequence(("acquire", None, 1, 1), ("explode", None, None, 1)))


def test_a_lock_held_twice_is_explained_though_it_is_released_later() -> None:
    """The release that the second acquire needs came only after it."""
    rows: list[Row] = [("acquire", None, None, 1), ("acquire", None, None, 2), ("release", None, None, 1)]
    verdict = judge(made("mutex"), sequence(*rows))
    assert verdict.outcome == INVALID
    assert (
        "process 1 acquired the lock (0.000–0.001 s), process 2 acquired the lock (0.002–"
        in verdict.sentence.lower()
    )
    assert "as one holds the lock at a time" in verdict.sentence


def test_the_evidence_of_a_queue_leaves_out_what_is_not_needed() -> None:
    rows: list[Row] = []
    for element in range(40):
        rows += [("enqueue", element, None), ("dequeue", None, element)]
    rows += [("enqueue", "a", None), ("enqueue", "b", None), ("dequeue", None, "b")]
    verdict = judge(made("queue"), sequence(*rows))
    assert [row["value"] for row in verdict.anomalies[0].evidence["minimal_history"]] == ["a", "b", "b"]


def test_the_evidence_of_a_set_leaves_out_elements() -> None:
    rows: list[Row] = [("add", element, None) for element in range(40)]
    rows += [("read", None, [element for element in range(40) if element != 17])]
    verdict = judge(made("set"), sequence(*rows))
    rows_left = verdict.anomalies[0].evidence["minimal_history"]
    assert [row["f"] for row in rows_left] == ["add", "read"]
    assert rows_left[0]["value"] == 17


def account(balance: int, f: str, argument: Any, answer: Any) -> list[int]:
    if f == "deposit":
        return [balance + argument]
    if f == "withdraw":
        if answer is FAILED:
            return [balance] if balance < argument else []
        return [balance - argument] if balance >= argument else []
    return [balance] if answer in (UNANSWERED, balance) else []


ACCOUNT = GivenModel("account", 0, account, reads=frozenset({"balance"}), failures=frozenset({"withdraw"}))


def test_a_model_made_of_functions() -> None:
    right = sequence(
        ("deposit", 5, None), ("withdraw", 3, None), ("withdraw", 3, "fail"), ("balance", None, 2)
    )
    assert judge(ACCOUNT, right).outcome == VALID
    wrong = judge(ACCOUNT, sequence(("deposit", 5, None), ("withdraw", 3, "fail")))
    assert wrong.outcome == INVALID
    assert "did deposit 5" in wrong.sentence


@pytest.mark.parametrize(("balance", "outcome"), [(-2, VALID), (-1, INVALID), (0, INVALID)])
def test_states_that_python_hashes_alike_are_different(balance: int, outcome: str) -> None:
    assert hash(-1) == hash(-2)
    rows: list[Row] = [("deposit", -1, None), ("deposit", -1, None), ("balance", None, balance)]
    assert judge(ACCOUNT, sequence(*rows)).outcome == outcome


@pytest.mark.parametrize(("old", "outcome"), [(7, VALID), (5, VALID), (0, INVALID)])
def test_a_crashed_call_of_a_given_model_may_have_been_answered_anything(old: int, outcome: str) -> None:
    def swap(value: int, f: str, argument: Any, answer: Any) -> list[int]:
        return [argument] if answer in (UNANSWERED, value) else []

    rows: list[Row] = [("swap", 5, 0), ("swap", 7, "info"), ("swap", 9, old)]
    assert judge(GivenModel("swapped", 0, swap), sequence(*rows)).outcome == outcome


def test_a_model_that_may_choose_and_whose_states_have_no_hash() -> None:
    def coin(state: list[str], f: str, argument: Any, answer: Any) -> list[list[str]]:
        if f == "toss":
            return [["heads"], ["tails"]]
        return [state] if answer == state[0] else []

    model = GivenModel("coin", ["heads"], coin, words=lambda f, argument, answer: f"saw {answer}")
    right = [("look", None, "heads"), ("toss", None, None), ("look", None, "tails"), ("look", None, "tails")]
    assert judge(model, sequence(*right)).outcome == VALID
    assert judge(model, sequence(*right, ("look", None, "heads"))).outcome == INVALID


def test_a_model_of_ones_own() -> None:
    class Toggle(SequentialModel):
        name = "toggle"

        def initial_state(self) -> bool:
            return False

        def step(self, state: Any, call: Call) -> tuple[Any, ...]:
            if call.f == "flip":
                return (not state,)
            if call.f == "look":
                return (state,) if call.result == freeze(state) else ()
            raise no_function(self, call)

    assert judge(Toggle(), sequence(("flip", None, None), ("look", None, True))).outcome == VALID
    assert judge(Toggle(), sequence(("flip", None, None), ("look", None, False))).outcome == INVALID


@pytest.mark.parametrize(
    ("done", "states"),
    [
        ([("add", 2), ("add", -3), ("read", 5)], range(3, 9)),
        ([("add", 2), ("add", -3), ("read", 5), ("read", 9)], range(3, 13)),
        ([("read", -7)], [-7]),
        ([("add", 7)], [0]),
        ([("add", 7), ("read", None)], [0]),
        ([("read", -4095), ("read", 0)], range(-4095, 1)),
        ([("read", -4096), ("read", 0)], None),
        ([("read", 0), ("read", 4096)], None),
        ([("read", 1.5)], None),
        ([("add", 1.5), ("read", 1)], None),
    ],
)
def test_where_a_counter_may_be_in_mid_history(done: list[tuple[str, Any]], states: Any) -> None:
    """Wherever some read could be reached from, whatever was added or taken away until then."""
    rows = [(f, number, number if number is not None else "info") for f, number in done]
    calls = calls_of(sequence(*rows).pairs(), reads=frozenset())
    assert made("counter").possible_states(calls) == (None if states is None else [*states])


def test_frozen_values_equal_only_themselves() -> None:
    values = [
        True,
        1,
        ["true"],
        "true",
        {"a": 1},
        ["mapping", ["a", 1]],
        [1],
        None,
        [],
        float("nan"),
        ["not a number"],
    ]
    frozen = [freeze(value) for value in values]
    assert len(set(frozen)) == len(values)
    assert freeze(float("nan")) == freeze(float("nan"))
    assert freeze({"b": [1], "a": True}) == freeze({"a": True, "b": [1]})
    assert freeze({1: 2}) == freeze({1.0: 2}) != freeze({"1": 2})


@pytest.mark.parametrize(
    ("name", "failed", "shown", "did"),
    [
        ("queue", ("enqueue", 1, "fail"), ("dequeue", None, 1), "dequeued 1"),
        ("stack", ("push", 1, "fail"), ("pop", None, 1), "popped 1"),
        ("priority-queue", ("insert", 1, "fail"), ("delete-min", None, 1), "1"),
        ("removable-set", ("add", 1, "fail"), ("read", None, [1]), "read [1]"),
        (
            "multi-register",
            ("txn", [["w", "x", 1]], "fail"),
            ("txn", [["r", "x", None]], [["r", "x", 1]]),
            "read 1 from 'x'",
        ),
        ("owned-mutex", ("acquire", None, "fail", 1), ("release", None, None, 1), "released the lock"),
    ],
)
def test_the_failed_call_is_named_that_alone_would_explain_what_was_seen(
    name: str, failed: Row, shown: Row, did: str
) -> None:
    verdict = judge(made(name), sequence(failed, shown))
    assert [anomaly.type for anomaly in verdict.anomalies] == ["effect of a failed call"]
    assert verdict.anomalies[0].operations == [0, 1, 2, 3]
    assert f"{did} (0.002–0.003 s), which only process" in verdict.sentence
    assert f"'s {failed[0]} (0.000–0.001 s) would explain, and that had failed" in verdict.sentence
    answered = failed[1] if name == "multi-register" else None
    assert judge(made(name), sequence((*failed[:2], answered, *failed[3:]), shown)).outcome == VALID
    later = judge(made(name), sequence(shown, failed))
    assert later.outcome == INVALID
    assert "failed" not in later.sentence, "it began when all was over"
