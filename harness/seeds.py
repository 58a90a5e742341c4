"""One seed, split into named random streams that do not disturb each other.

A run has one seed. Each part that makes choices asks for a stream by name, so that a part which draws more, or a new
part, changes nothing for the others. The streams depend on the seed and the name alone: not on the order of asking,
the platform, or PYTHONHASHSEED.
"""

from __future__ import annotations

import hashlib
import random


class Seeds:
    """The root of all choices of a run."""

    __slots__ = ("root",)

    def __init__(self, root: int) -> None:
        if isinstance(root, bool) or not isinstance(root, int) or root < 0:
            raise ValueError(f"seed {root!r}: it must be a whole number, 0 or more")
        self.root = root

    def number(self, name: str) -> int:
        """A number of 128 bits for this name; for those that need a seed of their own (a process, a database)."""
        digest = hashlib.blake2b(f"{self.root}/{name}".encode(), digest_size=16).digest()
        return int.from_bytes(digest, "big")

    def stream(self, name: str) -> random.Random:
        """The stream of this name, from its beginning each time it is asked for."""
        return random.Random(self.number(name))

    def child(self, name: str) -> Seeds:
        """A root for a part that splits its own streams."""
        return Seeds(self.number(name))

    def __repr__(self) -> str:
        return f"Seeds({self.root})"
