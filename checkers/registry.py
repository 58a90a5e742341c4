"""Every model that a history can be checked against, by the name it has on the command line, and who judges it.

Each entry says which functions its histories have, and makes the checker from the options of the question; modules are
imported when one of their names is used. From the functions of a history, `guess` tells which models it may be about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final

from checkers.checker import UNSAID, Checker, Limits
from checkers.plug_ins import PlugInError, found, load, require_arguments, require_members
from checkers.values import whole_number
from results.history import History
from results.operation import OK
from results.verdict import UNKNOWN, Verdict

STRICT_SERIALIZABLE: Final = "strict-serializable"


class QuestionError(ValueError):
    """The history cannot be asked this: an unknown name, an option that the model does not have, other functions."""


@dataclass(frozen=True)
class Options:
    """What else is asked, beside the model. What an entry has no use for must be left at its default."""

    isolation: str | None = None
    """Of transactions: the isolation level that has to hold; None is strict serializability."""
    initial: Any = UNSAID
    """The value before the first operation; unless it is given, the model's own."""
    keyed: bool | None = None
    """Whether values are `[key, value]`, each key an object of its own; None: as the values look."""
    allow_negative: bool = False
    """Of a bank: whether balances may be negative."""
    total: int | None = None
    """Of a bank: the sum of all balances; None: that of the first read that is certain to show it."""
    linearizable: bool = False
    """Of a set: whether a read has to show whatever was acknowledged before it began."""
    bound: int | None = None
    """Of staleness: for how many nanoseconds a read may miss what was acknowledged."""
    eventual: bool = False
    """Of a counter: whether only the final reads have to see every add; others may miss any, but show nothing else."""
    no_snapshot: bool = False
    """Of a bank: whether a read asks for one account after the other."""
    guarantees: tuple[str, ...] = ()
    """Of sessions: which guarantees have to hold; none named: all."""


@dataclass(frozen=True)
class Entry:
    """A model by name."""

    caption: str
    functions: frozenset[str] | None
    """The functions that its histories may have; None: any."""
    make: Callable[[Options, History], Checker]
    options: frozenset[str] = frozenset()
    """Which of the options it understands."""
    needs_real_time: bool = True
    """Whether nothing can be said of a history that records no real time."""
    is_transactional: bool = False
    """Whether it is judged at an isolation level."""
    reads_registers: bool | None = None
    """Of checkers that take transactions as columns too (`check_transactions`): whether reads answer one value, or the
    list that a key holds. None: it takes none."""
    asking: frozenset[str] | None = None
    """The functions whose success can be wrong. If none of them succeeded, the history shows nothing, though its
    checker may find nothing to object to. None: the checker says so itself."""


def _made(place: str, *arguments: Any, **named: Any) -> Checker:
    """What the class at `module:name` makes of the arguments."""
    module, _, name = place.partition(":")
    checker: Checker = getattr(import_module(module), name)(*arguments, **named)
    return checker


def _simple(place: str) -> Callable[[Options, History], Checker]:
    return lambda options, history: _made(place)


@dataclass(frozen=True)
class _EitherWay:
    """Judges values that may be `[key, value]` or may not, where no operation tells: what holds in both readings."""

    whole: Checker
    keyed: Checker

    @property
    def name(self) -> str:
        return self.whole.name

    def check(self, history: History, limits: Limits) -> Verdict:
        deadline = limits.deadline()
        whole = self.whole.check(history, limits)
        keyed = self.keyed.check(history, replace(limits, time_s=deadline.remaining()))
        if whole.outcome == keyed.outcome:
            return whole
        sentence = (
            "nobody asked with [key, null], which would tell whether values are [key, value]: if they are, the history "
            f"is {keyed.outcome} ({keyed.sentence}), else {whole.outcome} ({whole.sentence}); --keyed or --not-keyed "
            "decides"
        )
        return Verdict(UNKNOWN, self.name, sentence)


