"""Stacks and priority queues by intervals: the loops of `elements.py` (a kernel: see `results/kernels.py`)."""

# mypy: ignore-errors

from __future__ import annotations

from array import array

import cython

FAR = cython.declare(cython.longlong, 1 << 62)


@cython.cclass
class Peaks:
    """Numbers at places, with the place of the greatest in any stretch (a tree in an array)."""

    size: cython.Py_ssize_t
    values: cython.longlong[::1]

    def __init__(self, count):
        self.size = 1
        while self.size < count:
            self.size *= 2
        self.values = array("q", [-(1 << 62)]) * (2 * self.size)

    @cython.cfunc
    def put(self, place: cython.Py_ssize_t, value: cython.longlong) -> cython.void:
        i: cython.Py_ssize_t = place + self.size
        left: cython.longlong
        right: cython.longlong
        self.values[i] = value
        i >>= 1
        while i:
            left = self.values[2 * i]
            right = self.values[2 * i + 1]
            self.values[i] = left if left >= right else right
            i >>= 1

    @cython.cfunc
    def find(
        self, first: cython.Py_ssize_t, last: cython.Py_ssize_t, least: cython.longlong
    ) -> cython.Py_ssize_t:
        """A place from `first` to before `last` whose number is at least `least`; -1 if there is none."""
        low: cython.Py_ssize_t = first + self.size
        high: cython.Py_ssize_t = last + self.size
        found: cython.Py_ssize_t = -1
        while low < high:
            if low & 1:
                if self.values[low] >= least:
                    found = low
                    break
                low += 1
            if high & 1:
                high -= 1
                if self.values[high] >= least:
                    found = high
                    break
            low >>= 1
            high >>= 1
        if found < 0:
            return -1
        while found < self.size:
            found = 2 * found if self.values[2 * found] >= least else 2 * found + 1
        return found - self.size


