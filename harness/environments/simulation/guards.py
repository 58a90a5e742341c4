"""What a program must not see of the real world while it runs in a simulated one.

Code that runs on a simulated host gets the host's time and randomness where it asks for the real ones (`time`,
`datetime.now`, `random`, `uuid`, `os.urandom`, `secrets`, `numpy.random`), the host's name and a process number of its
own, and the host's log where it prints. It is refused threads, subprocesses, sockets, files and whatever blocks, with
an error that says what to use. Signals never come. Code of the harness itself, which is on no host, gets the real ones
as ever.

The functions are replaced only while a world runs: in their modules, and wherever else a module that is not of the
standard library knows one: imported by name (`from time import monotonic`), in the body of a class, as the default of
an argument, in a `functools.partial`. They are made once and ask for the present life each time, so that a module which
was loaded while one world ran is right in the next one too. What a C extension asks the operating system for by itself,
and what a closure remembers, is out of reach.
"""

from __future__ import annotations

import _posixsubprocess
import _thread
import asyncio
import builtins
import contextvars
import datetime
import functools
import importlib
import io
import linecache
import logging
import multiprocessing.process
import os
import random
import secrets
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from harness.environments.simulation.known_places import known_elsewhere
from harness.environments.simulation.loop import (
    LIFE,
    REFUSED_WAY_OUT,
    RefusedInSimulation,
    SimulatedLoop,
)
from harness.environments.simulation.tracebacks import traceback_text

Replacement = tuple[Any, str, Any, Any]
"""Owner, attribute, the real one, what stands there while a world runs."""

_ANOTHER_HOST = "start another simulated host (World.host(name).start)"
_STREAMS = "use asyncio.open_connection and asyncio.start_server"
_HOSTS_DISK = "use the simulated disk: current_host().disk"
_END = "end it with sys.exit or os._exit, or from outside with Host.kill"

_REFUSED: tuple[tuple[Any, str, str, str], ...] = (
    (threading.Thread, "start", "a thread", "use asyncio tasks"),
    (_thread, "start_new_thread", "a thread", "use asyncio tasks"),
    (threading.Condition, "wait", "waiting for a thread", "use asyncio tasks, Event or Queue"),
    (subprocess.Popen, "__init__", "a subprocess", _ANOTHER_HOST),
    (os, "system posix_spawn posix_spawnp execv execve", "a subprocess", _ANOTHER_HOST),
    (_posixsubprocess, "fork_exec", "a subprocess", _ANOTHER_HOST),
    (multiprocessing.process.BaseProcess, "start", "a subprocess", _ANOTHER_HOST),
    (os, "fork forkpty", "a fork", _ANOTHER_HOST),
    (os, "kill killpg", "a signal to a process", _END),
    (signal, "raise_signal pthread_kill", "a signal to a process", _END),
    (signal, "alarm setitimer", "a signal after some time", "use loop.call_later"),
    (socket.socket, "__init__", "a real socket", _STREAMS),
    (socket, "create_connection", "a real socket", _STREAMS),
    (
        socket,
        "getaddrinfo gethostbyname gethostbyname_ex gethostbyaddr getnameinfo",
        "a name service",
        _STREAMS,
    ),
    (select, "select", "waiting for a file descriptor", _STREAMS),
    (os, "pipe", "a pipe", "use asyncio.Queue within a host, streams between hosts"),
    (builtins, "open", "a real file", _HOSTS_DISK),
    (io, "open open_code", "a real file", _HOSTS_DISK),
    (
        os,
        "open rename replace remove unlink link symlink readlink truncate mkfifo mknod chmod chown utime",
        "a real file",
        _HOSTS_DISK,
    ),
    (os, "stat lstat access statvfs", "a look at a real file", _HOSTS_DISK),
    (os, "mkdir rmdir listdir scandir chdir", "a real folder", _HOSTS_DISK),
    (sqlite3, "connect", "a real database file", _HOSTS_DISK),
    (builtins, "input", "a question to the user", "give the program what it needs when it is started"),
    (time, "sleep", "a blocking sleep", "use await asyncio.sleep(seconds)"),
)
"""Owner, attributes, what it would be, what to use instead."""

