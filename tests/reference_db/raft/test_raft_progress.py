"""What a leader knows about a follower: the three states, the window, and old or repeated answers."""

from __future__ import annotations

import pytest

from reference_db.raft.progress import Inflights, Progress, ProgressState


def _progress(match: int = 0, next: int = 1, window: int = 3, size: int = 1000) -> Progress:
    return Progress(match=match, next=next, inflights=Inflights(window, size))


def test_a_window_counts_messages_and_bytes() -> None:
    window = Inflights(2, 100)
    window.add(5, 60)
    assert not window.full
    window.add(7, 30)
    assert window.full
    window.free_to(6)
    assert (len(window), window.size_bytes, window.full) == (1, 30, False)
    window.add(9, 70)
    assert window.full, "100 bytes are on their way"
    window.free_to(9)
    assert (len(window), window.size_bytes) == (0, 0)


def test_a_full_window_takes_nothing_more() -> None:
    window = Inflights(1, 100)
    window.add(1, 1)
    with pytest.raises(AssertionError, match="1 messages"):
        window.add(2, 1)


def test_a_probe_waits_for_its_answer() -> None:
    record = _progress()
    record.sent_entries(2, 10)
    assert record.paused
    assert record.next == 1, "nothing is assumed about a probe"
    assert record.maybe_update(2)
    assert not record.paused
    assert (record.match, record.next) == (2, 3)


def test_replication_streams_until_the_window_is_full() -> None:
    record = _progress(match=2, next=3)
    record.become_replicate()
    for _ in range(3):
        assert not record.paused
        record.sent_entries(1, 10)
    assert record.paused
    assert record.next == 6
    record.maybe_update(4)
    record.inflights.free_to(4)
    assert not record.paused


def test_an_empty_append_into_a_full_window_pauses_again() -> None:
    record = _progress(window=1)
    record.become_replicate()
    record.sent_entries(1, 1)
    record.flow_paused = False
    record.sent_entries(0, 0)
    assert record.paused


def test_old_and_repeated_acknowledgements_change_nothing() -> None:
    record = _progress(match=5, next=6)
    assert not record.maybe_update(5)
    assert not record.maybe_update(3)
    assert (record.match, record.next) == (5, 6)


@pytest.mark.parametrize(
    ("state", "match", "next", "rejected", "hint", "genuine", "after"),
    [
        (ProgressState.REPLICATE, 5, 10, 5, 5, False, 10),
        (ProgressState.REPLICATE, 5, 10, 4, 4, False, 10),
        (ProgressState.REPLICATE, 5, 10, 9, 9, True, 6),
        (ProgressState.PROBE, 0, 0, 0, 0, False, 0),
        (ProgressState.PROBE, 0, 10, 5, 5, False, 10),
        (ProgressState.PROBE, 0, 10, 9, 9, True, 9),
        (ProgressState.PROBE, 0, 10, 9, 2, True, 3),
        (ProgressState.PROBE, 0, 10, 9, 0, True, 1),
        (ProgressState.PROBE, 4, 10, 9, 0, True, 5),
    ],
)
def test_a_refusal_moves_back_if_it_is_genuine(
    state: ProgressState, match: int, next: int, rejected: int, hint: int, genuine: bool, after: int
) -> None:
    record = _progress(match, next)
    record.state = state
    assert record.maybe_decrease(rejected, hint) is genuine
    assert (record.match, record.next) == (match, after)


def test_after_a_snapshot_probing_starts_behind_it_if_it_arrived() -> None:
    arrived, lost = _progress(match=1, next=2), _progress(match=1, next=2)
    for record in (arrived, lost):
        record.become_snapshot(10)
        assert record.paused
        assert record.next == 11
    arrived.become_probe()
    assert arrived.next == 11
    lost.pending_snapshot = 0
    lost.become_probe()
    assert lost.next == 2


def test_nothing_is_appended_while_a_snapshot_is_on_its_way() -> None:
    record = _progress()
    record.become_snapshot(10)
    with pytest.raises(AssertionError, match="StateSnapshot"):
        record.sent_entries(1, 1)


def test_a_commit_index_is_told_once_and_only_where_it_helps() -> None:
    record = _progress(match=4, next=5)
    record.become_replicate()
    assert record.can_bump_commit(4)
    record.sent_commit(4)
    assert not record.can_bump_commit(4)
    assert not record.can_bump_commit(9), "it has nothing beyond 4 that could be committed"


def test_its_text_names_what_is_unusual() -> None:
    record = _progress(match=3, next=5, window=1)
    assert str(record) == "StateProbe match=3 next=5 inactive"
    record.recent_active = True
    record.is_learner = True
    record.become_replicate()
    record.sent_entries(1, 1)
    assert str(record) == "StateReplicate match=3 next=5 learner paused inflight=1[full]"
    record.become_snapshot(9)
    assert str(record) == "StateSnapshot match=3 next=10 learner paused pendingSnap=9"
