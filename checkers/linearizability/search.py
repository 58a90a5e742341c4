"""The general search for a linearization, over return events, with memory of what was seen.

The algorithm is the just-in-time linearization of Lowe ("Testing for linearizability", Concurrency and Computation
29(4), 2017), breadth first, as Knossos calls *linear*. It walks through the events once. A *configuration* is a state
of the object with the set of open calls that have already taken effect; all configurations that explain the events
so far are kept. A call needs to take effect only when its return is seen: then every configuration that lacks it is
extended by open calls, in every order, until it has it. If none is left, no order exists, and that return is where
the history stops making sense. The cost depends on the number of configurations, not on the length.

Four rules keep that number small:

1. A call that never changes any state (a read, a failed cas) takes effect at once where it fits, without a choice:
   having it behind cannot hurt. A write of the value that is already there does not count: it may be needed later.
2. Crashed calls that act alike are used in the order of their invocations.
3. A crashed call that would not change the state is not used.
4. Of two configurations that differ only in the crashed calls they used, the one that used fewer can do all that the
   other can. This holds only for calls that never return, and never between different sets of open calls.

The search is a generator that pauses now and then, so that many can take turns and none can block another.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from checkers.linearizability.calls import FOREVER, Call
from checkers.linearizability.models import Model, State
from results.operation import FAIL

PAUSE = 512
"""Configurations that are looked at between two pauses, about."""

MOVES_A_UNIT = 16
"""Moves that cost about as much as a configuration."""

CHAIN = 64
"""Configurations that a new one is compared with under rule 4, at most."""


@dataclass(frozen=True)
class SearchResult:
    """What a finished search found."""

    legal: bool
    stuck: Call | None = None
    """The call at whose return no configuration was left."""
    states: tuple[State, ...] = ()
    """The states that the object could be in just before that return."""


@dataclass
class Search:
    """One search. Drive `steps()` until it returns; between its pauses the figures below are current."""

    calls: Sequence[Call]
    model: Model
    start_states: Sequence[State] | None = None
    """Where the object may be at first; the model's initial state if None."""
    looked_at: int = field(default=0, init=False)
    """Configurations looked at so far."""
    work: int = field(default=0, init=False)
    """The work done: configurations looked at, more where much can happen next."""
    held: int = field(default=0, init=False)
    """Configurations in memory now."""
    width: int = field(default=0, init=False)
    """Bits that a set of calls may have: calls open at a time, and crashed ones."""
    result: SearchResult | None = field(default=None, init=False)
    _pause_at: int = field(default=PAUSE, init=False, repr=False)

    def run(self, most: int | None = None) -> SearchResult | None:
        """Goes on to the end, or until it has done so much work in all; None in that case."""
        for _ in self.steps():
            if most is not None and self.work > most:
                return None
        return self.result

    def steps(self) -> Generator[None, None, SearchResult]:
        """The search itself; sets and returns `result`."""
        result = yield from self._search()
        self.result = result
        self.held = 0
        return result

    def _search(self) -> Generator[None, None, SearchResult]:
        transitions = Transitions(self.model)
        start_states = [self.model.initial_state()] if self.start_states is None else self.start_states
        events, width = _events(self.calls)
        self.width = width + sum(call.end == FOREVER for call in self.calls)
        open_ = _Open(-1 << width)
        next_crashed = 1 << width
        frontier: dict[int, set[int]] = {transitions.intern(state): {0} for state in start_states}
        """By state, the sets of calls that took effect, as bits."""
        for call, bit, is_return in events:
            if not is_return:
                class_ = transitions.class_of(call)
                if bit:
                    open_.returning[bit] = class_
                else:
                    open_.add_crashed(next_crashed, class_)
                    next_crashed <<= 1
                continue
            found, lacking = self._split(frontier, bit, transitions, open_)
            if lacking:
                yield from self._extend(found, lacking, bit, transitions, open_)
            del open_.returning[bit]
            if open_.crashed:
                found = {state: _least(masks, open_.crash_mask) for state, masks in found.items()}
            before = frontier
            frontier = {state: masks for state, masks in found.items() if masks}
            if not frontier:
                return SearchResult(False, call, tuple(transitions.states[state] for state in before))
            if self.work >= self._pause_at:
                yield from self._pause(frontier)
        return SearchResult(True)

    def _split(
        self, frontier: dict[int, set[int]], bit: int, transitions: Transitions, open_: _Open
    ) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
        """At the return of a call: the configurations that have it behind (its bit taken off, for the slot is free
        now), and those that lack it; rule 1 applied to all."""
        found: dict[int, set[int]] = {}
        lacking: dict[int, set[int]] = {}
        for state, masks in frontier.items():
            at_once = transitions.fitting(state, open_.returning)
            have = set()
            lack = set()
            for mask in masks:
                mask |= at_once
                if mask & bit:
                    have.add(mask ^ bit)
                else:
                    lack.add(mask)
            self.looked_at += len(masks)
            self.work += len(masks)
            if have:
                found[state] = have
            if lack:
                lacking[state] = lack
        return found, lacking

    def _extend(
        self,
        found: dict[int, set[int]],
        seen: dict[int, set[int]],
        bit: int,
        transitions: Transitions,
        open_: _Open,
    ) -> Generator[None, None, None]:
        """Lets open calls take effect, in every order, until the one that returns has; adds what comes of it to
        `found`. `seen` are the configurations to begin with, and grows.

        Those that used fewer crashed calls go first: then what rule 4 makes needless is known before it is extended.
        """
        crash_mask = open_.crash_mask
        chains: dict[int, dict[int, list[int]]] = {}
        levels: dict[int, dict[int, list[int]]] = {}
        """By the number of crashed calls used, and by state: the configurations still to be extended."""
        for state, masks in seen.items():
            for mask in masks:
                levels.setdefault((mask & crash_mask).bit_count(), {}).setdefault(state, []).append(mask)
            if open_.crashed:
                chains[state] = _antichains(masks, crash_mask)
        moves: dict[int, list[_Move]] = {}
        while levels:
            level = min(levels)
            todos = levels[level]
            while todos:
                state, todo = todos.popitem()
                if len(todo) > PAUSE:  # A part at a time, so that pauses come in time.
                    todos[state] = todo[:-PAUSE]
                    todo = todo[-PAUSE:]
                if level and open_.crashed:
                    beaten = chains.setdefault(state, {})
                    todo = [mask for mask in todo if not _is_beaten(beaten, mask, crash_mask)]
                if state not in moves:
                    moves[state] = _moves(state, transitions, open_)
                    self.work += len(open_.crashed) // MOVES_A_UNIT
                self.looked_at += len(todo)
                self.work += len(todo) * (1 + len(moves[state]) // MOVES_A_UNIT)
                for look, want, becomes, gains, uses_crashed in moves[state]:
                    target_found = found.setdefault(becomes, set())
                    target_seen = seen.setdefault(becomes, set())
                    target_chains = chains.setdefault(becomes, {}) if open_.crashed else None
                    fresh = []
                    for mask in todo:
                        if mask & look != want:
                            continue
                        after = mask | gains
                        if after & bit:
                            target_found.add(after ^ bit)
                        elif after not in target_seen:
                            if target_chains is not None and not _admit(target_chains, after, crash_mask):
                                continue
                            target_seen.add(after)
                            fresh.append(after)
                    if fresh:
                        levels.setdefault(level + uses_crashed, {}).setdefault(becomes, []).extend(fresh)
                if self.work >= self._pause_at:
                    yield from self._pause(seen, found)
            del levels[level]

    def _pause(self, *held: dict[int, set[int]]) -> Generator[None, None, None]:
        self._pause_at = self.work + PAUSE
        self.held = sum(len(masks) for configurations in held for masks in configurations.values())
        yield


@dataclass
class _Open:
    """The calls that were invoked and have not returned, by their bits."""

    crash_mask: int
    """All bits of crashed calls: those above the slots of calls that return, one each for good."""
    returning: dict[int, int] = field(default_factory=dict)
    """Calls that will return -> the class of their signature."""
    crashed: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Crashed calls -> their class, and the bit of the one before in that class (0: none)."""
    last_of_class: dict[int, int] = field(default_factory=dict)

    def add_crashed(self, bit: int, class_: int) -> None:
        self.crashed[bit] = (class_, self.last_of_class.get(class_, 0))
        self.last_of_class[class_] = bit


class _Move(NamedTuple):
    """What can happen next to a configuration whose bits in `look` are `want`."""

    look: int
    want: int
    becomes: int
    """The state afterwards."""
    gains: int
    """The bits of the call, and of all that takes effect at once afterwards (rule 1)."""
    uses_crashed: bool


def _moves(state: int, transitions: Transitions, open_: _Open) -> list[_Move]:
    """What can happen next in a state."""
    moves = []
    for bit, class_ in open_.returning.items():
        if not transitions.changes_nothing(class_):  # Rule 1 took the others already.
            for becomes in transitions.after(state, class_):
                gains = bit | transitions.fitting(becomes, open_.returning)
                moves.append(_Move(bit, 0, becomes, gains, False))
    for bit, (class_, before) in open_.crashed.items():
        for becomes in transitions.after(state, class_):
            if becomes != state:  # Rule 3.
                gains = bit | transitions.fitting(becomes, open_.returning)
                moves.append(_Move(bit | before, before, becomes, gains, True))  # Rule 2.
    return moves


class Transitions:
    """The model's steps between numbered states and classes of calls, remembered."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.states: list[State] = []
        self._numbers: dict[State, int] = {}
        self._classes: dict[tuple[object, ...], int] = {}
        self.examples: list[Call] = []
        """A call of each class."""
        self._changes_nothing: list[bool] = []
        self._after: dict[tuple[int, int], tuple[int, ...]] = {}

    def intern(self, state: State) -> int:
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self.states)
            self.states.append(state)
        return number

    def class_of(self, call: Call) -> int:
        signature = (*call.signature, call.process) if self._model.by_process else call.signature
        class_ = self._classes.get(signature)
        if class_ is None:
            class_ = self._classes[signature] = len(self.examples)
            self.examples.append(call)
            footprint = self._model.footprint(call)
            only_observes = footprint is not None and not footprint.writes
            self._changes_nothing.append(call.f in self._model.reads or call.type == FAIL or only_observes)
        return class_

    def after(self, state: int, class_: int) -> tuple[int, ...]:
        key = (state, class_)
        found = self._after.get(key)
        if found is None:
            nexts = self._model.step(self.states[state], self.examples[class_])
            found = self._after[key] = tuple(dict.fromkeys(self.intern(next_) for next_ in nexts))
        return found

    def changes_nothing(self, class_: int) -> bool:
        return self._changes_nothing[class_]

    def fitting(self, state: int, open_calls: dict[int, int]) -> int:
        """The bits of the open calls that change nothing and can happen in this state."""
        bits = 0
        after = self._after
        still = self._changes_nothing
        for bit, class_ in open_calls.items():
            if still[class_]:
                nexts = after.get((state, class_))
                if nexts is None:
                    nexts = self.after(state, class_)
                if nexts:
                    bits |= bit
        return bits


