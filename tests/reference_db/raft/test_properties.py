"""Random trouble never breaks a group's promises, and after it the group serves again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reference_db.raft import MessageKind, ReadMode, Role, elections, leading, replication
from reference_db.raft.core import RaftCore
from reference_db.raft.messages import NO_NODE, Message
from reference_db.raft.peers import Peers

from .simulator import Simulation

STEPS = 10_000
VARIANTS: dict[str, dict[str, object]] = {
    "coalesced": {},
    "eager": {"coalesce_appends": False, "announce_commits": False},
    "late commit notices": {"announce_commits": False},
    "asynchronous storage": {"async_storage_writes": True},
    "no pre-vote, no check-quorum": {"pre_vote": False, "check_quorum": False},
    "tiny limits": {
        "max_bytes_per_message": 20,
        "max_inflight_messages": 2,
        "max_committed_bytes_per_ready": 40,
        "max_uncommitted_bytes": 200,
    },
    "leader stays on removal": {"step_down_on_removal": False},
    "leases": {"read_mode": ReadMode.LEASE, "lockstep": True},
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("variant", VARIANTS)
def test_promises_hold_and_the_group_recovers(variant: str, seed: int) -> None:
    simulation = Simulation(seed, **VARIANTS[variant])
    simulation.run(STEPS)
    simulation.heal_and_converge()


def test_the_trouble_is_real() -> None:
    """The runs above would prove little if nothing happened in them."""
    counts: dict[str, int] = {}
    for seed in range(4):
        simulation = Simulation(seed)
        simulation.run(STEPS)
        for mark, count in simulation.counts.items():
            counts[mark] = counts.get(mark, 0) + count
    for mark in ("leader", "proposal", "crash", "read", "change", "compaction", "snapshot"):
        assert counts.get(mark, 0) > 0, f"never happened: {mark} (happened: {counts})"


def test_the_same_seed_is_the_same_run() -> None:
    runs = []
    for _ in range(2):
        simulation = Simulation(7)
        simulation.run(STEPS)
        runs.append((simulation.counts, simulation.states, simulation.committed))
    assert runs[0] == runs[1]


# The tests tested: each of these breaks one rule, and some seed must notice.


class PromisesBeforeSync(Simulation):
    def order_of_sync(
        self, sync: Callable[[], None], promise: Callable[[], None]
    ) -> list[Callable[[], None]]:
        return [promise, sync]


def _is_noticed(simulation: Callable[[int], Simulation], seeds: int = 40) -> bool:
    for seed in range(seeds):
        run = simulation(seed)
        try:
            run.run(STEPS)
            run.heal_and_converge()
        except AssertionError:
            return True
    return False


def test_notices_promises_that_leave_before_the_sync() -> None:
    assert _is_noticed(PromisesBeforeSync)


def test_notices_a_commit_by_counting_entries_of_an_older_term(monkeypatch: pytest.MonkeyPatch) -> None:
    def commit_anything(raft: RaftCore) -> bool:
        index = min(raft.peers.committed(), raft.log.last_index)
        return index > raft.log.committed and raft.commit_to(index)

    monkeypatch.setattr(replication, "maybe_commit", commit_anything)
    assert _is_noticed(Simulation)


def test_notices_a_vote_for_an_outdated_log(monkeypatch: pytest.MonkeyPatch) -> None:
    from reference_db.raft.log import RaftLog

    monkeypatch.setattr(RaftLog, "is_up_to_date", lambda self, term, index: True)
    assert _is_noticed(Simulation)


def test_notices_a_minority_that_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    def best(self: Peers) -> int:
        return max(record.match for record in self.progress.values())

    monkeypatch.setattr(Peers, "committed", best)
    assert _is_noticed(Simulation)


def test_notices_reads_without_a_round_of_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_at_once(raft: RaftCore) -> None:
        if not raft.reads.waiting:
            return
        waiting, raft.reads.waiting = raft.reads.waiting, []
        for request in waiting:
            leading._answer_read(raft, request, raft.log.committed)

    monkeypatch.setattr(leading, "flush_reads", answer_at_once)
    assert _is_noticed(Simulation)


def test_notices_a_lease_that_lasts_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(raft: RaftCore) -> bool:
        confirmed = raft.reads.confirmed_tick
        lasts = raft.ticks - confirmed <= 3 * raft.config.election_ticks
        return raft.role == Role.LEADER and raft.committed_in_term and confirmed >= 0 and lasts

    assert not _is_noticed(_with_leases, seeds=5), "the clean rule must pass"
    monkeypatch.setattr(leading, "lease_valid", generous)
    assert _is_noticed(_with_leases)


def _with_leases(seed: int) -> Simulation:
    return Simulation(seed, lockstep=True, read_mode=ReadMode.LEASE)


def test_notices_a_vote_that_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = elections.answer_vote

    def forgetful(raft: RaftCore, message: Message) -> None:
        if message.kind == MessageKind.VOTE:
            raft.vote = NO_NODE
        answer(raft, message)

    table = {role: list(rules) for role, rules in _rules().items()}
    for rules in table.values():
        rules[MessageKind.VOTE] = forgetful
    monkeypatch.setattr(
        "reference_db.raft.core._RULES", {role: tuple(rules) for role, rules in table.items()}
    )
    assert _is_noticed(Simulation)


def _rules() -> dict[object, tuple[object, ...]]:
    from reference_db.raft import core

    return dict(core._RULES)
