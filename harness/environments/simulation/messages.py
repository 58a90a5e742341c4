"""What hosts of a simulated world write to each other, kept for the run's message diagram: the last of it, never more.

A `Tape` sits on one direction of a connection. It notes each write of a program with its time, counts the bytes that
the other end has taken, and so knows when each write has arrived whole; one that a cut link, a reset or a death keeps
back never does. What was written is put into words only when the run is over, by the system whose bytes they are. So a
message costs two small steps while it travels, and a world without a record one comparison.

Recording decides nothing: it draws no random number and is no event of the world.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import pairwise

from harness.environments.environment import MessageReader, ToldMessage
from results.messages import Message

MOST_BYTES = 64 << 20
"""Of what was written, so many bytes are kept at the most."""
MOST_TEXT = 160
"""Characters of what a message says."""


class Written:
    """One write of a program."""

    __slots__ = ("arrived_ns", "data", "end", "sent_ns", "tape")

    def __init__(self, tape: Tape, sent_ns: int, data: bytes, end: int) -> None:
        self.tape = tape
        self.sent_ns = sent_ns
        self.data = data
        self.end = end
        """How many bytes the connection had carried in this direction once this write was read."""
        self.arrived_ns = -1


class Tape:
    """One direction of a connection; see the page."""

    __slots__ = (
        "_read_bytes",
        "_record",
        "_under_way",
        "_written_bytes",
        "is_dialler",
        "port",
        "source",
        "target",
    )

    def __init__(self, record: MessageRecord, source: str, target: str, port: int, is_dialler: bool) -> None:
        self._record = record
        self.source = source
        self.target = target
        self.port = port
        """The listener's."""
        self.is_dialler = is_dialler
        """The end that writes has opened the connection."""
        self._written_bytes = 0
        self._read_bytes = 0
        self._under_way: deque[Written] = deque()

    def wrote(self, data: bytes, now_ns: int) -> None:
        """A program has written this."""
        self._written_bytes += len(data)
        written = Written(self, now_ns, data, self._written_bytes)
        self._under_way.append(written)
        self._record.keep(written)

    def arrived(self, size_bytes: int, now_ns: int) -> None:
        """The other end has taken the next so many bytes."""
        self._read_bytes += size_bytes
        under_way = self._under_way
        while under_way and under_way[0].end <= self._read_bytes:
            under_way.popleft().arrived_ns = now_ns


class MessageRecord:
    """The last writes of a world."""

    def __init__(self, most: int, most_bytes: int = MOST_BYTES) -> None:
        """Of the writes the last `most` are kept, and no more than `most_bytes` in all."""
        assert most > 0 < most_bytes, f"a record of {most} writes and {most_bytes} bytes keeps nothing"
        self.writes = 0
        """How many there were, those that are not kept among them."""
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: deque[Written] = deque()

    def keep(self, written: Written) -> None:
        """The newest write; the oldest go where there are too many."""
        kept = self._kept
        self.writes += 1
        self._bytes += len(written.data)
        kept.append(written)
        while len(kept) > self._most or self._bytes > self._most_bytes:
            self._bytes -= len(kept.popleft().data)

    def told(
        self, reader: MessageReader | None, ports: Mapping[int, str], began_ns: int
    ) -> tuple[int, list[Message]]:
        """How many messages there were (as far as they are kept; a write that is not counts as one), and those kept.

        `reader` puts bytes into words, `ports` names the ports, `began_ns` is the world's time at which the run began:
        what was sent before is left out. A write may hold several messages, which then have the same times.
        """
        assert all(a.sent_ns <= b.sent_ns for a, b in pairwise(self._kept)), "writes are kept in their order"
        messages: list[Message] = []
        asked: dict[tuple[str, str, str], str] = {}
        """(who asks, whom, the exchange) -> the range of the question."""
        for written in self._kept:
            if written.sent_ns < began_ns:
                continue
            tape = written.tape
            arrived_ns = None if written.arrived_ns < 0 else written.arrived_ns - began_ns
            port = ports.get(tape.port, str(tape.port))
            for one in _read(reader, port, tape.is_dialler, written.data):
                about = one.range
                if one.exchange and about:
                    asked[tape.source, tape.target, one.exchange] = about
                elif one.exchange:
                    about = asked.pop((tape.target, tape.source, one.exchange), "")
                messages.append(
                    Message(
                        written.sent_ns - began_ns,
                        tape.source,
                        tape.target,
                        one.kind,
                        arrived_ns,
                        about,
                        one.term,
                        one.text if len(one.text) <= MOST_TEXT else one.text[: MOST_TEXT - 1] + "…",
                    )
                )
        return self.writes - len(self._kept) + len(messages), messages


def _read(reader: MessageReader | None, port: str, is_dialler: bool, data: bytes) -> list[ToldMessage]:
    """What the bytes say; only how many they are, where nobody can tell."""
    if reader is not None:
        try:
            return reader.read_messages(port, is_dialler, data)
        except ValueError:
            pass  # Not whole messages, or those of a database that is out of its mind.
    return [ToldMessage("bytes", f"{len(data)} bytes on the port {port}")]
