"""Who holds what: overlapping faults share links, nodes and clocks without healing each other's work.

A step *holds* a thing (a link that it cut, a node that it stopped). A link may be held by several steps and is
mended when the last one lets go. A node is stopped by one step only, and only that step starts it again.
"""

from __future__ import annotations

from collections.abc import Hashable


class Holds:
    """For each kind of thing ("cut", "down", "pause", ...) and each thing: the ids of the steps that hold it."""

    def __init__(self) -> None:
        self._holders: dict[tuple[str, Hashable], list[int]] = {}

    def take(self, kind: str, thing: Hashable, step: int) -> bool:
        """Hold it. True if nobody held it before. Taking twice is taking once."""
        holders = self._holders.setdefault((kind, thing), [])
        first = not holders
        if step not in holders:
            holders.append(step)
        return first

    def release(self, kind: str, thing: Hashable, step: int) -> bool:
        """Let go. True if this step held it and nobody holds it now."""
        holders = self._holders.get((kind, thing), [])
        if step not in holders:
            return False
        holders.remove(step)
        if not holders:
            del self._holders[kind, thing]
        return not holders

    def holders(self, kind: str, thing: Hashable) -> tuple[int, ...]:
        """Ids of the steps that hold it, in the order of their taking."""
        return tuple(self._holders.get((kind, thing), ()))

    def drop(self, kind: str, thing: Hashable) -> tuple[int, ...]:
        """Take it away from everybody (a kill ends a pause). Returns who held it."""
        return tuple(self._holders.pop((kind, thing), ()))

    def clear(self) -> None:
        """Everything was healed by other means."""
        self._holders.clear()
