"""A simulated host: one process at a time, in lives; a clock, a disk, an address; killed, paused and started again.

A *life* is one incarnation of the process on a host. When it dies, none of its callbacks ever runs again in the world:
no `finally` block, no last word, as after SIGKILL. While it is paused they wait and then run late, as after SIGSTOP and
SIGCONT.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import re
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from harness.environments.simulation.disk import CrashReport, Disk
from harness.environments.simulation.loop import LIFE, SECOND_NS, LifeEnded
from harness.environments.simulation.queue_kernel import Handle
from harness.environments.simulation.tracebacks import traceback_text

if TYPE_CHECKING:
    from harness.environments.simulation.world import World

EPOCH_NS = 1_767_225_600 * SECOND_NS
"""Where every host's clock stands when a world begins: 2026-01-01T00:00:00Z."""

CLOSINGS_MOST = 10
"""A coroutine that awaits something in its `finally` block needs to be closed again."""

SETTINGS_MOST = 5000
"""So many settings of a clock are remembered, for people."""

State = Literal["up", "down", "paused"]
Program = Callable[["Host"], Coroutine[Any, Any, "int | None"]]
"""What a host runs: its main coroutine, which answers the exit code (None: 0)."""

_ADDRESSES_OF_OBJECTS = re.compile(r" at 0x[0-9a-f]+")


class HostClock:
    """The wall clock of one host: true time, plus an offset, plus what it gains."""

    __slots__ = ("_now", "_offset_ns", "_rate_ppm", "_since_ns", "settings")

    def __init__(self, now: Callable[[], int]) -> None:
        """`now` is the world's virtual time in ns."""
        self._now = now
        self._offset_ns = 0
        self._rate_ppm = 0.0
        self._since_ns = 0
        self.settings: deque[tuple[int, int, float]] = deque(maxlen=SETTINGS_MOST)
        """When it was set, how far ahead, and what it gains since: the last of them."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, as this host sees it."""
        if self._rate_ppm:
            return EPOCH_NS + self._now() + self.offset_ns()
        return EPOCH_NS + self._now() + self._offset_ns

    def offset_ns(self) -> int:
        """How far it is ahead of true time now."""
        if not self._rate_ppm:
            return self._offset_ns
        return self._offset_ns + int((self._now() - self._since_ns) * self._rate_ppm / 1e6)

    def set(self, offset_ns: int, rate_ppm: float = 0.0) -> None:
        """From now on ahead by so much, and gaining so many microseconds a second."""
        self._offset_ns, self._rate_ppm, self._since_ns = offset_ns, rate_ppm, self._now()
        self.settings.append((self._since_ns, offset_ns, rate_ppm))

    def reset(self) -> None:
        """It shows true time again."""
        self.set(0)


