"""Maps by versions, containers by intervals: the same verdicts as trying every order, on all kinds of tiny histories,
and as the search on longer ones."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import plain
import pytest
from objects import object_history

from checkers.checker import Limits
from checkers.linearizability import (
    LinearizabilityChecker,
    elements,
    elements_kernel,
    versions,
    versions_kernel,
)
from checkers.linearizability.columns import CallColumns
from checkers.linearizability.decide import ELEMENTS, HOLDS, SETS, VERSIONS, ObjectState, decide
from checkers.linearizability.models import SequentialModel, model_named
from checkers.linearizability.search import Search
from results import kernels
from results.history import History, HistoryBuilder
from results.verdict import INVALID, VALID

PLAYS: dict[str, tuple[Any, plain.Play]] = {
    "queue": ([], plain.play_queue),
    "unordered-queue": ([], plain.play_bag),
    "stack": ([], plain.play_stack),
    "priority-queue": ([], plain.play_priority_queue),
    "set": ([], plain.play_set),
    "counter": (0, plain.play_counter),
    "mixed-counter": (0, plain.play_counter),
    "kv": ("", plain.play_map),
    "owned-mutex": (None, plain.play_owned_mutex),
    "fenced-lock": ((None, -1), plain.play_fenced_lock),
    "semaphore": (3, plain.play_semaphore),
}
WAYS = {"kv": VERSIONS, "set": SETS, "fenced-lock": HOLDS, "semaphore": HOLDS} | dict.fromkeys(
    ("queue", "unordered-queue", "stack", "priority-queue"), ELEMENTS
)


def made(kind: str) -> SequentialModel:
    return model_named(kind.removeprefix("mixed-"), **({"permits": 3} if kind == "semaphore" else {}))


def decided(model: SequentialModel, history: History) -> ObjectState:
    (found,) = decide(CallColumns.of(history), model, Limits(time_s=600))
    return found


def judged(kind: str, seed: int) -> tuple[str, bool]:
    source = random.Random(f"{kind} {seed}")
    history = object_history(
        kind,
        source,
        operations=source.choice([3, 4, 5, 6, 7]),
        processes=source.choice([2, 3, 4]),
        crash=source.choice([0, 0, 0.15, 0.3]),
        lie=source.choice([0, 0.2, 0.5]),
        repeat=source.choice([0, 0, 0, 0.3]),
    )
    start, play = PLAYS[kind]
    expected = plain.is_linearizable(history, start, play)
    model = made(kind)
    found = decided(model, history)
    assert found.wrong == (not expected), f"{kind}, seed {seed}: by {found.way}"
    calls = CallColumns.of(history).that_matter_to(model).calls()
    searched = Search(calls, model).run(20_000)
    assert searched is None or searched.legal == expected, f"{kind}, seed {seed}: by the plain search"
    if found.wrong and seed % 5 == 0:
        verdict = LinearizabilityChecker(model, False).check(history, Limits(time_s=5))
        assert verdict.outcome == INVALID
        assert 1 <= len(verdict.anomalies[0].evidence["minimal_history"]) <= 7
        assert verdict.anomalies[0].sentence
    return found.way, found.wrong


@pytest.mark.parametrize("kind", sorted(PLAYS))
def test_tiny_histories_of_each_object(kind: str) -> None:
    outcomes = Counter(judged(kind, seed) for seed in range(200))
    way = WAYS.get(kind, "search")
    assert outcomes[way, True] >= 8, outcomes
    assert outcomes[way, False] >= 30, outcomes


@pytest.mark.parametrize("kind", sorted(WAYS))
def test_longer_histories_by_both_ways(kind: str) -> None:
    model = made(kind)
    outcomes: Counter[bool] = Counter()
    for seed in range(60):
        source = random.Random(f"longer {kind} {seed}")
        history = object_history(
            kind,
            source,
            operations=source.choice([15, 30]),
            processes=source.choice([2, 4, 5]),
            crash=source.choice([0, 0, 0.05]),
            lie=source.choice([0, 0.05]),
        )
        calls = CallColumns.of(history).that_matter_to(model).calls()
        searched = Search(calls, model).run(5_000)
        if searched is not None:
            assert decided(model, history).wrong == (not searched.legal), f"seed {seed}"
            outcomes[searched.legal] += 1
    assert outcomes[True] >= 8, outcomes
    assert outcomes[False] >= 4, outcomes


@pytest.mark.parametrize("kind", ["stack", "priority-queue"])
def test_the_kernel_of_elements_says_the_same_interpreted(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted = kernels.load_interpreted(elements_kernel)
    for name in ("first_bad_stack", "first_blocked"):
        monkeypatch.setattr(elements, name, getattr(interpreted, name))
    outcomes = Counter(judged(kind, seed) for seed in range(60))
    assert outcomes[ELEMENTS, True] >= 3, outcomes


@pytest.mark.parametrize("kind", ["queue", "unordered-queue", "stack", "priority-queue"])
def test_one_container_among_many_is_judged_as_it_would_be_alone(kind: str) -> None:
    """Its values and events are few of all that there are. Elements of every other priority queue have a priority
    beside them, which is answered by some."""
    model, builder, alone, outcomes = made(kind), HistoryBuilder(), [], Counter[tuple[str, bool]]()
    for key in range(80):
        source = random.Random(f"among many {kind} {key}")
        history = object_history(kind, source, operations=6, processes=3, crash=0.1, lie=0.2)
        alone.append(decided(model, history).wrong)
        for event in history.operations:
            value = None if event.value is None else event.value + 1000 * key
            if value is not None and kind == "priority-queue" and key % 2:
                named = f"element {value}"
                value = [value, named] if event.f == "insert" or key % 4 == 1 else named
            builder.event(10 * key + event.process, event.type, event.f, [key, value])
    found = decide(CallColumns.of(builder.done(), keyed=True), model, Limits(time_s=600))
    for key, item in enumerate(found):
        assert item.wrong == alone[key], f"key {key}"
        outcomes[item.way, item.wrong] += 1
    assert outcomes[ELEMENTS, True] >= 5, outcomes
    assert outcomes[ELEMENTS, False] >= 20, outcomes


def ok(builder: HistoryBuilder, process: int, f: str, asked: Any, answered: Any = None) -> None:
    builder.invoke(process, f, asked)
    builder.event(process, "ok", f, asked if answered is None else answered)


def test_a_crashed_dequeue_can_have_taken_one_element_but_not_two() -> None:
    def history(lost: int) -> History:
        builder = HistoryBuilder()
        builder.invoke(9, "dequeue")
        builder.info(9)
        for element in range(lost + 1):
            ok(builder, 0, "enqueue", element)
        ok(builder, 1, "dequeue", None, lost)
        return builder.done()

    queue = model_named("queue")
    assert not decided(queue, history(1)).wrong
    found = decided(queue, history(2))
    assert (found.way, found.wrong) == (ELEMENTS, True)


def test_a_crashed_dequeue_that_began_too_late_helps_nobody() -> None:
    builder = HistoryBuilder()
    ok(builder, 0, "enqueue", 1)
    ok(builder, 0, "enqueue", 2)
    ok(builder, 1, "dequeue", None, 2)
    builder.invoke(9, "dequeue")
    builder.info(9)
    assert decided(model_named("queue"), builder.done()).wrong


def test_the_evidence_of_a_long_stack_is_short() -> None:
    builder = HistoryBuilder()
    for element in range(300):
        ok(builder, 0, "push", element)
        if element % 2:
            ok(builder, 1, "pop", None, element)
    ok(builder, 1, "pop", None, 100)
    verdict = LinearizabilityChecker(model_named("stack"), False).check(builder.done(), Limits())
    assert verdict.outcome == INVALID
    rows = verdict.anomalies[0].evidence["minimal_history"]
    assert [row["f"] for row in rows] == ["push", "push", "pop"]
    assert rows[0]["value"] == rows[2]["value"] == 100


def of_map(rows: str) -> History:
    """One after the other; what has a question mark crashed, and what begins with a bracket ends where it closes."""
    builder = HistoryBuilder()
    running: dict[str, int] = {}
    for number, row in enumerate(rows.split(", ")):
        f, text = row.strip("(?)").split()
        process = running.pop(f"{f} {text}") if row[-1] == ")" else number
        if row[-1] != ")":
            builder.invoke(process, f, None if f == "get" else text)
        if row[0] == "(":
            running[f"{f} {text}"] = process
        else:
            builder.event(process, "info" if row[-1] == "?" else "ok", f, text)
    return builder.done()


class TestMaps:
    def history(self, *rows: tuple[str, str, str | None]) -> History:
        builder = HistoryBuilder()
        for number, (f, asked, answered) in enumerate(rows):
            ok(builder, number, f, ["k", asked or None], ["k", answered if f == "get" else asked])
        return builder.done()

    def judge(self, *rows: tuple[str, str, str | None]) -> Any:
        return LinearizabilityChecker(model_named("kv")).check(self.history(*rows), Limits())

    def test_appends_in_the_wrong_order(self) -> None:
        verdict = self.judge(("append", "a.", None), ("append", "b.", None), ("get", "", "b.a."))
        assert verdict.outcome == INVALID
        assert verdict.details["decided_by_versions"] == 1

    def test_a_read_that_misses_an_append(self) -> None:
        verdict = self.judge(("put", "a.", None), ("append", "b.", None), ("get", "", "a."))
        assert verdict.outcome == INVALID
        assert "process 2 got 'a.' of key 'k'" in verdict.sentence

    def test_texts_that_end_others_are_taken_apart_from_their_beginnings(self) -> None:
        rows = [("append", "1,", None), ("append", "11,", None), ("append", "1;", None)]
        right = self.judge(*rows, ("get", "", "1,11,1;"), ("put", "7,", None), ("get", "", "7,"))
        assert (right.outcome, right.details["decided_by_versions"]) == (VALID, 1)
        assert self.judge(*rows, ("get", "", "11,1,1;")).outcome == INVALID

    def test_a_text_that_nobody_can_have_put_together(self) -> None:
        for answer in ("a.a.", "a", "x", "a.b.c."):
            verdict = self.judge(("append", "a.", None), ("append", "b.", None), ("get", "", answer))
            assert verdict.outcome == INVALID, answer
            assert len(verdict.anomalies[0].evidence["minimal_history"]) <= 2

    def test_the_same_text_twice_is_for_the_search(self) -> None:
        rows = [("append", "a.", None), ("append", "a.", None), ("get", "", "a.a.")]
        verdict = self.judge(*rows)
        assert (verdict.outcome, verdict.details["decided_by_search"]) == (VALID, 1)
        assert self.judge(*rows[1:]).outcome == INVALID

    @pytest.mark.parametrize(("answer", "outcome"), [("a.a.", VALID), ("a.", INVALID)])
    def test_a_key_that_is_for_the_search_beside_one_that_is_not(self, answer: str, outcome: str) -> None:
        builder = HistoryBuilder()
        for key, text in (("x", "a."), ("y", "b."), ("x", "a.")):
            ok(builder, 0, "append", [key, text])
        for key, text in (("x", answer), ("y", "b.")):
            ok(builder, 1, "get", [key, None], [key, text])
        verdict = LinearizabilityChecker(model_named("kv")).check(builder.done(), Limits())
        assert verdict.outcome == outcome
        ways = ("decided_by_search", "decided_by_versions")
        assert [verdict.details[way] for way in ways] == [1, 1]

    @pytest.mark.parametrize(
        ("rows", "outcome"),
        [
            ("append a, append a, get aa", VALID),
            ("append a, append a, get a", INVALID),
            ("append a, append b, append b, get abb, append a, get abba", VALID),
            ("append a, append b, append b, get abb, append a, get abb", INVALID),
            # Nobody saw what was put first, nor what was made of it.
            ("put x, append a, put a, append b, get ab", VALID),
            ("put x, append a, append a, put a, get a", VALID),
            ("put x, append a, append a, get a", INVALID),
            ("put x, append a, append a, get aa", INVALID),
            ("append a, append b?, append b?, get ab", VALID),
            ("append a, append b?, append b?, get abb, get abb", VALID),
            ("append a, append b?, append b?, get abb, get ab", INVALID),
            ("append b, put x?, append a, append a, get baa", VALID),
            ("append b, put x?, append a, append a, get aa", INVALID),
        ],
    )
    def test_texts_that_come_twice(self, rows: str, outcome: str) -> None:
        verdict = LinearizabilityChecker(model_named("kv"), False).check(of_map(rows), Limits())
        assert verdict.outcome == outcome

    @pytest.mark.parametrize(
        ("rows", "outcome"),
        [
            ("append a, append b, append c, get abc, get abc", VALID),
            # Another text that begins alike, or is as long.
            ("append a, append b, (append c, (get abc, get ab, append c), get abc)", VALID),
            ("append a, append b, (append c, (get abc, get ac, append c), get abc)", INVALID),
            ("append a, append b, get ab, append c?, append d, get abd", VALID),
            ("append a, append b, get ab, append c?, append d, get acd", INVALID),
            # Texts that are cut off, go on, or come from elsewhere.
            ("append a., append b., get a.b., get a.b", INVALID),
            ("append a, append b, get ab, get abx", INVALID),
            ("append a, append b, get xab", INVALID),
            ("append a, put b, get ab", INVALID),
            ("append a, append b, get ab, put c, get cb", INVALID),
            ("append a, append b, get abb", INVALID),
            # Where one text begins another, and none ends another, they are taken apart from their ends.
            ("append 1, append 12, get 112", VALID),
            ("append 12, append 1, get 121", VALID),
            ("append 12, append 1, get 112", INVALID),
            ("append 1, get 1, append 12, get 112, append 13, get 11213", VALID),
            ("append 1, get 1, append 12, get 112, append 13, get 1312", INVALID),
            ("append 1, append 12, (append 13, (get 11213, get 112, append 13), get 11213)", VALID),
            ("append 1, append 12, (append 13, (get 11213, get 113, append 13), get 11213)", INVALID),
            ("append 1, append 12, (append 13, (get 11213, get 1, append 13), get 11213)", INVALID),
            ("append 1, append 12, get 112, append 13?, append 14, get 11214", VALID),
            ("append 1, append 12, get 112, append 13?, append 14, get 11314", INVALID),
            ("put 1, append 12, get 112, put 13, get 13", VALID),
            ("put 1, append 12, get 112, put 13, get 11213", INVALID),
            ("append 1, append 12, get 11", INVALID),
            ("append 1, append 12, get 2", INVALID),
            ("append 1, append 12, get x112", INVALID),
            ("append 1, append 12, get 1312, append 13", INVALID),
            ("append 1, append 123, append 12, get 112312", VALID),
            ("append 1, append 12, append 123, get 112312", INVALID),
            ("append 1, append 12, append 7, get 1127", VALID),
            ("append 3, append 312, append 42, get 331242", VALID),
        ],
    )
    def test_texts_that_come_once(self, rows: str, outcome: str) -> None:
        verdict = LinearizabilityChecker(model_named("kv"), False).check(of_map(rows), Limits())
        assert (verdict.outcome, verdict.details["decided_by_versions"]) == (outcome, 1)

    @pytest.mark.parametrize(("answer", "wrong"), [(2, False), (1, True), (12, True)])
    def test_numbers_are_no_texts(self, answer: int, wrong: bool) -> None:
        builder = HistoryBuilder()
        for f, number in (("put", 1), ("put", 2), ("get", None)):
            ok(builder, 0, f, number, answer if f == "get" else number)
        found = decided(model_named("kv"), builder.done())
        assert (found.way, found.wrong) == ("search", wrong)

    @pytest.mark.parametrize(("answer", "wrong"), [(["a", 1], False), ([1, "a"], True), ("a", True)])
    def test_lists_of_what_has_no_order(self, answer: Any, wrong: bool) -> None:
        """They are for the search, as nobody knows which begins another."""
        builder = HistoryBuilder()
        for f, text in (("append", ["a"]), ("append", [1]), ("get", None)):
            ok(builder, 0, f, text, answer if f == "get" else text)
        found = decided(model_named("kv"), builder.done())
        assert (found.way, found.wrong) == ("search", wrong)

    @pytest.mark.parametrize(("answer", "wrong"), [([1], True), ("a.a.", False)])
    def test_a_list_is_no_text(self, answer: Any, wrong: bool) -> None:
        builder = HistoryBuilder()
        for f, text in (("append", "a."), ("append", "a."), ("get", None)):
            ok(builder, 0, f, text, answer if f == "get" else text)
        assert decided(model_named("kv"), builder.done()).wrong == wrong

    def test_a_text_whose_put_failed(self) -> None:
        builder = HistoryBuilder()
        for f, text, type_ in (("append", "a.", "ok"), ("put", "b.", "fail"), ("explode", "c.", "fail")):
            builder.invoke(0, f, text)
            builder.event(0, type_, f, None if type_ == "fail" else text)
        ok(builder, 0, "get", None, "b.")
        verdict = LinearizabilityChecker(model_named("kv"), False).check(builder.done(), Limits())
        assert verdict.outcome == INVALID
        assert verdict.anomalies[0].type == "value of a failed write"

    def test_texts_do_not_make_a_map_of_what_is_none(self) -> None:
        rows = [("append", "a.", None), ("explode", "b.", None), ("get", "", "a.b.")]
        with pytest.raises(ValueError, match="has no function 'explode'"):
            self.judge(*rows)

    def test_both_forms_of_the_kernel_find_the_same_versions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = model_named("kv")
        interpreted: Any = kernels.load_interpreted(versions_kernel)
        for seed in range(40):
            source = random.Random(seed)
            history = object_history(
                "kv", source, operations=30, processes=4, crash=0.1, lie=source.choice([0, 0.3]), repeat=0.02
            )
            found = []
            for kernel in (versions_kernel, interpreted):
                monkeypatch.setattr(versions, "find_versions", kernel.find_versions)
                each = versions.versions_of(CallColumns.of(history).that_matter_to(model), model)
                texts = [
                    key and [key.text_of(n) for n in range(1 + max(key_seen(each)))] for key in each.keys
                ]
                found.append((each.footprints.observed.tolist(), each.footprints.written.tolist(), texts))
            assert found[0] == found[1], f"seed {seed}"


def key_seen(found: versions.Versions) -> list[int]:
    """The versions that a get saw, and the one of a key that nobody wrote."""
    return [0, *found.footprints.observed.tolist()]
