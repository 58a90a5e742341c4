"""One node as a process: opens disk and sockets, runs the node until a signal, and stops at once on a broken promise.

A failed sync and an unexpected exception in the node's own work both end the process (fail-stop): what is in memory
cannot be trusted any more, and a restart from the disk can.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reference_db.codec import PeerFrame, encode_frame
from reference_db.node import Node, NodeOptions
from reference_db.server.clock import Clock
from reference_db.server.config import ServerConfig
from reference_db.server.connections import ClientProtocol, PeerProtocol
from reference_db.server.links import PeerLinks
from reference_db.server.sync_thread import SyncThread
from reference_db.storage.rocks_engine import RocksEngine
from reference_db.timestamp import ZERO

log = logging.getLogger("server")

FAIL_STOP = 70
"""Exit code after a broken promise."""
SWITCH_INTERVAL_S = 0.0005
"""How long the loop may keep the GIL from the sync thread, and the other way round."""


class StartFailed(Exception):
    """The node cannot start; the text says why and what to do."""


def set_up_logging() -> None:
    """Lines `TIME LEVEL area: text` on stderr."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )


def load_defect(name: str) -> Callable[[Node], None]:
    """The `plant` function of a planted defect: `leader-local-read`, or `module:attribute` for one from elsewhere.
    Raises StartFailed for a name that is not there."""
    module_name, _, attribute = name.partition(":")
    if not attribute:
        module_name, attribute = f"reference_db.defects.{name.replace('-', '_')}", "plant"
    try:
        plant: Callable[[Node], None] = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise StartFailed(f"no defect {name!r}: {error}") from error
    return plant


def on_exception(context: dict[str, Any], fail: Callable[[BaseException], None]) -> None:
    """What asyncio tells of an exception that nobody caught: broken connections are a line in the log, a request's task
    or a connection that failed is an error, and an exception in the node's own turns and timers ends the process. An
    OSError is no exception to that: raised in a turn, by the disk, it leaves a range half way through its work."""
    error = context.get("exception")
    of_connection = "protocol" in context or "transport" in context
    if of_connection and isinstance(error, OSError):
        log.info("%s: %s", context.get("message"), error)
    elif of_connection or "task" in context or error is None:
        log.error("%s", context.get("message"), exc_info=error)
    else:
        fail(error)


async def serve(config: ServerConfig, options: NodeOptions) -> int:
    """Run the node until SIGTERM or SIGINT. Returns the exit code. Raises StartFailed."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    exit_code = 0

    def fail(error: BaseException) -> None:
        nonlocal exit_code
        log.critical("stopping at once: %s", error, exc_info=error)
        sys.stderr.flush()
        os._exit(FAIL_STOP)

    loop.set_exception_handler(lambda _loop, context: on_exception(context, fail))
    plant = load_defect(config.defect) if config.defect else None
    data_dir = Path(config.data_dir)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        engine = RocksEngine(data_dir / "rocksdb")
    except Exception as error:
        raise StartFailed(f"cannot open the data folder {data_dir}: {error}") from error
    clock = Clock(config.clock_file)
    syncer = SyncThread(loop, engine, fail)
    hello = encode_frame(PeerFrame(config.node, ZERO))
    node: Node | None = None

    def link_lost(peer: str) -> None:
        if node is not None:
            node.link_lost(peer)

    links = PeerLinks(hello, config.peers, link_lost)
    try:
        node = Node(
            name=config.node,
            nodes=config.nodes,
            replication=config.replication,
            ranges=config.ranges,
            engine=engine,
            transport=links,
            syncer=syncer,
            wall_ns=clock.wall_ns,
            random_stream=random.Random(config.seed),
            options=options,
            notice=lambda area, text: logging.getLogger(area).info(text),
            alarm=lambda area, text: logging.getLogger(area).error(text),
        )
    except ValueError as error:
        raise StartFailed(str(error)) from error
    if plant is not None:
        plant(node)
        log.warning("the defect %s is planted in this node", config.defect)
    running = node
    try:
        peers = await loop.create_server(
            lambda: PeerProtocol(running, links.heard), *config.peer_listen, reuse_address=True
        )
        clients = await loop.create_server(
            lambda: ClientProtocol(running), *config.client_listen, reuse_address=True
        )
    except OSError as error:
        raise StartFailed(
            f"cannot listen on {config.peer_listen} and {config.client_listen}: {error}; "
            "is another node running there?"
        ) from error
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    links.start()
    node.start()
    log.info(
        "%s serves clients on %s:%d and peers on %s:%d, data in %s",
        config.node,
        *config.client_listen,
        *config.peer_listen,
        data_dir,
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    watching = asyncio.create_task(_watch(links))
    await stopping.wait()
    log.info("%s stops", config.node)
    await node.drain()
    clients.close()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    node.stop()
    await links.stop()
    peers.close()
    syncer.stop()
    engine.close()
    clock.close()
    return exit_code


async def _watch(links: PeerLinks) -> None:
    while True:
        await asyncio.sleep(1.0)
        links.watch()


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
