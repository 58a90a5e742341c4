"""The formats that histories come in, by name, and which of them a file is in.

The format is seen from the content, never from the name of the file. A text that looks like one format and then does
not follow it is an error of that format, with its line and column; a text that looks like none gives an error that
says of each format where it stops to fit.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from results.history import HistoryError
from results.interchange import console, structured, transactions_text
from results.interchange.places import FormatError, place
from results.interchange.reading import Reading
from results.interchange.source import read_bytes

_BEGINNING_BYTES: Final = 65536
"""How much of a log is looked at for a first operation."""
_PRELUDE: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:[\s,]+|;[^\n]*\n?)*")
"""What may stand before the first value of EDN."""


@dataclass(frozen=True)
class Format:
    """One notation for histories."""

    name: str
    caption: str
    looks_like: Callable[[bytes], bool]
    """Whether a text begins as this format does."""
    read: Callable[[bytes], Reading]
    """The history in a text. Raises FormatError or HistoryError."""


def _first(text: bytes) -> bytes:
    """The text from its first value on, as much as the formats differ by."""
    found = _PRELUDE.match(text)
    start = 0 if found is None else found.end()
    return text[start : start + 4096]


def _looks_like_json(text: bytes) -> bool:
    return re.match(rb"\[\s*\{\s*[\"}]|\{\s*\"|\[\s*\]\s*$", _first(text)) is not None


def _looks_like_edn(text: bytes) -> bool:
    return re.match(rb"[\[({#^]", _first(text)) is not None and not _looks_like_json(text)


def _looks_like_log(text: bytes) -> bool:
    lines = text[:_BEGINNING_BYTES].split(b"\n")
    if any(console.LINE.match(line.rstrip(b"\r")) for line in lines if console.MARK.search(line)):
        return True
    return b"jepsen" in text[:_BEGINNING_BYTES] and console.MARK.search(text) is not None


def _first_line_is(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(rb"\s*(?:" + pattern + rb")[ \t]*\r?(?:\n|$)")
    return lambda text: compiled.match(text[:_BEGINNING_BYTES]) is not None


FORMATS: Final[tuple[Format, ...]] = (
    Format(
        "json",
        "JSON: a list of events, or an event a line, as our own runs keep them",
        _looks_like_json,
        structured.read_json,
    ),
    Format(
        "edn", "EDN: Jepsen, Knossos, Elle, Porcupine's key-value logs", _looks_like_edn, structured.read_edn
    ),
    Format("jepsen-log", "Jepsen's console log, or its history.txt", _looks_like_log, console.read),
    Format(
        "sessions",
        "AWDIT's and Plume's text: r KEY VALUE, w KEY VALUE, ----- and =====",
        _first_line_is(rb"[rw][ \t]+\S+[ \t]+\S+|-{3,}|={3,}"),
        transactions_text.read_sessions,
    ),
    Format(
        "isovista",
        "IsoVista's text: r(KEY,VALUE,SESSION,TRANSACTION)",
        _first_line_is(rb"[rw]\([^)\n]*\)"),
        transactions_text.read_isovista,
    ),
    Format(
        "micro-operations",
        "events with micro-operations: ok 3 a 8 1 r 9 1,2",
        _first_line_is(rb"(?:invoke|ok|fail|info)[ \t]+\d+(?:[ \t]+[^\n]*)?"),
        transactions_text.read_micro_operations,
    ),
)


def read_history(path: Path, format: str | None = None) -> Reading:
    """The history in a file, packed or not. Raises HistoryError, which names the file and the place."""
    return read_text(read_bytes(path), format, where=str(path))


def detect(text: bytes) -> str | None:
    """The name of the format that a text looks like; None if it is none, or empty."""
    return next((one.name for one in FORMATS if one.looks_like(text)), None)


def read_text(text: bytes, format: str | None = None, *, where: str = "the text") -> Reading:
    """The history in a text of one of `FORMATS`, of the named one if one is named. Raises HistoryError."""
    if format is not None:
        chosen = next((one for one in FORMATS if one.name == format), None)
        if chosen is None:
            names = ", ".join(one.name for one in FORMATS)
            raise HistoryError(f"{format!r} is no format of histories; there are {names}")
    else:
        chosen = next((one for one in FORMATS if one.looks_like(text)), None)
    if chosen is None:
        if not text.removeprefix(codecs.BOM_UTF8).strip():
            return structured.read_json(b"")
        raise HistoryError(_none_fits(text, where))
    try:
        return chosen.read(text)
    except FormatError as error:
        named = f"--format {format}" if format else f"it looks like {chosen.name}"
        raise HistoryError(f"{where}: {place(text, error.offset)}: {error.reason} ({named})") from error
    except HistoryError as error:
        raise HistoryError(f"{where} ({chosen.name}): {error}") from error


def _none_fits(text: bytes, where: str) -> str:
    if b"\x00" in text[:_BEGINNING_BYTES]:
        return f"{where} is no text (byte {text.index(0)} is a zero): histories are text, packed with gzip or not"
    tried = []
    for one in FORMATS:
        try:
            one.read(text)
        except FormatError as error:
            tried.append(f"\n  {one.name}: {place(text, error.offset)}: {error.reason}")
        except HistoryError as error:
            tried.append(f"\n  {one.name}: {error}")
        else:
            tried.append(
                f"\n  {one.name}: it could be read as that, though it does not look like it: --format {one.name}"
            )
    return f"{where} is in none of the formats that can be read:{''.join(tried)}"
