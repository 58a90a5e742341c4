"""Each workload by itself: what it asks for, what it refuses, what it generates, and its set-up."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import WORKLOADS, _load
from harness.systems.in_memory.database import InMemoryDatabase
from harness.systems.in_memory.session import InMemorySession
from results.operation import FAIL, INFO, INVOKE, OK, Operation
from tests.harness.engine import database, options
from workloads.bank import Bank
from workloads.generator.core import first_context
from workloads.generator.fake import Outcome, invocations, simulate
from workloads.keys import END_KEY, FIRST_KEY, PAIRS, evenly_spread_key, spread_key
from workloads.on_transactions import BUILT_ON_TRANSACTIONS
from workloads.register import Register, reading_threads
from workloads.session import (
    COMPARE_AND_SET,
    INTERFACES,
    KEY_VALUE,
    SCAN,
    TRANSACTIONS,
    CompareAndSet,
    Definite,
    Indefinite,
    KeyValue,
    Scan,
    Transactions,
)
from workloads.set import Set
from workloads.workload import OptionError, Workload, WorkloadOptions, WorkloadUnavailable

ALL = tuple(_load(reference) for reference in WORKLOADS.values())
SECOND = 1_000_000_000


def play_alone(
    workload: Workload, clients: int = 6, latency_ns: int = 2_000_000, ends: Any = None
) -> list[Operation]:
    """The events of the main phase with make-believe clients."""

    def client(event: Operation, stream: random.Random) -> Outcome:
        type_ = OK if ends is None else ends(event, stream)
        return Outcome(type_, latency_ns, event.value)

    return simulate(workload.generator, client, clients=clients)


# What every workload does


@pytest.mark.parametrize("kind", ALL)
def test_a_workload_says_what_it_is(kind):
    workload = kind(options())
    assert _load(WORKLOADS[workload.name]) is kind
    assert len(workload.describe()) > 40
    assert workload.describe() == " ".join(workload.describe().split()), (
        "in one line, without the code's indents"
    )
    assert workload.required_functions
    assert workload.options == {name: option.default for name, option in kind.known_options.items()}


@pytest.mark.parametrize("kind", ALL)
def test_a_workload_is_refused_where_an_interface_is_lacking(kind):
    workload = kind(options())
    everything = frozenset(INTERFACES)
    workload.require(everything, "db")
    for name in workload.needs:
        left = everything - {name, TRANSACTIONS}
        with pytest.raises(WorkloadUnavailable, match=rf"{workload.name} cannot run on db.*{name} \("):
            workload.require(left, "db")
        if name in BUILT_ON_TRANSACTIONS:
            assert workload.built(left | {TRANSACTIONS}) == {name}
            workload.require(left | {TRANSACTIONS}, "db")


@pytest.mark.parametrize("kind", ALL)
def test_options_are_checked_and_all_problems_listed(kind):
    with pytest.raises(OptionError) as caught:
        kind(options(extra={"no_such": 1, **{name: "text" for name in kind.known_options}}))
    assert "unknown option 'no_such'" in str(caught.value)
    for name in kind.known_options:
        assert f"{name}='text' must be" in str(caught.value)


def test_bounds_of_options_are_told():
    with pytest.raises(OptionError, match="accounts=1 must be between 2 and 1000"):
        Bank(options(extra={"accounts": 1}))
    with pytest.raises(OptionError, match=r"keys=1\.5 must be a whole number"):
        Register(options(extra={"keys": 1.5}))
    with pytest.raises(OptionError, match="readers=1 must be true or false"):
        Register(options(extra={"readers": 1}))
    with pytest.raises(OptionError, match=r"concurrency 0(.*)rate -1"):
        WorkloadOptions(random=random.Random(1), concurrency=0, nodes=("n1",), rate=-1)


@pytest.mark.parametrize("kind", ALL)
def test_the_main_phase_has_its_rate_and_length(kind):
    workload = kind(options(rate=1000.0, time_limit_s=2.0))
    events = invocations(play_alone(workload, clients=20))
    assert 1800 < len(events) < 2200
    assert events[-1].time < 2 * SECOND


@pytest.mark.parametrize("kind", ALL)
def test_the_same_seed_generates_the_same(kind):
    assert play_alone(kind(options(seed=4))) == play_alone(kind(options(seed=4)))
    assert play_alone(kind(options(seed=4))) != play_alone(kind(options(seed=5)))


@pytest.mark.parametrize("kind", [Register, Bank, Set])
def test_the_final_phase_reads_through_every_node_until_it_succeeds(kind):
    workload = kind(options(concurrency=6, final_time_limit_s=60.0))
    tried: dict[int | str, int] = {}

    def third_time(event: Operation, _: random.Random) -> Outcome:
        tried[event.process] = tried.get(event.process, 0) + 1
        return Outcome(OK if tried[event.process] % 3 == 0 else FAIL, 1_000_000, event.value)

    events = simulate(workload.final_generator, third_time, clients=6)
    assert {event.f for event in events} == {"read"}
    assert {event.process for event in events} == {0, 1, 2}, "one thread for each of three nodes"
    assert {process: tried[process] % 3 for process in tried} == {0: 0, 1: 0, 2: 0}


@pytest.mark.parametrize("kind", ALL)
def test_the_final_phase_gives_up_in_the_end(kind):
    workload = kind(options(final_time_limit_s=3.0))
    events = simulate(
        workload.final_generator, lambda event, _: Outcome(FAIL, 100_000_000, event.value), clients=6
    )
    assert 2 * SECOND < events[-1].time < 4 * SECOND


@pytest.mark.parametrize("kind", ALL)
def test_an_unknown_function_is_an_error(kind):
    async def run() -> None:
        session = await database().open_session("n1")
        await kind(options()).invoke(session, Operation(0, 0, 0, INVOKE, "dance", [0, 0]))

    with pytest.raises(ValueError, match="has no function 'dance'"):
        asyncio.run(run())


# Register


def test_registers_use_a_few_hot_keys_and_leave_them_in_time():
    workload = Register(
        options(rate=1000.0, time_limit_s=3.0, extra={"keys": 2, "changes_per_key": 100, "read_share": 0.4})
    )
    changed: dict[int, int] = {}
    for event in invocations(play_alone(workload)):
        if event.f != "read":
            changed[event.value[0]] = changed.get(event.value[0], 0) + 1
    assert max(changed.values()) == 100
    assert sorted(changed) == list(range(len(changed)))
    assert 8 <= len(changed) <= 13


def test_a_reader_stays_with_its_key_until_a_read_fails_or_its_time_is_over():
    workload = Register(options(rate=500.0, time_limit_s=12.0, extra={"changes_per_key": 1_000_000}))

    def cut_off(event: Operation, stream: random.Random) -> str:
        """From 1 s to 4 s, the readers' nodes answer for key 2 only."""
        return (
            FAIL if 1 * SECOND < event.time < 4 * SECOND and event.value[0] != 2 and event.f == "read" else OK
        )

    events = invocations(play_alone(workload, ends=cut_off))
    for thread in (3, 4, 5):
        keys = [(event.time, event.value[0]) for event in events if event.process == thread]
        assert len({key for time, key in keys if time < 1 * SECOND}) == 1
        assert {key for time, key in keys if 1.1 * SECOND < time < 4 * SECOND} == {2}, (
            "it found the one that answers"
        )
        moves = sum(before[1] != after[1] for before, after in itertools.pairwise(keys))
        assert moves <= 6


