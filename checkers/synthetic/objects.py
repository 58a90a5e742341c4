"""Operations on one object that a simulated store ran one at a time: linearizable, with the order as the proof.

Clients overlap and crash; between invocation and completion each operation takes effect at one step, whose order is
kept. What clients ask for may depend on what they hold (locks), never on what the object holds.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from checkers.synthetic.draws import Draws
from checkers.synthetic.plan import LOST, SILENT, fates
from checkers.synthetic.stores import run_clients
from results.history import History
from results.operation import FAIL, INFO, INVOKE, OK, Operation

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFUSED: Final = object()
"""What an object answers that cannot do now what was asked: the operation fails."""


@dataclass(frozen=True)
class ObjectShape:
    """The shape of a history of operations on objects of one kind."""

    model: str = "register"
    """One of `OBJECTS`; names and operations are those of `checkers.linearizability.models`."""
    operations: int = 1000
    clients: int = 10
    keys: int = 0
    """How many objects there are, told apart by values `[key, x]`; 0: one, and plain values. A kv has at least one."""
    values: int = 0
    """Values of registers are drawn from so many; 0: each is written once."""
    read_share: float = 0.5
    """Share of operations that read, or take out of a container. Half of containers' keeps their size."""
    cas_share: float = 0.4
    """Share of a cas-register's other operations that compare and set; the rest write."""
    crash_share: float = 0.0
    permits: int = 3
    """Of a semaphore."""

    def __post_init__(self) -> None:
        if self.model not in OBJECTS:
            raise ValueError(
                f"{self.model!r} is no object that can be simulated (objects: {', '.join(OBJECTS)})"
            )
        if self.operations < 1 or self.clients < 1 or self.keys < 0 or self.values < 0 or self.permits < 1:
            raise ValueError("operations, clients and permits are at least 1, keys and values at least 0")
        for name in ("read_share", "cas_share", "crash_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: a share lies between 0 and 1")


@dataclass(frozen=True)
class ObjectHistory:
    """Operations in the order of their invocations, and what is certain about them."""

    shape: ObjectShape
    f: list[str]
    argument: list[Any]
    """What was asked, as it stands in the history."""
    answer: list[Any]
    """What was answered, as it stands in the history; of operations that are not ok, what would have been."""
    outcome: list[str]
    process: NDArray[np.int32]
    start: NDArray[np.int64]
    """[n] index of the event that invoked it."""
    completed: NDArray[np.int64]
    """[n] index of the event that completed it; -1 where none was recorded."""
    order: list[int]
    """The operations that took effect, in the order in which they did."""
    anomalies: tuple[str, ...] = ()
    """What was broken on purpose (`checkers/synthetic/breaks.py`): empty means linearizable."""

    def __len__(self) -> int:
        return len(self.f)

    @property
    def linearizable(self) -> bool:
        return not self.anomalies

    def end(self, operation: int) -> float:
        """Index of the event at which the operation was over; infinite for crashed ones."""
        return int(self.completed[operation]) if self.outcome[operation] != INFO else float("inf")

    def history(self) -> History:
        """The events, one a millisecond."""
        operations: list[Operation] = []
        for i, (process, start, completed) in enumerate(
            zip(self.process.tolist(), self.start.tolist(), self.completed.tolist(), strict=True)
        ):
            asked = self.argument[i]
            operations.append(Operation(start, start * 1_000_000, process, INVOKE, self.f[i], asked))
            if completed >= 0:
                value = self.answer[i] if self.outcome[i] == OK else asked
                operations.append(
                    Operation(completed, completed * 1_000_000, process, self.outcome[i], self.f[i], value)
                )
        operations.sort(key=lambda operation: operation.index)
        return History(operations)


