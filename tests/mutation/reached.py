"""Which statements of a page a test reaches: the page is run with a note before every statement.

What a mutant changes is inside one statement, its own, and until that one is reached the page does what it did before.
So only the tests that reach it can notice.
"""

import ast
from collections.abc import Iterator

from tests.mutation.mutants import Path

NOTES = "_reached_"
"""The name, in the page, of the bytes that are set to 1: one for every statement, in the order of `statements`."""

_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef


def statements(tree: ast.Module) -> dict[Path, int]:
    """The number of every statement of a page, by the way to it."""
    return {path: number for number, (path, _, _) in enumerate(_statements(tree, ()))}


def with_notes(source: str) -> str:
    """The page that notes in `NOTES`, which it must be given, which statements it reaches."""
    tree = ast.parse(source)
    found = list(_statements(tree, ()))
    for number, (path, node, body) in reversed(list(enumerate(found))):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        if path[-1][1] == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        place = next(place for place, one in enumerate(body) if one is node)
        body.insert(place, ast.parse(f"{NOTES}[{number}] = 1").body[0])
    return ast.unparse(ast.fix_missing_locations(tree))


def statement_at(path: Path, numbers: dict[Path, int]) -> int:
    """The statement that a place is in, or is."""
    for length in range(len(path), 0, -1):
        if path[:length] in numbers:
            return numbers[path[:length]]
    raise ValueError(f"no statement is on the way {path}")


def inner_functions_at(tree: ast.Module, path: Path, numbers: dict[Path, int]) -> list[int]:
    """The statements that make the functions which a place is in, but for the outermost: where one is made while the
    page is imported, it is there already when the outermost is changed."""
    node: ast.AST = tree
    made = []
    for length, (field, place) in enumerate(path, 1):
        value = getattr(node, field)
        node = value if place is None else value[place]
        if isinstance(node, _DEFINITIONS):
            made.append(numbers[path[:length]])
    return made[1:]


def function_at(tree: ast.Module, path: Path) -> tuple[str, int] | None:
    """The outermost function whose body a place is in: its qualified name, and the how-manieth of this name it is, from
    0. None for what is done when the page is imported: tables, defaults of arguments."""
    node: ast.AST = tree
    names: list[str] = []
    for field, place in path:
        if isinstance(node, _DEFINITIONS):
            if field != "body":
                return None
            qualified = ".".join(names)
            same = [one for name, one in _functions(tree, ()) if name == qualified]
            return qualified, next(number for number, one in enumerate(same) if one is node)
        value = getattr(node, field)
        node = value if place is None else value[place]
        if isinstance(node, _DEFINITIONS | ast.ClassDef):
            names.append(node.name)
    return None


def _statements(node: ast.AST, path: Path) -> Iterator[tuple[Path, ast.stmt, list[ast.stmt]]]:
    """Every statement with the way to it and the list that it is in."""
    for field, value in ast.iter_fields(node):
        if isinstance(value, list):
            for place, child in enumerate(value):
                if isinstance(child, ast.stmt):
                    yield (*path, (field, place)), child, value
                if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                    yield from _statements(child, (*path, (field, place)))


def _functions(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[str, ast.AST]]:
    """All functions that are in no other one, by qualified name, in the order of the page."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _DEFINITIONS):
            yield ".".join((*names, child.name)), child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, (*names, child.name))
        elif isinstance(child, ast.stmt):
            yield from _functions(child, names)
