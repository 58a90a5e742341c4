"""Random numbers as columns, the same for a seed with every version of NumPy."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Draws:
    """Columns of random numbers from a seed; only raw 64-bit words are taken from NumPy, whose streams never change."""

    def __init__(self, seed: int, purpose: str) -> None:
        digest = hashlib.blake2b(f"{seed} {purpose}".encode(), digest_size=16).digest()
        self._bits = np.random.PCG64(int.from_bytes(digest, "little"))

    def uniform(self, count: int) -> NDArray[np.float64]:
        """`count` numbers in [0, 1)."""
        raw: NDArray[np.uint64] = self._bits.random_raw(count)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def below(self, limit: int, count: int) -> NDArray[np.int64]:
        """`count` integers in [0, limit)."""
        return (self.uniform(count) * limit).astype(np.int64)

    def word(self) -> int:
        """A seed for a kernel's own numbers, 64 bits."""
        return int(self._bits.random_raw())
