"""A node that is new asks a running cluster to take it as a member, before it starts.

It is told the state of placement that names it, and with that its Raft id. What it was told is on its disk from its
first start on, so it asks once in its life; asked twice, the cluster answers the same.
"""

from __future__ import annotations

import asyncio
import logging

from reference_db.client import Client, ClientError
from reference_db.gateway.members import PLACEMENT
from reference_db.placement.state import Placement
from reference_db.server.config import ServerConfig
from reference_db.server.program import StartFailed
from reference_db.storage.engine import Reader

log = logging.getLogger("server")

AGAIN_S = 0.3


async def ask_to_join(config: ServerConfig, engine: Reader) -> Placement | None:
    """The state of placement that names this node; None if it is a founder, or has joined before. Raises StartFailed
    where nobody takes it."""
    wish = config.join
    if wish is None or engine.get(PLACEMENT) is not None:
        return None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wish.patience_s
    while True:
        client = Client(wish.clients, socks=config.socks)
        try:
            return await client.join(config.node, wish.address, wish.zone)
        except ClientError as error:
            if error.kind == "bad-request" or loop.time() > deadline:
                raise StartFailed(f"the cluster does not take {config.node}: {error}") from error
            log.info("not a member yet: %s", error)
        finally:
            client.close_now()
        await asyncio.sleep(AGAIN_S)