class Life:
    """One incarnation of the process of a host."""

    __slots__ = (
        "_names_given",
        "_put_off",
        "context",
        "exception_handler",
        "forgetting",
        "graveyard",
        "host",
        "is_alive",
        "is_paused",
        "number",
        "numpy_random",
        "random",
        "runs",
    )

    def __init__(self, host: Host, number: int, stream: random.Random) -> None:
        self.host = host
        self.number = number
        """Unique in the world."""
        self.random = stream
        """What `random`, `uuid4` and `os.urandom` draw from in this life."""
        self.numpy_random: Any = None
        """What `numpy.random` draws from, once it is asked."""
        self.is_alive = True
        self.is_paused = False
        self.runs = True
        """Alive and not paused."""
        self.exception_handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self.graveyard: list[Any] = []
        """What must not be freed before the world ends: freeing a task runs its `finally` blocks."""
        self.forgetting: list[Callable[[], object]] = []
        """What its program asked for by `Host.forget_by`."""
        self.context = contextvars.Context()
        self.context.run(LIFE.set, self)
        self._put_off: list[Handle] = []
        self._names_given = 0
        """How many of its tasks got their name from the loop."""

    def put_off(self, handle: Handle) -> None:
        """A callback is due and cannot run: later, or never."""
        (self._put_off if self.is_alive else self.graveyard).append(handle)

    def pause(self) -> None:
        """Nothing runs until `resume`."""
        self.is_paused, self.runs = True, False

    def resume(self) -> list[Handle]:
        """Goes on; answers the callbacks that it missed, in their order."""
        self.is_paused, self.runs = False, self.is_alive
        missed, self._put_off = self._put_off, []
        return missed

    def die(self, remains: list[Any]) -> None:
        """Nothing runs any more; its tasks are kept as they are."""
        self.is_alive = self.runs = False
        self.graveyard += remains
        self.graveyard.append(self._put_off)
        self._put_off = []

    def forget(self) -> None:
        """Another life has taken its place: what it holds in memory goes, and its tasks stay as they are."""
        forgetting, self.forgetting = self.forgetting, []
        for forget in forgetting:
            forget()

    def dissolve(self) -> None:
        """The world is over: take apart what is left of its coroutines, here, where what their `finally` blocks still
        try meets nobody, and not whenever Python frees them."""
        with warnings.catch_warnings():
            # What their last words would have begun is never awaited, and nobody need hear of that.
            warnings.simplefilter("ignore", RuntimeWarning)
            for remains in self.graveyard:
                if isinstance(remains, asyncio.Task):
                    self._close(remains)
            self.context.copy().run(self.graveyard.clear)

    def _close(self, task: asyncio.Task[Any]) -> None:
        for _ in range(CLOSINGS_MOST):
            try:
                self.context.copy().run(task.get_coro().close)
            except BaseException:  # noqa: BLE001 - the last words of the dead
                continue
            return


