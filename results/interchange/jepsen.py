"""The history in a file of Jepsen's, or of any other tool: a short way to `results.interchange.formats`."""

from __future__ import annotations

from pathlib import Path

from results.history import History
from results.interchange.formats import read_history, read_text


def load(path: Path) -> History:
    """The history in a file. Raises HistoryError if it holds none."""
    return read_history(path).history


def read(text: str, *, where: str = "the text") -> History:
    """The history in a text; `where` names it in errors. Raises HistoryError if there is none."""
    return read_text(text.encode(), where=where).history
