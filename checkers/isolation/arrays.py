"""Arrays for kernels: NumPy's where a kernel runs compiled, lists where it is interpreted.

An interpreted loop reads a list three times faster than an array of NumPy. A kernel writes results of known length
into what `zeros` gives, and results of unknown length with `append` if it is interpreted, else by position into what
`room` gives; `taken` makes an array of either.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from results.kernels import is_compiled


class Arrays:
    """Arrays in the form that a kernel wants."""

    def __init__(self, kernel: ModuleType) -> None:
        self.compiled = is_compiled(kernel)

    def given(self, array: NDArray[Any]) -> Any:
        """An array for a kernel to read."""
        return np.ascontiguousarray(array) if self.compiled else array.tolist()

    def zeros(self, count: int, dtype: DTypeLike, fill: int = 0) -> Any:
        """A result of known length."""
        return np.full(count, fill, dtype) if self.compiled else [fill] * count

    def room(self, most: int, dtype: DTypeLike) -> Any:
        """A result of at most that length. Memory that is never written is never used."""
        return np.empty(most, dtype) if self.compiled else []

    def taken(self, result: Any, dtype: DTypeLike, count: int | None = None) -> NDArray[Any]:
        """What a kernel left in a result, as an array."""
        if self.compiled:
            array: NDArray[Any] = result if count is None else result[:count]
            return array
        return np.array(result if count is None else result[:count], dtype)