_RANDOM_FUNCTIONS = (
    "betavariate",
    "choice",
    "choices",
    "expovariate",
    "gammavariate",
    "gauss",
    "getrandbits",
    "getstate",
    "lognormvariate",
    "normalvariate",
    "paretovariate",
    "randbytes",
    "randint",
    "random",
    "randrange",
    "sample",
    "seed",
    "setstate",
    "shuffle",
    "triangular",
    "uniform",
    "vonmisesvariate",
    "weibullvariate",
)

_WALL_CLOCKS = frozenset(
    getattr(time, name) for name in ("CLOCK_REALTIME", "CLOCK_TAI") if hasattr(time, name)
)
_FIRST_PROCESS = 1000

_installed: SimulatedLoop | None = None


@contextmanager
def guarding(loop: SimulatedLoop) -> Iterator[None]:
    """While the block runs, programs on the hosts of this loop's world see only the world. One world at a time."""
    global _installed
    if _installed is not None:
        raise RuntimeError("a simulated world is running already in this process: one at a time")
    _installed = loop
    undo: list[tuple[Callable[[Any], object], Any]] = []
    try:
        replacements = [*_REPLACEMENTS, *_numpy_replacements()]
        by_identity = {}
        for owner, name, real, new in replacements:
            undo.append((functools.partial(setattr, owner, name), getattr(owner, name)))
            setattr(owner, name, new)
            if not isinstance(owner, type):
                by_identity[id(real)] = (real, new)
        for put, old, new in known_elsewhere(by_identity):
            with suppress(TypeError, AttributeError):  # A class that cannot be changed.
                put(new)
                undo.append((put, old))
        with _logs_of_hosts():
            yield
    finally:
        for put, old in reversed(undo):
            put(old)
        _installed = None


class _HostLines(logging.Formatter):
    """Lines that no other machine would write differently."""

    def formatException(self, ei: Any) -> str:
        return traceback_text(ei[1]) if ei[1] is not None else super().formatException(ei)


class _HostLog(logging.Handler):
    """Stands before the handlers of the root logger: what a host logs goes to the log of that host alone."""

    def __init__(self, others: list[logging.Handler]) -> None:
        super().__init__()
        self._others = others
        self.setFormatter(_HostLines("%(levelname)s %(name)s: %(message)s"))

    def handle(self, record: logging.LogRecord) -> bool:
        life = LIFE.get()
        if life is not None:
            life.host.log_line(life.host.without_addresses(self.format(record)))
            return True
        for other in self._others:
            if record.levelno >= other.level:
                other.handle(record)
        return True


@contextmanager
def _logs_of_hosts() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = [_HostLog(handlers)]
    if level > logging.INFO or level == logging.NOTSET:
        root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


# What is asked of the present life


def _host() -> Any:
    life = LIFE.get()
    assert life is not None, "only asked on a host"
    return life.host


def _stream() -> random.Random:
    life = LIFE.get()
    assert life is not None, "only asked on a host"
    return life.random


def _wall_ns() -> int:
    wall_ns: int = _host().clock.wall_ns()
    return wall_ns


def _monotonic_ns() -> int:
    now_ns: int = _host().world.loop.now_ns
    return now_ns


def _process_number() -> int:
    life = LIFE.get()
    assert life is not None, "only asked on a host"
    return _FIRST_PROCESS + life.number


def _network_card() -> int:
    """48 bits that say `locally administered`, and the address of the host."""
    low = 0
    for part in _host().address.split("."):
        low = low << 8 | int(part)
    return 0x02 << 40 | low


def _clock_ns(clock: int) -> int:
    return _wall_ns() if clock in _WALL_CLOCKS else _monotonic_ns()


def _print(
    *values: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False
) -> None:
    if LIFE.get() is None or file not in (None, sys.stdout, sys.stderr):
        _real_print(*values, sep=sep, end=end, file=file, flush=flush)
        return
    host = _host()
    host.log_line(host.without_addresses((" " if sep is None else sep).join(map(str, values))))


