"""A connection of psycopg that lets go at once when a call is cancelled.

By itself psycopg asks the server to cancel the statement, and waits up to ten seconds for it, in which a client of ours
would do nothing else. Here nobody is asked: the socket is closed, and what became of the statement is not known.
"""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from psycopg import waiting


class Connection(psycopg.AsyncConnection[Any]):
    """See the page."""

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As psycopg waits for an answer, but for what a cancellation does."""
        more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}  # Older ones know of none.
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, **more)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise
