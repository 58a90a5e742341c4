"""What a test reaches decides which mutants it is tried on: a place belongs to its statement and its function."""

import ast
import subprocess
import sys

import pytest

from tests.mutation.mutants import places
from tests.mutation.pages import PAGES
from tests.mutation.reached import (
    NOTES,
    function_at,
    inner_functions_at,
    statement_at,
    statements,
    with_notes,
)
from tests.mutation.stage import ROOT

PAGE = '''"""A page with limits."""

from __future__ import annotations

LIMIT = 10


class Range:
    """Of values."""

    least = 1

    def within(self, value: int, most: int = 9) -> bool:
        """Whether it is."""
        if value < self.least:
            return 0 > 1
        elif value == 7:
            return 2 == 2

        def below() -> bool:
            return value <= most

        return below()
'''


def reached(*values: int) -> list[str]:
    """The statements that are reached by import and then by these calls."""
    notes = bytearray(100)
    space = {NOTES: notes, "__name__": "page"}
    exec(with_notes(PAGE), space)
    imported = bytes(notes)
    for value in values:
        space["Range"]().within(value)
    tree = ast.parse(PAGE)
    lines = PAGE.splitlines()
    return [
        lines[_node(tree, path).lineno - 1].strip()
        for path, number in statements(tree).items()
        if notes[number] and not imported[number]
    ]


def _node(tree, path):
    for field, place in path:
        value = getattr(tree, field)
        tree = value if place is None else value[place]
    return tree


def test_what_is_reached():
    assert reached() == []
    assert reached(0) == ["if value < self.least:", "return 0 > 1"]
    assert reached(7) == ["if value < self.least:", "elif value == 7:", "return 2 == 2"]
    assert reached(8)[-3:] == ["def below() -> bool:", "return value <= most", "return below()"]


def test_a_place_in_an_inner_function_is_known_by_the_statement_that_makes_it():
    """Where the import reaches it, as for a table of what a function makes, to change the outer one is too late."""
    tree = ast.parse(PAGE)
    numbers = statements(tree)
    lines = {number: _node(tree, path).lineno for path, number in numbers.items()}
    made = {
        place.name: [lines[number] for number in inner_functions_at(tree, place.path, numbers)]
        for place in places(PAGE)
    }
    inner = "Range.within.below | return value <= most | value <= most -> value < most"
    assert {name for name, by in made.items() if by} == {inner}
    assert made[inner] == [20]


def test_a_place_belongs_to_its_statement_and_to_the_outermost_function():
    tree = ast.parse(PAGE)
    numbers = statements(tree)
    found = {
        place.name: (statement_at(place.path, numbers), function_at(tree, place.path))
        for place in places(PAGE)
    }
    within = ("Range.within", 0)
    by_number = {number: _node(tree, path).lineno for path, number in numbers.items()}
    assert {name: (by_number[statement], function) for name, (statement, function) in found.items()} == {
        "LIMIT = 10 | 10 -> 11": (5, None),
        "Range | least = 1 | 1 -> 2": (11, None),
        "Range.within | def within(self, value: int, most: int=9) -> bool: | 9 -> 10": (13, None),
        "Range.within | if value < self.least: -> if False:": (15, within),
        "Range.within | if value < self.least: -> if True:": (15, within),
        "Range.within | if value < self.least: | value < self.least -> value <= self.least": (15, within),
        "Range.within | return 0 > 1 | 0 > 1 -> 0 >= 1": (16, within),
        "Range.within | return 0 > 1 | 0 -> 1": (16, within),
        "Range.within | return 0 > 1 | 1 -> 2": (16, within),
        "Range.within | if value == 7: -> if False:": (17, within),
        "Range.within | if value == 7: -> if True:": (17, within),
        "Range.within | if value == 7: | value == 7 -> value != 7": (17, within),
        "Range.within | if value == 7: | 7 -> 8": (17, within),
        "Range.within | return 2 == 2 | 2 == 2 -> 2 != 2": (18, within),
        "Range.within | return 2 == 2 | 2 -> 3": (18, within),
        "Range.within | return 2 == 2 | 2 -> 3 | 2": (18, within),
        "Range.within.below | return value <= most | value <= most -> value < most": (21, within),
    }  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_page_can_be_run_with_notes(page):
    source = (ROOT / page).read_text()
    compile(with_notes(source), page, "exec")
    tree = ast.parse(source)
    numbers = statements(tree)
    for place in places(source):
        statement_at(place.path, numbers)
        function_at(tree, place.path)


NOTICED = """
import ast

from tests.mutation.mutants import places
from tests.mutation.reached import function_at, statement_at, statements
from tests.mutation.stage import FAILED, PASSED, ROOT, Stage

page = "checkers/unique_ids.py"
source = (ROOT / page).read_text()
tree = ast.parse(source)
numbers = statements(tree)
place = next(place for place in places(source) if function_at(tree, place.path) is not None)
statement, function = statement_at(place.path, numbers), function_at(tree, place.path)
stage = Stage(page, source, ("tests/checkers/test_unique_ids.py",))
assert stage.reached.by(statement)
assert stage.notices(source, statement, function) == PASSED
without_function = source.replace("def check(", "def checks(")
assert stage.notices(without_function, statement, None) == FAILED
broken = source.replace("again[", "no_such_name[")
assert broken != source
assert stage.notices(broken, statement, function) == FAILED
assert stage.notices(broken, max(numbers.values()) + 1, function) == PASSED, "nobody reaches it"
stage.close()
"""
KERNEL = """
from tests.mutation.stage import FAILED, ROOT, Stage

page = "checkers/linearizability/footprints_kernel.py"
source = (ROOT / page).read_text()
stage = Stage(page, source, ("tests/checkers/linearizability/test_columns.py",))
reached = frozenset().union(*(test for _, test in stage.reached.tests))
assert reached - stage.reached.imported, "the kernel runs interpreted, and notes what is reached"
assert stage.notices(source.replace("def is_ambiguous(", "def no_such_name("), 0, None) == FAILED
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", [NOTICED, KERNEL], ids=["functions and tables", "kernels"])
def test_what_is_changed_is_noticed_by_the_tests_that_reach_it(script):
    """In a process of its own, since the page must not have been imported."""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