@cython.cclass
class Cover:
    """How often each moment is covered; finds moments that are not (a tree in an array)."""

    size: cython.Py_ssize_t
    least: cython.longlong[::1]
    """Of the moments below, how often the least covered is, without what is added at this node and above."""
    more: cython.longlong[::1]

    def __init__(self, count):
        self.size = 1
        while self.size < count:
            self.size *= 2
        self.least = array("q", bytes(16 * self.size))
        self.more = array("q", bytes(16 * self.size))

    @cython.cfunc
    def add(self, first: cython.Py_ssize_t, last: cython.Py_ssize_t, amount: cython.longlong) -> cython.void:
        """Covers the moments from `first` to before `last` once more (or less)."""
        low: cython.Py_ssize_t = first + self.size
        high: cython.Py_ssize_t = last + self.size
        low_edge: cython.Py_ssize_t = low
        high_edge: cython.Py_ssize_t = high - 1
        if low >= high:
            return
        while low < high:
            if low & 1:
                self.more[low] += amount
                low += 1
            if high & 1:
                high -= 1
                self.more[high] += amount
            low >>= 1
            high >>= 1
        self.lift(low_edge)
        self.lift(high_edge)

    @cython.cfunc
    def lift(self, place: cython.Py_ssize_t) -> cython.void:
        i: cython.Py_ssize_t = place >> 1
        left: cython.longlong
        right: cython.longlong
        while i:
            left = self.least[2 * i] + self.more[2 * i]
            right = self.least[2 * i + 1] + self.more[2 * i + 1]
            self.least[i] = left if left <= right else right
            i >>= 1

    @cython.cfunc
    def bare(self, first: cython.Py_ssize_t, last: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The first moment from `first` to before `last` that is not covered; -1 if all are."""
        return self.bare_below(1, 0, self.size, first, last, 0)

    @cython.cfunc
    def bare_below(
        self,
        node: cython.Py_ssize_t,
        low: cython.Py_ssize_t,
        high: cython.Py_ssize_t,
        first: cython.Py_ssize_t,
        last: cython.Py_ssize_t,
        above: cython.longlong,
    ) -> cython.Py_ssize_t:
        middle: cython.Py_ssize_t
        found: cython.Py_ssize_t
        here: cython.longlong = above + self.more[node]
        if high <= first or last <= low or here + self.least[node] > 0:
            return -1
        if node >= self.size:
            return low
        middle = (low + high) // 2
        found = self.bare_below(2 * node, low, middle, first, last, here)
        if found >= 0:
            return found
        return self.bare_below(2 * node + 1, middle, high, first, last, here)


def first_bad_stack(
    push_start: cython.longlong[::1],
    push_end: cython.longlong[::1],
    pop_end: cython.longlong[::1],
    begins: cython.longlong[::1],
    ceases: cython.longlong[::1],
    times: cython.longlong[::1],
) -> int:
    """Whether elements, each certainly inside for a while, make a stack: the first of a stretch of time that has no
    bottom element, or -1.

    Elements come in the order of `push_end`. `times` are those at which some element begins (`push_end`) or ceases (the
    start of its pop, which for those that stay is never) to be inside for certain, ascending; moments are their places.
    """
    count: cython.Py_ssize_t = push_start.shape[0]
    i: cython.Py_ssize_t
    first: cython.Py_ssize_t
    last: cython.Py_ssize_t
    bottom: cython.Py_ssize_t
    gap: cython.Py_ssize_t
    moment: cython.Py_ssize_t
    low: cython.Py_ssize_t
    high: cython.Py_ssize_t
    least: cython.longlong
    moments: cython.Py_ssize_t = times.shape[0]
    # The first element that begins at or after a moment; elements are ordered by that.
    from_moment: cython.longlong[::1] = array("q", [0]) * (moments + 1)
    place: cython.Py_ssize_t = 0
    for moment in range(moments + 1):
        while place < count and begins[place] < moment:
            place += 1
        from_moment[moment] = place
    cover: Cover = Cover(max(1, moments))
    early: Peaks = Peaks(max(1, count))
    """By element: minus the start of its push, unless it is known to be early enough."""
    late: Peaks = Peaks(max(1, count))
    """By element that is early enough: the end of its pop."""
    present: Peaks = Peaks(max(1, count))
    """By element: minus its place, while it is there; finds the first of a stretch."""
    for i in range(count):
        cover.add(begins[i], ceases[i], 1)
        early.put(i, -push_start[i])
        present.put(i, 0)
    todo: list = [(0, moments)]
    while todo:
        low, high = todo.pop()
        # Fall apart at the first moment that nothing covers.
        gap = cover.bare(low, high)
        if gap >= 0:
            if gap + 1 < high:
                todo.append((gap + 1, high))
            if gap <= low:
                continue
            high = gap
        first = from_moment[low]
        last = from_moment[high]
        # All elements of the stretch begin and cease within it.
        i = first_present(present, first, last)
        if i < 0:
            continue
        least = push_end[i]
        while True:
            bottom = early.find(first, last, -least)
            if bottom < 0:
                break
            early.put(bottom, -FAR)
            late.put(bottom, pop_end[bottom])
        # The last pop to begin in the stretch begins where its cover ends.
        bottom = late.find(first, last, pop_of(times, high))
        if bottom < 0:
            return i
        late.put(bottom, -FAR)
        present.put(bottom, -1)
        cover.add(begins[bottom], ceases[bottom], -1)
        todo.append((low, high))
    return -1


@cython.cfunc
def pop_of(times: cython.longlong[::1], high: cython.Py_ssize_t) -> cython.longlong:
    """When the cover of a stretch that ends before moment `high` ends: then the last pop begins."""
    return times[high if high < times.shape[0] else times.shape[0] - 1]


@cython.cfunc
def first_present(present: Peaks, first: cython.Py_ssize_t, last: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The first element of a stretch that is still there; -1 if there is none."""
    found: cython.Py_ssize_t = present.find(first, last, 0)
    earlier: cython.Py_ssize_t
    if found < 0:
        return -1
    while True:
        earlier = present.find(first, found, 0)
        if earlier < 0:
            return found
        found = earlier


def first_blocked(
    rank: cython.longlong[::1],
    put_start: cython.longlong[::1],
    put_end: cython.longlong[::1],
    take_start: cython.longlong[::1],
    take_end: cython.longlong[::1],
    moments: cython.Py_ssize_t,
    stays: cython.uchar[::1],
) -> int:
    """The first element, in the order of `rank`, whose take has no moment without an element of a lower rank that is
    inside for certain; -1 if each has one. Times are numbers of moments; elements that stay are never taken."""
    count: cython.Py_ssize_t = rank.shape[0]
    i: cython.Py_ssize_t = 0
    j: cython.Py_ssize_t
    same: cython.Py_ssize_t
    moment: cython.longlong
    free: cython.longlong[::1] = array("q", range(moments + 1))
    """The first moment from here on that is not covered, by way of others (union and find)."""
    while i < count:
        same = i
        while same < count and rank[same] == rank[i]:
            if not stays[same]:
                moment = max(put_start[same], take_start[same])
                if find_free(free, moment) >= take_end[same]:
                    return same
            same += 1
        for j in range(i, same):
            if put_end[j] < take_start[j]:
                moment = find_free(free, put_end[j])
                while moment < take_start[j]:
                    free[moment] = moment + 1
                    moment = find_free(free, moment)
        i = same
    return -1


@cython.cfunc
def find_free(free: cython.longlong[::1], moment: cython.longlong) -> cython.longlong:
    while free[moment] != moment:
        free[moment] = free[free[moment]]
        moment = free[moment]
    return moment
