"""A history in, a verdict out. Pure, and usable without the harness: imports only results.

from checkers import check

verdict = check("history.edn", model="list-append", isolation="serializable")
print(verdict.outcome, verdict.sentence)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import results  # noqa: F401 - before any kernel of ours is imported: results decides in which form kernels run.

if TYPE_CHECKING:
    from checkers.judge import check as check
    from checkers.registry import QuestionError as QuestionError

__all__ = ["QuestionError", "check"]


def __getattr__(name: str) -> Any:
    """Found when asked for: a program that uses one checker need not import the rest."""
    if name == "check":
        from checkers.judge import check

        return check
    if name == "QuestionError":
        from checkers.registry import QuestionError

        return QuestionError
    raise AttributeError(f"module 'checkers' has no attribute {name!r}")