def test_values_are_unique_by_default_and_from_a_range_on_request():
    def written(workload: Register) -> list[int]:
        events = invocations(play_alone(workload))
        return [event.value[1] for event in events if event.f == "write"] + [
            event.value[1][1] for event in events if event.f == "cas"
        ]

    unique = written(Register(options()))
    assert len(unique) == len(set(unique)) > 50
    assert set(written(Register(options(extra={"values": 3})))) == {0, 1, 2}


def test_a_compare_and_set_expects_what_was_last_seen():
    workload = Register(options(extra={"keys": 1, "readers": False}))
    _, following = workload.generator.next(first_context(1))
    write = Operation(0, 0, 0, OK, "write", [0, 77])
    following = following.update(first_context(1, 10), write)
    for now in range(1000):
        answer = following.next(first_context(1, now * 1_000_000))
        assert answer is not None
        what, following = answer
        if getattr(what, "f", None) == "cas":
            assert what.value[1][0] == 77
            return
    raise AssertionError("no compare-and-set in a thousand operations")


def test_every_second_round_of_processes_only_reads():
    assert reading_threads(6, 3) == 0b111000
    assert reading_threads(3, 3) == 0
    assert reading_threads(10, 3) == 0b1000111000
    by_thread: dict[int, set[str]] = {}
    for event in invocations(play_alone(Register(options(concurrency=6)))):
        by_thread.setdefault(event.process, set()).add(event.f)
    assert all(by_thread[thread] == {"read", "write", "cas"} for thread in (0, 1, 2))
    assert all(by_thread[thread] == {"read"} for thread in (3, 4, 5))


