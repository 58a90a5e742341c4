"""Who has taken too long: a wheel of deadlines for the operations, and a watch over the event loop itself.

The wheel is a plain structure that is told the time. The watch is a thread, since a loop that is stuck can't watch
itself.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback


class DeadlineWheel:
    """Finds the threads whose operation has taken too long, without a timer for each operation.

    A thread is in at most a few buckets. Arming it again does not move it: when its bucket comes up and its deadline
    lies ahead, it goes into a later one. So an operation costs a store and a comparison, and a thread is looked at once
    a timeout. An operation that ends is not taken out: whoever hears of a deadline looks whether it still matters.
    """

    __slots__ = ("_buckets", "_deadlines", "_last", "_resolution", "_slots")

    def __init__(self, threads: int, resolution_ns: int) -> None:
        self._resolution = resolution_ns
        self._deadlines = [0] * threads
        self._slots = [-1] * threads
        """The earliest bucket that holds the thread; -1: none does."""
        self._buckets: dict[int, list[int]] = {}
        self._last = -1
        """The last bucket that has come up."""

    def arm(self, thread: int, deadline_ns: int) -> None:
        """The thread's operation must end by this time."""
        self._deadlines[thread] = deadline_ns
        slot = deadline_ns // self._resolution + 1
        held = self._slots[thread]
        if held == -1 or slot < held:
            self._place(thread, slot)

    def _place(self, thread: int, slot: int) -> None:
        if slot <= self._last:
            slot = self._last + 1
        self._slots[thread] = slot
        self._buckets.setdefault(slot, []).append(thread)

    def expired(self, now_ns: int) -> list[int]:
        """The threads whose deadline has passed, in order; each is told once. Late by at most the resolution,
        and never early."""
        current = now_ns // self._resolution
        if current <= self._last:
            return []
        due = sorted(slot for slot in self._buckets if slot <= current)
        self._last = current
        found = []
        for slot in due:
            for thread in self._buckets.pop(slot):
                if self._slots[thread] != slot:
                    continue  # It was put into an earlier bucket, which has dealt with it.
                self._slots[thread] = -1
                deadline = self._deadlines[thread]
                if deadline <= now_ns:
                    found.append(thread)
                else:
                    self._place(thread, deadline // self._resolution + 1)
        return sorted(found)


class StallWatch(threading.Thread):
    """Notices from outside that the loop's thread is stuck in a call, and where."""

    def __init__(self, loop_thread: int, limit_s: float) -> None:
        super().__init__(name="loop stall watch", daemon=True)
        self.beat = time.monotonic()
        self.stalls: list[str] = []
        self._loop_thread = loop_thread
        self._limit_s = limit_s
        self._over = threading.Event()

    def run(self) -> None:
        told = 0.0
        while not self._over.wait(self._limit_s / 4):
            beat = self.beat
            silent = time.monotonic() - beat
            if silent > self._limit_s and told != beat and len(self.stalls) < 5:
                told = beat
                frame = sys._current_frames().get(self._loop_thread)
                stack = "".join(traceback.format_stack(frame)) if frame is not None else "no stack\n"
                self.stalls.append(f"the event loop did not turn for {silent:.1f} s; it was here:\n{stack}")

    def end(self) -> None:
        self._over.set()