def _by_key(options: Options, history: History, make: Callable[[bool], Checker]) -> Checker:
    """The checker for the reading of the values that was asked for, else for the one that the history shows."""
    keyed = looks_keyed(history) if options.keyed is None else options.keyed
    return _EitherWay(make(False), make(True)) if keyed is None else make(keyed)


def _sequential(name: str, initial: str | None = None) -> Callable[[Options, History], Checker]:
    """Linearizability of an object; `initial` is what its model calls the initial value."""

    def make(options: Options, history: History) -> Checker:
        from checkers.linearizability import LinearizabilityChecker
        from checkers.linearizability.models import MODELS

        given = {} if options.initial is UNSAID or initial is None else {initial: options.initial}
        model = MODELS[name](**given)
        if model.splits_by_key:
            return LinearizabilityChecker(model, split_by_key=True)
        return _by_key(options, history, lambda keyed: LinearizabilityChecker(model, split_by_key=keyed))

    return make


def _bank(options: Options, history: History) -> Checker:
    from checkers.bank import BankChecker

    return BankChecker(None, options.total, options.allow_negative, snapshot=not options.no_snapshot)


def _set(options: Options, history: History) -> Checker:
    return _made("checkers.set_full:SetFullChecker", options.linearizable)


def _counter(options: Options, history: History) -> Checker:
    initial = 0 if options.initial is UNSAID else options.initial
    if whole_number(initial) is None:
        raise ValueError(f"a counter begins with a whole number (--initial), not {initial!r}")
    return _made("checkers.counter:CounterChecker", initial=whole_number(initial), eventual=options.eventual)


def _isolation(place: str) -> Callable[[Options, History], Checker]:
    return lambda options, history: _made(place, isolation=options.isolation or STRICT_SERIALIZABLE)


def _rw_register(options: Options, history: History) -> Checker:
    isolation = options.isolation or STRICT_SERIALIZABLE
    return _made(
        "checkers.isolation.rw_register:RwRegisterChecker", isolation=isolation, initial=options.initial
    )


def _staleness(options: Options, history: History) -> Checker:
    return _made("checkers.staleness:StalenessChecker", options.bound or 0)


def _sessions(options: Options, history: History) -> Checker:
    if options.keyed is None and "txn" in function_counts(history):
        options = replace(options, keyed=True)
    return _by_key(
        options,
        history,
        lambda keyed: _made(
            "checkers.sessions:SessionGuaranteesChecker",
            keyed=keyed,
            initial=None if options.initial is UNSAID else options.initial,
            **({"guarantees": tuple(options.guarantees)} if options.guarantees else {}),
        ),
    )


def _of(*functions: str) -> frozenset[str]:
    return frozenset(functions)


_KEYED: Final = _of("keyed")
_INITIAL: Final = _of("initial", "keyed")

