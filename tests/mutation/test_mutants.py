"""Mutants are changes of one place each; a test that looks away lets them live, one that looks kills them."""

import ast

from tests.mutation.mutants import mutants

PAGE = '''"""A page about limits and their sums."""

def within(value: int, limit: int = 10) -> bool:
    """Whether it is."""
    if value < 0:
        raise ValueError(f"{value + 1} is below 0")
    return value <= limit and True
'''


def test_each_mutant_changes_one_place():
    changes = [(mutant.line, mutant.change) for mutant in mutants(PAGE)]
    assert [line for line, _ in changes] == [3, 5, 5, 5, 5, 7, 7, 7]
    for expected in (
        (3, "10 -> 11"),
        (5, "value < 0 -> value <= 0"),
        (7, "value <= limit and True -> value <= limit or True"),
        (7, "True -> False"),
    ):
        assert expected in changes
    assert len({mutant.source for mutant in mutants(PAGE)}) == len(changes)
    assert all(
        ast.unparse(ast.parse(mutant.source)) != ast.unparse(ast.parse(PAGE)) for mutant in mutants(PAGE)
    )


def test_texts_types_errors_and_docstrings_stay():
    for mutant in mutants(PAGE):
        assert "value: int" in mutant.source
        assert "is below 0" in mutant.source
        assert "{value + 1}" in mutant.source
        assert "Whether it is." in mutant.source
