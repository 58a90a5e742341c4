"""All histories up to a stated size, one by one: every interleaving, every outcome, every answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, product
from typing import Any, NamedTuple

from results.history import History, HistoryBuilder


class Outcome(NamedTuple):
    """One operation with one end."""

    f: str
    asked: Any
    type: str
    answer: Any = None


def outcomes(f: str, asked: Any, *types: str, answers: Sequence[Any] = (None,)) -> list[Outcome]:
    """An operation with each of the ends, and where it is ok with each of the answers."""
    return [
        Outcome(f, asked, type_, answer)
        for type_ in types
        for answer in (answers if type_ == "ok" else (None,))
    ]


def interleavings(number: int) -> Iterator[tuple[int, ...]]:
    """All orders of the two events of each operation, whose operations are numbered as they begin: (2n - 1)!!."""

    def extend(begun: int, open_: tuple[int, ...], so_far: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if begun == number and not open_:
            yield so_far
        if begun < number:
            yield from extend(begun + 1, (*open_, begun), (*so_far, begun))
        for one in open_:
            yield from extend(begun, tuple(other for other in open_ if other != one), (*so_far, one))

    return extend(0, (), ())


def histories(
    number: int, kinds: Sequence[Outcome], *, every: int = 1, twins: tuple[int, int] | None = None
) -> Iterator[History]:
    """Every history of so many operations of these kinds, by as many processes as overlap. An end that is not known
    comes last: when it is recorded says nothing, which `test_when_an_end_is_given_up_says_nothing` holds.

    Of two values that only differ by name, `twins`, the first is the one to be met first: the other histories say the
    same. `every` of the rest is told: 1 all, 5 each fifth."""
    orders = list(interleavings(number))
    numbers = count()
    for chosen in product(kinds, repeat=number):
        if twins is not None and _other_name_first(chosen, twins):
            continue
        seen = set()
        for order in orders:
            told = tuple(
                one
                for place, one in enumerate(order)
                if chosen[one].type != "info" or one not in order[:place]
            )
            if told not in seen:
                seen.add(told)
                if not next(numbers) % every:
                    yield told_as(chosen, told)


def _other_name_first(chosen: Sequence[Outcome], twins: tuple[int, int]) -> bool:
    """Whether, of the two values, the second is met first."""
    for one in chosen:
        for value in (one.asked, one.answer):
            for part in value if isinstance(value, list) else [value]:
                if part in twins:
                    return bool(part == twins[1])
    return False


def told_as(chosen: Sequence[Outcome], order: Sequence[int]) -> History:
    """A history of these operations, in this order of events; what is left open ends in info."""
    builder = HistoryBuilder()
    process: dict[int, int] = {}
    free: list[int] = []
    for one in order:
        work = chosen[one]
        if one not in process:
            process[one] = free.pop(0) if free else len(process)
            builder.invoke(process[one], work.f, work.asked)
            continue
        if work.type == "ok":
            builder.event(process[one], "ok", work.f, work.asked if work.answer is None else work.answer)
        elif work.type == "fail":
            builder.fail(process[one], "refused")
        else:
            builder.info(process[one], "timeout")
            continue
        free.append(process[one])
    for one, work in enumerate(chosen):
        if work.type == "info" and list(order).count(one) == 1:
            builder.info(process[one], "timeout")
    return builder.done()
