"""Growing sets by the order of their reads, instead of search.

Every read answers all elements, so what reads answered must be a chain: of two, one contains the other. The chain is
an order of all calls: adds of elements that the first read has, then that read (and those that answered the same),
then adds of what the next one has more, and so on; adds that nobody saw come last. It only has to agree with the
intervals. Of several adds of one element the one invoked first may be the one that counts; the others need only not
be over before a read that lacks the element begins. The cost is that of reading the answers.
"""

from __future__ import annotations

from collections.abc import Hashable

import msgspec
import numpy as np

from checkers.linearizability.calls import FOREVER, Call
from checkers.linearizability.columns import OK_CODE, CallColumns
from checkers.linearizability.models import GrowSet
from checkers.linearizability.zone_columns import out_of_order


def judge_set(columns: CallColumns, model: GrowSet) -> list[Call] | None:
    """The calls of one set that are wrong by themselves, reads with only the elements in question; empty if it is
    right. None if only a search can tell.

    Raises ValueError for a function that a set does not have.
    """
    unknown = set(columns.functions) - {"add", "read"}
    if unknown and columns.rows_of_function(unknown).any():
        row = int(np.argmax(columns.rows_of_function(unknown)))
        model.step(model.initial_state(), columns.calls([row])[0])
    reads = columns.rows_of_function({"read"})
    return _Judged(columns, model, reads).verdict()


class _Judged:
    def __init__(self, columns: CallColumns, model: GrowSet, reads: np.ndarray) -> None:
        self.columns = columns
        self.model = model
        self.read_rows = np.flatnonzero(reads & (columns.type == OK_CODE))
        self.add_rows = np.flatnonzero(~reads)

    def verdict(self) -> list[Call] | None:
        columns = self.columns
        numbers, first_rows = np.unique(columns.result[self.read_rows], return_index=True)
        answers: list[tuple[int, frozenset[Hashable]]] = []
        for number, first in zip(numbers.tolist(), first_rows.tolist(), strict=True):
            answer = columns.values[number]
            if answer is None:
                answer = ()
            if not isinstance(answer, tuple):
                return None
            found = frozenset(answer)
            if len(found) < len(answer):
                return self._evidence([int(self.read_rows[first])], [])
            answers.append((number, found))
        answers.sort(key=lambda entry: len(entry[1]))
        place_of_answer: dict[int, int] = {}
        place_of_element: dict[Hashable, int] = {}
        before: frozenset[Hashable] = frozenset()
        before_number = -1
        place = 0
        for number, found in answers:
            if len(found) > len(before) or before_number < 0:
                place += 1
                for element in found - before:
                    place_of_element.setdefault(element, place)
            if not before <= found:
                lost = next(iter(sorted(before - found, key=repr)))
                other = next(iter(sorted(found - before, key=repr)), None)
                rows = [self._read_of(before_number), self._read_of(number)]
                return self._evidence(rows, [lost] if other is None else [lost, other])
            place_of_answer[number] = place
            before, before_number = found, number
        return self._in_order(place_of_answer, place_of_element, place + 1)

    def _in_order(
        self, place_of_answer: dict[int, int], place_of_element: dict[Hashable, int], last: int
    ) -> list[Call]:
        columns = self.columns
        unseen = 2 * last
        argument = columns.argument[self.add_rows]
        place_of_value = np.full(len(columns.values), unseen, dtype=np.int64)
        for number in np.unique(argument).tolist():
            place = place_of_element.pop(columns.values[number], None)
            if place is not None:
                place_of_value[number] = 2 * place
        if place_of_element:  # Nobody added these.
            element = min(place_of_element, key=repr)
            number = next(n for n, place in place_of_answer.items() if place == place_of_element[element])
            return self._evidence([self._read_of(number)], [element])
        answer_place = np.zeros(len(columns.values), dtype=np.int64)
        for number, place in place_of_answer.items():
            answer_place[number] = 2 * place + 1
        add_place = place_of_value[argument]
        end = columns.end[self.add_rows]
        kept = (add_place < unseen) | (end != FOREVER)
        add_rows, add_place, argument = self.add_rows[kept], add_place[kept], argument[kept]
        _, firsts = np.unique(argument, return_index=True)  # Rows come in the order of invocation.
        add_start = np.full(len(add_rows), -1, dtype=np.int64)
        add_start[firsts] = columns.start[add_rows[firsts]]
        rows = np.concatenate([add_rows, self.read_rows])
        places = np.concatenate([add_place, answer_place[columns.result[self.read_rows]]])
        start = np.concatenate([add_start, columns.start[self.read_rows]])
        end = columns.end[rows]
        latest = int(columns.start[-1]) if len(columns) else 0
        late = out_of_order(np.zeros(len(rows), dtype=np.int64), places, start, end, latest)
        if not late.any():
            return []
        wrong = int(np.argmax(late))
        rivals = np.flatnonzero((places < places[wrong]) & (start > end[wrong]))
        other = int(rivals[np.argmax(start[rivals])])
        chosen = [int(rows[wrong]), int(rows[other])]
        low, high = int(places[other]), int(places[wrong])
        elements: list[Hashable] = []
        for row in chosen:
            if columns.functions[columns.function[row]] == "add":
                elements.append(columns.values[columns.argument[row]])
        if not elements:
            one, two = (frozenset(columns.values[columns.result[row]] or ()) for row in chosen)
            elements.append(min(one ^ two, key=repr))
        elif len(elements) == 2:
            # A read between the two adds shows in which order they were.
            between = np.flatnonzero((places > low) & (places < high) & (places % 2 == 1))
            chosen.append(int(rows[between[0]]))
        return self._evidence(chosen, elements)

    def _read_of(self, number: int) -> int:
        """A read with this answer."""
        return int(self.read_rows[np.argmax(self.columns.result[self.read_rows] == number)])

    def _evidence(self, rows: list[int], elements: list[Hashable]) -> list[Call]:
        """These calls and all adds of the elements, about nothing else; with no elements, the calls as they are."""
        wanted = set(elements)
        numbers = [
            n for n in np.unique(self.columns.argument[self.add_rows]) if self.columns.values[n] in wanted
        ]
        adds = self.add_rows[np.isin(self.columns.argument[self.add_rows], numbers)]
        calls = []
        for call in self.columns.calls(sorted({*rows, *adds.tolist()})):
            if call.f == "read" and elements:
                left = tuple(element for element in call.result or () if element in wanted)
                call = msgspec.structs.replace(call, result=left)
            calls.append(call)
        return calls