def test_keys_with_many_unknown_outcomes_are_left():
    workload = Register(
        options(rate=1000.0, time_limit_s=2.0, extra={"crashes_per_key": 5, "changes_per_key": 100_000})
    )
    events = play_alone(workload, ends=lambda event, stream: INFO if event.f != "read" else OK)
    crashed: dict[int, int] = {}
    for event in events:
        if event.type == INFO:
            crashed[event.value[0]] = crashed.get(event.value[0], 0) + 1
    assert len(crashed) > 20
    assert max(crashed.values()) <= 5 + 6, "five, and what was in flight"


def test_a_failed_compare_and_set_is_definite():
    async def run() -> None:
        session = await database().open_session("n1")
        workload = Register(options())
        with pytest.raises(Definite, match="mismatch"):
            await workload.invoke(session, Operation(0, 0, 0, INVOKE, "cas", [0, [5, 6]]))
        assert await workload.invoke(session, Operation(0, 0, 0, INVOKE, "cas", [0, [None, 6]])) == [
            0,
            [None, 6],
        ]
        assert await workload.invoke(session, Operation(0, 0, 0, INVOKE, "read", [0, None])) == [0, 6]

    asyncio.run(run())


def test_answers_of_a_strange_shape_are_noticed():
    """What an answer says, however strange, is for the checkers to judge."""
    read = Operation(0, 0, 0, INVOKE, "read", [3, None])
    assert Register(options()).problems(read, [3, 5]) == []
    assert Register(options()).problems(read, [4, 5]) == ["it is about key 4, but key 3 was asked"]
    assert Register(options()).problems(read, None) == ["a read answers [key, value]"]
    assert Bank(options()).problems(Operation(0, 0, 0, INVOKE, "read"), [1]) == ["a read answers a mapping"]
    assert Bank(options()).problems(Operation(0, 0, 0, INVOKE, "read"), {"a0": 1}) == []
    assert Set(options()).problems(Operation(0, 0, 0, INVOKE, "read"), [1, 2]) == []
    assert Set(options()).problems(Operation(0, 0, 0, INVOKE, "read"), 5) != []


# Bank


def accounts_in(store: InMemoryDatabase) -> list[int]:
    return [value for _, value in sorted(store.store.values.items())]


