"""The mutants that are known to survive, each with the reason: read from `survivors.toml`, held against the pages.

Of a page there are groups of `mutants` with one reason, `why`. It begins with the verdict on it: *the same verdicts*,
where no test could notice, and *open*, where one could and none does.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("survivors.toml")
REASONS = ("the same verdicts", "other words", "open")
"""How a reason begins."""


@dataclass(frozen=True)
class Group:
    """Mutants of a page that survive for one reason, by the names that `mutants.Place` gives them."""

    why: str
    mutants: tuple[str, ...]


def survivors() -> dict[str, list[Group]]:
    """All groups, by page."""
    content = tomllib.loads(FILE.read_text())
    return {
        page: [Group(group["why"], tuple(group["mutants"])) for group in groups]
        for page, groups in content.items()
    }


def excused(page: str) -> frozenset[str]:
    """The names of the mutants of a page that need not be tried."""
    return frozenset(name for group in survivors().get(page, []) for name in group.mutants)
