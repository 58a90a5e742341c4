"""Who came before: of all operations that ended before a moment, the one with the greatest value.

Most real-time rules are this question, asked for every operation: *is there one that ended before I began, and knows
more than I do?* Answered for all at once by sorting, in O(n log n).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def greatest_before(
    end: NDArray[np.int64],
    value: NDArray[Any],
    moment: NDArray[np.int64],
    *,
    group: NDArray[np.int64] | None = None,
    moment_group: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """For each moment the position of the entry that has the greatest value among those with `end < moment`; -1 if
    there is none. Of equal values the one with the lowest end counts. With groups, only entries of the moment's own.

    `end` and `value` have one entry each, `moment` one a question; groups are numbers from 0.
    """
    entries, questions = len(end), len(moment)
    if not entries or not questions:
        return np.full(questions, -1, dtype=np.int64)
    if group is None or moment_group is None:
        group, moment_group = np.zeros(entries, np.int64), np.zeros(questions, np.int64)
    # Ends and moments by rank, so that (group, end) fits one number whatever clock they are on.
    moments, rank = np.unique(np.concatenate([end, moment]), return_inverse=True)
    wide = np.int64(len(moments) + 1)
    place = group * wide + rank[:entries]
    asked = moment_group * wide + rank[entries:]
    order = np.argsort(place, kind="stable")
    if value.dtype == object:
        value = np.unique(value, return_inverse=True)[1]
    # Each entry's rank by (value, earliness) is its own, so the running maximum names its entry.
    by_value = np.lexsort((-end, value))
    height = np.empty(entries, dtype=np.int64)
    height[by_value] = np.arange(entries)
    running = np.maximum.accumulate(group[order] * np.int64(entries) + height[order])
    last = np.searchsorted(place[order], asked, side="left") - 1
    found = np.full(questions, -1, dtype=np.int64)
    some = (last >= 0) & (group[order][np.maximum(last, 0)] == moment_group)
    found[some] = by_value[running[last[some]] % entries]
    return found
