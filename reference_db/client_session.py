"""A client's session: each write is carried out once, however often it has to be sent until its outcome is known.

One write at a time. A write that got no answer is sent again under the same number, to whatever node the client
reaches, and is answered as the first time; only when that has failed as well does it end as *may have happened*. A
session that has become too old is opened anew where that is safe: before the write was ever sent.

`is_blind` sends as often, without numbers: what sessions are for is seen by what happens then.
"""

from __future__ import annotations

import asyncio
from typing import Any

from reference_db.api import (
    ClientAdd,
    ClientCompareAndSet,
    ClientDelete,
    ClientPut,
    OpenSession,
    SessionWrite,
)
from reference_db.client import Client, ClientError, encode_value
from reference_db.timestamp import ZERO, Timestamp

ATTEMPTS_MOST = 6
"""How often a write is sent."""
PAUSE_FIRST_S = 0.05
"""Before a write is sent again; twice as long each time."""
EXPIRED = "session-expired"

SessionOperation = ClientPut | ClientDelete | ClientCompareAndSet | ClientAdd


class WriteSession:
    """Single writes of one client, each of them carried out once. Keys are text, values as in `Client`."""

    def __init__(self, client: Client, attempts_most: int = ATTEMPTS_MOST, *, is_blind: bool = False) -> None:
        self._client = client
        self._is_blind = is_blind
        self._attempts_most = attempts_most
        self._turn = asyncio.Lock()
        self._session = b""
        self._since = ZERO
        self._sequence = 0
        self.retries = 0
        """How often a write was sent again."""

    async def put(self, key: str, value: Any) -> None:
        """See `Client.put`."""
        await self._write(ClientPut(key.encode(), encode_value(value)))

    async def delete(self, key: str) -> None:
        """See `Client.delete`."""
        await self._write(ClientDelete(key.encode()))

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        """See `Client.compare_and_set`."""
        before = None if expected is None else encode_value(expected)
        after = None if new is None else encode_value(new)
        applied, _ = await self._write(ClientCompareAndSet(key.encode(), before, after))
        return bool(applied)

    async def add(self, key: str, amount: int) -> int:
        """Add to a whole number, which begins at 0; answers what it is then."""
        return int(await self._write(ClientAdd(key.encode(), amount)))

    async def _write(self, operation: SessionOperation) -> Any:
        async with self._turn:
            self._sequence += 1
            may_have_happened = False
            for attempt in range(1, self._attempts_most + 1):
                if attempt > 1:
                    await asyncio.sleep(PAUSE_FIRST_S * 2 ** (attempt - 2))
                try:
                    if self._is_blind:
                        self.retries += may_have_happened
                        return await self._client.call(operation)
                    if not self._session:
                        await self._open()
                    write = SessionWrite(self._session, self._sequence, self._since, may_have_happened)
                    self.retries += may_have_happened
                    return await self._client.call(operation, write=write)
                except ClientError as error:
                    problem = error
                    if error.kind == EXPIRED and not may_have_happened:
                        self._session = b""
                        continue
                    if error.definite and not may_have_happened:
                        raise
                    may_have_happened = may_have_happened or not error.definite
            if may_have_happened and problem.definite:
                raise ClientError(False, problem.kind, f"an earlier attempt may have arrived; {problem.text}")
            raise problem

    async def _open(self) -> None:
        """Raises ClientError, always definite for the write: it was not sent."""
        try:
            session, wall_ns, logical = await self._client.call(OpenSession(), is_read=True)
        except ClientError as error:
            raise ClientError(True, error.kind, f"no session could be opened: {error.text}") from error
        self._session, self._since = session, Timestamp(wall_ns, logical)
