"""One node on a host that somebody else provides: a simulated one, with a disk, a clock and an end of its own.

The same program as in a process (`program.py`), on the engine that keeps its files on the host's disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from reference_db.node import NodeOptions
from reference_db.server.config import ServerConfig
from reference_db.server.joining import ask_to_join
from reference_db.server.program import FAIL_STOP, Program, StartFailed
from reference_db.server.stores import store_config
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

    def forget_by(self, forget: Callable[[], object]) -> None:
        """Have this called when the life is over and the next one has begun."""


async def serve_on(
    host: Host,
    config: ServerConfig,
    options: NodeOptions,
    stopping: asyncio.Event,
    *,
    trace: Trace | None = None,
    made: Callable[[Program], None] | None = None,
    folder: str = "data",
) -> int:
    """Run the node until it is asked to stop; answers the exit code. `made` is told of the program before it starts;
    `folder` of the disk has its data."""

    def fail(error: BaseException) -> None:
        log.critical("stopping at once: %s", error, exc_info=error)
        host.exit(FAIL_STOP)

    try:
        try:
            engine = FileEngine(host.disk, folder)
        except Exception as error:
            raise StartFailed(f"cannot open the data on the disk: {error}") from error
        syncer = FileSync(engine, fail)
        program = Program(
            config,
            options,
            engine=engine,
            syncer=syncer,
            wall_ns=host.clock.wall_ns,
            fail=fail,
            trace=trace,
            joining=await ask_to_join(config, engine),
        )
        host.forget_by(program.forget)
        host.forget_by(engine.forget)
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


async def serve_stores_on(
    host: Host,
    config: ServerConfig,
    options: NodeOptions,
    stopping: asyncio.Event,
    *,
    trace: Callable[[str], Trace | None] = lambda _store: None,
    made: Callable[[str, Program], None] = lambda _store, _program: None,
) -> int:
    """All stores of a node until it is asked to stop, or one of them ends: half a node is no node. With one core that
    is the node itself."""
    if options.cores == 1:
        return await serve_on(
            host, config, options, stopping, trace=trace(config.node), made=partial(made, config.node)
        )
    stores = []
    for core in range(1, options.cores + 1):
        one = store_config(config, options.cores, core)
        running = serve_on(
            host,
            one,
            options,
            stopping,
            trace=trace(one.node),
            made=partial(made, one.node),
            folder=Path(one.data_dir).name,
        )
        stores.append(asyncio.get_running_loop().create_task(running))
    for ended in asyncio.as_completed(stores):
        code = await ended
        if code:
            return code
    return 0