_real_print = builtins.print


# How a function is replaced


def _refusing(real: Callable[..., Any], what: str, instead: str) -> Callable[..., Any]:
    @functools.wraps(real)
    def refusing(*args: Any, **options: Any) -> Any:
        if LIFE.get() is None:
            return real(*args, **options)
        raise RefusedInSimulation(f"{what} inside the simulation: {REFUSED_WAY_OUT}; {instead}")

    return refusing


def _virtual(real: Callable[..., Any], virtual: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def either(*args: Any, **options: Any) -> Any:
        return real(*args, **options) if LIFE.get() is None else virtual(*args, **options)

    return either


def _as_harness(real: Callable[..., Any]) -> Callable[..., Any]:
    """What a program does not know that it does: reading the lines of source that a traceback shows."""

    @functools.wraps(real)
    def unseen(*args: Any, **options: Any) -> Any:
        return contextvars.Context().run(real, *args, **options)

    return unseen


def _with_present_time(real: Callable[..., Any]) -> Callable[..., Any]:
    def either(seconds: float | None = None) -> Any:
        if seconds is None and LIFE.get() is not None:
            seconds = _wall_ns() / 1e9
        return real(seconds)

    return either


def _virtual_random(name: str) -> Callable[..., Any]:
    real = getattr(random, name)

    def either(*args: Any, **options: Any) -> Any:
        life = LIFE.get()
        if life is None:
            return real(*args, **options)
        return getattr(life.random, name)(*args, **options)

    return either


def _seeding(real: Callable[..., Any]) -> Callable[..., Any]:
    """`random.Random()` without a seed asks the operating system, in C."""

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        life = LIFE.get()
        if a is None and life is not None and self is not life.random:
            a = life.random.getrandbits(128)
        real(self, a, version)

    return seed


def _datetime_class() -> type:
    """`datetime.datetime` cannot be patched in place; this one gives ordinary datetimes."""
    real = datetime.datetime

    class Meta(type(real)):  # type: ignore[misc]
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, real)

    class VirtualDatetime(real, metaclass=Meta):  # type: ignore[misc,valid-type]
        def __new__(cls, *args: Any, **options: Any) -> Any:
            return real(*args, **options)

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            if LIFE.get() is None:
                return real.now(tz)
            now = real.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=_wall_ns() // 1000)
            return now.astimezone(tz) if tz is not None else now.replace(tzinfo=None)

        @classmethod
        def utcnow(cls) -> Any:
            return real.utcnow() if LIFE.get() is None else cls.now(datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    return VirtualDatetime


def _file_class() -> type:
    """`io.FileIO` is asked for as a class too."""
    real = io.FileIO

    class Meta(type(real)):  # type: ignore[misc]
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, real)

    guarded: type = Meta(
        "FileIO", (real,), {"__init__": _refusing(real.__init__, "a real file", _HOSTS_DISK)}
    )
    return guarded


def _all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[Any]:
    """Those of the present life (or of the harness): each process has a loop of its own, as far as it can tell."""
    asked = asyncio.get_running_loop() if loop is None else loop
    if isinstance(asked, SimulatedLoop):
        return set(asked.tasks(LIFE.get()))
    return _real_all_tasks(asked)


def _as_completed(fs: Any, *, timeout: float | None = None) -> Any:
    """Asyncio's puts coroutines into a set, so that their addresses would decide which of them begins first."""
    if not (asyncio.isfuture(fs) or asyncio.iscoroutine(fs)):
        fs = [asyncio.ensure_future(one) for one in dict.fromkeys(fs)]
    return _real_as_completed(fs, timeout=timeout)


_real_all_tasks = asyncio.all_tasks
_real_as_completed = asyncio.as_completed


