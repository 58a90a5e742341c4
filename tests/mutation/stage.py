"""One stage of a page's tests: what each test reaches, and whether some notice a mutant.

Every run is a process of its own, forked from one that has imported everything heavy but none of our pages that could
import the page. A mutated kernel runs interpreted, and stands for both of its forms; so do all other kernels of the
checkers then, since they hand each other arrays or lists, as their form asks for.

1. The tests are run once on the page with notes (`reached.py`), to learn what they reach and what they take.
2. A server imports the page as it is, collects the tests, and waits.
3. For a mutant inside a function the server forks, the child puts the changed code into the function and runs the
   tests that reach the changed statement, quick ones first.
4. What a page does when it is imported, and what tests use of it while they are collected, cannot be changed later:
   such a mutant is imported in a new process, and all tests of the stage are run.
"""

import functools
import gc
import importlib.abc
import importlib.util
import math
import os
import pickle
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FunctionType
from typing import BinaryIO

import hypothesis
import pytest

import results.kernels
from results.kernels import INTERPRETED, SUFFIX, VARIABLE
from tests.mutation.reached import NOTES, with_notes

ROOT = Path(__file__).resolve().parents[2]
PROFILE = "mutation"
"""The settings of Hypothesis while mutants are tried."""
TIMES, SLACK_S = 5, 2.0
"""A mutant may take so many times the processor time of the same tests on the page as it is, and so much more, before
it counts as noticed: others on the machine change nothing."""
GIVE_UP_S = 600.0
"""Real time after which one that waits for something is noticed; and processor time that the tests of a page as it is
may take."""
MEMORY_BYTES = 4 << 30
"""What one may take: some never end and only grow."""
PASSED, FAILED, TOO_LONG, BROKE, OTHER = "passed", "failed", "too long", "broke down", "not to be changed"
"""What became of a run; `BROKE` if its process ended before it could say so, `OTHER` if the function is not there."""


hypothesis.settings.register_profile(
    PROFILE,
    database=None,
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    phases=[
        hypothesis.Phase.explicit,
        hypothesis.Phase.generate,
    ],  # The smallest example is of no use here.
)


@dataclass(frozen=True)
class Reached:
    """What the tests of a stage reach, by the numbers of `reached.statements`."""

    imported: frozenset[int]
    """While the page is imported and the tests are collected."""
    tests: list[tuple[float, frozenset[int]]]
    """The processor time of each test, and what it reaches."""
    took_s: float
    """The processor time of all, with imports."""
    modules: list[str]
    """What was imported."""

    def by(self, statement: int) -> list[int]:
        """The tests that reach a statement, quick ones first."""
        return [test for test in self.quick_first() if statement in self.tests[test][1]]

    def quick_first(self) -> list[int]:
        return sorted(range(len(self.tests)), key=lambda test: self.tests[test][0])

    def within(self, tests: list[int], seconds: float) -> list[int]:
        """The first of these tests that take so much processor time together, and one at least."""
        spent = accumulate(self.tests[test][0] for test in tests)
        return tests[:1] + [
            test for test, until in list(zip(tests, spent, strict=True))[1:] if until <= seconds
        ]

    def limit_s(self, tests: list[int]) -> float:
        """The processor time that these may take on a mutant."""
        return TIMES * sum(self.tests[test][0] for test in tests) + SLACK_S


class Stage:
    """The tests that some arguments of pytest choose, for one page."""

    def __init__(self, page: str, source: str, arguments: tuple[str, ...]) -> None:
        self._page, self._source, self._arguments = page, source, arguments
        self._server: Connection | None = None
        self.spent_s = 0.0
        """Processor time of all runs."""

    @functools.cached_property
    def reached(self) -> Reached:
        """Raises RuntimeError if the tests fail on the page as it is."""
        with tempfile.TemporaryFile() as file:
            said, took_s = _in_a_child(lambda: self._write_reached(file), GIVE_UP_S)
            self.spent_s += took_s
            if said != PASSED:
                arguments = " ".join(self._arguments)
                raise RuntimeError(f"the tests of {self._page} fail as it is ({said}): {arguments}")
            file.seek(0)
            imported, tests, modules = pickle.load(file)
        return Reached(imported, tests, took_s, modules)

    def notices(
        self,
        changed: str,
        statement: int,
        function: tuple[str, int] | None,
        each_s: float = math.inf,
        inner: Sequence[int] = (),
    ) -> str:
        """How the tests that take so many seconds notice a page changed in one statement: `FAILED`, `TOO_LONG` or
        `BROKE`; else `PASSED`. `inner`: the statements that make the functions inside the function which it is in."""
        if function is not None and self.reached.imported.isdisjoint((statement, *inner)):
            tests = self.reached.by(statement)
            if not tests:
                return PASSED
            tests = self.reached.within(tests, each_s)
            server = self._get_server()
            server.send((changed, function, tests, self.reached.limit_s(tests)))
            said, took_s = server.recv()
            self.spent_s += took_s
            if said != OTHER:
                return said
        limit_s = TIMES * self.reached.took_s + SLACK_S
        order = self.reached.quick_first()
        plugin = _InOrder(len(order), self.reached.within(order, each_s))
        said, took_s = _in_a_child(lambda: self._run(changed, plugin), limit_s)
        self.spent_s += took_s
        return said

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _get_server(self) -> Connection:
        if self._server is None:
            ours, theirs = Pipe()
            child = os.fork()
            if child == 0:
                try:
                    ours.close()
                    os.setpgid(0, 0)
                    self._run(self._source, _Server(theirs))
                finally:
                    os._exit(0)
            theirs.close()
            self._server = ours
        return self._server

    def _write_reached(self, file: BinaryIO) -> str:
        plugin = _Notes(bytearray(len(self._source)))  # A statement takes a character at least.
        said = self._run(with_notes(self._source), plugin)
        pickle.dump((plugin.imported, plugin.tests, list(sys.modules)), file)
        file.flush()
        return said

    def _run(self, source: str, plugin: object) -> str:
        """Runs the tests in this process, which must be a child and must not have imported the page."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.dont_write_bytecode = True
        os.chdir(ROOT)
        page = _Changed(self._page, source, getattr(plugin, "reached", None))
        _take_for_both_forms(page.module)
        sys.meta_path.insert(0, page)
        os.environ.setdefault("HARNESS_SYNTHETIC_SEEDS", "2")
        if page.module.endswith(SUFFIX):
            os.environ[VARIABLE] = INTERPRETED
        plugin.page = page
        quick = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--no-header", "--assert=plain"]
        code = pytest.main([*quick, f"--hypothesis-profile={PROFILE}", *self._arguments], plugins=[plugin])
        return PASSED if code == 0 else FAILED


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one page from changed source."""

    def __init__(self, page: str, source: str, notes: bytearray | None = None) -> None:
        self.module = page.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert self.module not in sys.modules, f"{self.module} was imported before it could be changed"
        self.path = ROOT / page
        self.code = compile(source, str(self.path), "exec")
        self._notes = notes

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
        if self._notes is not None:
            setattr(module, NOTES, self._notes)
        exec(self.code, module.__dict__)


