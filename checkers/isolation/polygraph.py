"""The polygraph of a history: what must come before what, and the choices that are open.

Serializable means that the transactions can be ordered one after the other. Snapshot isolation means that the begins
and commits of the transactions can, each reading the state at its begin, so that of two writers of a key one commits
before the other begins (Viper, EuroSys 2023: BC-polygraphs). So a transaction is one node or two, here called its
*reading* and its *writing* node, and a history satisfies the level if for each two chains of versions of a key (see
`versions`) one can be put before the other, so that the edges make no cycle:

    wr   the writer's writing -> the reader's reading
    ww   the earlier writer's writing -> the later writer's reading
    rw   the reader's reading -> the writing of whoever overwrote what was read
    session, real time   the earlier's writing -> the later's reading

Papadimitriou (1979) has polygraphs for serializability, PolySI (VLDB 2023) generalised ones for snapshot isolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from checkers.isolation.reads_from import ReadsFrom
from checkers.isolation.versions import Versions
from results.transactions import FOREVER

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Level:
    """What a level asks for."""

    is_snapshot: bool
    """Whether transactions read a snapshot at their begin, and are not one after the other."""
    sessions: bool = False
    """Whether a transaction comes before the later ones of its session."""
    real_time: bool = False
    """Whether it comes before those that were invoked after it had completed."""
    phantoms: bool = True
    """Whether a scan that did not find a key depends on who wrote it."""


LEVELS: Final = {
    "snapshot-isolation": Level(True),
    "strong-session-snapshot-isolation": Level(True, sessions=True),
    "strong-snapshot-isolation": Level(True, sessions=True, real_time=True),
    "repeatable-read": Level(False, phantoms=False),
    "serializable": Level(False),
    "strong-session-serializable": Level(False, sessions=True),
    "strict-serializable": Level(False, sessions=True, real_time=True),
}
"""The levels that can be judged without knowing the order of versions."""

PROGRAM, WR, WW, RW, SESSION, REAL_TIME = range(6)
"""Why an edge is there: a transaction's own order, a read, a later version, a read of what was overwritten, ..."""


@dataclass(frozen=True)
class Edges:
    """Edges between nodes. Nodes from `Polygraph.helpers` on stand between transactions for many edges at once; the
    first and the last edge of a way through them say why."""

    source: NDArray[np.int32]
    target: NDArray[np.int32]
    kind: NDArray[np.int8]
    read: NDArray[np.int64]
    """The read (by its number in `ReadsFrom`) of a WR or RW edge, else -1."""
    version: NDArray[np.int64]
    """The later version of a WW or RW edge (by its number in `Versions`), else -1."""

    def __len__(self) -> int:
        return len(self.source)

    def only(self, which: NDArray[Any]) -> Edges:
        """Some of the edges, by a mask or by their numbers."""
        return Edges(
            self.source[which], self.target[which], self.kind[which], self.read[which], self.version[which]
        )


def join(parts: list[Edges]) -> Edges:
    """All edges of the parts, in their order."""
    return Edges(
        np.concatenate([part.source for part in parts]),
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.kind for part in parts]),
        np.concatenate([part.read for part in parts]),
        np.concatenate([part.version for part in parts]),
    )


@dataclass(frozen=True)
class Polygraph:
    """The nodes, the edges that are certain, and the chains whose order is open."""

    found: ReadsFrom
    versions: Versions
    level: Level
    nodes: int
    helpers: int
    """The first node that stands for no transaction."""
    known: Edges

    def reading(self, transaction: NDArray[np.int32]) -> NDArray[np.int32]:
        """The nodes at which transactions read."""
        return transaction * 2 if self.level.is_snapshot else transaction

    def writing(self, transaction: NDArray[np.int32]) -> NDArray[np.int32]:
        """The nodes at which they write."""
        return transaction * 2 + 1 if self.level.is_snapshot else transaction

    def transaction(self, node: int) -> int:
        return node // 2 if self.level.is_snapshot else node

    def following(
        self, earlier: NDArray[np.integer[Any]], later: NDArray[np.integer[Any]]
    ) -> tuple[Edges, NDArray[np.int64]]:
        """The edges that say: the chain that ends with version `earlier[i]` comes before that which begins with
        `later[i]`; and for each edge which i it belongs to. `earlier` may be an initial version."""
        versions = self.versions
        begin = versions.readers_first[earlier]
        sizes = versions.readers_first[earlier + 1] - begin
        which = np.repeat(np.arange(len(earlier)), sizes)
        inner = np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        reads = versions.readers[np.repeat(begin, sizes) + inner]
        later_version = later[which]
        anti = Edges(
            self.reading(versions.reader[reads]),
            self.writing(versions.owner[later_version]),
            np.full(len(reads), RW, dtype=np.int8),
            reads,
            later_version.astype(np.int64),
        )
        some = np.flatnonzero(earlier < versions.written)
        direct = Edges(
            self.writing(versions.owner[earlier[some]]),
            self.reading(versions.owner[later[some]]),
            np.full(len(some), WW, dtype=np.int8),
            np.full(len(some), -1, dtype=np.int64),
            later[some].astype(np.int64),
        )
        return join([direct, anti]), np.concatenate([some, which])


def make_polygraph(found: ReadsFrom, versions: Versions, level: Level) -> Polygraph:
    """The polygraph of a history; without chains of versions it has O(m) edges, m micro-operations."""
    nodes = found.initial * (2 if level.is_snapshot else 1)
    graph = Polygraph(found, versions, level, nodes, nodes, _none())
    parts = [_program(graph), _reads(graph)]
    if level.sessions:
        parts.append(_sessions(graph))
    if level.real_time and found.transactions.has_real_time:
        times, nodes = _real_time(graph, nodes)
        parts.append(times)
    inside = np.flatnonzero(versions.next >= 0)
    parts.append(graph.following(inside, versions.next[inside])[0])
    first, nodes = _after_the_initial(graph, nodes)
    parts.append(first)
    known = join(parts)
    return Polygraph(found, versions, level, nodes, graph.helpers, known)


def _edges(
    source: NDArray[np.int32], target: NDArray[np.int32], kind: int, read: NDArray[np.int64] | None = None
) -> Edges:
    none = np.full(len(source), -1, dtype=np.int64)
    return Edges(
        source.astype(np.int32),
        target.astype(np.int32),
        np.full(len(source), kind, dtype=np.int8),
        none if read is None else read,
        none,
    )


def _none() -> Edges:
    empty = np.empty(0, dtype=np.int32)
    return _edges(empty, empty, PROGRAM)


def _program(graph: Polygraph) -> Edges:
    if not graph.level.is_snapshot:
        return _none()
    members = np.sort(graph.found.sessions)
    return _edges(graph.reading(members), graph.writing(members), PROGRAM)


def _reads(graph: Polygraph) -> Edges:
    found = graph.found
    reads = np.flatnonzero(found.read_source != found.initial)
    return _edges(
        graph.writing(found.read_source[reads]), graph.reading(graph.versions.reader[reads]), WR, reads
    )


def _sessions(graph: Polygraph) -> Edges:
    sessions = graph.found.sessions
    process = graph.found.transactions.process[sessions]
    follows = process[1:] == process[:-1]
    return _edges(graph.writing(sessions[:-1][follows]), graph.reading(sessions[1:][follows]), SESSION)


def _real_time(graph: Polygraph, nodes: int) -> tuple[Edges, int]:
    """Each transaction before all that were invoked after it completed: by a line of nodes in time, one for each run
    of completions after an invocation."""
    members = np.sort(graph.found.sessions)
    transactions = graph.found.transactions
    ended = members[transactions.end[members] != FOREVER]
    ended = ended[np.argsort(transactions.end[ended], kind="stable")]
    starts = np.sort(transactions.start[members])
    invoked_before = np.searchsorted(starts, transactions.end[ended])
    moments, moment_of = np.unique(invoked_before, return_inverse=True)
    line = np.arange(nodes, nodes + len(moments), dtype=np.int32)
    # The last moment at which completions were counted, of those before each invocation.
    position = np.searchsorted(starts, transactions.start[members])
    heard = np.searchsorted(moments, position, side="right") - 1
    late = heard >= 0
    edges = join(
        [
            _edges(graph.writing(ended), line[moment_of], REAL_TIME),
            _edges(line[:-1], line[1:], REAL_TIME),
            _edges(line[heard[late]], graph.reading(members[late]), REAL_TIME),
        ]
    )
    return edges, nodes + len(moments)


def _after_the_initial(graph: Polygraph, nodes: int) -> tuple[Edges, int]:
    """The chain of a key's initial version before its other chains; by a node in between where that saves edges."""
    versions = graph.versions
    keys = len(versions.key) - versions.written
    heads_first = np.concatenate([[0], np.cumsum(np.bincount(versions.key[versions.heads], minlength=keys))])
    tails = versions.tail[versions.written :]
    heads = np.diff(heads_first)
    readers = versions.readers_first[tails + 1] - versions.readers_first[tails]
    hub = readers * heads > 4 * (readers + heads)
    plain = ~hub[versions.key[versions.heads]]
    parts = [graph.following(tails[versions.key[versions.heads[plain]]], versions.heads[plain])[0]]
    for key in np.flatnonzero(hub).tolist():
        later = versions.heads[heads_first[key] : heads_first[key + 1]]
        tail = int(tails[key])
        reads = versions.readers[versions.readers_first[tail] : versions.readers_first[tail + 1]]
        middle = np.full(len(reads), nodes, dtype=np.int32)
        parts.append(_edges(graph.reading(versions.reader[reads]), middle, RW, reads))
        out = _edges(np.full(len(later), nodes, dtype=np.int32), graph.writing(versions.owner[later]), RW)
        parts.append(Edges(out.source, out.target, out.kind, out.read, later))
        if tail < versions.written:
            owner = np.full(len(later), versions.owner[tail], dtype=np.int32)
            direct = _edges(graph.writing(owner), graph.reading(versions.owner[later]), WW)
            parts.append(Edges(direct.source, direct.target, direct.kind, direct.read, later))
        nodes += 1
    return join(parts), nodes
