"""The rules of the house that no other tool keeps: captions, words, paths, purity, documents that tell the truth."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("harness", "workloads", "nemesis", "checkers", "results", "reference_db")


def tracked_files() -> list[Path]:
    """Every file of the project: what git knows, or, outside a repository, what is there."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("git cannot list the files of this checkout, so the rules of the house are not checked")
    return sorted(path for name in listed if (path := ROOT / name).is_file())


def python_files(*packages: str) -> list[Path]:
    return [
        path
        for path in tracked_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in (packages or PACKAGES)
    ]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_module_has_a_caption():
    """The first docstring line says in one sentence what the page is about."""
    missing = []
    for path in python_files():
        text = path.read_text(encoding="utf-8")
        docstring = ast.get_docstring(ast.parse(text)) if text.strip() else None
        if not docstring or len(docstring.splitlines()[0]) < 12:
            missing.append(name(path))
    assert not missing, f"modules without a caption in the first docstring line: {missing}"


BANNED_IN_CLASS_NAMES = ("Manager", "Handler", "Helper", "Util", "Impl")


def test_class_names_say_what_a_thing_is():
    vague = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(node.name.endswith(word) or node.name.startswith(word) for word in BANNED_IN_CLASS_NAMES)
    ]
    assert not vague, f"class names with words that say nothing ({', '.join(BANNED_IN_CLASS_NAMES)}): {vague}"


def test_no_page_is_called_misc():
    vague = [
        name(path)
        for path in python_files()
        if path.stem in ("misc", "common", "utils", "util", "helpers", "helper", "base", "data", "info")
    ]
    assert not vague, f"file names that say nothing: {vague}"


# Spelt so that this page does not contain the words it forbids.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b(?!\(#\d+\))")
MACHINE_PATHS = re.compile(
    "|".join(["/wo" + "rk/", "/tmp/pl" + "an", "/roo" + "t/\\.pyenv", r"\.\./\.lib" + "rary"])
)
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".sh", ".ts", ".css", ".json", ".yml", ".yaml", ".cfg", ""}


def text_files() -> list[Path]:
    return [path for path in tracked_files() if path.suffix in TEXT_SUFFIXES and path.name != "LICENSE"]


def test_nothing_is_left_for_later_without_an_issue_number():
    left = [
        f"{name(path)}:{number}"
        for path in text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not left, f"unfinished places without an issue number: {left}"


def test_no_file_names_a_path_of_somebodys_machine():
    found = [
        f"{name(path)}:{number}"
        for path in text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert not found, f"paths of one machine: {found}"


PURE = (
    "reference_db/raft",
    "reference_db/txn",
    "reference_db/ranges",
    "reference_db/placement",
    "reference_db/storage",
    "workloads/generator",
    "harness/interpreter.py",
    "nemesis/schedule.py",
    "checkers",
)
"""Where rule 4 of the house holds: no sockets, no wall clock, no global randomness."""

EXEMPT = {
    "reference_db/storage/rocks_engine.py": "the RocksDB engine is an outer shell: it may use files and threads"
}

FORBIDDEN_IMPORTS = {"socket", "asyncio", "threading", "subprocess", "uuid", "secrets"}
FORBIDDEN_CALLS = re.compile(r"^(time\.(time|time_ns|sleep)|(datetime\.)+now|os\.urandom)$")
GLOBAL_RANDOM = re.compile(r"^random\.(?!Random$)\w+$")
CLOCK_CALLS = re.compile(r"^time\.(monotonic|monotonic_ns|perf_counter|perf_counter_ns)$")


def test_pure_parts_do_no_input_or_output_and_know_no_clock():
    """Checkers may read the monotonic clock, for their time limits, and nothing else."""
    broken = []
    for path in python_files():
        where = name(path)
        if not where.startswith(PURE) or where in EXEMPT:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node, bound in _with_bound_names(tree, frozenset()):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                )
                tops = {module.split(".")[0] for module in modules}
                broken += [f"{where}:{node.lineno} imports {top}" for top in sorted(tops & FORBIDDEN_IMPORTS)]
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if (
                    FORBIDDEN_CALLS.match(called)
                    or (GLOBAL_RANDOM.match(called) and "random" not in bound)
                    or (CLOCK_CALLS.match(called) and not where.startswith("checkers"))
                ):
                    broken.append(f"{where}:{node.lineno} calls {called}()")
    assert not broken, "pure parts that are not pure:\n" + "\n".join(broken)


def _with_bound_names(node: ast.AST, bound: frozenset[str]) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """Every node with the names that the functions around it bind: a parameter `random` is a stream, not the module."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        arguments = node.args
        bound = bound | {one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        bound = bound | {
            one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        }
    yield node, bound
    for child in ast.iter_child_nodes(node):
        yield from _with_bound_names(child, bound)


LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_links_between_documents_lead_somewhere():
    dead = [
        f"{name(path)} -> {target}"
        for path in tracked_files()
        if path.suffix == ".md"
        for target in LINK.findall(path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert not dead, f"links that lead nowhere: {dead}"


def test_the_architecture_page_names_every_package_and_every_page_of_the_top_floors():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    folders = {path.parent for path in python_files() if path.name == "__init__.py"}
    missing = [name(folder) for folder in sorted(folders) if f"{folder.name}/" not in text]
    assert not missing, f"packages that ARCHITECTURE.md does not name: {missing}"


def test_the_wheel_lists_exactly_our_packages():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PACKAGES)


def test_the_pinned_dependencies_cover_the_declared_ones():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line
    }
    declared = {re.split(r"[<>=;\s]", entry)[0].lower() for entry in settings["project"]["dependencies"]}
    assert declared <= pinned, f"declared but not pinned: {sorted(declared - pinned)}"


def test_the_extras_are_pinned_for_the_tests():
    """What is only wanted by some is installed where the tests run, so that none of it goes untested."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    extras = settings["project"]["optional-dependencies"]
    wanted = {re.split(r"[<>=;\s]", entry)[0].lower() for entries in extras.values() for entry in entries}
    assert wanted <= pinned, f"extras that requirements-dev.txt does not pin: {sorted(wanted - pinned)}"


def test_no_file_is_unexpectedly_large():
    """Recorded data and build products stay out of the repository; the built report page is the one exception."""
    large = [
        f"{name(path)} ({path.stat().st_size // 1024} KiB)"
        for path in tracked_files()
        if path.stat().st_size > 300 * 1024 and not name(path).startswith("results/report/")
    ]
    assert not large, f"files above 300 KiB: {large}"
