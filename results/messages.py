"""Who sent what to whom, and when it arrived: the messages between the nodes of a simulated run, as a file.

The file is JSON lines, gzipped. Its first line says how many messages there were and how many are kept, the last ones;
then a line a message, in the order in which they were sent. `docs/run-folder.md` tells the fields.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence

import msgspec


class MessagesError(Exception):
    """A file of messages cannot be read; the message says where it is broken."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One message. Times in nanoseconds since the start of the run."""

    sent_ns: int
    source: str
    """A node, or `client`: the host of all clients."""
    target: str
    kind: str
    """A few words of the system's own: `append`, `vote response`, `request`."""
    arrived_ns: int | None = None
    """None: it never did, or not before the record ended."""
    range: str = ""
    """The range that it is about; empty: about none, or several."""
    term: int = 0
    """The sender's term in that range; 0: it says none."""
    text: str = ""
    """What it says, shortened."""


class MessageLog(msgspec.Struct, frozen=True):
    """What is known of a run's messages."""

    recorded: int
    """How many there were, those that are not kept among them."""
    messages: list[Message]
    """Those that are kept, in the order in which they were sent."""


class _Head(msgspec.Struct, frozen=True):
    recorded: int
    kept: int


def encode_messages(recorded: int, messages: Sequence[Message]) -> bytes:
    """The file's content. `recorded` is how many messages there were in all."""
    assert len(messages) <= recorded, f"{len(messages)} messages are kept of {recorded}"
    lines = msgspec.json.Encoder().encode_lines([_Head(recorded, len(messages)), *messages])
    return gzip.compress(lines, compresslevel=6, mtime=0)


def decode_messages(content: bytes) -> MessageLog:
    """The other way round. Raises MessagesError."""
    try:
        lines = gzip.decompress(content).splitlines()
        head = msgspec.json.decode(lines[0], type=_Head)
        decoder = msgspec.json.Decoder(Message)
        messages = [decoder.decode(line) for line in lines[1:]]
    except (OSError, EOFError, zlib.error, IndexError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MessagesError(f"the messages cannot be read: {error}") from error
    if len(messages) != head.kept:
        raise MessagesError(f"the file says that it keeps {head.kept} messages, and has {len(messages)}")
    return MessageLog(head.recorded, messages)
