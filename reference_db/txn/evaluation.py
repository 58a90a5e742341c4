"""What comes of a request: a reply, and a command where something is to change."""

from __future__ import annotations

import msgspec

from ..api import RangeError, RangeReply, RangeRequest, Result
from ..timestamp import Timestamp
from .command import Command, Mutation


class Evaluation(msgspec.Struct, frozen=True, gc=False):
    """What came of a request."""

    reply: RangeReply
    command: Command | None = None
    confirm: bool = False
    """Without a command: reply only once leadership was confirmed after the evaluation."""


def answer(request: RangeRequest, result: Result, confirm: bool = False) -> Evaluation:
    """Nothing changes; this is how things stand."""
    return Evaluation(RangeReply(request.request_id, (result,)), confirm=confirm)


def decide(
    request: RangeRequest, result: Result, term: int, timestamp: Timestamp, mutations: list[Mutation]
) -> Evaluation:
    """A command that makes these mutations, and what is replied once it is applied."""
    command = Command(term, timestamp, tuple(mutations), request.generation)
    return Evaluation(RangeReply(request.request_id, (result,), timestamp), command)


def refuse(request: RangeRequest, error: RangeError, confirm: bool = False) -> Evaluation:
    """Nothing changes, because of `error`."""
    return Evaluation(RangeReply(request.request_id, error=error), confirm=confirm)