def _events(calls: Iterable[Call]) -> tuple[list[tuple[Call, int, bool]], int]:
    """The invocations and returns in order, as `(call, bit, is_return)`, and how many slots they need.

    A call that returns has a slot, a bit that is free again after its return; a crashed one has bit 0 here.
    """
    marks: list[tuple[int, bool, Call]] = []
    for call in calls:
        marks.append((call.start, False, call))
        if call.end != FOREVER:
            marks.append((call.end, True, call))
    marks.sort(key=lambda mark: (mark[0], mark[1]))
    free: list[int] = []
    bits: dict[int, int] = {}
    width = 0
    events = []
    for _, is_return, call in marks:
        if is_return:
            bit = bits.pop(id(call))
            free.append(bit)
        elif call.end == FOREVER:
            bit = 0
        else:
            if free:
                bit = free.pop()
            else:
                bit = 1 << width
                width += 1
            bits[id(call)] = bit
        events.append((call, bit, is_return))
    return events, width


def _admit(chains: dict[int, list[int]], mask: int, crash_mask: int) -> bool:
    """Whether a configuration is worth keeping beside those with the same open calls behind (rule 4); if so, it is
    entered, and those that it makes needless are taken out. Only so many are compared: rule 4 saves work, and is not
    needed for the answer to be right."""
    used = mask & crash_mask
    others = chains.get(mask ^ used)
    if others is None:
        chains[mask ^ used] = [used]
        return True
    for other in others:
        if other & used == other:
            return False
    if len(others) < CHAIN:
        others[:] = [other for other in others if other & used != used]
        others.append(used)
    return True


def _is_beaten(chains: dict[int, list[int]], mask: int, crash_mask: int) -> bool:
    """Whether one was entered that has the same open calls behind, and used only some of the same crashed ones."""
    used = mask & crash_mask
    return any(other & used == other != used for other in chains.get(mask ^ used, ()))


def _antichains(masks: Iterable[int], crash_mask: int) -> dict[int, list[int]]:
    chains: dict[int, list[int]] = {}
    for mask in masks:
        _admit(chains, mask, crash_mask)
    return chains


def _least(masks: set[int], crash_mask: int) -> set[int]:
    """Of each group with the same open calls behind, those that used the fewest crashed calls (rule 4)."""
    if len(masks) < 2:
        return masks
    chains: dict[int, list[int]] = {}
    # Those with few first: then nothing that was kept can be made needless by what follows.
    ordered = sorted(masks, key=lambda mask: ((mask & crash_mask).bit_count(), mask))
    return {mask for mask in ordered if _admit(chains, mask, crash_mask)}
