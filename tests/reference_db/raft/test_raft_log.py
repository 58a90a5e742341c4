"""The log in memory and in the store: one view, cut and extended only where the rules allow."""

from __future__ import annotations

from random import Random

import pytest

from reference_db.raft import Compacted, ConfState, Entry, MemoryLogStore, Snapshot, Unavailable
from reference_db.raft.log import RaftLog, payload_of, size_of
from reference_db.raft.log_store import limit_size

from .cluster import entries_of

NO_LIMIT = 2**62


def _log(terms: list[int], *, stored: int | None = None, tail: int = 2, room: int = NO_LIMIT) -> RaftLog:
    """A log with these terms; the first `stored` entries are in the store, the others unstable."""
    stored = len(terms) if stored is None else stored
    store = MemoryLogStore()
    store.append(entries_of(terms[:stored]))
    log = RaftLog(store, room, tail)
    log.append(entries_of(terms[stored:], stored + 1))
    return log


def _terms(log: RaftLog) -> list[int]:
    return [log.term(index) for index in range(log.first_index, log.last_index + 1)]


@pytest.mark.parametrize("stored", range(5))
def test_it_makes_no_difference_to_readers_what_is_already_stored(stored: int) -> None:
    log = _log([1, 1, 2, 3], stored=stored)
    assert _terms(log) == [1, 1, 2, 3]
    assert (log.last_index, log.last_term) == (4, 3)
    assert [entry.index for entry in log.entries(1, 5, NO_LIMIT)] == [1, 2, 3, 4]
    assert [entry.index for entry in log.entries(2, 4, NO_LIMIT)] == [2, 3]
    assert log.entries(3, 3, NO_LIMIT) == ()


@pytest.mark.parametrize("stored", range(5))
def test_a_size_limit_runs_across_the_border_and_lets_one_entry_through(stored: int) -> None:
    log = _log([1, 1, 1, 1], stored=stored)
    one = size_of(log.entries(1, 2, NO_LIMIT))
    assert [entry.index for entry in log.entries(1, 5, 3 * one)] == [1, 2, 3]
    assert [entry.index for entry in log.entries(2, 5, 1)] == [2]


def test_what_is_compacted_or_not_yet_there_has_no_term() -> None:
    store = MemoryLogStore()
    store.restore(Snapshot(5, 2, ConfState(voters=(1,))))
    store.append(entries_of([2, 3], 6))
    log = RaftLog(store, NO_LIMIT, 2)
    assert (log.term(5), log.term(6), log.term(7)) == (2, 2, 3)
    with pytest.raises(Compacted):
        log.term(4)
    with pytest.raises(Unavailable):
        log.term(8)
    with pytest.raises(Compacted):
        log.entries(5, 7, NO_LIMIT)
    assert (log.term_or_zero(4), log.term_or_zero(8)) == (0, 0)
    assert not log.matches(4, 1)


@pytest.mark.parametrize(
    ("previous", "sent", "after", "unstable_from"),
    [
        ((3, 3), [], [1, 2, 3], 4),
        ((3, 3), [4], [1, 2, 3, 4], 4),
        ((1, 1), [2, 3], [1, 2, 3], 4),
        ((1, 1), [2], [1, 2, 3], 4),
        ((1, 1), [4], [1, 4], 2),
        ((0, 0), [1, 2, 4, 4], [1, 2, 4, 4], 3),
    ],
)
def test_appending_keeps_what_agrees_and_replaces_what_conflicts(
    previous: tuple[int, int], sent: list[int], after: list[int], unstable_from: int
) -> None:
    log = _log([1, 2, 3])
    assert log.maybe_append(*previous, tuple(entries_of(sent, previous[0] + 1)))
    assert _terms(log) == after
    assert [entry.index for entry in log.next_unstable()] == list(range(unstable_from, len(after) + 1))


@pytest.mark.parametrize("previous", [(3, 2), (4, 3), (2, 1)])
def test_nothing_is_appended_behind_an_entry_that_is_not_there(previous: tuple[int, int]) -> None:
    log = _log([1, 2, 3])
    assert not log.maybe_append(*previous, tuple(entries_of([4], previous[0] + 1)))
    assert _terms(log) == [1, 2, 3]


def test_a_committed_entry_is_never_replaced() -> None:
    log = _log([1, 2, 3])
    log.commit_to(2)
    with pytest.raises(AssertionError, match="conflicts with a committed one"):
        log.maybe_append(1, 1, tuple(entries_of([3], 2)))


def test_committing_what_is_not_there_shows_a_lost_log() -> None:
    with pytest.raises(AssertionError, match="truncated or lost"):
        _log([1]).commit_to(2)


def test_durable_means_durable_with_this_term() -> None:
    log = _log([1], stored=0)
    log.accept_unstable()
    log.append(entries_of([2], 1))
    assert (log.stable, log.in_progress) == (0, 0)
    log.accept_unstable()
    log.stable_to(1, 1)
    assert log.stable == 0, "the acknowledgement is for the entry that was replaced"
    log.stable_to(1, 2)
    assert log.stable == 1


def test_unstable_entries_are_handed_out_once() -> None:
    log = _log([1, 1], stored=0)
    assert len(log.next_unstable()) == 2
    log.accept_unstable()
    assert log.next_unstable() == ()
    log.append(entries_of([1], 3))
    assert [entry.index for entry in log.next_unstable()] == [3]


