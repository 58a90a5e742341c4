"""One node as a process: opens disk and sockets, runs the node until a signal, and stops at once on a broken promise.

A failed sync and an unexpected exception in the node's own work both end the process (fail-stop); see `program.py`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from pathlib import Path

from reference_db.node import NodeOptions
from reference_db.server.clock import Clock, monotonic_ns
from reference_db.server.config import ServerConfig
from reference_db.server.joining import ask_to_join
from reference_db.server.program import FAIL_STOP, Program, StartFailed
from reference_db.server.sync_thread import SyncThread
from reference_db.storage.rocks_engine import RocksEngine

log = logging.getLogger("server")

SWITCH_INTERVAL_S = 0.0005
"""How long the loop may keep the GIL from the sync thread, and the other way round."""


def set_up_logging() -> None:
    """Lines `TIME LEVEL area: text` on stderr, in UTC."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )


def stop_at_once(error: BaseException) -> None:
    """A promise is broken: no `finally` block may write another byte."""
    log.critical("stopping at once: %s", error, exc_info=error)
    sys.stderr.flush()
    os._exit(FAIL_STOP)


async def serve(config: ServerConfig, options: NodeOptions) -> int:
    """Run the node until SIGTERM or SIGINT. Returns the exit code. Raises StartFailed."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    data_dir = Path(config.data_dir)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        engine = RocksEngine(data_dir / "rocksdb")
    except Exception as error:
        raise StartFailed(f"cannot open the data folder {data_dir}: {error}") from error
    joining = await ask_to_join(config, engine)
    clock = Clock(config.clock_file)
    syncer = SyncThread(loop, engine, stop_at_once)
    program = Program(
        config,
        options,
        engine=engine,
        syncer=syncer,
        wall_ns=clock.wall_ns,
        fail=stop_at_once,
        monotonic_ns=monotonic_ns,
        joining=joining,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await program.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await stopping.wait()
    await program.stop()
    syncer.stop()
    engine.close()
    clock.close()
    return 0


def run(config: ServerConfig, options: NodeOptions) -> int:
    """Run a node on uvloop, or on asyncio's own loop where uvloop is not installed. Returns the exit code."""
    set_up_logging()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(serve(config, options))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(config, options))
