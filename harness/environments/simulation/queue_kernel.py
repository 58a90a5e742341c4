"""The queue of a simulated world's callbacks, and the loop that runs them (a kernel: see `results/kernels.py`).

What a world does between two callbacks is here, as it does it some ten thousand times for each second of its own; the
rules are those of `loop.py`, which makes an event loop of it.
"""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from heapq import heappop, heappush
from typing import Any

import cython

LIFE: Any = contextvars.ContextVar("life", default=None)
"""See `loop.py`, where it has its type."""

SECOND_NS = 1_000_000_000

EXACT_NS = 1 << 53
"""Up to here whole nanoseconds are exact as floating point numbers."""

_Future = asyncio.Future
_copy_context = contextvars.copy_context


@cython.freelist(256)
@cython.cclass
class Handle:
    """A callback that is due some time; as `asyncio.Handle`, but smaller. Those that come first are the lesser ones."""

    callback = cython.declare(object, visibility="public")
    args = cython.declare(tuple, visibility="public")
    context = cython.declare(object, visibility="public")
    life = cython.declare(object, visibility="public")
    when_ns = cython.declare(cython.longlong, visibility="public")
    _draw: cython.longlong
    _number: cython.longlong

    def __init__(
        self,
        callback: Any,
        args: tuple,
        context: Any,
        life: Any,
        when_ns: cython.longlong,
        draw: cython.longlong,
        number: cython.longlong,
    ) -> None:
        """Of two that are due at the same time the one with the smaller `draw` comes first, then that with the smaller
        `number`."""
        self.callback = callback
        self.args = args
        self.context = context
        self.life = life
        self.when_ns = when_ns
        self._draw = draw
        self._number = number

    def __lt__(self, other: Handle) -> bool:
        if self.when_ns != other.when_ns:
            return self.when_ns < other.when_ns
        if self._draw != other._draw:
            return self._draw < other._draw
        return self._number < other._number

    def cancel(self) -> None:
        """It will not run."""
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        """Whether `cancel` was called (or it has run)."""
        return self.callback is None

    def when(self) -> float:
        """When it is due, in seconds of loop time."""
        return self.when_ns / SECOND_NS


@cython.cclass
class EventQueue:
    """What is due, and when. The loop that is made of it says what happens where nothing is due any more
    (`nothing_is_due`), where a callback raises (`callback_raised`), and looks up now and then (`look_up`)."""

    now_ns = cython.declare(cython.longlong, visibility="public")
    """Virtual time since the world began."""
    events = cython.declare(cython.longlong, visibility="public")
    """Callbacks run so far: the step."""
    digest = cython.declare(cython.longlong, visibility="public")
    """A fold over when and on whose behalf each callback ran: two runs with the same one took the same way."""
    life = cython.declare(object, visibility="public")
    """Whose callback is running now."""
    stopping = cython.declare(cython.bint, visibility="public")
    """Nothing runs any more after the present callback."""
    moment_began = cython.declare(cython.longlong, visibility="public")
    """The first step of the present instant."""
    ready = cython.declare(object, visibility="public")
    """Handles that are due at this instant, first in, first out."""
    timers = cython.declare(list, visibility="public")
    """Handles that are due later, as a heap."""
    _draw: object
    _timers_set: cython.longlong
    _debug: cython.bint

    def __init__(self, draw: Any) -> None:
        """`draw(bits)` draws the order of timers that are due at the same instant."""
        self.now_ns = 0
        self.events = 0
        self.digest = 0
        self.life = None
        self.stopping = False
        self.moment_began = 0
        self.ready = deque()
        self.timers = []
        self._draw = draw
        self._timers_set = 0
        self._debug = False

    def time(self) -> float:
        """Virtual seconds since the world began."""
        if self.now_ns < EXACT_NS:
            return cython.cast(cython.double, self.now_ns) / 1e9
        return self.now_ns / SECOND_NS

    def get_debug(self) -> bool:
        """Asyncio's debug mode costs much and is off."""
        return self._debug

    def set_debug(self, enabled: Any) -> None:
        """See `get_debug`."""
        self._debug = bool(enabled)

    def create_future(self) -> Any:
        """A future of this loop."""
        return _Future(loop=self)

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        """Run it at this instant, after all that is already due now."""
        if context is None:
            handle = Handle(callback, args, _copy_context(), LIFE.get(), self.now_ns, 0, 0)
        else:
            handle = Handle(callback, args, context, context.get(LIFE), self.now_ns, 0, 0)
        self.ready.append(handle)
        return handle

    def call_at_ns(self, when_ns: cython.longlong, callback: Any, *args: Any, context: Any = None) -> Any:
        """Run it at this instant of virtual time (or as soon as can be, if it has passed)."""
        draw: cython.longlong
        if context is None:
            context = _copy_context()
            life = LIFE.get()
        else:
            life = context.get(LIFE)
        self._timers_set += 1
        draw = self._draw(32)
        handle = Handle(callback, args, context, life, when_ns, draw, self._timers_set)
        heappush(self.timers, handle)
        return handle

    def spin(self, most: cython.longlong, look_every: cython.longlong) -> None:
        """Run what is due, one callback after the other, until `stopping`. `look_up(callback)` is called every
        `look_every` callbacks, and told `is_stuck` if `most` have run at the same instant."""
        handle: Handle
        look_at: cython.longlong
        ready = self.ready
        next_ready = ready.popleft
        timers: list = self.timers
        look_at = self.events + look_every
        self.moment_began = self.events
        while not self.stopping:
            if ready:
                handle = next_ready()
                callback = handle.callback
                if callback is None:
                    continue
            elif timers:
                handle = heappop(timers)
                callback = handle.callback
                if callback is None:
                    continue
                if handle.when_ns > self.now_ns:
                    self.now_ns = handle.when_ns
                    self.moment_began = self.events
            else:
                self.nothing_is_due()
                continue
            life = handle.life
            if life is not None and not life.runs:
                life.put_off(handle)
                continue
            self.events += 1
            self.life = life
            self.digest = hash((self.digest, self.now_ns, 0 if life is None else life.number))
            try:
                if handle.args:
                    handle.context.run(callback, *handle.args)
                else:
                    handle.context.run(callback)
            except BaseException as error:  # noqa: BLE001 - the loop says what becomes of it.
                self.callback_raised(handle, callback, error)
            handle.callback = None
            self.life = None
            if life is not None:
                after_step = life.host.after_step
                if after_step is not None:
                    after_step()
            if self.events >= look_at:
                look_at = self.events + look_every
                self.look_up(callback, self.events - self.moment_began >= most)
