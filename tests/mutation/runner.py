"""Runs a page's tests against its mutants, each in a process of its own, and says which survive.

The processes are forked from one that has imported everything heavy but none of our pages. A mutated kernel runs
interpreted, and stands for both of its forms; all other kernels run as they are built.
"""

import importlib.abc
import importlib.util
import math
import os
import resource
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.mutation.mutants import Place, mutant_at, places

ROOT = Path(__file__).resolve().parents[2]
PROFILE = "mutation"
"""The settings of Hypothesis while mutants are tried."""
TIMES, SLACK_S = 5, 2.0
"""A mutant may take so many times the processor time of the tests of the page as it is, and so much more, before it
counts as noticed: others on the machine change nothing."""
GIVE_UP_S = 600.0
"""Real time after which one that waits for something is noticed."""
MEMORY_BYTES = 4 << 30
"""What one may take: some never end and only grow."""


@dataclass(frozen=True)
class Result:
    """What became of the mutants of one page."""

    found: int
    excused: int
    """Those that are known to survive, with a reason, and were not tried."""
    tried: int
    survivors: list[Place]


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from changed source."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        self.module, self.path, self.source = module, path, source

    def find_spec(self, name, path=None, target=None):
        if name != self.module:
            return None
        spec = importlib.util.spec_from_loader(name, self, origin=str(self.path))
        if self.path.name == "__init__.py":
            spec.submodule_search_locations = [str(self.path.parent)]
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__file__ = str(self.path)
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


Stages = tuple[tuple[str, ...], ...]
"""Arguments of pytest, stage by stage: quick tests first, and what they let pass is tried by the next ones."""


def run_page(
    page: str, stages: Stages, budget_s: float, seed: int, excused: frozenset[str] = frozenset(), say=print
) -> Result:
    """Tries the mutants of a page in an order drawn by the seed, until all are tried or the budget is spent; but none
    of those whose names are excused.

    Raises RuntimeError if the tests fail without any change.
    """
    source = (ROOT / page).read_text()
    limits = []
    for tests in stages:
        noticed, took_s = _notices(page, source, tests, GIVE_UP_S)
        if noticed:
            raise RuntimeError(f"the tests of {page} fail as it is ({noticed}): {' '.join(tests)}")
        limits.append(TIMES * took_s + SLACK_S)
    started = time.monotonic()
    found = places(source)
    drawn = [place for place in found if place.name not in excused]
    known = len(found) - len(drawn)
    Random(seed).shuffle(drawn)
    survivors = []
    tried = 0
    for place in drawn:
        if time.monotonic() - started > budget_s:
            break
        tried += 1
        changed = mutant_at(source, place)
        if not any(
            _notices(page, changed, tests, limit)[0] for tests, limit in zip(stages, limits, strict=True)
        ):
            survivors.append(place)
            say(f"  {page}:{place.line} survives: {place.name}")
    return Result(len(found), known, tried, sorted(survivors, key=lambda place: place.line))


def _notices(page: str, source: str, tests: tuple[str, ...], limit_s: float) -> tuple[str, float]:
    """How the tests notice the change: they fail, or never end; empty if they pass. And the processor time."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit_s), math.ceil(limit_s)))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            code = _run_tests(page, source, tests)
            os.write(writing, b"passed" if code == 0 else b"failed")
        finally:
            os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], GIVE_UP_S)
        said = os.read(reading, 16) if ready else b"never ends"
    finally:
        os.close(reading)
    try:
        os.killpg(child, signal.SIGKILL)  # Its process group is its own: nothing else is in it.
    except ProcessLookupError:
        pass
    except PermissionError:
        os.kill(child, signal.SIGKILL)
    _, _, used = os.wait4(child, 0)
    return ("" if said == b"passed" else said.decode() or "broke down"), used.ru_utime + used.ru_stime


def _run_tests(page: str, source: str, tests: tuple[str, ...]) -> int:
    import pytest

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.dont_write_bytecode = True
    module = page.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    os.chdir(ROOT)
    import results.kernels

    load_interpreted = results.kernels.load_interpreted
    results.kernels.load_interpreted = lambda kernel: (
        sys.modules[module] if kernel.__name__ == module else load_interpreted(kernel)
    )
    assert module not in sys.modules, f"{module} was imported before it could be changed"
    sys.meta_path.insert(0, _Mutated(module, ROOT / page, source))
    os.environ.setdefault("HARNESS_SYNTHETIC_SEEDS", "2")
    quick = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--no-header", "--assert=plain"]
    arguments = [*quick, f"--hypothesis-profile={PROFILE}", *tests]
    return int(pytest.main(arguments))