def _made_once() -> Iterator[Replacement]:
    for owner, names, what, instead in _REFUSED:
        for name in names.split():
            real = getattr(owner, name)
            yield owner, name, real, _refusing(real, what, instead)
    yield io, "FileIO", io.FileIO, _file_class()

    virtual: list[tuple[Any, str, Callable[..., Any]]] = [
        (time, "time_ns", _wall_ns),
        (time, "time", lambda: _wall_ns() / 1e9),
        (time, "clock_gettime_ns", _clock_ns),
        (time, "clock_gettime", lambda clock: _clock_ns(clock) / 1e9),
        (time, "asctime", lambda at=None: _REAL_ASCTIME(at or time.localtime())),
        (time, "strftime", lambda form, at=None: _REAL_STRFTIME(form, at or time.localtime())),
    ]
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        virtual.append((time, f"{name}_ns", _monotonic_ns))
        virtual.append((time, name, lambda: _monotonic_ns() / 1e9))
    system_random = random.SystemRandom
    virtual += [
        (os, "urandom", lambda count: _stream().randbytes(count)),
        (os, "getrandom", lambda count, flags=0: _stream().randbytes(count)),
        (system_random, "random", lambda _self: _stream().random()),
        (system_random, "getrandbits", lambda _self, bits: _stream().getrandbits(bits)),
        (secrets, "randbits", lambda bits: _stream().getrandbits(bits)),
        (secrets, "choice", lambda items: _stream().choice(items)),
        (uuid, "uuid1", lambda *_args: uuid.UUID(int=_stream().getrandbits(128), version=1)),
        (uuid, "getnode", _network_card),
        (os, "getpid", _process_number),
        (os, "getppid", lambda: 1),
        (os, "getcwd", lambda: "/"),
        (os, "_exit", lambda status: _host().exit(status)),
        (os, "abort", lambda: _host().exit(128 + signal.SIGABRT)),
        (socket, "gethostname", lambda: _host().name),
        (signal, "signal", lambda *_args: signal.SIG_DFL),
    ]
    for owner, name, instead_of in virtual:
        if hasattr(owner, name):
            real = getattr(owner, name)
            yield owner, name, real, _virtual(real, instead_of)
    yield random, "_urandom", os.urandom, _virtual(os.urandom, lambda count: _stream().randbytes(count))

    for name in ("localtime", "gmtime", "ctime"):
        yield time, name, getattr(time, name), _with_present_time(getattr(time, name))
    for name in _RANDOM_FUNCTIONS:
        yield random, name, getattr(random, name), _virtual_random(name)
    yield random.Random, "seed", random.Random.seed, _seeding(random.Random.seed)
    yield datetime, "datetime", datetime.datetime, _datetime_class()
    for name in ("checkcache", "updatecache"):
        yield linecache, name, getattr(linecache, name), _as_harness(getattr(linecache, name))
    yield builtins, "print", _real_print, _print
    for owner in (asyncio, asyncio.tasks):
        yield owner, "all_tasks", _real_all_tasks, _all_tasks
        yield owner, "as_completed", _real_as_completed, _as_completed


_REAL_ASCTIME, _REAL_STRFTIME = time.asctime, time.strftime
_REPLACEMENTS: tuple[Replacement, ...] = tuple(_made_once())


@functools.cache
def _numpy_made_once() -> tuple[Replacement, ...]:
    """The functions of `numpy.random` itself, which share one stream of numbers."""
    numpy_random: Any = sys.modules["numpy.random"]
    shared = numpy_random.mtrand._rand

    def virtual(name: str) -> Callable[..., Any]:
        real = getattr(shared, name)

        def either(*args: Any, **options: Any) -> Any:
            life = LIFE.get()
            if life is None:
                return real(*args, **options)
            if life.numpy_random is None:
                life.numpy_random = numpy_random.RandomState(life.random.getrandbits(32))
            return getattr(life.numpy_random, name)(*args, **options)

        return either

    return tuple(
        (numpy_random, name, value, virtual(value.__name__))
        for name, value in sorted(vars(numpy_random).items())
        if getattr(value, "__self__", None) is shared
    )


def _numpy_replacements() -> tuple[Replacement, ...]:
    if "numpy" not in sys.modules:
        return ()
    # Loaded at its first use, else, and so by a host: its numbers would then go on from one world to the next.
    importlib.import_module("numpy.random")
    return _numpy_made_once()
