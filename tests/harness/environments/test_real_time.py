"""What the environments of real nodes have in common: their loop, and what is called on it now and then."""

from __future__ import annotations

import asyncio
import os
import signal

from harness.environments.real_time import RealTime


def test_now_and_then_acts_while_its_block_runs_and_no_longer() -> None:
    acts = 0

    async def story() -> int:
        twice = asyncio.Event()

        def act() -> None:
            nonlocal acts
            acts += 1
            if acts == 2:
                twice.set()

        with RealTime().now_and_then(act):
            await twice.wait()
        seen = acts
        await asyncio.sleep(0.3)
        return seen

    assert RealTime().run(story()) == acts == 2


def test_a_signal_is_heard_on_the_loop() -> None:
    async def story() -> bool:
        heard = asyncio.Event()
        RealTime().on_signal(signal.SIGUSR1, heard.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(heard.wait(), 60)
        return True

    assert RealTime().run(story())