def test_set_up_opens_the_accounts_once():
    async def run() -> InMemoryDatabase:
        store = database()
        workload = Bank(options(extra={"accounts": 3, "total": 100}))
        for _ in range(3):
            await workload.setup(await store.open_session("n1"))
        return store

    store = asyncio.run(run())
    assert sorted(accounts_in(store), reverse=True) == [34, 33, 33]
    assert {len(versions) for versions in store.store.versions.values()} == {1}


def test_set_up_whose_reply_is_lost_is_recognised():
    """1. The set-up commits, but its reply is lost. 2. It is tried again. 3. Money that moved meanwhile stays."""

    class LosesFirstReply(InMemoryDatabase):
        replies = 0

        async def after(self) -> None:
            self.replies += 1
            if self.replies == 1:
                raise Indefinite("connection-lost")

    async def run() -> InMemoryDatabase:
        store = LosesFirstReply(random.Random(1))
        session = await store.open_session("n1")
        workload = Bank(options())
        with pytest.raises(Indefinite):
            await workload.setup(session)
        await workload.invoke(
            session, Operation(0, 0, 0, INVOKE, "transfer", {"from": "a0", "to": "a1", "amount": 5})
        )
        await workload.setup(session)
        balances = await workload.invoke(session, Operation(0, 0, 0, INVOKE, "read"))
        assert balances["a1"] == 18
        return store

    assert sum(accounts_in(asyncio.run(run()))) == 100


@pytest.mark.parametrize("present", [{"a0": 100}, {f"a{number}": 7 for number in range(8)}])
def test_set_up_refuses_a_database_that_is_not_fresh(present):
    async def run() -> None:
        store = database()
        workload = Bank(options())
        for account, balance in present.items():
            store.store.write(workload.keys[account], balance)
        await workload.setup(await store.open_session("n1"))

    with pytest.raises(Definite, match="of a fresh database"):
        asyncio.run(run())


def test_a_transfer_without_the_money_certainly_fails_and_changes_nothing():
    async def run() -> None:
        store = database()
        session = await store.open_session("n1")
        workload = Bank(options(extra={"total": 8}))
        await workload.setup(session)
        before = accounts_in(store)
        with pytest.raises(Definite, match="a0 holds 1, less than 2"):
            await workload.invoke(
                session, Operation(0, 0, 0, INVOKE, "transfer", {"from": "a0", "to": "a1", "amount": 2})
            )
        assert accounts_in(store) == before

    asyncio.run(run())


def test_doubt_before_the_commit_is_no_doubt():
    """A read inside a transaction that may or may not have happened: nothing was committed, so it is a fail."""

    class Doubtful(InMemorySession):
        def transaction(self) -> Any:
            transaction = super().transaction()

            async def get_many(keys: Sequence[str]) -> Any:
                raise Indefinite("connection-lost", "no reply")

            transaction.get_many = get_many  # type: ignore[method-assign]
            return transaction

    async def run(invocation: Operation) -> None:
        await Bank(options()).invoke(Doubtful(database(), "n1"), invocation)

    for invocation in (
        Operation(0, 0, 0, INVOKE, "read"),
        Operation(0, 0, 0, INVOKE, "transfer", {"from": "a0", "to": "a1", "amount": 2}),
    ):
        with pytest.raises(Definite, match="connection-lost"):
            asyncio.run(run(invocation))


def test_transfers_are_between_two_accounts_in_bounds():
    events = invocations(play_alone(Bank(options(rate=2000.0, time_limit_s=1.0))))
    transfers = [event.value for event in events if event.f == "transfer"]
    assert all(value["from"] != value["to"] for value in transfers)
    assert {value["amount"] for value in transfers} == {1, 2, 3, 4, 5}
    assert {value["from"] for value in transfers} == {f"a{number}" for number in range(8)}
    assert 0.42 < len(transfers) / len(events) < 0.58


def test_accounts_divide_the_keyspace():
    keys = sorted(Bank(options()).keys.values())
    assert [key[:2] for key in keys] == ["00", "4i", "90", "di", "i0", "mi", "r0", "vi"]


