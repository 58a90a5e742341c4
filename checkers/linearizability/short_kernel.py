"""Registers of few calls: whether some order of them is possible, and which few show that none is (a kernel: see
`results/kernels.py`).

The search is the breadth-first one of `search.py`, with its four rules and the two of `search_kernel.py`. It has no
layout and no tables, so a history of a hundred calls is judged before another search is set up, and one call less is
judged as soon as it is asked for. Crashed calls have a bit each. What takes more than 64 calls open at a time, or 64
crashed ones, or more configurations than allowed, is left to others.

What evidence may leave out, and in which order that is tried, is what `explain.py` says; that page is the plain form,
for any model.
"""

# mypy: ignore-errors

from __future__ import annotations

from array import array

import cython

FOREVER = cython.declare(cython.longlong, 1 << 62)
ALL = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)
SPREAD = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
ONE = cython.declare(cython.ulonglong, 1)
NONE = cython.declare(cython.int, -1)
MOST_OPEN = cython.declare(cython.int, 64)

LEGAL = -1
"""Instead of the call at whose return no order is left."""
LEFT = -3
"""The same when the search was given up."""
_LEGAL = cython.declare(cython.int, -1)
_LEFT = cython.declare(cython.int, -3)

OK = cython.declare(cython.int, 1)
FAIL = cython.declare(cython.int, 2)
EFFORT = cython.declare(cython.longlong, 50000)
"""Configurations that judging one candidate for the evidence may cost."""


