"""Small changes of a page's source, one at a time: what a mutant is, and how all of a page are found.

Comparisons are turned or moved by one, sums become differences, numbers grow by one, and becomes or, min becomes max,
branches are always or never taken, statements are left out, and so is each name of a table of names. Other texts,
types, messages of errors and asserts stay.
"""

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

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
SETTINGS = ("strict", "kw_only", "frozen", "slots")
"""Arguments that only guard against mistakes of the page itself."""
LONGEST = 100
"""Characters of a statement that are told."""


Path = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Place:
    """Where a page may be changed, and how."""

    line: int
    path: Path
    """The way to the node: field names and places in lists."""
    number: int
    """Which of the changes of this node."""
    name: str
    """What is changed, without the number of its line, so that the same change is known again in a page that grew:
    `function | statement, or entry of a table | change`, and the how-manieth of this name, from the second on."""


def places(source: str) -> list[Place]:
    """All places where a page may be changed, in the order of their lines."""
    found = []
    met: Counter[str] = Counter()
    for path, node, function, within in _changeable(ast.parse(source), (), "", ""):
        for number, make in enumerate(_changes(node)):
            before, after = _header(node), _header(make())
            name = " | ".join(
                one for one in (function, within, f"{before} -> {after}") if one not in ("", before)
            )
            met[name] += 1
            if met[name] > 1:
                name += f" | {met[name]}"
            found.append(Place(node.lineno, path, number, name))
    return sorted(found, key=lambda place: place.line)


def mutant_at(source: str, place: Place) -> str:
    """The whole page changed at that place."""
    tree = ast.parse(source)
    owner, field, position = _owner(tree, place.path)
    value = getattr(owner, field)
    node = value if position is None else value[position]
    after = list(_changes(node))[place.number]()
    if position is None:
        setattr(owner, field, after)
    else:
        value[position] = after
    return ast.unparse(ast.fix_missing_locations(tree))


def _header(node: ast.AST) -> str:
    """The source of a node in one line; of a statement with a body, its first line."""
    if isinstance(node, ast.stmt | ast.match_case):
        node = copy.copy(node)
        for body in ("body", "orelse", "cases", "decorator_list"):
            if hasattr(node, body):
                setattr(node, body, [])
    words = " ".join(ast.unparse(node).split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST // 2]} ... {words[-LONGEST // 2 :]}"


def _changeable(
    node: ast.AST, path: Path, function: str, within: str
) -> Iterator[tuple[Path, ast.AST, str, str]]:
    """Every node that may be changed, with the way to it, its function, and its statement or entry of a table."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for place, child in children:
            if not isinstance(child, ast.AST) or isinstance(child, LEFT_ALONE) or _is_for_types(child):
                continue
            here = (*path, (field, place))
            inside = within
            if isinstance(child, ast.stmt | ast.match_case):
                inside = _header(child)
            elif isinstance(node, ast.Dict) and field == "values" and node.keys[place] is not None:
                inside = f"{_header(node.keys[place])}: {_header(child)}"
            yield here, child, function, inside
            named = isinstance(child, ast.FunctionDef | ast.ClassDef)
            yield from _changeable(
                child, here, f"{function}.{child.name}".strip(".") if named else function, inside
            )


def _is_for_types(node: ast.AST) -> bool:
    """Docstrings, `if TYPE_CHECKING`, constants declared for Cython, texts, and settings."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Expr(value=ast.Constant()):
            return True
        case ast.Constant(value=str()):
            return True
        case ast.AnnAssign(value=None):
            return True
        case ast.keyword(arg=name) if name in SETTINGS:
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
        case ast.Tuple(elts=elements) | ast.Set(elts=elements) | ast.List(elts=elements) if elements and all(
            isinstance(one, ast.Constant) and isinstance(one.value, str) for one in elements
        ):
            for place in range(len(elements)):
                yield partial(_without, node, place)


def _with_test(node: ast.AST, always: bool) -> ast.AST:
    changed = copy.copy(node)
    changed.test = ast.Constant(always)
    return changed


def _without(node: ast.Tuple | ast.Set | ast.List, place: int) -> ast.AST:
    """A table of names without one of them."""
    left = [*node.elts[:place], *node.elts[place + 1 :]]
    if isinstance(node, ast.Set) and not left:
        return ast.Tuple([], ast.Load())
    changed = copy.copy(node)
    changed.elts = left
    return changed


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )
