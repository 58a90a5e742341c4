"""Queues, bags, stacks and priority queues whose elements are put in once: decided by intervals instead of search.

After Lee and Mathur ("Efficient decrease-and-conquer linearizability monitoring", OOPSLA 2025) and, for queues,
Henzinger, Sezgin and Vafeiadis ("Aspect-oriented linearizability proofs", CONCUR 2013); O(n log n) each. What an
element needs to be right by itself is the same for all: it was put in, before it was taken out, and taken out once.
An element is certainly inside from the return of its put to the invocation of its take. Beyond that:

- *bag*: nothing.
- *queue*: no b was put in after a and taken out before a, with the calls apart in time.
- *priority queue*: some moment of each take has no element inside for certain that would have to come first. (Take the
  elements from the first priority down: what is inside longer than for certain is so because others were.)
- *stack*: an element that may be pushed and popped in one moment is never in the way. The others fall apart into
  stretches of time in which the stack is certainly not empty; each needs an element whose push may come before all
  others' and whose pop after all others' in that stretch. Which one is taken for that does not matter (Lee and
  Mathur); without it the stretch falls apart again, or needs the next.

Crashed puts that nobody took never happened. A crashed take may have taken any element that stayed inside: where the
history is right without crashed takes it is right; where it is wrong even without the elements that stayed, it is
wrong; for queues they are matched with the elements that must be gone; what remains is left to the search.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.linearizability.calls import FOREVER
from checkers.linearizability.columns import INFO_CODE, NIL, CallColumns
from checkers.linearizability.elements_kernel import first_bad_stack, first_blocked
from checkers.linearizability.models import Bag, FifoQueue, Model, PriorityQueue, Stack
from checkers.linearizability.models.containers import GREATEST, priority_and_element
from checkers.values import integers

Integers = NDArray[np.int64]

KINDS: Final = (FifoQueue, Bag, Stack, PriorityQueue)

SPARSE: Final = 4
"""Numbers (of values, of events) for each call of a container, beyond which nothing is done for each number: the calls
are of one key among many."""


@dataclass(frozen=True)
class Judgement:
    """What intervals say about one container."""

    wrong: bool
    rows: tuple[int, ...] = ()
    """Calls, as positions in the columns judged, that are wrong by themselves."""


RIGHT: Final = Judgement(False)


@dataclass(frozen=True)
class Elements:
    """The elements of a container, an entry each: when each was put in and taken out."""

    put: Integers
    """The row of the put."""
    put_start: Integers
    put_end: Integers
    take: Integers
    """The row of the take; -1 if it stayed inside."""
    take_start: Integers
    """`FOREVER` if it stayed inside, as is `take_end`."""
    take_end: Integers
    rank: Integers
    """Of a priority queue: which come first, the least of all."""

    def only(self, kept: NDArray[Any]) -> Elements:
        """Some of the elements: a mask or positions."""
        return Elements(
            self.put[kept],
            self.put_start[kept],
            self.put_end[kept],
            self.take[kept],
            self.take_start[kept],
            self.take_end[kept],
            self.rank[kept],
        )

    def rows(self) -> tuple[int, ...]:
        """Their calls."""
        return tuple(sorted([*self.put.tolist(), *self.take[self.take >= 0].tolist()]))


def judge_elements(columns: CallColumns, model: Model) -> Judgement | None:
    """Judges the calls of one container; None if elements are not unique, or only a search can tell.

    Raises ValueError for a function that the container does not have.
    """
    assert isinstance(model, FifoQueue | Stack | PriorityQueue), f"{model.name} is no container"
    drains = model.drains if isinstance(model, FifoQueue) else frozenset()
    if columns.rows_of_function(drains).any():
        return None
    unknown = set(columns.functions) - model.puts - model.takes - drains
    if unknown and columns.rows_of_function(unknown).any():
        row = int(np.argmax(columns.rows_of_function(unknown)))
        model.step(model.initial_state(), columns.calls([row])[0])
    puts = columns.rows_of_function(model.puts)
    crashed = columns.type == INFO_CODE
    answered = np.flatnonzero(~puts & ~crashed)
    crashed_takes = np.flatnonzero(~puts & crashed)
    put_rows = np.flatnonzero(puts)
    put_values: NDArray[Any] = columns.argument[put_rows]
    take_values: NDArray[Any] = columns.result[answered]
    if (take_values == NIL).any() or (put_values == NIL).any():
        return None  # Somebody found it empty, or nil is an element.
    values: Sequence[Hashable] = columns.values
    if len(values) > SPARSE * len(columns):
        # Of one key among many: what is counted for each value would be counted for those of all keys.
        used, places = np.unique(np.concatenate([put_values, take_values]), return_inverse=True)
        put_values, take_values = places[: len(put_values)], places[len(put_values) :]
        values = [values[value] for value in used.tolist()]
    rank: Integers | None = None
    if isinstance(model, PriorityQueue):
        ranked = _ranked(values, put_values, take_values, set(columns.functions) & model.takes)
        if ranked is None:
            return None
        put_values, take_values, rank = ranked
    count = int(max(put_values.max(initial=0), take_values.max(initial=0))) + 1
    if len(put_values) and np.bincount(put_values, minlength=count).max() > 1:
        return None
    found = _alone(columns, put_rows, put_values, answered, take_values, count)
    if found is not None:
        return found
    elements = _elements(columns, put_rows, put_values, answered, take_values, count, rank)
    judge = _JUDGES[type(model)]
    if isinstance(model, FifoQueue) and not isinstance(model, Bag):
        return _judge_queue(elements, columns.start[crashed_takes], crashed_takes)
    if not judge(elements):
        return RIGHT
    if len(crashed_takes):
        taken = elements.only(elements.take >= 0)
        if not judge(taken):
            return None
        elements = taken
    return Judgement(True, _least(elements, judge).rows())


def _ranked(
    values: Sequence[Hashable], put_values: NDArray[Any], take_values: NDArray[Any], takes: set[str]
) -> tuple[NDArray[Any], NDArray[Any], Integers] | None:
    """Elements numbered by what they are apart from their priorities, and their ranks by number; None if priorities
    cannot be compared, or both ends are taken from."""
    if len(takes) > 1:
        return None
    plain = _ranked_by_themselves(values, put_values, take_values, GREATEST in takes)
    if plain is not None:
        return put_values, take_values, plain
    numbers: dict[Hashable, int] = {}
    priorities: list[Any] = []
    puts = []
    for value in put_values.tolist():
        priority, element = priority_and_element(values[value])
        number = numbers.setdefault(element, len(numbers))
        if number == len(priorities):
            priorities.append(priority)
        puts.append(number)
    taken = []
    for value in take_values.tolist():
        answer = values[value]
        found = numbers.get(answer)
        if isinstance(answer, tuple):
            if found is not None or len(answer) != 2:
                return None
            found = numbers.get(answer[1])
            if found is not None and priorities[found] != answer[0]:
                return None
        taken.append(numbers.setdefault(answer, len(numbers)) if found is None else found)
    try:
        order = sorted(set(priorities), reverse=GREATEST in takes)
    except TypeError:
        return None
    places = {priority: place for place, priority in enumerate(order)}
    rank = [places[priority] for priority in priorities] + [0] * (len(numbers) - len(priorities))
    return np.array(puts, dtype=np.int64), np.array(taken, dtype=np.int64), np.array(rank, dtype=np.int64)


def _ranked_by_themselves(
    values: Sequence[Hashable], put_values: NDArray[Any], take_values: NDArray[Any], greatest_first: bool
) -> Integers | None:
    """The ranks of elements by their numbers, where each is a whole number and its own priority; None where some are
    not."""
    rank = np.full(int(max(put_values.max(initial=0), take_values.max(initial=0))) + 1, -1, dtype=np.int64)
    rank[put_values] = 0
    only_taken = take_values[rank[take_values] < 0]
    put = [values[value] for value in put_values.tolist()]
    if not {*map(type, put), *(type(values[value]) for value in only_taken.tolist())} <= {int}:
        return None
    place = np.unique(integers(put), return_inverse=True)[1]
    rank[put_values] = -place if greatest_first else place
    return rank


def _alone(
    columns: CallColumns,
    put_rows: Integers,
    put_values: NDArray[Any],
    take_rows: Integers,
    take_values: NDArray[Any],
    count: int,
) -> Judgement | None:
    """What is wrong with an element by itself: taken twice, never put in, taken before it was put in."""
    take_count = np.bincount(take_values, minlength=count)
    if len(take_values) and take_count.max() > 1:
        value = int(np.argmax(take_count > 1))
        twice = take_rows[take_values == value][:2].tolist()
        return Judgement(True, tuple(sorted([*put_rows[put_values == value].tolist(), *twice])))
    put_of = np.full(count, -1, dtype=np.int64)
    put_of[put_values] = put_rows
    source = put_of[take_values]
    early = np.where(source >= 0, columns.end[take_rows] < columns.start[source], True)
    if early.any():
        place = int(np.argmax(early))
        rows = [int(take_rows[place])] + ([int(source[place])] if source[place] >= 0 else [])
        return Judgement(True, tuple(sorted(rows)))
    return None


def _elements(
    columns: CallColumns,
    put_rows: Integers,
    put_values: NDArray[Any],
    take_rows: Integers,
    take_values: NDArray[Any],
    count: int,
    rank: Integers | None,
) -> Elements:
    take_of = np.full(count, -1, dtype=np.int64)
    take_of[take_values] = take_rows
    take = take_of[put_values]
    inside = take < 0
    end = columns.end[put_rows]
    happened = ~inside | (end != FOREVER)
    take_start = np.where(inside, FOREVER, columns.start[take])
    take_end = np.where(inside, FOREVER, columns.end[take])
    elements = Elements(
        put_rows,
        columns.start[put_rows],
        end,
        take,
        take_start,
        take_end,
        np.zeros(len(put_rows), dtype=np.int64) if rank is None else rank[put_values],
    )
    return elements if happened.all() else elements.only(happened)


def _judge_queue(elements: Elements, crashed_starts: Integers, crashed_rows: Integers) -> Judgement:
    """For each element, the earliest that a later one was taken: before that it has to be gone itself."""
    order = np.argsort(elements.put_start)
    starts = elements.put_start[order]
    gone = np.full(len(order) + 1, FOREVER, dtype=np.int64)
    gone[:-1] = np.minimum.accumulate(elements.take_end[order][::-1])[::-1]
    deadline = gone[np.searchsorted(starts, elements.put_end, side="right")]
    late = deadline < elements.take_start
    late_taken = late & (elements.take >= 0)
    overtaken = np.flatnonzero(late & (elements.take < 0))
    wrong = np.flatnonzero(late_taken)
    crashed: list[int] = []
    if not len(wrong) and len(overtaken):
        # Each has to be taken by a crashed take that began in time; the most urgent by the earliest.
        overtaken = overtaken[np.argsort(deadline[overtaken], kind="stable")]
        available = np.full(len(overtaken), FOREVER, dtype=np.int64)
        some = np.sort(crashed_starts)[: len(overtaken)]
        available[: len(some)] = some
        short = np.flatnonzero(available >= deadline[overtaken])
        if not len(short):
            return RIGHT
        wrong = overtaken[: short[0] + 1]
        crashed = crashed_rows[crashed_starts < deadline[wrong[-1]]].tolist()
    elif len(wrong):
        wrong = wrong[:1]
    else:
        return RIGHT
    chosen = set()
    for element in wrong.tolist():
        after = np.flatnonzero(elements.put_start > elements.put_end[element])
        chosen |= {element, int(after[np.argmin(elements.take_end[after])])}
    rows = elements.only(np.array(sorted(chosen))).rows()
    return Judgement(True, tuple(sorted({*rows, *crashed})))


def _is_wrong_bag(elements: Elements) -> bool:
    return False


def _is_wrong_stack(elements: Elements) -> bool:
    firmly = elements.put_end < elements.take_start
    if not firmly.any():
        return False
    kept = elements.only(firmly)
    kept = kept.only(np.argsort(kept.put_end))
    times, (begins, ceases) = _numbered(kept.put_end, kept.take_start)
    return first_bad_stack(kept.put_start, kept.put_end, kept.take_end, begins, ceases, times) >= 0


def _is_wrong_priority_queue(elements: Elements) -> bool:
    ordered = elements.only(np.lexsort((elements.put_end, elements.rank)))
    # Between two neighbouring times nothing changes: a moment is the stretch behind a time.
    times, (put_start, put_end, take_start, take_end) = _numbered(
        ordered.put_start, ordered.put_end, ordered.take_start, ordered.take_end
    )
    stays = ordered.take < 0
    return first_blocked(ordered.rank, put_start, put_end, take_start, take_end, len(times), stays) >= 0


def _numbered(*columns: Integers) -> tuple[Integers, list[Integers]]:
    """All times of some columns, ascending, and the columns with each time's place among them instead."""
    stacked = np.concatenate(columns)
    last = int(stacked[stacked < FOREVER].max(initial=0)) + 1
    if last > SPARSE * len(stacked):
        times, places = np.unique(stacked, return_inverse=True)
    else:  # Times are the numbers of events: counting is quicker than sorting.
        clipped = np.minimum(stacked, last)
        occurs = np.zeros(last + 1, dtype=bool)
        occurs[clipped] = True
        times = np.flatnonzero(occurs)
        places = (np.cumsum(occurs) - 1)[clipped]
        times[times == last] = FOREVER
    return times, np.split(places, len(columns))


