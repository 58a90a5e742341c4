"""The contract of a generator: what next, given the context; and what follows from an event.

A generator is an immutable value. `next` answers what a client should do next, and the generator that comes after;
whoever asked may throw both away and ask the same value again with another context. `update` answers the generator
that follows from an event of the history (any invocation or completion, also of operations of others). Nothing here
does I/O, reads a clock, or keeps state outside the values.

The one exception to purity is deliberate: random choices are drawn from a `random.Random` that is passed in when a
generator is made, so asking the same value twice may give two answers. Where it can be had, choices are drawn in
advance and are part of the value.

The three answers of `next`:

    None                            exhausted: nothing ever again
    (Pending(wake_ns), generator)   nothing now; ask again at `wake_ns` if that is given, and after every event
    (Invocation, generator)         do this now; an earlier `time` says when it should have started

Whoever gets an answer goes on with the generator in it, also after Pending. Nobody answers with an invocation that
lies ahead: that is Pending with its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from results.operation import INVOKE, NEMESIS, Operation

SLEEP: Final = "sleep"
"""Type of an invocation that keeps its process busy for `value` nanoseconds; it is not in the history."""
LOG: Final = "log"
"""Type of an invocation that tells the user `value`; it is not in the history and takes no time."""


class GeneratorError(Exception):
    """A generator broke its contract, or raised; the text says which, when, and in which context."""


class Invocation(msgspec.Struct, frozen=True, gc=False):
    """What a generator wants done. As a template, `process` and `time` are None; `fill` decides them."""

    f: str
    value: Any = None
    process: int | str | None = None
    time: int | None = None
    """When it should start, in nanoseconds since the start of the run; in an answer, not after the context's time
    (before it: it is late)."""
    type: str = INVOKE
    """`invoke`, or one of the two that never reach the history: `sleep`, `log`."""


def operation(f: str, value: Any = None, process: int | str | None = None) -> Invocation:
    """A template: this function with this value, by whichever process is free (or by the one named), now."""
    return Invocation(f, value, process)


class Pending(msgspec.Struct, frozen=True, gc=False):
    """Nothing to do at the moment."""

    wake_ns: int | None = None
    """When asking again is worth it; None: only an event can change the answer."""


PENDING: Final = Pending()


class Context(msgspec.Struct, frozen=True, gc=False):
    """What a generator may know: the time, and which threads are free.

    A *thread* is a place where processes run, one after the other: threads 0 .. n-1 are clients', thread n is the
    nemesis's. Sets of threads are integers, thread t being the bit `1 << t`: that keeps a context small enough to make
    a new one for every event, also with a thousand threads.
    """

    time: int
    """Nanoseconds since the start of the run."""
    free: int
    """Threads with nothing to do, of those in `threads`."""
    threads: int
    """Threads that this generator may use."""
    processes: tuple[int | str, ...]
    """The process that runs on each thread, the nemesis last; of all threads, also those not in `threads`."""
    cursor: int = 0
    """Where the search for a free thread starts, so that each gets its turn."""

    def free_process(self) -> int | str | None:
        """A free process: the first one from the cursor on, and around. None if all are busy."""
        free = self.free
        if not free:
            return None
        cursor = self.cursor
        ahead = free >> cursor
        if ahead:
            return self.processes[cursor + (ahead & -ahead).bit_length() - 1]
        return self.processes[(free & -free).bit_length() - 1]

    def thread_of(self, process: int | str) -> int:
        """The thread on which a process runs, or ran."""
        clients = len(self.processes) - 1
        return process % clients if isinstance(process, int) else clients

    def is_free(self, process: int | str) -> bool:
        """Whether this very process (not a successor on its thread) may be given something now."""
        processes = self.processes
        clients = len(processes) - 1
        thread = process % clients if type(process) is int else clients
        return self.free >> thread & 1 == 1 and processes[thread] == process

    @property
    def all_free(self) -> bool:
        """Whether none of the threads that this generator may use is busy."""
        return self.free == self.threads

    @property
    def client_threads(self) -> int:
        """The client threads among `threads`."""
        return self.threads & ((1 << (len(self.processes) - 1)) - 1)

    def only(self, threads: int) -> Context:
        """The same context, with these threads only."""
        return Context(self.time, self.free & threads, self.threads & threads, self.processes, self.cursor)

    def process_set(self) -> frozenset[int | str]:
        """The processes that now run on `threads`."""
        processes = self.processes
        return frozenset(processes[thread] for thread in threads_in(self.threads))


def threads_in(mask: int) -> list[int]:
    """The threads of a set, in order."""
    threads = []
    while mask:
        lowest = mask & -mask
        threads.append(lowest.bit_length() - 1)
        mask ^= lowest
    return threads


def thread_mask(threads: Iterable[int]) -> int:
    """The set of these threads."""
    mask = 0
    for thread in threads:
        mask |= 1 << thread
    return mask


def first_context(clients: int, time: int = 0) -> Context:
    """Everybody is free: `clients` client threads and the nemesis's."""
    if clients < 1:
        raise ValueError(f"{clients} client threads: there must be at least one")
    everybody = (1 << (clients + 1)) - 1
    return Context(time, everybody, everybody, (*range(clients), NEMESIS))


