"""Of all that ended before a moment, the one with the greatest value: by sorting, and by looking at each."""

from __future__ import annotations

import random

import numpy as np
import pytest

from checkers.precedence import greatest_before


def looked_for(
    end: list[int], value: list[int], moment: list[int], group: list[int], moment_group: list[int]
) -> list[int]:
    """The definition."""
    found = []
    for when, of in zip(moment, moment_group, strict=True):
        before = [one for one in range(len(end)) if end[one] < when and group[one] == of]
        found.append(max(before, key=lambda one: (value[one], -end[one]), default=-1))
    return found


def test_the_last_of_a_group_is_not_the_first_of_the_next() -> None:
    end, group = np.array([0, 9]), np.array([1, 0])
    found = greatest_before(end, np.array([7, 8]), np.array([5]), group=group, moment_group=np.array([1]))
    assert found.tolist() == [0]


@pytest.mark.parametrize("huge", [1, 10**30])
@pytest.mark.parametrize("groups", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_sorting_finds_what_looking_finds(seed: int, groups: int, huge: int) -> None:
    draw = random.Random(seed)
    for entries in range(7):
        for questions in range(5):
            moments = draw.sample(range(100), entries + questions)
            end, moment = moments[:entries], moments[entries:]
            value = [draw.randrange(-2, 3) * huge for _ in end]
            group, moment_group = ([draw.randrange(max(1, groups)) for _ in some] for some in (end, moment))
            found = greatest_before(
                np.array(end, np.int64),
                np.array(value, dtype=object if huge > 1 else np.int64),
                np.array(moment, np.int64),
                group=np.array(group, np.int64) if groups else None,
                moment_group=np.array(moment_group, np.int64) if groups else None,
            )
            assert found.tolist() == looked_for(end, value, moment, group, moment_group)