def run_object(shape: ObjectShape, seed: int = 0) -> ObjectHistory:
    """A linearizable history of the shape, its clients interleaved by the seed."""
    draws = Draws(seed, f"object {shape.model}")
    n = shape.operations
    fate = fates(n, draws, shape.crash_share)
    key = draws.below(max(1, shape.keys), n).tolist()
    luck = draws.uniform(n).tolist()
    more_luck = draws.uniform(n).tolist()
    process = np.empty(n, dtype=np.int32)
    start = np.empty(n, dtype=np.int64)
    completed = np.empty(n, dtype=np.int64)
    steps, _ = run_clients(
        shape.clients, draws.word(), np.ones(n, dtype=np.int32), fate, process, start, completed
    )
    processes, ends = process.tolist(), fate.tolist()
    keyed = shape.keys > 0 or shape.model == "kv"
    objects = [OBJECTS[shape.model](shape) for _ in range(max(1, shape.keys))]
    f = [""] * n
    argument: list[Any] = [None] * n
    answer: list[Any] = [None] * n
    outcome = [OK] * n
    order = []
    for i in steps.tolist():
        of_key = objects[key[i]]
        verb, asked, crash_happens = of_key.choose(luck[i], more_luck[i], processes[i])
        ending = ends[i]
        answered = asked
        if ending:
            outcome[i] = INFO
        happens = crash_happens if crash_happens is not None else ending & ~SILENT != LOST
        if happens or not ending:
            answered = of_key.apply(verb, asked, processes[i])
            if answered is REFUSED:
                answered = asked
                outcome[i] = INFO if ending else FAIL
            else:
                order.append(i)
        f[i] = verb
        argument[i] = [key[i], asked] if keyed else asked
        answer[i] = [key[i], answered] if keyed else answered
    return ObjectHistory(shape, f, argument, answer, outcome, process, start, completed, order)


class _Object:
    """What clients of one object ask for, and what it does."""

    def __init__(self, shape: ObjectShape) -> None:
        self.shape = shape
        self.written = 0

    def choose(self, luck: float, more_luck: float, process: int) -> tuple[str, Any, bool | None]:
        """The function and the argument that a process asks for next, and whether a crash of it must (or must
        not) take effect, where the rest could not go on otherwise."""
        raise NotImplementedError(type(self).__name__)

    def apply(self, f: str, argument: Any, process: int) -> Any:
        """Does it; the value of the completion, or `REFUSED`."""
        raise NotImplementedError(type(self).__name__)

    def next_value(self, luck: float) -> int:
        if self.shape.values:
            return int(luck * self.shape.values)
        self.written += 1
        return self.written


class _Register(_Object):
    value: Any = None

    def choose(self, luck: float, more_luck: float, process: int) -> tuple[str, Any, bool | None]:
        if luck < self.shape.read_share:
            return "read", None, None
        if self.shape.model == "cas-register" and luck < self._cas_below():
            old, new = divmod(int(more_luck * self._values() ** 2), self._values())
            return "cas", [old, new if self.shape.values else self.next_value(0)], None
        return "write", self.next_value(more_luck), None

    def _cas_below(self) -> float:
        return self.shape.read_share + (1 - self.shape.read_share) * self.shape.cas_share

    def _values(self) -> int:
        return self.shape.values or max(1, self.written)

    def apply(self, f: str, argument: Any, process: int) -> Any:
        match f:
            case "read":
                return self.value
            case "write":
                self.value = argument
                return argument
        if self.value != argument[0]:
            return REFUSED
        self.value = argument[1]
        return argument


class _AppendMap(_Object):
    text = ""

    def choose(self, luck: float, more_luck: float, process: int) -> tuple[str, Any, bool | None]:
        if luck < self.shape.read_share:
            return "get", None, None
        self.written += 1
        return ("put" if more_luck < 0.1 else "append"), f"{self.written}.", None

    def apply(self, f: str, argument: Any, process: int) -> Any:
        if f == "get":
            return self.text
        self.text = argument if f == "put" else self.text + argument
        return argument


class _Set(_Object):
    def __init__(self, shape: ObjectShape) -> None:
        super().__init__(shape)
        self.elements: list[int] = []

    def choose(self, luck: float, more_luck: float, process: int) -> tuple[str, Any, bool | None]:
        if luck < self.shape.read_share:
            return "read", None, None
        self.written += 1
        return "add", self.written, None

    def apply(self, f: str, argument: Any, process: int) -> Any:
        if f == "read":
            return list(self.elements)
        self.elements.append(argument)
        return argument