class Host:
    """A machine of the world. Made by `World.host`."""

    def __init__(self, world: World, name: str, address: str) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.disk = Disk(world, name)
        # Asked at every step, so it is not Python that answers.
        self.clock = HostClock(partial(attrgetter("now_ns"), world.loop))
        self.life: Life | None = None
        self.lives = 0
        """How many there have been."""
        self._before: Life | None = None
        """The last life that has ended."""
        self.on_exit: Callable[[Host, str], None] | None = None
        """Told when the process ends by itself: `exit code 3`, `exception ...`."""
        self.after_step: Callable[[], None] | None = None
        """Called after every callback of this host; see `reference_db.invariants`."""
        self.log_lines: list[str] = []
        """What the process printed, over all its lives; each line begins with the host's own time."""

    @property
    def state(self) -> State:
        """What the process is doing now."""
        if self.life is None:
            return "down"
        return "paused" if self.life.is_paused else "up"

    @property
    def random(self) -> random.Random:
        """The random stream of the present life."""
        return self._present().random

    def context(self) -> contextvars.Context:
        """What runs in (a copy of) it runs on this host: `loop.create_task(work(), context=host.context())`."""
        return self._present().context.copy()

    def _present(self) -> Life:
        assert self.life is not None, f"host {self.name} is down"
        return self.life

    def begin_life(self) -> Life:
        """A life without a program: somebody will run things in its `context`."""
        assert self.life is None, f"host {self.name} is {self.state}: it runs one process at a time"
        if self._before is not None:
            self._before.forget()
            self._before = None
        self.lives += 1
        stream = self.world.random(f"life {self.lives} of {self.name}")
        self.life = Life(self, self.world.next_life(), stream)
        self.world.emit("host", "start", host=self.name, life=self.lives)
        return self.life

    def forget_by(self, forget: Callable[[], object]) -> None:
        """Have this called, by the harness, once another life has taken the place of the present one: it shall free
        what the program holds in memory. The program's tasks are kept until the world ends, and all that they refer
        to with them, since to free a task is to run its `finally` blocks; so a run with many kills needs room for as
        many memories, unless its programs help."""
        self._present().forgetting.append(forget)

    def start(self, program: Program) -> None:
        """Begin a new life with this program. The host must be down."""
        life = self.begin_life()
        self.world.loop.create_task(self._lead(life, program), context=life.context)

    async def _lead(self, life: Life, program: Program) -> None:
        try:
            code = await program(self)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a process that raises ends; its host says why.
            self.log_error("the process ended with an exception", error)
            self._end(life, f"exception {type(error).__name__}: {error}")
        else:
            self._end(life, f"exit code {code or 0}")

    def exit(self, code: int) -> None:
        """The process ends itself at once, as by `os._exit`: called by the process itself, it does not return."""
        caller = LIFE.get()
        if caller is None or caller.host is not self:
            self.end_life(self._present(), code)
            return
        # One that is dead already and still unwinds must not end the life after it.
        self.end_life(caller, code)
        raise LifeEnded(f"exit code {code}")

    def end_life(self, life: Life, code: int) -> None:
        """This life has ended with an exit code. Idempotent."""
        self._end(life, f"exit code {code}")

    def _end(self, life: Life, status: str) -> None:
        if self.life is not life:
            return
        self.world.emit("host", "exit", host=self.name, status=status)
        self._bury(life, silent=False)
        if self.on_exit is not None:
            # Whoever is told is not of the dead: what it schedules shall run.
            contextvars.Context().run(self.on_exit, self, status)

    def kill(self, lose_unsynced: bool = False) -> CrashReport | None:
        """SIGKILL: the disk keeps what was written. With `lose_unsynced` the power fails: the disk loses what was not
        synced (the report says what), and nobody is told that the connections are gone. Idempotent."""
        if self.life is not None:
            self.world.emit("host", "power loss" if lose_unsynced else "kill", host=self.name)
            self._bury(self.life, silent=lose_unsynced)
        if lose_unsynced:
            return self.disk.crash(self.world.random(f"crash {self.lives} of {self.name}"))
        return None

    def _bury(self, life: Life, *, silent: bool) -> None:
        self.life = None
        self._before = life
        self.after_step = None
        life.die(list(self.world.loop.tasks(life)))
        self.world.graves.append(life)
        self.world.network.host_died(self, silent=silent)

    def pause(self) -> None:
        """SIGSTOP. Idempotent."""
        life = self._present()
        if not life.is_paused:
            self.world.emit("host", "pause", host=self.name)
            life.pause()

    def resume(self) -> None:
        """SIGCONT. Idempotent."""
        life = self._present()
        if life.is_paused:
            self.world.emit("host", "resume", host=self.name)
            self.world.loop.put_back(life.resume())
            self.world.network.host_resumed(self)

    # Its log

    def log_line(self, text: str) -> None:
        """Append to the log, with the host's own time in front. The dead say nothing."""
        life = LIFE.get()
        if life is not None and not life.is_alive:
            return
        line = f"{_clock_text(self.clock.wall_ns())} {text}"
        self.log_lines.append(line)
        self.world.emit("log", "line", host=self.name, text=text)

    def log_error(self, message: str, error: BaseException | None) -> None:
        """An error that nobody caught, with its traceback."""
        text = f"ERROR process: {message}"
        if error is not None:
            text += "\n" + traceback_text(error)
        self.log_line(self.without_addresses(text))

    @staticmethod
    def without_addresses(text: str) -> str:
        """Addresses of objects in memory differ from run to run; a log may not."""
        return _ADDRESSES_OF_OBJECTS.sub("", text)


def _clock_text(wall_ns: int) -> str:
    """`2026-01-01T00:00:01.500`."""
    days, rest = divmod(wall_ns - EPOCH_NS, 86_400 * SECOND_NS)
    seconds, nanoseconds = divmod(rest, SECOND_NS)
    date = _date_text(days)
    return (
        f"{date}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{nanoseconds // 1_000_000:03}"
    )


def _date_text(days: int) -> str:
    from datetime import date, timedelta

    return (date(2026, 1, 1) + timedelta(days=days)).isoformat()
