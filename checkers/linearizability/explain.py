"""Why a history is not linearizable: the fewest operations that show it, and a sentence that a person can follow.

Operations may be left out only if that cannot make a right history look wrong. What keeps to this:

- *the end*: events after the return at which the search got stuck go; calls still open there count as crashed, or go
  if they failed;
- *a call that only reads*;
- *a write*, together with every call that observed its value: without readers nobody misses it. As long as one reader
  stays, every write of that value stays, whoever made it;
- *what a cas observed*: it may be taken for a plain write, which can be done wherever the cas could;
- *an atom*, such as an element of a queue, out of all calls (`atoms` and `without` of the model);
- *the beginning*: a window of the history is judged with the object in any state whatever at its start. Calls that
  were open then may have taken effect before, so they count as crashed from there on.

What remains is judged by the general search again after each step, so that the evidence proves itself. For registers
`short_kernel.py` does the same, compiled; this page is the plain form.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

import msgspec

from checkers.linearizability.calls import FOREVER, Call
from checkers.linearizability.models import CasRegister, Footprint, Model, State, show
from checkers.linearizability.orders import longest_orders
from checkers.linearizability.search import Search, SearchResult
from checkers.linearizability.versions import VersionedKey
from checkers.linearizability.zones import Conflict
from results.operation import FAIL, INFO, OK
from results.verdict import Anomaly

EFFORT = 50_000
"""Configurations that judging one candidate for the evidence may cost; a costlier one is left alone."""

STALE_READ = "stale read"
LOST_WRITE = "lost write"
NEVER_WRITTEN = "value never written"
FAILED_WRITE = "value of a failed write"
FAILED_CALL = "effect of a failed call"
BEFORE_ITS_WRITE = "value before its write"
CAS = "cas inconsistency"
NO_ORDER = "not linearizable"


@dataclass(frozen=True)
class Evidence:
    """A few calls that no order explains, as they were judged (see the module on what may differ)."""

    calls: tuple[Call, ...]
    start_states: tuple[State, ...] | None = None
    """If the evidence begins in mid-history: the states, standing for all there are, that it was judged from."""
    stuck: int | None = None
    """The event that invoked the call at whose return no order is left, if it is known already."""


def evidence_of_conflict(
    conflict: Conflict, model: Model, enough: Callable[[], bool] = lambda: False
) -> Evidence:
    """The evidence for a conflict between zones, confirmed by the general search."""
    loosened = {call.start for call in conflict.loosened}
    chosen = {call.start: call for call in (*conflict.support, *conflict.calls)}
    calls = [as_write(call, model) if call.start in loosened else call for _, call in sorted(chosen.items())]
    evidence = Evidence(tuple(calls))
    assert _is_illegal(evidence, model), (
        f"zones found a conflict ({conflict.kind}) that the search does not see; events: "
        f"{[call.start for call in calls]}"
    )
    return reduce(evidence, model, enough)


def evidence_of_calls(
    calls: Sequence[Call], model: Model, enough: Callable[[], bool] = lambda: False
) -> Evidence:
    """The evidence when a few calls are known to be wrong by themselves."""
    return reduce(Evidence(tuple(calls)), model, enough)


def evidence_of_search(
    calls: Sequence[Call], stuck: Call, model: Model, enough: Callable[[], bool] = lambda: False
) -> Evidence:
    """The evidence for a search that got stuck at the return of a call."""
    prefix = [
        open_at(call, stuck.end)
        for call in calls
        if call.start <= stuck.end and not (call.type == FAIL and call.end > stuck.end)
    ]
    prefix = [call for call in prefix if not (call.type == INFO and call.f in model.reads)]
    prefix = _without_unneeded(prefix, model)
    evidence = Evidence(tuple(prefix))
    states = model.possible_states(prefix)
    if states is not None:
        legal, length = 0, 4
        while length < stuck.end and not _is_illegal(_window(prefix, stuck.end - length, model), model):
            if enough():
                return evidence
            legal, length = length, length * 2
        if length < stuck.end:
            while length - legal > 1:  # A shorter window knows less, so what is legal stays so.
                middle = (legal + length) // 2
                if _is_illegal(_window(prefix, stuck.end - middle, model), model):
                    length = middle
                else:
                    legal = middle
            evidence = _window(prefix, stuck.end - length, model)
    return reduce(evidence, model, enough)


def _without_unneeded(calls: list[Call], model: Model) -> list[Call]:
    """Without crashed calls of a register-like object that cannot matter: those whose value nobody observed, nor a
    value made of it; and of each value, no more than there are calls that observe it, the first of them."""
    footprints = [model.footprint(call) for call in calls]
    observers: dict[Hashable, int] = {}
    sources: dict[Hashable, list[Hashable]] = {}
    todo: list[Hashable] = []
    for call, footprint in zip(calls, footprints, strict=True):
        if footprint is None:
            return calls
        if footprint.observes:
            observers[footprint.observed] = observers.get(footprint.observed, 0) + 1
            if not call.crashed:
                todo.append(footprint.observed)
            elif footprint.writes:
                sources.setdefault(footprint.written, []).append(footprint.observed)
    needed: set[Hashable] = set()
    while todo:
        value = todo.pop()
        if value not in needed:
            needed.add(value)
            todo += sources.get(value, ())
    kept = []
    alike: dict[Footprint, int] = {}
    for call, footprint in zip(calls, footprints, strict=True):
        assert footprint is not None, f"event {call.start} lost its footprint"
        if call.crashed:
            alike[footprint] = alike.get(footprint, 0) + 1
            if not footprint.writes or footprint.written not in needed:
                continue
            if alike[footprint] > observers[footprint.written]:
                continue
        kept.append(call)
    return kept


def open_at(call: Call, end: int) -> Call:
    """The call as it looked just after event `end`."""
    if call.end <= end:
        return call
    return msgspec.structs.replace(call, end=FOREVER, type=INFO, result=None)


def _window(calls: Sequence[Call], start: int, model: Model) -> Evidence:
    """The history from event `start` on, from any state. Of objects that are told by a rule it begins at an invocation:
    what ended before that is over, and not open (`short_kernel.py`, which has the same for registers, does without).
    """
    if model.rule:
        start = min((call.start for call in calls if call.start >= start), default=start)
    kept = []
    for call in calls:
        if call.start >= start:
            kept.append(call)
        elif call.end >= start and call.f not in model.reads and call.type != FAIL:
            kept.append(msgspec.structs.replace(call, end=FOREVER, type=INFO, result=None))
    states = model.possible_states(kept)
    assert states is not None, (
        f"a part of the history of this {model.name} has no list of states, the whole had one"
    )
    return Evidence(tuple(kept), tuple(states))


def _is_illegal(evidence: Evidence, model: Model) -> bool:
    result = _judge(evidence, model)
    return result is not None and not result.legal


def _judge(evidence: Evidence, model: Model) -> SearchResult | None:
    return Search(evidence.calls, model, evidence.start_states).run(EFFORT)


def reduce(evidence: Evidence, model: Model, enough: Callable[[], bool] = lambda: False) -> Evidence:
    """The evidence without what it can do without. Stops early, with what it has, when `enough()` says so."""
    evidence = _without_needless(evidence, model, enough)
    smaller = _without_atoms(evidence, model, enough)
    if smaller is not evidence:
        evidence = _without_needless(smaller, model, enough)
    position = 0
    while position < len(evidence.calls) and not enough():
        call = evidence.calls[position]
        position += 1
        plain = as_write(call, model)
        if plain is not call:
            calls = (*evidence.calls[: position - 1], plain, *evidence.calls[position:])
            loosened = Evidence(calls, evidence.start_states)
            if _is_illegal(loosened, model):
                smaller = _without_needless(loosened, model, enough)
                if len(smaller.calls) < len(evidence.calls):
                    evidence, position = smaller, 0
    return evidence


def _without_needless(evidence: Evidence, model: Model, enough: Callable[[], bool]) -> Evidence:
    """Delta debugging: tries to do without halves, quarters ... and in the end without each single call."""
    size = max(1, len(evidence.calls) // 2)
    changed = True
    ties = _Ties(evidence.calls, model)
    while (changed or size > 1) and not enough():
        if not changed or size > len(evidence.calls):
            size = max(1, size // 2)
        changed = False
        position = 0
        while position < len(evidence.calls) and not enough():
            calls = evidence.calls
            dropped = ties.with_dependents(calls[position : position + size])
            kept = Evidence(tuple(call for call in calls if call.start not in dropped), evidence.start_states)
            if dropped and _is_illegal(kept, model):
                evidence = kept
                changed = True
            else:
                position += size
    return evidence


def _without_atoms(evidence: Evidence, model: Model, enough: Callable[[], bool]) -> Evidence:
    """Delta debugging again, by what the calls are about instead of call by call."""
    atoms = list(dict.fromkeys(atom for call in evidence.calls for atom in model.atoms(call)))
    size = max(1, len(atoms) // 2)
    while atoms and not enough():
        position = 0
        changed = False
        while position < len(atoms) and not enough():
            kept = evidence.calls
            for atom in atoms[position : position + size]:
                kept = _taken_out(kept, atom, model)
            if len(kept) and _is_illegal(Evidence(kept, evidence.start_states), model):
                evidence = Evidence(kept, evidence.start_states)
                del atoms[position : position + size]
                changed = True
            else:
                position += size
        if size == 1 and not changed:
            break
        size = max(1, size // 2)
    return evidence


def _taken_out(calls: Sequence[Call], atom: Hashable, model: Model) -> tuple[Call, ...]:
    """The calls without an atom."""
    kept = []
    for call in calls:
        left = model.without(call, atom) if atom in model.atoms(call) else call
        if left is not None:
            kept.append(left)
    return tuple(kept)


class _Ties:
    """Which calls have to go with which."""

    def __init__(self, calls: Sequence[Call], model: Model) -> None:
        self._model = model
        self._observers: dict[Hashable, list[Call]] = {}
        self._on_anything: list[Call] = []
        """Calls that may depend on any change."""
        for call in calls:
            effects = model.effects(call)
            if effects is None:
                self._on_anything.append(call)
                continue
            for value in effects.observed:
                self._observers.setdefault(value, []).append(call)

    def with_dependents(self, dropped: Sequence[Call]) -> set[int]:
        """The starts of the calls that have to go with `dropped`; empty if some of them must stay."""
        gone: set[int] = set()
        opened: set[Hashable] = set()
        """Values whose observers are on the list."""
        todo = list(dropped)
        while todo:
            call = todo.pop()
            if call.start in gone:
                continue
            effects = self._model.effects(call)
            if effects is None and call.f not in self._model.reads and call.type != FAIL:
                return set()
            gone.add(call.start)
            for value in () if effects is None else effects.written:
                if value not in opened:
                    opened.add(value)
                    todo += self._observers.get(value, ())
                    todo += self._on_anything
        return gone


def as_write(call: Call, model: Model) -> Call:
    """The call without its observation, if it observes and writes; else the call itself."""
    if isinstance(model, VersionedKey):
        return model.as_write(call)
    if call.f != "cas" or not isinstance(model, CasRegister):
        return call
    return msgspec.structs.replace(call, f="write", argument=call.argument[1])


# In words


Span = tuple[int, int]
"""The events that invoked a call and completed it, the latter `FOREVER` if it crashed."""


class Values(Protocol):
    """Who wrote each value of an object, and which were seen: what the evidence leaves out and a sentence needs."""

    def call_at(self, start: int) -> Call:
        """The call, as it was recorded, that event `start` invoked, if it is one of the evidence or a writer."""
        ...

    def writers_of(self, value: Hashable) -> Sequence[Span]:
        """Every call of the object that wrote, or may have written, a value, in the order of invocation."""
        ...

    def was_seen(self, value: Hashable) -> bool:
        """Whether an ok call observed a value."""
        ...

    def failed(self) -> Sequence[Call]:
        """The calls of the object that failed, which are not among the others."""
        ...

    def is_written_after(self, write: Call) -> bool:
        """Whether any write began after this one did: then nobody needed to see this one's value for it to have been
        there, and what was read late is stale rather than all that is left."""
        ...


class ValuesOfCalls:
    """The values of an object of any model, from all of its calls."""

    def __init__(self, calls: Sequence[Call], failed: Callable[[], Sequence[Call]], model: Model) -> None:
        self._calls = {call.start: call for call in calls}
        self.failed = failed
        self._model = model
        self._writers: dict[Hashable, list[Span]] = {}
        self._seen: set[Hashable] = set()
        self._last_write = -1
        for call in calls:
            footprint = model.footprint(call)
            if footprint is None:
                continue
            if footprint.writes:
                self._writers.setdefault(footprint.written, []).append((call.start, call.end))
                self._last_write = max(self._last_write, call.start)
            if footprint.observes and call.type == OK:
                self._seen.add(footprint.observed)

    def call_at(self, start: int) -> Call:
        return self._calls[start]

    def writers_of(self, value: Hashable) -> Sequence[Span]:
        return self._writers.get(value, ())

    def was_seen(self, value: Hashable) -> bool:
        return value in self._seen

    def is_written_after(self, write: Call) -> bool:
        return self._last_write > write.start


def _would_have_written(call: Call, value: Hashable, model: Model) -> bool:
    """Whether a failed call would have written a value."""
    footprint = model.footprint(msgspec.structs.replace(call, type=INFO))
    return footprint is not None and footprint.writes and footprint.written == value


def _would_explain(call: Call, shown: Call, model: Model) -> bool:
    """Whether a call would fit that does not fit an untouched object, had a failed one taken effect before it."""
    if call.start > shown.end:
        return False
    try:
        states = model.step(model.initial_state(), msgspec.structs.replace(call, type=INFO))
    except ValueError:  # What failed need not be a call that the object knows.
        return False
    return any(model.step(state, shown) for state in states)


def explain(evidence: Evidence, values: Values, model: Model, key: Any = None) -> Anomaly:
    """The anomaly that the evidence shows; `key` is the object's, as it stands in the history."""
    chosen = [values.call_at(call.start) for call in evidence.calls]
    story = _Story(evidence, chosen, values, model, key)
    kind, sentence, extra = story.tell()
    told = sorted({call.start: call for call in (*chosen, *extra)}.items())
    orders, all_tried = longest_orders(evidence.calls, model, evidence.start_states)
    return Anomaly(
        type=kind,
        sentence=sentence,
        operations=sorted(index for _, call in told for index in call.pair.indices),
        key=key,
        evidence={
            "minimal_history": [_row(call) for _, call in told],
            "from_any_state": evidence.start_states is not None,
            "orders": [order.as_evidence(model) for order in orders],
            "all_orders_tried": all_tried,
        },
    )