class _Counter(_Object):
    value = 0

    def choose(self, luck: float, more_luck: float, process: int) -> tuple[str, Any, bool | None]:
        return ("read", None, None) if luck < self.shape.read_share else ("add", 1 + int(more_luck * 5), None)

    def apply(self, f: str, argument: Any, process: int) -> Any:
        if f == "read":
            return self.value
        self.value += argument
        return argument


class _Container(_Object):
    put: str
    takes: tuple[str, ...]

    def __init__(self, shape: ObjectShape) -> None:
        super().__init__(shape)
        self.elements: Any = deque()

    def choose(self, luck: float, more_luck: float, process: int) -> tuple[str, Any, bool | None]:
        if luck < self.shape.read_share:
            return self.takes[int(more_luck * len(self.takes))], None, None
        self.written += 1
        return self.put, self.new_element(more_luck), None

    def new_element(self, luck: float) -> Any:
        return self.written

    def apply(self, f: str, argument: Any, process: int) -> Any:
        if f == self.put:
            self.insert(argument)
            return argument
        return self.take(f) if self.elements else REFUSED

    def insert(self, element: Any) -> None:
        self.elements.append(element)

    def take(self, f: str) -> Any:
        raise NotImplementedError(type(self).__name__)


class _Queue(_Container):
    put, takes = "enqueue", ("dequeue",)

    def take(self, f: str) -> Any:
        return self.elements.popleft()


class _Stack(_Container):
    put, takes = "push", ("pop",)

    def take(self, f: str) -> Any:
        return self.elements.pop()


class _PriorityQueue(_Container):
    """Elements are their own priorities, each once, in no order."""

    put, takes = "insert", ("delete-max",)

    def __init__(self, shape: ObjectShape) -> None:
        super().__init__(shape)
        self.elements = []

    def new_element(self, luck: float) -> Any:
        return int(luck * 1000) * 1_000_000 + self.written

    def insert(self, element: Any) -> None:
        heapq.heappush(self.elements, -element)

    def take(self, f: str) -> Any:
        return -heapq.heappop(self.elements)


class _Lock(_Object):
    """A process that holds the lock releases it next; others try to get it, and fail if it is held.

    A crashed acquire never takes effect here, and a crashed release always does: nobody could ever go on.
    """

    holder: int | None = None
    token = 0

    def choose(self, luck: float, more_luck: float, process: int) -> tuple[str, Any, bool | None]:
        fenced = self.shape.model == "fenced-lock"
        if self.holder == process:
            return "release", self.token if fenced else None, True
        return "acquire", None, False

    def apply(self, f: str, argument: Any, process: int) -> Any:
        if f == "release":
            self.holder = None
            return argument
        if self.holder is not None:
            return REFUSED
        self.holder = process
        self.token += 1
        return self.token if self.shape.model == "fenced-lock" else None


class _Semaphore(_Object):
    """A process that holds permits gives them back next; crashes are as with locks."""

    def __init__(self, shape: ObjectShape) -> None:
        super().__init__(shape)
        self.free = shape.permits
        self.held: dict[int, int] = {}

    def choose(self, luck: float, more_luck: float, process: int) -> tuple[str, Any, bool | None]:
        if process in self.held:
            return "release", self.held[process], True
        return "acquire", 1 + int(luck * min(2, self.shape.permits)), False

    def apply(self, f: str, argument: Any, process: int) -> Any:
        if f == "release":
            self.free += self.held.pop(process)
            return argument
        if self.free < argument:
            return REFUSED
        self.free -= argument
        self.held[process] = argument
        return argument


OBJECTS: Final[dict[str, Callable[[ObjectShape], _Object]]] = {
    "register": _Register,
    "cas-register": _Register,
    "kv": _AppendMap,
    "set": _Set,
    "counter": _Counter,
    "queue": _Queue,
    "stack": _Stack,
    "priority-queue": _PriorityQueue,
    "mutex": _Lock,
    "owned-mutex": _Lock,
    "fenced-lock": _Lock,
    "semaphore": _Semaphore,
}
