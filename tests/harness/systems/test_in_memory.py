"""The database in memory: right by default, wrong in each way that it names, and refused where it cannot run."""

import asyncio
import random
from typing import Any

import pytest

from harness.catalog import make_parts
from harness.scenario import Scenario, ScenarioError
from harness.systems.in_memory.database import InMemoryDatabase
from harness.systems.in_memory.misbehaviour import CAN_SHOW, MISBEHAVIOURS, Misbehaviour
from harness.systems.in_memory.store import LAG, Store
from harness.systems.in_memory.system import InMemorySystem
from workloads import session as interfaces
from workloads.session import INTERFACES, Definite, Poll, Send

PROTOCOLS = {
    interfaces.KEY_VALUE: interfaces.KeyValue,
    interfaces.CHOSEN_READS: interfaces.ReadsByChoice,
    interfaces.COMPARE_AND_SET: interfaces.CompareAndSet,
    interfaces.SCAN: interfaces.Scan,
    interfaces.TRANSACTIONS: interfaces.Transactions,
    interfaces.COUNTER: interfaces.Counter,
    interfaces.QUEUE: interfaces.Queue,
    interfaces.LOG: interfaces.Log,
    interfaces.LOCK: interfaces.Lock,
    interfaces.UNIQUE_IDS: interfaces.UniqueIds,
    interfaces.WATCH: interfaces.Watch,
}


def store(misbehaviour: str | None = None) -> Store:
    """One that misbehaves each time it can."""
    return Store(Misbehaviour(random.Random(1), misbehaviour, 1.0))


def entries(log: Store, offset: int = 0) -> list[Any]:
    return log.perform("n1", "exchange", [[{"type": "poll", "log": "l", "offset": offset, "most": 10}]])[0]


def send(log: Store, *values: int) -> list[int]:
    return [
        log.perform("n1", "exchange", [[{"type": "send", "log": "l", "value": value}]])[0] for value in values
    ]


def test_its_sessions_offer_every_interface() -> None:
    async def run() -> None:
        session = await InMemoryDatabase(random.Random(1)).open_session("n1")
        assert session.interfaces == set(INTERFACES)
        for name, protocol in PROTOCOLS.items():
            assert isinstance(session, protocol), name
        assert isinstance(session.transaction(), interfaces.ReadsRanges)
        assert isinstance(session.transaction(), interfaces.ReadsMany)

    asyncio.run(run())


def test_every_interface_can_be_wrong_and_every_misbehaviour_can_show_somewhere() -> None:
    assert set(CAN_SHOW) == set(INTERFACES)
    assert set().union(*CAN_SHOW.values()) == set(MISBEHAVIOURS)
    with pytest.raises(ValueError, match="unknown misbehaviour 'slow'"):
        Misbehaviour(random.Random(1), "slow")


def test_a_transaction_reads_its_snapshot_and_commits_only_if_that_still_holds() -> None:
    right = store()
    right.put("n1", "a", 1)
    snapshot = right.begin("n1")
    right.put("n2", "a", 2)
    assert right.read("n1", snapshot, ["a", "b"]) == [1, None]
    right.commit("n1", snapshot, ["a"], [], {})
    with pytest.raises(Definite, match="a has changed since it was read"):
        right.commit("n1", snapshot, ["a"], [], {"b": 1})
    assert right.values == {"a": 2}


def test_a_key_that_appears_in_an_interval_that_was_read_is_a_change() -> None:
    right = store()
    snapshot = right.begin("n1")
    assert right.read_range("n1", snapshot, "a", "c", 10) == []
    right.put("n2", "b", 1)
    with pytest.raises(Definite, match="b has changed"):
        right.commit("n1", snapshot, [], [["a", "c"]], {"z": 1})


