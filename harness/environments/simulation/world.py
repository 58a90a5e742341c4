"""The simulated world: hosts, their network and disks on one loop of virtual time, all of it decided by one seed.

    world = World(seed=7)

    async def story() -> None:
        world.host("a").start(server)
        world.host("b").start(client)
        await asyncio.sleep(60)         # virtual: takes no time
        world.host("a").kill()

    world.run(story())

`story` is the harness's: it sees everything and is on no host. What `server` and `client` do, they do on their host:
its time, its randomness, its disk, its connections. They are ordinary asyncio programs.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import random
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import msgspec

from harness.environments.simulation.guards import guarding
from harness.environments.simulation.host import Host, Life
from harness.environments.simulation.loop import LIFE, SimulatedLoop
from harness.environments.simulation.network import Network

T = TypeVar("T")

CLIENT_HOST = "client"
"""The host of all clients: where what is on no host of its own connects from."""

ENDINGS_MOST = 10
"""So often are the harness's tasks cancelled, if they do not end at once."""

TraceSink = Callable[[bytes], object]
"""Takes one line of the trace, with its newline."""


class World:
    """Hosts on one virtual loop. A world is run once."""

    def __init__(self, seed: int, trace: TraceSink | None = None) -> None:
        """`trace` is given every event of the world as a JSON line; without one, events cost a comparison."""
        self.seed = seed
        self.trace = trace
        self.loop = SimulatedLoop(self.random("order of timers"))
        self.loop.world = self
        self.hosts: dict[str, Host] = {}
        self.network = Network(self)
        self.graves: list[Life] = []
        self._by_address: dict[str, Host] = {}
        self._lives = 0
        self._ending = False

    def random(self, name: str) -> random.Random:
        """The random stream of this name, from its beginning; streams do not disturb each other."""
        digest = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=16).digest()
        return random.Random(int.from_bytes(digest, "big"))

    def host(self, name: str) -> Host:
        """The host of this name; made, and down, at first."""
        host = self.hosts.get(name)
        if host is None:
            number = len(self.hosts) + 1
            host = Host(self, name, f"10.0.{number >> 8}.{number & 255}")
            self.hosts[name] = host
            self._by_address[host.address] = host
        return host

    def resolve(self, address: str) -> Host:
        """The host of a name or an address; `localhost` is the present one. Raises OSError if there is none."""
        if address in ("localhost", "127.0.0.1", "::1"):
            return self.present_host()
        found = self.hosts.get(address) or self._by_address.get(address)
        if found is None:
            raise OSError(
                f"no host {address!r} in this world; there are {', '.join(sorted(self.hosts)) or 'none'}"
            )
        return found

    def present_host(self) -> Host:
        """On which host the code runs that asks; what is on none counts as a client."""
        life = LIFE.get()
        return self.host(CLIENT_HOST) if life is None else life.host

    def next_life(self) -> int:
        """A number for a new life, from 1."""
        self._lives += 1
        return self._lives

    def emit(self, area: str, name: str, /, **fields: Any) -> None:
        """An event of the world, for the trace."""
        if self.trace is not None:
            line = {
                "at_ns": self.loop.now_ns,
                "step": self.loop.events,
                "area": area,
                "event": name,
                **fields,
            }
            try:
                self.trace(msgspec.json.encode(line) + b"\n")
            except OSError as error:
                # The real disk is full, and that is the harness's trouble: it must not reach the program that runs.
                self.trace = None
                if not self._ending:
                    told = OSError(error.errno, f"the trace of the world cannot be written: {error.strerror}")
                    self.loop.call_soon(_raise, told, context=contextvars.Context())

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run the harness's coroutine to its end, end all that is left over, and close the loop."""
        with guarding(self.loop):
            problems: list[Exception] = []
            try:
                result: T = self.loop.run_until_complete(main)
            finally:
                try:
                    problems = self.end()
                finally:
                    self.loop.close()
                    self._dissolve()
            if problems:
                raise problems[0]
            return result

    def end(self) -> list[Exception]:
        """End every life, then the harness's own tasks in the order they were made. Idempotent. Answers what went wrong
        on the loop meanwhile: it keeps nobody from coming to an end."""
        self._ending = True
        problems: list[Exception] = []
        for host in self.hosts.values():
            host.kill()
        for _ in range(ENDINGS_MOST):
            left_over = self.loop.tasks(None)
            if not left_over:
                break
            for task in left_over:
                task.cancel()
            try:
                self.loop.run_until_complete(asyncio.gather(*left_over, return_exceptions=True))
            except Exception as error:  # noqa: BLE001 - told to whoever asked for the end.
                problems.append(error)
        self.trace = None
        return problems

    def _dissolve(self) -> None:
        """What is left of the dead comes to nothing on a loop that is closed."""
        with self.loop.as_seen_running():
            for life in self.graves:
                life.dissolve()
        self.graves.clear()


def _raise(error: BaseException) -> NoReturn:
    raise error


def current_host() -> Host:
    """The host on which the code runs that asks. Raises RuntimeError outside of a world."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, SimulatedLoop) or loop.world is None:
        raise RuntimeError(
            "current_host() is for code that runs in a simulated world; this is an ordinary loop"
        )
    return loop.world.present_host()
