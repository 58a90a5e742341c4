"""Follows one choice of adds from level to level for `counter_levels.py` (a kernel: see `results/kernels.py`).

Adds that end are numbered in the order of their ends, so what is pending is a sorted list of numbers. What is pending
when a level is entered lies on a stack; a level that is come back to counts its choices anew up to the next one, which
is seldom done and needs no memory. *Kinds* are the different amounts, ascending.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython
import numpy as np

FOREVER = cython.declare(cython.longlong, 1 << 62)
REACHED = 0
STUCK = 1
GAVE_UP = 2


@cython.cclass
class Path:
    """One way through the levels, as far as it was followed."""

    start: cython.longlong[::1]
    end: cython.longlong[::1]
    kind: cython.int[::1]
    amount: cython.longlong[::1]
    crashed_first: cython.int[::1]
    crashed_start: cython.longlong[::1]
    fresh: cython.int[::1]
    fresh_first: cython.longlong[::1]
    until: cython.longlong[::1]
    due: cython.longlong[::1]
    rise: cython.longlong[::1]
    used: cython.longlong[::1]
    spare: cython.longlong[::1]
    ok_of: cython.int[::1]
    take_ok: cython.longlong[::1]
    take_crashed: cython.longlong[::1]
    stamp: cython.int[::1]
    groups: cython.int[::1]
    capacity: cython.longlong[::1]
    here: cython.int[::1]
    left: cython.longlong[::1]
    latest: cython.longlong[::1]
    stack: cython.int[::1]
    begin: cython.longlong[::1]
    many: cython.int
    """How many are in `here`."""
    grouped: cython.int
    stamped: cython.int
    room: cython.longlong
    looked: cython.longlong
    """At sums, since the last one that was asked for."""
    spent: cython.longlong
    """What was looked at on the whole, beside one for each choice."""
    most: cython.longlong
    skip: cython.longlong
    is_cut_short: cython.bint
    crashed_kinds: list
    log: list
    """Of each level that was passed, what it used of crashed adds: pairs of a kind and a number."""

    def __init__(self, adds, kinds, levels, scratch, most):
        self.start, self.end, self.kind = adds
        self.amount, self.crashed_first, self.crashed_start, self.crashed_kinds = kinds
        self.fresh, self.fresh_first, self.until, self.due, self.rise = levels
        (
            self.used,
            self.spare,
            self.ok_of,
            self.take_ok,
            self.take_crashed,
            self.stamp,
            self.groups,
            self.capacity,
            self.here,
            self.left,
            self.latest,
            self.stack,
            self.begin,
        ) = scratch
        self.room = len(self.stack)
        self.stamped = 0
        self.most = most
        self.spent = 0
        self.is_cut_short = False
        self.log = []

    @cython.cfunc
    def arrive(self, level: cython.Py_ssize_t) -> cython.void:
        """Puts what was pending and what comes new into `here`, by their ends."""
        count: cython.int = 0
        i: cython.longlong
        at: cython.int
        add: cython.int
        here: cython.int[::1] = self.here
        first: cython.longlong = self.begin[level]
        last: cython.longlong = self.begin[level + 1]
        if last > first:
            for i in range(first, last):
                here[count] = self.stack[i]
                count += 1
        first = self.fresh_first[level]
        last = self.fresh_first[level + 1]
        if last > first:
            for i in range(first, last):
                add = self.fresh[i]
                at = count
                while at > 0 and here[at - 1] > add:
                    here[at] = here[at - 1]
                    at -= 1
                here[at] = add
                count += 1
        self.many = count

    @cython.cfunc
    def choose(self, level: cython.Py_ssize_t) -> cython.bint:
        """Takes the choice after the `skip` first ones, which puts what stays pending on the stack; False if there is
        none. First come those that leave what ends late (see `_Step.choices`)."""
        count: cython.int = 0
        many: cython.int = self.many
        first: cython.int
        add: cython.int
        own: cython.int
        until: cython.longlong
        left: cython.longlong = self.rise[level]
        due: cython.longlong = self.due[level]
        latest: cython.longlong = -1
        here: cython.int[::1] = self.here
        start: cython.longlong[::1] = self.start
        kinds: cython.int[::1] = self.kind
        amount: cython.longlong[::1] = self.amount
        left_of: cython.longlong[::1] = self.left
        latest_of: cython.longlong[::1] = self.latest
        left_of[0] = left
        latest_of[0] = latest
        while count < many:
            add = here[count]
            left -= amount[kinds[add]]
            if left < 0:
                break
            if start[add] > latest:
                latest = start[add]
            count += 1
            left_of[count] = left
            latest_of[count] = latest
        for first in range(count, -1, -1):
            until = FOREVER
            own = -1
            if first < many:
                add = here[first]
                until = self.end[add]
                if until < due:
                    return False
                if latest_of[first] > until:
                    continue
                own = kinds[add]
            left = left_of[first]
            if left == 0:
                if self.skip == 0:
                    self.grouped = 0
                    self.take(level, first, until)
                    return True
                self.skip -= 1
                continue
            self.gather(level, first, until, own, left)
            self.looked = 0
            is_found: cython.bint = self.sums(0, left)
            self.spent += self.looked
            if is_found:
                self.take(level, first, until)
                return True
            if self.is_cut_short:
                return False
        return False

    @cython.cfunc
    def gather(
        self,
        level: cython.Py_ssize_t,
        first: cython.int,
        until: cython.longlong,
        own: cython.int,
        left: cython.longlong,
    ) -> cython.void:
        """The kinds that may be among the rest of a step, the greatest first, with how many there are of each."""
        i: cython.int
        at: cython.int
        add: cython.int
        kind: cython.int
        low: cython.int
        high: cython.int
        middle: cython.int
        count: cython.int = 0
        number: cython.longlong
        limit: cython.longlong = until if until < self.until[level] else self.until[level]
        stamped: cython.int = self.stamped + 1
        kinds: cython.int[::1] = self.kind
        stamp: cython.int[::1] = self.stamp
        groups: cython.int[::1] = self.groups
        ok_of: cython.int[::1] = self.ok_of
        amount: cython.longlong[::1] = self.amount
        self.stamped = stamped
        for i in range(first + 1, self.many):
            add = self.here[i]
            kind = kinds[add]
            if kind == own or amount[kind] > left or self.start[add] >= until:
                continue
            if stamp[kind] != stamped:
                stamp[kind] = stamped
                ok_of[kind] = 1
                self.spare[kind] = 0
                groups[count] = kind
                count += 1
            else:
                ok_of[kind] += 1
        for kind in self.crashed_kinds:
            if amount[kind] > left:
                break
            low = self.crashed_first[kind]
            high = self.crashed_first[kind + 1]
            while low < high:
                middle = (low + high) // 2
                if self.crashed_start[middle] < limit:
                    low = middle + 1
                else:
                    high = middle
            number = low - self.crashed_first[kind] - self.used[kind]
            if number <= 0:
                continue
            if stamp[kind] != stamped:
                stamp[kind] = stamped
                ok_of[kind] = 0
                groups[count] = kind
                count += 1
            self.spare[kind] = number
        for i in range(1, count):
            kind = groups[i]
            at = i
            while at > 0 and groups[at - 1] < kind:
                groups[at] = groups[at - 1]
                at -= 1
            groups[at] = kind
        self.grouped = count
        self.capacity[count] = 0
        summed: cython.longlong = 0
        for i in range(count - 1, -1, -1):
            kind = groups[i]
            number = left // amount[kind]
            if number > ok_of[kind] + self.spare[kind]:
                number = ok_of[kind] + self.spare[kind]
            summed += number * amount[kind]
            if summed > left:
                summed = left
            self.capacity[i] = summed

    @cython.cfunc
    def sums(self, at: cython.int, left: cython.longlong) -> cython.bint:
        """Whether some numbers of the kinds from `at` on come to what is left, besides the first `skip` ways."""
        i: cython.int
        kind: cython.int
        number: cython.longlong
        crashed: cython.longlong
        fewest: cython.longlong
        most: cython.longlong
        amount: cython.longlong
        if left == 0:
            if self.skip > 0:
                self.skip -= 1
                return False
            for i in range(at, self.grouped):
                self.take_ok[self.groups[i]] = 0
                self.take_crashed[self.groups[i]] = 0
            return True
        self.looked += 1
        if self.looked > self.most:
            self.is_cut_short = True
            return False
        if self.capacity[at] < left:
            return False
        kind = self.groups[at]
        amount = self.amount[kind]
        number = left // amount
        most = self.ok_of[kind] + self.spare[kind]
        if number > most:
            number = most
        while number >= 0:
            if at == self.grouped - 1 and number * amount != left:
                return False
            fewest = number - self.ok_of[kind]
            if fewest < 0:
                fewest = 0
            most = number if number < self.spare[kind] else self.spare[kind]
            for crashed in range(fewest, most + 1):
                self.take_ok[kind] = number - crashed
                self.take_crashed[kind] = crashed
                if self.sums(at + 1, left - number * amount):
                    return True
                if self.is_cut_short:
                    return False
            number -= 1
        return False

    @cython.cfunc
    def take(self, level: cython.Py_ssize_t, first: cython.int, until: cython.longlong) -> cython.void:
        """Leaves pending what neither came before `first` nor is among the numbers of kinds that were found."""
        i: cython.int
        add: cython.int
        kind: cython.int
        many: cython.int = self.many
        place: cython.longlong = self.begin[level + 1]
        here: cython.int[::1] = self.here
        stack: cython.int[::1]
        if place + many > self.room:
            self.grow(many)
        stack = self.stack
        if not self.grouped:
            for i in range(first, many):
                stack[place] = here[i]
                place += 1
            self.begin[level + 2] = place
            self.log.append(None)
            return
        for i in range(first, many):
            add = here[i]
            if i > first:
                kind = self.kind[add]
                if self.stamp[kind] == self.stamped and self.take_ok[kind] and self.start[add] < until:
                    self.take_ok[kind] -= 1
                    continue
            stack[place] = add
            place += 1
        self.begin[level + 2] = place
        spent = None
        for i in range(self.grouped):
            kind = self.groups[i]
            if self.take_crashed[kind]:
                self.used[kind] += self.take_crashed[kind]
                if spent is None:
                    spent = []
                spent.append((kind, self.take_crashed[kind]))
        self.log.append(spent)

    def grow(self, more):
        if cython.compiled:
            stack = np.empty(2 * self.room + more, dtype=np.int32)
            stack[: self.room] = self.stack
            self.stack = stack
        else:
            self.stack.extend([0] * (self.room + more))
        self.room = len(self.stack)

    def undo(self):
        """Forgets what the last level used of crashed adds."""
        for kind, number in self.log.pop() or ():
            self.used[kind] -= number

    def state(self, level):
        """What tells apart how a level was entered."""
        pending = tuple(self.stack[i] for i in range(self.begin[level], self.begin[level + 1]))
        return (
            level,
            pending,
            tuple((kind, self.used[kind]) for kind in self.crashed_kinds if self.used[kind]),
        )

    @cython.ccall
    def follow(self, levels: cython.Py_ssize_t, budget: cython.longlong, expired, skipped):
        """Whether the last level was reached; else which could not be, and the adds that were pending there."""
        level: cython.Py_ssize_t = 0
        asked: cython.longlong = 0
        deepest: cython.Py_ssize_t = -1
        counts: cython.longlong[::1] = skipped
        dead = set()
        pending = []
        self.begin[0] = 0
        self.begin[1] = 0
        counts[0] = 0
        while level < levels:
            budget -= 1 + counts[level]
            asked += 1
            if budget < self.spent or (asked & 255 == 0 and expired()):
                return GAVE_UP, level, pending
            self.arrive(level)
            self.skip = counts[level]
            if self.choose(level):
                counts[level] += 1
                level += 1
                counts[level] = 0
                if level <= deepest and self.state(level) in dead:
                    level -= 1
                    self.undo()
                continue
            if self.is_cut_short:
                return GAVE_UP, level, pending
            if level > deepest:
                deepest = level
                pending = [self.here[i] for i in range(self.many)]
            if level == 0:
                return STUCK, deepest, pending
            dead.add(self.state(level))
            level -= 1
            self.undo()
        return REACHED, levels, []
