"""Where in a text something did not fit: offsets, and the lines and columns that people look for."""

from __future__ import annotations


class FormatError(ValueError):
    """A text does not follow its format; `reason` says how, `offset` is the byte where it shows."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason, offset)
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.reason} at byte {self.offset}"


def line_and_column(text: bytes, offset: int) -> tuple[int, int]:
    """The line and the column of a byte, both from 1; columns count bytes."""
    offset = max(0, min(offset, len(text)))
    return text.count(b"\n", 0, offset) + 1, offset - text.rfind(b"\n", 0, offset)


def place(text: bytes, offset: int) -> str:
    """Line, column and byte of an offset, for an error."""
    line, column = line_and_column(text, offset)
    return f"line {line}, column {column} (byte {offset})"


def shown(text: bytes, offset: int, length: int = 30) -> str:
    """What stands at an offset, cut, and harmless whatever it is."""
    return repr(text[offset : offset + length].decode("utf-8", "replace"))