REGISTRY: Final[Mapping[str, Entry]] = {
    "register": Entry(
        "a register, linearizable: read, write",
        _of("read", "write"),
        _sequential("register", "initial"),
        _INITIAL,
        asking=_of("read"),
    ),
    "cas-register": Entry(
        "a register with compare-and-set, linearizable: read, write, cas",
        _of("read", "write", "cas"),
        _sequential("cas-register", "initial"),
        _INITIAL,
        asking=_of("read", "cas"),
    ),
    "multi-register": Entry(
        "registers that transactions read and write together, linearizable: txn of r (read) and w (write)",
        _of("txn", "read", "write"),
        _sequential("multi-register", "initial"),
        _of("initial"),
        asking=_of("txn", "read"),
    ),
    "kv": Entry(
        "a map with append, each key linearizable: get, put, append",
        _of("get", "put", "append"),
        _sequential("kv"),
        asking=_of("get"),
    ),
    "set": Entry(
        "a set that only grows: what was added stays, and nothing else appears: add, read",
        _of("add", "read"),
        _set,
        _of("linearizable"),
    ),
    "set-full": Entry(
        "the same as set; with --linearizable no read may be stale either: add, read",
        _of("add", "read"),
        _set,
        _of("linearizable"),
    ),
    "removable-set": Entry(
        "a set, linearizable: add, remove, read",
        _of("add", "remove", "read"),
        _sequential("removable-set"),
        _KEYED,
        asking=_of("read"),
    ),
    "bank": Entry(
        "accounts whose total never changes: transfer, read",
        _of("transfer", "read"),
        _bank,
        _of("allow_negative", "total", "no_snapshot"),
        needs_real_time=False,
    ),
    "counter": Entry(
        "a counter, linearizable: add (a whole number, which may be negative), read",
        _of("add", "read"),
        _counter,
        _of("initial", "eventual"),
        asking=_of("read"),
    ),
    "unique-ids": Entry(
        "identifiers that are given once: generate",
        _of("generate"),
        _simple("checkers.unique_ids:UniqueIdsChecker"),
        needs_real_time=False,
    ),
    "monotonic": Entry(
        "counters that only grow: inc KEY, read KEY, both answered [key, value]",
        _of("inc", "read"),
        _simple("checkers.monotonic:MonotonicChecker"),
    ),
    "causal-reverse": Entry(
        "no read sees a write without those that had ended before it: write, read (of all values)",
        _of("write", "read"),
        _simple("checkers.causal_reverse:CausalReverseChecker"),
    ),
    "write-skew": Entry(
        "of a pair only one side may be filled: insert [pair, side, id], read",
        _of("insert", "read"),
        _simple("checkers.write_skew:WriteSkewChecker"),
        needs_real_time=False,
    ),
    "transact-write": Entry(
        "writes of several keys with a token: once for each token, all keys or none: write, read",
        _of("write", "read"),
        _simple("checkers.transact_write:TransactWriteChecker"),
    ),
    "staleness": Entry(
        "keyed registers that may lag behind by --bound, but no more: read, write, cas",
        _of("read", "write", "cas"),
        _staleness,
        _of("bound"),
    ),
    "list-append": Entry(
        "transactions that append to lists and read them: txn of append and r",
        _of("txn"),
        _isolation("checkers.isolation.list_append:ListAppendChecker"),
        needs_real_time=False,
        is_transactional=True,
        reads_registers=False,
    ),
    "rw-register": Entry(
        "transactions that write registers and read them: txn of w, r and scan",
        _of("txn"),
        _rw_register,
        _of("initial"),
        needs_real_time=False,
        is_transactional=True,
        reads_registers=True,
    ),
    "queue": Entry(
        "a first-in-first-out queue, linearizable: enqueue, dequeue, drain",
        _of("enqueue", "dequeue", "drain"),
        _sequential("queue"),
        _KEYED,
        asking=_of("dequeue", "drain"),
    ),
    "unordered-queue": Entry(
        "a queue without an order, linearizable: enqueue, dequeue, drain",
        _of("enqueue", "dequeue", "drain"),
        _sequential("unordered-queue"),
        _KEYED,
        asking=_of("dequeue", "drain"),
    ),
    "stack": Entry(
        "a stack, linearizable: push, pop",
        _of("push", "pop"),
        _sequential("stack"),
        _KEYED,
        asking=_of("pop"),
    ),
    "priority-queue": Entry(
        "a priority queue, linearizable: insert, delete-max, delete-min",
        _of("insert", "delete-max", "delete-min"),
        _sequential("priority-queue"),
        _KEYED,
        asking=_of("delete-max", "delete-min"),
    ),
    "mutex": Entry(
        "a lock that one holds at a time, linearizable: acquire, release",
        _of("acquire", "release"),
        _sequential("mutex"),
        _KEYED,
        asking=_of("acquire", "release"),
    ),
    "owned-mutex": Entry(
        "a lock that only its holder releases, linearizable: acquire, release",
        _of("acquire", "release"),
        _sequential("owned-mutex"),
        _KEYED,
        asking=_of("acquire", "release"),
    ),
    "fenced-lock": Entry(
        "a lock with growing fencing tokens, linearizable: acquire (answers a token), release",
        _of("acquire", "release"),
        _sequential("fenced-lock"),
        _KEYED,
        asking=_of("acquire", "release"),
    ),
    "semaphore": Entry(
        "permits, linearizable: acquire n, release n; --initial is how many there are",
        _of("acquire", "release"),
        _sequential("semaphore", "permits"),
        _INITIAL,
        asking=_of("acquire", "release"),
    ),
    "total-queue": Entry(
        "a queue in any order: nothing lost, made up or delivered twice: enqueue, dequeue, drain",
        _of("enqueue", "dequeue", "drain"),
        lambda options, history: _made("checkers.queue:QueueChecker", ordered=False),
    ),
    "fifo-queue": Entry(
        "the same, and what came first leaves first, by the axioms of queues, of any size: enqueue, dequeue, drain",
        _of("enqueue", "dequeue", "drain"),
        _simple("checkers.queue:QueueChecker"),
    ),
    "long-fork": Entry(
        "two readers see two writes in opposite orders: write, read, of micro-operations",
        _of("write", "read"),
        _simple("checkers.long_fork:LongForkChecker"),
        needs_real_time=False,
    ),
    "log": Entry(
        "logs as Kafka has them: nothing lost, repeated, reordered or skipped: send, poll, txn, assign, subscribe",
        _of("send", "poll", "txn", "assign", "subscribe", "crash"),
        _simple("checkers.log:LogChecker"),
    ),
    "watch": Entry(
        "watch streams with the nine guarantees of etcd: put, delete, watch",
        _of("put", "delete", "watch"),
        _simple("checkers.watch:WatchChecker"),
    ),
    "sessions": Entry(
        "session guarantees: monotonic reads and writes, read your writes, writes follow reads: read, write, cas, txn",
        _of("read", "write", "cas", "txn"),
        _sessions,
        _INITIAL | {"guarantees"},
        needs_real_time=False,
    ),
}
"""Name -> who judges histories of it."""


