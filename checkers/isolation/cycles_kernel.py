"""The shortest cycles of each kind inside the components of a graph (a kernel: see `results/kernels.py`).

A component is looked at by itself, with nodes of its own: its transactions, in the order of their invocations; the
nodes that only pass edges on; and one node for each completion (see `components_kernel`). Whether there is a cycle of
some kind is decided first, in time linear in the component: by strongly connected components of the edges that such a
cycle may have. For cycles without two rw in a row the nodes are doubled: `(v, 1)` is v reached by rw, from where no
further rw leads on. Only then is a short cycle sought, from edges of which it is certain that one goes through them.

The one kind that this does not decide is the cycle with exactly one rw. Where such a cycle can be at all, the
transactions that each rw leads to are followed, 64 edges at a time.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython

_WW = cython.declare(cython.int, 1)
_WR = cython.declare(cython.int, 2)
_RW = cython.declare(cython.int, 4)
_PROCESS = cython.declare(cython.int, 8)
_REALTIME = cython.declare(cython.int, 16)
_FREE = cython.declare(cython.int, 32)
_WW_BY_PROCESS = cython.declare(cython.int, 64)
_RW_BY_PROCESS = cython.declare(cython.int, 128)
_WW_BY_REALTIME = cython.declare(cython.int, 256)
_RW_BY_REALTIME = cython.declare(cython.int, 512)
_ANY_RW = cython.declare(cython.int, 4 | 128 | 512)
_ANY = cython.declare(cython.int, 1023)

_MOST_STEPS = cython.declare(cython.longlong, 4_000_000_000)

_G0 = cython.declare(cython.int, 0)
_G1C = cython.declare(cython.int, 1)
_SINGLE = cython.declare(cython.int, 2)
_NONADJACENT = cython.declare(cython.int, 3)
_G2 = cython.declare(cython.int, 4)


@cython.final
@cython.cclass
class Cycles:
    """Searches one component after the other. The arrays given are scratch space; see `cycles.py` for their sizes."""

    edge_first: cython.longlong[:]
    edge_target: cython.int[:]
    edge_kind: cython.char[:]
    edge_via: cython.int[:]
    component: cython.int[:]
    session: cython.int[:]
    rank: cython.int[:]
    invoked_first: cython.int[:]
    local: cython.int[:]
    last_of_session: cython.int[:]
    first: cython.longlong[:]
    target: cython.int[:]
    bit: cython.int[:]
    via: cython.int[:]
    names: cython.int[:]
    visited: cython.int[:]
    low: cython.int[:]
    stack: cython.int[:]
    path: cython.int[:]
    next_edge: cython.longlong[:]
    sub: cython.int[:]
    whole: cython.int[:]
    parent: cython.int[:]
    parent_edge: cython.longlong[:]
    stamp: cython.int[:]
    reach: cython.ulonglong[:]
    transactions: cython.int
    size: cython.int
    edges: cython.longlong
    searches: cython.int
    best: cython.int
    best_edges: list
    found: list
    undecided: list
    effort: cython.longlong
    patience: cython.longlong

    def __init__(self, graph: dict, scratch: dict, patience: int):
        self.edge_first = graph["edge_first"]
        self.edge_target = graph["edge_target"]
        self.edge_kind = graph["edge_kind"]
        self.edge_via = graph["edge_via"]
        self.component = graph["component"]
        self.session = graph["session"]
        self.rank = graph["rank"]
        self.invoked_first = graph["invoked_first"]
        self.local = scratch["local"]
        self.last_of_session = scratch["last_of_session"]
        self.first = scratch["first"]
        self.target = scratch["target"]
        self.bit = scratch["bit"]
        self.via = scratch["via"]
        self.names = scratch["names"]
        self.visited = scratch["visited"]
        self.low = scratch["low"]
        self.stack = scratch["stack"]
        self.path = scratch["path"]
        self.next_edge = scratch["next_edge"]
        self.sub = scratch["sub"]
        self.whole = scratch["whole"]
        self.parent = scratch["parent"]
        self.parent_edge = scratch["parent_edge"]
        self.stamp = scratch["stamp"]
        self.reach = scratch["reach"]
        self.searches = 0
        self.found = []
        self.undecided = []
        self.patience = patience

    def search(
        self,
        number: cython.int,
        members: cython.int[:],
        begin: cython.longlong,
        end: cython.longlong,
        ended: cython.int[:],
        ended_begin: cython.longlong,
        ended_end: cython.longlong,
        transactions: cython.int,
    ) -> None:
        """Looks through component `number`: nodes `members[begin:end]`, of which those below `transactions` are
        transactions, and their completions in order, `ended[ended_begin:ended_end]`.

        Appends to `found` tuples (component, transactions, kinds, vias) of the cycle, its edges leading from each
        transaction to the next, and to `undecided` tuples (component, class, variant).
        """
        variant: cython.int
        kind: cython.int
        # The least severe of what was found already, in each family: what is implied is not sought.
        least_information: cython.int = 2
        least_anti: cython.int = 5
        self._lay_out(number, members, begin, end, ended, ended_begin, ended_end, transactions)
        self._components(_ANY, False, self.whole)
        for variant in range(3):
            for kind in range(5):
                if kind <= _G1C:
                    if kind >= least_information:
                        continue
                elif kind >= least_anti:
                    continue
                if self._seek(number, kind, variant):
                    if kind <= _G1C:
                        least_information = kind
                    else:
                        least_anti = kind

    def results(self) -> tuple:
        """What was found, and what could not be decided."""
        return self.found, self.undecided

    @cython.cfunc
    def _edge(self, target: cython.int, bit: cython.int, via: cython.int) -> cython.void:
        if cython.compiled or self.edges < len(self.target):
            self.target[self.edges] = target
            self.bit[self.edges] = bit
            self.via[self.edges] = via
        else:
            self.target.append(target)
            self.bit.append(bit)
            self.via.append(via)
        self.edges += 1

    @cython.cfunc
    def _lay_out(
        self,
        number: cython.int,
        members: cython.int[:],
        begin: cython.longlong,
        end: cython.longlong,
        ended: cython.int[:],
        ended_begin: cython.longlong,
        ended_end: cython.longlong,
        transactions: cython.int,
    ) -> cython.void:
        """Copies the component's own edges, and adds those of sessions and real time between its transactions."""
        i: cython.longlong
        e: cython.longlong
        v: cython.int
        size: cython.int = end - begin
        completions: cython.int = ended_end - ended_begin
        count: cython.int = 0
        after: cython.int
        place: cython.int
        for i in range(begin, end):
            v = members[i]
            self.local[v] = i - begin
            self.names[i - begin] = v
            if v < transactions:
                count += 1
        # Who follows whom in a session: found backwards, kept in `low` for the pass below.
        for i in range(count - 1, -1, -1):
            v = self.names[i]
            self.low[i] = self.last_of_session[self.session[v]]
            self.last_of_session[self.session[v]] = i
        for i in range(count):
            self.last_of_session[self.session[self.names[i]]] = -1
        # The place of each completion: kept in `path`.
        for i in range(count):
            self.path[i] = -1
        for i in range(completions):
            self.path[self.local[ended[ended_begin + i]]] = size + i
        self.transactions = count
        self.size = size + completions
        self.edges = 0
        for i in range(size):
            self.first[i] = self.edges
            v = self.names[i]
            for e in range(self.edge_first[v], self.edge_first[v + 1]):
                if self.component[self.edge_target[e]] == number:
                    self._edge(self.local[self.edge_target[e]], 1 << self.edge_kind[e], self.edge_via[e])
            if i < count:
                if self.low[i] >= 0:
                    self._edge(self.low[i], _PROCESS, -1)
                if self.path[i] >= 0:
                    self._edge(self.path[i], _REALTIME, -1)
        place = 0
        if completions > 0:
            after = self.invoked_first[self.rank[ended[ended_begin]]]
            while place < count and self.names[place] < after:
                place += 1
        for i in range(completions):
            self.first[size + i] = self.edges
            if i + 1 < completions:
                self._edge(size + i + 1, _FREE, -1)
                after = self.invoked_first[self.rank[ended[ended_begin + i + 1]]]
            else:
                after = transactions
            while place < count and self.names[place] < after:
                self._edge(place, _FREE, -1)
                place += 1
        self.first[self.size] = self.edges

    @cython.cfunc
    def _components(self, mask: cython.int, doubled: cython.bint, numbers: cython.int[:]) -> cython.int:
        """Numbers the components of the edges in `mask` (Tarjan 1972): `numbers[2 * v + state]`, -1 for those of a
        single node; returns how many there are. A component has a higher number than those that it leads to."""
        i: cython.int
        root: cython.int
        x: cython.int
        y: cython.int
        v: cython.int
        state: cython.int
        bit: cython.int
        depth: cython.int
        waiting: cython.int = 0
        clock: cython.int = 0
        count: cython.int = 0
        e: cython.longlong
        for i in range(2 * self.size):
            self.visited[i] = 0
            numbers[i] = -1
        for root in range(self.transactions):
            if self.visited[2 * root] != 0:
                continue
            depth = 0
            x = 2 * root
            self.path[0] = x
            clock += 1
            self.visited[x] = clock
            self.low[x] = clock
            self.stack[waiting] = x
            waiting += 1
            self.next_edge[x] = self.first[root]
            while depth >= 0:
                x = self.path[depth]
                v = x >> 1
                state = x & 1
                e = self.next_edge[x]
                if e < self.first[v + 1]:
                    self.next_edge[x] = e + 1
                    bit = self.bit[e]
                    if not bit & mask:
                        continue
                    y = 2 * self.target[e]
                    if doubled:
                        if bit & _ANY_RW:
                            if state:
                                continue
                            y += 1
                        elif bit == _FREE:
                            y += state
                    if self.visited[y] == 0:
                        depth += 1
                        self.path[depth] = y
                        clock += 1
                        self.visited[y] = clock
                        self.low[y] = clock
                        self.stack[waiting] = y
                        waiting += 1
                        self.next_edge[y] = self.first[y >> 1]
                    elif self.visited[y] > 0 and self.visited[y] < self.low[x]:
                        self.low[x] = self.visited[y]
                    continue
                depth -= 1
                if depth >= 0 and self.low[x] < self.low[self.path[depth]]:
                    self.low[self.path[depth]] = self.low[x]
                if self.low[x] == self.visited[x]:
                    if self.stack[waiting - 1] == x:
                        waiting -= 1
                        self.visited[x] = -1
                        continue
                    while True:
                        waiting -= 1
                        y = self.stack[waiting]
                        self.visited[y] = -1
                        numbers[y] = count
                        if y == x:
                            break
                    count += 1
        return count

    @cython.cfunc
    def _seek(self, number: cython.int, kind: cython.int, variant: cython.int) -> cython.bint:
        """Whether there is a cycle of this kind; the shortest that was met goes to `found`."""
        mask: cython.int = _FREE | _WW
        anti: cython.int = _RW
        start: cython.int
        v: cython.int
        state: cython.int = 0
        e: cython.longlong
        numbers: cython.int[:] = self.sub
        doubled: cython.bint = _SINGLE <= kind <= _NONADJACENT
        complete: cython.bint = True
        shortest: cython.int = 4 if kind == _NONADJACENT else 2
        if variant >= 1:
            mask |= _PROCESS | _WW_BY_PROCESS
            anti |= _RW_BY_PROCESS
        if variant == 2:
            mask |= _REALTIME | _WW_BY_REALTIME
            anti |= _RW_BY_REALTIME
        start = mask & (_WW | _WW_BY_PROCESS | _WW_BY_REALTIME)
        if kind >= _G1C:
            mask |= _WR
            start = _WR
        if kind >= _SINGLE:
            start = anti
        if kind == _G2 and variant == 2:
            numbers = self.whole
        elif self._components(mask | (anti if kind >= _SINGLE else 0), doubled, numbers) == 0:
            return False
        if kind >= _NONADJACENT:
            mask |= anti
        if doubled:
            state = 1
        self.best = 2147483647
        self.best_edges = []
        self.effort = 0
        for v in range(self.transactions):
            if numbers[2 * v] < 0:
                continue
            for e in range(self.first[v], self.first[v + 1]):
                if not self.bit[e] & start or numbers[2 * self.target[e] + state] != numbers[2 * v]:
                    continue
                if self.effort > self.patience + 8 * self.edges and (self.best_edges or kind == _SINGLE):
                    complete = False
                    break
                self._shortest(v, e, mask, doubled, state, numbers)
                if self.best <= shortest:
                    break
            if self.best <= shortest or not complete:
                break
        if kind == _SINGLE and not self.best_edges and not complete:
            e = self._single(mask, anti, numbers)
            if e == -2:
                self.undecided.append((number, kind, variant))
            if e < 0:
                return False
            v = 0
            while self.first[v + 1] <= e:
                v += 1
            self._shortest(v, e, mask, True, 1, numbers)
        if not self.best_edges:
            return False
        self._report(number)
        return True

    @cython.cfunc
    def _shortest(
        self,
        source: cython.int,
        start: cython.longlong,
        mask: cython.int,
        doubled: cython.bint,
        state: cython.int,
        numbers: cython.int[:],
    ) -> cython.void:
        """Seeks the shortest way back to `source` from where its edge `start` leads, if shorter than the best so far.

        Free edges have no length. Nodes are left out that are not in the source's component.
        """
        x: cython.int
        y: cython.int
        v: cython.int
        bit: cython.int
        here: cython.int
        ahead: cython.int
        i: cython.int
        length: cython.int = 2
        goal: cython.int = 2 * source
        home: cython.int = numbers[2 * source]
        inside: cython.int
        e: cython.longlong
        self.searches += 1
        x = 2 * self.target[start] + state
        self.stamp[x] = self.searches
        self.parent[x] = -1
        self.parent_edge[x] = start
        # Nodes of the present distance fill `stack`, those of the next one `path`.
        self.stack[0] = x
        here = 1
        while here > 0 and length < self.best:
            ahead = 0
            i = 0
            while i < here:
                x = self.stack[i]
                i += 1
                v = x >> 1
                for e in range(self.first[v], self.first[v + 1]):
                    self.effort += 1
                    bit = self.bit[e]
                    if not bit & mask:
                        continue
                    y = 2 * self.target[e]
                    if doubled:
                        if bit & _ANY_RW:
                            if x & 1:
                                continue
                            y += 1
                        elif bit == _FREE:
                            y += x & 1
                    if self.stamp[y] == self.searches:
                        continue
                    inside = numbers[y]
                    if inside != home:
                        continue
                    self.stamp[y] = self.searches
                    self.parent[y] = x
                    self.parent_edge[y] = e
                    if y == goal:
                        self.best = length
                        self.best_edges = []
                        while y >= 0:
                            self.best_edges.append((y >> 1, self.parent_edge[y]))
                            y = self.parent[y]
                        self.best_edges.append((source, -1))
                        return
                    if bit == _FREE:
                        self.stack[here] = y
                        here += 1
                    else:
                        self.path[ahead] = y
                        ahead += 1
            for i in range(ahead):
                self.stack[i] = self.path[i]
            here = ahead
            length += 1

    @cython.cfunc
    def _single(self, mask: cython.int, anti: cython.int, numbers: cython.int[:]) -> cython.longlong:
        """An rw edge from whose target the other edges in `mask` lead back to its source; -1 if there is none, -2 if
        that would take too long to find out."""
        v: cython.int
        u: cython.int
        i: cython.int
        bits: cython.int
        e: cython.longlong
        candidates: cython.longlong = 0
        chosen = []
        for v in range(self.transactions):
            for e in range(self.first[v], self.first[v + 1]):
                if self.bit[e] & anti and 0 <= numbers[2 * v] == numbers[2 * self.target[e] + 1]:
                    chosen.append((v, e))
        candidates = len(chosen)
        if (candidates // 64 + 1) * self.edges > (_MOST_STEPS if cython.compiled else _MOST_STEPS // 100):
            return -2
        groups, leader = self._ordered(mask)
        for i in range(0, candidates, 64):
            for v in range(self.size):
                self.reach[v] = 0
            for bits, (_, e) in enumerate(chosen[i : i + 64]):
                self.reach[leader[self.target[e]]] |= cython.cast(cython.ulonglong, 1) << bits
            for group in groups:
                u = leader[group[0]]
                if self.reach[u] == 0:
                    continue
                for member in group:
                    v = member
                    for e in range(self.first[v], self.first[v + 1]):
                        if self.bit[e] & mask:
                            self.reach[leader[self.target[e]]] |= self.reach[u]
            for bits, (v, e) in enumerate(chosen[i : i + 64]):
                if self.reach[leader[v]] & (cython.cast(cython.ulonglong, 1) << bits):
                    return e
        return -1

    def _ordered(self, mask: cython.int) -> tuple:
        """The components of the edges in `mask`, those first from which others are reached; and of each node the one
        that stands for its component."""
        root: cython.int
        v: cython.int
        w: cython.int
        depth: cython.int
        waiting: cython.int = 0
        clock: cython.int = 0
        e: cython.longlong
        leader = [-1] * self.size
        groups = []
        for v in range(self.size):
            self.visited[v] = 0
        for root in range(self.size):
            if self.visited[root] != 0:
                continue
            depth = 0
            self.path[0] = root
            clock += 1
            self.visited[root] = clock
            self.low[root] = clock
            self.stack[waiting] = root
            waiting += 1
            self.next_edge[root] = self.first[root]
            while depth >= 0:
                v = self.path[depth]
                e = self.next_edge[v]
                if e < self.first[v + 1]:
                    self.next_edge[v] = e + 1
                    if not self.bit[e] & mask:
                        continue
                    w = self.target[e]
                    if self.visited[w] == 0:
                        depth += 1
                        self.path[depth] = w
                        clock += 1
                        self.visited[w] = clock
                        self.low[w] = clock
                        self.stack[waiting] = w
                        waiting += 1
                        self.next_edge[w] = self.first[w]
                    elif self.visited[w] > 0 and self.visited[w] < self.low[v]:
                        self.low[v] = self.visited[w]
                    continue
                depth -= 1
                if depth >= 0 and self.low[v] < self.low[self.path[depth]]:
                    self.low[self.path[depth]] = self.low[v]
                if self.low[v] == self.visited[v]:
                    group = []
                    while True:
                        waiting -= 1
                        w = self.stack[waiting]
                        self.visited[w] = -1
                        leader[w] = v
                        group.append(w)
                        if w == v:
                            break
                    groups.append(group)
        groups.reverse()
        return groups, leader

    @cython.cfunc
    def _report(self, number: cython.int) -> cython.void:
        """Turns the best way found into transactions and the edges between them."""
        transactions = []
        kinds = []
        vias = []
        bit: cython.int
        kind: cython.int = -1
        v: cython.int
        e: cython.longlong
        steps = self.best_edges[::-1]
        transactions.append(self.names[steps[0][0]])
        for node, edge in steps[1:]:
            v = node
            e = edge
            bit = self.bit[e]
            if bit != _FREE:
                kind = 0
                while bit > 1:
                    bit >>= 1
                    kind += 1
            if v < self.transactions:
                kinds.append(kind)
                vias.append(self.via[e])
                transactions.append(self.names[v])
        transactions.pop()
        self.found.append((number, tuple(transactions), tuple(kinds), tuple(vias)))
