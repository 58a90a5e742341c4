"""Who holds what: overlapping faults share links, nodes and clocks without healing each other's work.

A step *holds* a thing (a link that it cut, a node that it stopped). A link may be held by several steps and is
mended when the last one lets go. A node is stopped by one step only, and only that step starts it again. A hold may
have a strength (how late, how few bytes): what several steps want of one thing is for their package to combine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any


class Holds:
    """For each kind of thing ("cut", "down", "pause", ...) and each thing: the ids of the steps that hold it."""

    def __init__(self) -> None:
        self._holders: dict[tuple[str, Hashable], dict[int, Any]] = {}
        """Step -> strength, in the order of their taking."""
        self._locks: dict[str, asyncio.Lock] = {}

    def take(self, kind: str, thing: Hashable, step: int, strength: Any = None) -> bool:
        """Hold it. True if nobody held it before. Taking twice is taking once, with the later strength."""
        holders = self._holders.setdefault((kind, thing), {})
        first = not holders
        holders[step] = strength
        return first

    def release(self, kind: str, thing: Hashable, step: int) -> bool:
        """Let go. True if this step held it and nobody holds it now."""
        holders = self._holders.get((kind, thing), {})
        if step not in holders:
            return False
        del holders[step]
        if not holders:
            del self._holders[kind, thing]
        return not holders

    def holders(self, kind: str, thing: Hashable) -> tuple[int, ...]:
        """Ids of the steps that hold it, in the order of their taking."""
        return tuple(self._holders.get((kind, thing), ()))

    def strengths(self, kind: str, thing: Hashable) -> tuple[Any, ...]:
        """What those that hold it want of it, in the order of their taking."""
        return tuple(self._holders.get((kind, thing), {}).values())

    def lock(self, kind: str) -> asyncio.Lock:
        """For acts on things of a kind that must not pass each other."""
        return self._locks.setdefault(kind, asyncio.Lock())

    def drop(self, kind: str, thing: Hashable) -> tuple[int, ...]:
        """Take it away from everybody (a kill ends a pause). Returns who held it."""
        return tuple(self._holders.pop((kind, thing), ()))

    def clear(self) -> None:
        """Everything was healed by other means."""
        self._holders.clear()