_JUDGES: Final[dict[type, Callable[[Elements], bool]]] = {
    FifoQueue: _is_wrong_bag,
    Bag: _is_wrong_bag,
    Stack: _is_wrong_stack,
    PriorityQueue: _is_wrong_priority_queue,
}


def _least(elements: Elements, is_wrong: Callable[[Elements], bool]) -> Elements:
    """As few of the elements as are wrong by themselves: delta debugging with the judge itself.

    First the shortest beginning, in the order of the puts, that is wrong, then its shortest end, so that what is left
    to try is short.
    """
    order = np.argsort(elements.put_start)
    first, last = 0, len(order)
    last = _bisected(last, lambda size: is_wrong(elements.only(order[:size])))
    first = last - _bisected(last, lambda size: is_wrong(elements.only(order[last - size : last])))
    kept: Sequence[int] = order[first:last].tolist()
    size = max(1, len(kept) // 2)
    while True:
        place, changed = 0, False
        while place < len(kept):
            fewer = [*kept[:place], *kept[place + size :]]
            if fewer and is_wrong(elements.only(np.array(fewer))):
                kept, changed = fewer, True
            else:
                place += size
        if size == 1 and not changed:
            return elements.only(np.array(kept))
        size = max(1, size // 2)


def _bisected(most: int, is_wrong: Callable[[int], bool]) -> int:
    """The least size that is wrong, where `most` is."""
    right, wrong = 0, most
    while wrong - right > 1:
        middle = (right + wrong) // 2
        if is_wrong(middle):
            wrong = middle
        else:
            right = middle
    return wrong
