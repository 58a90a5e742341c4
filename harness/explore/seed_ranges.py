"""Which seeds: `1-2000`, `7`, `1-10,50` read into ranges that are never written out one by one.

Nothing here draws or runs anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, count

from harness.scenario import MAX_SEED, ScenarioError

SEEDS_MOST = 10_000_000
"""More than anybody runs; a larger number is a slip of the finger."""


def parse_seeds(text: str) -> tuple[range, ...]:
    """The seeds as ranges that are in order and do not overlap.

    Raises ScenarioError with everything that is wrong with the text.
    """
    problems: list[str] = []
    spans: list[tuple[int, int]] = []
    for element in (part.strip() for part in text.split(",")):
        match = re.fullmatch(r"(\d{1,19})(?:\s*-\s*(\d{1,19}))?", element, re.ASCII)
        if match is None:
            problems.append(f"{element!r} is neither a seed (7) nor a range of seeds (1-2000)")
            continue
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if first > last:
            problems.append(f"{element!r} ends before it begins; did you mean {last}-{first}?")
        elif last > MAX_SEED:
            problems.append(f"{element!r} goes beyond the largest seed, {MAX_SEED}")
        else:
            spans.append((first, last))
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    ranges = tuple(range(first, last + 1) for first, last in merged)
    if count_seeds(ranges) > SEEDS_MOST:
        problems.append(
            f"{count_seeds(ranges)} seeds in one sweep are more than {SEEDS_MOST}; ask for fewer, or for "
            "--until-failure or --budget, which go on without an end"
        )
    if problems:
        raise ScenarioError(f"seeds {text!r}: " + "; ".join(problems))
    return ranges


def count_seeds(ranges: Sequence[range]) -> int:
    """How many there are."""
    # `len` of a range has the limits of a C number; the last of them may be the largest seed.
    return sum(one.stop - one.start for one in ranges)


def iterate(ranges: Sequence[range]) -> Iterator[int]:
    """The seeds of the ranges."""
    return chain.from_iterable(ranges)


def endless(ranges: Sequence[range]) -> Iterator[int]:
    """The seeds of the ranges, and then those after the last one, up to the largest there is."""
    beyond = ranges[-1].stop if ranges else 0
    return chain(iterate(ranges), _up_to_the_largest(beyond))


def _up_to_the_largest(first: int) -> Iterator[int]:
    for seed in count(first):
        if seed > MAX_SEED:
            return
        yield seed
