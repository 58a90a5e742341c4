"""One node put together: its links, listeners and conduct, on whatever loop, engine and clock it is given.

The process (`server.py`) gives it real ones, the simulation virtual ones; nothing in this file knows which. Whoever
runs it also says what `fail` does: a broken promise must end the node at once (fail-stop), since what is in memory
cannot be trusted any more, and a restart from the disk can.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import logging
import random
from collections.abc import Callable
from typing import Any

from reference_db.codec import PeerFrame, encode_frame
from reference_db.metrics import prometheus_text
from reference_db.node import Node, NodeOptions, SyncExecutor
from reference_db.placement.state import Placement
from reference_db.server.config import Address, ServerConfig
from reference_db.server.connections import ClientProtocol, PeerProtocol
from reference_db.server.links import PeerLinks
from reference_db.server.metrics_page import MetricsProtocol
from reference_db.storage.engine import Engine
from reference_db.timestamp import ZERO
from reference_db.trace import Trace

log = logging.getLogger("server")

FAIL_STOP = 70
"""Exit code after a broken promise."""
WATCH_S = 1.0

Fail = Callable[[BaseException], None]
"""Ends the node at once because of a broken promise."""


class StartFailed(Exception):
    """The node cannot start; the text says why and what to do."""


def load_defect(name: str) -> Callable[[Node], None]:
    """The `plant` function of a planted defect: `leader-local-read`, or `module:attribute` for one from elsewhere.
    Raises StartFailed for a name that is not there."""
    module_name, _, attribute = name.partition(":")
    if not attribute:
        module_name, attribute = f"reference_db.defects.{name.replace('-', '_')}", "plant"
    try:
        plant: Callable[[Node], None] = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise StartFailed(f"no defect {name!r}: {error}") from error
    if not _takes_a_node(plant):
        raise StartFailed(
            f"no defect {name!r}: {attribute} of {module_name} is no function of Python that takes a node and nothing "
            "else"
        )
    return plant


def _takes_a_node(plant: Any) -> bool:
    if not callable(plant) or inspect.isbuiltin(plant):
        return False
    try:
        inspect.signature(plant).bind(None)
    except (TypeError, ValueError):
        return False
    return True


def on_exception(context: dict[str, Any], fail: Fail) -> None:
    """What asyncio tells of an exception that nobody caught: broken connections are a line in the log, a request's task
    or a connection that failed is an error, and an exception in the node's own turns and timers ends the node. An
    OSError is no exception to that: raised in a turn, by the disk, it leaves a range half way through its work."""
    error = context.get("exception")
    of_connection = "protocol" in context or "transport" in context
    if of_connection and isinstance(error, OSError):
        log.info("%s: %s", context.get("message"), error)
    elif of_connection or "task" in context or error is None:
        log.error("%s", context.get("message"), exc_info=error)
    else:
        fail(error)


class Program:
    """One life of a node. Make it, `start` it, and `stop` it where it ends in order."""

    def __init__(
        self,
        config: ServerConfig,
        options: NodeOptions,
        *,
        engine: Engine,
        syncer: SyncExecutor,
        wall_ns: Callable[[], int],
        fail: Fail,
        trace: Trace | None = None,
        monotonic_ns: Callable[[], int] | None = None,
        joining: Placement | None = None,
    ) -> None:
        """Needs a running loop, whose exception handler it becomes. `wall_ns` is the node's wall clock, `monotonic_ns`
        as for `Node`. Raises StartFailed for a defect that is not there, and for an engine of another node."""
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: on_exception(context, fail))
        plant = load_defect(config.defect) if config.defect else None
        self.config = config
        hello = encode_frame(PeerFrame(config.node, ZERO))
        self.links = PeerLinks(hello, config.peers, self._link_lost, config.socks)
        try:
            self.node = Node(
                name=config.node,
                nodes=config.nodes,
                replication=config.replication,
                ranges=config.ranges,
                engine=engine,
                transport=self.links,
                syncer=syncer,
                wall_ns=wall_ns,
                random_stream=random.Random(config.seed),
                options=options,
                trace=trace,
                notice=lambda area, text: logging.getLogger(area).info(text),
                alarm=lambda area, text: logging.getLogger(area).error(text),
                monotonic_ns=monotonic_ns,
                joining=joining,
            )
        except ValueError as error:
            raise StartFailed(str(error)) from error
        if plant is not None:
            try:
                plant(self.node)
            except Exception as error:
                raise StartFailed(
                    f"the defect {config.defect} cannot be planted: {type(error).__name__}: {error}"
                ) from error
            log.warning("the defect %s is planted in this node", config.defect)
        self._servers: list[asyncio.Server] = []
        self._watching: asyncio.Task[None] | None = None

    def _link_lost(self, peer: str) -> None:
        self.node.link_lost(peer)

    def _metrics(self) -> str:
        return prometheus_text(self.node.sources())

    async def start(self) -> None:
        """Listen, dial the others, and begin to tick. Raises StartFailed where it cannot listen."""
        config, loop = self.config, asyncio.get_running_loop()
        listening: list[tuple[Callable[[], asyncio.Protocol], Address]] = [
            (lambda: PeerProtocol(self.node, self.links.heard), config.peer_listen),
            (lambda: ClientProtocol(self.node), config.client_listen),
        ]
        if config.metrics_listen is not None:
            listening.append((lambda: MetricsProtocol(self._metrics), config.metrics_listen))
        try:
            for protocol, address in listening:
                self._servers.append(await loop.create_server(protocol, *address, reuse_address=True))
        except OSError as error:
            raise StartFailed(
                f"cannot listen on {', '.join(str(address) for _, address in listening)}: {error}; "
                "is another node running there?"
            ) from error
        self.links.start()
        self.node.start()
        log.info(
            "%s serves clients on %s:%d and peers on %s:%d, data in %s",
            config.node,
            *config.client_listen,
            *config.peer_listen,
            config.data_dir,
        )
        self._watching = loop.create_task(self._watch())

    async def stop(self) -> None:
        """End in order: hand over what this node leads, then stop. The engine is not closed here."""
        log.info("%s stops", self.config.node)
        await self.node.drain()
        peers, *others = self._servers
        for server in others:
            server.close()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        self.node.stop()
        await self.links.stop()
        peers.close()

    def forget(self) -> None:
        """Where the life ended without `stop` and nothing of it will ever run again, though somebody keeps its tasks:
        let go of all that is large."""
        vars(self.node.store).clear()
        vars(self.node).clear()
        vars(self).clear()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            self.links.watch()
