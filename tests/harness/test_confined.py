"""Work in a process of its own: what it sends arrives, and its limits of time and memory are obeyed."""

from __future__ import annotations

import os
import time

import pytest

from harness.confined import BROKE_DOWN, DONE, OUT_OF_MEMORY, OUT_OF_TIME, Confined, held_mb, run_confined
from tests.support.processes import wait_until

needs_proc = pytest.mark.skipif(held_mb(os.getpid()) == 0, reason="no /proc here: memory cannot be watched")


def run(*works: Confined, jobs: int = 1):
    messages, ended = [], {}
    run_confined(works, jobs, lambda place, text: messages.append((place, text)), ended.__setitem__)
    return messages, ended


def greet(send, *names):
    for name in names:
        send(name)


def test_messages_arrive_and_all_works_are_done():
    messages, ended = run(
        Confined(greet, (b"a", b"b"), 10, 500), Confined(greet, (b"c" * 3_000_000,), 10, 500), jobs=2
    )
    assert sorted(messages) == [(0, b"a"), (0, b"b"), (1, b"c" * 3_000_000)]
    assert [ended[place].reason for place in (0, 1)] == [DONE, DONE]


def spin(send):
    send(b"begun")
    while True:
        pass


@pytest.mark.slow
def test_what_takes_too_long_is_ended():
    messages, ended = run(Confined(spin, (), 2, beyond(500)))
    assert ended[0].reason == OUT_OF_TIME
    assert messages == [(0, b"begun")]


def beyond(megabytes: int) -> int:
    """So much more than this process holds, which its children begin with."""
    return int(held_mb(os.getpid())) + megabytes


def hoard(send, megabytes, at_once):
    send(b"begun")
    held = []
    while megabytes > 0:
        size = megabytes if at_once else 1
        held.append(b"x" * (size * 1_000_000))
        megabytes -= size
        time.sleep(0.003)  # What is held grows as with real work: no checker fills gigabytes in a second.
    send(b"all of it")


@needs_proc
@pytest.mark.slow
def test_what_takes_too_much_memory_is_ended_near_the_limit():
    limit = beyond(250)
    messages, ended = run(Confined(hoard, (3000, False), 30, limit))
    assert ended[0].reason == OUT_OF_MEMORY
    assert limit < ended[0].most_mb < limit + 250, "it is looked at far more often than once a second"
    assert messages == [(0, b"begun")]


@needs_proc
def test_one_allocation_far_beyond_the_limit_fails_before_it_is_made():
    limit = beyond(250)
    _, ended = run(Confined(hoard, (limit + 5000, True), 30, limit))
    assert ended[0].reason == BROKE_DOWN
    assert ended[0].most_mb < limit


def vanish(send):
    os._exit(9)


def test_a_child_that_vanishes_is_told():
    _, ended = run(Confined(vanish, (), 10, 500), Confined(greet, (b"a",), 10, 500))
    assert (ended[0].reason, ended[0].exit_code) == (BROKE_DOWN, 9)
    assert ended[1].reason == DONE


def start_another(send):
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    send(str(pid).encode())
    time.sleep(60)


@needs_proc
@pytest.mark.slow
def test_children_of_the_child_end_with_it():
    messages, ended = run(Confined(start_another, (), 2, beyond(500)))
    assert ended[0].reason == OUT_OF_TIME
    grandchild = int(messages[0][1])
    wait_until(lambda: held_mb(grandchild) == 0, 30, "the child of the child ends")
