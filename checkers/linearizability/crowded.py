"""Registers with more calls open at a time than the compiled searches have room for: first guesses.

With a thousand clients at once a search that keeps all configurations ends nowhere, though mostly there is much
freedom, or a plain mistake. So, before it:

- a value that was observed, but was not there at first and is written by no call that had begun by then, is wrong;
- one order is tried, without going back: each call as late as possible, a write that is needed for an answer before
  that, the one that returns first. Where it fits, the history is right; where not, nothing is known.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from checkers.linearizability.calls import Call
from checkers.linearizability.models import Footprint, Model


def impossible_answer(calls: Sequence[Call], model: Model) -> Call | None:
    """A call that observed what nobody can have written by then; None if there is none, or the calls are not only
    those of a register."""
    written: dict[Hashable, int] = {}
    footprints = [model.footprint(call) for call in calls]
    for call, footprint in zip(calls, footprints, strict=True):
        if footprint is None:
            return None
        if footprint.writes:
            written[footprint.written] = min(call.start, written.get(footprint.written, call.start))
    initial = model.initial_state()
    for call, footprint in zip(calls, footprints, strict=True):
        assert footprint is not None, f"the call of event {call.start} had a footprint before"
        if footprint.observes and not call.crashed and footprint.observed != initial:
            begun = written.get(footprint.observed)
            if begun is None or begun > call.end:
                return call
    return None


def has_obvious_order(calls: Sequence[Call], model: Model) -> bool:
    """Whether the order that is tried explains all answers. O(calls log calls) for calls without cas."""
    footprints: list[Footprint] = []
    for call in calls:
        footprint = model.footprint(call)
        if footprint is None:
            return False
        footprints.append(footprint)
    return _Order(calls, footprints, model.initial_state()).fits()


class _Order:
    """One order in the making."""

    def __init__(self, calls: Sequence[Call], footprints: Sequence[Footprint], state: Hashable) -> None:
        self._calls = calls
        self._footprints = footprints
        self._state = state
        self._is_done = [False] * len(calls)
        self._readers: dict[Hashable, list[int]] = {}
        """Open calls that only observe, by the value."""
        self._writers: dict[Hashable, list[int]] = {}
        """Open calls that write, by the value that they leave."""

    def fits(self) -> bool:
        calls = self._calls
        events = [(call.start, 0, number) for number, call in enumerate(calls)]
        events += [(call.end, 1, number) for number, call in enumerate(calls) if not call.crashed]
        for _, returns, number in sorted(events):
            if returns:
                if not self._is_done[number] and not self._reach(number):
                    return False
            else:
                self._open(number)
        return True

    def _open(self, number: int) -> None:
        footprint = self._footprints[number]
        if footprint.writes:
            self._writers.setdefault(footprint.written, []).append(number)
        elif not footprint.observes or footprint.observed == self._state:
            self._is_done[number] = True
        else:
            self._readers.setdefault(footprint.observed, []).append(number)

    def _reach(self, number: int) -> bool:
        """Lets a call take effect that returns now, after one that it needs; whether that can be."""
        footprint = self._footprints[number]
        if footprint.observes and footprint.observed != self._state:
            writers = self._writers.get(footprint.observed, [])
            possible = [one for one in writers if not self._is_done[one] and self._can(one)]
            self._writers[footprint.observed] = [one for one in writers if not self._is_done[one]]
            if not possible:
                return False
            self._take_effect(min(possible, key=lambda one: self._calls[one].end))
        if not self._is_done[number]:
            self._take_effect(number)
        return True

    def _can(self, number: int) -> bool:
        footprint = self._footprints[number]
        return not footprint.observes or footprint.observed == self._state

    def _take_effect(self, number: int) -> None:
        """Lets a call that writes take effect, and all that only observe what it leaves."""
        self._is_done[number] = True
        self._state = self._footprints[number].written
        for reader in self._readers.pop(self._state, ()):
            self._is_done[reader] = True