# Set


def test_elements_are_unique_and_reads_come_at_their_own_pace():
    events = invocations(play_alone(Set(options(rate=1000.0, time_limit_s=10.0))))
    adds = [event.value for event in events if event.f == "add"]
    assert adds == list(range(len(adds)))
    assert 7 <= sum(event.f == "read" for event in events) <= 13


def test_reads_are_not_starved_by_adds_that_are_late():
    """Twice the rate that the clients can do: adds are ever later, and reads still get their turn."""
    events = invocations(
        play_alone(Set(options(rate=1000.0, time_limit_s=5.0)), clients=2, latency_ns=4_000_000)
    )
    assert len(events) < 3000
    assert sum(event.f == "read" for event in events) >= 2


def test_a_read_sees_the_elements_and_nothing_else():
    async def run() -> None:
        store = database()
        session = await store.open_session("n1")
        workload = Set(options())
        store.store.write(spread_key("register", 4), 99)
        for element in range(20):
            await workload.invoke(session, Operation(0, 0, 0, INVOKE, "add", element))
        found = await workload.invoke(session, Operation(0, 0, 0, INVOKE, "read"))
        assert sorted(found) == list(range(20))

    asyncio.run(run())


# Keys and sessions


def test_names_of_keys_spread_and_are_all_different():
    names = [spread_key("set", number) for number in range(2 * PAIRS)]
    assert len(set(names)) == len(names)
    assert len({name[:2] for name in names[:PAIRS]}) == PAIRS
    assert all(FIRST_KEY <= name < END_KEY for name in names)
    firsts = [name[0] for name in names[:36]]
    assert len(set(firsts)) > 25, "neighbours fall far apart"
    assert len({evenly_spread_key("bank", number, 5)[:2] for number in range(5)}) == 5


def test_the_database_in_memory_offers_what_it_says():
    session = InMemorySession(database(), "n1")
    for name, protocol in (
        (KEY_VALUE, KeyValue),
        (COMPARE_AND_SET, CompareAndSet),
        (SCAN, Scan),
        (TRANSACTIONS, Transactions),
    ):
        assert name in session.interfaces
        assert isinstance(session, protocol)


def test_a_session_error_says_its_kind_and_text():
    error = Indefinite("connection-lost", "no reply")
    assert (error.kind, error.text, str(error)) == (
        "connection-lost",
        "no reply",
        "connection-lost: no reply",
    )
    assert str(Definite("refused")) == "refused"


def test_the_page_of_workloads_names_each_with_its_options_and_defaults():
    page = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for name, reference in WORKLOADS.items():
        own = [row for row in rows if row.startswith(f"| `{name}` |")]
        assert len(own) == 2, f"docs/workloads.md has a row of what {name} is and one of its options"
        for option, meaning in _load(reference).known_options.items():
            default = str(meaning.default).lower().removesuffix(".0")
            assert f"`{option}` ({default}" in own[1], f"{name}: option {option} ({default})"


@pytest.mark.parametrize("name", ["list-append", "rw-register"])
def test_many_reads_are_one_question_and_few_are_one_each(name):
    """Where a round trip takes long, eight of them one after another took longer than an operation may."""
    asked = []

    class Asked:
        async def get(self, key):
            asked.append(1)

        async def get_many(self, keys):
            asked.append(len(keys))
            return [None] * len(keys)

    class AskedSession:
        interfaces = frozenset({TRANSACTIONS})

        @contextlib.asynccontextmanager
        async def transaction(self):
            yield Asked()

    workload = _load(WORKLOADS[name])(options())
    for count in (4, 8):
        reads = [["r", key, None] for key in range(count)]
        answer = asyncio.run(workload.invoke(AskedSession(), Operation(0, 0, 0, INVOKE, "txn", reads)))
        assert getattr(answer, "value", answer) == reads
    assert asked == [1, 1, 1, 1, 8]