def test_phantoms_lets_pass_what_has_appeared_and_nothing_that_has_changed() -> None:
    wrong = store("phantoms")
    wrong.put("n1", "a", 1)
    snapshot = wrong.begin("n1")
    wrong.put("n2", "b", 1)
    wrong.commit("n1", snapshot, [], [["a", "c"]], {"z": 1})
    assert wrong.values == {"a": 1, "b": 1, "z": 1}
    with pytest.raises(Definite, match="b has changed"):
        wrong.commit("n1", snapshot, ["b"], [["a", "c"]], {"z": 2})
    wrong.put("n2", "a", 2)
    with pytest.raises(Definite, match="a has changed"):
        wrong.commit("n1", snapshot, [], [["a", "c"]], {"z": 3})


def test_a_scan_may_leave_out_a_key() -> None:
    wrong = store("overlooked-keys")
    wrong.put("n1", "a", 1)
    assert wrong.read_range("n1", wrong.begin("n1"), "a", "c", 10) == []
    assert wrong.scan("n1", "a", "c", 10) == [("a", 1)]


def test_snapshot_isolation_lets_write_skew_pass_and_no_lost_update() -> None:
    wrong = store("write-skew")
    one, two = wrong.begin("n1"), wrong.begin("n2")
    wrong.commit("n1", one, ["a", "b"], [], {"a": 1})
    wrong.commit("n2", two, ["a", "b"], [], {"b": 1})
    assert wrong.values == {"a": 1, "b": 1}
    three = wrong.begin("n1")
    wrong.put("n2", "a", 7)
    with pytest.raises(Definite, match="conflict"):
        wrong.commit("n1", three, ["a"], [], {"a": 8})


def test_a_long_fork_shows_writes_in_two_orders_and_each_node_its_own_first() -> None:
    wrong = store("long-fork")
    for _ in range(LAG):
        wrong.put("n3", "x", 0)
    wrong.put("n1", "a", 1)
    wrong.put("n2", "b", 1)
    assert wrong.read("n1", wrong.begin("n1"), ["a", "b"]) == [1, None]
    assert wrong.read("n2", wrong.begin("n2"), ["a", "b"]) == [None, 1]
    with pytest.raises(Definite, match="conflict"):
        wrong.commit("n1", wrong.begin("n1"), ["b"], [], {"b": 2})


def test_a_torn_transaction_appears_one_write_after_the_other() -> None:
    wrong = store("torn-transactions")
    wrong.perform("n1", "commit", [[0, 0], [], [], {"a": 1, "b": 1}])
    seen = []
    for _ in range(50):
        wrong.perform("n1", "get", ["a"])
        seen.append(len(wrong.values))
    assert seen[0] == 1
    assert seen[-1] == 2


def test_a_log_keeps_its_entries_at_their_offsets_unless_told_otherwise() -> None:
    right = store()
    assert send(right, 7, 8, 9) == [0, 1, 2]
    assert entries(right) == [(0, 7), (1, 8), (2, 9)]
    assert entries(right, 2) == [(2, 9)]
    assert right.end("n1", "l") == 3

    def wrong(name: str) -> Store:
        made = store(name)
        send(made, 7, 8)
        return made

    assert entries(wrong("lost-entries")) == []
    assert entries(wrong("doubled-entries")) == [(0, 7), (1, 7), (2, 8), (3, 8)]
    assert entries(wrong("reordered-entries")) == [(1, 8), (0, 7)]
    assert entries(wrong("skipped-entries")) == [(1, 8)]
    assert send(wrong("moved-entries"), 9) == [3]


def test_a_lock_is_held_by_one_at_a_time_unless_told_otherwise() -> None:
    right = store()
    assert right.acquire("n1", "l") == 1
    assert right.acquire("n2", "l") is None
    assert not right.release("n2", "l", 7)
    assert right.release("n1", "l", 1)
    assert right.acquire("n2", "l") == 2
    wrong = store("double-grants")
    assert [wrong.acquire("n1", "l"), wrong.acquire("n2", "l")] == [1, 2]
    wrong = store("repeated-tokens")
    assert wrong.acquire("n1", "l") == 1
    assert wrong.release("n1", "l", 1)
    assert wrong.acquire("n2", "l") == 1


