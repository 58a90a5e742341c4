"""What a program must not see of the real world while it runs in a simulated one.

Code that runs on a simulated host gets the host's time and randomness where it asks for the real ones (`time`,
`datetime.now`, `random`, `uuid`, `os.urandom`, `secrets`), and is refused threads, subprocesses, sockets and files,
with an error that says what to use. Code of the harness itself, which is on no host, gets the real ones as ever.

The functions are replaced in their modules, and wherever one was imported by name (`from time import monotonic`), only
while a world runs. What a C extension asks the operating system for by itself is out of reach.
"""

from __future__ import annotations

import builtins
import datetime
import io
import logging
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from harness.environments.simulation.loop import (
    LIFE,
    REFUSED_WAY_OUT,
    RefusedInSimulation,
    SimulatedLoop,
)

_REFUSED: tuple[tuple[Any, str, str, str], ...] = (
    (threading.Thread, "start", "a thread", "use asyncio tasks"),
    (subprocess.Popen, "__init__", "a subprocess", "start another simulated host (World.host(name).start)"),
    (os, "system", "a subprocess", "start another simulated host (World.host(name).start)"),
    (os, "fork", "a fork", "start another simulated host (World.host(name).start)"),
    (socket.socket, "__init__", "a real socket", "use asyncio.open_connection and asyncio.start_server"),
    (builtins, "open", "a real file", "use the simulated disk: current_host().disk"),
    (io, "open", "a real file", "use the simulated disk: current_host().disk"),
    (os, "open", "a real file", "use the simulated disk: current_host().disk"),
    (os, "mkdir", "a real folder", "use the simulated disk: current_host().disk"),
    (os, "listdir", "a real folder", "use the simulated disk: current_host().disk"),
    (os, "scandir", "a real folder", "use the simulated disk: current_host().disk"),
    (os, "rename", "a real file", "use the simulated disk: current_host().disk"),
    (os, "replace", "a real file", "use the simulated disk: current_host().disk"),
    (os, "remove", "a real file", "use the simulated disk: current_host().disk"),
    (os, "unlink", "a real file", "use the simulated disk: current_host().disk"),
    (time, "sleep", "a blocking sleep", "use await asyncio.sleep(seconds)"),
)
"""Owner, attribute, what it would be, what to use instead."""

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

_installed: SimulatedLoop | None = None


@contextmanager
def guarding(loop: SimulatedLoop) -> Iterator[None]:
    """While the block runs, programs on the hosts of this loop's world see only the world. One world at a time."""
    global _installed
    if _installed is not None:
        raise RuntimeError("a simulated world is running already in this process: one at a time")
    _installed = loop
    undo: list[tuple[Any, str, Any]] = []
    try:
        replacements = _replacements(loop)
        by_identity = {}
        for owner, name, new in replacements:
            old = getattr(owner, name)
            undo.append((owner, name, old))
            setattr(owner, name, new)
            if not isinstance(owner, type):
                by_identity[id(old)] = (old, new)
        for module, name, old in _imported_by_name(by_identity):
            undo.append((module, name, old))
            setattr(module, name, by_identity[id(old)][1])
        with _logs_of_hosts():
            yield
    finally:
        for owner, name, old in reversed(undo):
            setattr(owner, name, old)
        _installed = None


class _HostLog(logging.Handler):
    """Stands before the handlers of the root logger: what a host logs goes to the log of that host alone."""

    def __init__(self, others: list[logging.Handler]) -> None:
        super().__init__()
        self._others = others
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

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


def _replacements(loop: SimulatedLoop) -> list[tuple[Any, str, Any]]:
    """Owner, attribute, what it is replaced by."""
    found: list[tuple[Any, str, Any]] = []
    for owner, name, what, instead in _REFUSED:
        found.append((owner, name, _refusing(getattr(owner, name), what, instead)))

    wall_ns: Callable[[], int] = lambda: _host().clock.wall_ns()  # noqa: E731
    monotonic_ns: Callable[[], int] = lambda: loop.now_ns  # noqa: E731
    for name, virtual in (
        ("time_ns", wall_ns),
        ("time", lambda: wall_ns() / 1e9),
        ("monotonic_ns", monotonic_ns),
        ("monotonic", lambda: monotonic_ns() / 1e9),
        ("perf_counter_ns", monotonic_ns),
        ("perf_counter", lambda: monotonic_ns() / 1e9),
        ("process_time_ns", monotonic_ns),
        ("process_time", lambda: monotonic_ns() / 1e9),
    ):
        found.append((time, name, _virtual(getattr(time, name), virtual)))
    for name in ("localtime", "gmtime"):
        found.append((time, name, _with_present_time(getattr(time, name), wall_ns)))

    for name in _RANDOM_FUNCTIONS:
        found.append((random, name, _virtual_random(name)))
    found.append((random.Random, "seed", _seeding(random.Random.seed)))
    urandom = _virtual(os.urandom, lambda count: _stream().randbytes(count))
    found.append((os, "urandom", urandom))
    found.append((random, "_urandom", urandom))
    found.append(
        (
            random.SystemRandom,
            "random",
            _virtual(random.SystemRandom.random, lambda _self: _stream().random()),
        )
    )
    found.append(
        (
            random.SystemRandom,
            "getrandbits",
            _virtual(random.SystemRandom.getrandbits, lambda _self, bits: _stream().getrandbits(bits)),
        )
    )
    found.append((secrets, "randbits", _virtual(secrets.randbits, lambda bits: _stream().getrandbits(bits))))
    found.append((secrets, "choice", _virtual(secrets.choice, lambda items: _stream().choice(items))))
    found.append(
        (
            uuid,
            "uuid1",
            _virtual(uuid.uuid1, lambda *_args: uuid.UUID(int=_stream().getrandbits(128), version=1)),
        )
    )
    found.append((datetime, "datetime", _datetime_class(wall_ns)))
    return found


def _host() -> Any:
    life = LIFE.get()
    assert life is not None, "only asked on a host"
    return life.host


def _stream() -> random.Random:
    life = LIFE.get()
    assert life is not None, "only asked on a host"
    return life.random


def _refusing(real: Callable[..., Any], what: str, instead: str) -> Callable[..., Any]:
    def refusing(*args: Any, **options: Any) -> Any:
        if LIFE.get() is None:
            return real(*args, **options)
        raise RefusedInSimulation(f"{what} inside the simulation: {REFUSED_WAY_OUT}; {instead}")

    return refusing


def _virtual(real: Callable[..., Any], virtual: Callable[..., Any]) -> Callable[..., Any]:
    def either(*args: Any, **options: Any) -> Any:
        return real(*args, **options) if LIFE.get() is None else virtual(*args, **options)

    return either


def _with_present_time(real: Callable[..., Any], wall_ns: Callable[[], int]) -> Callable[..., Any]:
    def either(seconds: float | None = None) -> Any:
        if seconds is None and LIFE.get() is not None:
            seconds = wall_ns() / 1e9
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


def _datetime_class(wall_ns: Callable[[], int]) -> type:
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
            now = real.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=wall_ns() // 1000)
            return now.astimezone(tz) if tz is not None else now.replace(tzinfo=None)

        @classmethod
        def utcnow(cls) -> Any:
            return real.utcnow() if LIFE.get() is None else cls.now(datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    return VirtualDatetime


_scanned: tuple[int, list[tuple[Any, str, Any]]] = (0, [])


def _imported_by_name(by_identity: dict[int, tuple[Any, Any]]) -> list[tuple[Any, str, Any]]:
    """Where else the replaced functions are known: modules outside of the standard library that imported one by name.
    Remembered until another module is loaded."""
    global _scanned
    if _scanned[0] != len(sys.modules):
        found = []
        for module_name, module in sorted(sys.modules.items()):
            top = module_name.partition(".")[0]
            if top in sys.stdlib_module_names or module is None or module is sys.modules[__name__]:
                continue
            for name, value in list(vars(module).items()):
                if id(value) in by_identity and by_identity[id(value)][0] is value and name != "_real_clock":
                    found.append((module, name, value))
        _scanned = (len(sys.modules), found)
    return _scanned[1]
