"""An asyncio event loop on virtual time: whatever waits costs nothing, and one seed decides the order of everything.

Rules that live here:
- Time is a whole number of nanoseconds and moves only from one timer to the next. Running code takes no time.
- `call_soon` is first in, first out, as asyncio programs expect. Timers of the same instant run in an order that the
  seed draws.
- A callback belongs to the *life* (one incarnation of a host) in whose context it was made. Those of a dead life never
  run; those of a paused one wait, in order, until it goes on. What belongs to no life is the harness's own.
- The number of callbacks run so far is the *step* that messages name; with the seed it says when something happened.

Tasks and futures are asyncio's own, in C; only the queue is ours, a kernel (`queue_kernel.py`).
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import random
import sys
import time
from asyncio import events as asyncio_events
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from harness.environments.simulation import queue_kernel
from harness.environments.simulation.queue_kernel import EventQueue, Handle

if TYPE_CHECKING:
    from harness.environments.simulation.host import Life
    from harness.environments.simulation.world import World

T = TypeVar("T")

SECOND_NS = 1_000_000_000

LIFE: contextvars.ContextVar[Life | None] = queue_kernel.LIFE
"""The life that a callback or task belongs to; None is the harness."""

SAME_INSTANT_MOST = 2_000_000
"""So many callbacks without a moment passing, and the program under test is stuck."""
WALL_TICK_S = 0.25
WALL_LOOK_EVERY = 512
"""How often, in callbacks, the loop looks whether a wall tick is due."""

REFUSED_WAY_OUT = "the simulated world is one process on virtual time"
INSTEAD_OF_SOCKETS = "use asyncio.open_connection and asyncio.start_server"

_real_clock = time.perf_counter
_real_all_tasks = asyncio.all_tasks
"""Both taken before the guards replace them."""


class SimulationHung(RuntimeError):
    """Nothing can ever happen again, or time no longer passes; the text says who waits."""


class RefusedInSimulation(RuntimeError):
    """Something real was asked for inside the world; the text says what to use instead."""


class LifeEnded(BaseException):
    """Unwinds what is running when a process ends itself, as nothing comes after `os._exit`. The loop catches it."""


def refuse_the_dead() -> None:
    """A process that ended itself still unwinds, as Python has no other way: nothing of it may be seen any more."""
    life = LIFE.get()
    if life is not None and not life.is_alive:
        raise LifeEnded(f"life {life.number} is over")


class SimulatedTask(asyncio.Task[Any]):
    """An asyncio task that knows which life it belongs to and in which order it was made."""

    __slots__ = ("life", "number")

    def __init__(
        self,
        coro: Any,
        *,
        loop: SimulatedLoop,
        name: str | None,
        context: contextvars.Context | None,
        life: Life | None,
        number: int,
    ) -> None:
        self.life = life
        self.number = number
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        """So that sets of tasks, which `asyncio.wait` answers, are walked in the same order in every run."""
        return self.number


class SimulatedLoop(EventQueue, asyncio.AbstractEventLoop):  # type: ignore[misc]
    """The event loop of a world. `world` provides the network; see the module for the rules."""

    now_ns: int
    events: int
    digest: int
    life: Life | None
    """These four: see `EventQueue`."""

    def __init__(self, order: random.Random) -> None:
        """`order` draws the order of timers that are due at the same instant."""
        super().__init__(order.getrandbits)
        self.world: World | None = None
        self.on_wall_tick: Callable[[], None] | None = None
        """Called about four times a second of real time, between two callbacks."""
        self._last_wall_tick = 0.0
        self.unretrieved: list[str] = []
        """Exceptions of tasks that nobody looked at. They come to light when Python frees a task, which is no moment
        of virtual time, so they are kept out of logs and traces."""
        self._running = False
        self._closed = False
        self._handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._tasks_made = 0
        self._names_given = 0
        """How many tasks of the harness got their name from us."""
        self._generators: dict[int, Life | None] = {}
        """By address: to which life each asynchronous generator belongs."""

    # Time and callbacks

    call_soon_threadsafe = EventQueue.call_soon  # type: ignore[assignment]
    """There are no threads. A signal handler may call it too: appending to the queue is atomic."""

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Any:
        """As asyncio's; `when` in seconds of loop time."""
        return self.call_at_ns(math.ceil(when * SECOND_NS), callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Any:
        """As asyncio's; `delay` in seconds. Rounded up: who sleeps until a deadline and looks at the clock must find
        that it has come, or would sleep again for no time at all, for ever."""
        return self.call_at_ns(self.now_ns + math.ceil(delay * SECOND_NS), callback, *args, context=context)

    def put_back(self, handles: Iterator[Handle] | list[Handle]) -> None:
        """Callbacks that a paused life missed run now, in their order."""
        self.ready.extend(handles)

    # Tasks and futures

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """A task that belongs to the life of the context (by default: the present one)."""
        if self._closed:
            coro.close()
            raise RuntimeError("Event loop is closed")
        life = LIFE.get() if context is None else context.get(LIFE)
        if name is None:
            # Asyncio counts over all loops of this process. A simulated process begins at 1, as a real one.
            giver = self if life is None else life
            giver._names_given += 1
            name = f"Task-{giver._names_given}"
        self._tasks_made += 1
        return SimulatedTask(coro, loop=self, name=name, context=context, life=life, number=self._tasks_made)

    def tasks(self, life: Life | bool | None = False) -> list[SimulatedTask]:
        """The tasks that are not done, in the order they were made: all, or those of one life (None: the harness)."""
        # Asyncio keeps account of its tasks by itself; a set of our own would cost each task as much again.
        pending = [task for task in _real_all_tasks(self) if isinstance(task, SimulatedTask)]
        if life is not False:
            pending = [task for task in pending if task.life is life]
        return sorted(pending, key=lambda task: task.number)

    def set_task_factory(self, factory: Any) -> None:
        """Refused: the world must know its tasks."""
        if factory is not None:
            raise RefusedInSimulation(f"a task factory: {REFUSED_WAY_OUT}, which makes the tasks itself")

    def get_task_factory(self) -> None:
        """There is none."""

    # Running

    def run_forever(self) -> None:
        """Run until `stop`. Raises SimulationHung where nothing can ever happen again."""
        with self._as_running():
            self._last_wall_tick = _real_clock()
            self.spin(SAME_INSTANT_MOST, WALL_LOOK_EVERY)

    def run_until_complete(self, future: Any) -> Any:
        """As asyncio's."""
        made_here = not asyncio.isfuture(future)
        task = asyncio.ensure_future(future, loop=self)
        task.add_done_callback(self._stop_when_done)
        try:
            self.run_forever()
        except BaseException:
            if made_here and task.done() and not task.cancelled():
                task.exception()  # What was raised tells it already.
            raise
        finally:
            task.remove_done_callback(self._stop_when_done)
        if not task.done():
            raise RuntimeError("the loop was stopped before its task was done")
        return task.result()

    def _stop_when_done(self, _future: asyncio.Future[Any]) -> None:
        self.stopping = True

    def stop(self) -> None:
        """End `run_forever` after the present callback."""
        self.stopping = True

    @contextmanager
    def as_seen_running(self) -> Iterator[None]:
        """While the block runs, programs find this loop when they ask for the running one."""
        asyncio_events._set_running_loop(self)
        try:
            yield
        finally:
            asyncio_events._set_running_loop(None)

    @contextmanager
    def _as_running(self) -> Iterator[None]:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if self._running or asyncio_events._get_running_loop() is not None:
            raise RuntimeError("This event loop is already running, or another one is")
        self._running, self.stopping = True, False
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._generator_began, finalizer=self._generator_dropped)
        asyncio_events._set_running_loop(self)
        try:
            yield
        finally:
            asyncio_events._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)
            self._running = False

    def _generator_began(self, generator: Any) -> None:
        self._generators[id(generator)] = LIFE.get()

    def _generator_dropped(self, generator: Any) -> None:
        """Nobody will ask this asynchronous generator for more: as asyncio, close it soon, in its own life."""
        life = self._generators.pop(id(generator), None)
        if life is None:
            self.call_soon(self.create_task, generator.aclose(), context=contextvars.Context())
        elif life.is_alive:
            self.call_soon(self.create_task, generator.aclose(), context=life.context.copy())
        else:
            life.graveyard.append(generator)

    def nothing_is_due(self) -> NoReturn:
        """Every task waits, and no timer is set."""
        raise SimulationHung(
            f"step {self.events}: every task waits and no timer is set, so nothing can ever happen "
            f"again; waiting: {self._describe_tasks()}"
        )

    def callback_raised(self, handle: Handle, callback: Callable[..., object], error: BaseException) -> None:
        """As asyncio: whoever owns the loop must hear of it. What ends a process ends the life that it is."""
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            life = handle.life
            if life is None or isinstance(error, KeyboardInterrupt):
                self.life = None
                raise error
            life.host.end_life(life, _exit_code(error))
        else:
            self.call_exception_handler(
                {"message": f"Exception in callback {callback!r}", "exception": error, "handle": handle}
            )

    def look_up(self, callback: Callable[..., object], is_stuck: bool) -> None:
        """Between two callbacks, now and then; `is_stuck`: time no longer passes."""
        if is_stuck:
            raise SimulationHung(
                f"step {self.events}: {SAME_INSTANT_MOST} callbacks ran at {self.time():.9f} s and "
                f"time no longer passes; the last was {callback!r}"
            )
        if self.on_wall_tick is not None and _real_clock() - self._last_wall_tick >= WALL_TICK_S:
            self._last_wall_tick = _real_clock()
            self.on_wall_tick()

    def _describe_tasks(self) -> str:
        shown = [
            f"{'harness' if task.life is None else task.life.host.name}: {task.get_coro()!r}"
            for task in self.tasks()[:10]
        ]
        return "; ".join(shown) or "no task at all"

    @property
    def is_idle(self) -> bool:
        """Nothing else is due, now or ever."""
        return not self.ready and not self.timers

    def is_running(self) -> bool:
        """Whether `run_forever` is on its way."""
        return self._running

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Drop everything that is still due."""
        if self._running:
            raise RuntimeError("Cannot close a running event loop")
        self._closed = True
        self.ready.clear()
        self.timers.clear()

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: generators end with their tasks."""

    async def shutdown_default_executor(self) -> None:
        """There is none."""

    # Errors

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        """For the present life alone: each process has a loop of its own, as far as it can tell."""
        life = LIFE.get()
        if life is None:
            self._handler = handler
        else:
            life.exception_handler = handler

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None:
        """The one that was set for the present life."""
        life = LIFE.get()
        return self._handler if life is None else life.exception_handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """A line in the log of the host; the harness's own errors are raised to whoever runs the world."""
        life = self._life_of(context)
        error = context.get("exception")
        if life is not None:
            life.host.log_error(str(context.get("message")), error)
        elif isinstance(error, asyncio.CancelledError):
            return  # Somebody ends what is left over.
        elif isinstance(error, BaseException):
            raise error
        else:
            raise RuntimeError(str(context.get("message")))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """As asyncio's, per life."""
        if isinstance(context.get("exception"), LifeEnded):
            return
        message = str(context.get("message"))
        if "never retrieved" in message or "was destroyed but it is pending" in message:
            self.unretrieved.append(f"{message}: {context.get('exception')!r}")
            return
        life = self._life_of(context)
        if life is not None and not life.is_alive:
            return
        handler = self._handler if life is None else life.exception_handler
        if handler is None:
            self.default_exception_handler(context)
        elif life is None:
            handler(self, context)
        else:
            # It is the host's, as is what it logs and whom it ends; the error may have come to light outside of it.
            with suppress(LifeEnded):
                life.context.copy().run(handler, self, context)

    def _life_of(self, context: dict[str, Any]) -> Life | None:
        handle, task = context.get("handle"), context.get("task")
        if isinstance(handle, Handle):
            owner: Life | None = handle.life
            return owner
        if isinstance(task, SimulatedTask):
            return task.life
        return LIFE.get()

    # The network of the world

    async def getaddrinfo(self, host: Any, port: Any, **_options: Any) -> list[Any]:
        """The address of a simulated host, in the form of `socket.getaddrinfo`."""
        found = self._world().resolve(host)
        return [(2, 1, 6, "", (found.address, int(port or 0)))]

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
    ) -> tuple[Any, Any]:
        """A connection from the present host; see `Network.connect`."""
        if host is None or port is None or options.get("sock") is not None or options.get("ssl"):
            self._refuse("a connection over a given socket or TLS", "name a simulated host and a port")
        world = self._world()
        pair: tuple[Any, Any] = await world.network.connect(
            world.present_host(), str(host), int(port), protocol_factory
        )
        return pair

    async def create_server(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """A listener on the present host; see `Network.listen`. The address to bind is ignored."""
        if port is None or options.get("sock") is not None or options.get("ssl"):
            self._refuse("a server over a given socket or TLS", "give a port of the simulated host")
        world = self._world()
        serves = bool(options.get("start_serving", True))
        return await world.network.listen(world.present_host(), int(port), protocol_factory, serves=serves)

    def _world(self) -> World:
        assert self.world is not None, "a simulated loop is used inside a world"
        return self.world

    # What there is not

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise RefusedInSimulation(f"{what} inside the simulation: {REFUSED_WAY_OUT}; {instead}")

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        """Refused: there are no threads."""
        self._refuse(f"a thread for {func!r}", "call it on the loop, or await something simulated")

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """A simulated process gets no signals: what would send one kills, pauses or asks it by other means."""

    def remove_signal_handler(self, sig: int) -> bool:
        """There was none."""
        return False

    async def subprocess_exec(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a subprocess", "start another simulated host")

    async def subprocess_shell(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a subprocess", "start another simulated host")

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> NoReturn:
        """Refused: datagrams are not simulated."""
        self._refuse("a datagram socket", "use streams")

    async def create_unix_connection(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a Unix socket", "use a stream to a simulated host")

    async def create_unix_server(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a Unix socket", "use a stream to a simulated host")

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        """Refused: there are no real sockets."""
        self._refuse("a file descriptor", INSTEAD_OF_SOCKETS)

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        """Refused: there are no real sockets."""
        self._refuse("a file descriptor", INSTEAD_OF_SOCKETS)

    async def connect_read_pipe(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a pipe", INSTEAD_OF_SOCKETS)

    async def connect_write_pipe(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a pipe", INSTEAD_OF_SOCKETS)

    async def start_tls(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("TLS", INSTEAD_OF_SOCKETS)

    async def sendfile(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a real file", INSTEAD_OF_SOCKETS)

    async def sock_sendfile(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a real file", INSTEAD_OF_SOCKETS)

    async def sock_recv(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a real socket", INSTEAD_OF_SOCKETS)

    async def sock_recv_into(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a real socket", INSTEAD_OF_SOCKETS)

    async def sock_recvfrom(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a real socket", INSTEAD_OF_SOCKETS)

    async def sock_recvfrom_into(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a real socket", INSTEAD_OF_SOCKETS)

    async def sock_sendall(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a real socket", INSTEAD_OF_SOCKETS)

    async def sock_sendto(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a real socket", INSTEAD_OF_SOCKETS)

    async def sock_connect(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a real socket", INSTEAD_OF_SOCKETS)

    async def sock_accept(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a real socket", INSTEAD_OF_SOCKETS)

    async def getnameinfo(self, *args: Any, **options: Any) -> NoReturn:
        """Refused."""
        self._refuse("a name service", INSTEAD_OF_SOCKETS)

    def remove_reader(self, fd: Any) -> bool:
        """There was none."""
        return False

    def remove_writer(self, fd: Any) -> bool:
        """There was none."""
        return False

    def set_default_executor(self, executor: Any) -> NoReturn:
        """Refused: there are no threads."""
        self._refuse("an executor", "call functions on the loop")


def _exit_code(error: BaseException) -> int:
    """What `sys.exit(...)` means as an exit code."""
    code = getattr(error, "code", 1)
    return 0 if code is None else code if isinstance(code, int) else 1
