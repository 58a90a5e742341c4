"""Mutants are changes of one place each; a test that looks away lets them live, one that looks kills them."""

import ast
import re
import subprocess
import sys
from collections import Counter

import pytest

from tests.mutation.known import REASONS, survivors
from tests.mutation.mutants import mutant_at, places
from tests.mutation.pages import PAGES, WITHOUT
from tests.mutation.stage import ROOT

PAGE = '''"""A page about limits and their sums."""

WORDS = ("one", "two")


def within(value: int, limit: int = 10) -> bool:
    """Whether it is."""
    if value < 0:
        raise ValueError(f"{value + 1} is below 0")
    return value <= limit and True
'''


def test_each_mutant_changes_one_place():
    changes = [(place.line, place.name) for place in places(PAGE)]
    assert [line for line, _ in changes] == [3, 3, 6, 8, 8, 8, 8, 10, 10, 10]
    for expected in (
        (3, "WORDS = ('one', 'two') | ('one', 'two') -> ('one',)"),
        (6, "within | def within(value: int, limit: int=10) -> bool: | 10 -> 11"),
        (8, "within | if value < 0: | value < 0 -> value <= 0"),
        (8, "within | if value < 0: -> if False:"),
        (10, "within | return value <= limit and True | value <= limit and True -> value <= limit or True"),
        (10, "within | return value <= limit and True | True -> False"),
    ):
        assert expected in changes
    sources = [mutant_at(PAGE, place) for place in places(PAGE)]
    assert len(set(sources)) == len(set(changes)) == len(changes)
    assert ast.unparse(ast.parse(PAGE)) not in sources


def test_texts_types_errors_and_docstrings_stay():
    for place in places(PAGE):
        source = mutant_at(PAGE, place)
        assert "value: int" in source
        assert "is below 0" in source
        assert "{value + 1}" in source
        assert "Whether it is." in source


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tests", "survives"), [("test_unique_ids.py", False), ("test_recovery_and_crashes.py", True)]
)
def test_tests_that_look_notice_and_others_do_not(tests, survives):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.mutation", "--budget", "3", "--seed", "1"),
            *("--page", "checkers/unique_ids.py", f"tests/checkers/{tests}"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    told = re.search(r": (\d+) of \d+ mutants tried, (\d+) survive", done.stdout)
    assert told is not None, done.stdout
    tried, survived = map(int, told.groups())
    assert tried > 0
    assert survived == tried if survives else survived < tried


def test_every_page_of_the_checkers_has_tests_that_have_to_notice():
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "checkers").rglob("*.py")}
    assert {page for page in pages if not page.startswith(WITHOUT)} == PAGES.keys()
    for page, stages in PAGES.items():
        assert all((ROOT / tests).exists() for tests, *_ in stages), page


@pytest.mark.parametrize("page", survivors())
def test_those_that_are_known_to_survive_are_mutants_still_and_have_a_reason(page):
    """Who changes the page meets it here: the reason may no longer hold."""
    names = {place.name for place in places((ROOT / page).read_text())}
    groups = survivors()[page]
    for group in groups:
        assert group.why.startswith(REASONS), f"{page}: {group.why!r} begins with none of {REASONS}"
        gone = set(group.mutants) - names
        assert not gone, f"{page} has no such mutants any more; take them out of the list: {sorted(gone)}"
    twice = [
        name for name, number in Counter(sum((group.mutants for group in groups), ())).items() if number > 1
    ]
    assert not twice, f"{page}: {twice} is listed twice"
