"""The search for the bug of `leases.py`: the same program in simulated worlds, one for each seed, with drawn faults.

    python -m examples.simulated_lease.find --seeds 1-100
    python -m examples.simulated_lease.find --seeds 1-100 --fencing     # the repaired program: nothing to find

Exit code 1 if an increment was lost, else 0.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from examples.simulated_lease.leases import LockService, Store, Tally, serve, work
from harness.environments.simulation.host import Host
from harness.environments.simulation.world import World

WORKERS = ("w1", "w2", "w3")
LOCK, STORE = ("lock", 7000), ("store", 7000)
ROUNDS = 8
"""How many faults there are in a world."""


@dataclass(frozen=True)
class Outcome:
    """What became of one world."""

    seed: int
    confirmed: int
    unknown: int
    number: int
    virtual_s: float
    events: int
    digest: int
    """Two runs with the same one took the same way."""
    faults: tuple[str, ...]
    log: tuple[str, ...]
    """Of the store."""

    @property
    def is_valid(self) -> bool:
        """Every confirmed increment counts; one with an unknown outcome may count."""
        return self.confirmed <= self.number <= self.confirmed + self.unknown

    def first_lost(self) -> int | None:
        """The line of the log where the number first did not grow."""
        highest = 0
        for at, line in enumerate(self.log):
            if " -> " in line:
                number = int(line.rpartition(" ")[2])
                if number <= highest:
                    return at
                highest = number
        return None


def run(seed: int, *, fencing: bool, faults: bool = True) -> Outcome:
    """One world: a lock service, a store and three workers, each on a host of its own."""
    world = World(seed)
    draw = world.random("faults")
    told: list[str] = []
    store = Store(fencing=fencing)
    tallies: list[Tally] = []
    is_over = False

    async def lock_program(_host: Host) -> None:
        await (await serve(LockService().answer, LOCK[1])).serve_forever()

    async def store_program(_host: Host) -> None:
        await (await serve(store.answer, STORE[1])).serve_forever()

    async def worker_program(_host: Host) -> None:
        tallies.append(Tally())
        await work(LOCK, STORE, tallies[-1], lambda: not is_over)

    async def disturb() -> None:
        worker = world.host(draw.choice(WORKERS))
        kind, seconds = draw.choice(["cut", "slow", "pause", "kill"]), draw.uniform(0.2, 3.0)
        link = (worker.name, draw.choice([LOCK[0], STORE[0]]))
        what = f"{link[0]} > {link[1]}" if kind in ("cut", "slow") else worker.name
        told.append(f"{world.loop.time():.3f} s: {kind} {what} for {seconds:.3f} s")
        match kind:
            case "cut":
                world.network.cut([link])
            case "slow":
                world.network.slow([link], delay_ns=round(seconds * 1e9))
            case "pause":
                worker.pause()
            case "kill":
                worker.kill()
        await asyncio.sleep(seconds)
        match kind:
            case "cut" | "slow":
                world.network.heal_all()
            case "pause":
                worker.resume()
            case "kill":
                worker.start(worker_program)

    async def story() -> None:
        nonlocal is_over
        world.host("lock").start(lock_program)
        world.host("store").start(store_program)
        for name in WORKERS:
            world.host(name).start(worker_program)
        for _ in range(ROUNDS):
            await asyncio.sleep(draw.uniform(0.1, 1.0))
            if faults:
                await disturb()
        is_over = True
        await asyncio.sleep(20)

    world.run(story())
    return Outcome(
        seed=seed,
        confirmed=sum(tally.confirmed for tally in tallies),
        unknown=sum(tally.unknown for tally in tallies),
        number=store.number,
        virtual_s=world.loop.time(),
        events=world.loop.events,
        digest=world.loop.digest,
        faults=tuple(told),
        log=tuple(world.host("store").log_lines),
    )


def show(outcome: Outcome) -> None:
    """The faults, and what the store wrote around the first loss."""
    print(
        f"seed {outcome.seed}: {outcome.confirmed} increments were confirmed and the store says {outcome.number}: "
        f"{outcome.confirmed - outcome.number} lost"
    )
    for fault in outcome.faults:
        print(f"  {fault}")
    at = outcome.first_lost()
    if at is not None:
        print("the log of the store where the number did not grow:")
        for line in outcome.log[max(0, at - 3) : at + 2]:
            print(f"  {line}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the seeds one after the other, stop at the first that loses an increment, and run that once more."""
    parser = argparse.ArgumentParser(description="look for lost increments in simulated worlds")
    parser.add_argument("--seeds", default="1-100", help="one seed, or the first and the last: 1-100")
    parser.add_argument("--fencing", action="store_true", help="the store turns old tokens away")
    options = parser.parse_args(arguments)
    first, _, last = options.seeds.partition("-")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError:
        parser.error(f"--seeds {options.seeds}: must be one number, or two with a dash between them")
    if not seeds:
        parser.error(f"--seeds {options.seeds}: the last is less than the first, so there is nothing to try")

    began, virtual_s = time.monotonic(), 0.0
    for seed in seeds:
        outcome = run(seed, fencing=options.fencing)
        virtual_s += outcome.virtual_s
        if not outcome.is_valid:
            show(outcome)
            is_same = run(seed, fencing=options.fencing) == outcome
            print(f"once more with seed {seed}: {'the same, event for event' if is_same else 'ANOTHER RUN'}")
            return 1
    took_s = time.monotonic() - began
    print(f"{len(seeds)} seeds, {virtual_s:.0f} virtual seconds in {took_s:.1f} s: no increment was lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
