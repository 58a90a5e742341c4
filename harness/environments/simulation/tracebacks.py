"""What a traceback says in the log of a host: the same in every checkout, whether or not somebody watches the nodes.

Files are named from the root of their package on, and frames that hide themselves are left out: by the convention of
pytest, those with a local variable `__tracebackhide__`.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Final

HIDES: Final = "__tracebackhide__"
_OUR_ROOT: Final = str(Path(__file__).resolve().parents[3])


def traceback_text(error: BaseException) -> str:
    """The traceback of this error and of those that led to it, as Python prints it."""
    summary = traceback.TracebackException.from_exception(error)
    _tidy(summary, error)
    return "".join(summary.format()).rstrip()


def _tidy(summary: traceback.TracebackException, error: BaseException) -> None:
    shown = []
    for (frame, _line), entry in zip(traceback.walk_tb(error.__traceback__), summary.stack, strict=True):
        if HIDES not in frame.f_locals:
            # Read while it still says where the file is.
            _ = entry.line
            entry.filename = _from_its_root(entry.filename)
            shown.append(entry)
    summary.stack[:] = shown
    for below, cause in ((summary.__cause__, error.__cause__), (summary.__context__, error.__context__)):
        if below is not None and cause is not None:
            _tidy(below, cause)
    if isinstance(error, BaseExceptionGroup):
        for below, part in zip(summary.exceptions or (), error.exceptions, strict=False):
            _tidy(below, part)


def _from_its_root(path: str) -> str:
    for root in sorted({_OUR_ROOT, *sys.path}, key=len, reverse=True):
        if root and path.startswith(root + "/"):
            return path[len(root) + 1 :]
    return path.rpartition("/")[2]
