"""A cluster in one process on virtual time: real nodes, a network that can be cut, disks that lose what is unsynced.

Everything is drawn from one seed. The network encodes and decodes every frame, as sockets would; a frame is delayed, or
lost with its link, but frames of one link stay in order. A crash takes everything in memory and all that was not
synced.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from reference_db.api import ClientOperation, ClientReply, ClientRequest
from reference_db.codec import FrameDecoder, PeerFrame
from reference_db.invariants import Violation, Watcher
from reference_db.node import ClientConnection, Node, NodeOptions
from reference_db.placement.state import Placement
from reference_db.ranges.cores import stores_of
from reference_db.storage.engine import MemoryEngine
from reference_db.trace import RecordingTrace, Trace

EPOCH_NS = 1_700_000_000_000_000_000


class Unanswered(Exception):
    """The node died, or did not answer in time."""


class Refused(Exception):
    """The node answered with an error."""

    def __init__(self, error: Any) -> None:
        super().__init__(repr(error))
        self.error = error
        self.definite: bool = error.definite


class WorldTransport:
    """The network as one node sees it."""

    def __init__(self, world: World, node: str) -> None:
        self._world = world
        self._node = node

    def is_up(self, node: str) -> bool:
        return self._world.is_connected(self._node, node)

    def add_peer(self, node: str, address: tuple[str, int] | None) -> None:
        """Everybody can reach everybody."""

    def send(self, node: str, frame: bytes) -> bool:
        return self._world.carry(self._node, node, frame)


class WorldSync:
    """A disk whose syncs take a random while; a crash in between loses what was not covered."""

    def __init__(self, world: World, engine: MemoryEngine, node: str) -> None:
        self._world = world
        self._engine = engine
        self._node = node
        self.dead = False

    def sync(self, done: Callable[[], None]) -> None:
        covered = self._engine.unsynced

        def finish() -> None:
            if not self.dead:
                self._engine.sync(covered)
                done()

        low, high = self._world.slow_disks.get(self._node, self._world.sync_s)
        asyncio.get_running_loop().call_later(self._world.random.uniform(low, high), finish)


class World:
    """Nodes n1, n2, ..., their network and disks. Make it inside `run_virtually`."""

    def __init__(
        self,
        seed: int = 0,
        nodes: int = 3,
        ranges: int = 4,
        replication: int = 3,
        options: NodeOptions | None = None,
        trace: Trace | None = None,
        plant: Callable[[Node], None] | None = None,
        watcher: Watcher | None = None,
        service_s: float = 0.0,
    ) -> None:
        """With the option `cores` each node is as many stores, named as such. `service_s`: how long a store's core is
        busy with a request, and with each message and entry of a frame; nothing else happens on it meanwhile."""
        self.seed = seed
        self.random = random.Random(seed)
        cores = 1 if options is None else options.cores
        self.names = stores_of([f"n{number}" for number in range(1, nodes + 1)], cores)
        self.founders = self.names
        self.service_s = service_s
        self._free_at: dict[str, float] = {}
        """By store: when its core has done what it has been given."""
        self.ranges = ranges
        self.replication = replication
        self.options = options
        self.trace = trace if trace is not None else RecordingTrace()
        self.plant = plant
        self.watcher = watcher
        self.violations: list[Violation] = []
        """What the watcher has found, if there is one."""
        self.engines = {name: MemoryEngine() for name in self.names}
        self.clock_offsets_ns = {name: 0 for name in self.names}
        self.nodes: dict[str, Node] = {}
        self._syncs: dict[str, WorldSync] = {}
        self.lives = {name: 0 for name in self.names}
        self.cut: set[tuple[str, str]] = set()
        self.holding: set[tuple[str, str]] = set()
        """Links that hold back what they are given, and deliver it all when they are let go."""
        self._held: dict[tuple[str, str], list[Callable[[], None]]] = {}
        self.delay_s = (0.0001, 0.002)
        self.extra_delay_s: dict[tuple[str, str], float] = {}
        """By link: how much longer its frames take."""
        self.sync_s = (0.0002, 0.003)
        self.slow_disks: dict[str, tuple[float, float]] = {}
        """By node: how long its syncs take, s, at least and at most, where it is another time."""
        self.drop = 0.0
        self._busy_until: dict[tuple[str, str], float] = {}
        self._request_id = 0
        self.alarms: list[tuple[str, str, str]] = []
        """Node, area and text of what somebody should have done something about."""
        self.lost_batches = 0

    # Its nodes.

    def start(self, name: str, joining: Placement | None = None) -> Node:
        """Start a node on what its disk holds. `joining`: the state of placement that names a new one."""
        assert name not in self.nodes
        if name not in self.names:
            self.names = (*self.names, name)
            self.engines[name], self.clock_offsets_ns[name], self.lives[name] = MemoryEngine(), 0, 0
        loop = asyncio.get_running_loop()
        sync = WorldSync(self, self.engines[name], name)
        node = Node(
            name=name,
            nodes=self.founders,
            replication=self.replication,
            ranges=self.ranges,
            engine=self.engines[name],
            transport=WorldTransport(self, name),
            syncer=sync,
            wall_ns=lambda: EPOCH_NS + int(loop.time() * 1e9) + self.clock_offsets_ns[name],
            # As a server's: the same in all lives.
            random_stream=random.Random(self.seed),
            options=self.options,
            trace=self.trace,
            alarm=lambda area, text: self.alarms.append((name, area, text)),
            joining=joining,
        )
        if self.plant is not None:
            self.plant(node)
        if self.watcher is not None:
            self.violations += self.watcher.attach(name, node)
        node.start()
        self.nodes[name] = node
        self._syncs[name] = sync
        self.lives[name] += 1
        return node

    def start_all(self) -> None:
        for name in self.names:
            if name not in self.nodes:
                self.start(name)

    def crash(self, name: str) -> None:
        """Kill a node and its disk's unsynced batches (all after a random prefix)."""
        self.look(name)
        if self.watcher is not None:
            self.watcher.detach(name)
        node = self.nodes.pop(name)
        node.stop()
        self._syncs[name].dead = True
        self.lost_batches += self.engines[name].crash(self.random)
        for other in self.nodes.values():
            other.link_lost(name)

    def look(self, name: str) -> None:
        """Ask the watcher what the node's latest steps have broken."""
        if self.watcher is not None:
            self.violations += self.watcher.after_step(name)

    async def stop(self) -> None:
        for name in list(self.nodes):
            self.look(name)
        for node in self.nodes.values():
            node.stop()
        await asyncio.sleep(0)

    # Its network.

    def is_connected(self, source: str, target: str) -> bool:
        return target in self.nodes

    def carry(self, source: str, target: str, frame: bytes) -> bool:
        """Carry a frame; a cut link swallows it silently, like a black hole."""
        if target not in self.nodes:
            return False
        if (source, target) in self.cut or (self.drop and self.random.random() < self.drop):
            return True
        loop = asyncio.get_running_loop()
        arrival = max(
            loop.time() + self.random.uniform(*self.delay_s) + self.extra_delay_s.get((source, target), 0.0),
            self._busy_until.get((source, target), 0.0),
        )
        self._busy_until[(source, target)] = arrival + 1e-9
        if self.service_s:
            (whole,) = FrameDecoder(PeerFrame).feed(frame)
            parts = len(whole.messages) + sum(1 + len(message.entries) for _, message in whole.raft)
            arrival = self._served(target, arrival, parts)
        life = self.lives[target]

        def deliver() -> None:
            node = self.nodes.get(target)
            if node is None or self.lives[target] != life:
                return
            if (source, target) in self.holding:
                self._held.setdefault((source, target), []).append(deliver)
                return
            for whole in FrameDecoder(PeerFrame).feed(frame):
                node.receive(whole)
            self.look(target)

        loop.call_at(arrival, deliver)
        return True

    def _served(self, store: str, arrival: float, parts: int) -> float:
        """When a store's core has done what arrives then."""
        done = max(arrival, self._free_at.get(store, 0.0)) + parts * self.service_s
        self._free_at[store] = done
        return done

    def isolate(self, *group: str) -> None:
        """Cut every link between this group and the others, in both directions."""
        for source in self.names:
            for target in self.names:
                if (source in group) != (target in group):
                    self.cut.add((source, target))

    def let_go(self) -> None:
        """Deliver everything that was held back, late as it is."""
        self.holding.clear()
        held, self._held = self._held, {}
        for deliveries in held.values():
            for deliver in deliveries:
                deliver()

    def heal(self) -> None:
        self.cut.clear()
        self.let_go()
        self.drop = 0.0

    # Clients.

    async def ask(
        self,
        name: str,
        operation: ClientOperation,
        connection: ClientConnection | None = None,
        timeout_s: float = 4.0,
    ) -> Any:
        """One request through one node. Raises Refused or Unanswered."""
        node = self.nodes.get(name)
        if node is None:
            raise Refused(_Down())
        life = self.lives[name]
        self._request_id += 1
        future: asyncio.Future[ClientReply] = asyncio.get_running_loop().create_future()

        def done(reply: ClientReply) -> None:
            if not future.done():
                future.set_result(reply)

        request = ClientRequest(self._request_id, operation, int(timeout_s * 1000))
        if self.service_s:
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(self._served(name, now, 1) - now)
        node.handle(request, connection if connection is not None else ClientConnection(), done)
        give_up = asyncio.get_running_loop().time() + timeout_s + 0.5
        while not future.done():
            if self.lives[name] != life or name not in self.nodes:
                raise Unanswered("the node died")
            if asyncio.get_running_loop().time() > give_up:
                raise Unanswered("no answer")
            await asyncio.wait([future], timeout=0.05)
        reply = future.result()
        if reply.error is not None:
            raise Refused(reply.error)
        return reply.value

    async def wait_for(
        self, condition: Callable[[], bool], timeout_s: float = 20.0, what: str = "", step_s: float = 0.02
    ) -> None:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s: {what}"
            await asyncio.sleep(step_s)

    def leader(self, range_id: int) -> str | None:
        """The serving leader with the newest term."""
        found: tuple[int, str] | None = None
        for name, node in self.nodes.items():
            replica = node.store.replicas.get(range_id)
            if replica is not None and replica.leadership is not None and replica.group.is_leader:
                found = max(found or (0, ""), (replica.group.term, name))
        return found[1] if found else None

    def all_led(self) -> bool:
        return all(self.leader(range_id) is not None for range_id in self.range_ids())

    def range_ids(self) -> list[int]:
        """The ranges of which any live node has a replica."""
        known = {
            one.id
            for node in self.nodes.values()
            for one in node.store.replicas.values()
            if one.descriptor.is_known
        }
        return sorted(known)

    async def wait_until_led(self, timeout_s: float = 20.0) -> None:
        await self.wait_for(self.all_led, timeout_s, "a leader for every range")

    def is_quiet(self) -> bool:
        """All replicas applied the same, no lock and no record is left."""
        for range_id in self.range_ids():
            replicas = [
                node.store.replicas[range_id]
                for node in self.nodes.values()
                if range_id in node.store.replicas
            ]
            if len({replica.applied_index for replica in replicas}) != 1:
                return False
            if any(len(replica.state.locks) or replica.state.records for replica in replicas):
                return False
        return True


class _Down:
    definite = True
    reason = "the node is down"
