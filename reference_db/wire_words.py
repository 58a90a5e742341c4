"""What nodes write to each other, and clients to nodes, in a few words a message: for diagrams that people read.

Nothing decides by these words. A message of Raft is named by its kind, with the term of who sent it and what it says of
the log; requests and replies, by what is asked of which keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from reference_db.api import ClientReply, ClientRequest, RangeReply, RangeRequest
from reference_db.codec import FrameDecoder, PeerFrame
from reference_db.raft.messages import Message, MessageKind
from reference_db.ranges.closed_timestamps import Closings
from reference_db.ranges.heartbeats import ANSWER_NUMBERS, BEAT_NUMBERS, SLEEP_NUMBERS, Heartbeats

MOST_NAMED = 4
"""Operations, or ranges, that are named; of the others only how many they are."""


class Words(msgspec.Struct, frozen=True, gc=False):
    """One message."""

    kind: str
    text: str = ""
    range_id: int | None = None
    term: int = 0
    request_id: int = 0
    """Of a request between nodes, and of its reply."""


def between_nodes(data: bytes) -> list[Words]:
    """What one node has written to another. Raises ValueError for bytes that are not whole frames."""
    return [words for frame in _frames(PeerFrame, data) for words in _of_frame(frame)]


def of_client(data: bytes) -> list[Words]:
    """What a client has written. Raises ValueError as above."""
    return [
        Words("request", f"#{request.request_id} {_operation(request.operation)}")
        for request in _frames(ClientRequest, data)
    ]


def to_client(data: bytes) -> list[Words]:
    """What a client was answered. Raises ValueError as above."""
    return [
        Words("refusal", f"#{reply.request_id} {_error(reply.error)}")
        if reply.error is not None
        else Words("reply", f"#{reply.request_id} {_value(reply.value)}")
        for reply in _frames(ClientReply, data)
    ]


def _frames(content: Any, data: bytes) -> list[Any]:
    decoder: FrameDecoder[Any] = FrameDecoder(content)
    frames = decoder.feed(data)
    if decoder.pending_bytes:
        raise ValueError(f"the last {decoder.pending_bytes} of {len(data)} bytes are no whole frame")
    return frames


def _of_frame(frame: PeerFrame) -> list[Words]:
    told = [_raft(range_id, message) for range_id, message in frame.raft]
    for one in frame.messages:
        told.append(_request(one) if isinstance(one, RangeRequest) else _reply(one))
    if frame.heartbeats is not None:
        told += _heartbeats(frame.heartbeats)
    if frame.closings is not None:
        told.append(_closings(frame.closings))
    if not told:
        told.append(Words("clock", "only the sender's clock, and whom it follows" if frame.follows else ""))
    return told


def _raft(range_id: int, message: Message) -> Words:
    kind = message.kind.name.lower().replace("_", " ")
    text = ""
    match message.kind:
        case MessageKind.APPEND if message.entries:
            first, last = message.entries[0].index, message.entries[-1].index
            which = f"entry {first}" if first == last else f"entries {first} to {last}"
            text = f"{which}, commit {message.commit}"
        case MessageKind.APPEND:
            text = f"no entries, after {message.index}, commit {message.commit}"
        case MessageKind.APPEND_RESPONSE if message.reject:
            text = f"refuses what follows {message.index}, try {message.hint}"
        case MessageKind.APPEND_RESPONSE:
            text = f"has up to {message.index}"
        case MessageKind.VOTE | MessageKind.PRE_VOTE:
            text = f"last entry {message.index} of term {message.log_term}"
        case MessageKind.VOTE_RESPONSE | MessageKind.PRE_VOTE_RESPONSE:
            text = "no" if message.reject else "yes"
        case MessageKind.SNAPSHOT if message.snapshot is not None:
            text = f"up to {message.snapshot.index}, {len(message.snapshot.data)} bytes"
    return Words(kind, text, range_id, message.term)


def _request(request: RangeRequest) -> Words:
    number = request.request_id
    if not request.operations:  # A coordinator asks what others have acknowledged before a read begins.
        return Words("request", f"#{number} for its clock only")
    operations = _some(_operation(operation) for operation in request.operations)
    return Words("request", f"#{number} {operations}", request.range_id, request_id=number)


def _reply(reply: RangeReply) -> Words:
    number = reply.request_id
    if reply.error is not None:
        about = getattr(reply.error, "range_id", None)
        return Words("refusal", f"#{number} {_error(reply.error)}", about, request_id=number)
    results = _some(_value(result) for result in reply.results) or "the clock"
    return Words("reply", f"#{number} {results}", request_id=number)


def _heartbeats(heartbeats: Heartbeats) -> list[Words]:
    told = []
    for kind, row, numbers in (
        ("heartbeat", heartbeats.beats, BEAT_NUMBERS),
        ("heartbeat response", heartbeats.answers, ANSWER_NUMBERS),
        ("sleep", heartbeats.sleeps, SLEEP_NUMBERS),
    ):
        ranges, terms = row[::numbers], row[1::numbers]
        if len(ranges) == 1:
            told.append(Words(kind, "", ranges[0], terms[0]))
        elif ranges:
            pairs = (f"{one} (term {term})" for one, term in zip(ranges, terms, strict=True))
            told.append(Words(kind, f"of ranges {_some(pairs)}"))
    return told


def _closings(closings: Closings) -> Words:
    parts = [
        *([f"probe {closings.probe}"] if closings.probe else []),
        *([f"echo {closings.echo}"] if closings.echo else []),
        *([f"asks for ranges {_some(map(str, closings.asked))}"] if closings.asked else []),
        *(
            [f"closes ranges {_some(str(one.range_id) for one in closings.closed)}"]
            if closings.closed
            else []
        ),
    ]
    only = closings.closed[0].range_id if len(closings.closed) == 1 and not closings.asked else None
    return Words("closed timestamps", ", ".join(parts), only)


def _some(parts: Iterable[str]) -> str:
    whole = list(parts)
    more = f" and {len(whole) - MOST_NAMED} more" if len(whole) > MOST_NAMED else ""
    return ", ".join(whole[:MOST_NAMED]) + more


def _operation(operation: Any) -> str:
    """`Put k3`, `Scan k1 to k5`: its name, and the keys it is about."""
    name = type(operation).__name__.removeprefix("Client")
    key = getattr(operation, "key", None)
    keys = getattr(operation, "keys", None)
    if isinstance(key, bytes):
        return f"{name} {_text(key)}"
    if isinstance(keys, tuple):
        return f"{name} {_some(map(_text, keys))}"
    if hasattr(operation, "start"):
        end = operation.end
        return f"{name} {_text(operation.start) or 'the beginning'} to {'the end' if end is None else _text(end)}"
    items = getattr(operation, "items", None)
    if isinstance(items, tuple):
        return f"{name} {_some(_text(item.key) for item in items)}"
    transaction = getattr(operation, "transaction", None)
    return f"{name} {transaction}" if isinstance(transaction, int) else name


def _value(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        held = getattr(value, "value", None)
        return f"{type(value).__name__} {_text(held)}" if isinstance(held, bytes) else type(value).__name__
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{_some(map(_value, value))}]"
    return "done" if value is None else str(value)


def _error(error: Any) -> str:
    reason = getattr(error, "reason", "")
    leader = getattr(error, "leader", None)
    return f"{type(error).__name__}{f': {reason}' if reason else ''}{f': {leader} leads' if leader else ''}"


def _text(data: bytes) -> str:
    """As text where it is one, else in hexadecimal digits."""
    if len(data) > 60:
        return f"{_text(data[:40])}… ({len(data)} bytes)"
    text = data.decode("utf-8", "replace")
    return text if text.isprintable() and "\ufffd" not in text else data.hex()
