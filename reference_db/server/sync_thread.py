"""The single thread that makes written batches durable, while the loop goes on.

A dedicated thread and a plain queue: an executor costs more per call, and one thread is all that may ever sync.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable

from reference_db.storage.engine import Engine

log = logging.getLogger("disk")

SLOW_S = 0.5
"""A sync that takes longer is worth a line in the log: the disk is the reason why requests wait."""


class SyncThread:
    """Runs `engine.sync()` for the loop. An error of the disk is handed to `on_failure`: a node must stop then,
    because after a failed sync nothing is known about what earlier writes reached (fail-stop)."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, engine: Engine, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._loop = loop
        self._engine = engine
        self._on_failure = on_failure
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    def sync(self, done: Callable[[], None]) -> None:
        """Everything written before this call becomes durable; then `done()` is called on the loop."""
        self._queue.put(done)

    def stop(self) -> None:
        """End the thread after what is queued."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            done = self._queue.get()
            if done is None:
                return
            begin = time.monotonic()
            try:
                self._engine.sync()
            except BaseException as error:  # noqa: BLE001  (whatever it is, the loop must hear of it and stop)
                self._loop.call_soon_threadsafe(self._on_failure, error)
                return
            taken = time.monotonic() - begin
            if taken > SLOW_S:
                log.warning("a sync took %.1f s", taken)
            self._loop.call_soon_threadsafe(done)
