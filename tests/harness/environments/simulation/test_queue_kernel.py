"""The queue of a world's callbacks: in which order they run, and that both forms of the kernel keep it."""

from __future__ import annotations

import contextvars
import random
from types import SimpleNamespace

import pytest

from harness.environments.simulation import queue_kernel
from results import kernels

INTERPRETED = kernels.load_interpreted(queue_kernel)


def loop_of(kernel):
    class Loop(kernel.EventQueue):
        """Ends when nothing is due, and keeps what callbacks raise and how often it looked up."""

        def __init__(self):
            super().__init__(random.Random(7).getrandbits)
            self.raised = []
            self.stuck = []

        def nothing_is_due(self):
            self.stopping = True

        def callback_raised(self, handle, callback, error):
            self.raised.append((self.events, repr(error)))

        def look_up(self, callback, is_stuck):
            self.stuck.append((self.events, is_stuck))
            self.stopping = is_stuck

    return Loop()


def life_of(kernel, number):
    """A life, and what belongs to it: what it ran late, and how often it was looked at."""
    life = SimpleNamespace(number=number, runs=True, missed=[], steps=[])
    life.host = SimpleNamespace(after_step=lambda: life.steps.append(number))
    life.put_off = life.missed.append
    life.context = contextvars.Context()
    life.context.run(kernel.LIFE.set, life)
    return life


def story(kernel, seed):
    """Callbacks that set others, cancel some, raise, and pause a life: who ran when."""
    stream = random.Random(seed)
    loop = loop_of(kernel)
    lives = [None, life_of(kernel, 1), life_of(kernel, 2)]
    ran, handles = [], []

    def work(number):
        ran.append((loop.now_ns, loop.time(), number, loop.life.number if loop.life else 0))
        for _ in range(stream.choice([0, 1, 1, 2])):
            if len(handles) == 400:
                return
            life = stream.choice(lives)
            context = stream.choice([None, life.context if life else contextvars.Context()])
            if stream.random() < 0.4:
                handles.append(loop.call_soon(work, len(handles), context=context))
            else:
                when_ns = loop.now_ns + stream.choice([-5, 0, 1, 1, 2, 10])
                handles.append(loop.call_at_ns(when_ns, work, len(handles), context=context))
        if stream.random() < 0.2:
            stream.choice(handles).cancel()
        if stream.random() < 0.02:
            lives[1].runs = False
        if stream.random() < 0.05:
            raise ValueError(number)

    for number in range(20):
        handles.append(loop.call_at_ns(number // 4, work, number))
    loop.spin(10_000, 16)
    times = [handle.when() for handle in handles]
    cancelled = [handle.cancelled() for handle in handles]
    kept = [(life.steps, len(life.missed)) for life in lives[1:]]
    return ran, loop.digest, loop.events, loop.raised, loop.stuck, times, cancelled, kept


@pytest.mark.parametrize("seed", range(5))
def test_both_forms_of_the_queue_run_the_same_in_the_same_order(seed):
    told = story(queue_kernel, seed)
    assert told == story(INTERPRETED, seed)
    ran, _, events, raised, _, _, cancelled, kept = told
    assert len(ran) == events >= 50
    assert raised
    assert any(cancelled)
    assert any(steps for steps, _ in kept)


@pytest.mark.parametrize("kernel", [queue_kernel, INTERPRETED])
def test_a_draw_orders_what_is_due_at_the_same_instant_and_time_orders_the_rest(kernel):
    loop = loop_of(kernel)
    draws = random.Random(7)
    expected = sorted((number // 10, draws.getrandbits(32), number) for number in range(40))
    ran = []
    for number in range(40):
        loop.call_at_ns(number // 10, ran.append, number)
    loop.spin(1000, 1000)
    assert ran == [number for _, _, number in expected] != sorted(ran)


@pytest.mark.parametrize("kernel", [queue_kernel, INTERPRETED])
def test_an_instant_that_never_ends_is_noticed(kernel):
    loop = loop_of(kernel)

    def again():
        loop.call_soon(again)

    loop.call_soon(again)
    loop.spin(100, 16)
    assert loop.stuck[-1] == (112, True)


@pytest.mark.parametrize("kernel", [queue_kernel, INTERPRETED])
def test_time_in_seconds_is_the_nearest_to_the_nanoseconds(kernel):
    loop = loop_of(kernel)
    for now_ns in (0, 1, 123_456_789, (1 << 53) - 1, (1 << 53) + 1, 10**18 + 1):
        loop.now_ns = now_ns
        assert loop.time() == now_ns / 1_000_000_000
