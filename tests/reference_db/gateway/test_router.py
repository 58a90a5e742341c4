"""What the router sends again, what it does not, and how it says what is known."""

import asyncio
import random
from collections.abc import Callable

from reference_db.api import (
    Ambiguous,
    Get,
    NotLeader,
    Overloaded,
    Put,
    RangeReply,
    RangeRequest,
    TimedOut,
    ValueResult,
)
from reference_db.gateway import router as router_module
from reference_db.gateway.directory import Directory
from reference_db.gateway.router import Done, Router
from reference_db.ranges.descriptor import bootstrap
from reference_db.timestamp import HybridClock
from tests.reference_db.virtual_loop import run_virtually

OK = (ValueResult(b"v"),)


class Nodes:
    """Answers in place of the nodes; `answer(node, request)` is None for silence."""

    def __init__(self, answer: Callable[[str, RangeRequest], RangeReply | None]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.down: set[str] = set()
        self.router = Router(
            node="n1",
            directory=Directory(bootstrap(1, ["n1", "n2", "n3"], 3)),
            now=asyncio.get_running_loop().time,
            clock=HybridClock(lambda: 1),
            random_stream=random.Random(1),
            first_request_id=0,
            send_local=self._send_local,
            send_remote=self._send_remote,
        )

    def _send_local(self, request: RangeRequest, done: Done) -> None:
        self.asked.append("n1")
        reply = self.answer("n1", request)
        if reply is not None:
            done(reply)

    def _send_remote(self, node: str, request: RangeRequest) -> bool:
        if node in self.down:
            return False
        self.asked.append(node)
        reply = self.answer(node, request)
        if reply is not None:
            asyncio.get_running_loop().call_later(0.001, self.router.receive, reply)
        return True

    async def sweep(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self.router.sweep()

    async def send(self, operation: Get | Put, repeatable: bool, seconds: float = 3.0) -> RangeReply:
        sweeper = asyncio.create_task(self.sweep())
        deadline = asyncio.get_running_loop().time() + seconds
        reply = await self.router.send((operation,), deadline, repeatable=repeatable)
        sweeper.cancel()
        return reply


def leader_is(leader: str, hint: bool = True) -> Callable[[str, RangeRequest], RangeReply]:
    def answer(node: str, request: RangeRequest) -> RangeReply:
        if node == leader:
            return RangeReply(request.request_id, OK)
        return RangeReply(request.request_id, error=NotLeader(1, leader if hint else None))

    return answer


def test_a_refusal_that_names_the_leader_leads_there_and_is_remembered() -> None:
    async def story() -> None:
        nodes = Nodes(leader_is("n3"))
        assert (await nodes.send(Put(b"k", b"v"), repeatable=False)).results == OK
        assert nodes.asked == ["n1", "n3"]
        assert (await nodes.send(Put(b"k", b"v"), repeatable=False)).results == OK
        assert nodes.asked == ["n1", "n3", "n3"]

    run_virtually(story())


def test_without_a_hint_the_replicas_are_asked_in_turn() -> None:
    async def story() -> None:
        nodes = Nodes(leader_is("n2", hint=False))
        assert (await nodes.send(Put(b"k", b"v"), repeatable=False)).results == OK
        assert nodes.asked == ["n1", "n2"]

    run_virtually(story())


def test_a_write_that_got_no_answer_is_never_sent_again() -> None:
    async def story() -> None:
        nodes = Nodes(lambda _node, _request: None)
        reply = await nodes.send(Put(b"k", b"v"), repeatable=False)
        assert isinstance(reply.error, Ambiguous)
        assert nodes.asked == ["n1"]

    run_virtually(story())


def test_a_read_that_got_no_answer_goes_to_the_next() -> None:
    async def story() -> None:
        nodes = Nodes(lambda node, request: None if node == "n1" else RangeReply(request.request_id, OK))
        reply = await nodes.send(Get(b"k"), repeatable=True)
        assert reply.results == OK
        assert nodes.asked == ["n1", "n2"]
        assert asyncio.get_running_loop().time() > router_module.ATTEMPT_S

    run_virtually(story())


def test_a_write_that_nobody_could_take_certainly_did_not_happen() -> None:
    async def story() -> None:
        nodes = Nodes(lambda _node, request: RangeReply(request.request_id, error=NotLeader(1)))
        nodes.down = {"n2", "n3"}
        reply = await nodes.send(Put(b"k", b"v"), repeatable=False)
        assert isinstance(reply.error, TimedOut)
        assert reply.error.definite

    run_virtually(story())


def test_a_link_that_breaks_ends_a_write_at_once_as_unknown() -> None:
    async def story() -> None:
        nodes = Nodes(lambda _node, _request: None)
        nodes.router.directory.learn_leader(1, "n2")
        sending = asyncio.create_task(nodes.send(Put(b"k", b"v"), repeatable=False))
        await asyncio.sleep(0.01)
        nodes.router.link_lost("n2")
        await asyncio.sleep(0.01)
        assert sending.done()
        assert isinstance(sending.result().error, Ambiguous)

    run_virtually(story())


def test_late_and_repeated_replies_are_dropped() -> None:
    async def story() -> None:
        nodes = Nodes(lambda _node, _request: None)
        replies: list[RangeReply] = []
        request = RangeRequest(nodes.router.next_id(), 1, 1, (Get(b"k"),))
        nodes.router.ask("n2", request, asyncio.get_running_loop().time() + 1, replies.append)
        nodes.router.receive(RangeReply(request.request_id, OK))
        nodes.router.receive(RangeReply(request.request_id, OK))
        nodes.router.receive(RangeReply(12345, OK))
        assert len(replies) == 1
        assert nodes.router.pending == 0

    run_virtually(story())


def test_too_many_requests_under_way_are_refused() -> None:
    async def story() -> None:
        nodes = Nodes(lambda _node, _request: None)
        replies: list[RangeReply] = []
        deadline = asyncio.get_running_loop().time() + 1
        for _ in range(router_module.PENDING_MOST + 1):
            nodes.router.ask(
                "n2", RangeRequest(nodes.router.next_id(), 1, 1, (Get(b"k"),)), deadline, replies.append
            )
        assert [type(reply.error) for reply in replies] == [Overloaded]

    run_virtually(story())