def names() -> list[str]:
    return list(REGISTRY)


def get_entry(name: str) -> Entry:
    """The entry of that name: ours, or a plug-in's. Raises QuestionError, with the names there are."""
    if name in REGISTRY:
        return REGISTRY[name]
    if ":" not in name and name not in found("checker"):
        raise QuestionError(
            f"there is no model {name!r}; models are {', '.join([*REGISTRY, *found('checker')])}, and module:name of "
            "one of your own"
        )
    try:
        thing = load("checker", name, REGISTRY)
        return thing if isinstance(thing, Entry) else _plugged(name, thing)
    except PlugInError as error:
        raise QuestionError(str(error)) from error


def _plugged(name: str, factory: Any) -> Entry:
    """The entry of a checker that takes nothing and says nothing about what it can be asked: any functions, no
    options."""
    require_arguments("checker", name, factory)
    require_members("checker", name, factory(), Checker)
    caption = " ".join((factory.__doc__ or name).split("\n\n")[0].split())
    functions = getattr(factory, "functions", None)
    known = None if functions is None else frozenset(functions)
    return Entry(caption, known, lambda options, history: factory(), needs_real_time=False)


def make_checker(name: str, options: Options, history: History) -> Checker:
    """The checker for a history. Raises QuestionError if the model cannot be asked that, or has other functions."""
    entry = get_entry(name)
    default = Options()
    for option in Options.__dataclass_fields__:
        if option == "isolation" and entry.is_transactional:
            continue
        if getattr(options, option) != getattr(default, option) and option not in entry.options:
            having = ", ".join(sorted(other for other, one in REGISTRY.items() if option in one.options))
            if option == "isolation":
                having = ", ".join(other for other, one in REGISTRY.items() if one.is_transactional)
            raise QuestionError(
                f"the model {name} has no use for --{option.replace('_', '-')} (models that have: {having})"
            )
    counts = function_counts(history)
    known = counts.keys() if entry.functions is None else entry.functions
    others = {f: number for f, number in counts.items() if f not in known}
    if others:
        listed = ", ".join(f"{f} ({number})" for f, number in sorted(others.items()))
        may_be = _may_be(guess(history))
        raise QuestionError(
            f"the history has operations that the model {name} does not know: {listed}; it knows "
            f"{', '.join(sorted(known))}{may_be}"
        )
    try:
        return entry.make(options, history)
    except (TypeError, ValueError) as error:
        raise QuestionError(f"the model {name} cannot be asked that: {error}") from error


