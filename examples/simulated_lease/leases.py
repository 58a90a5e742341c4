"""A counter that workers increment while they hold a lease: plain asyncio, which knows nothing of any simulation.

Three parts talk in lines of JSON. The *lock service* grants a lease to one worker at a time. The *store* keeps one
number. A *worker* takes the lease, reads the number, works a little, looks whether its lease still holds, and writes
the number plus one. So no increment that the store has confirmed is ever lost, or so it seems.

    python -m examples.simulated_lease.leases            # three workers on real sockets, for two seconds
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("leases")

Address = tuple[str, int]
Message = dict[str, Any]

LEASE_S = 1.0
WORK_S = 0.05
RETRY_S = 0.02
ANSWER_S = 2.0
"""A worker that has waited so long for an answer opens a new connection and begins again."""


class Unanswered(Exception):
    """The other side cannot be reached or does not answer; what was asked may have happened."""


class LockService:
    """Grants the lease to one worker at a time, each time with a higher token."""

    def __init__(self) -> None:
        self._token = 0
        self._ends = 0.0

    def answer(self, request: Message) -> Message:
        """`acquire`: granted if nobody holds it. `release`: free, if this token holds it."""
        now = time.monotonic()
        if request["verb"] == "acquire":
            if now < self._ends:
                return {"granted": False}
            self._token += 1
            self._ends = now + LEASE_S
            return {"granted": True, "token": self._token}
        if request["token"] == self._token:
            self._ends = now
        return {}


class Store:
    """Keeps one number. A store with `fencing` turns away who comes with a token lower than one it has seen."""

    def __init__(self, *, fencing: bool) -> None:
        self.number = 0
        self._fencing = fencing
        self._highest_token = 0

    def answer(self, request: Message) -> Message:
        """`read` and `write`; both carry the token of the lease."""
        token = request["token"]
        if self._fencing and token < self._highest_token:
            log.info("token %d is turned away: %d has been here", token, self._highest_token)
            return {"ok": False}
        self._highest_token = max(token, self._highest_token)
        if request["verb"] == "write":
            log.info("token %d: %d -> %d", token, self.number, request["number"])
            self.number = request["number"]
        return {"ok": True, "number": self.number}


async def serve(answer: Callable[[Message], Message], port: int) -> asyncio.Server:
    """Answer every line on this port (0: any that is free)."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
                await writer.drain()
        writer.close()

    return await asyncio.start_server(converse, "0.0.0.0", port)


class Connection:
    """Asks one side, over a connection that is opened when it is needed."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, **request: Any) -> Message:
        """The answer. Raises Unanswered if there is none."""
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(*self._address)
                reader, writer = self._streams
                writer.write(json.dumps(request).encode() + b"\n")
                line = await reader.readline()
        except OSError as error:  # A timeout is one, too.
            self.close()
            raise Unanswered(f"{self._address}: {error!r}") from error
        if not line:
            self.close()
            raise Unanswered(f"{self._address}: the connection has ended")
        answer: Message = json.loads(line)
        return answer

    def close(self) -> None:
        """The next question opens a new one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class Tally:
    """What a worker knows of its increments."""

    confirmed: int = 0
    unknown: int = 0


async def work(lock: Address, store: Address, tally: Tally, goes_on: Callable[[], bool]) -> None:
    """Increment the number again and again, each time under a lease."""
    to_lock, to_store = Connection(lock), Connection(store)
    while goes_on():
        with contextlib.suppress(Unanswered):
            asked = time.monotonic()
            lease = await to_lock.ask(verb="acquire")
            if lease["granted"]:
                await increment(to_store, lease["token"], asked + LEASE_S, tally)
                await to_lock.ask(verb="release", token=lease["token"])
        await asyncio.sleep(RETRY_S)
    to_lock.close()
    to_store.close()


async def increment(store: Connection, token: int, lease_ends: float, tally: Tally) -> None:
    """Read, work, and write if the lease still holds. Here is the bug: it may end while the write is on its way."""
    answer = await store.ask(verb="read", token=token)
    await asyncio.sleep(WORK_S)
    if not answer["ok"] or time.monotonic() >= lease_ends:
        return
    tally.unknown += 1
    confirmed = (await store.ask(verb="write", token=token, number=answer["number"] + 1))["ok"]
    tally.unknown -= 1
    tally.confirmed += confirmed


async def run_here(seconds: float, workers: int = 3) -> tuple[Store, list[Tally]]:
    """All parts in one process on real sockets; answers the store and what each worker knows."""
    store = Store(fencing=False)
    tallies = [Tally() for _ in range(workers)]
    ends = time.monotonic() + seconds
    async with await serve(LockService().answer, 0) as locks, await serve(store.answer, 0) as numbers:
        lock_port, store_port = (server.sockets[0].getsockname()[1] for server in (locks, numbers))
        await asyncio.gather(
            *(
                work(
                    ("127.0.0.1", lock_port),
                    ("127.0.0.1", store_port),
                    tally,
                    lambda: time.monotonic() < ends,
                )
                for tally in tallies
            )
        )
    return store, tallies


def main() -> None:
    """Two seconds on real sockets."""
    store, tallies = asyncio.run(run_here(2.0))
    confirmed = [tally.confirmed for tally in tallies]
    print(f"confirmed increments {sum(confirmed)} {confirmed}; the store says {store.number}")


if __name__ == "__main__":
    main()
