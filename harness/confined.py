"""Runs a function in a process of its own, which is ended when it takes too long or too much memory.

A checker looks at its limits as it works, but a sort of a million numbers or one large allocation looks at nothing. So
the work is done in a child, and its parent watches it: how long it runs, and how much memory it and its own children
hold (`/proc`; elsewhere only the child's own limit counts). A child that passes a limit is killed; what it has sent
until then counts.

The child sends messages through `send`, any number, each a `bytes`; the parent gets them through `on_message`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Final

POLL_S: Final = 0.005
"""How often the memory is looked at; an allocation gets some megabytes further meanwhile."""
GRACE_S: Final = 0.5
"""A child may be late by this much, to say by itself what it could not decide."""
BACKSTOP: Final = 1.5
"""A single allocation beyond the limit times this fails at once, before it is touched."""
_CPU_GRACE_S: Final = 60
_MEGABYTE: Final = 1_000_000

DONE: Final = "done"
OUT_OF_TIME: Final = "time"
OUT_OF_MEMORY: Final = "memory"
BROKE_DOWN: Final = "broke down"


@dataclass(frozen=True)
class Confined:
    """A function to run, with its limits. It is called as `function(send, *arguments)`."""

    function: Callable[..., None]
    arguments: tuple[Any, ...]
    time_limit_s: float
    memory_limit_mb: int


@dataclass
class Ended:
    """How one run ended."""

    reason: str
    """`DONE`, `OUT_OF_TIME`, `OUT_OF_MEMORY` or `BROKE_DOWN` (it ended without having been asked to)."""
    seconds: float
    most_mb: float
    """The most memory that was seen; 0 if it could not be looked at."""
    exit_code: int | None


@dataclass
class _Child:
    work: Confined
    position: int
    process: Any
    connection: Connection
    started: float
    most_mb: float = 0.0
    killed: str | None = None
    open: bool = True
    seconds: float = field(default=0.0)


def run_confined(
    works: Sequence[Confined],
    jobs: int,
    on_message: Callable[[int, bytes], None],
    on_end: Callable[[int, Ended], None],
    on_tick: Callable[[dict[int, tuple[float, float]]], None] = lambda running: None,
) -> None:
    """Runs all works, `jobs` at a time, in their order.

    `on_message(position, message)` and `on_end(position, ended)` are called as things happen; `on_tick` now and then
    with the seconds and megabytes of what is running. However this ends, no child is left.
    """
    waiting = list(enumerate(works))
    children: list[_Child] = []
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    try:
        while waiting or children:
            while waiting and len(children) < max(1, jobs):
                position, work = waiting.pop(0)
                children.append(_start(context, position, work))
            wait([child.connection for child in children if child.open], timeout=POLL_S)
            for child in list(children):
                _receive(child, on_message)
                if child.open:
                    _watch(child)
                    continue
                child.process.join(5)
                if child.process.exitcode is None:
                    _kill(child)
                    child.process.join()
                children.remove(child)
                on_end(child.position, _ended(child))
            now = time.monotonic()
            on_tick({child.position: (now - child.started, child.most_mb) for child in children})
    finally:
        for child in children:
            _kill(child)
            child.process.join()


def _start(context: BaseContext, position: int, work: Confined) -> _Child:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(  # type: ignore[attr-defined]
        target=_run, args=(theirs, work, os.getpid()), name=f"check-{position}"
    )
    # What is still in the buffers of our streams would be written once more by the child.
    sys.stdout.flush()
    sys.stderr.flush()
    process.start()
    theirs.close()
    return _Child(work, position, process, ours, time.monotonic())


def _run(connection: Connection, work: Confined, parent: int) -> None:
    """In the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent ends its children.
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    _limit(work)
    work.function(connection.send_bytes, *work.arguments)
    connection.close()


def _limit(work: Confined) -> None:
    """Limits that hold also if the parent is gone."""
    seconds = int(work.time_limit_s * 4) + _CPU_GRACE_S
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    held = _of_status(os.getpid(), "VmData")
    if held is not None:
        most = int(held * 1024 + work.memory_limit_mb * _MEGABYTE * BACKSTOP)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _receive(child: _Child, on_message: Callable[[int, bytes], None]) -> None:
    """Takes what the child has sent; notices when it has ended."""
    try:
        while child.connection.poll():
            on_message(child.position, child.connection.recv_bytes())
    except (EOFError, OSError):
        child.open = False
        child.connection.close()
        child.seconds = time.monotonic() - child.started


def _watch(child: _Child) -> None:
    if child.killed is not None:
        return
    held = held_mb(child.process.pid)
    child.most_mb = max(child.most_mb, held)
    if held > child.work.memory_limit_mb:
        child.killed = OUT_OF_MEMORY
    elif time.monotonic() - child.started > child.work.time_limit_s + GRACE_S:
        child.killed = OUT_OF_TIME
    if child.killed is not None:
        _kill(child)


def _kill(child: _Child) -> None:
    """Ends the child and what it has started."""
    pid = child.process.pid
    if pid is None or child.process.exitcode is not None:
        return
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)  # The child leads a group of its own.
    child.process.kill()


def _ended(child: _Child) -> Ended:
    code = child.process.exitcode
    if child.killed is not None:
        reason = child.killed
    elif code == 0:
        reason = DONE
    elif code is not None and code == -signal.SIGXCPU:
        reason = OUT_OF_TIME
    else:
        reason = BROKE_DOWN
    return Ended(reason, child.seconds, child.most_mb, code)


def held_mb(pid: int) -> float:
    """The memory that a process and its descendants hold, in MB; 0 where that cannot be seen."""
    return sum(_resident_bytes(one) for one in _family(pid)) / _MEGABYTE


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


def _of_status(pid: int, name: str) -> int | None:
    """A line of `/proc/PID/status`, in KiB; None where there is none."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    except (OSError, IndexError, ValueError):
        pass
    return None