def _row(call: Call) -> dict[str, Any]:
    pair = call.pair
    return {
        "index": pair.index,
        "process": pair.process,
        "f": pair.f,
        "value": pair.value,
        "type": pair.type,
        "start_ns": pair.start,
        "end_ns": pair.end,
    }


class _Story:
    """Finds out what kind of mistake the evidence shows, and puts it into words."""

    def __init__(
        self,
        evidence: Evidence,
        chosen: Sequence[Call],
        values: Values,
        model: Model,
        key: Any,
    ) -> None:
        self.chosen = chosen
        self.values = values
        self.model = model
        self.key = key
        self.of_key = "" if key is None else f" of key {show(key)}"
        self.seconds = _format_of(chosen)
        self.from_any_state = evidence.start_states is not None
        self.judged = {call.start: call for call in evidence.calls}
        self.stuck = evidence.stuck
        if self.stuck is None:
            result = _judge(evidence, model)
            self.stuck = None if result is None or result.stuck is None else result.stuck.start

    def footprint(self, call: Call) -> Footprint | None:
        return self.model.footprint(call)

    def writers(self, value: Hashable, but: Call) -> list[Span]:
        """Every call of the object that wrote, or may have written, a value."""
        return [writer for writer in self.values.writers_of(value) if writer[0] != but.start]

    def observed(self, call: Call) -> Hashable:
        footprint = self.footprint(call)
        assert footprint is not None, f"event {call.start} has no footprint"
        assert footprint.observes, f"event {call.start} observes nothing"
        return footprint.observed

    def about(self, call: Call) -> Hashable:
        """The value that the object has right after the call."""
        footprint = self.footprint(call)
        if footprint is None:
            return None
        return footprint.written if footprint.writes else footprint.observed

    def tell(self) -> tuple[str, str, list[Call]]:
        """The kind, the sentence, and calls it mentions that are not in the evidence."""
        if not self.from_any_state and len(self.chosen) == 1 and self.footprint(self.chosen[0]) is None:
            for failed in self.values.failed():
                if _would_explain(failed, self.judged[self.chosen[0].start], self.model):
                    did = self._capital(self._did(self.chosen[0]))
                    why = f"which only {self._name(failed)} would explain, and that had failed: it must never show"
                    return FAILED_CALL, f"{did}, {why}", [failed]
        if self.model.rule:
            return NO_ORDER, f"{self._capital(self._facts(self.chosen))}. {self._no_order()}", []
        observers = []
        for call in self.chosen:
            judged = self.judged[call.start]
            footprint = self.footprint(judged)
            if footprint is not None and footprint.observes and judged.type == OK:
                observers.append(call)
        initial = self.model.initial_state()
        for call in observers:
            value = self.observed(call)
            if value == initial:
                continue
            writers = self.writers(value, call)
            if not writers:
                return self._never_written(call, value)
            if all(start > call.end for start, _ in writers):
                return self._before_its_write(call, value, writers)
        cas = [call for call in self.chosen if call.f == "cas" and call.type == OK]
        if len(cas) == 2 and self.observed(cas[0]) == self.observed(cas[1]):
            others = [call for call in self.chosen if call not in cas]
            writers = list(self.values.writers_of(self.observed(cas[0])))
            if all((call.start, call.end) in writers for call in others):
                return self._replaced_twice(cas)
        if observers:
            culprit = max(observers, key=lambda call: call.start)
            for call in observers:
                if call.start == self.stuck and self._replacer(call) is not None:
                    culprit = call
            return self._out_of_date(culprit)
        return NO_ORDER, f"{self._capital(self._facts(self.chosen))}. {self._no_order()}", []

    def _never_written(self, call: Call, value: Hashable) -> tuple[str, str, list[Call]]:
        what = f"{self._did(call)}, but "
        for failed in self.values.failed():
            if not _would_have_written(failed, value, self.model):
                continue
            source = f"the only source of {show(value)}, {self._name(failed)}"
            return FAILED_WRITE, f"{what}{source}, had failed: it must never show", [failed]
        return NEVER_WRITTEN, f"{what}nothing ever wrote {show(value)} there", []

    def _before_its_write(
        self, call: Call, value: Hashable, writers: list[Span]
    ) -> tuple[str, str, list[Call]]:
        first = self.values.call_at(min(writers)[0])
        only = "the only call that wrote" if len(writers) == 1 else "the first call that wrote"
        sentence = (
            f"{self._did(call)}; {only} {show(value)}, by process {first.pair.process}, began after that, "
            f"at {self.seconds(first.pair.start)} s"
        )
        return BEFORE_ITS_WRITE, sentence, [first]

    def _replaced_twice(self, twins: list[Call]) -> tuple[str, str, list[Call]]:
        one, other = twins
        value = self.observed(one)
        sources = [self.values.call_at(start) for start, _ in self.values.writers_of(value)[:2]]
        if len(sources) > 1:
            why = f"{show(value)} was not there again in between"
        elif sources:
            why = (
                f"{show(value)} was there once only, from process {sources[0].pair.process}'s {sources[0].f}"
            )
        else:
            why = f"{show(value)} was the initial value and was never written"
        sentence = (
            f"{self._did(one)}, and {self._did(other, short=True)}; but {why}, so both cannot have found it"
        )
        return CAS, sentence, sources if len(sources) == 1 else []

    def _replacer(self, culprit: Call) -> Call | None:
        """The call that shows best, before the culprit began, that its value had been replaced: one that began after
        every write of that value was over, if there is one; rather a change than a read; rather a late one."""
        value = self.observed(culprit)
        before = [call for call in self.chosen if call.end < culprit.start and self.about(call) != value]
        return max(
            before,
            key=lambda call: (
                self._is_obvious(call, value, culprit),
                call.f not in self.model.reads,
                call.end,
            ),
            default=None,
        )

    def _is_obvious(self, replacer: Call, value: Hashable, culprit: Call) -> bool:
        """Whether every write of a value that could matter to the culprit was over when its replacement began."""
        return all(
            end < replacer.start or start >= culprit.end for start, end in self.writers(value, culprit)
        )

    def _out_of_date(self, culprit: Call) -> tuple[str, str, list[Call]]:
        value = self.observed(culprit)
        replacer = self._replacer(culprit)
        kind = CAS if culprit.f == "cas" else STALE_READ
        if replacer is None:
            others = [call for call in self.chosen if call is not culprit]
            sentence = f"{self._did(culprit)}, but {self._facts(others)}. {self._no_order()}"
            return kind if culprit.f == "cas" else NO_ORDER, sentence, []
        replaced_by = self.about(replacer)
        changed = self.footprint(replacer)
        if (
            kind == STALE_READ
            and changed is not None
            and changed.writes
            and not self.values.was_seen(replaced_by)
            and not self.values.is_written_after(replacer)
        ):
            kind = LOST_WRITE
        sentence = (
            f"{self._did(culprit)}, after {self._did(replacer, short=True, times=False)} "
            f"(completed at {self._end(replacer)} s)"
        )
        writers = self.writers(value, culprit)
        extra: list[Call] = []
        others = [call for call in self.chosen if call is not culprit and call is not replacer]
        in_time = [writer for writer in writers if writer[0] < culprit.end]
        if not in_time:
            when = "was not written before that" if writers else "was never written"
            sentence += f"; {show(value)} was the initial value and {when}"
        elif self._is_obvious(replacer, value, culprit):
            writers = in_time
            last = self.values.call_at(max(writers, key=itemgetter(1))[0])
            extra = [last]
            others = [call for call in others if call.start != last.start]
            again = "" if len(writers) == 1 else "last "
            sentence += (
                f"; {show(value)} had {again}been written by process {last.pair.process}, completed at "
                f"{self._end(last)} s, before that {replacer.f} began at {self.seconds(replacer.pair.start)} s"
            )
        else:
            past = [writer for writer in writers if writer[1] < culprit.start]
            last = self.values.call_at(max(past, key=itemgetter(1), default=writers[0])[0])
            if all(last.start != call.start for call in self.chosen):
                extra = [last]
                sentence += f"; {show(value)} had last been written by process {last.pair.process}"
                sentence += f" ({self._when(last)})"
        if others:
            sentence += f"; also, {self._facts(others)}"
        ends = {
            LOST_WRITE: f"the write of {show(replaced_by)} was acknowledged, and nobody ever saw it: a lost write",
            STALE_READ: f"{show(value)} was no longer the value: a stale read",
            CAS: f"{show(value)} was no longer the value, so the cas must have failed",
        }
        if others and not self._is_obvious(replacer, value, culprit):
            return kind, f"{sentence}. {self._no_order()}", extra
        return kind, f"{sentence}. So {ends[kind]}", extra

    def _no_order(self) -> str:
        before = ""
        if self.from_any_state:
            what = "was there" if self.model.rule else "the value was"
            moment = self.seconds(min(call.pair.start for call in self.chosen))
            before = f", whatever {what} before {moment} s,"
        rule = f", as {self.model.rule}" if self.model.rule else ""
        if len(self.chosen) == 1:
            return f"Nothing{before} explains that{rule}"
        order = f"No order of these {len(self.chosen)} operations that keeps to their times"
        return f"{order}{before} explains what they saw{rule}"

    def _facts(self, calls: Sequence[Call]) -> str:
        return ", ".join(self._did(call, short=True) for call in calls)

    def _did(self, call: Call, *, short: bool = False, times: bool = True) -> str:
        where = "" if short else self.of_key
        text = f"process {call.pair.process} {self.model.describe(call)}{where}"
        return f"{text} ({self._when(call)})" if times else text

    def _name(self, call: Call) -> str:
        return f"process {call.pair.process}'s {call.f} ({self._when(call)})"

    def _when(self, call: Call) -> str:
        if call.type == INFO:
            return f"from {self.seconds(call.pair.start)} s, outcome unknown"
        return f"{self.seconds(call.pair.start)}–{self._end(call)} s"

    def _end(self, call: Call) -> str:
        return self.seconds(call.pair.end if call.pair.end is not None else call.pair.start)

    @staticmethod
    def _capital(text: str) -> str:
        return text[:1].upper() + text[1:]


def _format_of(calls: Sequence[Call]) -> Callable[[int], str]:
    """Shows nanoseconds as seconds, with as many digits as it takes to tell the calls' times apart."""
    times = {time for call in calls for time in (call.pair.start, call.pair.end) if time is not None}
    digits = next((n for n in (3, 6) if len({f"{time / 1e9:.{n}f}" for time in times}) == len(times)), 9)

    def seconds(time_ns: int) -> str:
        return f"{time_ns / 1e9:.{digits}f}"

    return seconds
