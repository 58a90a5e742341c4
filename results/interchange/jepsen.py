"""Jepsen's histories, as EDN, as JSON or in its console log, read into ours.

Formats differ from file to file, and all are taken: a vector or list of maps, a map a line, a JSON list, or lines of
a log such as `INFO  jepsen.util - 3 :invoke :write 4`. What is made equal on the way:

- events are numbered as they come; without a `:time` they are a millisecond apart;
- a process that goes on after an info gets a new number (older Jepsen reused them);
- keywords become strings, and a process that is no number (`:nemesis`) an observer's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from results.history import History, HistoryError
from results.interchange import edn
from results.operation import INFO, INVOKE, TYPES, Operation

_LOG_LINE: Final = re.compile(
    r"^.*?\bjepsen\.util\b.*?-\s+(?P<process>:?\S+)\s+:(?P<type>invoke|ok|fail|info)\s+:(?P<f>\S+)\s*(?P<value>.*)$"
)


def load(path: Path) -> History:
    """The history in a file. Raises HistoryError if it holds none."""
    return read(path.read_text(), where=str(path))


def read(text: str, *, where: str = "the text") -> History:
    """The history in a text; `where` names it in errors. Raises HistoryError if there is none."""
    try:
        return History(_operations(_events(text)))
    except (edn.EdnError, msgspec.MsgspecError, HistoryError) as error:
        raise HistoryError(f"{where} is not a Jepsen history: {error}") from error


def _events(text: str) -> Iterator[dict[str, Any]]:
    start = text.lstrip()[:2]
    if not start:
        return
    if re.match(r"\[\s*\{\s*\"", text.lstrip()):
        yield from msgspec.json.decode(text, type=list[dict[str, Any]])
    elif start[0] in "[({;#":
        for value in edn.read_all(text):
            yield from _maps(value if isinstance(value, list) else [value])
    else:
        yield from _logged(text.splitlines())


def _maps(values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for value in values:
        if not isinstance(value, dict):
            raise HistoryError(f"{value!r:.80} is no operation; operations are maps")
        yield value


def _logged(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    found = False
    for line in lines:
        match = _LOG_LINE.match(line)
        if match is None:
            continue
        found = True
        values = edn.read_all(match["value"])
        (process,) = edn.read_all(match["process"])
        yield {
            "process": process,
            "type": match["type"],
            "f": match["f"],
            "value": values[0] if values else None,
        }
    if not found:
        raise HistoryError(
            "it is neither EDN nor JSON, and no line of it looks like an operation in Jepsen's log"
        )


def _operations(events: Iterable[dict[str, Any]]) -> Iterator[Operation]:
    numbers: dict[int, int] = {}
    """The number that each of Jepsen's processes has here now."""
    used: set[int] = set()
    for index, event in enumerate(events):
        missing = [name for name in ("process", "type", "f") if name not in event]
        if missing or event["type"] not in TYPES:
            raise HistoryError(f"event {index} has no {', '.join(missing) or 'known type'}: {event!r:.120}")
        process = event["process"]
        type_ = event["type"]
        if isinstance(process, int):
            if process not in numbers and type_ == INVOKE:
                numbers[process] = process if process not in used else max(used) + 1
                used.add(numbers[process])
            number: int | str = numbers.get(process, process)
            if type_ == INFO:
                numbers.pop(process, None)
        else:
            number = str(process)
        time = event.get("time")
        yield Operation(
            index,
            int(time) if isinstance(time, int | float) else index * 1_000_000,
            number,
            type_,
            str(event["f"]),
            event.get("value"),
            event.get("error"),
        )
