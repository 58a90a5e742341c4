"""Small changes of a page's source, one at a time: what a mutant is, and how all of a page are found.

Comparisons are turned or moved by one, sums become differences, numbers grow by one, and becomes or, min becomes max,
branches are always or never taken, statements are left out. Texts, types, messages of errors and asserts stay.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
NAMES = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "minimum": "maximum",
    "maximum": "minimum",
    "left": "right",
}
LEFT_ALONE = (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.arg)
"""What is inside these is not changed."""


@dataclass(frozen=True)
class Mutant:
    """One change of a page."""

    line: int
    change: str
    """What became of what, as source."""
    source: str
    """The whole page with the change."""


Path = tuple[tuple[str, int | None], ...]
Place = tuple[int, Path, int]
"""Where a page may be changed: the line, the way to the node, and which of its changes."""


def places(source: str) -> list[Place]:
    """All places where a page may be changed, in the order of their lines."""
    found = []
    for path, node in _changeable(ast.parse(source), ()):
        for number, _ in enumerate(_changes(node)):
            found.append((getattr(node, "lineno", 0), path, number))
    return sorted(found, key=lambda place: place[0])


def mutant_at(source: str, place: Place) -> Mutant:
    """The page changed at that place."""
    line, path, number = place
    tree = ast.parse(source)
    owner, field, position = _owner(tree, path)
    value = getattr(owner, field)
    node = value if position is None else value[position]
    before = ast.unparse(node)
    after = list(_changes(node))[number]()
    if position is None:
        setattr(owner, field, after)
    else:
        value[position] = after
    change = f"{_short(before)} -> {_short(ast.unparse(after))}"
    return Mutant(line, change, ast.unparse(ast.fix_missing_locations(tree)))


def mutants(source: str) -> Iterator[Mutant]:
    """All mutants of a page, in the order of their lines."""
    for place in places(source):
        yield mutant_at(source, place)


def _short(text: str) -> str:
    return " ".join(text.split())[:90]


def _changeable(node: ast.AST, path: Path) -> Iterator[tuple[Path, ast.AST]]:
    """Every node that may be changed, with the way to it: field names and places in lists."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for place, child in children:
            if not isinstance(child, ast.AST) or isinstance(child, LEFT_ALONE) or _is_for_types(child):
                continue
            here = (*path, (field, place))
            yield here, child
            yield from _changeable(child, here)


def _is_for_types(node: ast.AST) -> bool:
    """Docstrings, `if TYPE_CHECKING`, constants declared for Cython, and texts."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Expr(value=ast.Constant()):
            return True
        case ast.Constant(value=str()):
            return True
        case ast.AnnAssign(value=None):
            return True
    return False


def _owner(tree: ast.AST, path: Path) -> tuple[ast.AST, str, int | None]:
    for field, place in path[:-1]:
        value = getattr(tree, field)
        tree = value if place is None else value[place]
    return tree, *path[-1]


def _changes(node: ast.AST) -> Iterator[Callable[[], ast.AST]]:
    """Makers of what a node may become."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            yield lambda: ast.Compare(node.left, [COMPARISONS[type(operator)]()], node.comparators)
        case ast.Compare(ops=[first, *rest]) if type(first) in COMPARISONS:
            yield lambda: ast.Compare(node.left, [COMPARISONS[type(first)](), *rest], node.comparators)
            last = rest[-1]
            if type(last) in COMPARISONS:
                changed = [first, *rest[:-1], COMPARISONS[type(last)]()]
                yield lambda: ast.Compare(node.left, changed, node.comparators)
        case ast.BinOp(op=operator) if type(operator) in ARITHMETIC and not _is_text(node):
            yield lambda: ast.BinOp(node.left, ARITHMETIC[type(operator)](), node.right)
        case ast.AugAssign(op=operator) if type(operator) in ARITHMETIC:
            yield lambda: ast.AugAssign(node.target, ARITHMETIC[type(operator)](), node.value)
            yield ast.Pass
        case ast.BoolOp(op=operator):
            other = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield lambda: ast.BoolOp(other, node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield lambda: node.operand
        case ast.Constant(value=bool()):
            yield lambda: ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield lambda: ast.Constant(node.value + 1)
        case ast.Name(id=name, ctx=ast.Load()) if name in NAMES:
            yield lambda: ast.Name(NAMES[name], node.ctx)
        case ast.Attribute(attr=name) if name in NAMES:
            yield lambda: ast.Attribute(node.value, NAMES[name], node.ctx)
        case ast.If() | ast.While() | ast.IfExp():
            yield lambda: _with_test(node, False)
            if not isinstance(node, ast.While):
                yield lambda: _with_test(node, True)
        case ast.Continue():
            yield ast.Break
        case ast.Break():
            yield ast.Continue
        case ast.Expr(value=ast.Call()):
            yield ast.Pass


def _with_test(node: ast.AST, always: bool) -> ast.AST:
    changed = copy.copy(node)
    changed.test = ast.Constant(always)
    return changed


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )
