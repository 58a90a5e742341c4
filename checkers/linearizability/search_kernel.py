"""The searches for a linearization, compiled: breadth first and depth first over the same configurations (a kernel: see
`results/kernels.py`).

Both are Lowe's just-in-time linearization, as `search.py` explains it with its four rules; that page is the plain form
for any width, this one has room for 64 calls open at a time and 64 bits for counting crashed ones. Beyond those rules:

5. Of open calls that act alike, the one that returns first takes effect first: exchange them in any order that does
   otherwise. Crashed calls that act alike come after those that return, and are counted, not told apart.
6. A crashed write is forgotten after the last return of a call that observes its value (`retire`).

Breadth first keeps all configurations between two returns; depth first walks through the returns with one, remembers
where it has been, and goes back when it is stuck. What it remembers are bits of open calls, so the memory of both does
not grow with the length of the history as long as little is tried in vain.
"""

# mypy: ignore-errors

from __future__ import annotations

from array import array

import cython

ALL = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)
SPREAD = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
MIX = cython.declare(cython.ulonglong, 0xBF58476D1CE4E5B9)
ONE = cython.declare(cython.ulonglong, 1)

NEVER = cython.declare(cython.int, -1)
UNKNOWN = cython.declare(cython.int, -2)
MANY = cython.declare(cython.int, -3)

PAUSED = 0
LEGAL = 1
ILLEGAL = 2
FULL = 3


def lay_out(
    start: cython.longlong[::1],
    end: cython.longlong[::1],
    returns: cython.longlong[::1],
    events: cython.int[::1],
    slots: cython.int[::1],
) -> int:
    """Puts invocations and returns in order and gives each call that returns a slot, free again after its return.

    `returns` are the rows of calls that return, by their return. `events` gets rows, `~row` for a return; `slots` the
    slot of each row, -1 for crashed calls, which have to have -1 there already and are recognised by it. Answers how
    many slots there are.
    """
    count: cython.Py_ssize_t = start.shape[0]
    ends: cython.Py_ssize_t = returns.shape[0]
    i: cython.Py_ssize_t = 0
    j: cython.Py_ssize_t = 0
    at: cython.Py_ssize_t = 0
    width: cython.int = 0
    free: list = []
    row: cython.Py_ssize_t
    for i in range(ends):
        slots[returns[i]] = 0
    i = 0
    while i < count or j < ends:
        if j >= ends or (i < count and start[i] < end[returns[j]]):
            if slots[i] >= 0:
                if free:
                    slots[i] = free.pop()
                else:
                    slots[i] = width
                    width += 1
            events[at] = i
            i += 1
        else:
            row = returns[j]
            free.append(slots[row])
            events[at] = -1 - row
            j += 1
        at += 1
    return width


@cython.final
@cython.cclass
class Pool:
    """Configurations without repetition: a state, the open calls that took effect, and how many crashed ones did.

    Of those that differ in the crashed ones only, it keeps the least (rule 4).
    """

    count: cython.Py_ssize_t
    room: cython.Py_ssize_t
    cells: cython.ulonglong
    now: cython.int
    guards: cython.ulonglong
    """The bit above each count of crashed calls."""
    state: cython.longlong[::1]
    live: cython.ulonglong[::1]
    crash: cython.ulonglong[::1]
    alive: cython.char[::1]
    chain: cython.int[::1]
    """The next with the same state and open calls, or -1."""
    link: cython.int[::1]
    """Where it stands in a list of work, or -1."""
    head: cython.int[::1]
    stamp: cython.int[::1]

    def __init__(self, guards):
        self.count = 0
        self.room = 64
        self.cells = 256
        self.now = 1
        self.guards = guards
        self.state = array("q", bytes(8 * 64))
        self.live = array("Q", bytes(8 * 64))
        self.crash = array("Q", bytes(8 * 64))
        self.alive = array("b", bytes(64))
        self.chain = array("i", bytes(4 * 64))
        self.link = array("i", bytes(4 * 64))
        self.head = array("i", bytes(4 * 256))
        self.stamp = array("i", bytes(4 * 256))

    @cython.cfunc
    @cython.exceptval(check=False)
    def size(self) -> cython.longlong:
        """Bytes that it takes."""
        return self.room * 33 + self.cells * 8

    @cython.cfunc
    @cython.exceptval(check=False)
    def clear(self) -> cython.void:
        self.count = 0
        self.now += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def place(self, state: cython.longlong, live: cython.ulonglong) -> cython.ulonglong:
        h: cython.ulonglong = (live ^ ((state + 1) * SPREAD & ALL)) * MIX & ALL
        h = (h ^ (h >> 29)) * SPREAD & ALL
        return (h ^ (h >> 32)) & (self.cells - 1)

    @cython.cfunc
    @cython.exceptval(-2)
    def add(self, state: cython.longlong, live: cython.ulonglong, crash: cython.ulonglong) -> cython.int:
        """Enters a configuration and answers its number; -1 if it is needless."""
        cell: cython.ulonglong = self.place(state, live)
        first: cython.int = -1
        other: cython.int
        before: cython.int
        guards: cython.ulonglong = self.guards
        number: cython.int
        while self.stamp[cell] == self.now:
            first = self.head[cell]
            if self.live[first] == live and self.state[first] == state:
                break
            first = -1
            cell = (cell + 1) & (self.cells - 1)
        if first >= 0:
            if guards == 0:
                return -1
            before = -1
            other = first
            while other >= 0:
                if ((crash | guards) - self.crash[other]) & guards == guards:
                    return -1
                if ((self.crash[other] | guards) - crash) & guards == guards:
                    self.alive[other] = 0
                    if before < 0:
                        first = self.chain[other]
                    else:
                        self.chain[before] = self.chain[other]
                else:
                    before = other
                other = self.chain[other]
        if self.count >= self.room:
            self.grow()
            cell = self.place(state, live)
            while self.stamp[cell] == self.now:
                other = self.head[cell]
                if self.live[other] == live and self.state[other] == state:
                    break
                cell = (cell + 1) & (self.cells - 1)
        number = cython.cast(cython.int, self.count)
        self.count += 1
        self.state[number] = state
        self.live[number] = live
        self.crash[number] = crash
        self.alive[number] = 1
        self.chain[number] = first
        self.head[cell] = number
        self.stamp[cell] = self.now
        return number

    @cython.cfunc
    def grow(self) -> cython.void:
        room: cython.Py_ssize_t = self.room
        i: cython.Py_ssize_t
        cell: cython.ulonglong
        more: cython.longlong[::1] = array("q", bytes(16 * room))
        more[:room] = self.state
        self.state = more
        wide: cython.ulonglong[::1] = array("Q", bytes(16 * room))
        wide[:room] = self.live
        self.live = wide
        wide = array("Q", bytes(16 * room))
        wide[:room] = self.crash
        self.crash = wide
        small: cython.char[::1] = array("b", bytes(2 * room))
        small[:room] = self.alive
        self.alive = small
        numbers: cython.int[::1] = array("i", bytes(8 * room))
        numbers[:room] = self.chain
        self.chain = numbers
        numbers = array("i", bytes(8 * room))
        numbers[:room] = self.link
        self.link = numbers
        old_head: cython.int[::1] = self.head
        old_stamp: cython.int[::1] = self.stamp
        old_cells: cython.Py_ssize_t = self.cells
        self.room = 2 * room
        self.cells = 2 * old_cells
        self.head = array("i", bytes(8 * old_cells))
        self.stamp = array("i", bytes(8 * old_cells))
        for i in range(old_cells):
            if old_stamp[i] == self.now:
                cell = self.place(self.state[old_head[i]], self.live[old_head[i]])
                while self.stamp[cell] == self.now:
                    cell = (cell + 1) & (self.cells - 1)
                self.stamp[cell] = self.now
                self.head[cell] = old_head[i]


@cython.cclass
class Walk:
    """What both searches share: the events, the calls open at the moment, and what can happen in a state."""

    # The calls, by row.
    events: cython.int[::1]
    slots: cython.int[::1]
    classes: cython.int[::1]
    start: cython.longlong[::1]
    end: cython.longlong[::1]
    event_count: cython.Py_ssize_t
    width: cython.int
    # The classes of calls.
    class_count: cython.Py_ssize_t
    still: cython.char[::1]
    """Whether calls of the class never change the state."""
    observed: cython.int[::1]
    """The state that calls of the class need; -1: any, and -2 - s: any but s."""
    written: cython.int[::1]
    """The state that they leave behind, or -1."""
    plain: cython.bint
    """Whether these two say all; else the model is asked, and its answers are remembered."""
    model: object
    """`model(state, class)` answers with the numbers of the states afterwards."""
    answers: cython.int[::1]
    """By state and class: the one state afterwards, `NEVER`, `UNKNOWN`, or a place in `several`, from `MANY` down."""
    answer_rows: cython.longlong
    remembered: dict
    several: list
    # Crashed calls, counted by class in fields of 64 bits.
    offset: cython.int[::1]
    field: cython.ulonglong[::1]
    """The bits of the class's count."""
    available: cython.longlong[::1]
    """How many were invoked so far."""
    retire_at: cython.longlong[::1]
    retire_class: cython.int[::1]
    retire_count: cython.Py_ssize_t
    retired: cython.Py_ssize_t
    crashed_now: cython.int[::1]
    """Classes with crashed calls that can still matter; the first `crashed_count`."""
    crashed_count: cython.int
    # What is open now.
    at: cython.Py_ssize_t
    """The next event."""
    open_class: cython.int[::1]
    """By slot: the class of the call that is open there, or -1."""
    open_end: cython.longlong[::1]
    sooner: cython.ulonglong[::1]
    """By slot: the open calls that act alike and return sooner (rule 5)."""
    # Figures.
    looked_at: cython.longlong
    most_bytes: cython.longlong
    stuck: cython.longlong
    state_count: cython.longlong

    def __init__(
        self,
        events,
        slots,
        classes,
        start,
        end,
        width,
        still,
        observed,
        written,
        model,
        state_count,
        offset,
        field,
        retire_at,
        retire_class,
        most_bytes,
    ):
        self.events = events
        self.slots = slots
        self.classes = classes
        self.start = start
        self.end = end
        self.event_count = len(events)
        self.width = width
        self.class_count = len(still)
        self.still = still
        self.observed = observed
        self.written = written
        self.plain = model is None
        self.model = model
        self.answer_rows = 0
        self.answers = array("i", [0])
        self.remembered = {}
        self.several = []
        self.offset = offset
        self.field = field
        self.available = array("q", bytes(8 * max(1, self.class_count)))
        self.retire_at = retire_at
        self.retire_class = retire_class
        self.retire_count = len(retire_at)
        self.retired = 0
        self.crashed_now = array("i", bytes(4 * (max(1, self.class_count))))
        self.crashed_count = 0
        self.at = 0
        self.open_class = array("i", [-1] * 64)
        self.open_end = array("q", bytes(8 * 64))
        self.sooner = array("Q", bytes(8 * 64))
        self.looked_at = 0
        self.most_bytes = most_bytes
        self.stuck = -1
        self.state_count = state_count

    @cython.cfunc
    @cython.exceptval(-2)
    def after(self, state: cython.longlong, class_: cython.int) -> cython.int:
        """The state after a call of the class; `NEVER`, or a place in `several` from `MANY` down."""
        observed: cython.int
        found: cython.int
        cell: cython.longlong
        if self.plain:
            observed = self.observed[class_]
            if observed >= 0:
                if state != observed:
                    return NEVER
            elif observed < -1 and state == -2 - observed:
                return NEVER
            found = self.written[class_]
            return cython.cast(cython.int, state) if found < 0 else found
        cell = state * self.class_count + class_
        if cell < self.answer_rows:
            found = self.answers[cell]
            if found != UNKNOWN:
                return found
            found = self.ask(state, class_)
            self.answers[cell] = found
            return found
        return self.ask_afar(state, class_, cell)

    @cython.cfunc
    @cython.exceptval(-2)
    def ask_afar(self, state: cython.longlong, class_: cython.int, cell: cython.longlong) -> cython.int:
        """Remembers in a table while that is small, else in a dict."""
        rows: cython.longlong = max(64 * self.class_count, 2 * self.answer_rows)
        i: cython.longlong
        if cell < rows and rows <= 4000000:
            fresh: cython.int[::1] = array("i", bytes(4 * rows))
            for i in range(self.answer_rows):
                fresh[i] = self.answers[i]
            for i in range(self.answer_rows, rows):
                fresh[i] = UNKNOWN
            self.answers = fresh
            self.answer_rows = rows
            return self.after(state, class_)
        found = self.remembered.get(cell)
        if found is None:
            found = self.remembered[cell] = self.ask(state, class_)
        return found

    @cython.cfunc
    @cython.exceptval(-2)
    def ask(self, state: cython.longlong, class_: cython.int) -> cython.int:
        nexts: tuple = self.model(state, class_)
        number: cython.int
        for after in nexts:
            if after >= self.state_count:
                self.state_count = after + 1
        if len(nexts) == 0:
            return NEVER
        if len(nexts) == 1:
            return nexts[0]
        number = MANY - len(self.several)
        self.several.append(nexts)
        return number

    @cython.cfunc
    def fits(self, state: cython.longlong) -> cython.ulonglong:
        """The open calls that change nothing and can happen in this state (rule 1)."""
        bits: cython.ulonglong = 0
        slot: cython.int
        class_: cython.int
        for slot in range(self.width):
            class_ = self.open_class[slot]
            if class_ >= 0 and self.still[class_] and self.after(state, class_) != NEVER:
                bits |= ONE << slot
        return bits

    @cython.cfunc
    @cython.exceptval(check=False)
    def open_call(self, slot: cython.int, class_: cython.int, end: cython.longlong) -> cython.void:
        other: cython.int
        self.sooner[slot] = 0
        for other in range(self.width):
            if self.open_class[other] == class_:
                if self.open_end[other] < end:
                    self.sooner[slot] |= ONE << other
                else:
                    self.sooner[other] |= ONE << slot
        self.open_class[slot] = class_
        self.open_end[slot] = end

    @cython.cfunc
    @cython.exceptval(check=False)
    def close_call(self, slot: cython.int) -> cython.void:
        other: cython.int
        class_: cython.int = self.open_class[slot]
        self.open_class[slot] = -1
        for other in range(self.width):
            if self.open_class[other] == class_:
                self.sooner[other] &= ALL ^ (ONE << slot)

    @cython.cfunc
    @cython.exceptval(check=False)
    def alike(self, class_: cython.int) -> cython.ulonglong:
        """The open calls of a class."""
        bits: cython.ulonglong = 0
        slot: cython.int
        for slot in range(self.width):
            if self.open_class[slot] == class_:
                bits |= ONE << slot
        return bits

    @cython.cfunc
    @cython.exceptval(check=False)
    def invoke(self, row: cython.Py_ssize_t) -> cython.void:
        class_: cython.int = self.classes[row]
        if self.slots[row] >= 0:
            self.open_call(self.slots[row], class_, self.end[row])
        else:
            if self.available[class_] == 0:
                self.crashed_now[self.crashed_count] = class_
                self.crashed_count += 1
            self.available[class_] += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def undo_invoke(self, row: cython.Py_ssize_t) -> cython.void:
        class_: cython.int = self.classes[row]
        if self.slots[row] >= 0:
            self.close_call(self.slots[row])
        else:
            self.available[class_] -= 1
            if self.available[class_] == 0:
                self.forget_class(class_)

    @cython.cfunc
    @cython.exceptval(check=False)
    def forget_class(self, class_: cython.int) -> cython.void:
        i: cython.int
        for i in range(self.crashed_count):
            if self.crashed_now[i] == class_:
                self.crashed_count -= 1
                self.crashed_now[i] = self.crashed_now[self.crashed_count]
                return

    @cython.cfunc
    @cython.exceptval(check=False)
    def moment(self) -> cython.longlong:
        """The time of the next event."""
        code: cython.int = self.events[self.at]
        return self.start[code] if code >= 0 else self.end[-1 - code]


@cython.final
@cython.cclass
class Breadth(Walk):
    """Keeps all configurations that explain the events so far."""

    frontier: Pool
    seen: Pool
    out: Pool
    row: cython.longlong
    """The row whose return is looked at, or -1 between returns."""
    level: cython.int
    """How many crashed calls those used that are extended now (those with few go first)."""
    levels: cython.int[::1]
    """By that number, the first configuration in `seen` to be extended."""
    level_room: cython.Py_ssize_t
    deepest: cython.int
    state_room: cython.longlong
    move_room: cython.Py_ssize_t
    # What can happen in a state at the return that is looked at.
    epoch: cython.int
    fit_epoch: cython.int[::1]
    fit: cython.ulonglong[::1]
    move_epoch: cython.int[::1]
    move_first: cython.int[::1]
    move_last: cython.int[::1]
    moves: cython.int
    look: cython.ulonglong[::1]
    want: cython.ulonglong[::1]
    gain: cython.ulonglong[::1]
    becomes: cython.longlong[::1]
    field_of: cython.ulonglong[::1]
    one_of: cython.ulonglong[::1]
    most_of: cython.ulonglong[::1]

    def __init__(self, guards, start_states, *rest):
        Walk.__init__(self, *rest)
        self.frontier = Pool(guards)
        self.seen = Pool(guards)
        self.out = Pool(guards)
        for state in start_states:
            self.frontier.add(state, 0, 0)
        self.row = -1
        self.level = 0
        self.levels = array("i", [-1] * 16)
        self.level_room = 16
        self.deepest = -1
        self.epoch = 0
        self.make_states(max(16, self.state_count))
        self.moves = 0
        self.make_moves(64)

    @cython.cfunc
    def make_states(self, room: cython.longlong) -> cython.void:
        """Room for what is known of each state; what was known is lost, and is found out again."""
        self.state_room = room
        self.fit_epoch = array("i", bytes(4 * room))
        self.fit = array("Q", bytes(8 * room))
        self.move_epoch = array("i", bytes(4 * room))
        self.move_first = array("i", bytes(4 * room))
        self.move_last = array("i", bytes(4 * room))

    @cython.cfunc
    def make_moves(self, room: cython.Py_ssize_t) -> cython.void:
        """Twice the room for moves, or the first."""
        self.move_room = room
        if self.moves == 0:
            self.look = array("Q", bytes(8 * room))
            self.want = array("Q", bytes(8 * room))
            self.gain = array("Q", bytes(8 * room))
            self.becomes = array("q", bytes(8 * room))
            self.field_of = array("Q", bytes(8 * room))
            self.one_of = array("Q", bytes(8 * room))
            self.most_of = array("Q", bytes(8 * room))
            return
        more = array("Q", self.look)
        more.extend(array("Q", bytes(8 * (room - len(more)))))
        self.look = more
        more = array("Q", self.want)
        more.extend(array("Q", bytes(8 * (room - len(more)))))
        self.want = more
        more = array("Q", self.gain)
        more.extend(array("Q", bytes(8 * (room - len(more)))))
        self.gain = more
        more = array("q", self.becomes)
        more.extend(array("q", bytes(8 * (room - len(more)))))
        self.becomes = more
        more = array("Q", self.field_of)
        more.extend(array("Q", bytes(8 * (room - len(more)))))
        self.field_of = more
        more = array("Q", self.one_of)
        more.extend(array("Q", bytes(8 * (room - len(more)))))
        self.one_of = more
        more = array("Q", self.most_of)
        more.extend(array("Q", bytes(8 * (room - len(more)))))
        self.most_of = more

    def figures(self) -> tuple:
        """Configurations looked at, those held now, bytes in use, and the row whose return cannot be explained."""
        held = self.frontier.count + self.seen.count + self.out.count
        return self.looked_at, held, self.bytes_used(), self.stuck

    def needs(self) -> float:
        """How many configurations the whole history will take, if it goes on as it did."""
        return self.looked_at * (self.event_count / self.at) if self.at else 0.0

    @cython.cfunc
    def bytes_used(self) -> cython.longlong:
        pools: cython.longlong = self.frontier.size() + self.seen.size() + self.out.size()
        return pools + 32 * len(self.remembered) + 4 * self.answer_rows + 24 * self.state_room

    def run(self, most: cython.longlong) -> int:
        """Goes on until it is decided, or `most` configurations were looked at in all."""
        code: cython.int
        while True:
            if self.row >= 0:
                if not self.extend(most):
                    return FULL if self.bytes_used() > self.most_bytes else PAUSED
                if not self.finish():
                    return ILLEGAL
            if self.at >= self.event_count:
                return LEGAL
            if self.retired < self.retire_count:
                self.retire()
            code = self.events[self.at]
            self.at += 1
            if code >= 0:
                self.invoke(code)
                continue
            self.row = -1 - code
            self.split()
            if self.looked_at >= most:
                return PAUSED

    @cython.cfunc
    def retire(self) -> cython.void:
        """Forgets crashed calls that cannot matter any more (rule 6)."""
        now: cython.longlong = self.moment()
        class_: cython.int
        keep: cython.ulonglong
        i: cython.Py_ssize_t
        while self.retired < self.retire_count and self.retire_at[self.retired] < now:
            class_ = self.retire_class[self.retired]
            self.retired += 1
            self.forget_class(class_)
            keep = ALL ^ self.field[class_]
            for i in range(self.frontier.count):
                self.frontier.crash[i] &= keep

    @cython.cfunc
    def fit_of(self, state: cython.longlong) -> cython.ulonglong:
        if state >= self.state_room:
            self.make_states(2 * max(self.state_count, state + 1))
        if self.fit_epoch[state] != self.epoch:
            self.fit[state] = self.fits(state)
            if state >= self.state_room:
                self.make_states(2 * self.state_count)
            self.fit_epoch[state] = self.epoch
        return self.fit[state]

    @cython.cfunc
    def queue(self, number: cython.int, level: cython.int) -> cython.void:
        """Puts a configuration of `seen` on the list of those to be extended."""
        if level >= self.level_room:
            more = array("i", self.levels)
            more.extend([-1] * (2 * level - len(more)))
            self.levels = more
            self.level_room = len(more)
        self.seen.link[number] = self.levels[level]
        self.levels[level] = number
        if level > self.deepest:
            self.deepest = level

    @cython.cfunc
    @cython.exceptval(check=False)
    def used(self, crash: cython.ulonglong) -> cython.int:
        """How many crashed calls a configuration used."""
        total: cython.ulonglong = 0
        i: cython.int
        class_: cython.int
        if crash == 0:
            return 0
        for i in range(self.crashed_count):
            class_ = self.crashed_now[i]
            total += (crash & self.field[class_]) >> self.offset[class_]
        return cython.cast(cython.int, total)

    @cython.cfunc
    def split(self) -> cython.void:
        """At the return of a call: configurations that have it behind go to `out`, those that lack it to `seen`."""
        bit: cython.ulonglong = ONE << self.slots[self.row]
        i: cython.Py_ssize_t
        live: cython.ulonglong
        number: cython.int
        state: cython.longlong
        frontier: Pool = self.frontier
        self.epoch += 1
        self.moves = 0
        self.seen.clear()
        self.out.clear()
        self.level = 0
        self.deepest = -1
        for i in range(frontier.count):
            if not frontier.alive[i]:
                continue
            state = frontier.state[i]
            live = frontier.live[i] | self.fit_of(state)
            self.looked_at += 1
            if live & bit:
                self.out.add(state, live ^ bit, frontier.crash[i])
            else:
                number = self.seen.add(state, live, frontier.crash[i])
                if number >= 0:
                    self.queue(number, self.used(frontier.crash[i]))

    @cython.cfunc
    def extend(self, most: cython.longlong) -> cython.bint:
        """Lets open calls take effect, in every order, until the one that returns has; whether that is done."""
        bit: cython.ulonglong = ONE << self.slots[self.row]
        number: cython.int
        fresh: cython.int
        live: cython.ulonglong
        crash: cython.ulonglong
        gained: cython.ulonglong
        state: cython.longlong
        becomes: cython.longlong
        move: cython.int
        seen: Pool = self.seen
        since: cython.int = 0
        while self.level <= self.deepest:
            number = self.levels[self.level]
            if number < 0:
                self.level += 1
                continue
            if self.looked_at >= most:
                return False
            since += 1
            if since & 255 == 0 and self.bytes_used() > self.most_bytes:
                return False
            self.levels[self.level] = seen.link[number]
            if not seen.alive[number]:
                continue
            state = seen.state[number]
            live = seen.live[number]
            crash = seen.crash[number]
            self.looked_at += 1
            if state >= self.state_room or self.move_epoch[state] != self.epoch:
                self.find_moves(state)
            for move in range(self.move_first[state], self.move_last[state]):
                if live & self.look[move] != self.want[move]:
                    continue
                becomes = self.becomes[move]
                gained = live | self.gain[move]
                if self.field_of[move]:
                    if crash & self.field_of[move] >= self.most_of[move]:
                        continue
                    if gained & bit:
                        self.out.add(becomes, gained ^ bit, crash + self.one_of[move])
                    else:
                        fresh = seen.add(becomes, gained, crash + self.one_of[move])
                        if fresh >= 0:
                            self.queue(fresh, self.level + 1)
                elif gained & bit:
                    self.out.add(becomes, gained ^ bit, crash)
                else:
                    fresh = seen.add(becomes, gained, crash)
                    if fresh >= 0:
                        self.queue(fresh, self.level)
        return True

    @cython.cfunc
    def finish(self) -> cython.bint:
        """Those that have the returning call behind are the new frontier; whether there are any."""
        swapped: Pool = self.frontier
        self.close_call(self.slots[self.row])
        if self.out.count == 0:
            self.stuck = self.row
            return False
        self.frontier = self.out
        self.out = swapped
        self.row = -1
        return True

    @cython.cfunc
    def find_moves(self, state: cython.longlong) -> cython.void:
        """What can happen next in a state."""
        slot: cython.int
        class_: cython.int
        after: cython.int
        i: cython.int
        first: cython.int = self.moves
        bit: cython.ulonglong
        for slot in range(self.width):
            class_ = self.open_class[slot]
            if class_ < 0 or self.still[class_]:
                continue
            after = self.after(state, class_)
            if after == NEVER:
                continue
            bit = ONE << slot
            if after >= 0:
                self.add_move(self.sooner[slot] | bit, self.sooner[slot], bit, after, -1)
            else:
                for choice in self.several[MANY - after]:
                    self.add_move(self.sooner[slot] | bit, self.sooner[slot], bit, choice, -1)
        for i in range(self.crashed_count):
            class_ = self.crashed_now[i]
            after = self.after(state, class_)
            if after == NEVER:
                continue
            bit = self.alike(class_)
            if after >= 0:
                if after != state:  # Rule 3.
                    self.add_move(bit, bit, 0, after, class_)
            else:
                for choice in self.several[MANY - after]:
                    if choice != state:
                        self.add_move(bit, bit, 0, choice, class_)
        if state >= self.state_room:
            self.make_states(2 * max(self.state_count, state + 1))
        self.move_epoch[state] = self.epoch
        self.move_first[state] = first
        self.move_last[state] = self.moves

    @cython.cfunc
    def add_move(
        self,
        look: cython.ulonglong,
        want: cython.ulonglong,
        gain: cython.ulonglong,
        becomes: cython.longlong,
        class_: cython.int,
    ) -> cython.void:
        move: cython.int = self.moves
        if move >= self.move_room:
            self.make_moves(2 * self.move_room)
        self.moves += 1
        self.look[move] = look
        self.want[move] = want
        self.becomes[move] = becomes
        self.gain[move] = gain | self.fit_of(becomes)
        if class_ < 0:
            self.field_of[move] = 0
        else:
            self.field_of[move] = self.field[class_]
            self.one_of[move] = ONE << self.offset[class_]
            self.most_of[move] = cython.cast(cython.ulonglong, self.available[class_]) << self.offset[class_]


@cython.final
@cython.cclass
class Depth(Walk):
    """Follows one configuration through the returns, and goes back when it is stuck."""

    visited: Pool
    depth: cython.Py_ssize_t
    """Frames on the stack: choices that may have to be made otherwise."""
    frame_room: cython.Py_ssize_t
    at_of: cython.longlong[::1]
    """Of each frame: the return event before which the choice is made."""
    state_of: cython.longlong[::1]
    live_of: cython.ulonglong[::1]
    crash_of: cython.ulonglong[::1]
    cursor_of: cython.int[::1]
    """The next choice: the slot of the returning call, then all slots, then the crashed classes."""
    choice_of: cython.int[::1]
    """Of a choice that can end in several states, the next of them."""
    crashed_total: cython.Py_ssize_t
    crashed_list: cython.int[::1]
    """All classes that have crashed calls."""
    until: cython.longlong[::1]
    """By class: when its crashed calls can no longer matter."""
    starts: list
    furthest: cython.Py_ssize_t

    def __init__(self, guards, start_states, crashed_list, until, *rest):
        Walk.__init__(self, *rest)
        self.visited = Pool(guards)
        self.depth = 0
        self.make_frames(64)
        self.crashed_list = crashed_list
        self.crashed_total = len(crashed_list)
        self.until = until
        self.starts = list(start_states)
        self.furthest = 0

    @cython.cfunc
    def make_frames(self, room: cython.Py_ssize_t) -> cython.void:
        depth: cython.Py_ssize_t = self.depth
        self.frame_room = room
        wide: cython.longlong[::1] = array("q", bytes(8 * room))
        if depth:
            wide[:depth] = self.at_of
        self.at_of = wide
        wide = array("q", bytes(8 * room))
        if depth:
            wide[:depth] = self.state_of
        self.state_of = wide
        masks: cython.ulonglong[::1] = array("Q", bytes(8 * room))
        if depth:
            masks[:depth] = self.live_of
        self.live_of = masks
        masks = array("Q", bytes(8 * room))
        if depth:
            masks[:depth] = self.crash_of
        self.crash_of = masks
        numbers: cython.int[::1] = array("i", bytes(4 * room))
        if depth:
            numbers[:depth] = self.cursor_of
        self.cursor_of = numbers
        numbers = array("i", bytes(4 * room))
        if depth:
            numbers[:depth] = self.choice_of
        self.choice_of = numbers

    def figures(self) -> tuple:
        """Configurations looked at, those held now, bytes in use, and the row whose return cannot be explained."""
        return self.looked_at, self.visited.count, self.bytes_used(), self.stuck

    @cython.cfunc
    def bytes_used(self) -> cython.longlong:
        frames: cython.longlong = 40 * self.frame_room
        return self.visited.size() + frames + 32 * len(self.remembered) + 4 * self.answer_rows

    def run(self, most: cython.longlong) -> int:
        """Goes on until it is decided, or `most` configurations were looked at in all."""
        since: cython.int = 0
        while True:
            if self.depth == 0:
                if not self.starts:
                    code: cython.int = self.events[self.furthest]
                    self.stuck = -1 - code
                    return ILLEGAL
                self.go_back(0)
                if self.arrive(self.starts.pop(), 0, 0):
                    return LEGAL
                continue
            if self.looked_at >= most:
                return PAUSED
            since += 1
            if since & 255 == 0 and self.bytes_used() > self.most_bytes:
                return FULL
            if self.choose():
                return LEGAL

    @cython.cfunc
    def arrive(self, state: cython.longlong, live: cython.ulonglong, crash: cython.ulonglong) -> cython.bint:
        """Takes a configuration on until a choice has to be made; whether the history ends before that."""
        code: cython.int
        bit: cython.ulonglong
        row: cython.Py_ssize_t
        now: cython.longlong
        while self.at < self.event_count:
            now = self.moment()
            while self.retired < self.retire_count and self.retire_at[self.retired] < now:
                crash &= ALL ^ self.field[self.retire_class[self.retired]]
                self.retired += 1
            code = self.events[self.at]
            if code >= 0:
                self.invoke(code)
                self.at += 1
                continue
            row = -1 - code
            bit = ONE << self.slots[row]
            live |= self.fits(state)
            if live & bit:
                live ^= bit
                self.close_call(self.slots[row])
                self.at += 1
                continue
            if self.at > self.furthest:
                self.furthest = self.at
            self.visit(state, live, crash)
            return False
        return True

    @cython.cfunc
    def visit(self, state: cython.longlong, live: cython.ulonglong, crash: cython.ulonglong) -> cython.void:
        """Begins to choose for a configuration, unless one as good was here before."""
        frame: cython.Py_ssize_t
        self.looked_at += 1
        if self.visited.add((self.at << 32) | state, live, crash) < 0:
            return
        frame = self.depth
        if frame >= self.frame_room:
            self.make_frames(2 * frame)
        self.depth += 1
        self.at_of[frame] = self.at
        self.state_of[frame] = state
        self.live_of[frame] = live
        self.crash_of[frame] = crash
        self.cursor_of[frame] = -1
        self.choice_of[frame] = 0

    @cython.cfunc
    def go_back(self, at: cython.Py_ssize_t) -> cython.void:
        """Undoes the events from `at` on."""
        code: cython.int
        row: cython.Py_ssize_t
        now: cython.longlong
        while self.at > at:
            self.at -= 1
            code = self.events[self.at]
            if code >= 0:
                self.undo_invoke(code)
            else:
                row = -1 - code
                self.open_call(self.slots[row], self.classes[row], self.end[row])
        if self.retired and self.at < self.event_count:
            now = self.moment()
            while self.retired and self.retire_at[self.retired - 1] >= now:
                self.retired -= 1

    @cython.cfunc
    def choose(self) -> cython.bint:
        """Makes the next choice of the last frame; whether that decides the history."""
        frame: cython.Py_ssize_t = self.depth - 1
        cursor: cython.int
        slot: cython.int
        own: cython.int
        class_: cython.int
        after: cython.int
        choice: cython.int
        state: cython.longlong
        live: cython.ulonglong
        crash: cython.ulonglong
        bit: cython.ulonglong
        now: cython.longlong
        self.go_back(self.at_of[frame])
        now = self.moment()
        own = self.slots[-1 - self.events[self.at]]
        state = self.state_of[frame]
        live = self.live_of[frame]
        crash = self.crash_of[frame]
        while True:
            cursor = self.cursor_of[frame]
            bit = 0
            slot = own if cursor < 0 else cursor
            if cursor < self.width:
                class_ = self.open_class[slot]
                bit = ONE << slot
                if (
                    (cursor == own)
                    or class_ < 0
                    or live & bit
                    or self.still[class_]
                    or live & self.sooner[slot] != self.sooner[slot]
                ):
                    self.cursor_of[frame] += 1
                    continue
            else:
                if cursor - self.width >= self.crashed_total:
                    self.depth -= 1
                    return False
                class_ = self.crashed_list[cursor - self.width]
                if (
                    self.until[class_] < now
                    or (crash & self.field[class_]) >> self.offset[class_]
                    >= cython.cast(cython.ulonglong, self.available[class_])
                    or live & self.alike(class_) != self.alike(class_)
                ):
                    self.cursor_of[frame] += 1
                    continue
            after = self.after(state, class_)
            if after >= 0 or after == NEVER:
                self.cursor_of[frame] += 1
            else:
                nexts: tuple = self.several[MANY - after]
                choice = self.choice_of[frame]
                after = nexts[choice]
                self.choice_of[frame] += 1
                if choice + 1 == len(nexts):
                    self.choice_of[frame] = 0
                    self.cursor_of[frame] += 1
            if after == NEVER or (bit == 0 and after == state):
                continue
            if bit == 0:
                crash += ONE << self.offset[class_]
            live |= bit
            live |= self.fits(after)
            bit = ONE << own
            if live & bit:
                self.close_call(own)
                self.at += 1
                return self.arrive(after, live ^ bit, crash)
            self.visit(after, live, crash)
            return False
