"""Every mark that the code emits is in the registry, and nothing else is; and a stormy run reaches many of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import reference_db
from reference_db.node import NodeOptions
from reference_db.raft import core
from reference_db.trace import GUARD_MARKS, MARKS, RAFT_MARKS, RecordingTrace
from tests.reference_db.test_stress import run_stress
from tests.reference_db.virtual_loop import run_virtually

FOLDER = Path(reference_db.__file__).parent


def emitted() -> dict[str, list[str]]:
    """By mark: where the database names it in a call of `mark`. A name that is no literal is an error."""
    found: dict[str, list[str]] = {}
    for path in sorted(FOLDER.rglob("*.py")):
        if path.name == "trace.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr != "mark" or not node.args:
                continue
            name = node.args[0]
            where = f"{path.relative_to(FOLDER)}:{node.lineno}"
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.setdefault(name.value, []).append(where)
            else:
                # The one place where the core's events are turned into marks.
                assert where.startswith("ranges/replica.py:"), where
                assert ast.unparse(name) == "mark", where
    return found


def test_what_is_emitted_and_what_is_registered_are_the_same() -> None:
    names = set(emitted()) | set(RAFT_MARKS.values())
    registered = MARKS.keys() | GUARD_MARKS.keys()
    assert sorted(names - registered) == []
    assert sorted(registered - names) == []
    assert not MARKS.keys() & GUARD_MARKS.keys()


def test_the_cores_events_that_are_marks_exist() -> None:
    documented = (core.__file__ and Path(core.__file__).read_text()) or ""
    sources = "".join(path.read_text() for path in sorted((FOLDER / "raft").glob("*.py")))
    for event in RAFT_MARKS:
        assert f'"{event}"' in sources, event
        assert event in documented, event


def test_each_mark_says_why_it_is_worth_counting() -> None:
    for name, why in {**MARKS, **GUARD_MARKS}.items():
        assert name[0].islower(), name
        assert len(name) < 70, name
        assert len(why) > 15, name


@pytest.mark.slow
def test_a_few_stormy_runs_reach_most_of_them() -> None:
    """What is never reached is tested by nothing here: this list may only become shorter."""
    reached: set[str] = set()
    for seed in (3, 8, 9, 2, 0, 1, 4, 5, 6, 7, 10, 11):  # Those first that reached most together.
        trace = RecordingTrace()
        options = NodeOptions(placement=seed % 3 == 2, gc_ttl_ms=300 if seed % 2 else 14_400_000)
        run_virtually(run_stress(seed, seconds=20.0, clients=9, trace=trace, reshapes=True, options=options))
        reached |= trace.marks.keys()
        assert reached <= MARKS.keys()
        if len(reached) >= 0.7 * len(MARKS):
            return
    pytest.fail(f"never reached: {sorted(MARKS.keys() - reached)}")