def _take_for_both_forms(module: str) -> None:
    """Tests that compare the two forms of a kernel get the changed one for both."""
    load_interpreted = results.kernels.load_interpreted
    results.kernels.load_interpreted = lambda kernel: (
        sys.modules[module] if kernel.__name__ == module else load_interpreted(kernel)
    )


class _Notes:
    """Learns what each test reaches."""

    def __init__(self, reached: bytearray) -> None:
        self.reached = reached
        self.imported: frozenset[int] = frozenset()
        self.tests: list[tuple[float, frozenset[int]]] = []
        self._caches: list = []

    def pytest_collection_finish(self, session) -> None:
        self.imported = self._taken()
        self._caches = [one for one in gc.get_objects() if isinstance(one, functools._lru_cache_wrapper)]
        self._caches = [one for one in self._caches if str(one.__module__).startswith("checkers")]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        for cache in self._caches:  # What one test left there would hide what the next one reaches.
            cache.cache_clear()
        started = time.process_time()
        yield
        self.tests.append((time.process_time() - started, self._taken()))

    def _taken(self) -> frozenset[int]:
        found = frozenset(number for number, met in enumerate(self.reached) if met)
        self.reached[:] = bytes(len(self.reached))
        return found


class _InOrder:
    """Runs some of so many tests, in an order."""

    def __init__(self, number: int, order: list[int]) -> None:
        self._number, self._order = number, order

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items) -> None:
        if len(items) == self._number:  # A change of a table may change how many there are.
            items[:] = [items[place] for place in self._order]


class _Server:
    """Runs some of the collected tests on a page with one function changed, again and again, each in a child."""

    def __init__(self, asked: Connection) -> None:
        self._asked = asked
        self.page: _Changed | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session) -> bool:
        gc.collect()
        path = str(self.page.path)
        ours = [
            one
            for one in gc.get_objects()
            if isinstance(one, FunctionType) and one.__code__.co_filename == path
        ]
        gc.freeze()  # The children would copy what a collection looks at.
        while True:
            try:
                changed, function, tests, limit_s = self._asked.recv()
            except EOFError:
                return True
            before, after = (
                _code_of(code, function) for code in (self.page.code, compile(changed, path, "exec"))
            )
            found = [one for one in ours if one.__code__ is before]
            if not found or after is None or before.co_freevars != after.co_freevars:
                self._asked.send((OTHER, 0.0))
                continue
            run = functools.partial(self._try, session, found, after, tests)
            self._asked.send(_in_a_child(run, limit_s))

    @staticmethod
    def _try(session, functions: list[FunctionType], code: CodeType, tests: list[int]) -> str:
        for function in functions:
            function.__code__ = code
        for test in tests:
            item = session.items[test]
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if session.testsfailed:
                return FAILED
        return PASSED


def _code_of(page: CodeType, function: tuple[str, int]) -> CodeType | None:
    name, number = function
    same = [code for code in _codes(page) if code.co_qualname == name]
    return same[number] if number < len(same) else None


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a page and of all functions and classes in it, in the order of the page."""
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            yield from _codes(one)


def _in_a_child(run: Callable[[], str], limit_s: float) -> tuple[str, float]:
    """What a run in a process of its own says, and its processor time."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit_s), math.ceil(limit_s)))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            os.write(writing, run().encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], GIVE_UP_S)
        said = os.read(reading, 32).decode() if ready else TOO_LONG
    finally:
        os.close(reading)
    try:
        os.killpg(child, signal.SIGKILL)  # Its process group is its own: nothing else is in it.
    except ProcessLookupError:
        pass
    except PermissionError:
        os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    took_s = used.ru_utime + used.ru_stime
    if not said:
        said = TOO_LONG if os.WIFSIGNALED(status) and took_s >= limit_s else BROKE
    return said, took_s