@cython.final
@cython.cclass
class ShortRegister:
    """The calls of one register that matter to it, and searches among any of them."""

    count: cython.int
    row: cython.longlong[::1]
    """Of each call its position in the columns that it was taken from."""
    start: cython.longlong[::1]
    end: cython.longlong[::1]
    """`FOREVER` if it crashed, or counts as crashed in the candidate that is judged."""
    observed: cython.int[::1]
    """The value that the register must have before; -1: any, and -2 - v: any but v."""
    written: cython.int[::1]
    """The value that it has after, or -1 if the call changes nothing."""
    named: cython.int[::1]
    """Of a cas, the value that it asked for, even if that is the one that was there; else -1."""
    lapse: cython.longlong[::1]
    """Of a crashed call, the last return of a call that may need what it wrote."""
    has_unequal: cython.bint
    initial: cython.int
    values: cython.int
    """How many there are; this number stands for any other value."""
    looked_at: cython.longlong
    # The calls that are judged: the first `size`, in the order of invocation.
    part: cython.int[::1]
    size: cython.int
    kept: cython.int[::1]
    marks: cython.int[::1]
    """By value: set to `mark` if the value is in the set at hand."""
    mark: cython.int
    gone: cython.char[::1]
    # Open calls, by slot; crashed ones, by bit.
    open_mask: cython.ulonglong
    still_mask: cython.ulonglong
    """The open calls that change nothing."""
    open_call: cython.int[::1]
    sooner: cython.ulonglong[::1]
    """By slot: the open calls that act alike and return sooner (rule 5)."""
    crash_mask: cython.ulonglong
    crash_call: cython.int[::1]
    before: cython.ulonglong[::1]
    """By bit: the crashed calls that act alike and began earlier (rule 2)."""
    # The configurations before a return, and those that are made at it.
    frontier: cython.int
    front_state: cython.int[::1]
    front_live: cython.ulonglong[::1]
    front_crash: cython.ulonglong[::1]
    made: cython.int
    room: cython.int
    place: cython.int[::1]
    """Twice the state, and one more if the returning call has taken effect."""
    live: cython.ulonglong[::1]
    crash: cython.ulonglong[::1]
    beaten: cython.char[::1]
    chain: cython.int[::1]
    """The next with the same place and open calls, or -1."""
    head: cython.int[::1]
    stamp: cython.int[::1]
    now: cython.int

    def __init__(
        self,
        rows,
        start: cython.longlong[::1],
        end: cython.longlong[::1],
        type_: cython.char[::1],
        function: cython.int[::1],
        argument: cython.int[::1],
        second: cython.int[::1],
        result: cython.int[::1],
        names: tuple,
        failed_cas: cython.bint,
        initial: cython.int,
        values: cython.int,
    ):
        """Takes the calls at `rows` (all if None) from columns. `names` are the numbers of the functions read, write
        and cas, -1 for one that there is not; failed cas are kept if `failed_cas`, as they say something."""
        most: cython.Py_ssize_t = start.shape[0] if cython.compiled else len(start)
        some: cython.bint = rows is not None
        wanted: cython.longlong[::1]
        read: cython.int = names[0]
        cas: cython.int = names[2]
        number: cython.Py_ssize_t
        at: cython.Py_ssize_t
        n: cython.int = 0
        if some:
            wanted = rows
            most = len(rows)
        self.row = array("q", bytes(8 * most))
        self.start = array("q", bytes(8 * most))
        self.end = array("q", bytes(8 * most))
        self.observed = array("i", bytes(4 * most))
        self.written = array("i", bytes(4 * most))
        self.named = array("i", bytes(4 * most))
        self.has_unequal = False
        for number in range(most):
            at = wanted[number] if some else number
            self.observed[n] = NONE
            self.written[n] = NONE
            self.named[n] = NONE
            if function[at] == read:
                if type_[at] != OK:
                    continue
                self.observed[n] = result[at]
            elif function[at] != cas:
                if type_[at] == FAIL:
                    continue
                self.written[n] = argument[at]
            elif type_[at] == FAIL:
                if not failed_cas:
                    continue
                self.observed[n] = -2 - argument[at]
                self.has_unequal = True
            else:
                self.observed[n] = argument[at]
                self.named[n] = second[at]
                if argument[at] != second[at]:
                    self.written[n] = second[at]
            self.row[n] = at
            self.start[n] = start[at]
            self.end[n] = end[at]
            n += 1
        self.count = n
        self.end = self.end[:n]
        self.observed = self.observed[:n]
        self.written = self.written[:n]
        self.initial = initial
        self.values = values
        self.looked_at = 0
        self.lapse = array("q", bytes(8 * n))
        self.part = array("i", bytes(4 * n))
        self.open_call = array("i", bytes(4 * 64))
        self.sooner = array("Q", bytes(8 * 64))
        self.crash_call = array("i", bytes(4 * 64))
        self.before = array("Q", bytes(8 * 64))
        self.size = 0
        self.now = 0
        self.made = 0
        self.frontier = 0
        self.room = 0
        self.make_room(64)

    def rows(self) -> array:
        """The positions of the calls that matter."""
        found = array("q", bytes(8 * self.count))
        out: cython.longlong[::1] = found
        i: cython.int
        for i in range(self.count):
            out[i] = self.row[i]
        return found

    def work(self) -> int:
        """Configurations looked at in the last search."""
        return self.looked_at

    def writers_of(self, value: cython.int) -> list:
        """The events that invoked and completed each call that wrote, or may have written, a value."""
        i: cython.int
        found: list = []
        for i in range(self.count):
            if self.written[i] == value:
                found.append((self.start[i], self.end[i]))
        return found

    def was_seen(self, value: cython.int) -> bool:
        """Whether an ok call observed a value."""
        i: cython.int
        for i in range(self.count):  # noqa: SIM110 - compiled, a loop makes no generator.
            if self.observed[i] == value and self.end[i] < FOREVER:
                return True
        return False

    def last_write(self) -> int:
        """When the last call that changes something was invoked; -1 if there is none."""
        i: cython.int
        for i in range(self.count - 1, -1, -1):
            if self.written[i] >= 0:
                return self.start[i]
        return -1

    def is_ambiguous(self) -> bool:
        """Whether zones do not decide it: a value that an ok call observed was written twice, or was there at first
        and written, or some call only says what the value was not."""
        i: cython.int
        if self.has_unequal:
            return True
        writers: cython.int[::1] = array("i", bytes(4 * (self.values + 1)))
        writers[self.initial] = 1
        for i in range(self.count):
            if self.written[i] >= 0:
                writers[self.written[i]] += 1
        for i in range(self.count):
            if self.observed[i] >= 0 and self.end[i] < FOREVER and writers[self.observed[i]] > 1:
                return True
        return False

    def judge(self, most: cython.longlong) -> int:
        """`LEGAL` if all calls can be put in order, `LEFT` if it would take more than `most` configurations to know;
        else the position in the columns of the call at whose return no order is left."""
        i: cython.int
        found: cython.int
        self.size = 0
        self.find_lapses()
        for i in range(self.count):
            if self.end[i] < FOREVER or (self.written[i] >= 0 and self.lapse[i] > self.start[i]):
                self.part[self.size] = i
                self.size += 1
        self.looked_at = 0
        found = self.search(False, most)
        return found if found < 0 else self.row[found]

    @cython.cfunc
    def find_lapses(self) -> cython.void:
        """Sets until when each crashed call can matter; forever if calls may tell it from all others."""
        i: cython.int
        j: cython.int
        changed: cython.bint = not self.has_unequal
        crashed: list = []
        for i in range(self.count):
            self.lapse[i] = FOREVER
            if self.end[i] >= FOREVER and self.written[i] >= 0 and changed:
                crashed.append(i)
                self.lapse[i] = -1
                for j in range(self.count):
                    if self.observed[j] == self.written[i] and self.lapse[i] < self.end[j] < FOREVER:
                        self.lapse[i] = self.end[j]
        while changed:
            changed = False
            for i in crashed:
                for j in crashed:
                    if self.observed[j] == self.written[i] and self.lapse[j] > self.lapse[i]:
                        self.lapse[i] = self.lapse[j]
                        changed = True

    # The search.

    @cython.cfunc
    @cython.exceptval(-2)
    def search(self, any_state: cython.bint, most: cython.longlong) -> cython.int:
        """Judges the calls of `part`; answers `LEGAL`, `LEFT`, or the call whose return cannot be explained."""
        i: cython.int = 0
        call: cython.int
        slot: cython.int
        next_slot: cython.int = -1
        next_end: cython.longlong = FOREVER
        most = self.looked_at + most
        self.open_mask = 0
        self.still_mask = 0
        self.crash_mask = 0
        self.begin(any_state)
        while True:
            if i < self.size and self.start[self.part[i]] < next_end:
                call = self.part[i]
                i += 1
                if self.end[call] >= FOREVER:
                    if self.written[call] >= 0 and not self.add_crashed(call):
                        return _LEFT
                    continue
                slot = self.add_open(call)
                if slot < 0:
                    return _LEFT
                if self.end[call] < next_end:
                    next_end = self.end[call]
                    next_slot = slot
                continue
            if next_slot < 0:
                return _LEGAL
            call = self.open_call[next_slot]
            if self.crash_mask:
                self.retire(next_end)
            if not self.take_back(next_slot, most):
                return _LEFT
            if self.frontier == 0:
                return call
            self.open_mask ^= ONE << next_slot
            self.still_mask &= self.open_mask
            next_slot = -1
            next_end = FOREVER
            for slot in range(MOST_OPEN):
                if not self.open_mask >> slot:
                    break
                if self.open_mask >> slot & 1:
                    self.sooner[slot] &= self.open_mask
                    if self.end[self.open_call[slot]] < next_end:
                        next_end = self.end[self.open_call[slot]]
                        next_slot = slot

    @cython.cfunc
    def begin(self, any_state: cython.bint) -> cython.void:
        """Makes the first configurations: the initial state, or all states that could matter."""
        i: cython.int
        value: cython.int
        self.frontier = 0
        if not any_state:
            self.add_front(self.initial, 0, 0)
            return
        self.mark += 1
        for i in range(self.size):
            value = self.observed[self.part[i]]
            if value < NONE:
                value = -2 - value
            if value >= 0 and self.marks[value] != self.mark:
                self.marks[value] = self.mark
                self.add_front(value, 0, 0)
        self.add_front(self.values, 0, 0)

    @cython.cfunc
    def add_front(self, state: cython.int, live: cython.ulonglong, crash: cython.ulonglong) -> cython.void:
        if self.frontier >= self.room:
            self.make_room(2 * self.room)
        self.front_state[self.frontier] = state
        self.front_live[self.frontier] = live
        self.front_crash[self.frontier] = crash
        self.frontier += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def add_open(self, call: cython.int) -> cython.int:
        """Gives a call that returns a slot; -1 if there is none."""
        slot: cython.int = 0
        other: cython.int
        alike: cython.int
        while slot < MOST_OPEN and self.open_mask >> slot & 1:
            slot += 1
        if slot == MOST_OPEN:
            return -1
        self.sooner[slot] = 0
        if self.written[call] < 0:
            self.still_mask |= ONE << slot
        else:
            for other in range(MOST_OPEN):
                if not self.open_mask >> other:
                    break
                alike = self.open_call[other]
                if (
                    self.open_mask >> other & 1
                    and self.written[alike] == self.written[call]
                    and self.observed[alike] == self.observed[call]
                ):
                    if self.end[alike] < self.end[call]:
                        self.sooner[slot] |= ONE << other
                    else:
                        self.sooner[other] |= ONE << slot
        self.open_call[slot] = call
        self.open_mask |= ONE << slot
        return slot

    @cython.cfunc
    @cython.exceptval(check=False)
    def add_crashed(self, call: cython.int) -> cython.bint:
        """Gives a crashed call a bit; False if there is none."""
        bit: cython.int = 0
        other: cython.int
        while bit < MOST_OPEN and self.crash_mask >> bit & 1:
            bit += 1
        if bit == MOST_OPEN:
            return False
        self.before[bit] = 0
        for other in range(MOST_OPEN):
            if (
                self.crash_mask >> other & 1
                and self.written[self.crash_call[other]] == self.written[call]
                and self.observed[self.crash_call[other]] == self.observed[call]
            ):
                self.before[bit] |= ONE << other
        self.crash_call[bit] = call
        self.crash_mask |= ONE << bit
        return True

    @cython.cfunc
    @cython.exceptval(check=False)
    def retire(self, now: cython.longlong) -> cython.void:
        """Forgets crashed calls that cannot matter any more (rule 6)."""
        bit: cython.int
        i: cython.int
        left: cython.ulonglong = self.crash_mask
        for bit in range(MOST_OPEN):
            if left >> bit & 1 and self.lapse[self.crash_call[bit]] < now:
                left ^= ONE << bit
        if left != self.crash_mask:
            self.crash_mask = left
            for bit in range(MOST_OPEN):
                self.before[bit] &= left
            for i in range(self.frontier):
                self.front_crash[i] &= left

    @cython.cfunc
    @cython.exceptval(check=False)
    def after(self, state: cython.int, call: cython.int) -> cython.int:
        """The state after a call, or -1 if it cannot happen."""
        observed: cython.int = self.observed[call]
        if observed >= 0:
            if state != observed:
                return NONE
        elif observed < NONE and state == -2 - observed:
            return NONE
        return state if self.written[call] < 0 else self.written[call]

    @cython.cfunc
    @cython.exceptval(check=False)
    def fits(self, state: cython.int) -> cython.ulonglong:
        """The open calls that change nothing and can happen in this state (rule 1)."""
        bits: cython.ulonglong = 0
        slot: cython.int
        for slot in range(MOST_OPEN):
            if not self.still_mask >> slot:
                break
            if self.still_mask >> slot & 1 and self.after(state, self.open_call[slot]) >= 0:
                bits |= ONE << slot
        return bits

    @cython.cfunc
    @cython.exceptval(-1)
    def take_back(self, slot: cython.int, most: cython.longlong) -> cython.int:
        """At the return of a call: lets open calls take effect, in every order, until it has. What comes of it is the
        new frontier. Answers 0 if that takes more than `most` configurations in all."""
        bit: cython.ulonglong = ONE << slot
        i: cython.int
        other: cython.int
        state: cython.int
        after: cython.int
        live: cython.ulonglong
        crash: cython.ulonglong
        self.now += 1
        self.made = 0
        for i in range(self.frontier):
            state = self.front_state[i]
            self.add(state, self.front_live[i] | self.fits(state), self.front_crash[i], bit)
        self.looked_at += self.frontier
        i = 0
        while i < self.made:
            if self.beaten[i] or self.place[i] & 1:
                i += 1
                continue
            state = self.place[i] >> 1
            live = self.live[i]
            crash = self.crash[i]
            i += 1
            self.looked_at += 1
            if self.looked_at > most:
                return 0
            for other in range(MOST_OPEN):
                if not self.open_mask >> other:
                    break
                if (
                    not (self.open_mask & (live ^ ALL)) >> other & 1
                    or self.still_mask >> other & 1
                    or self.sooner[other] & (live ^ ALL)
                ):
                    continue
                after = self.after(state, self.open_call[other])
                if after >= 0:
                    self.add(after, live | ONE << other | self.fits(after), crash, bit)
            for other in range(MOST_OPEN):
                if not self.crash_mask >> other:
                    break
                if not (self.crash_mask & (crash ^ ALL)) >> other & 1 or self.before[other] & (crash ^ ALL):
                    continue
                after = self.after(state, self.crash_call[other])
                if after >= 0 and after != state:  # Rule 3.
                    self.add(after, live | self.fits(after), crash | ONE << other, bit)
        self.frontier = 0
        for i in range(self.made):
            if self.place[i] & 1 and not self.beaten[i]:
                self.add_front(self.place[i] >> 1, self.live[i], self.crash[i])
        return 1

    @cython.cfunc
    def add(
        self,
        state: cython.int,
        live: cython.ulonglong,
        crash: cython.ulonglong,
        bit: cython.ulonglong,
    ) -> cython.void:
        """Enters a configuration, unless one is there that used only some of the same crashed calls (rule 4)."""
        place: cython.int = 2 * state
        cell: cython.ulonglong
        other: cython.int
        first: cython.int = -1
        if live & bit:
            live ^= bit
            place += 1
        if self.made >= self.room:
            self.make_room(2 * self.room)
        cell = self.cell_of(place, live)
        while self.stamp[cell] == self.now:
            other = self.head[cell]
            if self.live[other] == live and self.place[other] == place:
                first = other
                break
            cell = (cell + 1) & (4 * self.room - 1)
        other = first
        while other >= 0:
            if self.crash[other] & crash == self.crash[other]:
                return
            if self.crash[other] & crash == crash:
                self.beaten[other] = 1
            other = self.chain[other]
        self.place[self.made] = place
        self.live[self.made] = live
        self.crash[self.made] = crash
        self.beaten[self.made] = 0
        self.chain[self.made] = first
        self.head[cell] = self.made
        self.stamp[cell] = self.now
        self.made += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def cell_of(self, place: cython.int, live: cython.ulonglong) -> cython.ulonglong:
        mixed: cython.ulonglong = (live ^ ((place + 1) * SPREAD & ALL)) * SPREAD & ALL
        return (mixed ^ (mixed >> 32)) & (4 * self.room - 1)

    @cython.cfunc
    def make_room(self, room: cython.int) -> cython.void:
        """Room for so many configurations; those that are there stay."""
        old: cython.int = self.room
        i: cython.int
        cell: cython.ulonglong
        numbers: cython.int[::1] = array("i", bytes(4 * room))
        if old:
            numbers[:old] = self.front_state
        self.front_state = numbers
        numbers = array("i", bytes(4 * room))
        if old:
            numbers[:old] = self.place
        self.place = numbers
        numbers = array("i", bytes(4 * room))
        if old:
            numbers[:old] = self.chain
        self.chain = numbers
        masks: cython.ulonglong[::1] = array("Q", bytes(8 * room))
        if old:
            masks[:old] = self.front_live
        self.front_live = masks
        masks = array("Q", bytes(8 * room))
        if old:
            masks[:old] = self.front_crash
        self.front_crash = masks
        masks = array("Q", bytes(8 * room))
        if old:
            masks[:old] = self.live
        self.live = masks
        masks = array("Q", bytes(8 * room))
        if old:
            masks[:old] = self.crash
        self.crash = masks
        flags: cython.char[::1] = array("b", bytes(room))
        if old:
            flags[:old] = self.beaten
        self.beaten = flags
        self.head = array("i", bytes(16 * room))
        self.stamp = array("i", bytes(16 * room))
        self.room = room
        self.now += 1
        if not old:
            return
        for i in range(self.made):  # The latest of a chain is its first.
            cell = self.cell_of(self.place[i], self.live[i])
            while self.stamp[cell] == self.now and (
                self.live[self.head[cell]] != self.live[i] or self.place[self.head[cell]] != self.place[i]
            ):
                cell = (cell + 1) & (4 * self.room - 1)
            self.head[cell] = i
            self.stamp[cell] = self.now

    # The evidence.

    def evidence(self, stuck_end: cython.longlong, enough: object) -> tuple:
        """The fewest calls that show that no order is possible, if the search got stuck at the return `stuck_end`:
        their positions in the columns; which of them count as crashed; which cas count as writes; whether they are
        judged from any state; and the event that invoked the one at whose return none is. None if the search cannot
        tell.

        Smaller ones are no longer sought once `enough()` says so.
        """
        original: cython.longlong[::1] = array("q", bytes(8 * self.count))
        observed: cython.int[::1] = array("i", bytes(4 * self.count))
        original[:] = self.end
        observed[:] = self.observed
        written: cython.int[::1] = array("i", bytes(4 * self.count))
        written[:] = self.written
        self.kept = array("i", bytes(4 * self.count))
        self.gone = array("b", bytes(self.count))
        self.marks = array("i", bytes(4 * (self.values + 1)))
        self.mark = 0
        self.looked_at = 0
        found = self.find_evidence(stuck_end, original, observed, enough)
        self.end[:] = original
        self.observed[:] = observed
        self.written[:] = written
        return found

    @cython.cfunc
    def find_evidence(
        self,
        stuck_end: cython.longlong,
        original: cython.longlong[::1],
        observed: cython.int[::1],
        enough: object,
    ) -> tuple:
        """As `evidence`, from the calls with these ends and observations; leaves others behind."""
        i: cython.int
        call: cython.int
        from_any: cython.bint = False
        prefix: cython.int[::1] = array("i", bytes(4 * self.count))
        ends: cython.longlong[::1] = array("q", bytes(8 * self.count))
        total: cython.int = 0
        for i in range(self.count):
            self.lapse[i] = FOREVER
            if self.start[i] > stuck_end:
                break
            if self.end[i] > stuck_end:
                if self.written[i] < 0:
                    continue
                self.end[i] = FOREVER
            prefix[total] = i
            total += 1
        total = self.without_unneeded(prefix, total)
        ends[:] = self.end
        legal: cython.longlong = 0
        length: cython.longlong = 4
        middle: cython.longlong
        while length < stuck_end:
            if self.is_window_illegal(prefix, total, ends, stuck_end - length):
                break
            if enough():
                return None
            legal = length
            length *= 2
        if length < stuck_end:
            from_any = True
            while length - legal > 1:  # A shorter window knows less, so what is legal stays so.
                middle = (legal + length) // 2
                if self.is_window_illegal(prefix, total, ends, stuck_end - middle):
                    length = middle
                else:
                    legal = middle
            if not self.is_window_illegal(prefix, total, ends, stuck_end - length):
                return None
        else:
            self.end[:] = ends
            self.part[:] = prefix
            self.size = total
            if self.search(False, EFFORT) < 0:
                return None
        self.reduce(from_any, enough)
        stuck: cython.int = self.search(from_any, EFFORT)
        rows: list = []
        crashed: list = []
        loosened: list = []
        for i in range(self.size):
            call = self.part[i]
            rows.append(self.row[call])
            crashed.append(self.end[call] != original[call])
            loosened.append(self.observed[call] != observed[call])
        return rows, crashed, loosened, bool(from_any), self.start[stuck]

    @cython.cfunc
    @cython.exceptval(-1)
    def without_unneeded(self, prefix: cython.int[::1], total: cython.int) -> cython.int:
        """Without crashed calls whose value nobody observed, nor a value made of it, and without more of a kind than
        there are calls that observe their value. Answers how many are left at the front of `prefix`."""
        i: cython.int
        call: cython.int
        value: cython.int
        kind: cython.longlong
        kept: cython.int = 0
        if self.has_unequal:
            return total
        observers: cython.int[::1] = array("i", bytes(4 * (self.values + 1)))
        sources: dict = {}
        alike: dict = {}
        todo: list = []
        needed: set = set()
        for i in range(total):
            call = prefix[i]
            value = self.observed[call]
            if value >= 0:
                observers[value] += 1
                if self.end[call] < FOREVER:
                    if value not in needed:
                        needed.add(value)
                        todo.append(value)
                elif self.written[call] >= 0:
                    sources.setdefault(self.written[call], []).append(value)
        while todo:
            for value in sources.get(todo.pop(), ()):
                if value not in needed:
                    needed.add(value)
                    todo.append(value)
        for i in range(total):
            call = prefix[i]
            if self.end[call] >= FOREVER:
                value = self.written[call]
                kind = cython.cast(cython.longlong, self.observed[call] + 1) * (self.values + 1) + value
                alike[kind] = alike.get(kind, 0) + 1
                if value < 0 or value not in needed or alike[kind] > observers[value]:
                    continue
            prefix[kept] = call
            kept += 1
        return kept

    @cython.cfunc
    @cython.exceptval(-1)
    def is_window_illegal(
        self,
        prefix: cython.int[::1],
        total: cython.int,
        ends: cython.longlong[::1],
        first: cython.longlong,
    ) -> cython.int:
        """Whether the calls from event `first` on cannot be explained from any state. Those that were open then may
        have taken effect before, so they count as crashed."""
        i: cython.int
        call: cython.int
        self.size = 0
        for i in range(total):
            call = prefix[i]
            self.end[call] = ends[call]
            if self.start[call] < first:
                if self.written[call] < 0 or ends[call] < first:
                    continue
                self.end[call] = FOREVER
            self.part[self.size] = call
            self.size += 1
        return self.search(True, EFFORT) >= 0

    @cython.cfunc
    def reduce(self, any_state: cython.bint, enough: object) -> cython.void:
        """Leaves out of `part` what it can do without, then tries it with plain writes for cas."""
        position: cython.int = 0
        i: cython.int
        call: cython.int
        saved: cython.int[::1]
        size: cython.int
        observed: cython.int
        written: cython.int
        self.without_needless(any_state, enough)
        while position < self.size and not enough():
            call = self.part[position]
            position += 1
            if self.observed[call] < 0 or self.named[call] < 0:
                continue
            observed = self.observed[call]
            written = self.written[call]
            size = self.size
            self.observed[call] = NONE
            self.written[call] = self.named[call]
            if self.search(any_state, EFFORT) >= 0:
                saved = array("i", bytes(4 * size))
                for i in range(size):
                    saved[i] = self.part[i]
                self.without_needless(any_state, enough)
                if self.size < size:
                    position = 0
                    continue
                for i in range(size):
                    self.part[i] = saved[i]
            self.observed[call] = observed
            self.written[call] = written

    @cython.cfunc
    def without_needless(self, any_state: cython.bint, enough: object) -> cython.void:
        """Delta debugging: tries to do without halves, quarters ... and in the end without each single call."""
        size: cython.int = max(1, self.size // 2)
        changed: cython.bint = True
        position: cython.int
        before: cython.int
        while (changed or size > 1) and not enough():
            if not changed or size > self.size:
                size = max(1, size // 2)
            changed = False
            position = 0
            while position < self.size and not enough():
                before = self.size
                self.drop(position, min(before, position + size))
                if self.search(any_state, EFFORT) >= 0:
                    changed = True
                else:
                    self.part[:before] = self.kept[:before]
                    self.size = before
                    position += size

    @cython.cfunc
    def drop(self, first: cython.int, end: cython.int) -> cython.void:
        """Takes some of the calls out, with all that observe a value that one of them wrote, and those that tell
        values apart; `kept` has them all."""
        i: cython.int
        size: cython.int = self.size
        value: cython.int
        todo: list = []
        self.mark += 1
        for i in range(size):
            self.kept[i] = self.part[i]
            self.gone[self.part[i]] = first <= i < end
            if first <= i < end and self.written[self.part[i]] >= 0:
                todo.append(self.written[self.part[i]])
        while todo:
            value = todo.pop()
            if self.marks[value] == self.mark:
                continue
            self.marks[value] = self.mark
            for i in range(size):
                if not self.gone[self.part[i]] and (
                    self.observed[self.part[i]] == value or self.observed[self.part[i]] < NONE
                ):
                    self.gone[self.part[i]] = 1
                    if self.written[self.part[i]] >= 0:
                        todo.append(self.written[self.part[i]])
        self.size = 0
        for i in range(size):
            if not self.gone[self.kept[i]]:
                self.part[self.size] = self.kept[i]
                self.size += 1