def _may_be(candidates: list[str]) -> str:
    return f"; the history looks like one of {' or '.join(candidates)}" if candidates else ""


def function_counts(history: History) -> dict[str, int]:
    """How many operations of clients each function has."""
    counts: dict[str, int] = {}
    for pair in history.pairs():
        f = pair.invocation.f
        counts[f] = counts.get(f, 0) + 1
    return counts


def guess(history: History) -> list[str]:
    """The models that the history may be about, by its functions and the look of its values; empty if by none."""
    functions = frozenset(function_counts(history))
    if not functions:
        return []
    if functions == {"txn"}:
        return _guess_transactions(history)
    answers = [pair.value for pair in history.pairs() if pair.f == "read" and pair.type == OK]
    if functions <= {"read"} and answers and all(isinstance(answer, Mapping) for answer in answers):
        return ["bank"]
    if functions <= {"read", "write"}:
        written = [pair.invocation.value for pair in history.pairs() if pair.f == "write"]
        if written and all(isinstance(value, Mapping) and "token" in value for value in written):
            return ["transact-write"]
        return ["register"]
    if functions <= {"read", "write", "cas"}:
        return ["cas-register"]
    if functions <= {"add", "read"}:
        if answers and all(isinstance(answer, list) for answer in answers):
            return ["set"]
        if answers and all(isinstance(answer, int | float) for answer in answers):
            return [name for name in ("counter",) if name in REGISTRY]
        return [name for name in ("set", "counter") if name in REGISTRY]
    return [
        name
        for name, entry in REGISTRY.items()
        if entry.functions is not None and functions <= entry.functions and name != "set-full"
    ]


def _guess_transactions(history: History) -> list[str]:
    kinds = {
        micro[0]
        for pair in history.pairs()
        for value in (pair.invocation.value, pair.value)
        if isinstance(value, list)
        for micro in value
        if isinstance(micro, list) and micro and isinstance(micro[0], str)
    }
    if kinds & {"read", "write"}:
        return ["multi-register"]
    if "append" in kinds:
        found = "list-append"
    elif kinds & {"w", "scan"}:
        found = "rw-register"
    else:
        return [name for name in ("list-append", "rw-register", "multi-register", "log") if name in REGISTRY]
    return [found] if found in REGISTRY else []


def looks_keyed(history: History) -> bool | None:
    """Whether every operation is asked with `[key, value]`, and those that ask for something too; None if nobody asks
    for anything and there is a cas, which `[key, [old, new]]` and `[old, new]` may both be. An answer about another key
    than was asked for does not make it another kind of history, but a wrong answer."""
    asks = swaps = False
    for pair in history.pairs():
        asked = pair.invocation.value
        if pair.f == "txn" or not _is_keyed(asked):
            return False
        if pair.f == "cas":
            if not _is_keyed(asked[1]):
                return False
            swaps = True
        elif pair.f not in _GIVING:
            asks = True
    return True if asks else None if swaps else False


_GIVING: Final = _of("write", "add", "enqueue", "push", "insert")
"""Functions whose value may be two things of its own; who asks for something with two names a key."""


def _is_keyed(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def describe(entries: Iterable[str] | None = None) -> list[tuple[str, str]]:
    """Names with captions, for a list."""
    return [(name, REGISTRY[name].caption) for name in entries or REGISTRY]