class Generator(msgspec.Struct, frozen=True):
    """An immutable plan of what clients do; see the top of this file."""

    def next(self, context: Context) -> Answer:
        """What to do next, and the generator after it; None when exhausted."""
        raise NotImplementedError

    def update(self, context: Context, event: Operation) -> Generator:
        """The generator after this event; `self` if it changes nothing."""
        return self

    @property
    def listens(self) -> bool:
        """False promises that no event changes this generator, so that telling it can be saved; that is a fifth of
        the time of a fast run. Generators that wrap others carry the answer as a field."""
        return True


Answer = tuple["Invocation | Pending", Generator] | None
"""What `Generator.next` answers."""

Source = (
    Generator
    | Invocation
    | Callable[[Context], "Generator | Invocation | None"]
    | Sequence["Generator | Invocation | Callable[[Context], Generator | Invocation | None] | None"]
    | None
)
"""What can be made into a generator; see `generator`."""


class Nothing(Generator, frozen=True):
    """Exhausted from the start."""

    def next(self, context: Context) -> Answer:
        return None

    @property
    def listens(self) -> bool:
        return False


class Once(Generator, frozen=True):
    """One invocation, given to the first free process (or to the process that it names), now (or at its time)."""

    invocation: Invocation

    def next(self, context: Context) -> Answer:
        filled = fill(self.invocation, context)
        return (filled, self if type(filled) is Pending else NOTHING)

    @property
    def listens(self) -> bool:
        return False


class Function(Generator, frozen=True):
    """Asks a function for each invocation, without end until it answers None.

    The function is called only when a process is free, and what it answered is kept until it can be done. It may
    answer a generator, which then comes before the next call. It must be pure, but for the random stream that it was
    made with.
    """

    function: Callable[[Context], Generator | Invocation | None]

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        made = self.function(context)
        if type(made) is Invocation:
            if made.process is None and made.time is None:
                return Invocation(made.f, made.value, process, context.time, made.type), self
            return Sequential((Once(made), self)).next(context)
        if made is None:
            return None
        if isinstance(made, Generator):
            return Sequential((made, self)).next(context)
        raise TypeError(
            f"the function {self.function!r} of a generator answered {made!r}: it must answer an Invocation, a "
            "Generator, or None when there is nothing more"
        )

    @property
    def listens(self) -> bool:
        return False


class Sequential(Generator, frozen=True):
    """One after the other, each until it is exhausted; there is no barrier between them, so that the first invocation
    of one may overlap the last of the one before. Only the present one hears of events."""

    parts: tuple[Generator, ...]

    def next(self, context: Context) -> Answer:
        parts = self.parts
        while parts:
            answer = parts[0].next(context)
            if answer is not None:
                what, following = answer
                if following is parts[0] and parts is self.parts:
                    return what, self
                if following is NOTHING:
                    return what, parts[1] if len(parts) == 2 else Sequential(parts[1:])
                return what, Sequential((following, *parts[1:]))
            parts = parts[1:]
        return None

    def update(self, context: Context, event: Operation) -> Generator:
        if not self.parts:
            return self
        first = self.parts[0].update(context, event)
        return self if first is self.parts[0] else Sequential((first, *self.parts[1:]))

    @property
    def listens(self) -> bool:
        return bool(self.parts) and self.parts[0].listens


NOTHING: Final = Nothing()


def fill(template: Invocation, context: Context) -> Invocation | Pending:
    """The template with a free process and the present time where it says none; Pending if nobody suitable is free or
    its time has not come."""
    time = template.time
    if time is None:
        time = context.time
    elif time > context.time:
        return Pending(time)
    process = template.process
    if process is None:
        process = context.free_process()
        if process is None:
            return PENDING
    elif not context.is_free(process):
        return PENDING
    return Invocation(template.f, template.value, process, time, template.type)


def generator(source: Source) -> Generator:
    """Makes a generator of what people like to write:

    - a generator stays what it is;
    - an `Invocation` happens once (`repeat` it for more);
    - a function is asked for each invocation, see `Function`;
    - a list or tuple is played one after the other;
    - None is nothing.

    Raises TypeError for anything else; iterators among them, since they cannot be asked twice.
    """
    if isinstance(source, Generator):
        return source
    if isinstance(source, Invocation):
        return Once(source)
    if source is None:
        return NOTHING
    if isinstance(source, list | tuple):
        return Sequential(tuple(generator(part) for part in source))
    if callable(source):
        return Function(source)
    raise TypeError(
        f"cannot make a generator of {source!r}: it must be a Generator, an Invocation, a function of a context, a "
        "list or tuple of such, or None"
    )
