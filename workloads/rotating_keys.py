"""A few hot keys at a time, each left for a fresh one when it was changed often enough.

Everybody works on the same few keys, so that operations meet; and no key's history grows for ever, so that each can
be judged. The first keys are the hottest: the one at position p of n is chosen as if by the square of a uniform draw.
"""

from __future__ import annotations

import random

import msgspec


class RotatingKeys(msgspec.Struct, frozen=True):
    """An immutable value; whoever changes a key goes on with what `changed` answers."""

    keys: tuple[int, ...]
    """The numbers of the hot keys."""
    changes: tuple[int, ...]
    """How often each was changed."""
    crashes: tuple[int, ...]
    """How many operations on each ended in info."""
    next_key: int
    most_changes: int
    most_crashes: int

    @classmethod
    def of(cls, count: int, most_changes: int, most_crashes: int = 1_000_000) -> RotatingKeys:
        """Keys 0 .. count - 1."""
        zeros = (0,) * count
        return cls(tuple(range(count)), zeros, zeros, count, most_changes, most_crashes)

    def choose(self, stream: random.Random) -> int:
        """A position, the first ones more often."""
        return int(stream.random() ** 2 * len(self.keys))

    def changed(self, position: int) -> RotatingKeys:
        """After a change of the key there; it is left if that was its last."""
        count = self.changes[position] + 1
        if count >= self.most_changes:
            return self.left(position)
        return msgspec.structs.replace(self, changes=_with(self.changes, position, count))

    def crashed(self, key: int) -> RotatingKeys:
        """After an operation on this key whose outcome is unknown; it is left if there were too many."""
        if key not in self.keys:
            return self
        position = self.keys.index(key)
        count = self.crashes[position] + 1
        if count >= self.most_crashes:
            return self.left(position)
        return msgspec.structs.replace(self, crashes=_with(self.crashes, position, count))

    def left(self, position: int) -> RotatingKeys:
        """A fresh key takes the place of the one there."""
        return msgspec.structs.replace(
            self,
            keys=_with(self.keys, position, self.next_key),
            changes=_with(self.changes, position, 0),
            crashes=_with(self.crashes, position, 0),
            next_key=self.next_key + 1,
        )


def _with(values: tuple[int, ...], position: int, value: int) -> tuple[int, ...]:
    return (*values[:position], value, *values[position + 1 :])
