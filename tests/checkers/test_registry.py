"""Every one-page checker can be asked for by name, and says unknown of a history in which nothing happened."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.checker import Limits
from checkers.registry import Options, guess, make_checker
from results.verdict import UNKNOWN, VALID
from tests.support.stories import Story

REFUSED = "refused"
"""An operation that fails."""

SMALLEST: dict[str, list[tuple[str, Any, Any]]] = {
    "set": [("add", 1, 1), ("read", None, [1])],
    "set-full": [("add", 1, 1), ("read", None, [1])],
    "bank": [("read", None, {"a": 1})],
    "counter": [("add", 1, 1), ("read", None, 1)],
    "monotonic": [("inc", "x", ["x", 1]), ("read", "x", ["x", 1])],
    "total-queue": [("enqueue", 1, 1), ("dequeue", None, 1)],
    "fifo-queue": [("enqueue", 1, 1), ("dequeue", None, 1)],
    "unique-ids": [("generate", None, 1)],
    "long-fork": [("write", [["w", 1, 1]], None), ("read", [], [["r", 1, 1], ["r", 2, None]])],
    "causal-reverse": [("write", 1, 1), ("read", None, [1])],
    "write-skew": [
        ("insert", [1, 0, 1], None),
        ("insert", [2, 0, 2], None),
        ("insert", [2, 1, 3], REFUSED),
    ],
    "transact-write": [
        ("write", {"token": "t", "keys": ["a", "b"]}, None),
        ("read", ["a", "b"], {"a": ["t"], "b": ["t"]}),
    ],
    "log": [("send", ["k", "a"], ["k", [0, "a"]]), ("poll", None, {"k": [[0, "a"]]})],
    "watch": [
        ("put", ["k", 1], ["k", 1, 1]),
        ("watch", {"key": "k"}, {"events": [[{"revision": 1, "type": "put", "key": "k", "value": 1}]]}),
    ],
    "sessions": [("write", ["x", 1], None), ("read", ["x", None], ["x", 1])],
    "staleness": [("write", ["x", 1], None), ("read", ["x", None], ["x", 1])],
}


@pytest.mark.parametrize("name", list(SMALLEST))
def test_by_name(name: str) -> None:
    story = Story()
    for f, asked, answer in SMALLEST[name]:
        if answer is REFUSED:
            story.failed(0, f, asked)
        else:
            story.did(0, f, asked, answer)
    history = story.done()
    verdict = make_checker(name, Options(), history).check(history, Limits())
    assert verdict.outcome == VALID, verdict.sentence
    nothing = Story().done()
    assert make_checker(name, Options(), nothing).check(nothing, Limits()).outcome == UNKNOWN


@pytest.mark.parametrize(
    "name", ["monotonic", "unique-ids", "log", "watch", "counter", "bank", "transact-write"]
)
def test_their_functions_tell_them(name: str) -> None:
    story = Story()
    for f, asked, answer in SMALLEST[name]:
        if answer is not REFUSED:
            story.did(0, f, asked, answer)
    assert guess(story.done()) == [name]