def test_a_watcher_is_told_of_every_change_once_and_in_order_unless_told_otherwise() -> None:
    def told(misbehaviour: str | None) -> tuple[list[tuple[Any, ...]], int]:
        made = store(misbehaviour)
        made.put("n1", "a", 1)
        made.put("n1", "z", 1)
        made.put("n1", "a", 2)
        made.delete("n1", "a")
        events, progress, _ = made.watched("n1", "a", "b", 1, True)
        return [
            (event["revision"], event["key"], event["value"], event["previous"], event["is_create"])
            for event in events
        ], progress

    first, second, third = (1, "a", 1, None, True), (3, "a", 2, 1, False), (4, "a", None, 2, False)
    assert told(None) == ([first, second, third], 4)
    assert told("skipped-events") == ([], 4)
    assert told("doubled-events")[0] == [first, first, second, second, third, third]
    assert told("reordered-events")[0] == [second, third, first]
    assert told("late-start")[0] == [second, third]
    assert told("foreign-events")[0] == [first, (2, "z", 1, None, True), second, third]
    assert told("wrong-previous")[0] == [first, (3, "a", 2, None, False), (4, "a", None, None, False)]
    assert told("wrong-creates")[0] == [first, (3, "a", 2, 1, True), third]
    assert told("early-progress") == ([], 4)


def test_a_watch_goes_on_where_it_stopped() -> None:
    async def run() -> None:
        session = await InMemoryDatabase(random.Random(1)).open_session("n1")
        assert await session.put_revised("a", 1) == 1
        stream = session.watch("a", "b", 1)
        batch = await anext(stream)
        assert ([event.value for event in batch.events], batch.progress) == ([1], 1)
        assert await session.delete_revised("a") == 2
        batch = await anext(stream)
        assert ([event.type for event in batch.events], batch.progress) == (["delete"], 2)
        assert await session.delete_revised("a") is None
        assert await session.revision() == 2
        await stream.aclose()

    asyncio.run(run())


def test_a_poll_sees_nothing_that_is_sent_with_it() -> None:
    async def run() -> None:
        session = await InMemoryDatabase(random.Random(1)).open_session("n1")
        assert await session.exchange([Send("l", 5), Poll("l", 0, 9), Send("l", 6)]) == [0, [], 1]
        assert await session.exchange([Poll("l", 0, 9)]) == [[(0, 5), (1, 6)]]
        assert await session.end("l") == 2

    asyncio.run(run())


def test_options_that_cannot_be_are_refused_all_together() -> None:
    with pytest.raises(
        ValueError, match=r"unknown option size=3(.*)no defect 'x' can be planted(.*)share='a'"
    ):
        InMemorySystem(defect="x", options={"size": 3, "share": "a"})
    with pytest.raises(ValueError, match=r"share 2 of a misbehaviour"):
        InMemorySystem(options={"share": 2})
    assert InMemorySystem(options={"misbehave": "lost-writes", "share": 1}).store.wrong.name == "lost-writes"


def test_it_runs_in_simulation_only() -> None:
    with pytest.raises(
        ScenarioError, match="in-memory cannot run in the environment local, only in simulation"
    ):
        make_parts(Scenario(seed=1, workload="bank", system="in-memory", nemesis="none"))
    parts = make_parts(
        Scenario(seed=1, workload="bank", system="in-memory", environment="simulation", nemesis="all")
    )
    assert {request.name for request in parts.choice.requests} == {
        "partition",
        "packet",
        "kill",
        "pause",
        "restart",
    }
    left_out = {one.name: one.reason for one in parts.choice.left_out}
    assert "keeps nothing on a disk" in left_out["disk"]
    assert "looks at no clock" in left_out["clock"]
