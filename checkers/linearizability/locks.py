"""Fenced locks and semaphores whose holders are known: decided by intervals instead of search, in O(n log n).

A process does one thing after the other, so its releases are matched with its own acquires. Then

- *fenced lock*: tokens grow from hold to hold, so they put all calls in one order: acquire, release, acquire, ... It
  only has to agree with the intervals.
- *semaphore*: permits are certainly held from the return of the acquire to the invocation of the release. To take each
  as late and give it back as early as possible is best for all others, so the history is right if at no moment more
  permits are certainly held than there are.

A crashed release may have happened at any time, which its invocation does best; a crashed acquire whose process did
nothing afterwards is best not to have happened. What is not so plain (acquires without a token, two holds with one
token, a release of what the process does not hold) is left to the search.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np

from checkers.linearizability.calls import FOREVER
from checkers.linearizability.columns import FAIL_CODE, INFO_CODE, CallColumns
from checkers.linearizability.elements import RIGHT, Judgement
from checkers.linearizability.models import FencedLock, Model, Semaphore

LOCKS: Final = (FencedLock, Semaphore)


def judge_lock(columns: CallColumns, model: Model) -> Judgement | None:
    """Judges the calls of one lock or semaphore; None if only a search can tell."""
    assert isinstance(model, LOCKS), f"{model.name} is no lock that is judged here"
    known = [place for place, f in enumerate(columns.functions) if f in ("acquire", "release")]
    if not np.isin(columns.function, known).all() or (columns.type == FAIL_CODE).any():
        return None
    by_process: dict[int, list[int]] = {}
    for row, process in enumerate(columns.process.tolist()):
        by_process.setdefault(process, []).append(row)
    end = columns.end.tolist()
    start = columns.start.tolist()
    crashed = (columns.type == INFO_CODE).tolist()
    is_acquire = [columns.functions[f] == "acquire" for f in columns.function.tolist()]
    for rows in by_process.values():
        if any(end[one] > start[other] for one, other in pairwise(rows)):
            return None
        if crashed[rows[-1]] and is_acquire[rows[-1]]:
            rows.pop()
    if isinstance(model, Semaphore):
        return _judge_semaphore(columns, model.permits, list(by_process.values()), is_acquire)
    return _judge_fenced_lock(columns, list(by_process.values()), is_acquire)


def _judge_fenced_lock(
    columns: CallColumns, processes: list[list[int]], is_acquire: list[bool]
) -> Judgement | None:
    tokens = [columns.values[number] for number in columns.result.tolist()]
    named = [columns.values[number] for number in columns.argument.tolist()]
    holds: list[tuple[Any, int, int]] = []
    for rows in processes:
        if any(is_acquire[row] != (not place % 2) for place, row in enumerate(rows)):
            return None
        for place in range(0, len(rows), 2):
            acquire = rows[place]
            release = rows[place + 1] if place + 1 < len(rows) else -1
            token = tokens[acquire]
            if type(token) is not int:
                return None
            if release >= 0 and named[release] is not None and named[release] != token:
                if columns.type[release] != INFO_CODE:
                    return Judgement(True, (acquire, release))
                release = -1  # It would have been refused.
            holds.append((token, acquire, release))
    holds.sort()
    if any(one[0] == other[0] for one, other in pairwise(holds)):
        return None
    for one, other in pairwise(holds):
        if one[2] < 0:
            return Judgement(True, tuple(sorted(one[1:2] + tuple(row for row in other[1:] if row >= 0))))
    start, end = columns.start, columns.end
    latest, latest_hold = -1, 0
    for place, hold in enumerate(holds):
        for row in hold[1:]:
            if row < 0:
                continue
            if end[row] < latest:
                both = {*holds[latest_hold][1:], *hold[1:]} - {-1}
                return Judgement(True, tuple(sorted(both)))
            if start[row] > latest:
                latest, latest_hold = int(start[row]), place
    return RIGHT


def _judge_semaphore(
    columns: CallColumns, permits: int, processes: list[list[int]], is_acquire: list[bool]
) -> Judgement | None:
    asked = [columns.values[number] for number in columns.argument.tolist()]
    count: list[Any] = [1 if one is None else one for one in asked]
    if any(type(one) is not int or one < 1 for one in count):
        return None
    changes: list[tuple[int, int, int]] = []
    for rows in processes:
        held = 0
        for row in rows:
            held += count[row] if is_acquire[row] else -count[row]
            if held < 0:
                return None
            moment = int(columns.end[row]) if is_acquire[row] else int(columns.start[row])
            assert moment < FOREVER, f"the acquire of row {row} crashed, and was to be left out"
            changes.append((moment, count[row] if is_acquire[row] else -count[row], row))
    changes.sort()
    total = 0
    inside: dict[int, list[int]] = {}
    left: dict[int, int] = {}
    process = columns.process
    for _, change, row in changes:
        total += change
        mine = inside.setdefault(int(process[row]), [])
        if change > 0:
            mine.append(row)
            left[row] = change
            if total > permits:
                rows = sorted(row for rows in inside.values() for row in rows)
                return Judgement(True, tuple(rows)) if all(left[row] == count[row] for row in rows) else None
            continue
        while change < 0:
            given = min(left[mine[-1]], -change)
            left[mine[-1]] -= given
            change += given
            if not left[mine[-1]]:
                mine.pop()
    return RIGHT