def test_committed_entries_are_handed_out_once_and_within_the_limit() -> None:
    log = _log([1, 1, 1, 1], room=2 * size_of(entries_of([1])))
    log.commit_to(4)
    page = log.next_committed(True)
    assert [entry.index for entry in page] == [1, 2]
    log.accept_applying(2, size_of(page), True)
    assert not log.has_next_committed(True), "two entries are being applied, and there is no room for more"
    log.applied_to(2, size_of(page))
    assert [entry.index for entry in log.next_committed(True)] == [3, 4]


def test_entries_that_are_not_durable_may_be_applied_only_on_request() -> None:
    log = _log([1, 1], stored=1)
    log.commit_to(2)
    assert [entry.index for entry in log.next_committed(True)] == [1, 2]
    assert [entry.index for entry in log.next_committed(False)] == [1]


def test_a_snapshot_replaces_everything_and_holds_back_applying() -> None:
    log = _log([1, 1, 1], stored=1)
    log.restore(Snapshot(9, 4))
    assert (log.first_index, log.last_index, log.last_term, log.committed) == (10, 9, 4, 9)
    assert log.term(9) == 4
    log.append(entries_of([4], 10))
    log.commit_to(10)
    assert not log.has_next_committed(True)
    assert log.next_snapshot() is not None
    log.accept_unstable()
    assert log.next_snapshot() is None
    log.stable_snapshot_to(9)
    log.applied_to(9, 0)
    assert [entry.index for entry in log.next_committed(True)] == [10]


def test_compaction_moves_the_beginning_up_to_what_is_applied() -> None:
    store = MemoryLogStore()
    log = RaftLog(store, NO_LIMIT, 100)
    log.append(entries_of([1, 1, 2, 2]))
    store.append(log.next_unstable())
    log.accept_unstable()
    log.stable_to(4, 2)
    log.commit_to(4)
    log.accept_applying(3, 0, True)
    log.applied_to(3, 0)
    store.compact(2)
    log.compacted(3)
    assert (log.first_index, log.term(2), _terms(log)) == (3, 1, [2, 2])
    with pytest.raises(AssertionError, match="only 3 is applied"):
        log.compacted(5)


def test_memory_holds_a_bounded_tail() -> None:
    store = MemoryLogStore()
    log = RaftLog(store, NO_LIMIT, 10)
    for index in range(1, 200):
        log.append([Entry(1, index)])
        store.append(log.next_unstable())
        log.accept_unstable()
        log.stable_to(index, 1)
        log.commit_to(index)
        log.accept_applying(index, 0, True)
        log.applied_to(index, 0)
        assert len(log._tail) <= 21
    assert _terms(log) == [1] * 199


@pytest.mark.parametrize(
    ("index", "term", "found"),
    [(5, 5, (5, 4)), (5, 3, (3, 2)), (5, 1, (1, 1)), (2, 9, (2, 2)), (5, 0, (0, 0))],
)
def test_a_hint_skips_whole_terms(index: int, term: int, found: tuple[int, int]) -> None:
    assert _log([1, 2, 2, 4, 4]).find_conflict_by_term(index, term) == found


def test_random_appends_match_a_plain_list() -> None:
    """Against a model: whatever is appended, made durable, trimmed or applied, readers see the plain list."""
    random = Random(1)
    for _ in range(60):
        store = MemoryLogStore()
        log = RaftLog(store, NO_LIMIT, random.randint(1, 4))
        model: list[int] = []
        for term in range(1, 40):
            at = random.randint(log.committed, len(model))
            new = [term] * random.randint(1, 3)
            previous = model[at - 1] if at else 0
            assert log.maybe_append(at, previous, tuple(entries_of(new, at + 1)))
            model[at:] = new
            if random.random() < 0.7:
                store.append(log.next_unstable())
                log.accept_unstable()
                log.stable_to(log.last_index, log.last_term)
            if random.random() < 0.4:
                log.commit_to(random.randint(log.committed, log.stable) if log.stable > log.committed else 0)
            if log.has_next_committed(True):
                page = log.next_committed(True)
                log.accept_applying(page[-1].index, 0, True)
                log.applied_to(page[-1].index, 0)
            assert _terms(log) == model
            assert log._tail_bytes == size_of(log._tail)
            lo = random.randint(1, len(model))
            assert [entry.term for entry in log.entries(lo, len(model) + 1, NO_LIMIT)] == model[lo - 1 :]


def test_sizes_count_data_and_overhead() -> None:
    entries = [Entry(1, 1, b"abc"), Entry(1, 2)]
    assert payload_of(entries) == 3
    assert size_of(entries) == 3 + 2 * 12
    assert limit_size(entries, 15) == entries[:1]
    assert limit_size(entries, 27) == entries


# The store in memory.


def test_the_store_compacts_only_what_it_has() -> None:
    store = MemoryLogStore()
    store.append(entries_of([1, 1, 2]))
    store.compact(2)
    assert (store.first_index(), store.last_index(), store.term(2), store.term(3)) == (3, 3, 1, 2)
    with pytest.raises(Compacted):
        store.compact(2)
    with pytest.raises(Unavailable):
        store.compact(4)
    store.append(entries_of([1, 3], 2))
    assert [entry.term for entry in store.entries(3, 4, NO_LIMIT)] == [3]
    with pytest.raises(AssertionError, match="gap"):
        store.append(entries_of([3], 9))
