"""A write that got no answer is sent again, as if it could not have happened.

It happens twice, the second time over what others wrote in between: a value that was overwritten comes back. The class
of TiDB's automatic retries (Jepsen, TiDB 2.1.7).
"""

from __future__ import annotations

from typing import Any

from reference_db.api import Ambiguous, ClientRequest, CompareAndSet, Delete, NotLeader, Put, RangeReply
from reference_db.node import Node

LAYER = "transaction"
ROUTES = ("H",)
WORKLOAD = "register"
NEMESIS = "partition,kill,pause"
SEEDS = (22,)


def plant(node: Node) -> None:
    """Override how this node treats single writes without an answer."""
    send, again = node.router.send, node._single_again

    async def send_again_and_again(
        operations: Any, deadline: float, *, repeatable: bool, **options: Any
    ) -> RangeReply:
        plain = isinstance(operations[0], (Put, Delete, CompareAndSet))
        return await send(operations, deadline, repeatable=repeatable or plain, **options)

    async def single_again(
        request: ClientRequest, operation: Any, range_id: int, asked: str, reply: RangeReply, deadline: float,
        done: Any,
    ) -> None:  # fmt: skip
        if isinstance(reply.error, Ambiguous):
            reply = RangeReply(reply.request_id, error=NotLeader(range_id))
        await again(request, operation, range_id, asked, reply, deadline, done)

    node.router.send = send_again_and_again  # type: ignore[method-assign]
    node._single_again = single_again  # type: ignore[method-assign]
