"""Histories in EDN and in JSON: Jepsen's, Knossos', Elle's, Porcupine's key-value logs, and our own JSON lines.

Events are maps with `process`, `type` and `f`, and mostly `value`, `time` and `index`: in one vector or list, or a map
a line; records such as `#jepsen.history.Op{...}` are the map in them. A `key` beside the value makes the value
`[key, value]`, as Porcupine's key-value logs have it.
"""

from __future__ import annotations

from results.collector import collector_paused
from results.interchange.events_kernel import Reader
from results.interchange.places import FormatError, place
from results.interchange.reading import Reading, reading_of
from results.operation import Operation


def read_edn(text: bytes) -> Reading:
    """The history in a text of EDN. Raises FormatError where it is none, HistoryError where the events make none."""
    reader = Reader(text, False)
    events: list[Operation] = []
    with collector_paused():
        try:
            reader.events(events)
        except FormatError as error:
            raise _after(error, events) from None
        return reading_of(events, "edn", indexed=reader.indexed, timed=reader.timed > 0)


def read_json(text: bytes) -> Reading:
    """The history in a JSON list, or a JSON object a line; of lines, the last one may be torn, as a crash leaves it:
    then it has no end, and what it would have said is not known. A damaged line that is whole is no such thing.

    Raises FormatError where it is none, HistoryError where the events make none.
    """
    reader = Reader(text, True)
    events: list[Operation] = []
    torn = None
    with collector_paused():
        try:
            reader.events(events)
        except FormatError as error:
            last_line = text.rfind(b"\n", 0, len(text.rstrip())) + 1
            is_whole = text.endswith(b"\n")  # A line is written with its end, so what is torn off has none.
            if is_whole or reader.in_list or not events or reader.event_at < last_line or last_line == 0:
                raise _after(error, events) from None
            torn = (
                f"the last line ({place(text, last_line)}, {len(text) - last_line} bytes) was torn and is left out; "
                "an operation that it would have completed counts as info"
            )
        return reading_of(events, "json", indexed=reader.indexed, timed=reader.timed > 0, torn=torn)


def _after(error: FormatError, events: list[Operation]) -> FormatError:
    """The error, with how far the text could be read."""
    if not events:
        return error
    before = "the event before it" if len(events) == 1 else f"the {len(events)} events before it"
    return FormatError(
        f"{error.reason} ({before} could be read; cut the file there to judge them)", error.offset
    )
