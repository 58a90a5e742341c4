"""One node on a host that somebody else provides: a simulated one, with a disk, a clock and an end of its own.

The same program as in a process (`program.py`), on the engine that keeps its files on the host's disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from reference_db.node import NodeOptions
from reference_db.server.config import ServerConfig
from reference_db.server.program import FAIL_STOP, Program, StartFailed
from reference_db.storage.file_engine import Disk, FileEngine, FileSync
from reference_db.trace import Trace

log = logging.getLogger("server")

START_FAILED = 1
"""Exit code of a node that could not start."""


class HostClock(Protocol):
    """The wall clock of a host."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, as the host sees it."""


class Host(Protocol):
    """Where the node runs."""

    @property
    def disk(self) -> Disk: ...

    @property
    def clock(self) -> HostClock: ...

    def exit(self, code: int) -> None:
        """End this life at once, as `os._exit` does."""


async def serve_on(
    host: Host,
    config: ServerConfig,
    options: NodeOptions,
    stopping: asyncio.Event,
    *,
    trace: Trace | None = None,
    made: Callable[[Program], None] | None = None,
) -> int:
    """Run the node until it is asked to stop; answers the exit code. `made` is told of the program before it starts."""

    def fail(error: BaseException) -> None:
        log.critical("stopping at once: %s", error, exc_info=error)
        host.exit(FAIL_STOP)

    try:
        try:
            engine = FileEngine(host.disk)
        except Exception as error:
            raise StartFailed(f"cannot open the data on the disk: {error}") from error
        syncer = FileSync(engine, fail)
        program = Program(
            config, options, engine=engine, syncer=syncer, wall_ns=host.clock.wall_ns, fail=fail, trace=trace
        )
        if made is not None:
            made(program)
        await program.start()
    except StartFailed as error:
        log.error("%s cannot start: %s", config.node, error)
        return START_FAILED
    await stopping.wait()
    await program.stop()
    syncer.stop()
    engine.close()
    return 0
