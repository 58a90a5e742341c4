"""Who sent what to whom in a simulated world: when each arrived, what a cut keeps back, never more than a limit."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from harness.environments.environment import MessageReader, ToldMessage
from harness.environments.simulation.cluster import SimulatedCluster
from harness.environments.simulation.environment import SimulationEnvironment
from harness.environments.simulation.messages import MessageRecord, Tape
from harness.environments.simulation.world import World
from harness.explore import trial
from harness.explore.trial import TrialRequest, run_trial
from harness.scenario import Scenario
from results.messages import Message
from results.run_folder import RunFolder
from tests.harness.environments.echo_system import EchoSystem, TestFolder

MS = 1_000_000


class Spelled(MessageReader):
    """Lines of text."""

    def read_messages(self, port: str, is_dialler: bool, data: bytes) -> list[ToldMessage]:
        return [ToldMessage("line" if is_dialler else "answer", one) for one in data.decode().splitlines()]


def tape_of(record: MessageRecord) -> Tape:
    return Tape(record, "a", "b", 7001, True)


def test_a_write_has_arrived_when_its_last_byte_was_read() -> None:
    record = MessageRecord(10)
    tape = tape_of(record)
    tape.wrote(b"one\n", 5)
    tape.wrote(b"two\n", 6)
    tape.arrived(3, 8)  # The kernel gave it in other pieces than it was written.
    tape.arrived(4, 9)
    tape.arrived(1, 12)
    _, told = record.told(Spelled(), {7001: "peer"}, began_ns=2)
    assert told == [
        Message(3, "a", "b", "line", 7, text="one"),
        Message(4, "a", "b", "line", 10, text="two"),
    ]


def test_the_newest_are_kept_by_number_and_by_size() -> None:
    by_number, by_size = MessageRecord(3), MessageRecord(100, most_bytes=50)
    for record in (by_number, by_size):
        tape = tape_of(record)
        for number in range(8):
            tape.wrote(b"%d" % number * 10, number)
    assert [one.text for one in by_number.told(Spelled(), {}, 0)[1]] == ["5" * 10, "6" * 10, "7" * 10]
    count, kept = by_size.told(Spelled(), {}, 0)
    assert (count, len(kept)) == (8, 5)


def test_an_answer_is_about_the_range_of_its_question_and_bytes_that_nobody_reads_are_counted() -> None:
    class Asking(MessageReader):
        def read_messages(self, port: str, is_dialler: bool, data: bytes) -> list[ToldMessage]:
            if data == b"?":
                return [ToldMessage("request", range="4", exchange="17")]
            if data == b"!":
                return [ToldMessage("reply", exchange="17")]
            raise ValueError("neither a question nor an answer")

    record = MessageRecord(10)
    there, back = tape_of(record), Tape(record, "b", "a", 7001, True)
    there.wrote(b"?", 1)
    there.wrote(b"!", 2)  # From the side that asks, so it answers something else.
    back.wrote(b"!", 3)
    back.wrote(b"xyz", 4)
    assert [one.range for one in record.told(Asking(), {}, 0)[1]] == ["4", "", "4", ""]
    assert record.told(Asking(), {7001: "peer"}, 0)[1][-1].text == "3 bytes on the port peer"


def test_what_a_cut_link_keeps_back_never_arrives_and_what_is_mended_does_late() -> None:
    world = World(seed=1)
    record = world.network.messages = MessageRecord(100)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            pass

    async def server(_host: object) -> None:
        await asyncio.start_server(serve, "b", 7001)
        await asyncio.Event().wait()

    async def client(_host: object) -> None:
        _, writer = await asyncio.open_connection("b", 7001)
        for line in (b"before\n", b"held back\n"):
            writer.write(line)
            await asyncio.sleep(1)
        await asyncio.sleep(10)
        writer.write(b"lost\n")
        await asyncio.Event().wait()

    async def story() -> None:
        world.host("b").start(server)
        await asyncio.sleep(0.1)
        world.host("a").start(client)
        await asyncio.sleep(0.5)
        world.network.cut([("a", "b")])
        await asyncio.sleep(3)
        world.network.mend([("a", "b")])
        await asyncio.sleep(5)
        world.network.cut([("a", "b")])
        await asyncio.sleep(5)

    world.run(story())
    before, held, lost = record.told(Spelled(), {}, 0)[1]
    assert before.arrived_ns is not None
    assert before.arrived_ns - before.sent_ns < 5 * MS
    assert held.arrived_ns is not None
    assert held.arrived_ns - held.sent_ns > 1000 * MS
    assert (lost.text, lost.arrived_ns) == ("lost", None)


def test_a_cluster_records_what_nodes_and_clients_say_and_not_what_the_harness_asks(tmp_path: Path) -> None:
    async def whole(messages: int) -> tuple[int, list[Message]] | None:
        environment_options = {"messages": messages}
        cluster: SimulatedCluster = await environment.create_cluster(
            EchoSystem(), ["n1", "n2"], TestFolder(tmp_path), environment_options
        )
        cluster.record_messages()
        try:
            await cluster.start_all()
            await cluster.wait_ready(90)
            await asyncio.sleep(2)
            return cluster.messages(0)
        finally:
            await cluster.destroy()

    environment = SimulationEnvironment(seed=3)
    told = environment.run(whole(1000))
    assert told is not None
    assert {host for one in told[1] for host in (one.source, one.target)} == {"n1", "n2"}
    environment = SimulationEnvironment(seed=3)
    assert environment.run(whole(0)) is None


def test_a_run_has_its_messages_where_it_is_asked_to_and_a_trial_never_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same history either way: to record decides nothing."""

    def history_of(name: str) -> tuple[RunFolder, bytes]:
        scenario = Scenario(
            workload="register",
            system="in-memory",
            environment="simulation",
            nemesis="none",
            time_limit=0.5,
            seed=4,
        )
        assert (
            run_trial(TrialRequest(scenario=scenario), tmp_path, keep="always", name=name).outcome == "valid"
        )
        folder = RunFolder.open(tmp_path / name)
        return folder, folder.history_path.read_bytes()

    plain, history = history_of("plain")
    assert plain.read_messages() is None
    monkeypatch.setattr(trial, "execute", partial(trial.execute, keep_messages=True))
    recorded, same_history = history_of("recorded")
    assert same_history == history
    log = recorded.read_messages()
    assert log is not None
    assert 20 < len(log.messages) == log.recorded
    assert {one.kind for one in log.messages} >= {"call", "reply"}
    assert all(one.arrived_ns is None or one.sent_ns < one.arrived_ns for one in log.messages)
